//! To what a policy can bind an action, so that it grants no more than is needed.

/// What an action may be bound to.
///
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html>,
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancing.html>,
/// and the same for `V2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// Nothing: AWS knows no resource or condition for it, as for most looks.
    Anything,
    /// The tag that is sent with the request that makes the thing.
    TagOfRequest,
    /// The cluster's tag on what it changes.
    TagOfResource,
    /// Tags that are sent along with a creation, and then the cluster's tag on what is tagged.
    /// Without a condition whoever has the right could make anything the cluster's, and change it.
    TagsOfOwn,
    /// The cluster's VPC: nobody tags what it changes (a network interface does not get the tags of
    /// its instance).
    Vpc,
}

//! To what a policy can bind an action, so that it grants no more than is needed.

use super::Action;

/// What an action may be bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// Nothing: AWS knows no resource or condition for it, as for most looks.
    Anything,
    /// The tag that is sent with the request that makes the thing.
    TagOfRequest,
    /// The cluster's tag on what it changes.
    TagOfResource,
    /// Tags that are sent along with the creation.
    TagsOfCreation,
}

impl Action {
    /// To what a policy can bind it.
    ///
    /// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html>,
    /// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancing.html>,
    /// and the same for `V2`.
    pub fn guard(&self) -> Guard {
        match self.name {
            _ if !self.mutates => Guard::Anything,
            "CreateSecurityGroup"
            | "CreateLoadBalancer"
            | "CreateTargetGroup"
            | "CreateListener" => Guard::TagOfRequest,
            "CreateTags" | "AddTags" => Guard::TagsOfCreation,
            _ => Guard::TagOfResource,
        }
    }
}

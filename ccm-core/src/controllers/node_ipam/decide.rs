//! What should become of a node's ranges. Pure.

use ipnet::IpNet;

use super::ledger::{Oddity, Piece, Refusal, Want};
use super::pool::Pool;
use super::taken::is_v4;
use crate::cloud::{CloudError, Evidence, Observation, PodCidrs, Retry};
use crate::cluster::node::{ConditionStatus, Node};

/// `reason` of event and condition of a node that has no ranges.
pub(in crate::controllers) const NOT_AVAILABLE: &str = "CIDRNotAvailable";

/// `reason` of the condition once it has.
pub(super) const ASSIGNED: &str = "CIDRAssigned";

/// `reason` of the condition where the cloud gave the ranges and needs no routes: upstream's.
pub(super) const ROUTE_CREATED: &str = "RouteCreated";

/// Who sees to the condition `NetworkUnavailable` of nodes that have ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The route controller, which takes over what we said while the node had none: of nodes that are
    /// ours. What we said of others is ours to take back.
    Routes,
    /// Nobody else: we take back what we said.
    Ourselves,
    /// The cloud, as soon as it has given a machine its ranges: then we say that it is there.
    Cloud,
}

/// What is known of a node that has no ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outlook {
    /// It is not for us to give it any.
    NotOurs,
    /// These are reserved for it.
    Granted(Vec<IpNet>),
    /// They are written, and the watch will show them.
    Awaited,
    /// It cannot be given any.
    Refused(Wait),
}

/// Why a node waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) cause: Cause,
    /// For its owner.
    pub(super) message: String,
}

/// What a node waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// For another node to go.
    Exhausted,
    /// For another node to give up what this one is to have.
    Held,
    /// For the cloud to give it ranges.
    NotGiven,
    /// For the cloud's answer, to be asked for again like this.
    Unknown(Retry),
}

impl Cause {
    /// The word for it in the metric.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Held => "held",
            Self::NotGiven => "not_given",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// What is to be done about a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing.
    Leave,
    /// Write these on it.
    Give(Vec<IpNet>),
    /// Say that it has none, and why.
    Tell(Wait),
    /// Say that its network is there.
    Clear(Cleared),
}

/// What the condition says of a node that has ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cleared {
    pub(super) reason: &'static str,
    pub(super) message: &'static str,
}

/// What is to be done about this node. The outlook is of no interest where it has ranges.
///
/// `is_foreign`: it is another cloud's, and no route is made to it.
pub(super) fn decide(
    node: &Node,
    outlook: Outlook,
    network: Network,
    is_foreign: bool,
) -> Decision {
    if node.deleting {
        return Decision::Leave;
    }
    if !node.pod_cidrs.is_empty() {
        return cleared(node, network, is_foreign).map_or(Decision::Leave, Decision::Clear);
    }
    match outlook {
        Outlook::NotOurs | Outlook::Awaited => Decision::Leave,
        Outlook::Granted(ranges) => Decision::Give(ranges),
        Outlook::Refused(wait) => Decision::Tell(wait),
    }
}

/// What the condition should say of a node that has ranges, if it does not.
fn cleared(node: &Node, network: Network, is_foreign: bool) -> Option<Cleared> {
    let said = node.network_unavailable.as_ref();
    let taken_back = Cleared { reason: ASSIGNED, message: "the node has its ranges for pods" };
    // Without a provider ID no route is made to it either; one that is not initialised gets one soon.
    let is_unrouted = is_foreign || node.provider_id.is_none() && !node.is_uninitialized();
    match network {
        Network::Routes => (is_unrouted && says_not_available(node)).then_some(taken_back),
        Network::Ourselves => says_not_available(node).then_some(taken_back),
        Network::Cloud => {
            said.is_none_or(|said| said.status != ConditionStatus::False).then_some(Cleared {
                reason: ROUTE_CREATED,
                message: "NodeController create implicit route",
            })
        }
    }
}

/// Whether the condition says on the node what we say of one without ranges.
pub(super) fn says_not_available(node: &Node) -> bool {
    node.network_unavailable
        .as_ref()
        .is_some_and(|said| said.status == ConditionStatus::True && &*said.reason == NOT_AVAILABLE)
}

/// What a node is to have, where all are given ranges out of the pools.
pub(super) fn usual(pools: &[Pool]) -> Want {
    let piece = |(place, pool): (usize, &Pool)| Piece { pool: place, size: pool.size() };
    Want::Pieces(pools.iter().enumerate().map(piece).collect())
}

/// What a node is to have by the cloud's word.
pub(super) fn by_the_cloud(observation: &Observation, pools: &[Pool]) -> Result<Want, Wait> {
    let wait = |message: &str| Err(Wait { cause: Cause::NotGiven, message: message.to_owned() });
    match observation {
        Observation::Present(instance) => match &instance.pod_cidrs {
            PodCidrs::Ranges(ranges) if !ranges.is_empty() => {
                Ok(Want::These(in_order(ranges, pools)))
            }
            PodCidrs::Unsaid | PodCidrs::Ranges(_) => {
                wait("the cloud gives no ranges for pods to this machine")
            }
            PodCidrs::MaskSizes { v4, v6 } => sized(*v4, *v6, pools),
        },
        Observation::Gone(Evidence::Terminated | Evidence::Absent) => {
            wait("the cloud has no such machine, which could have ranges for pods")
        }
        Observation::Unknown(err) => Err(unknown(err)),
    }
}

fn unknown(err: &CloudError) -> Wait {
    Wait {
        cause: Cause::Unknown(err.kind().retry()),
        message: format!("it is not known which ranges for pods it has: {}", err.message()),
    }
}

/// In the order of the cluster's ranges, where there are any; else IPv4 first.
fn in_order(ranges: &[IpNet], pools: &[Pool]) -> Vec<IpNet> {
    let mut ranges: Vec<_> = ranges.iter().map(IpNet::trunc).collect();
    let v6_first = pools.first().is_some_and(|pool| !pool.is_v4());
    ranges.sort_by_key(|range| is_v4(range) == v6_first);
    ranges
}

/// Ranges of these sizes out of the pools, in their order.
fn sized(v4: Option<u8>, v6: Option<u8>, pools: &[Pool]) -> Result<Want, Wait> {
    let families = [(true, v4, "IPv4"), (false, v6, "IPv6")];
    let mut pieces = Vec::new();
    for (is_v4, size, family) in families {
        let Some(size) = size else { continue };
        let Some(pool) = pools.iter().position(|pool| pool.is_v4() == is_v4) else {
            let message = format!(
                "the cloud says how large this machine's {family} range is to be, and \
                 --cluster-cidr has none of which it could be a part"
            );
            return Err(Wait { cause: Cause::NotGiven, message });
        };
        pieces.push(Piece { pool, size });
    }
    if pieces.is_empty() {
        let message = "the cloud gives no ranges for pods to this machine".to_owned();
        return Err(Wait { cause: Cause::NotGiven, message });
    }
    pieces.sort();
    Ok(Want::Pieces(pieces))
}

/// In words why a node cannot have what it is to have. `None`: there is nobody to tell.
pub(super) fn refused(refusal: &Refusal, pools: &[Pool]) -> Option<Wait> {
    match refusal {
        Refusal::Gone => None,
        Refusal::Held { range, by } => Some(Wait {
            cause: Cause::Held,
            message: format!("the cloud gives it {range}, of which node {by} still has some"),
        }),
        Refusal::Exhausted(Piece { pool, size }) => {
            let pool = pools.get(*pool)?;
            let (family, flag) = if pool.is_v4() { ("IPv4", "ipv4") } else { ("IPv6", "ipv6") };
            let message = format!(
                "no {family} range is free: --cluster-cidr {} has room for {} with the prefix \
                 length {size} (--node-cidr-mask-size-{flag}), and nodes and what is kept free \
                 for Services hold all of them; this node gets one when another node goes",
                pool.range(),
                pool.capacity(*size),
            );
            Some(Wait { cause: Cause::Exhausted, message })
        }
    }
}

/// What is told of an oddity: the event's reason, and its message.
pub(super) fn remark(oddity: &Oddity) -> (&'static str, String) {
    match oddity {
        Oddity::Unreadable(text) => {
            ("InvalidPodCIDR", format!("{text:?} in spec.podCIDRs is no range; it is left alone"))
        }
        Oddity::Elsewhere(range) => (
            "PodCIDROutsideClusterCIDR",
            format!("{range} in spec.podCIDRs is in no range of --cluster-cidr; it is honoured"),
        ),
        Oddity::Shared(range, other) => (
            "PodCIDRConflict",
            format!(
                "{range} in spec.podCIDRs is held by node {other} too, and neither can be changed: \
                 one of the two nodes must be made anew"
            ),
        ),
        Oddity::KeptFree(range) => (
            "PodCIDRConflict",
            format!("{range} in spec.podCIDRs has addresses of --service-cluster-ip-range"),
        ),
    }
}

#[cfg(test)]
pub(in crate::controllers) mod tests {
    use std::time::{Duration, SystemTime};

    use rstest::rstest;

    use super::*;
    use crate::cloud::{Instance, Kind};
    use crate::cluster::node::Condition;
    use crate::controllers::node::decide::tests::{instance, new_node};

    /// A node of this name with these ranges, one of a kind.
    pub(in crate::controllers) fn node(name: &str, ranges: &[&str]) -> Node {
        Node {
            name: name.into(),
            uid: format!("uid-{name}").as_str().into(),
            created: SystemTime::UNIX_EPOCH + Duration::from_secs(1),
            pod_cidrs: ranges.iter().map(|range| Box::from(*range)).collect(),
            ..new_node()
        }
    }

    fn saying(node: Node, status: ConditionStatus, reason: &str) -> Node {
        let said = Condition { status, reason: reason.into() };
        Node { network_unavailable: Some(said), ..node }
    }

    fn wait() -> Wait {
        Wait { cause: Cause::Exhausted, message: "m".to_owned() }
    }

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[rstest]
    #[case::given(node("a", &[]), Outlook::Granted(nets(&["10.0.0.0/24"])), "give 10.0.0.0/24")]
    #[case::told(node("a", &[]), Outlook::Refused(wait()), "tell m")]
    #[case::written_already(node("a", &[]), Outlook::Awaited, "")]
    #[case::of_others(node("a", &[]), Outlook::NotOurs, "")]
    #[case::about_to_go(
        Node { deleting: true, ..node("a", &[]) }, Outlook::Granted(nets(&["10.0.0.0/24"])), ""
    )]
    #[case::about_to_go(Node { deleting: true, ..node("a", &[]) }, Outlook::Refused(wait()), "")]
    #[case::never_a_second_time(
        node("a", &["10.9.0.0/24"]), Outlook::Granted(nets(&["10.0.0.0/24"])), ""
    )]
    fn decisions(#[case] node: Node, #[case] outlook: Outlook, #[case] want: &str) {
        let decision = match decide(&node, outlook, Network::Ourselves, false) {
            Decision::Leave => String::new(),
            Decision::Give(ranges) => format!("give {}", ranges[0]),
            Decision::Tell(wait) => format!("tell {}", wait.message),
            Decision::Clear(cleared) => format!("clear {}", cleared.reason),
        };
        assert_eq!(decision, want);
    }

    #[test]
    fn where_no_route_is_made_what_was_said_is_taken_back() {
        let said = saying(node("a", &["10.0.0.0/24"]), TRUE, NOT_AVAILABLE);
        let clears = |node: &Node, is_foreign| {
            decide(node, Outlook::NotOurs, Network::Routes, is_foreign) != Decision::Leave
        };
        let routed = Node { provider_id: "sim://i-1".try_into().ok(), ..said.clone() };
        assert!(!clears(&routed, false), "its routes will say");
        assert!(clears(&routed, true));
        assert!(said.is_uninitialized());
        assert!(!clears(&said, false), "it will have a provider ID, and then routes");
        assert!(clears(&Node { taints: [].into(), ..said }, false));
    }

    const TRUE: ConditionStatus = ConditionStatus::True;
    const FALSE: ConditionStatus = ConditionStatus::False;

    #[rstest]
    #[case::nothing_was_said(None, [None, None, Some(ROUTE_CREATED)])]
    #[case::ours(Some((TRUE, NOT_AVAILABLE)), [None, Some(ASSIGNED), Some(ROUTE_CREATED)])]
    #[case::taken_back(Some((FALSE, ASSIGNED)), [None, None, None])]
    #[case::of_a_network_plugin(Some((FALSE, "CalicoIsUp")), [None, None, None])]
    #[case::of_somebody_else(Some((TRUE, "NoRouteCreated")), [None, None, Some(ROUTE_CREATED)])]
    #[case::there(Some((FALSE, ROUTE_CREATED)), [None, None, None])]
    fn a_node_with_ranges_has_a_network(
        #[case] said: Option<(ConditionStatus, &str)>,
        #[case] want: [Option<&str>; 3],
    ) {
        let bare = node("a", &["10.0.0.0/24"]);
        let node = said.map_or(bare.clone(), |(status, reason)| saying(bare, status, reason));
        let of = |network| match decide(&node, Outlook::NotOurs, network, false) {
            Decision::Clear(cleared) => {
                // Decided after it was acted on, it is empty.
                let after = saying(node.clone(), FALSE, cleared.reason);
                assert_eq!(decide(&after, Outlook::NotOurs, network, false), Decision::Leave);
                Some(cleared.reason)
            }
            Decision::Leave => None,
            other => panic!("{other:?}"),
        };
        assert_eq!([Network::Routes, Network::Ourselves, Network::Cloud].map(of), want);
    }

    fn pools(texts: &[&str]) -> Vec<Pool> {
        nets(texts).into_iter().map(|range| Pool::new(range, 24)).collect()
    }

    fn present(pod_cidrs: PodCidrs) -> Observation {
        Observation::Present(Instance { pod_cidrs, ..instance() })
    }

    #[rstest]
    #[case::v4_first(PodCidrs::Ranges(nets(&["fd00::/64", "10.0.0.0/24"])), &[],
        "These([10.0.0.0/24, fd00::/64])")]
    #[case::as_the_cluster_has_it(PodCidrs::Ranges(nets(&["10.0.0.0/24", "fd00::/64"])),
        &["fd00::/48", "10.0.0.0/8"], "These([fd00::/64, 10.0.0.0/24])")]
    #[case::without_host_bits(PodCidrs::Ranges(nets(&["10.0.0.7/24"])), &[], "These([10.0.0.0/24])")]
    #[case::unsaid(PodCidrs::Unsaid, &["10.0.0.0/8"], "the cloud gives no ranges for pods to this machine")]
    #[case::none(PodCidrs::Ranges(vec![]), &[], "the cloud gives no ranges for pods to this machine")]
    #[case::sizes(PodCidrs::MaskSizes { v4: Some(25), v6: Some(80) }, &["fd00::/48", "10.0.0.0/8"],
        "Pieces([Piece { pool: 0, size: 80 }, Piece { pool: 1, size: 25 }])")]
    #[case::one_size(PodCidrs::MaskSizes { v4: Some(25), v6: None }, &["fd00::/48", "10.0.0.0/8"],
        "Pieces([Piece { pool: 1, size: 25 }])")]
    #[case::sizes_of_nothing(PodCidrs::MaskSizes { v4: None, v6: None }, &["10.0.0.0/8"],
        "the cloud gives no ranges for pods to this machine")]
    #[case::sizes_without_a_range(PodCidrs::MaskSizes { v4: None, v6: Some(64) }, &["10.0.0.0/8"],
        "the cloud says how large this machine's IPv6 range is to be, and --cluster-cidr has none of \
         which it could be a part")]
    fn the_clouds_word(#[case] said: PodCidrs, #[case] cluster: &[&str], #[case] want: &str) {
        let decided = by_the_cloud(&present(said), &pools(cluster));
        let text = decided.map_or_else(|wait| wait.message, |want| format!("{want:?}"));
        assert_eq!(text, want);
    }

    #[test]
    fn doubt_is_asked_about_again() {
        let err = CloudError::new(Kind::Unavailable, "no answer");
        let wait = by_the_cloud(&Observation::Unknown(err), &[]).unwrap_err();
        assert_eq!(wait.cause, Cause::Unknown(Retry::Backoff));
        assert!(wait.message.ends_with("no answer"), "{}", wait.message);
        let gone = by_the_cloud(&Observation::Gone(Evidence::Absent), &[]).unwrap_err();
        assert_eq!(gone.cause, Cause::NotGiven);
    }

    #[test]
    fn exhaustion_says_which_family_how_many_and_which_flags() {
        let pools = [Pool::new(nets(&["10.0.0.0/22"])[0], 24)];
        let refusal = Refusal::Exhausted(Piece { pool: 0, size: 24 });
        let message = refused(&refusal, &pools).unwrap().message;
        assert!(
            message.starts_with(
                "no IPv4 range is free: --cluster-cidr 10.0.0.0/22 has room for 4 with the prefix \
                 length 24 (--node-cidr-mask-size-ipv4)"
            ),
            "{message}"
        );
        assert_eq!(refused(&Refusal::Gone, &pools), None);
    }
}

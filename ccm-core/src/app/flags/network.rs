//! What was meant with the ranges of pods: routes to them, and who gives them to nodes.

use std::num::NonZeroU16;
use std::time::Duration;

use ipnet::IpNet;

use super::options::{
    BOOLEAN, CONCURRENCY, DURATION, Errors, FlagError, SHORTEST_DRIFT_INTERVAL, positive_duration,
};
use super::{go, typed};

const RANGES: &str = "one range such as 10.244.0.0/16, or one of each family separated by a comma";

/// Prefix lengths of nodes' ranges that nobody asked for.
const USUAL_V4: u8 = 24;
const USUAL_V6: u8 = 64;

/// The route controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteController {
    /// From one look at a node's routes to the next at least.
    pub shortest_interval: Duration,
    /// Nodes whose routes are worked on at once.
    pub concurrent_syncs: NonZeroU16,
    /// From one look at every route to the next.
    pub drift_interval: Duration,
}

/// The node IPAM controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeIpam {
    /// Nodes are given ranges out of the cluster's.
    Range {
        /// The cluster's ranges, and how long a prefix a node's range out of each has: at least as
        /// long as the cluster's own. In the order in which they stand on the node.
        pools: Vec<(IpNet, u8)>,
        /// What no node is given: the ranges of the cluster's Services.
        kept_free: Vec<IpNet>,
    },
    /// Nodes have the ranges that the cloud gives to their machines.
    Cloud {
        /// The cluster's ranges, for a cloud that says only how large a node's range is. Their order
        /// is that in which ranges stand on the node. Empty where nobody said them.
        pools: Vec<IpNet>,
        /// What no node is given out of the cluster's ranges: the ranges of the cluster's Services.
        kept_free: Vec<IpNet>,
    },
}

/// One range, or two of different families; host bits are taken away, as Go does.
fn ranges(text: &str) -> Option<Vec<IpNet>> {
    // An empty value is what templates leave behind.
    if text.is_empty() {
        return Some(Vec::new());
    }
    let ranges: Vec<IpNet> = text
        .split(',')
        .map(|range| range.trim().parse::<IpNet>().ok().map(|range| range.trunc()))
        .collect::<Option<_>>()?;
    match &ranges[..] {
        [_] => Some(ranges),
        [one, other] if is_v4(one) != is_v4(other) => Some(ranges),
        _ => None,
    }
}

pub(super) fn cluster_cidrs(text: &str, errors: &mut Errors) -> Option<Vec<IpNet>> {
    errors.read("--cluster-cidr", text, RANGES, ranges)
}

/// The outer `None`: reported. The inner: switched off.
#[expect(clippy::option_option, reason = "as said")]
pub(super) fn route_controller(
    flags: &typed::RouteController,
    errors: &mut Errors,
) -> Option<Option<RouteController>> {
    let configure = errors.read(
        "--configure-cloud-routes",
        &flags.configure_cloud_routes,
        BOOLEAN,
        go::boolean,
    );
    let shortest_interval = errors.read(
        "--route-reconciliation-period",
        &flags.route_reconciliation_period,
        DURATION,
        positive_duration,
    );
    let concurrent_syncs = errors.read(
        "--concurrent-route-syncs",
        &flags.concurrent_route_syncs,
        CONCURRENCY,
        |text| go::whole(text).and_then(NonZeroU16::new),
    );
    let drift_interval = errors.read(
        "--route-drift-interval",
        &flags.route_drift_interval,
        "a duration of 10s or longer, such as 10m or 1h30m",
        |text| go::duration(text).filter(|interval| *interval >= SHORTEST_DRIFT_INTERVAL),
    );
    let controller = RouteController {
        shortest_interval: shortest_interval?,
        concurrent_syncs: concurrent_syncs?,
        drift_interval: drift_interval?,
    };
    Some(configure?.then_some(controller))
}

/// What is typed as the source of nodes' ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Range,
    Cloud,
}

/// The outer `None`: reported. The inner: switched off. `cluster`: `None` where it has been reported.
#[expect(clippy::option_option, reason = "as said")]
pub(super) fn node_ipam(
    flags: &typed::NodeIpam,
    cluster: Option<&[IpNet]>,
    errors: &mut Errors,
    warnings: &mut Vec<String>,
) -> Option<Option<NodeIpam>> {
    let enabled =
        errors.read("--allocate-node-cidrs", &flags.allocate_node_cidrs, BOOLEAN, go::boolean);
    let sizes = mask_sizes(flags, errors);
    // As upstream, the rest is of no interest where nothing is allocated.
    if !enabled? {
        return Some(None);
    }
    let source = errors.read(
        "--cidr-allocator-type",
        &flags.cidr_allocator_type,
        "RangeAllocator or CloudAllocator (IPAMFromCluster and IPAMFromCloud are not offered)",
        |text| match text {
            "RangeAllocator" => Some(Source::Range),
            "CloudAllocator" => Some(Source::Cloud),
            _ => None,
        },
    );
    let kept_free = kept_free(&flags.service_cluster_ip_range, warnings);
    match source? {
        Source::Cloud => Some(Some(NodeIpam::Cloud { pools: cluster?.to_vec(), kept_free })),
        Source::Range => {
            let cluster = cluster?;
            errors.rule(!cluster.is_empty(), || FlagError::NothingToAllocate);
            let pools = pools(cluster, sizes?, errors)?;
            Some(Some(NodeIpam::Range { pools, kept_free }))
        }
    }
}

/// The ranges of Services, one of each family. As upstream, what cannot be read is warned about and keeps
/// nothing free; what can does.
fn kept_free(text: &str, warnings: &mut Vec<String>) -> Vec<IpNet> {
    let mut kept: Vec<IpNet> = Vec::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        match entry.parse::<IpNet>() {
            Ok(range) if !kept.iter().any(|other| is_v4(other) == is_v4(&range)) => {
                kept.push(range.trunc());
            }
            Ok(_) | Err(_) => warnings.push(format!(
                "--service-cluster-ip-range {entry:?}: has no effect: must be {RANGES}; what it means may \
                 be given to nodes"
            )),
        }
    }
    kept
}

fn is_v4(range: &IpNet) -> bool {
    range.addr().is_ipv4()
}

/// Prefix lengths as typed; 0 is "not said".
#[derive(Clone, Copy, Debug)]
struct MaskSizes {
    any: u8,
    v4: u8,
    v6: u8,
}

const ANY: &str = "--node-cidr-mask-size";
const V4: &str = "--node-cidr-mask-size-ipv4";
const V6: &str = "--node-cidr-mask-size-ipv6";

fn mask_sizes(flags: &typed::NodeIpam, errors: &mut Errors) -> Option<MaskSizes> {
    let mut read = |flag, text: &str, most: u8, accepted| {
        errors.read(flag, text, accepted, |text| go::whole(text).filter(|size| *size <= most))
    };
    let most = "a prefix length from 1 to 128, or 0 for the usual one";
    let any = read(ANY, &flags.node_cidr_mask_size, 128, most);
    let v6 = read(V6, &flags.node_cidr_mask_size_ipv6, 128, most);
    let most = "a prefix length from 1 to 32, or 0 for the usual one";
    let v4 = read(V4, &flags.node_cidr_mask_size_ipv4, 32, most);
    Some(MaskSizes { any: any?, v4: v4?, v6: v6? })
}

/// The cluster's ranges with the prefix lengths of nodes' ranges, by upstream's rules.
fn pools(cluster: &[IpNet], sizes: MaskSizes, errors: &mut Errors) -> Option<Vec<(IpNet, u8)>> {
    let before = errors.0.len();
    let wrong = |flag, value, why: &str| FlagError::MaskSize { flag, value, why: why.to_owned() };
    let has = |v4: bool| cluster.iter().any(|range| range.addr().is_ipv4() == v4);
    errors.rule(sizes.any == 0 || cluster.len() < 2, || {
        wrong(
            ANY,
            sizes.any,
            "says nothing in a cluster of two families: use the flags that end in -ipv4 and -ipv6",
        )
    });
    for (flag, size, v4, family) in [(V4, sizes.v4, true, "IPv4"), (V6, sizes.v6, false, "IPv6")] {
        errors.rule(size == 0 || sizes.any == 0, || {
            wrong(flag, size, "cannot stand beside --node-cidr-mask-size")
        });
        errors.rule(size == 0 || has(v4), || {
            wrong(flag, size, &format!("--cluster-cidr has no {family} range"))
        });
    }
    let pools = cluster.iter().map(|range| {
        let (flag, own, usual) = match range {
            IpNet::V4(_) => (V4, sizes.v4, USUAL_V4),
            IpNet::V6(_) => (V6, sizes.v6, USUAL_V6),
        };
        let (flag, size) = match (own, sizes.any) {
            (0, 0) => (flag, usual),
            (0, any) => (ANY, any),
            (own, _) => (flag, own),
        };
        let fits = size >= range.prefix_len() && size <= range.max_prefix_len();
        errors.rule(fits, || {
            let (least, most) = (range.prefix_len(), range.max_prefix_len());
            wrong(flag, size, &format!("must be from {least} to {most} for --cluster-cidr {range}"))
        });
        (*range, size)
    });
    let pools: Vec<_> = pools.collect();
    (errors.0.len() == before).then_some(pools)
}

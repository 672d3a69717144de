//! Tables and machines that are values, in which every change has its effect at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use ccm_core::cloud::{
    Identity, NodeIdentity, NodeName, ObjectId, ProviderId, RouteSpec, Uid, Want,
};
use ipnet::IpNet;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;

use super::super::super::Scope;
use super::super::super::change::RouteChange;
use super::super::super::observe::{Observed, Router};
use super::super::plan;
use crate::client::ec2::routes::{Route, Target, Towards};

pub(super) fn scope() -> Scope {
    Scope(["10.244.0.0/16", "fd00:10::/48"].map(|range| range.parse().unwrap()).to_vec())
}

fn id(text: &str) -> ObjectId {
    let name = text.split('#').next().unwrap();
    ObjectId { namespace: "".into(), name: name.into(), uid: Uid::from(text) }
}

fn identity(text: &str) -> Arc<Identity> {
    let (annotations, finalizers) = (BTreeMap::new(), BTreeSet::new());
    Arc::new(Identity { id: id(text), annotations, finalizers, ingress: Vec::new() })
}

/// A want in words: `-a` (absent), `=a` (kept), or a node's name, its instance, and its ranges. For
/// the instance may stand `?` (none yet), `!` (an odd provider ID) and `fargate`.
pub(super) fn want(text: &str) -> Want<RouteSpec> {
    if let Some(name) = text.strip_prefix('-') {
        return Want::Absent(identity(name));
    }
    if let Some(name) = text.strip_prefix('=') {
        return Want::Keep(identity(name));
    }
    let mut words = text.split(' ');
    let (name, instance) = (words.next().unwrap(), words.next().unwrap());
    let provider_id = match instance {
        "?" => None,
        "!" => Some("aws:///z/x".to_owned()),
        "fargate" => Some("aws:///z/x/fargate-10.0.0.1".to_owned()),
        instance => Some(format!("aws:///z/{instance}")),
    };
    let identity = identity(name);
    let node = NodeIdentity {
        name: NodeName::from(name),
        uid: identity.id.uid.clone(),
        created: SystemTime::UNIX_EPOCH,
        provider_id: provider_id.map(|id| ProviderId::try_from(id).unwrap()),
        system_uuid: None,
        addresses: Vec::new(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        is_initialized: true,
    };
    let destinations = words.map(|range| range.parse().unwrap()).collect();
    Want::Present(Arc::new(RouteSpec { identity, node, destinations, is_reachable: false }))
}

/// A machine whose private DNS name is the last letter of its ID, with what the rest of it says.
pub(super) fn machine(id: &str) -> Router {
    let short = id.strip_prefix("i-").unwrap();
    let interfaces = match id {
        "i-two" => vec!["eni-two-0".to_owned(), "eni-two-1".to_owned()],
        _ => vec![format!("eni-{short}")],
    };
    let towards = match id {
        "i-two" => Towards::Interface("eni-two-0".to_owned()),
        _ => Towards::Instance(id.to_owned()),
    };
    Router {
        is_ours: id != "i-untagged",
        is_terminated: id == "i-dead",
        private_dns_name: (id != "i-dead").then(|| short.to_owned()),
        interfaces: interfaces.into_iter().collect(),
        towards,
        is_checked: matches!(id, "i-checked" | "i-two"),
    }
}

const MACHINES: [&str; 8] =
    ["i-a", "i-b", "i-c", "i-k", "i-checked", "i-two", "i-untagged", "i-dead"];

/// Tables in words: `table <ID>`, and then each of its routes, with its destination and target.
pub(super) fn observed(lines: &[&str]) -> Observed {
    let mut observed = Observed::default();
    observed.machines.extend(MACHINES.map(|id| (id.to_owned(), machine(id))));
    let mut table = String::new();
    for line in lines {
        if let Some(id) = line.strip_prefix("table ") {
            id.clone_into(&mut table);
            observed.tables.entry(table.clone()).or_default();
            continue;
        }
        let mut words = line.split(' ');
        let (destination, target) = (words.next().unwrap(), words.next().unwrap());
        let target = match target {
            "-" => Target::Nothing,
            id if id.starts_with("i-") => Target::Instance { id: id.to_owned(), interface: None },
            id if id.starts_with("eni-") => Target::Interface(id.to_owned()),
            other => Target::Other(other.to_owned()),
        };
        let route = Route { target, is_blackhole: words.next() == Some("blackhole") };
        let routes = observed.tables.get_mut(&table).unwrap();
        routes.insert(destination.parse().unwrap(), route);
    }
    observed
}

const RANGES: [&str; 5] =
    ["10.244.1.0/24", "10.244.2.0/24", "10.244.3.0/24", "fd00:10:0:1::/64", "192.168.0.0/24"];

fn any_route() -> impl Strategy<Value = Route> {
    let others = ["eni-a", "eni-x", "igw-1", "-", "i-unheard-of"];
    let targets: Vec<_> = MACHINES.into_iter().chain(others).collect();
    (select(targets), any::<bool>()).prop_map(|(target, is_blackhole)| {
        let target = match target {
            "-" => Target::Nothing,
            id if id.starts_with("i-") => Target::Instance { id: id.to_owned(), interface: None },
            id if id.starts_with("eni-") => Target::Interface(id.to_owned()),
            other => Target::Other(other.to_owned()),
        };
        Route { target, is_blackhole }
    })
}

fn any_tables() -> impl Strategy<Value = Observed> {
    let ranges = RANGES.map(|range| range.parse::<IpNet>().unwrap()).to_vec();
    let routes = btree_map(select(ranges), any_route(), 0..5);
    btree_map(select(vec!["t1".to_owned(), "t2".to_owned()]), routes, 1..3)
        .prop_map(|tables| Observed { tables, ..observed(&[]) })
}

fn any_wants() -> impl Strategy<Value = Vec<Want<RouteSpec>>> {
    let machines: Vec<_> = MACHINES.into_iter().chain(["?", "!", "i-unheard-of"]).collect();
    let ranges = vec(select(RANGES.to_vec()), 0..3);
    let present = (select(machines), ranges)
        .prop_map(|(instance, ranges)| format!(" {instance} {}", ranges.join(" ")));
    let form = prop_oneof![
        3 => present.prop_map(|rest| ("", rest.trim_end().to_owned())),
        1 => Just(("-", String::new())),
        1 => Just(("=", String::new())),
    ];
    btree_map(select(vec!["a", "b", "c", "k", "a#2"]), form, 0..5).prop_map(|all| {
        all.into_iter().map(|(name, (mark, rest))| want(&format!("{mark}{name}{rest}"))).collect()
    })
}

proptest! {
    /// What is planned and done leaves nothing to be done.
    #[test]
    fn a_plan_that_was_carried_out_is_followed_by_an_empty_one(
        wants in any_wants(),
        before in any_tables(),
    ) {
        let mut now = before.clone();
        let first = plan(&scope(), &wants, &now);
        for step in first.stages.iter().flatten() {
            now = now.after(&step.change);
        }
        let second = plan(&scope(), &wants, &now);
        prop_assert!(second.stages.is_empty(), "{first:#?}\n{second:#?}");
    }

    /// What is not ours stays as it is, and so does what may be of a node that is kept.
    #[test]
    fn nothing_of_others_is_touched(wants in any_wants(), before in any_tables()) {
        let plan = plan(&scope(), &wants, &before);
        let is_any_kept = wants.iter().any(|want| matches!(want, Want::Keep(_)));
        for step in plan.stages.iter().flatten() {
            let (table, destination, is_deleted) = match &step.change {
                RouteChange::Delete { table, destination } => (table, destination, true),
                RouteChange::Replace { table, destination, .. } => (table, destination, false),
                RouteChange::Create { table, destination, .. } => {
                    prop_assert!(!before.tables[table].contains_key(destination));
                    continue;
                }
                RouteChange::SkipCheck(_) => continue,
            };
            prop_assert!(destination.to_string() != "192.168.0.0/24");
            let route = &before.tables[table][destination];
            prop_assert!(!matches!(route.target, Target::Other(_)));
            if is_deleted && is_any_kept {
                prop_assert!(route.target != Target::Nothing);
            }
        }
    }
}

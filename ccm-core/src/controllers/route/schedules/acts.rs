//! What happens to nodes and machines meanwhile.

use std::time::{Duration, SystemTime};

use super::api::THEIRS;
use super::state::{Sim, State};
use crate::cloud::{AddressKind, NodeAddress, NodeName, ProviderId};
use crate::cluster::node::{Condition, ConditionStatus, Node};
use crate::controllers::node::decide::tests::new_node;

/// Ranges that nodes are given.
const RANGES: u32 = 7;

impl State {
    /// What there is in the beginning.
    pub(super) fn populate(&mut self, sim: &Sim) {
        for number in 0..self.setup.names {
            if self.rng.chance(60) {
                self.join(sim, &name(number));
            }
        }
        for _ in 0..3 {
            self.others_make_a_route();
        }
        self.a_route_of_ours_outside();
    }

    /// Something happens.
    pub(super) fn act(&mut self, sim: &Sim) {
        if self.rng.chance(75) { self.node_act(sim) } else { self.others_act() }
    }

    fn node_act(&mut self, sim: &Sim) {
        let name = name(self.rng.below(self.setup.names));
        let dice = self.rng.below(100);
        let Some(node) = self.nodes.get(&name).cloned() else { return self.join(sim, &name) };
        match dice {
            0..20 => self.leave(sim, &node),
            20..32 => {
                self.leave(sim, &node);
                self.join(sim, &name);
            }
            32..48 if node.pod_cidrs.is_empty() => {
                let pod_cidrs = self.ranges();
                self.note("got its range late", || format!("{name} {pod_cidrs:?}"));
                self.store(sim, Node { pod_cidrs, ..node });
            }
            48..64 if node.provider_id.is_none() => {
                self.note("got its machine late", || name.to_string());
                let provider_id = Some(machine(&node));
                self.store(sim, Node { provider_id, ..node });
            }
            64..74 => {
                let address = format!("192.168.0.{}", self.rng.between(1, 200));
                self.note("addresses changed", || format!("{name} {address}"));
                let addresses = [NodeAddress::new(AddressKind::InternalIp, &*address)].into();
                self.store(sim, Node { addresses, ..node });
            }
            74..82 => {
                self.figures.count("heartbeat");
                self.store(sim, node);
            }
            82..90 => {
                let says = [
                    Some(Condition { status: ConditionStatus::False, reason: THEIRS.into() }),
                    Some(Condition { status: ConditionStatus::True, reason: "NoCNI".into() }),
                    None,
                ];
                let network_unavailable = says[self.rng.below(3)].clone();
                self.note("another writes the condition", || {
                    format!("{name} {network_unavailable:?}")
                });
                self.store(
                    sim,
                    Node { network_unavailable, unreachable_because: "".into(), ..node },
                );
            }
            _ => {
                if let Some(machine) = node.provider_id {
                    self.note("machine terminated", || machine.to_string());
                    self.terminate(machine);
                }
            }
        }
    }

    pub(super) fn leave(&mut self, sim: &Sim, node: &Node) {
        self.note("node leaves", || format!("{} ({})", node.name, node.uid));
        self.remove(sim, &node.name);
        if let Some(machine) = node.provider_id.clone().filter(|_| self.rng.chance(50)) {
            self.terminate(machine);
        }
    }

    pub(super) fn join(&mut self, sim: &Sim, name: &NodeName) {
        self.uids += 1;
        let uid = format!("{name}-{}", self.uids);
        if !self.names.insert(name.clone()) {
            self.figures.count("re-created under its name");
        }
        let created = SystemTime::UNIX_EPOCH
            + Duration::from_hours(500_000)
            + Duration::from_secs(self.now() / 1000);
        let bare = Node {
            name: name.clone(),
            uid: uid.as_str().into(),
            created,
            taints: [].into(),
            ..new_node()
        };
        let dice = self.rng.below(100);
        let provider_id = match dice {
            0..8 => {
                self.figures.count("a foreign node");
                ProviderId::try_from(format!("other://{uid}")).ok()
            }
            8..30 => None,
            _ => Some(machine(&bare)),
        };
        let pod_cidrs = if self.rng.chance(70) { self.ranges() } else { [].into() };
        self.note("node joins", || format!("{name} ({uid}) {provider_id:?} {pod_cidrs:?}"));
        self.store(sim, Node { provider_id, pod_cidrs, ..bare });
    }

    /// A node joins that has all it needs, with a range that nobody has. False where there is none.
    pub(super) fn join_well(&mut self, sim: &Sim, name: &NodeName) -> bool {
        let is_free = |number: &u32| {
            let range = range(*number);
            self.is_free(&range) && self.routes_to(range.parse().expect("a range")).next().is_none()
        };
        let Some(free) = (0..RANGES).find(is_free) else { return false };
        self.uids += 1;
        let uid = format!("{name}-{}", self.uids);
        let created = SystemTime::UNIX_EPOCH
            + Duration::from_hours(500_000)
            + Duration::from_secs(self.now() / 1000);
        let pod_cidrs = [range(free).into()].into();
        let node = Node {
            name: name.clone(),
            uid: uid.into(),
            created,
            pod_cidrs,
            taints: [].into(),
            ..new_node()
        };
        let provider_id = Some(machine(&node));
        self.note("node joins", || format!("{name} ({}) {:?}", node.uid, node.pod_cidrs));
        self.store(sim, Node { provider_id, ..node });
        true
    }

    fn is_free(&self, range: &str) -> bool {
        let has = |node: &Node| node.pod_cidrs.iter().any(|it| **it == *range);
        !self.nodes.values().any(has)
    }

    /// Mostly what an allocator gives; sometimes what people write.
    fn ranges(&mut self) -> Box<[Box<str>]> {
        let start = u32::try_from(self.rng.below(RANGES as usize)).expect("a few");
        let mut all = (0..RANGES).map(|step| (start + step) % RANGES);
        let free = all.find(|number| self.is_free(&range(*number))).unwrap_or(start);
        let number = if self.rng.chance(6) {
            self.figures.count("a range of an older node");
            start
        } else {
            free
        };
        let mut ranges: Vec<Box<str>> = vec![range(number).into()];
        if self.setup.is_dual {
            ranges.push(format!("fd00:0:0:{number}::/64").into());
        }
        match self.rng.below(100) {
            0..4 => {
                self.figures.count("a range outside the cluster's");
                ranges[0] = "10.1.0.0/24".into();
            }
            4..6 => {
                self.figures.count("a range that is none");
                ranges[0] = "nonsense".into();
            }
            6..9 => {
                self.figures.count("a range of an older node");
                ranges[0] = format!("10.0.{}.0/23", number & !1).into();
            }
            9..14 => ranges[0] = format!("10.0.{number}.7/24").into(),
            _ => {}
        }
        ranges.into()
    }
}

fn name(number: usize) -> NodeName {
    NodeName::from(format!("n{number}"))
}

pub(super) fn range(number: u32) -> String {
    format!("10.0.{number}.0/24")
}

fn machine(node: &Node) -> ProviderId {
    ProviderId::try_from(format!("toy://{}", node.uid)).expect("not empty")
}

//! Which instances take traffic. Pure, and linear in the nodes: both sides are sorted once.

use std::cmp::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use ccm_core::cloud::{Member, Observation, Zone};
use simcloud::api::InstanceId;

use crate::id;

/// Keeps the last answer: every Service asks about the same nodes, at each step.
#[derive(Debug, Default)]
pub(crate) struct Roll(Mutex<Option<Answer>>);

/// The nodes that were asked about, and who of them is a member.
type Answer = (Arc<[Member]>, Arc<Members>);

impl Roll {
    /// The members among these nodes, in these zones or in all.
    pub(crate) fn of(&self, nodes: &Arc<[Member]>, zones: Option<&[String]>) -> Arc<Members> {
        if zones.is_some() {
            return Arc::new(Members::of(nodes, zones));
        }
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((asked, members)) if Arc::ptr_eq(asked, nodes) => Arc::clone(members),
            Some(_) | None => {
                let members = Arc::new(Members::of(nodes, zones));
                *last = Some((Arc::clone(nodes), Arc::clone(&members)));
                members
            }
        }
    }
}

/// The instances that are to be targets, and those that stay what they are.
#[derive(Debug)]
pub(crate) struct Members {
    /// Sorted, each once.
    wanted: Vec<InstanceId>,
    /// Those of which we do not know: targets stay, others are not added. Sorted.
    left_alone: Vec<InstanceId>,
}

impl Members {
    /// Sorts the nodes out.
    ///
    /// A stopped instance stays a target: its health check keeps traffic away, and it is back the
    /// sooner. A node whose instance cannot be told is skipped.
    pub(crate) fn of(nodes: &[Member], zones: Option<&[String]>) -> Self {
        let mut wanted = Vec::with_capacity(nodes.len());
        let mut left_alone = Vec::new();
        for Member { node, instance } in nodes {
            let of_node = node.provider_id.as_ref();
            match &**instance {
                Observation::Present(found) => {
                    let zone = found.zone.as_ref().map(Zone::as_str);
                    let is_in = |zones: &[String]| zones.iter().any(|one| Some(&**one) == zone);
                    if zones.is_none_or(is_in) {
                        let of_node = of_node.unwrap_or(&found.provider_id);
                        wanted.extend(id::instance_of(of_node).map(InstanceId::from));
                    }
                }
                // One that never had a provider ID is no target that we could know of.
                Observation::Unknown(_) => {
                    let instance = of_node.and_then(id::instance_of);
                    left_alone.extend(instance.map(InstanceId::from));
                }
                Observation::Gone(_) => {}
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        left_alone.sort_unstable();
        Self { wanted, left_alone }
    }

    /// What has to be added to and removed from these targets, which are sorted.
    pub(crate) fn difference(&self, have: &[InstanceId]) -> (Vec<InstanceId>, Vec<InstanceId>) {
        let (mut add, mut remove) = (Vec::new(), Vec::new());
        let mut have = have.iter().peekable();
        let mut wanted = self.wanted.iter().peekable();
        loop {
            let order = match (have.peek(), wanted.peek()) {
                (None, None) => return (add, remove),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(have), Some(wanted)) => have.cmp(wanted),
            };
            let found = if order.is_le() { have.next() } else { None };
            let sought = if order.is_ge() { wanted.next() } else { None };
            match (found, sought) {
                (Some(found), None) if self.left_alone.binary_search(found).is_err() => {
                    remove.push(found.clone());
                }
                (None, Some(sought)) => add.push(sought.clone()),
                (Some(_), _) | (None, None) => {}
            }
        }
    }
}

//! Which instances take traffic. Pure, and linear in the nodes: both sides are sorted once.

use std::cmp::Ordering;

use ccm_core::cloud::{Member, Observation, Zone};
use simcloud::api::InstanceId;

use crate::id;

/// The instances that are to be targets, and those that stay what they are.
#[derive(Debug)]
pub(crate) struct Members<'a> {
    /// Sorted, each once.
    wanted: Vec<&'a str>,
    /// Those of which we do not know: targets stay, others are not added. Sorted.
    left_alone: Vec<&'a str>,
}

impl<'a> Members<'a> {
    /// Sorts the nodes out.
    ///
    /// A stopped instance stays a target: its health check keeps traffic away, and it is back the
    /// sooner. A node whose instance cannot be told is skipped.
    pub(crate) fn of(nodes: &'a [Member], zones: Option<&[String]>) -> Self {
        let mut wanted = Vec::with_capacity(nodes.len());
        let mut left_alone = Vec::new();
        for Member { node, instance } in nodes {
            let of_node = node.provider_id.as_ref();
            match &**instance {
                Observation::Present(found) => {
                    let zone = found.zone.as_ref().map(Zone::as_str);
                    let is_in = |zones: &[String]| zones.iter().any(|one| Some(&**one) == zone);
                    if zones.is_none_or(is_in) {
                        wanted.extend(id::instance_of(of_node.unwrap_or(&found.provider_id)));
                    }
                }
                // One that never had a provider ID is no target that we could know of.
                Observation::Unknown(_) => left_alone.extend(of_node.and_then(id::instance_of)),
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
                (Some(have), Some(wanted)) => have.as_str().cmp(wanted),
            };
            let found = if order.is_le() { have.next() } else { None };
            let sought = if order.is_ge() { wanted.next() } else { None };
            match (found, sought) {
                (Some(found), None) if self.left_alone.binary_search(&found.as_str()).is_err() => {
                    remove.push(found.clone());
                }
                (None, Some(sought)) => add.push(InstanceId::from(*sought)),
                (Some(_), _) | (None, None) => {}
            }
        }
    }
}

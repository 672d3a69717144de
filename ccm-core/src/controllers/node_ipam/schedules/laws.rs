//! What must hold, whatever happens.

use std::collections::BTreeSet;

use ipnet::{IpNet, IpSub};

use super::super::NodeIpamController;
use super::super::decide::NOT_AVAILABLE;
use super::super::taken::overlap;
use super::state::{Author, Generation, State, Stored};
use crate::cloud::{NodeName, Uid};
use crate::cluster::node::ConditionStatus;

/// Nothing, or which law is broken and how.
pub(super) type Verdict = Result<(), String>;

/// Tries on one node, more than which are a loop.
const MOST_TRIES: u64 = 60;

fn hold(law: &str, is_so: bool, how: impl FnOnce() -> String) -> Verdict {
    if is_so { Ok(()) } else { Err(format!("{law}: {}", how())) }
}

/// A write of ranges leaves the process: what it knew by then.
pub(super) fn written_right(state: &State, uid: &Uid, ranges: &[String]) -> Verdict {
    let now = state.now();
    let knew = state.seen_doomed.get(uid).is_some_and(|seen| *seen < now);
    hold("a_node_about_to_go_is_given_none", !knew, || format!("{uid} {ranges:?}"))?;
    let tries = state.tries.get(uid).copied().unwrap_or_default();
    hold("nobody_loops", tries <= MOST_TRIES, || format!("{tries} tries on {uid}"))
}

/// Ranges come to stand on a node: nobody else has them, and they are what they should be.
pub(super) fn given_right(state: &State, generation: Generation, given: &Stored) -> Verdict {
    let ranges = given.ranges();
    let name = &given.node.name;
    well_formed(state, &ranges).map_err(|how| format!("well_formed: {name} {ranges:?}: {how}"))?;
    let texts: Vec<_> = ranges.iter().map(ToString::to_string).collect();
    let sent = state.sent.get(&(generation, given.node.uid.clone(), texts.join(",")));
    for other in state.nodes.values().filter(|other| other.node.uid != given.node.uid) {
        let shared =
            other.ranges().iter().any(|theirs| ranges.iter().any(|range| overlap(range, theirs)));
        if !shared {
            continue;
        }
        let how = || {
            format!("{name} is given {ranges:?}, and {} has {:?}", other.node.name, other.ranges())
        };
        // What others write at the same time nobody can know of.
        let seen = state.seen_ranges.get(&other.node.uid);
        let could_know = seen.zip(sent).is_some_and(|(seen, sent)| seen < sent);
        hold("no_two_nodes_hold_one_range", other.author != Some(Author::Us), how)?;
        hold("what_others_gave_is_honoured", !could_know, how)?;
    }
    Ok(())
}

fn well_formed(state: &State, ranges: &[IpNet]) -> Verdict {
    let pools = &state.setup.pools;
    hold("both families or none", ranges.len() == pools.len(), || format!("{ranges:?}"))?;
    for (range, (pool, size)) in ranges.iter().zip(pools) {
        hold("in its pool", pool.contains(range) && range.prefix_len() == *size, || {
            format!("{range} in {pool}")
        })?;
        let is_kept_free = state.setup.kept_free.iter().any(|kept| overlap(kept, range));
        hold("not of what is kept free", !is_kept_free, || range.to_string())?;
    }
    Ok(())
}

/// Everything has come to rest.
pub(super) fn settled(state: &State, controller: &NodeIpamController) -> Verdict {
    let waiting = waiting(state);
    for stored in state.nodes.values() {
        let node = &stored.node;
        let said = node.network_unavailable.as_ref();
        let says_none = said
            .is_some_and(|it| it.status == ConditionStatus::True && &*it.reason == NOT_AVAILABLE);
        let others_say = said.is_some_and(|it| &*it.reason == "CalicoIsUp");
        if waiting.contains(&node.name) {
            hold("who_waits_says_so", says_none || others_say, || {
                format!("{}: {said:?}", node.name)
            })?;
        } else if !node.pod_cidrs.is_empty() {
            hold("who_has_ranges_says_so", !says_none, || format!("{}: {said:?}", node.name))?;
        }
    }
    if let Some(waits) = waiting.first() {
        let full = state.setup.pools.iter().any(|(pool, size)| !has_room(state, pool, *size));
        hold("nobody_waits_where_there_is_room", full, || waits.to_string())?;
    }

    let desk = controller.intake.desk();
    let held: Vec<IpNet> = state
        .nodes
        .values()
        .flat_map(Stored::ranges)
        .chain(state.setup.kept_free.iter().copied())
        .collect();
    let addresses = IpNet::aggregate(&held).iter().map(addresses).fold(0, u128::wrapping_add);
    let kept = desk.ledger().held();
    hold("nothing_leaks", kept == (addresses, state.nodes.len()), || {
        format!("{kept:?} in the ledger, {addresses} addresses on {} nodes", state.nodes.len())
    })?;
    let queued = desk.remembered().1;
    hold("who_waits_is_in_the_queue", queued == waiting.len(), || {
        format!("{queued} of {waiting:?}")
    })
}

/// Who has no ranges and is not about to go, the oldest first.
pub(super) fn waiting(state: &State) -> Vec<NodeName> {
    let nodes = state.nodes.values().map(|stored| &stored.node);
    let mut waiting: Vec<_> =
        nodes.filter(|node| node.pod_cidrs.is_empty() && !node.deleting).collect();
    waiting.sort_by_key(|node| (node.created, node.name.clone()));
    waiting.into_iter().map(|node| node.name.clone()).collect()
}

/// Whether there is a range of this size in the pool of which nobody has any part.
fn has_room(state: &State, pool: &IpNet, size: u8) -> bool {
    let held: BTreeSet<IpNet> = state
        .nodes
        .values()
        .flat_map(Stored::ranges)
        .chain(state.setup.kept_free.iter().copied())
        .collect();
    // In a large pool one of the first is free.
    let pieces = pool.subnets(size).expect("as long as the pool's prefix at least");
    pieces.take(held.len() + 1024).any(|piece| !held.iter().any(|held| overlap(held, &piece)))
}

fn addresses(range: &IpNet) -> u128 {
    match range {
        IpNet::V4(range) => {
            u128::from(u32::from(range.broadcast()).saturating_sub(range.network().into())) + 1
        }
        IpNet::V6(range) => range.broadcast().saturating_sub(range.network()) + 1,
    }
}

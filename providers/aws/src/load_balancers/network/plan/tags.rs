//! Tags that are missing. The Go program sets them when it makes something, and never again.

use std::collections::BTreeMap;

use super::super::super::draft::Draft;
use super::super::change::{NetworkChange, Piece};
use super::super::found::{Claim, Found};
use super::super::wish::NetworkWish;
use super::groups::Seat;
use super::row;
use crate::marks::{MANAGED_KEY, Tags};

/// Adds what is missing, and changes what the annotation says otherwise; nothing is taken away.
pub(super) fn tidy(
    wish: &NetworkWish<'_>,
    found: &Found,
    seats: &BTreeMap<u16, Seat<'_>>,
    draft: &mut Draft,
) {
    let Some(balancer) = &found.balancer else { return };
    let is_managed = balancer.tags.contains_key(MANAGED_KEY);
    let name = || wish.base.name.clone();
    let mut pieces = vec![(Piece::Balancer(name()), &balancer.tags)];
    for seat in seats.values() {
        if let Some(group) = seat.found.filter(|group| group.claim == Claim::Ours) {
            pieces.push((Piece::Group(seat.group.clone()), &group.tags));
        }
    }
    for (port, ear) in &balancer.listeners {
        if let Some(tags) = ear.tags.as_ref().filter(|_| wish.fronts.contains_key(port)) {
            pieces.push((Piece::Listener(name(), *port), tags));
        }
    }
    let mut steps = Vec::new();
    for (piece, have) in pieces {
        let mut missing = missing(wish, have);
        // What is ours says so: a later Service of this name must not be taken for the same one.
        if is_managed && matches!(piece, Piece::Group(_)) && !have.contains_key(MANAGED_KEY) {
            missing.insert(MANAGED_KEY.to_owned(), wish.base.id.uid.to_string());
        }
        if !missing.is_empty() {
            steps.push(NetworkChange::Tag { piece, tags: missing });
        }
    }
    for stage in row(steps) {
        draft.tidy(stage);
    }
}

/// The cluster's and the Service's tags may have other values: they say whose it is all the same.
fn missing(wish: &NetworkWish<'_>, have: &Tags) -> Tags {
    let is_missing = |(key, value): &(&String, &String)| match have.get(*key) {
        None => true,
        Some(have) => wish.base.extra_tags.get(*key) == Some(value) && have != *value,
    };
    let missing = wish.base.tags.iter().filter(is_missing);
    missing.map(|(key, value)| (key.clone(), value.clone())).collect()
}

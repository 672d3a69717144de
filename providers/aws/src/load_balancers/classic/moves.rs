//! How a load balancer gets from some subnets to others. Pure.

use std::collections::BTreeSet;

/// A step on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    Attach(BTreeSet<String>),
    Detach(BTreeSet<String>),
}

/// The steps from these subnets to those. `zone` says where a subnet is, as far as it is known.
///
/// AWS takes one subnet in a zone, and lets nobody detach all of them. So what is in a free zone comes
/// first, and where there is no such, one stays until another has come. `None`: there is no way,
/// because the only subnet is in the way of its successor.
pub(crate) fn moves<'a>(
    have: &BTreeSet<String>,
    want: &BTreeSet<String>,
    zone: impl Fn(&str) -> Option<&'a str>,
) -> Option<Vec<Move>> {
    let (mut now, mut moves) = (have.clone(), Vec::new());
    loop {
        let taken: BTreeSet<_> = now.iter().map(|id| zone(id)).collect();
        // A subnet that is not known may be in any zone.
        let is_free = |id: &&String| !taken.contains(&zone(id)) && !taken.contains(&None);
        let missing: BTreeSet<_> = want.difference(&now).cloned().collect();
        let next: BTreeSet<_> = missing.iter().filter(is_free).cloned().collect();
        if !next.is_empty() {
            now.extend(next.iter().cloned());
            moves.push(Move::Attach(next));
            continue;
        }
        let mut surplus: BTreeSet<_> = now.difference(want).cloned().collect();
        if surplus.is_empty() {
            return missing.is_empty().then_some(moves);
        }
        if now.is_disjoint(want) {
            let needed: BTreeSet<_> = missing.iter().map(|id| zone(id)).collect();
            let harmless = surplus.iter().find(|id| !needed.contains(&zone(id)));
            let stays = harmless.or(surplus.first()).cloned();
            surplus.retain(|id| Some(id) != stays.as_ref());
        }
        if surplus.is_empty() {
            return None;
        }
        now.retain(|id| !surplus.contains(id));
        moves.push(Move::Detach(surplus));
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn set(text: &str) -> BTreeSet<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// The first letter is the zone.
    fn zone(id: &str) -> Option<&'static str> {
        ["a", "b", "c"].into_iter().find(|zone| id.starts_with(zone))
    }

    #[rstest]
    #[case::nothing("a1 b1", "a1 b1", Some(""))]
    #[case::more("a1", "a1 b1", Some("+b1"))]
    #[case::fewer("a1 b1", "a1", Some("-b1"))]
    #[case::other_zones("a1", "b1 c1", Some("+b1 c1, -a1"))]
    #[case::one_of_two("a1 b1", "a1 b2", Some("-b1, +b2"))]
    #[case::a_free_zone_first("a1 b1", "a2 c1", Some("+c1, -a1 b1, +a2"))]
    #[case::all("a1 b1 c1", "a2 b2 c2", Some("-b1 c1, +b2 c2, -a1, +a2"))]
    #[case::what_is_in_nobodys_way_stays("a1 b1", "a2", Some("-a1, +a2, -b1"))]
    #[case::the_only_one("a1", "a2", None)]
    #[case::where_it_is_is_not_known("?1", "a2", None)]
    fn ways(#[case] have: &str, #[case] want: &str, #[case] way: Option<&str>) {
        let moves = moves(&set(have), &set(want), zone);
        let line = |step: &Move| {
            let (sign, ids) = match step {
                Move::Attach(ids) => ('+', ids),
                Move::Detach(ids) => ('-', ids),
            };
            format!("{sign}{}", ids.iter().cloned().collect::<Vec<_>>().join(" "))
        };
        let lines = moves.map(|moves| moves.iter().map(line).collect::<Vec<_>>().join(", "));
        assert_eq!(lines.as_deref(), way);
    }
}

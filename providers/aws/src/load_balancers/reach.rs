//! How far a plan goes with what the Go program left, and in which order. Pure.
//!
//! A takeover changes nothing: what differs from what is asked for, and what the Go program would leave,
//! waits for the next change of the Service by its owner. That a node joins is no change of his.

use super::takeover::Change;

/// What there is before a plan is carried out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    /// Whether the load balancer of the kind that is asked for is managed: it bears
    /// [`MANAGED_KEY`](crate::marks::MANAGED_KEY). `None`: there is none.
    pub(crate) here: Option<bool>,
    /// The same of the other kind.
    pub(crate) other: Option<bool>,
    /// What the Service's owner has changed.
    pub(crate) change: Change,
}

/// What a plan is put together from, most of it in stages.
#[derive(Debug)]
pub(crate) struct Parts<T> {
    /// Marks the load balancer as managed.
    pub(crate) mark: Option<T>,
    /// Marks that of the other kind.
    pub(crate) mark_other: Option<T>,
    /// What the Service needs.
    pub(crate) building: Vec<Vec<T>>,
    /// What differs and the Go program would leave.
    pub(crate) tidying: Vec<Vec<T>>,
    /// What there is of the other kind.
    pub(crate) replaced: Vec<Vec<T>>,
    /// What is left of an earlier form of the Service.
    pub(crate) clearing: Vec<Vec<T>>,
}

/// What comes of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Order<T> {
    /// In stages.
    pub(crate) now: Vec<Vec<T>>,
    /// What waits for the Service to be changed.
    pub(crate) left: Vec<T>,
}

impl Standing {
    /// Whether a load balancer of the other kind, which the Go program has made, serves on: it refuses
    /// to change the kind later, so the annotation may have said something else for years.
    pub(crate) fn is_refused(self) -> bool {
        self.here.is_none() && self.other == Some(false) && !self.change.kind
    }

    /// Whether it is as the Go program left it, and its owner has asked for nothing since.
    pub(crate) fn is_as_found(self) -> bool {
        self.here == Some(false) && !self.change.any
    }

    /// In which order, and what of it now. What somebody else has changed is put right without a mark:
    /// that is no change of the owner's, and what he has lived with stays.
    ///
    /// Both kinds have one name. Where the kind changes, the one of before goes first: it would take the
    /// name's place in what looks for it, the nodes' rules are by that name, and the address changes
    /// anyhow. It is marked before that, so that a process which is started meanwhile goes on.
    pub(crate) fn order<T>(self, parts: Parts<T>) -> Order<T> {
        let Parts { mark, mark_other, building, tidying, mut replaced, clearing } = parts;
        let stage = |mark: Option<T>| mark.map(|mark| vec![mark]);
        let mut now = Vec::new();
        if self.here.is_none() {
            if self.other == Some(false) {
                now.extend(stage(mark_other));
            }
            now.append(&mut replaced);
        }
        if self.is_as_found() {
            now.extend(building);
            let left = [tidying, replaced, clearing].into_iter().flatten().flatten().collect();
            return Order { now, left };
        }
        if self.here == Some(false) {
            now.extend(stage(mark));
        }
        now.extend(building);
        now.extend([tidying, replaced, clearing].into_iter().flatten());
        Order { now, left: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const NONE: Change = Change { any: false, kind: false };
    const ANY: Change = Change { any: true, kind: false };
    const KIND: Change = Change { any: true, kind: true };

    fn standing(here: Option<bool>, other: Option<bool>, change: Change) -> Standing {
        Standing { here, other, change }
    }

    #[rstest]
    #[case::the_go_programs_serves(standing(None, Some(false), NONE), true)]
    #[case::something_else_was_changed(standing(None, Some(false), ANY), true)]
    #[case::the_kind_was_changed(standing(None, Some(false), KIND), false)]
    #[case::it_is_ours_by_now(standing(None, Some(true), NONE), false)]
    #[case::there_are_both(standing(Some(false), Some(false), NONE), false)]
    #[case::there_is_none(standing(None, None, NONE), false)]
    #[case::usual(standing(Some(true), None, NONE), false)]
    fn who_serves_on(#[case] standing: Standing, #[case] want: bool) {
        assert_eq!(standing.is_refused(), want);
    }

    fn parts(building: &[&'static str]) -> Parts<&'static str> {
        Parts {
            mark: Some("mark"),
            mark_other: Some("mark other"),
            building: building.iter().map(|change| vec![*change]).collect(),
            tidying: vec![vec!["tidy"]],
            replaced: vec![vec!["replace"]],
            clearing: vec![vec!["clear"]],
        }
    }

    #[rstest]
    #[case::made((None, None, NONE), &["build"], "replace, build, tidy, clear", "")]
    #[case::steady((Some(true), None, NONE), &[], "tidy, replace, clear", "")]
    #[case::taken_over((Some(false), None, NONE), &[], "", "tidy, replace, clear")]
    #[case::a_node_joins((Some(false), None, NONE), &["target"], "target", "tidy, replace, clear")]
    #[case::it_needs_something((Some(false), None, NONE), &["build"], "build", "tidy, replace, clear")]
    #[case::changed_in_what_it_needs(
        (Some(false), None, ANY), &["build"], "mark, build, tidy, replace, clear", ""
    )]
    #[case::changed((Some(false), None, ANY), &[], "mark, tidy, replace, clear", "")]
    #[case::both((Some(false), Some(false), NONE), &[], "", "tidy, replace, clear")]
    #[case::another_kind(
        (None, Some(false), KIND), &["build"], "mark other, replace, build, tidy, clear", ""
    )]
    #[case::another_kind_after_a_crash(
        (None, Some(true), NONE), &["build"], "replace, build, tidy, clear", ""
    )]
    fn orders(
        #[case] (here, other, change): (Option<bool>, Option<bool>, Change),
        #[case] building: &[&'static str],
        #[case] now: &str,
        #[case] left: &str,
    ) {
        let order = standing(here, other, change).order(parts(building));
        assert_eq!(order.now.concat().join(", "), now);
        assert_eq!(order.left.join(", "), left);
    }
}

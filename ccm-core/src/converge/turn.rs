//! Whose turn it is: what a want is to each of its units. Pure.
//!
//! A want counts as `Present` to a unit only once the units before it are done for it, and as `Absent`
//! only once those behind it hold nothing for it; until then it is `Keep`.

use std::collections::HashMap;

use crate::cloud::{Holds, ObjectId, Report, Spec, Unit, UnitName, Verdict, Want};

/// How far each want is in each unit, by the last reports.
#[derive(Clone, Debug, Default)]
pub struct Standings(HashMap<(UnitName, ObjectId), Standing>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Standing {
    /// As it should be.
    done: bool,
    /// Nothing of it is there.
    empty: bool,
}

impl Standings {
    /// Takes what a pass over a unit reported. Says for which objects something has changed: it may be
    /// the turn of another of their units now.
    pub fn take<S: Spec>(
        &mut self,
        unit: &UnitName,
        wants: &[Want<S>],
        reports: &[Report],
    ) -> Vec<ObjectId> {
        let mut changed = Vec::new();
        for report in reports {
            let standing = match wants.iter().find(|want| *want.id() == report.id) {
                // What is said of what is kept is of no consequence.
                None | Some(Want::Keep(_)) => continue,
                Some(Want::Present(_)) => Standing {
                    done: matches!(report.verdict, Verdict::Done),
                    empty: report.holds == Holds::Nothing,
                },
                Some(Want::Absent(_)) => {
                    Standing { done: false, empty: report.holds == Holds::Nothing }
                }
            };
            let key = (unit.clone(), report.id.clone());
            if self.0.insert(key, standing) != Some(standing) {
                changed.push(report.id.clone());
            }
        }
        changed
    }

    /// Forgets an object whose last want is gone.
    pub fn forget(&mut self, id: &ObjectId) {
        self.0.retain(|(_, other), _| other != id);
    }

    /// What the want is to this one of its units.
    pub fn turn<S: Spec>(&self, want: &Want<S>, units: &[Unit], here: &UnitName) -> Want<S> {
        let Some(place) = units.iter().position(|unit| unit.name == *here) else {
            return want.kept();
        };
        let is = |unit: &Unit, what: fn(&Standing) -> bool| {
            self.0.get(&(unit.name.clone(), want.id().clone())).is_some_and(what)
        };
        let its_turn = match want {
            Want::Present(_) => units[..place].iter().all(|unit| is(unit, |it| it.done)),
            Want::Absent(_) => units[place + 1..].iter().all(|unit| is(unit, |it| it.empty)),
            Want::Keep(_) => true,
        };
        if its_turn { want.clone() } else { want.kept() }
    }

    /// Whether nothing of the object is left in any of these units.
    pub fn is_gone(&self, id: &ObjectId, units: &[Unit]) -> bool {
        let is_empty = |unit: &Unit| {
            self.0.get(&(unit.name.clone(), id.clone())).is_some_and(|standing| standing.empty)
        };
        units.iter().all(is_empty)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use super::*;
    use crate::cloud::{Identity, LoadBalancerSpec};

    fn identity() -> Identity {
        let id = ObjectId { namespace: "shop".into(), name: "a".into(), uid: "a".into() };
        let (annotations, finalizers) = (BTreeMap::new(), BTreeSet::new());
        Identity { id, annotations, finalizers, ingress: Vec::new() }
    }

    fn units() -> [Unit; 2] {
        [Unit::own(&identity().id), Unit::shared("firewall")]
    }

    fn is_kept(want: &Want<LoadBalancerSpec>) -> bool {
        matches!(want, Want::Keep(_))
    }

    fn report(holds: Holds, verdict: Verdict) -> [Report; 1] {
        [Report::new(&identity().id, holds, verdict)]
    }

    #[test]
    fn what_is_made_is_handed_on_once_it_is_done() {
        let [own, shared] = units();
        let want = Want::Present(Arc::new(LoadBalancerSpec::new(identity())));
        let mut standings = Standings::default();
        assert!(!is_kept(&standings.turn(&want, &units(), &own.name)));
        assert!(is_kept(&standings.turn(&want, &units(), &shared.name)));

        let wants = [want.clone()];
        let waiting = Verdict::Progressing("an address".to_owned());
        let changed = standings.take(&own.name, &wants, &report(Holds::Something, waiting));
        assert_eq!(changed, [identity().id]);
        assert!(is_kept(&standings.turn(&want, &units(), &shared.name)));
        standings.take(&own.name, &wants, &report(Holds::Something, Verdict::Done));
        assert!(!is_kept(&standings.turn(&want, &units(), &shared.name)));
        let again = standings.take(&own.name, &wants, &report(Holds::Something, Verdict::Done));
        assert!(again.is_empty(), "nothing has changed");
    }

    #[test]
    fn what_is_torn_down_goes_in_reverse() {
        let [own, shared] = units();
        let want: Want<LoadBalancerSpec> = Want::Absent(Arc::new(identity()));
        let wants = [want.clone()];
        let mut standings = Standings::default();
        assert!(is_kept(&standings.turn(&want, &units(), &own.name)));
        assert!(!is_kept(&standings.turn(&want, &units(), &shared.name)));
        standings.take(&shared.name, &wants, &report(Holds::Nothing, Verdict::Done));
        assert!(!is_kept(&standings.turn(&want, &units(), &own.name)));
        assert!(!standings.is_gone(&identity().id, &units()));
        standings.take(&own.name, &wants, &report(Holds::Nothing, Verdict::Done));
        assert!(standings.is_gone(&identity().id, &units()));
        standings.forget(&identity().id);
        assert!(!standings.is_gone(&identity().id, &units()));
    }

    #[test]
    fn a_report_about_what_is_kept_counts_for_nothing() {
        let [own, shared] = units();
        let kept: Want<LoadBalancerSpec> = Want::Keep(Arc::new(identity()));
        let mut standings = Standings::default();
        standings.take(&own.name, &[kept], &report(Holds::Something, Verdict::Done));
        let want = Want::Present(Arc::new(LoadBalancerSpec::new(identity())));
        assert!(is_kept(&standings.turn(&want, &units(), &shared.name)));
    }
}

//! The firewall that all load balancers of a cluster share: one rule for each port and source of
//! each Service.

use std::collections::{HashMap, HashSet};

use ccm_core::cloud::{
    CloudError, Holds, LoadBalancerSpec, ObjectId, Plan, Report, Step, Verdict, Want, World,
};
use simcloud::api::{PieceState, RuleSpec};

use super::super::change::{FirewallChange, SimChange};
use super::super::marks::Marks;
use super::super::observe::{Wall, is_usable};
use super::super::wish::Wish;
use super::{later, push_stages};

/// What one want needs of the firewall.
enum Need<'a> {
    /// These rules and no others.
    Rules(&'a ObjectId, Vec<RuleSpec>),
    /// Whatever it has.
    AsIs,
    /// It cannot be had, so it keeps what it has.
    Refused(&'a ObjectId, CloudError),
    /// Nothing.
    Nothing(&'a ObjectId),
}

/// Plans what the cluster's firewall needs.
///
/// Rules of owners that are not among the wants are let be.
pub(crate) fn plan(
    marks: &Marks,
    world: &World<LoadBalancerSpec>,
    wall: Option<&Wall>,
) -> Plan<SimChange> {
    let mut wants: Vec<_> = world.wants.iter().collect();
    // The plan is the same in whatever order they come.
    wants.sort_unstable_by(|one, other| one.id().cmp(other.id()));
    let needs: Vec<_> = wants.into_iter().map(|want| need(want, marks)).collect();
    let there = Rules::of(wall);
    let mut opens = Vec::new();
    let mut closes = Vec::new();
    for need in &needs {
        let (id, rules) = match need {
            Need::Rules(id, rules) => (*id, &rules[..]),
            Need::Nothing(id) => (*id, &[][..]),
            Need::AsIs | Need::Refused(..) => continue,
        };
        let missing = rules.iter().filter(|rule| !there.all.contains(*rule));
        opens.extend(missing.map(|rule| {
            step(id, FirewallChange::Open { service: id.clone(), rule: rule.clone() })
        }));
        let wanted: HashSet<_> = rules.iter().collect();
        let surplus = there.of_owner(id).iter().filter(|rule| !wanted.contains(*rule));
        closes.extend(surplus.map(|rule| {
            let rule = RuleSpec::clone(rule);
            step(id, FirewallChange::Close { service: id.clone(), rule })
        }));
    }

    let is_used = needs.iter().any(|need| !matches!(need, Need::Nothing(_)));
    // Whoever leaves last takes the firewall along, and so still holds something until it is gone.
    let is_left = !is_used && there.all.len() == closes.len();
    let mut plan = Plan::default();
    match wall {
        Some(wall) if !is_usable(&wall.firewall) => {
            let id = wall.firewall.id.to_string();
            if wall.firewall.state == PieceState::Deleting {
                plan.later.push(later(format!("firewall {id} to be gone")));
            } else {
                plan.stages.push(vec![Step::new(delete(id))]);
            }
        }
        Some(wall) => {
            // What is opened goes before what is closed: a port that moves is never shut.
            push_stages(&mut plan.stages, opens);
            push_stages(&mut plan.stages, closes);
            if is_left {
                plan.stages.push(vec![Step::new(delete(wall.firewall.id.to_string()))]);
            }
        }
        None if !opens.is_empty() => {
            plan.stages.push(vec![Step::new(SimChange::Firewall(FirewallChange::Create))]);
            push_stages(&mut plan.stages, opens);
        }
        None => {}
    }
    let holds = |id: &ObjectId| {
        let holds = !there.of_owner(id).is_empty() || (is_left && wall.is_some());
        if holds { Holds::Something } else { Holds::Nothing }
    };
    plan.reports = needs.into_iter().filter_map(|need| report(need, &there, holds)).collect();
    plan
}

fn delete(id: String) -> SimChange {
    SimChange::Firewall(FirewallChange::Delete { id })
}

fn step(id: &ObjectId, change: FirewallChange) -> Step<SimChange> {
    Step::new(SimChange::Firewall(change)).wanted_by(id)
}

fn need<'a>(want: &'a Want<LoadBalancerSpec>, marks: &Marks) -> Need<'a> {
    match want {
        Want::Present(spec) => match Wish::read(spec, marks) {
            Ok(wish) => Need::Rules(want.id(), wish.rules().collect()),
            Err(refused) => Need::Refused(want.id(), refused),
        },
        Want::Absent(_) => Need::Nothing(want.id()),
        Want::Keep(_) => Need::AsIs,
    }
}

fn report(need: Need<'_>, there: &Rules<'_>, holds: impl Fn(&ObjectId) -> Holds) -> Option<Report> {
    let (id, verdict) = match need {
        Need::AsIs => return None,
        Need::Refused(id, refused) => (id, Verdict::Refused(refused)),
        Need::Rules(id, rules) => {
            let missing = rules.iter().filter(|rule| !there.all.contains(*rule)).count();
            let verdict = match missing {
                0 => Verdict::Done,
                _ => Verdict::Progressing(format!("{missing} rules of the firewall are missing")),
            };
            (id, verdict)
        }
        Need::Nothing(id) => match holds(id) {
            Holds::Nothing => (id, Verdict::Done),
            Holds::Something => {
                (id, Verdict::Progressing("its rules of the firewall are removed".to_owned()))
            }
        },
    };
    Some(Report::new(id, holds(id), verdict))
}

/// The rules that are there.
struct Rules<'a> {
    all: HashSet<&'a RuleSpec>,
    by_owner: HashMap<&'a str, Vec<&'a RuleSpec>>,
}

impl<'a> Rules<'a> {
    fn of(wall: Option<&'a Wall>) -> Self {
        let specs = wall.map_or(&[][..], |wall| &wall.rules).iter().map(|rule| &rule.spec);
        let mut by_owner: HashMap<_, Vec<_>> = HashMap::new();
        for spec in specs.clone() {
            by_owner.entry(&*spec.owner).or_default().push(spec);
        }
        Self { all: specs.collect(), by_owner }
    }

    fn of_owner(&self, id: &ObjectId) -> &[&'a RuleSpec] {
        self.by_owner.get(id.uid.as_str()).map_or(&[], |rules| rules)
    }
}

//! The provider: what there has to be, and what is missing of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;

use super::laws::what_is_worked_for_is_wanted;
use super::mutants::Mutant;
use super::pieces::{Act, Form, Part, Piece, Verb};
use super::setup::{NOT_OFFERED, Setup};
use super::state::Sim;
use crate::cloud::{
    Bucket, CloudError, Converge, Holds, Ingress, IngressAddress, IngressPoint, Kind, Later,
    Learnt, LoadBalancerSpec, Member, NodeName, Observation, Operation, Owned, Plan, Read, Report,
    Step, Uid, Unit, UnitName, Verdict, Want, World, Write,
};
use crate::converge::wants::{Wanted, ports};

/// Finds and makes pieces in the cloud.
#[derive(Clone, Debug)]
pub(super) struct Provider {
    pub(super) sim: Sim,
    pub(super) setup: Setup,
}

/// How a piece was seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    is_up: bool,
    is_wrong: bool,
}

type Seen = BTreeMap<Piece, Look>;

fn part(unit: &Unit) -> Part {
    match &unit.name {
        UnitName::Own(id) => Part::Own(id.uid.clone()),
        UnitName::Shared(name) if &**name == "group" => Part::Group,
        UnitName::Shared(_) => Part::Firewall,
    }
}

fn change(verb: Verb, piece: &Piece) -> Step<Act> {
    Step::new(Act(verb, piece.clone()))
}

fn stage<'a>(verb: Verb, pieces: impl IntoIterator<Item = &'a Piece>) -> Vec<Step<Act>> {
    pieces.into_iter().map(|piece| change(verb, piece)).collect()
}

/// Nodes that have to be members, and those that may be.
struct Members {
    needed: BTreeSet<NodeName>,
    allowed: BTreeSet<NodeName>,
}

impl Provider {
    fn members(&self, nodes: &[Member]) -> Members {
        let named = |is: fn(&Observation) -> bool| {
            let those = nodes.iter().filter(|member| is(&member.instance));
            those.map(|member| member.node.name.clone()).collect()
        };
        let needed = named(|it| matches!(it, Observation::Present(_)));
        let allowed = if self.setup.is(Mutant::UnknownIsGone) {
            named(|it| matches!(it, Observation::Present(_)))
        } else {
            named(|it| !matches!(it, Observation::Gone(_)))
        };
        Members { needed, allowed }
    }

    /// Pieces that are there and not as they should be.
    fn wrong<'a>(&self, seen: &'a Seen, wanted: &BTreeSet<Piece>) -> Vec<&'a Piece> {
        if self.setup.is(Mutant::TamperingIgnored) {
            return Vec::new();
        }
        let wrong = seen.iter().filter(|(piece, look)| look.is_wrong && wanted.contains(piece));
        wrong.map(|(piece, _)| piece).collect()
    }

    fn plan_group(&self, world: &World<LoadBalancerSpec>, seen: &Seen) -> Plan<Act> {
        let mut is_used = world.wants.iter().any(|want| matches!(want, Want::Present(_)));
        let mut is_kept = world.wants.iter().any(|want| matches!(want, Want::Keep(_)));
        if self.setup.is(Mutant::GroupGoesWithTheFirst)
            && world.wants.iter().any(|want| matches!(want, Want::Absent(_)))
        {
            (is_used, is_kept) = (false, false);
        }
        let members = self.members(&world.nodes);
        let needed: BTreeSet<_> =
            members.needed.into_iter().map(Piece::Member).chain([Piece::Group]).collect();
        let missing: Vec<_> = needed.iter().filter(|piece| !seen.contains_key(piece)).collect();
        let wrong = self.wrong(seen, &needed);
        let is_done = missing.is_empty() && wrong.is_empty();
        let surplus = seen.keys().filter(|piece| match piece {
            Piece::Member(node) => !((is_used || is_kept) && members.allowed.contains(node)),
            _ => false,
        });
        let (group, others): (Vec<_>, Vec<_>) =
            missing.into_iter().partition(|piece| **piece == Piece::Group);
        let mut stages = Vec::new();
        if is_used {
            stages.extend([
                stage(Verb::Create, group),
                stage(Verb::Create, others),
                stage(Verb::Repair, wrong),
                stage(Verb::Delete, surplus),
            ]);
        } else if is_kept {
            // Who is kept follows the nodes.
            let others = if seen.contains_key(&Piece::Group) { others } else { Vec::new() };
            stages.extend([stage(Verb::Create, others), stage(Verb::Delete, surplus)]);
        } else {
            let group = seen.keys().filter(|piece| **piece == Piece::Group);
            stages.extend([stage(Verb::Delete, surplus), stage(Verb::Delete, group)]);
        }
        let report = |want: &Wanted| {
            let is_held = !is_used && !is_kept && !seen.is_empty();
            match want {
                Want::Present(_) if is_done => (Holds::Something, Verdict::Done),
                Want::Present(_) => (Holds::Something, on_the_way("the group is made")),
                Want::Absent(_) if is_held => (Holds::Something, on_the_way("the group goes")),
                Want::Absent(_) => (Holds::Nothing, Verdict::Done),
                Want::Keep(_) => (Holds::Something, Verdict::Done),
            }
        };
        Plan { stages, later: Vec::new(), reports: self.reports(&world.wants, report) }
    }

    fn reports(
        &self,
        wants: &[Wanted],
        report: impl Fn(&Wanted) -> (Holds, Verdict),
    ) -> Vec<Report> {
        let told = |want: &&Wanted| self.setup.talks_of_kept || !matches!(want, Want::Keep(_));
        let one = |want: &Wanted| {
            let (holds, verdict) = report(want);
            Report::new(want.id(), holds, verdict)
        };
        wants.iter().filter(told).map(one).collect()
    }

    fn plan_own(&self, world: &World<LoadBalancerSpec>, seen: &Seen) -> Plan<Act> {
        let want = &world.wants[0];
        let owner = &want.id().uid;
        let mut plan = Plan::default();
        let (holds, verdict) = match want {
            Want::Keep(_) => {
                self.follow(owner, &world.nodes, seen, &mut plan);
                (Holds::Something, Verdict::Done)
            }
            Want::Absent(_) => {
                let of = |is: fn(&Piece) -> bool| {
                    stage(Verb::Delete, seen.keys().filter(|piece| is(piece)))
                };
                plan.stages = vec![
                    of(|it| matches!(it, Piece::Listener(..) | Piece::Target(..))),
                    of(|it| matches!(it, Piece::Balancer(_))),
                    of(|it| matches!(it, Piece::Address(..))),
                ];
                let is_left = |piece: &Piece| {
                    !self.setup.is(Mutant::AddressForgotten) || !matches!(piece, Piece::Address(..))
                };
                if seen.keys().any(is_left) {
                    (Holds::Something, on_the_way("it is taken down"))
                } else {
                    (Holds::Nothing, Verdict::Done)
                }
            }
            Want::Present(_) => {
                let missing = self.build(owner, want, &world.nodes, seen, &mut plan);
                let holds = if seen.is_empty() { Holds::Nothing } else { Holds::Something };
                (holds, missing.map_or(Verdict::Done, on_the_way))
            }
        };
        plan.reports = self.reports(&world.wants, |_| (holds, verdict_again(&verdict)));
        if let Some(report) = plan.reports.first_mut()
            && seen.get(&Piece::Address(owner.clone(), 0)).is_some_and(|look| look.is_up)
        {
            let address = IngressAddress::Hostname(format!("{owner}.example"));
            report.ingress =
                Ingress::Set(vec![IngressPoint { address, mode: None, ports: Vec::new() }]);
        }
        plan
    }

    /// Plans that the targets of who is kept follow the nodes.
    fn follow(&self, owner: &Uid, nodes: &[Member], seen: &Seen, plan: &mut Plan<Act>) {
        match seen.get(&Piece::Balancer(owner.clone())) {
            None => return,
            Some(_) if self.setup.is(Mutant::KeepStandsStill) => return,
            Some(look) if !look.is_up => return plan.later = vec![later("a load balancer")],
            Some(_) => {}
        }
        let members = self.members(nodes);
        let needed = members.needed.iter().map(|node| Piece::Target(owner.clone(), node.clone()));
        let needed: Vec<_> = needed.filter(|piece| !seen.contains_key(piece)).collect();
        let is_surplus = |piece: &&Piece| match piece {
            Piece::Target(_, node) => !members.allowed.contains(node),
            _ => false,
        };
        let surplus = seen.keys().filter(is_surplus);
        plan.stages = vec![stage(Verb::Create, &needed), stage(Verb::Delete, surplus)];
    }

    /// Plans what is to be there. Says what is missing.
    fn build(
        &self,
        owner: &Uid,
        want: &Wanted,
        nodes: &[Member],
        seen: &Seen,
        plan: &mut Plan<Act>,
    ) -> Option<&'static str> {
        let (address, balancer) =
            (Piece::Address(owner.clone(), 0), Piece::Balancer(owner.clone()));
        for (piece, what) in [(&address, "an address"), (&balancer, "a load balancer")] {
            match seen.get(piece) {
                None => {
                    plan.stages = vec![stage(Verb::Create, [piece])];
                    return Some(what);
                }
                Some(look) if !look.is_up => {
                    plan.later = vec![later(what)];
                    return Some(what);
                }
                Some(_) => {}
            }
        }
        let members = self.members(nodes);
        let listeners = ports(want).into_iter().map(|port| Piece::Listener(owner.clone(), port));
        let targets = members.needed.iter().map(|node| Piece::Target(owner.clone(), node.clone()));
        let needed: BTreeSet<_> = listeners.chain(targets).chain([address, balancer]).collect();
        let is_surplus = |piece: &&Piece| match piece {
            Piece::Target(_, node) => !members.allowed.contains(node),
            piece => !needed.contains(piece),
        };
        let missing: Vec<_> = needed.iter().filter(|piece| !seen.contains_key(piece)).collect();
        let wrong = self.wrong(seen, &needed);
        let is_done = missing.is_empty() && wrong.is_empty();
        plan.stages = vec![
            stage(Verb::Create, missing),
            stage(Verb::Repair, wrong),
            stage(Verb::Delete, seen.keys().filter(is_surplus)),
        ];
        (!is_done).then_some("listeners and targets")
    }

    fn plan_firewall(&self, world: &World<LoadBalancerSpec>, seen: &Seen) -> Plan<Act> {
        let (mut open, mut close) = (Vec::new(), Vec::new());
        let mut verdicts = BTreeMap::new();
        for want in &world.wants {
            let owner = &want.id().uid;
            let needed: BTreeSet<_> =
                ports(want).into_iter().map(|port| Piece::Rule(owner.clone(), port)).collect();
            let has: BTreeSet<_> = seen.keys().filter(|piece| piece.is_of(owner)).collect();
            let by = |step: Step<Act>| {
                if self.setup.blames_all { step } else { step.wanted_by(want.id()) }
            };
            let holds = if has.is_empty() { Holds::Nothing } else { Holds::Something };
            let is_kept = matches!(want, Want::Keep(_)) && !self.setup.is(Mutant::KeepIsNoUser);
            if is_kept {
                verdicts.insert(want.id(), (holds, Verdict::Done));
                continue;
            }
            if needed.contains(&Piece::Rule(owner.clone(), NOT_OFFERED)) {
                let err = CloudError::new(Kind::InvalidConfiguration, "not on this port");
                verdicts.insert(want.id(), (holds, Verdict::Refused(err)));
                continue;
            }
            let missing: Vec<_> = needed.iter().filter(|piece| !has.contains(piece)).collect();
            let wrong = self.wrong(seen, &needed);
            let verdict = if missing.is_empty() && wrong.is_empty() {
                Verdict::Done
            } else {
                on_the_way("its rules are made")
            };
            open.extend(stage(Verb::Create, missing).into_iter().map(by));
            open.extend(stage(Verb::Repair, wrong).into_iter().map(by));
            let is_surplus = |piece: &&&Piece| !needed.contains(**piece);
            if !(self.setup.is(Mutant::SurplusStays) && matches!(want, Want::Present(_))) {
                let surplus = has.iter().filter(is_surplus).copied();
                close.extend(stage(Verb::Delete, surplus).into_iter().map(by));
            }
            verdicts.insert(want.id(), (holds, verdict));
        }
        if self.setup.is(Mutant::ForeignIsOurs) {
            let is_known = |of: &Uid| world.wants.iter().any(|want| want.id().uid == *of);
            let strangers = seen.keys().filter(|it| it.owner().is_some_and(|of| !is_known(of)));
            close.extend(stage(Verb::Delete, strangers));
        }
        let report = |want: &Wanted| {
            let (holds, verdict) = &verdicts[want.id()];
            (*holds, verdict_again(verdict))
        };
        let reports = self.reports(&world.wants, report);
        Plan { stages: vec![open, close], later: Vec::new(), reports }
    }
}

fn later(what: &str) -> Later {
    Later { waits_for: what.to_owned(), look_again: Duration::from_secs(2) }
}

fn on_the_way(what: &str) -> Verdict {
    Verdict::Progressing(what.to_owned())
}

fn verdict_again(verdict: &Verdict) -> Verdict {
    match verdict {
        Verdict::Done => Verdict::Done,
        Verdict::Progressing(what) => Verdict::Progressing(what.clone()),
        Verdict::Refused(err) => Verdict::Refused(err.repeat()),
        Verdict::Elsewhere(who) => Verdict::Elsewhere(who.clone()),
    }
}

#[async_trait]
impl Converge<LoadBalancerSpec> for Provider {
    type Observed = Seen;
    type Change = Act;

    fn units(&self, want: &Wanted) -> Vec<Unit> {
        let settle = Duration::from_millis(200);
        let inputs = Unit::own(want.id()).inputs;
        let mut units = vec![
            Unit { inputs, settle, ..Unit::shared("group") },
            Unit::own(want.id()),
            Unit { settle, ..Unit::shared("firewall") },
        ];
        if self.setup.is(Mutant::OrderTurned) && matches!(want, Want::Absent(_)) {
            units.reverse();
        }
        units
    }

    async fn observe(
        &self,
        cx: &Read,
        unit: &Unit,
        world: &World<LoadBalancerSpec>,
    ) -> Result<Seen, CloudError> {
        let part = part(unit);
        {
            let mut state = self.sim.lock();
            let forms = world.wants.iter().map(|it| (it.id().uid.clone(), Form::of(it)));
            let forms: BTreeMap<_, _> = forms.collect();
            state.say(|| format!("  {} is looked at for {forms:?}", unit.name));
            state.worlds.insert(part.clone(), forms);
            let there =
                world.nodes.iter().filter(|it| !matches!(*it.instance, Observation::Gone(_)));
            let there = there.map(|it| it.node.name.clone()).collect();
            state.members.insert(part.clone(), there);
            *state.looks.entry(part.clone()).or_default() += 1;
        }
        self.sim.judge(|state| what_is_worked_for_is_wanted(state, &part));
        let (reads, list) = (Bucket("reads"), Operation("List"));
        let mut pieces = cx.call(list, reads, self.sim.list(&part)).await?;
        // A list may be behind: of what is to go, only a direct answer says that it is gone.
        let absent: Vec<_> = world
            .wants
            .iter()
            .filter(|want| matches!(want, Want::Absent(_)))
            .map(|want| (part != Part::Group).then(|| want.id().uid.clone()))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .filter(|_| !self.setup.is(Mutant::AbsenceByList))
            .collect();
        for owner in absent {
            let ask = self.sim.ask(&part, owner.as_ref());
            let has = cx.call(Operation("Get"), reads, ask).await?;
            pieces.retain(|piece, _| owner.as_ref().is_some_and(|owner| !piece.is_of(owner)));
            pieces.extend(has);
        }
        let now = self.sim.lock().now();
        let look = |(piece, fact): (Piece, super::pieces::Fact)| {
            (piece, Look { is_up: fact.up <= now, is_wrong: fact.is_wrong })
        };
        Ok(pieces.into_iter().map(look).collect())
    }

    fn plan(&self, unit: &Unit, world: &World<LoadBalancerSpec>, seen: &Seen) -> Plan<Act> {
        match part(unit) {
            Part::Group => self.plan_group(world, seen),
            Part::Own(_) => self.plan_own(world, seen),
            Part::Firewall => self.plan_firewall(world, seen),
        }
    }

    async fn apply(&self, cx: &Write, act: &Act, seen: &Seen) -> Result<Learnt<Seen>, CloudError> {
        cx.call(Operation("Change"), Bucket("writes"), self.sim.change(act)).await?;
        if !self.setup.learns {
            return Ok(Learnt::LookAgain);
        }
        let mut now = seen.clone();
        let Act(verb, piece) = act;
        match verb {
            Verb::Create if matches!(piece, Piece::Address(..) | Piece::Balancer(_)) => {
                now.insert(piece.clone(), Look { is_up: self.setup.rise == 0, is_wrong: false });
            }
            Verb::Create | Verb::Repair => {
                now.insert(piece.clone(), Look { is_up: true, is_wrong: false });
            }
            Verb::Delete => drop(now.remove(piece)),
        }
        Ok(Learnt::Now(now))
    }

    fn lag(&self) -> Duration {
        // The engine would make up for the other one, too.
        let untold = self.setup.is(Mutant::LagUntold) || self.setup.is(Mutant::AbsenceByList);
        if untold { Duration::ZERO } else { Duration::from_millis(self.setup.lag) }
    }

    async fn inventory(&self, _: &Read) -> Result<Vec<Owned>, CloudError> {
        Ok(Vec::new())
    }
}

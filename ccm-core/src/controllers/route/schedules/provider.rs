//! The provider: what routes there have to be, and what is missing of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ipnet::IpNet;
use tokio::sync::Notify;

use super::laws::{passes_are_kept_apart, what_is_handed_over_is_wanted};
use super::mutants::Mutant;
use super::routes::{Act, Form, Line, Mark, Route, Routes};
use super::setup::{Setup, Style, is_inside};
use super::state::{Ms, Pass, Sim};
use crate::cloud::{
    Belongs, Bucket, CloudError, CloudProvider, ClusterId, Converge, Holds, Inputs, Kind, Later,
    Learnt, NodeIdentity, ObjectId, Operation, Owned, Plan, ProviderId, Read, Report, RouteSpec,
    Step, Uid, Unit, UnitName, Verdict, Want, World, Write,
};
use crate::converge::PASS_LIMIT;

/// How long a plan waits for a machine that is gone.
const WAIT: Duration = Duration::from_mins(10);

/// Finds and makes routes in the cloud.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) sim: Sim,
    pub(super) setup: Setup,
    /// Which process it is part of.
    pub(super) life: u32,
    /// When that began.
    pub(super) born: Ms,
    /// Rings when the process dies of itself.
    pub(super) dies: Arc<Notify>,
}

/// What was seen, in which pass, and what was wanted in it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) unit: UnitName,
    pub(super) handed: BTreeMap<Uid, Form>,
    pub(super) routes: Routes,
    pub(super) etag: u64,
    pub(super) dead: BTreeSet<ProviderId>,
}

impl Seen {
    /// Routes of ours inside the cluster's ranges.
    fn ours(&self, setup: &Setup) -> impl Iterator<Item = (&Uid, &Route)> {
        let everywhere = setup.is(Mutant::OutsideIsOurs);
        let inside = self.routes.values().filter(move |it| everywhere || is_inside(it.to));
        inside.filter_map(|route| Some((route.owner()?, route)))
    }

    fn has(&self, uid: &Uid, to: IpNet) -> bool {
        self.routes.values().any(|route| route.to == to && route.owner() == Some(uid))
    }

    /// Who asks for this destination.
    fn asks_for(&self, to: IpNet) -> Option<&Uid> {
        let asks = |form: &Form| matches!(form, Form::Routes { to: all, .. } if all.contains(&to));
        self.handed.iter().find(|(_, form)| asks(form)).map(|(uid, _)| uid)
    }
}

/// What has to be done for one want.
struct Judged {
    holds: Holds,
    verdict: Verdict,
    /// Lines that there are to be and that can be had.
    wanted: Vec<Line>,
    /// Those of them that are missing or wrong.
    open: Vec<Line>,
    waits: bool,
}

impl Provider {
    fn judge(&self, want: &Want<RouteSpec>, seen: &Seen) -> Judged {
        let uid = &want.id().uid;
        let has = seen.ours(&self.setup).any(|(owner, _)| owner == uid);
        let holds = if has { Holds::Something } else { Holds::Nothing };
        let nothing = |verdict| {
            let (wanted, open) = (Vec::new(), Vec::new());
            Judged { holds, verdict, wanted, open, waits: false }
        };
        let form = &seen.handed[uid];
        match form {
            Form::None if has => return nothing(on_the_way("its routes are taken away")),
            Form::None | Form::Kept => return nothing(Verdict::Done),
            Form::Routes { .. } => {}
        }
        let lines = form.lines(uid);
        if lines.iter().any(|line| seen.dead.contains(&line.via))
            && !self.setup.is(Mutant::BlackholeIsFine)
        {
            let mut judged = nothing(on_the_way("its machine is gone"));
            // What is there stays.
            let asked = |to: &IpNet| lines.iter().any(|line| line.to == *to);
            let there = seen.routes.values();
            let there = there.filter(|it| it.owner() == Some(uid) && asked(&it.to));
            judged.wanted = there
                .map(|it| Line { to: it.to, via: it.via.clone(), owner: uid.clone() })
                .collect();
            judged.waits = true;
            return judged;
        }
        let is_in_the_way = |line: &Line| {
            let there = seen.routes.values().any(|it| it.to == line.to && it.owner().is_none());
            there && !self.setup.is(Mutant::ForeignIsOurs)
        };
        let (blocked, wanted): (Vec<_>, Vec<_>) = lines.into_iter().partition(is_in_the_way);
        let is_right = |route: &Route, line: &Line| {
            route.is(line)
                || self.setup.is(Mutant::WrongMachineWillDo)
                    && (route.to, route.owner()) == (line.to, Some(&line.owner))
        };
        let is_open = |line: &&Line| !seen.routes.values().any(|it| is_right(it, line));
        let open: Vec<_> = wanted.iter().filter(is_open).cloned().collect();
        let verdict = match blocked.first() {
            Some(line) => Verdict::Refused(CloudError::new(
                Kind::InvalidConfiguration,
                format!("a route of others to {} is in the way", line.to),
            )),
            None if open.is_empty() => Verdict::Done,
            None => on_the_way("its routes are made"),
        };
        Judged { holds, verdict, wanted, open, waits: false }
    }

    /// Routes of ours that are not to be there.
    fn surplus(&self, seen: &Seen) -> BTreeSet<(IpNet, Uid)> {
        let is_surplus = |(owner, route): &(&Uid, &Route)| {
            let is_wanted_by = |uid: &Uid| matches!(&seen.handed[uid], Form::Routes { to, .. } if to.contains(&route.to));
            let is_doubled = || seen.asks_for(route.to).is_some_and(|by| seen.has(by, route.to));
            match seen.handed.get(*owner) {
                Some(Form::Kept) => self.setup.is(Mutant::KeepIsAbsent) || is_doubled(),
                Some(Form::Routes { .. }) => !is_wanted_by(owner),
                // Another's own, unless it doubles what is asked for here.
                None if self.setup.style == Style::Own => is_doubled(),
                Some(Form::None) | None => true,
            }
        };
        let mut surplus: BTreeSet<_> = seen
            .ours(&self.setup)
            .filter(is_surplus)
            .map(|(owner, route)| (route.to, owner.clone()))
            .collect();
        if self.setup.is(Mutant::DeletedByDestination) && self.setup.style == Style::Own {
            let state = self.sim.lock();
            for (uid, _) in seen.handed.iter().filter(|(_, form)| **form == Form::None) {
                let former = state.forms.get(uid).into_iter().flatten();
                let lines = former.flat_map(|(_, was)| was.lines(uid));
                let is_there = |to: &IpNet| seen.routes.values().any(|route| route.to == *to);
                let there = lines.map(|line| line.to).filter(is_there);
                surplus.extend(there.map(|to| (to, uid.clone())));
            }
        }
        surplus.retain(|_| !self.setup.is(Mutant::SurplusStays));
        surplus
    }

    fn stages(
        &self,
        ids: &BTreeMap<&Uid, &ObjectId>,
        judged: &[Judged],
        seen: &Seen,
    ) -> Vec<Vec<Step<Act>>> {
        let for_whom = |act: Act, whom: &mut dyn Iterator<Item = &Uid>| {
            let whom: BTreeSet<_> = whom.filter_map(|uid| ids.get(uid)).collect();
            whom.into_iter().fold(Step::new(act), |step, id| step.wanted_by(id))
        };
        let open: Vec<_> = judged.iter().flat_map(|it| &it.open).cloned().collect();
        let surplus: Vec<_> = self.surplus(seen).into_iter().collect();
        let most = match self.setup.style {
            Style::Own => 1,
            Style::Batches(most) => most,
            Style::Whole => {
                if open.is_empty() && surplus.is_empty() {
                    return Vec::new();
                }
                let wanted = judged.iter().flat_map(|it| it.wanted.clone());
                let mut lines: BTreeSet<_> = wanted.collect();
                let is_written: BTreeSet<_> = lines.iter().map(|line| line.to).collect();
                let kept = seen.ours(&self.setup).filter(|(owner, route)| {
                    matches!(seen.handed.get(*owner), Some(Form::Kept))
                        && !is_written.contains(&route.to)
                        && !surplus.contains(&(route.to, (*owner).clone()))
                });
                lines.extend(kept.map(|(owner, route)| Line {
                    to: route.to,
                    via: route.via.clone(),
                    owner: owner.clone(),
                }));
                let mut whom = open
                    .iter()
                    .map(|line| &line.owner)
                    .chain(surplus.iter().map(|(_, owner)| owner));
                let lines = lines.into_iter().collect();
                return vec![vec![for_whom(Act::Whole(lines), &mut whom)]];
            }
        };
        let put = |lines: &[Line]| {
            for_whom(Act::Put(lines.to_vec()), &mut lines.iter().map(|line| &line.owner))
        };
        let delete = |those: &[(IpNet, Uid)]| {
            for_whom(Act::Delete(those.to_vec()), &mut those.iter().map(|(_, owner)| owner))
        };
        vec![open.chunks(most).map(put).collect(), surplus.chunks(most).map(delete).collect()]
    }

    async fn may_die(&self, what: &'static str) {
        let is_over = {
            let mut state = self.sim.lock();
            let crashes = state.setup.crashes;
            let is_over = !state.is_calm() && state.rng.chance(crashes);
            if is_over {
                state.note(what, String::new);
            }
            is_over
        };
        if is_over {
            self.dies.notify_one();
            std::future::pending::<()>().await;
        }
    }

    /// The next pass over the unit may come at once.
    fn opens(&self, unit: &UnitName) {
        if let Some(pass) = self.sim.lock().passes.get_mut(unit) {
            pass.is_open = true;
        }
    }
}

fn on_the_way(what: &str) -> Verdict {
    Verdict::Progressing(what.to_owned())
}

#[async_trait]
impl Converge<RouteSpec> for Provider {
    type Observed = Seen;
    type Change = Act;

    fn units(&self, want: &Want<RouteSpec>) -> Vec<Unit> {
        let inputs = Inputs { spec: true, nodes: false, endpoints: false, status: false };
        vec![match self.setup.style {
            Style::Own => Unit { inputs, ..Unit::own(want.id()) },
            Style::Batches(_) | Style::Whole => {
                Unit { settle: self.setup.settle, ..Unit::shared("table") }
            }
        }]
    }

    async fn observe(
        &self,
        cx: &Read,
        unit: &Unit,
        world: &World<RouteSpec>,
    ) -> Result<Seen, CloudError> {
        let handed: BTreeMap<_, _> =
            world.wants.iter().map(|want| (want.id().uid.clone(), Form::of(want))).collect();
        let unit = unit.name.clone();
        {
            let mut state = self.sim.lock();
            let began = state.ms(cx.deadline() - PASS_LIMIT);
            let is_new =
                state.passes.get(&unit).is_none_or(|it| (it.life, it.began) != (self.life, began));
            if is_new {
                let is_news = state.passes.get(&unit).is_none_or(|last| last.handed != handed);
                let handed_over = || format!("{handed:?}");
                state.say(|| {
                    let what = if is_news { handed_over() } else { "the same".to_owned() };
                    format!("  pass over {unit} for {what}")
                });
                let verdict = passes_are_kept_apart(&state, &unit, (self.life, self.born), began)
                    .and(what_is_handed_over_is_wanted(&state, &handed, began));
                state.judge(verdict);
                let was = state.passes.get(&unit).cloned();
                // Who was refused comes again later, whatever the passes in between came to.
                let is_open = was.as_ref().is_some_and(|was| was.life == self.life && was.is_open)
                    || !handed.values().any(|form| matches!(form, Form::Routes { .. }))
                    || state.setup.lag > 0 && handed.values().any(|form| *form == Form::None);
                state.made += 1;
                let handed = handed.clone();
                let mut lately = was.map_or(Vec::new(), |was| was.lately);
                lately.retain(|at| *at + 60_000 > began);
                lately.push(began);
                let pass = Pass { life: self.life, began, is_open, lately, looks: 0, handed };
                state.passes.insert(unit.clone(), pass);
            }
            let lag = state.setup.lag;
            let pass = state.passes.get_mut(&unit).expect("it is there");
            pass.looks += 1;
            // What it has changed may not be seen, or may be changed again: that ends a pass.
            pass.is_open |= pass.looks > if lag > 0 { 1 } else { 3 };
        }
        let looked = cx.call(Operation("List"), Bucket("reads"), self.sim.look()).await;
        if looked.is_err() {
            self.opens(&unit);
        }
        let (mut routes, etag) = looked?;
        if let (Style::Own, UnitName::Own(id)) = (self.setup.style, &unit) {
            let asked: BTreeSet<IpNet> =
                handed.values().flat_map(|form| form.lines(&id.uid)).map(|line| line.to).collect();
            let all = self.setup.is(Mutant::DeletedByDestination);
            routes.retain(|_, it| all || it.owner() == Some(&id.uid) || asked.contains(&it.to));
        }
        let dead = self.sim.lock().dead.clone();
        Ok(Seen { unit, handed, routes, etag, dead })
    }

    fn plan(&self, unit: &Unit, world: &World<RouteSpec>, seen: &Seen) -> Plan<Act> {
        let judged: Vec<_> = world.wants.iter().map(|want| self.judge(want, seen)).collect();
        let ids = world.wants.iter().map(|want| (&want.id().uid, want.id())).collect();
        let stages = self.stages(&ids, &judged, seen);
        let waits = judged.iter().any(|it| it.waits);
        if waits || judged.iter().any(|it| matches!(it.verdict, Verdict::Refused(_))) {
            self.opens(&unit.name);
        }
        let mut plan = Plan { stages, ..Plan::default() };
        {
            let mut state = self.sim.lock();
            for (want, it) in world.wants.iter().zip(&judged) {
                if it.verdict != Verdict::Done {
                    state.say(|| format!("    {}: {:?}", want.id().uid, it.verdict));
                    // Of a Node that this process has not known nothing but the UID is known.
                    if *want.id().name == *want.id().uid.as_str() {
                        state.figures.count("stray taken away");
                    }
                }
                if it.waits {
                    state.figures.count("a machine that is gone is waited for");
                } else if matches!(it.verdict, Verdict::Refused(_)) {
                    state.figures.count("refused for a route of others");
                }
            }
        }
        if waits {
            let look_again = if self.setup.is(Mutant::Impatient) { Duration::ZERO } else { WAIT };
            plan.later.push(Later { waits_for: "a machine".to_owned(), look_again });
        }
        plan.reports = world
            .wants
            .iter()
            .zip(judged)
            .filter(|(want, _)| !matches!(want, Want::Keep(_)))
            .map(|(want, it)| Report::new(want.id(), it.holds, it.verdict))
            .collect();
        plan
    }

    async fn apply(&self, cx: &Write, act: &Act, seen: &Seen) -> Result<Learnt<Seen>, CloudError> {
        self.may_die("crash before a change").await;
        let sent = self.sim.change(act, seen);
        let answer = cx.call(Operation("Change"), Bucket("writes"), sent).await;
        if let Err(err) = &answer {
            self.opens(&seen.unit);
            self.sim.lock().say(|| format!("  not done: {act}: {err}"));
        }
        answer?;
        self.may_die("crash after a change").await;
        if !self.setup.learns {
            return Ok(Learnt::LookAgain);
        }
        let (routes, etag) = {
            let state = self.sim.lock();
            (state.routes.clone(), state.etag)
        };
        Ok(Learnt::Now(Seen { routes, etag, ..seen.clone() }))
    }

    fn lag(&self) -> Duration {
        Duration::from_millis(self.setup.lag)
    }

    async fn inventory(&self, cx: &Read) -> Result<Vec<Owned>, CloudError> {
        if self.setup.is(Mutant::NoInventory) {
            return Ok(Vec::new());
        }
        let look = self.sim.look();
        let (routes, _) = cx.call(Operation("List"), Bucket("reads"), look).await?;
        let inside = routes.values().filter(|route| is_inside(route.to));
        let ours = inside.filter_map(|route| match &route.mark {
            Mark::Ours(owner) => Some(Owned {
                kind: "route",
                id: route.to.to_string(),
                owner: Some(owner.clone()),
                object: None,
            }),
            Mark::Theirs(_) | Mark::Nobodys => None,
        });
        Ok(ours.collect())
    }
}

/// Knows which nodes are ours.
#[derive(Debug)]
pub(super) struct Cloud;

#[async_trait]
impl CloudProvider for Cloud {
    fn name(&self) -> &'static str {
        "toy"
    }

    fn cluster_id(&self) -> ClusterId {
        ClusterId::Missing
    }

    fn belongs(&self, node: &NodeIdentity) -> Belongs {
        match node.provider_id.as_ref().map(ProviderId::scheme) {
            None => Belongs::Unsaid,
            Some(Some("toy")) => Belongs::Ours,
            Some(_) => Belongs::Foreign("another scheme".to_owned()),
        }
    }
}

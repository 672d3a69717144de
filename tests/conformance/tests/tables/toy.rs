//! A toy cloud with one table of routes, which is written many lines at once, its provider, and the
//! ways in which that may be broken. All nodes share one unit.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use ccm_conformance::{ReadFault, WriteFault};
use ccm_core::cloud::{
    Ask, Batching, Belongs, Bucket, Change, CloudError, CloudProvider, ClusterId, Converge,
    Converger, Detail, Effect, Evidence, Holds, Incarnation, Instance, Instances, Kind, Learnt,
    NodeIdentity, ObjectId, Observation, Operation, Owned, Plan, PodCidrs, ProviderId, Read,
    Report, RouteSpec, RunState, Step, Uid, Unit, Verdict, Want, World, Write,
};
use ipnet::IpNet;

/// A promise that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(non_camel_case_types, reason = "they name test modules")]
pub(crate) enum Broken {
    nothing,
    asks_by_changing,
    remembers_what_it_made,
    leaks,
    knows_one_family,
    looks_at_no_target,
    makes_all_anew,
    goes_by_the_order,
    takes_everybodys,
    fails_for_all,
    complains_vaguely,
    sweeps_outside,
    lists_everybodys,
    lists_what_is_outside,
    sends_two_in_one,
    believes_short_answers,
    takes_denial_for_nothing,
    takes_kept_for_absent,
    counts_only_the_first_page,
    adds_without_a_look,
    knows_no_clusters,
    hides_denial,
    hides_quotas,
    hides_outages,
    does_not_say_how_long,
    leaves_lost_routes,
    ends_by_the_range,
    takes_outages_for_success,
    keeps_former_ranges,
    plans_what_is_there,
}

/// Lines that one request may put or remove.
const MOST: usize = 20;

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Entry {
    pub(crate) destination: IpNet,
    /// The name of the machine.
    pub(crate) target: String,
    pub(crate) cluster: String,
    pub(crate) owner: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// More than one line for a destination is a mistake.
    pub(crate) table: Vec<Entry>,
    pub(crate) machines: BTreeMap<String, bool>,
}

#[derive(Debug)]
pub(crate) struct Cloud {
    pub(crate) broken: Broken,
    pub(crate) state: Mutex<State>,
    pub(crate) mutations: Mutex<u64>,
    pub(crate) writes: Mutex<Option<(WriteFault, usize)>>,
    pub(crate) reads: Mutex<Option<ReadFault>>,
    pub(crate) denied: Mutex<Option<IpNet>>,
}

type Sent = Result<(), CloudError>;

impl Cloud {
    pub(crate) fn is(&self, broken: Broken) -> bool {
        self.broken == broken
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The table, with how many lines it has.
    fn read(&self) -> Result<(Vec<Entry>, usize), CloudError> {
        let table = self.state().table.clone();
        let many = table.len();
        let mut fault = self.reads.lock().unwrap();
        match *fault {
            Some(ReadFault::Denied) if self.is(Broken::takes_denial_for_nothing) => Ok((vec![], 0)),
            Some(ReadFault::Denied) => Err(CloudError::new(Kind::PermissionDenied, "no")),
            Some(ReadFault::Short) => {
                *fault = None;
                Ok((vec![], many))
            }
            None => Ok((table, many)),
        }
    }

    /// One request that changes something.
    async fn write(&self, change: &Lines) -> Sent {
        let fault = {
            let mut fault = self.writes.lock().unwrap();
            match &mut *fault {
                Some((_, pass)) if *pass > 0 => {
                    *pass -= 1;
                    None
                }
                Some((WriteFault::LostAnswer, _)) => fault.take(),
                fault => *fault,
            }
        };
        let failed = |kind| Err(CloudError::new(kind, "as was ordered"));
        let denied =
            if self.is(Broken::hides_denial) { Kind::Internal } else { Kind::PermissionDenied };
        if self.denied.lock().unwrap().is_some_and(|range| change.is_about(range)) {
            return failed(denied);
        }
        match fault.map(|(fault, _)| fault) {
            Some(WriteFault::Hang) => std::future::pending().await,
            Some(WriteFault::Denied) => failed(denied),
            Some(WriteFault::QuotaExceeded) if self.is(Broken::hides_quotas) => {
                failed(Kind::Unavailable)
            }
            Some(WriteFault::QuotaExceeded) => failed(Kind::QuotaExceeded),
            Some(WriteFault::Unavailable) if self.is(Broken::hides_outages) => {
                failed(Kind::NotFound)
            }
            Some(WriteFault::Unavailable) => failed(Kind::Unavailable),
            Some(WriteFault::Throttled { retry_after }) => failed(Kind::RateLimited {
                retry_after: (!self.is(Broken::does_not_say_how_long)).then_some(retry_after),
            }),
            Some(WriteFault::LostAnswer) => {
                self.effect(change)?;
                failed(Kind::Unavailable)
            }
            None => self.effect(change),
        }
    }

    fn effect(&self, change: &Lines) -> Sent {
        if change.put.len() + change.remove.len() > MOST {
            return Err(CloudError::new(Kind::Internal, "too many lines"));
        }
        let mut state = self.state();
        let before = state.table.clone();
        for entry in &change.put {
            // The cloud of this one does not look.
            let is_blind = self.is(Broken::adds_without_a_look)
                || self.is(Broken::remembers_what_it_made)
                || self.is(Broken::believes_short_answers)
                || self.is(Broken::takes_denial_for_nothing);
            // Of those that look away, some see at least what is to be replaced.
            let is_the_same = state.table.contains(entry);
            if !is_blind || !(is_the_same || self.is(Broken::adds_without_a_look)) {
                state.table.retain(|it| it.destination != entry.destination);
            }
            state.table.push(entry.clone());
        }
        state.table.retain(|it| !change.remove.contains(&it.destination));
        state.table.sort();
        if state.table != before {
            *self.mutations.lock().unwrap() += 1;
        }
        Ok(())
    }
}

/// Lines that are written by one request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lines {
    put: Vec<Entry>,
    remove: Vec<IpNet>,
    interrupts: bool,
}

impl Lines {
    fn is_about(&self, range: IpNet) -> bool {
        self.put.iter().any(|it| it.destination == range) || self.remove.contains(&range)
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Change for Lines {
    fn effect(&self) -> Effect {
        match () {
            () if self.interrupts => Effect::Interrupt,
            () if self.put.is_empty() => Effect::Delete,
            () => Effect::Update,
        }
    }
}

/// A process of the provider.
#[derive(Debug)]
pub(crate) struct Toy {
    cloud: Arc<Cloud>,
    cluster: &'static str,
    ranges: Vec<IpNet>,
    /// What it has put there, by whose it was.
    made: Mutex<BTreeSet<(String, IpNet)>>,
}

type Wanted = Want<RouteSpec>;

fn uid(want: &Wanted) -> &str {
    want.id().uid.as_str()
}

impl Toy {
    fn is(&self, broken: Broken) -> bool {
        self.cloud.is(broken)
    }

    fn is_ours(&self, entry: &Entry) -> bool {
        self.is(Broken::knows_no_clusters) || entry.cluster == self.cluster
    }

    fn is_inside(&self, range: IpNet) -> bool {
        self.ranges.iter().any(|whole| whole.contains(&range))
    }

    fn wish(&self, spec: &RouteSpec) -> Vec<Entry> {
        let id = spec.node.provider_id.as_ref().unwrap();
        let most = if self.is(Broken::knows_one_family) { 1 } else { 2 };
        let cluster = if self.is(Broken::knows_no_clusters) { "ours" } else { self.cluster };
        let entry = |destination: &IpNet| Entry {
            destination: *destination,
            target: id.path_of("toy").unwrap().to_owned(),
            cluster: cluster.to_owned(),
            owner: spec.node.uid.to_string(),
        };
        spec.destinations.iter().take(most).map(entry).collect()
    }

    /// What one node needs: lines to put, lines to remove, and a word.
    fn plan_one(&self, want: &Wanted, table: &[Entry], taken: &BTreeSet<IpNet>) -> One {
        let mut one = One::default();
        let own = table.iter().filter(|it| self.is_ours(it) && it.owner == uid(want));
        let (mut verdict, mut kept) = (Verdict::Done, vec![]);
        if let Want::Present(spec) = want {
            for entry in self.wish(spec) {
                kept.push(entry.destination);
                let there = table.iter().find(|it| it.destination == entry.destination);
                let is_foreign = there.is_some_and(|it| !self.is_ours(it));
                if is_foreign && !self.is(Broken::takes_everybodys) {
                    let range = entry.destination;
                    let what = if self.is(Broken::complains_vaguely) {
                        "something".to_owned()
                    } else {
                        range.to_string()
                    };
                    let why = format!("{what} is somebody else's");
                    verdict = Verdict::Refused(CloudError::new(Kind::InvalidConfiguration, why));
                    continue;
                }
                let is_right = there.is_some_and(|it| {
                    *it == entry
                        || (self.is(Broken::looks_at_no_target)
                            && (it.destination, &it.owner) == (entry.destination, &entry.owner))
                });
                if !is_right || self.is(Broken::plans_what_is_there) {
                    one.interrupts |= there.is_some() && self.is(Broken::makes_all_anew);
                    one.put.push(entry);
                }
            }
        }
        let is_going = match want {
            Want::Present(_) => !self.is(Broken::keeps_former_ranges),
            Want::Absent(_) => !self.is(Broken::leaks),
            Want::Keep(_) => self.is(Broken::takes_kept_for_absent),
        };
        let state = self.cloud.state();
        let goes = |it: &&Entry| {
            let is_lost = state.machines.get(&it.target) != Some(&true);
            let is_ours = self.is_inside(it.destination) || self.is(Broken::sweeps_outside);
            let is_used = kept.contains(&it.destination) || taken.contains(&it.destination);
            let is_left = is_lost && self.is(Broken::leaves_lost_routes);
            is_ours && !is_used && !is_left
        };
        if is_going {
            one.remove = own.clone().filter(goes).map(|it| it.destination).collect();
        }
        if self.is(Broken::ends_by_the_range) && matches!(want, Want::Absent(_)) {
            let made = self.made.lock().unwrap();
            let mine = made.iter().filter(|(owner, _)| owner == uid(want));
            let mine = mine.map(|(_, range)| *range);
            one.remove.extend(mine.filter(|range| table.iter().any(|it| it.destination == *range)));
        }
        let has = own.filter(|it| self.is_inside(it.destination)).count();
        let is_silent = self.is(Broken::leaks) || self.is(Broken::leaves_lost_routes);
        let holds = match want {
            Want::Absent(_) if is_silent && one.remove.is_empty() => Holds::Nothing,
            _ if has == 0 => Holds::Nothing,
            _ => Holds::Something,
        };
        if !one.put.is_empty() && verdict == Verdict::Done {
            verdict = Verdict::Progressing("the table is written".to_owned());
        }
        one.report = Some(Report::new(want.id(), holds, verdict));
        one
    }
}

#[derive(Default)]
struct One {
    put: Vec<Entry>,
    remove: Vec<IpNet>,
    interrupts: bool,
    report: Option<Report>,
}

#[async_trait]
impl Converge<RouteSpec> for Toy {
    type Observed = Vec<Entry>;
    type Change = Lines;

    fn units(&self, _: &Wanted) -> Vec<Unit> {
        vec![Unit::shared("table")]
    }

    async fn observe(
        &self,
        cx: &Read,
        _: &Unit,
        world: &World<RouteSpec>,
    ) -> Result<Vec<Entry>, CloudError> {
        if self.is(Broken::asks_by_changing) {
            *self.cloud.mutations.lock().unwrap() += 1;
        }
        let look = async { self.cloud.read() };
        let (mut table, many) = cx.call(Operation("Look"), Bucket("reads"), look).await?;
        if table.len() != many && !self.is(Broken::believes_short_answers) {
            return Err(CloudError::new(Kind::Unavailable, "the answer is not whole"));
        }
        if self.is(Broken::remembers_what_it_made) {
            let made = self.made.lock().unwrap();
            table.retain(|it| {
                it.cluster != self.cluster || made.contains(&(it.owner.clone(), it.destination))
            });
        }
        if self.is(Broken::fails_for_all) {
            let wishes = world.wants.iter().filter_map(|want| match want {
                Want::Present(spec) => Some(self.wish(spec)),
                Want::Absent(_) | Want::Keep(_) => None,
            });
            let is_taken = |entry: &Entry| {
                table.iter().any(|it| it.destination == entry.destination && !self.is_ours(it))
            };
            if let Some(entry) = wishes.flatten().find(is_taken) {
                let why = format!("{} is somebody else's", entry.destination);
                return Err(CloudError::new(Kind::InvalidConfiguration, why));
            }
        }
        Ok(table)
    }

    fn plan(&self, _: &Unit, world: &World<RouteSpec>, table: &Vec<Entry>) -> Plan<Lines> {
        // What one gives up and another takes is no line to be removed.
        let wishes = world.wants.iter().filter_map(|want| match want {
            Want::Present(spec) => Some(self.wish(spec)),
            Want::Absent(_) | Want::Keep(_) => None,
        });
        let taken = wishes.flatten().map(|entry| entry.destination).collect();
        let (mut put, mut remove) = (BTreeMap::new(), BTreeMap::new());
        let (mut reports, mut interrupts, mut in_order) = (vec![], false, vec![]);
        for want in &world.wants {
            let one = self.plan_one(want, table, &taken);
            in_order.extend(one.put.iter().cloned().map(|entry| (entry, want.id().clone())));
            put.extend(one.put.into_iter().map(|entry| (entry, want.id().clone())));
            remove.extend(one.remove.into_iter().map(|range| (range, want.id().clone())));
            interrupts |= one.interrupts;
            reports.extend(one.report);
        }
        let mut put: Vec<_> = put.into_iter().collect();
        if self.is(Broken::goes_by_the_order) {
            put = in_order;
        }
        let step =
            |change: Lines, ids: Vec<ObjectId>| ids.iter().fold(Step::new(change), Step::wanted_by);
        let puts = put.chunks(MOST).map(|lines| {
            let (lines, ids): (Vec<_>, Vec<_>) = lines.iter().cloned().unzip();
            step(Lines { put: lines, remove: vec![], interrupts }, ids)
        });
        let remove: Vec<_> = remove.into_iter().collect();
        let removes = remove.chunks(MOST).map(|lines| {
            let (lines, ids): (Vec<_>, Vec<_>) = lines.iter().cloned().unzip();
            step(Lines { put: vec![], remove: lines, interrupts: false }, ids)
        });
        Plan { stages: vec![puts.collect(), removes.collect()], later: vec![], reports }
    }

    async fn apply(
        &self,
        cx: &Write,
        change: &Lines,
        _: &Vec<Entry>,
    ) -> Result<Learnt<Vec<Entry>>, CloudError> {
        let made = change.put.iter().map(|it| (it.owner.clone(), it.destination));
        self.made.lock().unwrap().extend(made);
        let request = |change: Lines| {
            let cloud = Arc::clone(&self.cloud);
            cx.call(Operation("Write"), Bucket("writes"), async move { cloud.write(&change).await })
        };
        match &change.put[..] {
            [first, ..] if self.is(Broken::sends_two_in_one) => {
                let moved = Entry { target: "nowhere".to_owned(), ..first.clone() };
                request(Lines { put: vec![moved], ..change.clone() }).await?;
            }
            _ => {}
        }
        match request(change.clone()).await {
            Err(err)
                if err.kind() == Kind::Unavailable
                    && self.is(Broken::takes_outages_for_success) =>
            {
                // Taken for done, whatever came of it.
            }
            sent => sent?,
        }
        Ok(Learnt::LookAgain)
    }

    async fn inventory(&self, cx: &Read) -> Result<Vec<Owned>, CloudError> {
        let look = async { self.cloud.read() };
        let (table, _) = cx.call(Operation("Look"), Bucket("reads"), look).await?;
        let ours = table.iter().filter(|it| {
            (self.is_ours(it) || self.is(Broken::lists_everybodys))
                && (self.is_inside(it.destination) || self.is(Broken::lists_what_is_outside))
        });
        let owned = |it: &Entry| Owned {
            kind: "route",
            id: it.destination.to_string(),
            owner: Some(Uid::from(it.owner.as_str())),
            object: None,
        };
        let page = if self.is(Broken::counts_only_the_first_page) { 20 } else { usize::MAX };
        Ok(ours.map(owned).take(page).collect())
    }
}

/// The provider, with its routes.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) cluster: &'static str,
    pub(crate) ranges: Vec<IpNet>,
}

impl CloudProvider for Provider {
    fn name(&self) -> &'static str {
        "toy"
    }

    fn cluster_id(&self) -> ClusterId {
        ClusterId::Given(self.cluster.to_owned())
    }

    fn belongs(&self, _: &NodeIdentity) -> Belongs {
        Belongs::Ours
    }

    fn instances(&self) -> Option<Arc<dyn Instances>> {
        Some(Arc::clone(&self.cloud) as _)
    }

    fn routes(&self) -> Option<Converger<RouteSpec>> {
        let (cloud, cluster, ranges) = (Arc::clone(&self.cloud), self.cluster, self.ranges.clone());
        Some(Converger::new(Toy { cloud, cluster, ranges, made: Mutex::default() }))
    }
}

#[async_trait]
impl Instances for Cloud {
    fn batching(&self) -> Batching {
        Batching::UpTo(NonZeroUsize::new(100).unwrap())
    }

    async fn describe(
        &self,
        _: &Read,
        _: Ask,
        nodes: &[NodeIdentity],
    ) -> Result<Vec<Observation>, CloudError> {
        let state = self.state();
        let answer = |node: &NodeIdentity| match state.machines.get(node.name.as_str()) {
            Some(true) => Observation::Present(instance(node)),
            Some(false) => Observation::Gone(Evidence::Terminated),
            None => Observation::Gone(Evidence::Absent),
        };
        Ok(nodes.iter().map(answer).collect())
    }
}

fn instance(node: &NodeIdentity) -> Instance {
    let id = format!("toy://{}", node.name);
    Instance {
        provider_id: ProviderId::try_from(id.as_str()).unwrap(),
        incarnation: Incarnation::from(node.name.as_str()),
        state: RunState::Running,
        instance_type: None,
        zone: None,
        region: None,
        addresses: vec![],
        labels: [].into(),
        pod_cidrs: PodCidrs::Unsaid,
        detail: Detail::default(),
    }
}

//! What has to change in the tables. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ccm_core::cloud::{
    CloudError, Holds, Kind, Later, Note, ObjectId, Plan, Report, RouteSpec, Step, Verdict, Want,
};
use ipnet::IpNet;

use super::Scope;
use super::change::RouteChange;
use super::observe::{Observed, Router, target_of};
use crate::client::ec2::routes::{Route, Target};
use crate::id;

/// A new instance is known soon.
const LOOK_FOR_NEW_AGAIN: Duration = Duration::from_secs(15);

/// A machine that is stopped may be so for days; when it starts, AWS mends its route by itself.
const LOOK_AT_LOST_AGAIN: Duration = Duration::from_mins(1);

/// What has to happen so that each node has its routes in each table and nobody else of ours has any.
pub(crate) fn plan(
    scope: &Scope,
    wants: &[Want<RouteSpec>],
    observed: &Observed,
) -> Plan<RouteChange> {
    let mut planner = Planner::new(scope, wants, observed);
    planner.check_machines();
    planner.lead();
    let stale = planner.stale();
    planner.clear(&stale);
    planner.finish(&stale)
}

/// Whether a node is to have nothing and nothing of it is seen: worth a second look.
pub(crate) fn misses(scope: &Scope, wants: &[Want<RouteSpec>], observed: &Observed) -> bool {
    let planner = Planner::new(scope, wants, observed);
    let stale = planner.stale();
    let absent = planner.absent.iter();
    absent.into_iter().any(|id| !stale.iter().any(|stale| stale.whose.contains(id)))
}

/// Fails where there is no table at all, and a node wants routes.
///
/// That a table is not found says nothing against the routes in it: it may have lost its tag, or AWS
/// may not show it. A look that failed taints no node that works, and comes again soon.
pub(crate) fn has_a_place(
    wants: &[Want<RouteSpec>],
    observed: &Observed,
) -> Result<(), CloudError> {
    let is_wanted = |want: &Want<RouteSpec>| match want {
        Want::Present(spec) => !spec.destinations.is_empty(),
        Want::Absent(_) | Want::Keep(_) => false,
    };
    match &observed.lack {
        Some(lack) if observed.tables.is_empty() && wants.iter().any(is_wanted) => {
            Err(CloudError::new(Kind::NotFound, lack.clone()))
        }
        Some(_) | None => Ok(()),
    }
}

/// Routes of the cluster's, whether anybody wants them or not.
pub(crate) fn ours<'a>(
    scope: &'a Scope,
    observed: &'a Observed,
) -> impl Iterator<Item = (&'a str, IpNet)> {
    let planner = Planner::new(scope, &[], observed);
    let all = observed.tables.iter().flat_map(|(table, routes)| {
        routes.iter().map(move |(destination, route)| (table.as_str(), *destination, route))
    });
    all.filter(move |(_, destination, route)| {
        let way = planner.way(*destination, route);
        matches!(way, Way::Machine(_) | Way::Nowhere)
    })
    .map(|(table, destination, _)| (table, destination))
}

/// Where a route leads.
#[derive(Debug, PartialEq, Eq)]
enum Way<'a> {
    /// To a machine of the cluster's, or of a node that is wanted.
    Machine(&'a str),
    /// To nothing that could take packets, or ever will again: it is of no use to anybody.
    Nowhere,
    /// To an instance of which AWS says nothing: another account's, or a new one.
    Unknown(&'a str),
    /// To something that is not ours, or to a range that is not.
    Foreign(&'a str),
}

/// A route of ours that no node wants.
struct Stale<'a> {
    table: &'a str,
    destination: IpNet,
    /// The nodes to which it may have belonged and whose word it takes. Empty: nobody's.
    whose: BTreeSet<&'a ObjectId>,
    /// It may belong to a node that keeps what it has.
    is_kept: bool,
}

struct Planner<'a> {
    scope: &'a Scope,
    observed: &'a Observed,
    /// Everybody that has something to be told, in the order of their IDs.
    told: BTreeMap<&'a ObjectId, Told>,
    absent: BTreeSet<&'a ObjectId>,
    kept: BTreeSet<&'a ObjectId>,
    /// Which node wants a range, and the instance that it is to lead to.
    wishes: BTreeMap<IpNet, (&'a ObjectId, String)>,
    /// Ranges of nodes of which it is not known where they lead: what is there stays.
    untouched: BTreeSet<IpNet>,
    /// The nodes of machines.
    machines: BTreeMap<String, BTreeSet<&'a ObjectId>>,
    steps: BTreeMap<RouteChange, BTreeSet<&'a ObjectId>>,
    later: BTreeMap<String, Duration>,
}

/// What is to be said of one node that is wanted.
#[derive(Default)]
struct Told {
    refused: Option<CloudError>,
    waits: Vec<String>,
    has_some: bool,
    /// A table in which it should have routes too.
    lack: Option<String>,
}

impl<'a> Planner<'a> {
    fn new(scope: &'a Scope, wants: &'a [Want<RouteSpec>], observed: &'a Observed) -> Self {
        let mut planner = Self {
            scope,
            observed,
            told: BTreeMap::new(),
            absent: BTreeSet::new(),
            kept: BTreeSet::new(),
            wishes: BTreeMap::new(),
            untouched: BTreeSet::new(),
            machines: BTreeMap::new(),
            steps: BTreeMap::new(),
            later: BTreeMap::new(),
        };
        let mut wants: Vec<_> = wants.iter().collect();
        wants.sort_by(|one, other| one.id().cmp(other.id()));
        for want in wants {
            match want {
                Want::Keep(identity) => {
                    planner.kept.insert(&identity.id);
                }
                Want::Absent(identity) => {
                    planner.absent.insert(&identity.id);
                }
                Want::Present(spec) => {
                    let told = planner.hear(want.id(), spec);
                    planner.told.insert(want.id(), told);
                }
            }
        }
        planner
    }

    /// Takes one node's wishes down, as far as they can be had.
    fn hear(&mut self, id: &'a ObjectId, spec: &'a RouteSpec) -> Told {
        let mut told = Told::default();
        let Some(provider_id) = &spec.node.provider_id else {
            told.waits.push("the node's provider ID".to_owned());
            self.untouched.extend(&spec.destinations);
            return told;
        };
        let instance = match target_of(provider_id) {
            Ok(instance) => instance,
            Err(err) => {
                told.refused = Some(err);
                self.untouched.extend(&spec.destinations);
                return told;
            }
        };
        self.machines.entry(instance.clone()).or_default().insert(id);
        for destination in &spec.destinations {
            let refused = if !self.scope.contains(*destination) {
                // Nobody would ever delete it.
                Some(format!("{destination} is outside the cluster's ranges"))
            } else if let Some((other, _)) = self.wishes.get(destination) {
                Some(format!("{destination} is node {other}'s already"))
            } else {
                self.wishes.insert(*destination, (id, instance.clone()));
                None
            };
            if let Some(message) = refused {
                told.refuse(CloudError::new(Kind::InvalidConfiguration, message));
            }
        }
        if !spec.destinations.is_empty() {
            told.lack.clone_from(&self.observed.lack);
            if self.observed.tables.is_empty() {
                told.waits.push("a route table".to_owned());
            }
        }
        told
    }

    /// Where a route leads.
    fn way<'r>(&self, destination: IpNet, route: &'r Route) -> Way<'r>
    where
        'a: 'r,
    {
        if !self.scope.contains(destination) {
            return Way::Foreign("outside the cluster's ranges");
        }
        let id = match &route.target {
            Target::Other(what) => return Way::Foreign(what),
            Target::Nothing if route.is_blackhole => return Way::Nowhere,
            Target::Nothing => return Way::Foreign("something that AWS does not name"),
            Target::Instance { id, .. } => id.as_str(),
            Target::Interface(interface) => {
                let mut machines = self.observed.machines.iter();
                match machines.find(|(_, machine)| machine.interfaces.contains(interface)) {
                    Some((id, _)) => id.as_str(),
                    None if route.is_blackhole => return Way::Nowhere,
                    None => return Way::Foreign(interface),
                }
            }
        };
        if self.machines.contains_key(id) {
            return Way::Machine(id);
        }
        match self.observed.machines.get(id) {
            Some(machine) if machine.is_terminated => Way::Nowhere,
            Some(machine) if machine.is_ours => Way::Machine(id),
            Some(_) => Way::Foreign(id),
            None if route.is_blackhole => Way::Nowhere,
            None => Way::Unknown(id),
        }
    }

    /// Lets machines of nodes that want routes take packets for others.
    fn check_machines(&mut self) {
        let used: BTreeMap<_, BTreeSet<_>> =
            self.wishes.values().fold(BTreeMap::new(), |mut used, (id, instance)| {
                used.entry(instance.as_str()).or_insert_with(BTreeSet::new).insert(*id);
                used
            });
        for (instance, nodes) in used {
            let machine = self.observed.machines.get(instance);
            let Some(machine) = machine.filter(|it| it.is_checked && !it.is_terminated) else {
                continue;
            };
            let change = RouteChange::SkipCheck(machine.towards.clone());
            for id in &nodes {
                if let Some(told) = self.told.get_mut(*id) {
                    told.waits
                        .push(format!("the source/destination check of {instance} to be off"));
                }
            }
            self.steps.entry(change).or_default().extend(nodes);
        }
    }

    /// Leads every range to its node, in every table.
    fn lead(&mut self) {
        let wishes = std::mem::take(&mut self.wishes);
        for (table, routes) in &self.observed.tables {
            for (destination, (id, instance)) in &wishes {
                let route = routes.get(destination);
                let (told, change) = self.lead_one(table, *destination, instance, route);
                if let Some(change) = change {
                    self.steps.entry(change).or_default().insert(*id);
                }
                self.tell(id, told);
            }
        }
        self.wishes = wishes;
    }

    /// What is to be said of one range in one table, and what is to be done.
    fn lead_one(
        &mut self,
        table: &str,
        destination: IpNet,
        instance: &str,
        route: Option<&Route>,
    ) -> (Told, Option<RouteChange>) {
        let mut told = Told::default();
        let way = route.map(|route| self.way(destination, route));
        told.has_some = matches!(way, Some(Way::Machine(_) | Way::Nowhere));
        match way {
            Some(Way::Machine(to)) if to == instance => {
                let machine = self.observed.machines.get(instance);
                let is_lost = machine.is_some_and(|machine| machine.is_terminated);
                if is_lost || route.is_some_and(|route| route.is_blackhole) {
                    let what = format!("instance {instance}, which is stopped or gone");
                    self.later.insert(what.clone(), LOOK_AT_LOST_AGAIN);
                    told.waits.push(what);
                }
                return (told, None);
            }
            Some(Way::Foreign(to)) => {
                told.refuse(in_the_way(table, destination, to));
                return (told, None);
            }
            Some(Way::Unknown(to)) => {
                let what = format!(
                    "route {destination} in {table} to be explained: AWS does not say whose \
                     instance {to} is"
                );
                self.later.insert(what.clone(), LOOK_AT_LOST_AGAIN);
                told.waits.push(what);
                return (told, None);
            }
            Some(Way::Machine(_) | Way::Nowhere) | None => {}
        }
        let machine = match self.observed.machines.get(instance) {
            Some(machine) if !machine.is_terminated => machine,
            found => {
                let (what, again) = match found {
                    Some(_) => ("is terminated", LOOK_AT_LOST_AGAIN),
                    None => ("AWS does not know", LOOK_FOR_NEW_AGAIN),
                };
                let what = format!("instance {instance}, which {what}");
                self.later.insert(what.clone(), again);
                told.waits.push(what);
                return (told, None);
            }
        };
        told.waits.push(format!("the route to {destination}"));
        let (table, instance) = (table.to_owned(), instance.to_owned());
        let to = machine.towards.clone();
        let change = match way {
            None => RouteChange::Create { table, destination, instance, to },
            // It is made once it is gone.
            Some(_) if self.observed.may_not_replace => RouteChange::Delete { table, destination },
            Some(_) => RouteChange::Replace { table, destination, instance, to },
        };
        (told, Some(change))
    }

    fn tell(&mut self, id: &ObjectId, more: Told) {
        let Some(told) = self.told.get_mut(id) else { return };
        told.has_some |= more.has_some;
        for wait in more.waits {
            if !told.waits.contains(&wait) {
                told.waits.push(wait);
            }
        }
        if let Some(err) = more.refused {
            told.refuse(err);
        }
    }

    /// The routes of ours that no node wants.
    fn stale(&self) -> Vec<Stale<'a>> {
        let mut all = Vec::new();
        for (table, routes) in &self.observed.tables {
            for (destination, route) in routes {
                let is_wanted = self.wishes.contains_key(destination);
                if is_wanted || self.untouched.contains(destination) {
                    continue;
                }
                let to = match self.way(*destination, route) {
                    Way::Machine(to) => Some(to),
                    Way::Nowhere => match &route.target {
                        Target::Instance { id, .. } => Some(id.as_str()),
                        Target::Interface(_) | Target::Other(_) | Target::Nothing => None,
                    },
                    Way::Unknown(_) | Way::Foreign(_) => continue,
                };
                let (whose, is_kept) = self.whose(to);
                all.push(Stale { table, destination: *destination, whose, is_kept });
            }
        }
        all
    }

    /// To whom a route to this instance may have belonged, and whether one that keeps what it has may
    /// be among them.
    fn whose(&self, instance: Option<&str>) -> (BTreeSet<&'a ObjectId>, bool) {
        let machine = instance.and_then(|id| Some((id, self.observed.machines.get(id)?)));
        let is_named =
            |id: &&&'a ObjectId| machine.is_some_and(|(it, machine)| names(it, machine, &id.name));
        let is_terminated = machine.is_some_and(|(_, machine)| machine.is_terminated);
        let of_present = instance.and_then(|id| self.machines.get(id));
        let named: BTreeSet<_> = self.absent.iter().filter(is_named).copied().collect();
        let is_of_kept = self.kept.iter().any(|id| is_named(&id));
        // What is known of the machine, or that it never comes back, says that nobody keeps it.
        let is_known = of_present.is_some() || is_terminated || (!named.is_empty() && !is_of_kept);
        let is_kept = !self.kept.is_empty() && !is_known;
        let whose = match of_present {
            _ if is_kept => BTreeSet::new(),
            _ if !named.is_empty() => named,
            Some(nodes) => nodes.clone(),
            None => self.absent.clone(),
        };
        (whose, is_kept)
    }

    fn clear(&mut self, stale: &[Stale<'a>]) {
        for Stale { table, destination, whose, .. } in stale.iter().filter(|it| !it.is_kept) {
            let (table, destination) = ((*table).to_owned(), *destination);
            self.steps.insert(RouteChange::Delete { table, destination }, whose.clone());
        }
    }

    /// All in one stage, for no request needs another: what goes comes first, since it makes room in
    /// a table that is full.
    fn finish(self, stale: &[Stale<'a>]) -> Plan<RouteChange> {
        let step = |(change, whose): (RouteChange, BTreeSet<&ObjectId>)| {
            let is_nobodys = whose.is_empty();
            let step = whose.into_iter().fold(Step::new(change), Step::wanted_by);
            if is_nobodys {
                let note = "a route that no node wants is left: the right to delete it is lacking";
                return step.tolerating(Kind::PermissionDenied, note);
            }
            step
        };
        let steps: Vec<_> = self.steps.into_iter().map(step).collect();
        let later = self.later.into_iter();
        let later = later.map(|(waits_for, look_again)| Later { waits_for, look_again });
        let mut reports = Vec::new();
        for (id, told) in self.told {
            reports.push(told.report(id));
        }
        for id in self.absent {
            let has_some = stale.iter().any(|it| !it.is_kept && it.whose.contains(id));
            let verdict = if has_some {
                Verdict::Progressing("its routes to be gone".to_owned())
            } else {
                Verdict::Done
            };
            reports.push(Report::new(id, holds(has_some), verdict));
        }
        for id in self.kept {
            reports.push(Report::new(id, Holds::Something, Verdict::Done));
        }
        reports.sort_by(|one, other| one.id.cmp(&other.id));
        let stages = if steps.is_empty() { Vec::new() } else { vec![steps] };
        Plan { stages, later: later.collect(), reports }
    }
}

impl Told {
    fn refuse(&mut self, err: CloudError) {
        self.refused.get_or_insert(err);
    }

    fn report(self, id: &ObjectId) -> Report {
        let verdict = match self.refused {
            Some(err) => Verdict::Refused(err),
            None if self.waits.is_empty() => Verdict::Done,
            None => Verdict::Progressing(self.waits.join(", ")),
        };
        let mut report = Report::new(id, holds(self.has_some), verdict);
        let note = |message| Note { reason: "RouteTableNotFound", message };
        report.notes.extend(self.lack.map(note));
        report
    }
}

fn holds(something: bool) -> Holds {
    if something { Holds::Something } else { Holds::Nothing }
}

/// Whether a node of this name may be on this machine, as far as names say.
fn names(instance: &str, machine: &Router, name: &str) -> bool {
    machine.private_dns_name.as_deref() == Some(name)
        || id::instance_of_name(name) == Some(instance)
}

fn in_the_way(table: &str, destination: IpNet, to: &str) -> CloudError {
    let message = format!(
        "route {destination} in {table} leads to {to}, which is not this cluster's: delete the \
         route, or let the node have another range"
    );
    CloudError::new(Kind::InvalidConfiguration, message)
}

#[cfg(test)]
mod tests;

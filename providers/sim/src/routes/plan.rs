//! What has to change in a node's routes. Pure.

#[cfg(test)]
mod tests;

use std::time::Duration;

use ccm_core::cloud::{
    CloudError, Holds, Kind, Later, Note, ObjectId, Plan, Report, RouteSpec, Step, Verdict, Want,
};
use ipnet::IpNet;
use simcloud::api::{InstanceId, PieceState, Route};

use super::Scope;
use super::change::{RouteChange, What};
use super::marks::owner;
use super::observe::Observed;
use crate::id;

/// When a route that the cloud works on is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// When a route is looked at again whose instance the cloud says is gone. Either it does not show a
/// new one yet, or the node will soon be deleted.
const LOOK_AT_LOST_AGAIN: Duration = Duration::from_secs(5);

/// Plans what this node's routes need.
pub(crate) fn plan(
    scope: &Scope,
    want: &Want<RouteSpec>,
    observed: &Observed,
) -> Plan<RouteChange> {
    let draft = Draft::new(scope, want.id(), observed);
    match want {
        Want::Present(spec) => draft.present(spec),
        Want::Absent(_) => draft.absent(),
        Want::Keep(_) => draft.report(Verdict::Done),
    }
}

/// A plan in the making.
struct Draft<'a> {
    scope: &'a Scope,
    id: &'a ObjectId,
    observed: &'a Observed,
    /// What the node needs.
    building: Vec<RouteChange>,
    /// What is left of an earlier form of it, or in the way of what it needs.
    clearing: Vec<RouteChange>,
    later: Vec<Later>,
    /// What the node waits for.
    waits: Vec<String>,
    notes: Vec<Note>,
}

impl<'a> Draft<'a> {
    fn new(scope: &'a Scope, id: &'a ObjectId, observed: &'a Observed) -> Self {
        let (building, clearing) = (Vec::new(), Vec::new());
        let (later, waits, notes) = (Vec::new(), Vec::new(), Vec::new());
        Self { scope, id, observed, building, clearing, later, waits, notes }
    }

    fn present(mut self, spec: &RouteSpec) -> Plan<RouteChange> {
        let Some(provider_id) = &spec.node.provider_id else {
            // It changes when the node gets one.
            let waits = "the node's provider ID".to_owned();
            return self.report(Verdict::Progressing(waits));
        };
        let target = match id::parse(provider_id) {
            Ok(target) => target,
            Err(err) => return self.report(Verdict::Refused(err)),
        };
        let mut refused = None;
        for destination in &spec.destinations {
            if let Err(err) = self.want(*destination, &target) {
                refused.get_or_insert(err);
            }
        }
        self.clear(&spec.destinations);
        let verdict = match refused {
            Some(err) => Verdict::Refused(err),
            None if self.waits.is_empty() => Verdict::Done,
            None => Verdict::Progressing(self.waits.join(", ")),
        };
        self.report(verdict)
    }

    fn absent(mut self) -> Plan<RouteChange> {
        self.clear(&[]);
        let verdict = match self.holds() {
            Holds::Nothing => Verdict::Done,
            Holds::Something => Verdict::Progressing("its routes to be gone".to_owned()),
        };
        self.report(verdict)
    }

    /// What it takes that packets for a range go to the node. An error where that cannot be had.
    fn want(&mut self, destination: IpNet, target: &InstanceId) -> Result<(), CloudError> {
        if !self.scope.contains(destination) {
            // Nobody would ever delete it.
            let message = format!("{destination} is outside the cluster's ranges");
            return Err(CloudError::new(Kind::InvalidConfiguration, message));
        }
        let is_there = |route: &&Route| route.destination == destination;
        let mut there = self.observed.routes.iter().filter(is_there);
        // A lagging answer may still show one that is on its way out beside the one of now.
        let Some(route) = there.clone().find(|it| is_alive(it)).or_else(|| there.next()) else {
            self.build(destination, What::Create { target: target.clone() });
            return Ok(());
        };
        if route.state == PieceState::Deleting {
            self.wait(format!("{} to be gone", named(route)), LOOK_AGAIN);
            return Ok(());
        }
        if !self.scope.is_ours(route) {
            return Err(in_the_way(route));
        }
        if route.state == PieceState::Failed {
            let why = route.failure.as_deref().unwrap_or("it does not say why");
            self.waits.push(format!("{} to be made anew, which has failed: {why}", named(route)));
            self.clearing.push(self.change(destination, What::Delete { id: route.id.clone() }));
            return Ok(());
        }
        let target = target.clone();
        if !self.scope.is_of(route, &self.id.uid) {
            self.build(destination, What::TakeOver { target, from: owner(route) });
        } else if route.target != target {
            self.build(destination, What::Retarget { target });
        } else if route.blackhole {
            self.wait(
                format!("instance {target}, which the cloud says is gone"),
                LOOK_AT_LOST_AGAIN,
            );
        } else if route.state == PieceState::Provisioning {
            self.wait(format!("{} to be ready", named(route)), LOOK_AGAIN);
        }
        Ok(())
    }

    /// Lets the node's other routes go.
    fn clear(&mut self, wanted: &[IpNet]) {
        for route in self.own().filter(|route| !wanted.contains(&route.destination)) {
            let Route { id, table, destination, .. } = route;
            if !self.scope.contains(*destination) {
                self.notes.push(Note {
                    reason: "RouteLeft",
                    message: format!(
                        "route {id} in table {table} bears the node's mark and is left as it is: \
                         {destination} is outside the cluster's ranges"
                    ),
                });
            } else if route.state == PieceState::Deleting {
                let waits_for = format!("{} to be gone", named(route));
                self.later.push(Later { waits_for, look_again: LOOK_AGAIN });
            } else {
                self.clearing.push(self.change(*destination, What::Delete { id: id.clone() }));
            }
        }
    }

    /// The routes that bear the node's mark.
    fn own(&self) -> impl Iterator<Item = &'a Route> + use<'a> {
        let (scope, uid) = (self.scope, &self.id.uid);
        self.observed.routes.iter().filter(move |route| scope.is_of(route, uid))
    }

    /// Those outside the cluster's ranges are left on purpose, and a note says so.
    fn holds(&self) -> Holds {
        if self.own().any(|route| self.scope.contains(route.destination)) {
            Holds::Something
        } else {
            Holds::Nothing
        }
    }

    fn build(&mut self, destination: IpNet, what: What) {
        self.waits.push(format!("the route to {destination}"));
        self.building.push(self.change(destination, what));
    }

    fn wait(&mut self, waits_for: String, look_again: Duration) {
        self.waits.push(waits_for.clone());
        self.later.push(Later { waits_for, look_again });
    }

    fn change(&self, destination: IpNet, what: What) -> RouteChange {
        RouteChange { node: self.id.clone(), destination, what }
    }

    /// What the node needs goes one by one, for the answer to one step says what is there now, and no
    /// look is needed; what is in nobody's way goes together, last.
    fn report(self, verdict: Verdict) -> Plan<RouteChange> {
        let step = |change| Step::new(change).wanted_by(self.id);
        let mut report = Report::new(self.id, self.holds(), verdict);
        report.notes = self.notes;
        let mut stages: Vec<_> =
            self.building.into_iter().map(|change| vec![step(change)]).collect();
        if !self.clearing.is_empty() {
            stages.push(self.clearing.into_iter().map(step).collect());
        }
        Plan { stages, later: self.later, reports: vec![report] }
    }
}

fn is_alive(route: &Route) -> bool {
    route.state != PieceState::Deleting
}

fn named(route: &Route) -> String {
    format!("route {} ({})", route.destination, route.id)
}

fn in_the_way(route: &Route) -> CloudError {
    let Route { id, table, destination, .. } = route;
    let message = format!(
        "route {id} in table {table} has {destination} and is not this cluster's: delete it, or \
         let the node have another range"
    );
    CloudError::new(Kind::InvalidConfiguration, message)
}

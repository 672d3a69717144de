//! The process: the real controller, and the watch that feeds it. Everything in it is lost in a crash.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use kube::runtime::watcher::Event;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::super::{Parts, RouteController, Settings};
use super::api::Api;
use super::mutants::Mutant;
use super::provider::{Cloud, Provider};
use super::setup::{Setup, cluster};
use super::state::{Ms, Sim, Told};
use crate::cloud::{Converger, Labels, Needs, ObjectId, Uid};
use crate::cluster::events::Recorder;
use crate::cluster::gate::Gate;
use crate::cluster::node::Node;
use crate::cluster::nodes::Nodes;
use crate::controllers::WriteClient;
use crate::converge::Progress;
use crate::governor::Governor;
use crate::telemetry::{CloudMetrics, ConvergeMetrics, RouteMetrics};

/// One life of the process.
pub(super) struct Process {
    pub(super) controller: Arc<RouteController>,
    runs: JoinHandle<()>,
    watches: JoinHandle<()>,
    /// Rings when the process dies of itself.
    pub(super) dies: Arc<Notify>,
}

impl Process {
    /// Begins with what the cluster holds.
    pub(super) fn begin(sim: &Sim) -> Self {
        let (setup, life, born) = {
            let mut state = sim.lock();
            state.life += 1;
            (state.setup.clone(), state.life, state.now())
        };
        let dies = Arc::new(Notify::new());
        let client =
            kube::Client::new(Api { sim: sim.clone(), dies: Arc::clone(&dies) }, "default");
        let nodes = Arc::new(Nodes::new(&[]));
        let provider = Provider {
            sim: sim.clone(),
            setup: setup.clone(),
            life,
            born,
            dies: Arc::clone(&dies),
        };
        let parts = Parts {
            nodes: Arc::clone(&nodes),
            cloud: Arc::new(Cloud),
            routes: Converger::new(provider),
            governor: Governor::new(Gate::always_open(), CloudMetrics::unread()),
            client: WriteClient::new(client.clone()),
            recorder: Recorder::new(client, "route_controller", "host"),
            metrics: RouteMetrics::unread(),
            converge: ConvergeMetrics::unread(),
        };
        let settings = Settings {
            workers: setup.workers,
            cluster: cluster(),
            spacing: if setup.is(Mutant::NoSpacing) { Duration::ZERO } else { setup.spacing },
            drift: setup.drift(),
            needs: Needs { node_labels: Labels::These(&[]), ..Needs::default() },
        };
        let controller = RouteController::new(parts, settings);
        let runs = tokio::spawn(Arc::clone(&controller).run(CancellationToken::new()));
        let watches = tokio::spawn(Watch { sim: sim.clone(), setup, nodes }.run());
        Self { controller, runs, watches, dies }
    }

    /// Dies. What is on the wire then arrives or does not.
    pub(super) async fn end(self) {
        self.runs.abort();
        self.watches.abort();
        let _ = self.runs.await;
        let _ = self.watches.await;
        // The passes are dropped by then.
        sleep(Duration::from_millis(1)).await;
    }

    /// What the engine knows of a Node.
    pub(super) fn progress(&self, node: &Node) -> Option<Progress> {
        let id = ObjectId {
            namespace: "".into(),
            name: node.name.as_str().into(),
            uid: Uid::clone(&node.uid),
        };
        self.controller.engine.progress(&id)
    }
}

/// Shows the process what happens to Nodes: in order, and late.
struct Watch {
    sim: Sim,
    setup: Setup,
    nodes: Arc<Nodes>,
}

impl Watch {
    async fn run(self) {
        if self.setup.is(Mutant::ListedTooEarly) {
            let first = self.sim.lock().nodes.values().next().cloned();
            let mut seen: HashSet<_> = first.iter().map(|node| node.name.clone()).collect();
            if let Some(first) = first {
                self.nodes.apply(self.shown(first));
            }
            self.nodes.take(Event::InitDone, &mut seen);
            sleep(Duration::from_secs(3)).await;
        }
        let mut next = self.list();
        loop {
            let told = self.sim.lock().log.get(next).cloned();
            let Some(Told { at, name, node }) = told else {
                self.sim.bell.notified().await;
                continue;
            };
            let (now, late, is_cut) = {
                let mut state = self.sim.lock();
                let is_cut = !state.is_calm() && state.rng.chance(2);
                let late: Ms = state.rng.between(0, self.setup.watch);
                (state.now(), late, is_cut)
            };
            sleep(Duration::from_millis((at + late).saturating_sub(now))).await;
            if is_cut {
                self.sim.lock().note("relist", String::new);
                sleep(Duration::from_secs(1)).await;
                next = self.list();
                continue;
            }
            match node {
                Some(node) => self.nodes.apply(self.shown(node)),
                None if self.setup.is(Mutant::DeletionUnheard) => {}
                None => self.nodes.delete(&name),
            }
            next += 1;
        }
    }

    /// Shows all Nodes as they are now. Gives the place in the log from which to go on.
    fn list(&self) -> usize {
        let (all, next) = {
            let state = self.sim.lock();
            (state.nodes.values().cloned().collect::<Vec<_>>(), state.log.len())
        };
        let mut seen: HashSet<_> = all.iter().map(|node| node.name.clone()).collect();
        for node in all {
            let known = self.nodes.get(&node.name);
            if known.is_none_or(|known| known.version != node.version) {
                self.nodes.apply(self.shown(node));
            }
        }
        self.nodes.take(Event::InitDone, &mut seen);
        next
    }

    fn shown(&self, mut node: Node) -> Node {
        if self.setup.is(Mutant::ConditionUnseen) {
            node.network_unavailable = None;
            node.unreachable_because = "".into();
        }
        if self.setup.is(Mutant::NewestHasIt) {
            let age = node.created.duration_since(std::time::UNIX_EPOCH).expect("later");
            node.created =
                std::time::UNIX_EPOCH + Duration::from_hours(1_000_000).saturating_sub(age);
        }
        node
    }
}

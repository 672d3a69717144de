//! A process: the controller, its watch, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::super::others::Others;
use super::super::{Network, NodeIpamController, Parts, Settings, Source};
use super::api::Api;
use super::mutants::Mutant;
use super::state::{Author, Feed, Ms, Shown, Sim};
use crate::cluster::events::Recorder;
use crate::cluster::node::Node;
use crate::cluster::nodes::Nodes;
use crate::controllers::WriteClient;
use crate::telemetry::IpamMetrics;

/// A running one.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) controller: Arc<NodeIpamController>,
    stop: CancellationToken,
    work: JoinHandle<()>,
    watch: JoinHandle<()>,
}

/// The watch of a process.
struct Watch {
    sim: Sim,
    nodes: Arc<Nodes>,
    controller: Arc<NodeIpamController>,
}

impl Process {
    pub(super) fn begin(sim: &Sim) -> Self {
        let mut state = sim.lock();
        state.generation += 1;
        let generation = state.generation;
        let client = Client::new(Api { sim: sim.clone(), generation }, "default");
        let nodes = Arc::new(Nodes::new(&[]));
        let parts = Parts {
            nodes: Arc::clone(&nodes),
            client: WriteClient::new(client.clone()),
            recorder: Recorder::new(client, "cidrAllocator", "host"),
            metrics: IpamMetrics::unread(),
        };
        let settings = Settings {
            source: Source::Cluster(state.setup.pools.clone()),
            kept_free: state.setup.kept_free.clone(),
            network: Network::Ourselves,
            slow: Duration::from_mins(5),
            strangers: None,
        };
        let settling = if state.setup.mutant == Some(Mutant::Hasty) {
            Duration::ZERO
        } else {
            super::super::SETTLING
        };
        let others =
            if state.setup.is_wary { Others::new(settling) } else { Others::unheeded(settling) };
        let controller = NodeIpamController::settling(parts, settings, settling, others);
        state.controller = Arc::downgrade(&controller);
        let stop = CancellationToken::new();
        let work = tokio::spawn(Arc::clone(&controller).run(stop.clone()));
        let (changes, feed) = unbounded_channel();
        let now = state.now();
        state.feed = Some(Feed { changes, last: now, began: now });
        state.seen_doomed.clear();
        state.seen_ranges.clear();
        let list: Vec<Node> = state.nodes.values().map(|stored| stored.node.clone()).collect();
        let takes = state.rng.between(1, 300);
        let watch = Watch { sim: sim.clone(), nodes, controller: Arc::clone(&controller) };
        let watch = tokio::spawn(watch.run(list, takes, feed));
        Self { controller, stop, work, watch }
    }

    /// From one moment to the next.
    pub(super) async fn crash(self, sim: &Sim) {
        self.work.abort();
        let _ = self.work.await;
        Self::is_dead(sim, self.watch).await;
    }

    /// Finishes what is under way first.
    pub(super) async fn end(self, sim: &Sim) {
        self.stop.cancel();
        self.work.await.expect("it does not panic");
        Self::is_dead(sim, self.watch).await;
    }

    async fn is_dead(sim: &Sim, watch: JoinHandle<()>) {
        watch.abort();
        let _ = watch.await;
        let mut state = sim.lock();
        let (generation, now) = (state.generation, state.now());
        state.deaths.insert(generation, now);
        state.feed = None;
    }
}

impl Watch {
    async fn run(self, list: Vec<Node>, takes: Ms, mut feed: UnboundedReceiver<(Ms, Shown)>) {
        sleep(Duration::from_millis(takes)).await;
        let mutant = self.sim.lock().setup.mutant;
        let half = if mutant == Some(Mutant::HalfAList) { list.len() / 2 } else { list.len() };
        for (place, node) in list.into_iter().enumerate() {
            if place == half {
                self.nodes.say_listed();
                sleep(Duration::from_secs(3)).await;
            }
            self.show(node);
        }
        self.nodes.say_listed();
        while let Some((due, shown)) = feed.recv().await {
            self.sim.until(due).await;
            match shown {
                Shown::Node(node) => self.show(*node),
                Shown::Gone(..) if mutant == Some(Mutant::EndsUnseen) => {}
                Shown::Gone(name, uid) => {
                    if mutant == Some(Mutant::NobodyWoken) {
                        drop(self.controller.intake.desk().gone(&uid));
                    }
                    self.nodes.delete(&name);
                }
            }
        }
    }

    fn show(&self, mut node: Node) {
        {
            let mut state = self.sim.lock();
            let (now, mutant) = (state.now(), state.setup.mutant);
            if node.deleting {
                state.seen_doomed.entry(node.uid.clone()).or_insert(now);
            }
            if !node.pod_cidrs.is_empty() {
                state.seen_ranges.entry(node.uid.clone()).or_insert(now);
            }
            let author = state.nodes.get(&node.name).and_then(|stored| stored.author);
            if mutant == Some(Mutant::OthersUnseen) && author == Some(Author::Others) {
                node.pod_cidrs = [].into();
            }
            if mutant == Some(Mutant::DoomedHoldNothing) && node.deleting {
                drop(state);
                return self.nodes.delete(&node.name);
            }
        }
        self.nodes.apply(node);
    }
}

//! The convergence engine.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::{Histograms, QueueMetrics};
use crate::cloud::{Effect, Kind};

/// What the convergence engines do. There is one for each sort of thing that is made.
#[derive(Clone, Debug)]
pub struct ConvergeMetrics {
    what: &'static str,
    queue: QueueMetrics,
    passes: Family<OutcomeLabels, Counter>,
    pass_duration: Histograms<WhatLabel>,
    changes: Family<ChangeLabels, Counter>,
    change_duration: Histograms<WhatLabel>,
    units: Family<WhatLabel, Gauge>,
    under_way: Family<WhatLabel, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhatLabel {
    what: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    what: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChangeLabels {
    what: &'static str,
    effect: &'static str,
    outcome: &'static str,
}

impl ConvergeMetrics {
    /// Metrics that nobody reads, for tests.
    pub fn unread() -> Self {
        Self::register(&mut Registry::default(), &QueueMetrics::unread())
    }

    /// Registers the metrics.
    pub fn register(registry: &mut Registry, queues: &QueueMetrics) -> Self {
        let this = Self {
            what: "",
            queue: queues.clone(),
            passes: Family::default(),
            // From a look that finds nothing to do to a load balancer that is waited for.
            pass_duration: Histograms::new_with_constructor(|| {
                Histogram::new([0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0])
            }),
            changes: Family::default(),
            change_duration: Histograms::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.01, 4.0, 9))
            }),
            units: Family::default(),
            under_way: Family::default(),
        };
        registry.register(
            "ccm_converge_passes",
            "Passes over what is made in the cloud (a load balancer, a shared firewall, a node's routes), by what it is and how they ended",
            this.passes.clone(),
        );
        registry.register(
            "ccm_converge_pass_duration_seconds",
            "How long a pass took, with all its stages and waits",
            this.pass_duration.clone(),
        );
        registry.register(
            "ccm_converge_changes",
            "Changes that were sent to the cloud, by what they do and how they ended",
            this.changes.clone(),
        );
        registry.register(
            "ccm_converge_change_duration_seconds",
            "How long one change took, with its wait for the quota",
            this.change_duration.clone(),
        );
        registry.register(
            "ccm_converge_units",
            "Units: what is looked at and changed together, one object's own or shared",
            this.units.clone(),
        );
        registry.register(
            "ccm_converge_units_under_way",
            "Units that a pass is working on",
            this.under_way.clone(),
        );
        this
    }

    /// The same metrics for an engine that makes this: `load_balancer` or `route`.
    #[must_use]
    pub fn of(&self, what: &'static str) -> Self {
        Self { what, queue: self.queue.of(what), ..self.clone() }
    }

    /// What is counted of the engine's queue of units.
    pub(crate) fn queue(&self) -> &QueueMetrics {
        &self.queue
    }

    fn label(&self) -> WhatLabel {
        WhatLabel { what: self.what }
    }

    /// A pass has begun.
    pub fn begun(&self) {
        self.under_way.get_or_create(&self.label()).inc();
    }

    /// A pass has ended.
    pub fn ended(&self, outcome: &'static str, took: Duration) {
        self.under_way.get_or_create(&self.label()).dec();
        self.pass_duration.get_or_create(&self.label()).observe(took.as_secs_f64());
        let what = self.what;
        self.passes.get_or_create(&OutcomeLabels { what, outcome }).inc();
    }

    /// A change was answered.
    pub fn change(&self, effect: Effect, outcome: Result<(), Kind>, took: Duration) {
        let effect = match effect {
            Effect::Create => "create",
            Effect::Update => "update",
            Effect::Delete => "delete",
            Effect::Interrupt => "interrupt",
        };
        let outcome = outcome.map_or_else(Kind::reason, |()| "Done");
        let what = self.what;
        self.changes.get_or_create(&ChangeLabels { what, effect, outcome }).inc();
        self.change_duration.get_or_create(&self.label()).observe(took.as_secs_f64());
    }

    /// Says how many units there are.
    pub fn units(&self, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.units.get_or_create(&self.label()).set(count);
    }
}

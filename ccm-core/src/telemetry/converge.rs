//! The convergence engine.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::cloud::{Effect, Kind};

/// What the convergence engine does.
#[derive(Clone, Debug)]
pub struct ConvergeMetrics {
    passes: Family<OutcomeLabel, Counter>,
    pass_duration: Histogram,
    changes: Family<ChangeLabels, Counter>,
    change_duration: Histogram,
    units: Gauge,
    under_way: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChangeLabels {
    effect: &'static str,
    outcome: &'static str,
}

impl ConvergeMetrics {
    /// Metrics that nobody reads, for tests.
    pub fn unread() -> Self {
        Self::register(&mut Registry::default())
    }

    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let this = Self {
            passes: Family::default(),
            // From a look that finds nothing to do to a load balancer that is waited for.
            pass_duration: Histogram::new([0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0]),
            changes: Family::default(),
            change_duration: Histogram::new(exponential_buckets(0.01, 4.0, 9)),
            units: Gauge::default(),
            under_way: Gauge::default(),
        };
        registry.register(
            "ccm_converge_passes",
            "Passes over what is made in the cloud (a load balancer, a shared firewall), by how they ended",
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

    /// A pass has begun.
    pub fn begun(&self) {
        self.under_way.inc();
    }

    /// A pass has ended.
    pub fn ended(&self, outcome: &'static str, took: Duration) {
        self.under_way.dec();
        self.pass_duration.observe(took.as_secs_f64());
        self.passes.get_or_create(&OutcomeLabel { outcome }).inc();
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
        self.changes.get_or_create(&ChangeLabels { effect, outcome }).inc();
        self.change_duration.observe(took.as_secs_f64());
    }

    /// Says how many units there are.
    pub fn units(&self, count: usize) {
        self.units.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

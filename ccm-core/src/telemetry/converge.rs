//! The engine.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::cloud::Effect;

/// The engine that makes what is in the cloud what it should be.
#[derive(Clone, Debug)]
pub struct ConvergeMetrics {
    passes: Family<OutcomeLabel, Counter>,
    pass_duration: Histogram,
    changes: Family<ChangeLabels, Counter>,
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
            units: Gauge::default(),
            under_way: Gauge::default(),
        };
        registry.register(
            "ccm_converge_passes",
            "Passes over a unit of what is in the cloud, by how they ended",
            this.passes.clone(),
        );
        registry.register(
            "ccm_converge_pass_duration_seconds",
            "Time that a pass over a unit took",
            this.pass_duration.clone(),
        );
        registry.register(
            "ccm_converge_changes",
            "Changes sent to the cloud, by what they do to users and by how they ended",
            this.changes.clone(),
        );
        registry.register(
            "ccm_converge_units",
            "Units: what is looked at and changed together in the cloud",
            this.units.clone(),
        );
        registry.register(
            "ccm_converge_units_under_way",
            "Units with a pass under way",
            this.under_way.clone(),
        );
        this
    }

    /// Counts a pass, by how it ended, and says how long it took.
    pub fn pass(&self, outcome: &'static str, took: Duration) {
        self.passes.get_or_create(&OutcomeLabel { outcome }).inc();
        self.pass_duration.observe(took.as_secs_f64());
    }

    /// Counts a change that was sent: `ok`, or the reason why it failed.
    pub fn change(&self, effect: Effect, outcome: &'static str) {
        let effect = match effect {
            Effect::Create => "create",
            Effect::Update => "update",
            Effect::Delete => "delete",
            Effect::Interrupt => "interrupt",
        };
        self.changes.get_or_create(&ChangeLabels { effect, outcome }).inc();
    }

    /// Says how many units there are.
    pub fn units(&self, count: usize) {
        self.units.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// One pass more, or less, is under way.
    pub fn under_way(&self, change: i64) {
        self.under_way.inc_by(change);
    }
}

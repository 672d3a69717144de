//! The volume controller.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{QueueMetrics, ReasonLabel, WriteLabel};

/// The volume controller.
#[derive(Clone, Debug)]
pub struct VolumeMetrics {
    queue: QueueMetrics,
    delay: Histogram,
    waiting: Family<ReasonLabel, Gauge>,
    writes: Family<WriteLabel, Counter>,
    refused: Family<ReasonLabel, Counter>,
}

impl VolumeMetrics {
    /// Metrics that nobody reads, for tests.
    pub fn unread() -> Self {
        Self::register(&mut Registry::default(), &QueueMetrics::unread())
    }

    /// Registers the metrics.
    pub fn register(registry: &mut Registry, queues: &QueueMetrics) -> Self {
        let this = Self {
            queue: queues.of("pvLabels"),
            // From a cloud that answers at once to a volume that was there before us.
            delay: Histogram::new([0.1, 0.5, 1.0, 5.0, 30.0, 300.0, 3600.0]),
            waiting: Family::default(),
            writes: Family::default(),
            refused: Family::default(),
        };
        registry.register(
            "ccm_volume_label_delay_seconds",
            "Time from a PersistentVolume's creation until it says where it is",
            this.delay.clone(),
        );
        registry.register(
            "ccm_volumes_waiting",
            "PersistentVolumes of which it cannot be said where they are, by reason",
            this.waiting.clone(),
        );
        registry.register(
            "ccm_volume_writes",
            "Writes to PersistentVolumes: labels, affinity or both in one",
            this.writes.clone(),
        );
        registry.register(
            "ccm_volume_writes_refused",
            "Writes to PersistentVolumes that the API server refused or did not answer, by reason",
            this.refused.clone(),
        );
        this
    }

    /// What is counted of the controller's queue.
    pub(crate) fn queue(&self) -> &QueueMetrics {
        &self.queue
    }

    /// Counts a write, to a volume that was made so long ago.
    pub fn written(&self, write: &'static str, age: Duration) {
        self.writes.get_or_create(&WriteLabel { write }).inc();
        self.delay.observe(age.as_secs_f64());
    }

    /// One volume more, or less, waits for this reason.
    pub fn waiting(&self, reason: &'static str, change: i64) {
        self.waiting.get_or_create(&ReasonLabel { reason }).inc_by(change);
    }

    /// Counts a write that was refused.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn names_on_the_wire_are_what_the_book_says() {
        let mut registry = Registry::default();
        let volume = VolumeMetrics::register(&mut registry, &QueueMetrics::unread());
        volume.written("both", Duration::from_secs(3));
        volume.waiting("VolumeNotFound", 2);
        volume.refused("changed");

        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            r#"ccm_volume_label_delay_seconds_bucket{le="5.0"} 1"#,
            r#"ccm_volumes_waiting{reason="VolumeNotFound"} 2"#,
            r#"ccm_volume_writes_total{write="both"} 1"#,
            r#"ccm_volume_writes_refused_total{reason="changed"} 1"#,
        ] {
            assert!(text.contains(line), "{line} not in\n{text}");
        }
    }
}

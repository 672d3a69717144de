//! How often health was asked for, and what was said: what an availability is reckoned from.
//!
//! <https://kubernetes.io/docs/reference/instrumentation/slis/>

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::super::health::Endpoint;
use super::Exposition;

/// A registry of its own, apart from the metrics. A clone is another handle on the same one.
#[derive(Clone, Debug)]
pub(in crate::app::serve) struct Slis(Arc<RwLock<Counted>>);

#[derive(Debug, Default)]
struct Counted {
    registry: Registry,
    state: Family<StateLabels, Gauge>,
    total: Family<TotalLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    name: &'static str,
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TotalLabels {
    name: &'static str,
    r#type: &'static str,
    status: &'static str,
}

impl Counted {
    fn new() -> Self {
        let mut this = Self::default();
        this.registry.register(
            "kubernetes_healthcheck",
            "Whether the check said last that all is well",
            this.state.clone(),
        );
        this.registry.register(
            "kubernetes_healthchecks",
            "What the check has said",
            this.total.clone(),
        );
        this
    }
}

impl Default for Slis {
    fn default() -> Self {
        Self(Arc::new(RwLock::new(Counted::new())))
    }
}

impl Slis {
    /// Counts what a check has said.
    pub(super) fn seen(&self, name: &'static str, endpoint: Endpoint, is_well: bool) {
        let r#type = endpoint.name();
        let counted = self.0.read().unwrap_or_else(PoisonError::into_inner);
        counted.state.get_or_create(&StateLabels { name, r#type }).set(i64::from(is_well));
        let status = if is_well { "success" } else { "error" };
        counted.total.get_or_create(&TotalLabels { name, r#type, status }).inc();
    }

    /// As if nobody had asked yet.
    pub(super) fn reset(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Counted::new();
    }
}

impl Exposition for Slis {
    fn render(&self) -> Result<String, fmt::Error> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).registry.render()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_checks_said_is_counted_until_it_is_reset() {
        let slis = Slis::default();
        slis.seen("leaderElection", Endpoint::Healthz, true);
        slis.seen("leaderElection", Endpoint::Healthz, false);
        slis.seen("shutdown", Endpoint::Readyz, true);
        let text = slis.render().unwrap();
        for line in [
            r#"kubernetes_healthcheck{name="leaderElection",type="healthz"} 0"#,
            r#"kubernetes_healthchecks_total{name="leaderElection",type="healthz",status="success"} 1"#,
            r#"kubernetes_healthchecks_total{name="leaderElection",type="healthz",status="error"} 1"#,
            r#"kubernetes_healthcheck{name="shutdown",type="readyz"} 1"#,
        ] {
            assert!(text.contains(line), "{line} not in\n{text}");
        }
        slis.reset();
        assert!(!slis.render().unwrap().contains("leaderElection"));
    }
}

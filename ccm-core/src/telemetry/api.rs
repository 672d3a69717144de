//! Requests to the API server.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Histograms;

/// Requests to the API server, by client-go's names.
/// <https://github.com/kubernetes/component-base/blob/master/metrics/prometheus/restclient/metrics.go>
#[derive(Clone, Debug)]
pub struct ApiMetrics {
    requests: Family<RequestLabels, Counter>,
    durations: Histograms<DurationLabels>,
    paced: Histograms<DurationLabels>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    code: String,
    method: &'static str,
    host: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DurationLabels {
    verb: &'static str,
    host: String,
}

const BUCKETS: [f64; 12] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0];

impl Default for ApiMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            paced: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
        }
    }
}

impl ApiMetrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let this = Self::default();
        registry.register(
            "rest_client_requests",
            "Requests to the API server, by HTTP status, or <error> where there was no answer",
            this.requests.clone(),
        );
        registry.register(
            "rest_client_request_duration_seconds",
            "Time from a request to the API server to the head of its answer",
            this.durations.clone(),
        );
        registry.register(
            "rest_client_rate_limiter_duration_seconds",
            "How long a request to the API server was held back by --kube-api-qps",
            this.paced.clone(),
        );
        this
    }

    /// A request was held back so long.
    pub fn paced(&self, method: &http::Method, host: &str, took: Duration) {
        let labels = DurationLabels { verb: name(method), host: host.to_owned() };
        self.paced.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Counts a request with the status of its answer, if there was one.
    pub fn request(
        &self,
        method: &http::Method,
        host: &str,
        status: Option<http::StatusCode>,
        took: Duration,
    ) {
        let method = name(method);
        let code = status.map_or("<error>".to_owned(), |status| status.as_str().to_owned());
        let host = host.to_owned();
        self.requests.get_or_create(&RequestLabels { code, method, host: host.clone() }).inc();
        let labels = DurationLabels { verb: method, host };
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
    }
}

/// Clients of ours send no others.
fn name(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "other",
    }
}

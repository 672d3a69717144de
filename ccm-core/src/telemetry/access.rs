//! Who asks the endpoints, and whether he may.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::Histograms;

/// Requests to the endpoints that not everybody may make. Names are upstream's.
/// <https://github.com/kubernetes/apiserver/blob/master/pkg/endpoints/filters/metrics.go>
#[derive(Clone, Debug)]
pub struct AccessMetrics {
    users: Family<UserLabel, Counter>,
    attempts: Family<ResultLabel, Counter>,
    authentication: Histograms<ResultLabel>,
    decisions: Family<ResultLabel, Counter>,
    authorization: Histograms<ResultLabel>,
    connections: Gauge,
    refused_connections: Counter,
    certificates: Family<CertificateLabel, Gauge>,
    refused_certificates: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CertificateLabel {
    certificate: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UserLabel {
    username: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 15))
}

impl AccessMetrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let this = Self {
            users: Family::default(),
            attempts: Family::default(),
            authentication: Family::new_with_constructor(seconds),
            decisions: Family::default(),
            authorization: Family::new_with_constructor(seconds),
            connections: Gauge::default(),
            refused_connections: Counter::default(),
            certificates: Family::default(),
            refused_certificates: Counter::default(),
        };
        registry.register(
            "authenticated_user_requests",
            "Requests to the endpoints by users who were known, by kinds of users",
            this.users.clone(),
        );
        registry.register(
            "authentication_attempts",
            "Attempts to find out who asks the endpoints",
            this.attempts.clone(),
        );
        registry.register(
            "authentication_duration_seconds",
            "Time to find out who asks the endpoints",
            this.authentication.clone(),
        );
        registry.register(
            "authorization_attempts",
            "Attempts to find out what somebody may do at the endpoints",
            this.decisions.clone(),
        );
        registry.register(
            "authorization_duration_seconds",
            "Time to find out what somebody may do at the endpoints",
            this.authorization.clone(),
        );
        registry.register(
            "ccm_endpoint_connections",
            "Connections to the endpoints",
            this.connections.clone(),
        );
        registry.register(
            "ccm_endpoint_connections_refused",
            "Connections to the endpoints that found no place, because of all others or of those of the same client",
            this.refused_connections.clone(),
        );
        registry.register(
            "ccm_endpoint_certificate_expiration_timestamp_seconds",
            "Until when a certificate that the endpoints are served with is good, in seconds since the epoch, by its file",
            this.certificates.clone(),
        );
        registry.register(
            "ccm_endpoint_certificates_refused",
            "Certificates that should have taken the place of others and could not be used",
            this.refused_certificates.clone(),
        );
        this
    }

    /// A certificate is good until then.
    pub fn certificate_ends(&self, certificate: &str, ends: SystemTime) {
        let seconds = ends.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let label = CertificateLabel { certificate: certificate.to_owned() };
        self.certificates.get_or_create(&label).set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }

    /// Counts a certificate that could not be used.
    pub(crate) fn certificate_refused(&self) {
        self.refused_certificates.inc();
    }

    /// There are so many connections.
    pub(crate) fn connections(&self, count: usize) {
        self.connections.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Counts a connection that found no place.
    pub(crate) fn connection_refused(&self) {
        self.refused_connections.inc();
    }

    /// Says who asked, if that was found out, and how long it took.
    pub fn authenticated(&self, user: Option<&str>, took: Duration) {
        if let Some(user) = user {
            self.users.get_or_create(&UserLabel { username: kind(user) }).inc();
        }
        let label = ResultLabel { result: if user.is_some() { "success" } else { "error" } };
        self.attempts.get_or_create(&label).inc();
        self.authentication.get_or_create(&label).observe(took.as_secs_f64());
    }

    /// Says what was found out of what somebody may do, and how long it took.
    pub fn authorized(&self, result: &'static str, took: Duration) {
        let label = ResultLabel { result };
        self.decisions.get_or_create(&label).inc();
        self.authorization.get_or_create(&label).observe(took.as_secs_f64());
    }
}

/// Upstream's kinds of users: there are any number of users, and their names are nobody's business.
fn kind(user: &str) -> &'static str {
    match user {
        "admin" => "admin",
        "client" => "client",
        "kube_proxy" => "kube_proxy",
        "kubelet" => "kubelet",
        "system:serviceaccount:kube-system:default" => "system:serviceaccount:kube-system:default",
        user if user.contains('@') => "email_id",
        _ => "other",
    }
}

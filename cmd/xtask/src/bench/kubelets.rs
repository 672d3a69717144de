//! Plays the kubelets of a cluster in which nothing happens: heartbeats.
//!
//! Each kubelet has its own timer, and they are spread evenly, as the timers of real ones are after
//! a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::Request;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at};

use crate::Error;

/// How often a kubelet says how its node is when nothing has changed: `nodeStatusReportFrequency`.
/// <https://kubernetes.io/docs/reference/node/node-status/#heartbeats>
const STATUS_PERIOD: Duration = Duration::from_mins(5);

/// How often a kubelet renews its lease: a quarter of [`LEASE_SECONDS`].
const LEASE_PERIOD: Duration = Duration::from_secs(10);

/// `nodeLeaseDurationSeconds`.
const LEASE_SECONDS: i32 = 40;

/// Where kubelets' leases are.
const NAMESPACE: &str = "kube-node-lease";

/// Leases made at once.
const CREATIONS: usize = 16;

/// Whose fields the heartbeats are.
const KUBELET: &str = "kubelet";

/// Kubelets at work. Dropping them ends them.
pub(super) struct Kubelets {
    _tasks: JoinSet<()>,
    posted: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    statuses: AtomicU64,
    leases: AtomicU64,
    failures: AtomicU64,
}

/// What kubelets have sent so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Posted {
    /// Patches of a status that succeeded; each changes a node, and whoever watches nodes hears.
    pub(super) statuses: u64,
    /// Renewals that succeeded.
    pub(super) leases: u64,
    /// What did not succeed.
    pub(super) failures: u64,
}

impl Kubelets {
    /// Starts those of these nodes; the first `leases` of them renew leases too.
    pub(super) async fn play(
        client: &Client,
        nodes: &[String],
        leases: usize,
    ) -> Result<Self, Error> {
        let held: Vec<Lease> = stream::iter(nodes.iter().take(leases))
            .map(|node| create_lease(client.clone(), node))
            .buffer_unordered(CREATIONS)
            .try_collect()
            .await?;
        let posted = Arc::<Counters>::default();
        let mut tasks = JoinSet::new();
        for (first, node) in spread(STATUS_PERIOD, nodes.len())?.zip(nodes) {
            tasks.spawn(post_statuses(client.clone(), node.clone(), first, Arc::clone(&posted)));
        }
        for (first, lease) in spread(LEASE_PERIOD, held.len())?.zip(held) {
            tasks.spawn(renew_lease(client.clone(), lease, first, Arc::clone(&posted)));
        }
        Ok(Self { _tasks: tasks, posted })
    }

    pub(super) fn posted(&self) -> Posted {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { statuses, leases, failures } = &*self.posted;
        Posted { statuses: count(statuses), leases: count(leases), failures: count(failures) }
    }
}

/// The first beat of each of so many, within one period from now.
fn spread(period: Duration, count: usize) -> Result<impl Iterator<Item = Instant>, Error> {
    let now = Instant::now();
    let count = u32::try_from(count)?;
    Ok((0..count).map(move |n| now + period.mul_f64(f64::from(n) / f64::from(count))))
}

async fn post_statuses(client: Client, node: String, first: Instant, posted: Arc<Counters>) {
    let mut due = interval_at(first, STATUS_PERIOD);
    loop {
        due.tick().await;
        let sent = post_status(&client, &node).await;
        let counter = if sent.is_ok() { &posted.statuses } else { &posted.failures };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

async fn post_status(client: &Client, node: &str) -> Result<(), kube::Error> {
    let params = PatchParams { field_manager: Some(KUBELET.to_owned()), ..PatchParams::default() };
    let patch = Patch::Strategic(heartbeat(&Time(Timestamp::now())));
    let request = Request::new("/api/v1/nodes")
        .patch_subresource("status", node, &params, &patch)
        .map_err(kube::Error::BuildRequest)?;
    // As text: the answer is the whole node, and nobody wants it parsed.
    client.request_text(request).await.map(drop)
}

/// What a kubelet sends when nothing but the time has changed: a strategic merge patch between the
/// status as it was and as it is.
/// <https://github.com/kubernetes/kubernetes/blob/v1.36.3/pkg/util/node/node.go>
fn heartbeat(now: &Time) -> Value {
    let types = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];
    let beats = types.map(|type_| json!({"lastHeartbeatTime": now, "type": type_}));
    let order = types.map(|type_| json!({"type": type_}));
    json!({"status": {"$setElementOrder/conditions": order, "conditions": beats}})
}

async fn create_lease(client: Client, node: &str) -> Result<Lease, kube::Error> {
    let lease = Lease {
        metadata: ObjectMeta { name: Some(node.to_owned()), ..ObjectMeta::default() },
        spec: Some(LeaseSpec {
            holder_identity: Some(node.to_owned()),
            lease_duration_seconds: Some(LEASE_SECONDS),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        }),
    };
    Api::namespaced(client, NAMESPACE).create(&PostParams::default(), &lease).await
}

async fn renew_lease(client: Client, mut lease: Lease, first: Instant, posted: Arc<Counters>) {
    let leases = Api::<Lease>::namespaced(client, NAMESPACE);
    let mut due = interval_at(first, LEASE_PERIOD);
    loop {
        due.tick().await;
        match renew(&leases, &lease).await {
            Ok(renewed) => {
                lease = renewed;
                posted.leases.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {
                posted.failures.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// As a kubelet: by the version that it wrote last, without reading first.
#[expect(clippy::disallowed_methods, reason = "the lease is read whole and written by version")]
async fn renew(leases: &Api<Lease>, lease: &Lease) -> Result<Lease, kube::Error> {
    let mut lease = lease.clone();
    if let Some(spec) = &mut lease.spec {
        spec.renew_time = Some(MicroTime(Timestamp::now()));
    }
    let name = lease.metadata.name.clone().unwrap_or_default();
    leases.replace(&name, &PostParams::default(), &lease).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_changes_times_and_nothing_else() {
        let patch = heartbeat(&Time(Timestamp::UNIX_EPOCH));
        let conditions = patch["status"]["conditions"].as_array().unwrap();
        assert_eq!(conditions.len(), 4);
        assert_eq!(
            conditions[3],
            json!({"lastHeartbeatTime": "1970-01-01T00:00:00Z", "type": "Ready"})
        );
        assert_eq!(
            patch["status"]["$setElementOrder/conditions"][0],
            json!({"type": "MemoryPressure"})
        );
    }

    #[test]
    fn beats_are_spread_over_one_period() {
        let beats: Vec<Instant> = spread(LEASE_PERIOD, 4).unwrap().collect();
        let pauses = beats.windows(2).map(|pair| pair[1] - pair[0]);
        assert_eq!(pauses.collect::<Vec<_>>(), [LEASE_PERIOD / 4; 3]);
        assert_eq!(spread(LEASE_PERIOD, 0).unwrap().count(), 0);
    }
}

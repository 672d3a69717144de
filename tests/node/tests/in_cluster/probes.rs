//! What the kubelet says of the program's probes.

use ccm_node::{DAEMON_SET, Error, NODE};
use k8s_openapi::api::core::v1::Event;
use kube::{Api, api::ListParams};

use crate::stage::{NAMESPACE, Stage};

/// What the kubelet has said of probes of the program's pods that failed, but for those that asked whether it is ready
/// when it was not, or did not listen: at its start and at its end.
pub(crate) async fn unwell(stage: &Stage) -> Result<Vec<String>, Error> {
    let events = Api::<Event>::namespaced(stage.cluster.client(), NAMESPACE);
    let events = events.list(&ListParams::default().fields("reason=Unhealthy")).await?;
    let is_ours = |event: &Event| {
        event.involved_object.name.as_deref().is_some_and(|name| name.starts_with(DAEMON_SET))
    };
    // Not yet, or no longer; and once late, as on a machine that stood still.
    let is_usual = |said: &str, times: i32| {
        let is_no = ["refused", "statuscode: 500"].iter().any(|no| said.contains(no));
        said.starts_with("Readiness")
            && (is_no || (said.contains("deadline exceeded") && times < 2))
    };
    let unwell = events.into_iter().filter(is_ours).filter_map(|event| {
        let (said, times) = (event.message?, event.count.unwrap_or(1));
        (!is_usual(&said, times)).then_some(said)
    });
    Ok(unwell.collect())
}

/// How often the kubelet has had which answer from the program's pods, in its own metrics.
#[derive(Clone, Debug)]
pub(crate) struct Probes(pub(crate) String);

impl Probes {
    pub(crate) async fn of(stage: &Stage) -> Result<Self, Error> {
        let path = format!("/api/v1/nodes/{NODE}/proxy/metrics/probes");
        let text = stage.kubectl.run(&["get", "--raw", &path]).await?;
        let is_ours = |line: &&str| {
            line.starts_with("prober_probe_total{")
                && line.contains(&format!(r#"container="{DAEMON_SET}""#))
        };
        Ok(Self(text.lines().filter(is_ours).collect::<Vec<_>>().join("\n")))
    }

    /// Of liveness or readiness, as the kubelet writes both words.
    pub(crate) fn count(&self, kind: &str, result: &str) -> u64 {
        let (kind, result) = (format!(r#"probe_type="{kind}""#), format!(r#"result="{result}""#));
        let lines = self.0.lines().filter(|line| line.contains(&kind) && line.contains(&result));
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
    }
}

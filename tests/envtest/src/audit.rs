//! What was asked of the API server, by whom, and what it answered: exact counts for one client.
//!
//! Only service accounts of `kube-system` are logged, because that is where a program under test runs. Ask for it with
//! [`Options::audit`](crate::Options::audit), read it with
//! [`ControlPlane::audit_events`](crate::ControlPlane::audit_events), count it with [`Counts`].

use std::{
    collections::BTreeMap,
    fmt,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use k8s_openapi::jiff::Timestamp;
use kube::{Client, core::Request as ApiRequest};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    control_plane::PATIENCE,
    error::{Context, Error},
    process::POLL,
};

pub(crate) const POLICY_FILE: &str = "audit-policy.yaml";
pub(crate) const LOG_FILE: &str = "audit.log";

/// The group of the one user who is logged apart from service accounts: us, to know how far the log is.
pub(crate) const MARKER_GROUP: &str = "ccm-envtest:audit-marker";

pub(crate) const POLICY: &str = r#"apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Request
  verbs: [delete]
  userGroups: ["system:serviceaccounts:kube-system"]
- level: Metadata
  userGroups: ["system:serviceaccounts:kube-system", "ccm-envtest:audit-marker"]
- level: None
"#;

/// When in the life of a request an event was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub enum Stage {
    /// The headers of a long answer were sent: a watch has begun.
    ResponseStarted,
    /// The whole answer was sent. The event that is counted.
    ResponseComplete,
    /// The API server failed over it.
    Panic,
    /// The request came in; our policy leaves these out.
    RequestReceived,
}

/// One line of the log.
///
/// <https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Told apart by this: each request has one ID in all its events.
    pub id: String,
    /// When it was written.
    pub stage: Stage,
    /// Who asked.
    pub user: String,
    /// The groups of who asked.
    pub groups: Vec<String>,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    pub verb: String,
    /// The path and query.
    pub uri: String,
    /// `coordination.k8s.io`, for example. Empty for the core group, and for a path that is no resource.
    pub group: String,
    /// `nodes`, for example. Empty for a path that is no resource.
    pub resource: String,
    /// `status`, for example. Empty for none.
    pub subresource: String,
    /// Empty for none.
    pub namespace: String,
    /// Empty for a list, and for a creation.
    pub name: String,
    /// The status of the answer; 0 if there was none.
    pub code: u16,
    /// What the client calls itself.
    pub user_agent: String,
    /// When the request came in.
    pub received: Timestamp,
    /// What was sent with a deletion: its options. `Null` for all else.
    pub sent: Value,
}

/// The file's own shape.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    #[serde(rename = "auditID")]
    audit_id: String,
    stage: Stage,
    #[serde(default)]
    user: LineUser,
    verb: String,
    #[serde(rename = "requestURI", default)]
    request_uri: String,
    #[serde(default)]
    object_ref: LineObject,
    #[serde(default)]
    response_status: LineStatus,
    #[serde(default)]
    user_agent: String,
    #[serde(default, rename = "requestReceivedTimestamp")]
    received: Timestamp,
    #[serde(default, rename = "requestObject")]
    sent: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LineUser {
    username: String,
    groups: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LineObject {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LineStatus {
    code: u16,
}

impl From<Line> for Event {
    fn from(line: Line) -> Self {
        Self {
            id: line.audit_id,
            stage: line.stage,
            user: line.user.username,
            groups: line.user.groups,
            verb: line.verb,
            uri: line.request_uri,
            group: line.object_ref.api_group,
            resource: line.object_ref.resource,
            subresource: line.object_ref.subresource,
            namespace: line.object_ref.namespace,
            name: line.object_ref.name,
            code: line.response_status.code,
            user_agent: line.user_agent,
            received: line.received,
            sent: line.sent,
        }
    }
}

/// Reads a log as it is now. A last line that is still being written is left out; a file that is not there is empty.
pub fn read(path: &Path) -> Result<Vec<Event>, Error> {
    let text = match std::fs::read_to_string(path) {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.context(|| format!("reading {}", path.display()))?,
    };
    parse(&text)
}

fn parse(text: &str) -> Result<Vec<Event>, Error> {
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n') && !line.trim().is_empty())
        .map(|line| {
            serde_json::from_str::<Line>(line)
                .map(Event::from)
                .context(|| format!("reading an audit event: {line}"))
        })
        .collect()
}

/// What requests have in common that are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Request {
    /// Who asked.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    pub verb: String,
    /// `nodes`, for example. Empty for a path that is no resource.
    pub resource: String,
    /// `status`, for example. Empty for none.
    pub subresource: String,
    /// The status of the answer.
    pub code: u16,
}

/// Numbers of completed requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<Request, u64>);

impl Counts {
    /// Counts the completed requests among the events that `wanted` lets pass.
    pub fn of<'a>(
        events: impl IntoIterator<Item = &'a Event>,
        wanted: impl Fn(&Event) -> bool,
    ) -> Self {
        let mut counts = BTreeMap::new();
        for event in events {
            if event.stage == Stage::ResponseComplete && wanted(event) {
                let request = Request {
                    user: event.user.clone(),
                    verb: event.verb.clone(),
                    resource: event.resource.clone(),
                    subresource: event.subresource.clone(),
                    code: event.code,
                };
                *counts.entry(request).or_default() += 1;
            }
        }
        Self(counts)
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Those that `wanted` lets pass.
    pub fn sum(&self, wanted: impl Fn(&Request) -> bool) -> u64 {
        self.iter().filter(|(request, _)| wanted(request)).map(|(_, count)| count).sum()
    }

    /// Each kind of request with its number, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Request, u64)> {
        self.0.iter().map(|(request, count)| (request, *count))
    }
}

/// One line for each kind: `3 patch nodes/status 200 system:serviceaccount:kube-system:ccm`.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (Request { user, verb, resource, subresource, code }, count) in self.iter() {
            let slash = if subresource.is_empty() { "" } else { "/" };
            writeln!(f, "{count} {verb} {resource}{slash}{subresource} {code} {user}")?;
        }
        Ok(())
    }
}

/// Knows how far the log is: a request of ours, once it is in the log, has everything before it in the log.
///
/// The API server hands events to one queue when it has answered, and one writer empties it.
pub(crate) struct Marker {
    client: Client,
    count: AtomicU64,
}

impl Marker {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, count: AtomicU64::new(0) }
    }

    pub(crate) async fn events(&self, log: &Path) -> Result<Vec<Event>, Error> {
        let name = format!("audit-marker-{}", self.count.fetch_add(1, Ordering::Relaxed));
        let what = || "marking the audit log".to_owned();
        let request = ApiRequest::new("").get(&name, &kube::api::GetParams::default());
        let request = request.map_err(kube::Error::BuildRequest).context(what)?;
        match self.client.request_text(request).await {
            // There is no such path and no right to it, which is answered and logged all the same.
            Ok(_) | Err(kube::Error::Api(_)) => {}
            Err(err) => return Err(err).context(what),
        }
        let uri = format!("/{name}");
        let since = Instant::now();
        loop {
            let mut events = read(log)?;
            if events.iter().any(|event| event.uri == uri) {
                events.retain(|event| !event.groups.iter().any(|group| group == MARKER_GROUP));
                return Ok(events);
            }
            if since.elapsed() > PATIENCE {
                let what = format!("the audit event for {uri}");
                return Err(Error::Timeout { what, waited: PATIENCE });
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

impl fmt::Debug for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Marker").field("count", &self.count).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"1","stage":"ResponseComplete","requestURI":"/api/v1/nodes/a/status?","verb":"patch","user":{"username":"system:serviceaccount:kube-system:ccm","uid":"u","groups":["system:serviceaccounts"],"extra":{}},"sourceIPs":["127.0.0.1"],"userAgent":"ccm/1","objectRef":{"resource":"nodes","name":"a","apiVersion":"v1","subresource":"status"},"responseStatus":{"metadata":{},"code":200},"requestReceivedTimestamp":"2026-01-01T00:00:00.000000Z","stageTimestamp":"2026-01-01T00:00:00.000000Z"}"#;
    const WATCH_BEGUN: &str = r#"{"auditID":"2","stage":"ResponseStarted","verb":"watch","user":{"username":"u"},"objectRef":{"resource":"nodes"},"responseStatus":{"code":200}}"#;
    const PATH: &str = r#"{"auditID":"3","stage":"ResponseComplete","requestURI":"/version","verb":"get","user":{"username":"u"},"responseStatus":{"code":200}}"#;

    #[test]
    fn an_event_is_read_whole() {
        let events = parse(&format!("{PATCH}\n")).unwrap();
        let [event] = &events[..] else { panic!("{events:?}") };
        assert_eq!(event.user, "system:serviceaccount:kube-system:ccm");
        assert_eq!(
            (&*event.verb, &*event.resource, &*event.subresource, &*event.name, event.code),
            ("patch", "nodes", "status", "a", 200)
        );
        assert_eq!((&*event.uri, &*event.user_agent), ("/api/v1/nodes/a/status?", "ccm/1"));
        assert_eq!(event.received, "2026-01-01T00:00:00Z".parse().unwrap());
        assert!(event.sent.is_null());
    }

    #[test]
    fn a_line_half_written_waits() {
        let text = format!("{PATH}\n{}", &PATCH[..100]);
        assert_eq!(parse(&text).unwrap().len(), 1);
        assert!(parse("not json\n").is_err());
    }

    #[test]
    fn only_completed_requests_count() {
        let events = parse(&format!("{PATCH}\n{WATCH_BEGUN}\n{PATH}\n{PATCH}\n")).unwrap();
        let counts = Counts::of(&events, |_| true);
        assert_eq!(
            counts.to_string(),
            "2 patch nodes/status 200 system:serviceaccount:kube-system:ccm\n1 get  200 u\n"
        );
        assert_eq!(counts.total(), 3);
        assert_eq!(counts.sum(|request| request.verb == "patch"), 2);
        assert_eq!(Counts::of(&events, |event| event.user == "u").total(), 1);
    }

    #[test]
    fn the_policy_logs_the_marker() {
        assert!(POLICY.contains(MARKER_GROUP));
    }
}

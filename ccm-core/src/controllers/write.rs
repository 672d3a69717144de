//! What every write is made of: patches that test what they were decided on, and answers of which no
//! more is asked than we read. Decides nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderValue, header::ACCEPT};
use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation, RemoveOperation, TestOperation};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::Request;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use crate::cluster::keys;
use crate::cluster::node::{Node, Version};

/// Asks for no more of the answer than we read: a patched Node of 20 kB comes back as a few lines.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// Where Nodes are.
pub(super) const NODES: &str = "/api/v1/nodes";

/// How long a right that is lacking is not complained of again.
const REMINDED_AFTER: Duration = Duration::from_hours(1);

/// A client for writes; `kube`'s own type does not implement `Debug`.
#[derive(Clone)]
pub struct WriteClient(pub Client, Arc<Lacks>);

impl WriteClient {
    /// One for a controller, which knows what that has complained of.
    pub fn new(client: Client) -> Self {
        Self(client, Arc::default())
    }

    /// Whether the write was refused for want of a right, and the log says so already. It is the same
    /// for all objects and at each try, so one line is enough.
    pub(super) fn is_known_lack(&self, err: &kube::Error) -> bool {
        lack(err).is_some_and(|right| !self.1.is_news(right, Instant::now()))
    }
}

/// Rights that are lacking, and when that was said.
#[derive(Debug, Default)]
struct Lacks(Mutex<HashMap<String, Instant>>);

impl Lacks {
    /// Whether it is to be said now. Then it counts as said.
    fn is_news(&self, right: &str, now: Instant) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let was_said = said.get(right).is_some_and(|then| now < *then + REMINDED_AFTER);
        if !was_said {
            said.insert(right.to_owned(), now);
        }
        !was_said
    }
}

/// The right that is lacking: who may not do what with which resource, in the words of the API server.
/// `None` for other refusals, webhooks' among them, whose reasons differ from object to object.
fn lack(err: &kube::Error) -> Option<&str> {
    let kube::Error::Api(status) = err else { return None };
    if status.code != 403 {
        return None;
    }
    let (_, right) = status.message.split_once(" is forbidden: User ")?;
    let (right, _) = right.split_once(" in API group ")?;
    Some(right)
}

impl std::fmt::Debug for WriteClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

/// Sends a strategic merge of the status of an object in this collection. Gives its new version.
pub(super) async fn patch_status(
    client: &Client,
    collection: &str,
    name: &str,
    patch: Value,
) -> kube::Result<Version> {
    let request = Request::new(collection)
        .patch_subresource("status", name, &params(), &Patch::Strategic(patch))
        .map_err(kube::Error::BuildRequest)?;
    version(client, request).await
}

/// Sends a merge of the main resource of an object in this collection. Gives its new version.
pub(super) async fn patch_merge(
    client: &Client,
    collection: &str,
    name: &str,
    patch: Value,
) -> kube::Result<Version> {
    let request = Request::new(collection)
        .patch(name, &params(), &Patch::Merge(patch))
        .map_err(kube::Error::BuildRequest)?;
    version(client, request).await
}

/// Sends a JSON Patch of a Node's main resource. Gives the Node's new version.
pub(super) async fn patch_main(
    client: &Client,
    node: &Node,
    operations: Vec<PatchOperation>,
) -> kube::Result<Version> {
    let patch = Patch::<()>::Json(json_patch::Patch(operations));
    let request = Request::new(NODES)
        .patch(node.name.as_str(), &params(), &patch)
        .map_err(kube::Error::BuildRequest)?;
    version(client, request).await
}

/// Deletes a Node, if it is still just this version of this one: a Node that was made anew, or whose
/// kubelet has come back meanwhile, answers 409.
pub(super) async fn delete(client: &Client, node: &Node) -> kube::Result<()> {
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(node.uid.as_str().to_owned()),
            resource_version: Some(node.version.as_str().to_owned()),
        }),
        ..DeleteParams::default()
    };
    let request = Request::new(NODES)
        .delete(node.name.as_str(), &params)
        .map_err(kube::Error::BuildRequest)?;
    // The Node, where something holds it up, or a status.
    send::<serde::de::IgnoredAny>(client, request).await?;
    Ok(())
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(keys::FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

async fn version(client: &Client, request: http::Request<Vec<u8>>) -> kube::Result<Version> {
    #[derive(Deserialize)]
    struct Answer {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        resource_version: String,
    }

    let answer: Answer = send(client, request).await?;
    Ok(Version::new(&answer.metadata.resource_version))
}

async fn send<T: DeserializeOwned>(
    client: &Client,
    mut request: http::Request<Vec<u8>>,
) -> kube::Result<T> {
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static(METADATA_ONLY));
    client.request(request).await
}

pub(super) fn test(path: &[&str], value: &str) -> PatchOperation {
    PatchOperation::Test(TestOperation { path: pointer(path), value: value.into() })
}

pub(super) fn add(path: &[&str], value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation { path: pointer(path), value })
}

/// Takes away the taints at these places, if they still have this key there. A list that moved
/// meanwhile answers 422; no other writer's taint is ever rewritten.
pub(super) fn remove_taints(places: &[usize], key: &str) -> Vec<PatchOperation> {
    let places: Vec<_> = places.iter().map(ToString::to_string).collect();
    let tests = places.iter().map(|place| test(&["spec", "taints", place, "key"], key));
    // From the back, so that the places in front stay what they are.
    let removals = places.iter().rev().map(|place| {
        PatchOperation::Remove(RemoveOperation { path: pointer(&["spec", "taints", place]) })
    });
    tests.chain(removals).collect()
}

fn pointer(tokens: &[&str]) -> PointerBuf {
    PointerBuf::from_tokens(tokens.iter().copied())
}

/// The HTTP status of a refusal; 0 where there was no answer.
pub(super) fn code(err: &kube::Error) -> u16 {
    match err {
        kube::Error::Api(status) => status.code,
        _ => 0,
    }
}

/// The API's times of conditions have no fractions.
pub(super) fn seconds(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A refused write, in a word for the metric.
pub(super) fn refusal(code: u16) -> &'static str {
    match code {
        403 => "forbidden",
        409 | 422 => "changed",
        429 => "throttled",
        0 => "unanswered",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn refused(code: u16, message: &str) -> kube::Error {
        let message = message.to_owned();
        kube::Error::Api(Box::new(Status { code, message, ..Status::default() }))
    }

    fn forbidden(object: &str, verb: &str, at: &str) -> kube::Error {
        let resource = r#"resource "services/status" in API group "" "#;
        refused(
            403,
            &format!(
                r#"services "{object}" is forbidden: User "ccm" cannot {verb} {resource}{at}"#
            ),
        )
    }

    #[test]
    fn a_right_that_is_lacking_is_one_thing_for_all_objects() {
        let web = forbidden("web", "patch", r#"in the namespace "shop""#);
        let right = r#""ccm" cannot patch resource "services/status""#;
        assert_eq!(lack(&web), Some(right));
        assert_eq!(lack(&forbidden("db", "patch", "at the cluster scope")), Some(right));
        assert_ne!(lack(&forbidden("web", "delete", "")), Some(right));
        let webhook = r#"admission webhook "w" denied the request: not this one"#;
        for other in [refused(403, webhook), refused(409, "conflict"), refused(403, "")] {
            assert_eq!(lack(&other), None, "{other}");
        }
    }

    #[test]
    fn a_lack_is_news_once_an_hour() {
        let (lacks, now) = (Lacks::default(), Instant::now());
        assert!(lacks.is_news("a", now) && lacks.is_news("b", now));
        assert!(!lacks.is_news("a", now + Duration::from_mins(59)));
        assert!(lacks.is_news("a", now + REMINDED_AFTER));
        assert!(!lacks.is_news("a", now + REMINDED_AFTER));
    }
}

//! What every write is made of: patches that test what they were decided on, and answers of which no
//! more is asked than we read. Decides nothing.

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

use crate::cluster::keys;
use crate::cluster::node::{Node, Version};

/// Asks for no more of the answer than we read: a patched Node of 20 kB comes back as a few lines.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// Where Nodes are.
pub(super) const NODES: &str = "/api/v1/nodes";

/// A client for writes; `kube`'s own type does not implement `Debug`.
#[derive(Clone)]
pub struct WriteClient(pub Client);

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

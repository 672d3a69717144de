//! The floor of `cargo xtask bench nodes`: nothing but the two patches that a node needs.

use std::pin::pin;

use clap::Args;
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Node;
use kube::api::Patch;
use kube::core::Request;
use kube::core::metadata::PartialObjectMeta;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use serde_json::json;

use super::{Common, Error, complain, params, send};

/// The floor of `bench nodes`: two patches per node and nothing else.
#[derive(Args)]
pub(super) struct Flags {
    #[command(flatten)]
    common: Common,
}

pub(super) async fn run(flags: Flags) -> Result<(), Error> {
    let common = flags.common;
    let client = common.client().await?;
    let config = watcher::Config::default();
    let mut events = pin!(watcher(Api::<PartialObjectMeta<Node>>::all(client.clone()), config));
    let mut nodes = Vec::new();
    loop {
        match events.next().await.ok_or("the watch ended")?? {
            watcher::Event::InitApply(node) => nodes.push(node),
            watcher::Event::InitDone => break,
            _ => {}
        }
    }
    let patches = stream::iter(nodes)
        .map(|node| patch(client.clone(), node))
        .buffer_unordered(common.concurrency)
        .for_each(async |outcome| {
            if let Err(err) = outcome {
                complain(format_args!("not patched: {err}"));
            }
        });
    let watch = async { while events.next().await.is_some() {} };
    // The watch goes on, as a controller's does, until we are ended.
    futures::join!(patches, watch);
    Ok(())
}

/// What initialisation writes: the addresses, then labels, provider ID and the taint.
async fn patch(client: Client, node: PartialObjectMeta<Node>) -> Result<(), kube::Error> {
    let name = node.metadata.name.unwrap_or_default();
    let uid = node.metadata.uid.unwrap_or_default();
    let params = params();
    let status = json!({
        "metadata": {"uid": uid},
        "status": {"addresses": [
            {"$patch": "replace"},
            {"type": "InternalIP", "address": "10.0.0.1"},
            {"type": "Hostname", "address": name},
        ]},
    });
    let nodes = Request::new("/api/v1/nodes");
    let request = nodes
        .patch_subresource("status", &name, &params, &Patch::Strategic(status))
        .map_err(kube::Error::BuildRequest)?;
    send(&client, request).await?;
    let main: json_patch::Patch = serde_json::from_value(json!([
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "test", "path": "/spec/taints/0/key",
         "value": "node.cloudprovider.kubernetes.io/uninitialized"},
        {"op": "remove", "path": "/spec/taints/0"},
        {"op": "add", "path": "/spec/providerID", "value": format!("floor://{name}")},
        {"op": "add", "path": "/metadata/labels/topology.kubernetes.io~1zone", "value": "z"},
        {"op": "add", "path": "/metadata/labels/failure-domain.beta.kubernetes.io~1zone", "value": "z"},
        {"op": "add", "path": "/metadata/labels/topology.kubernetes.io~1region", "value": "r"},
        {"op": "add", "path": "/metadata/labels/failure-domain.beta.kubernetes.io~1region", "value": "r"},
        {"op": "add", "path": "/metadata/labels/node.kubernetes.io~1instance-type", "value": "t"},
        {"op": "add", "path": "/metadata/labels/beta.kubernetes.io~1instance-type", "value": "t"},
    ]))
    .map_err(kube::Error::SerdeError)?;
    let request =
        nodes.patch(&name, &params, &Patch::<()>::Json(main)).map_err(kube::Error::BuildRequest)?;
    send(&client, request).await
}

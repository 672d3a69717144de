//! The floor of `cargo xtask bench nodes`: a bare client that does nothing but the two patches that
//! a node needs. Whatever a controller does, it cannot be faster than this against the same API server.

use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;

use clap::Parser;
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::Request;
use kube::core::metadata::PartialObjectMeta;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

/// The floor: two patches per node and nothing else.
#[derive(Parser)]
struct Cli {
    /// Credentials.
    #[arg(long)]
    kubeconfig: PathBuf,
    /// Patches under way at once.
    #[arg(long)]
    concurrency: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "error: {err}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), Box<dyn std::error::Error>> {
    let kubeconfig = Kubeconfig::read_from(&cli.kubeconfig)?;
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    config.default_retry = false;
    let client = Client::try_from(config)?;
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
        .buffer_unordered(cli.concurrency)
        .for_each(async |outcome| {
            if let Err(err) = outcome {
                use std::io::Write;
                let _ = writeln!(std::io::stderr(), "not patched: {err}");
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
    let params =
        PatchParams { field_manager: Some("bench-floor".to_owned()), ..PatchParams::default() };
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

async fn send(client: &Client, mut request: http::Request<Vec<u8>>) -> Result<(), kube::Error> {
    let only_metadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let accept = http::HeaderValue::from_static(only_metadata);
    request.headers_mut().insert(http::header::ACCEPT, accept);
    client.request::<Value>(request).await.map(|_| ())
}

//! The floor of `cargo xtask bench services`: a client that sends, for each Service, its share of
//! the requests that the cloud-controller-manager was counted with, and decides nothing.
//!
//! The same numbers of the same kinds of requests, with bodies and answers of the same size: patches
//! of the status, events, looks at the cloud and changes of it. It watches Services and Nodes, as it
//! would have to.

use std::collections::HashSet;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use clap::Args;
use futures::StreamExt;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Event, EventSource, Node, ObjectReference, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PostParams};
use kube::core::metadata::PartialObjectMeta;
use kube::core::{NotUsed, Object, Request};
use kube::discovery::ApiResource;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use simcloud::api::{
    AddRule, Address, CLUSTER_TAG, CreateAddress, CreateFirewall, CreateListener,
    CreateLoadBalancer, CreateTargetGroup, Firewall, InstanceId, IpFamily, ListPieces, Listener,
    ListenerSettings, LoadBalancer, OWNER_TAG, Operation, Protocol, RuleSpec, TargetGroup,
};
use tokio::sync::OnceCell;

use super::cloud::Cloud;
use super::share::{Share, half};
use super::{Common, Error, NAME, complain, params, send};

/// Targets in one call: the cloud's own limit.
const BATCH: usize = 100;

/// The floor of `bench services`: the same requests as the cloud-controller-manager, and nothing else.
#[derive(Args)]
pub(super) struct Flags {
    #[command(flatten)]
    common: Common,
    /// The cloud's URL.
    #[arg(long)]
    cloud: String,
    /// File with its token.
    #[arg(long)]
    cloud_token_file: PathBuf,
    /// Services among which all that follows is shared out.
    #[arg(long)]
    services: u64,
    /// Patches of a Service's status, in all.
    #[arg(long)]
    patches: u64,
    /// Events, in all.
    #[arg(long)]
    events: u64,
    /// Calls of one operation, in all: `ListAddresses=1000`.
    #[arg(long = "call", value_parser = call)]
    calls: Vec<(Operation, u64)>,
}

fn call(text: &str) -> Result<(Operation, u64), String> {
    let (operation, count) = text.split_once('=').ok_or("must be OPERATION=COUNT")?;
    let mut known = Operation::ALL.into_iter();
    let operation = known.find(|known| known.as_str() == operation);
    let operation = operation.ok_or("no such operation")?;
    Ok((operation, count.parse().map_err(|_| format!("not a number: {count}"))?))
}

/// A Service of which no more is read than is needed.
type Trimmed = Object<Ports, NotUsed>;

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Ports {
    ports: Vec<Port>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    port: NonZeroU16,
    /// Absent on the API server's own Service.
    node_port: Option<NonZeroU16>,
}

/// What all Services are seen to with.
struct Floor {
    client: Client,
    cloud: Cloud,
    instances: Vec<InstanceId>,
    firewall: OnceCell<Firewall>,
}

pub(super) async fn run(flags: Flags) -> Result<(), Error> {
    let client = flags.common.client().await?;
    let cloud = Cloud::new(&flags.cloud, &std::fs::read_to_string(&flags.cloud_token_file)?)?;
    let instances = instances(&client).await?;
    let floor =
        Arc::new(Floor { client: client.clone(), cloud, instances, firewall: OnceCell::new() });
    let all = Share {
        patches: flags.patches,
        events: flags.events,
        calls: flags.calls.into_iter().collect(),
    };

    let nodes = Api::<PartialObjectMeta<Node>>::all(client.clone());
    let mut nodes = pin!(watcher(nodes, watcher::Config::default()));
    let kind = ApiResource::erase::<Service>(&());
    let services = Api::<Trimmed>::all_with(client, &kind);
    let services = watcher(services, watcher::Config::default());
    let mut seen = HashSet::new();
    let new = services.filter_map(|event| {
        let service = match event {
            Ok(watcher::Event::Apply(service) | watcher::Event::InitApply(service)) => service,
            Ok(_) => return std::future::ready(None),
            Err(err) => {
                complain(format_args!("watch: {err}"));
                return std::future::ready(None);
            }
        };
        let port = service.spec.ports.first().copied();
        let (port, node_port) = (port.map(|it| it.port), port.and_then(|it| it.node_port));
        let ports = port.zip(node_port).filter(|_| seen.insert(service.metadata.uid.clone()));
        std::future::ready(ports.map(|ports| (service.metadata, ports)))
    });
    let served = new
        .enumerate()
        .map(|(number, (meta, ports))| {
            let (floor, share) = (Arc::clone(&floor), all.of(number as u64, flags.services));
            async move { floor.see_to(&meta, ports, share).await }
        })
        .buffer_unordered(flags.common.concurrency)
        .for_each(async |outcome| {
            if let Err(err) = outcome {
                complain(format_args!("not served: {err}"));
            }
        });
    // The watches go on, as a controller's do, until we are ended.
    futures::join!(served, async { while nodes.next().await.is_some() {} });
    Ok(())
}

/// Those behind all Nodes, from their provider IDs.
async fn instances(client: &Client) -> Result<Vec<InstanceId>, Error> {
    let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await?;
    let id = |node: Node| {
        let provider_id = node.spec?.provider_id?;
        Some(InstanceId::from(provider_id.strip_prefix("sim://")?))
    };
    let mut ids: Vec<_> = nodes.into_iter().filter_map(id).collect();
    ids.sort_unstable();
    Ok(ids)
}

impl Floor {
    /// Sends this Service's share. The order is that of a controller that makes no mistakes: held
    /// before anything is made, and told once all is made.
    async fn see_to(
        &self,
        meta: &ObjectMeta,
        (port, node_port): (NonZeroU16, NonZeroU16),
        mut left: Share,
    ) -> Result<(), Error> {
        let name = meta.name.as_deref().unwrap_or_default();
        let uid = meta.uid.as_deref().unwrap_or_default();
        let tags = || {
            let pairs = [(CLUSTER_TAG, "bench"), (OWNER_TAG, uid)];
            pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
        };
        let mine = || ListPieces::tagged(tags());

        for _ in 0..half(&mut left.patches) {
            self.patch(meta, &held(uid)).await?;
        }
        for _ in 0..half(&mut left.events) {
            self.event(meta, "EnsuringLoadBalancer", "Ensuring load balancer").await?;
        }
        for _ in 0..left.take_half(Operation::ListAddresses) {
            self.cloud.list::<Address>(mine()).await?;
        }
        for _ in 0..left.take_half(Operation::ListTargetGroups) {
            self.cloud.list::<TargetGroup>(mine()).await?;
        }
        for _ in 0..left.take_half(Operation::ListLoadBalancers) {
            self.cloud.list::<LoadBalancer>(mine()).await?;
        }

        // One of each, whatever was counted: what follows needs them.
        let client_token = |kind: &str| Some(format!("{uid}/{kind}/0123456789abcdef"));
        let wanted = CreateAddress {
            tags: tags(),
            client_token: client_token("address"),
            ..CreateAddress::named(name, IpFamily::Ipv4)
        };
        left.take(Operation::CreateAddress);
        let address = self.cloud.create(&wanted).await?;
        let wanted = CreateLoadBalancer {
            name: format!("a{}", uid.replace('-', "")).chars().take(32).collect(),
            internal: false,
            addresses: vec![address.id.clone()],
            tags: tags(),
            client_token: client_token("load_balancer"),
        };
        left.take(Operation::CreateLoadBalancer);
        let load_balancer = self.cloud.create(&wanted).await?;
        let wanted = CreateTargetGroup {
            tags: tags(),
            client_token: client_token("target_group"),
            ..CreateTargetGroup::named(name, Protocol::Tcp, node_port)
        };
        left.take(Operation::CreateTargetGroup);
        let group = self.cloud.create(&wanted).await?;
        let batches: Vec<_> = self.instances.chunks(BATCH).collect();
        for call in 0..usize::try_from(left.take(Operation::ChangeTargets))? {
            let Some(batch) = batches.get(call % batches.len().max(1)) else { break };
            self.cloud.add_targets(&group.id, batch).await?;
        }
        let wanted = CreateListener {
            name: name.to_owned(),
            load_balancer: load_balancer.id.clone(),
            protocol: Protocol::Tcp,
            port,
            target_group: group.id.clone(),
            settings: ListenerSettings::default(),
            tags: tags(),
            client_token: client_token("listener"),
        };
        left.take(Operation::CreateListener);
        self.cloud.create(&wanted).await?;
        self.look(&mut left, mine, &load_balancer, &group).await?;
        self.open(&mut left, uid, (port, node_port)).await?;

        for _ in 0..left.patches {
            self.patch(meta, &told(uid, &address)).await?;
        }
        for _ in 0..left.events {
            self.event(meta, "EnsuredLoadBalancer", "Ensured load balancer").await?;
        }
        for (operation, count) in left.calls.into_iter().filter(|(_, count)| *count > 0) {
            complain(format_args!("not sent: {operation} {count}"));
        }
        Ok(())
    }

    /// The looks behind a creation.
    async fn look(
        &self,
        left: &mut Share,
        mine: impl Fn() -> ListPieces,
        load_balancer: &LoadBalancer,
        group: &TargetGroup,
    ) -> Result<(), Error> {
        // Those of one look go together.
        let addresses =
            (0..left.take(Operation::ListAddresses)).map(|_| self.cloud.list::<Address>(mine()));
        let groups = (0..left.take(Operation::ListTargetGroups))
            .map(|_| self.cloud.list::<TargetGroup>(mine()));
        let load_balancers = (0..left.take(Operation::ListLoadBalancers))
            .map(|_| self.cloud.list::<LoadBalancer>(mine()));
        futures::try_join!(
            try_join_all(addresses),
            try_join_all(groups),
            try_join_all(load_balancers)
        )?;
        for _ in 0..left.take(Operation::ListListeners) {
            self.cloud.list::<Listener>(ListPieces::of(load_balancer.id.clone())).await?;
        }
        for _ in 0..left.take(Operation::ListTargets) {
            self.cloud.targets(&group.id).await?;
        }
        for _ in 0..left.take(Operation::GetLoadBalancer) {
            self.cloud.get::<LoadBalancer>(&load_balancer.id).await?;
        }
        for _ in 0..left.take(Operation::DescribeInstances) {
            self.cloud.describe(&self.instances[..self.instances.len().min(BATCH)]).await?;
        }
        Ok(())
    }

    /// Its rule in the firewall, which all share.
    async fn open(
        &self,
        left: &mut Share,
        uid: &str,
        (port, node_port): (NonZeroU16, NonZeroU16),
    ) -> Result<(), Error> {
        left.take(Operation::CreateFirewall);
        let make = || self.cloud.create_firewall();
        let firewall = self.firewall.get_or_try_init(make).await?;
        let cluster = || [(CLUSTER_TAG.to_owned(), "bench".to_owned())].into();
        for _ in 0..left.take(Operation::ListFirewalls) {
            self.cloud.list::<Firewall>(ListPieces::tagged(cluster())).await?;
        }
        for _ in 0..left.take(Operation::ListRules) {
            self.cloud.rules(&firewall.id).await?;
        }
        left.take(Operation::AddRule);
        let spec = RuleSpec {
            owner: uid.to_owned(),
            source: "0.0.0.0/0".parse()?,
            protocol: Protocol::Tcp,
            port,
            node_ports: vec![node_port],
        };
        let client_token = Some(format!("{uid}/rule/0123456789abcdef"));
        self.cloud.add_rule(&firewall.id, &AddRule { spec, client_token }).await?;
        Ok(())
    }

    async fn patch(&self, meta: &ObjectMeta, patch: &Value) -> Result<(), Error> {
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let name = meta.name.as_deref().unwrap_or_default();
        let request = Request::new(format!("/api/v1/namespaces/{namespace}/services"))
            .patch_subresource("status", name, &params(), &Patch::Strategic(patch))?;
        Ok(send(&self.client, request).await?)
    }

    async fn event(&self, meta: &ObjectMeta, reason: &str, message: &str) -> Result<(), Error> {
        let now = Time(Timestamp::now());
        let namespace = meta.namespace.clone().unwrap_or_default();
        let name = meta.name.clone().unwrap_or_default();
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{name}.{reason:.8}{:x}", now.0.as_nanosecond())),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Service".to_owned()),
                name: Some(name),
                namespace: Some(namespace.clone()),
                uid: meta.uid.clone(),
                ..ObjectReference::default()
            },
            type_: Some("Normal".to_owned()),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            count: Some(1),
            first_timestamp: Some(now.clone()),
            last_timestamp: Some(now),
            source: Some(EventSource {
                component: Some(NAME.to_owned()),
                host: Some(NAME.to_owned()),
            }),
            reporting_component: Some(NAME.to_owned()),
            reporting_instance: Some(NAME.to_owned()),
            ..Event::default()
        };
        let events = Api::<Event>::namespaced(self.client.clone(), &namespace);
        events.create(&PostParams::default(), &event).await?;
        Ok(())
    }
}

impl Cloud {
    async fn create_firewall(&self) -> Result<Firewall, Error> {
        self.create(&CreateFirewall::named("nodes", "bench")).await
    }
}

/// That it is held, and that work has begun.
fn held(uid: &str) -> Value {
    json!({
        "metadata": {
            "uid": uid,
            "finalizers": ["service.kubernetes.io/load-balancer-cleanup"],
        },
        "status": {"conditions": [condition(
            "False",
            "Provisioning",
            "the load balancer is being set up",
        )]},
    })
}

/// Its address, and that it is ready.
fn told(uid: &str, address: &Address) -> Value {
    let ip = address.address;
    let message = format!("the load balancer is as the Service asks, at {ip}");
    json!({
        "metadata": {
            "uid": uid,
            "annotations": {"sim.ccm.rs/load-balancer-id": "lb-0000000000000001"},
        },
        "status": {
            "conditions": [condition("True", "Ready", &message)],
            "loadBalancer": {"ingress": [{"ip": ip, "ipMode": "VIP"}]},
        },
    })
}

fn condition(status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": "ccm.rs/LoadBalancerReady",
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": Time(Timestamp::now()),
    })
}

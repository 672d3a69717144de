//! Plays the kubelet of an external cloud provider: makes nodes that look real to a controller.
//!
//! A real kubelet creates its node with one request, status included, tainted as uninitialized. The API server adds the
//! not-ready taint to every new node, and only a kube-controller-manager takes it away when the node is ready; there is
//! none here, so this plays that too.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::{
    api::core::v1::{
        ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints,
        NodeSpec, NodeStatus, NodeSystemInfo, Taint,
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{ObjectMeta, Time},
    },
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    core::Request,
};
use serde::Deserialize;
use serde_json::json;

use crate::{
    binaries::KUBERNETES_VERSION,
    error::{Context, Error},
};

/// On every node whose kubelet runs with an external cloud provider, until the cloud-controller-manager takes it away.
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#node-cloudprovider-kubernetes-io-uninitialized>
pub const UNINITIALIZED_TAINT: &str = "node.cloudprovider.kubernetes.io/uninitialized";

/// Added by the API server at creation.
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#node-kubernetes-io-not-ready>
pub const NOT_READY_TAINT: &str = "node.kubernetes.io/not-ready";

/// What a kube-controller-manager puts on a node that it has not heard of for a while.
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#node-kubernetes-io-unreachable>
pub const UNREACHABLE_TAINT: &str = "node.kubernetes.io/unreachable";

/// The addresses a kubelet was started with.
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#alpha-kubernetes-io-provided-node-ip>
pub const PROVIDED_NODE_IP: &str = "alpha.kubernetes.io/provided-node-ip";

/// Whose fields those of a new node are.
const KUBELET: &str = "kubelet";

/// Whose field the taints are afterwards, in a cluster that has one.
const CONTROLLER_MANAGER: &str = "kube-controller-manager";

/// How often taints are read again because somebody else changed them meanwhile. Two do: we and the program under test.
const ATTEMPTS: usize = 10;

/// A machine and the flags its kubelet is started with.
#[derive(Clone, Debug)]
pub struct Kubelet {
    name: String,
    node_ip: Option<String>,
    addresses: Option<Vec<NodeAddress>>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    system_uuid: String,
    provider_id: Option<String>,
    pod_cidrs: Vec<String>,
    taints: Vec<Taint>,
    ready: bool,
    size: usize,
}

impl Kubelet {
    /// A kubelet without `--node-ip`: its node is ready and uninitialized, and its only address is its hostname.
    ///
    /// The system UUID follows from the name.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        let labels = [
            ("beta.kubernetes.io/arch", "amd64"),
            ("beta.kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", "amd64"),
            ("kubernetes.io/hostname", &name),
            ("kubernetes.io/os", "linux"),
        ];
        Self {
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            annotations: BTreeMap::from([(
                "volumes.kubernetes.io/controller-managed-attach-detach".to_owned(),
                "true".to_owned(),
            )]),
            system_uuid: uuid(&name, "system"),
            node_ip: None,
            addresses: None,
            provider_id: None,
            pod_cidrs: Vec::new(),
            taints: vec![taint(UNINITIALIZED_TAINT, Some("true"))],
            ready: true,
            size: 0,
            name,
        }
    }

    /// The ranges of its pods, as somebody has given them to the node already.
    #[must_use]
    pub fn pod_cidrs(mut self, ranges: &[&str]) -> Self {
        self.pod_cidrs = ranges.iter().map(|range| (*range).to_owned()).collect();
        self
    }

    /// `--node-ip`: one address, or two with a comma between. Sets the annotation and the first addresses.
    #[must_use]
    pub fn node_ip(mut self, ip: impl Into<String>) -> Self {
        self.node_ip = Some(ip.into());
        self
    }

    /// The first addresses, whatever follows from the flags.
    #[must_use]
    pub fn addresses(mut self, addresses: Vec<NodeAddress>) -> Self {
        self.addresses = Some(addresses);
        self
    }

    /// One of `--node-labels`.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// An annotation.
    #[must_use]
    pub fn annotation(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    /// What the firmware calls the machine.
    #[must_use]
    pub fn system_uuid(mut self, uuid: impl Into<String>) -> Self {
        self.system_uuid = uuid.into();
        self
    }

    /// `--provider-id`.
    #[must_use]
    pub fn provider_id(mut self, id: impl Into<String>) -> Self {
        self.provider_id = Some(id.into());
        self
    }

    /// One of `--register-with-taints`, with the effect `NoSchedule`.
    #[must_use]
    pub fn taint(mut self, key: &str, value: Option<&str>) -> Self {
        self.taints.push(taint(key, value));
        self
    }

    /// Without the uninitialized taint, as if `--cloud-provider=external` were missing.
    #[must_use]
    pub fn initialized(mut self) -> Self {
        self.taints.retain(|taint| taint.key != UNINITIALIZED_TAINT);
        self
    }

    /// Whether the node is ready. One that is not keeps the not-ready taint.
    #[must_use]
    pub fn ready(mut self, ready: bool) -> Self {
        self.ready = ready;
        self
    }

    /// About how many bytes of JSON the node is when it is read back, with `managedFields`: a real one is 20 kB.
    ///
    /// Filled up with images, which is what makes a real node big. A node is less than 3 kB without.
    #[must_use]
    pub fn size(mut self, bytes: usize) -> Self {
        self.size = bytes;
        self
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The node as it is sent to the API server.
    pub fn node(&self) -> Node {
        let mut annotations = self.annotations.clone();
        if let Some(ip) = &self.node_ip {
            annotations.insert(PROVIDED_NODE_IP.to_owned(), ip.clone());
        }
        let mut node = Node {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                labels: Some(self.labels.clone()),
                annotations: Some(annotations),
                ..Default::default()
            },
            spec: Some(NodeSpec {
                provider_id: self.provider_id.clone(),
                pod_cidr: self.pod_cidrs.first().cloned(),
                pod_cidrs: Some(self.pod_cidrs.clone()).filter(|ranges| !ranges.is_empty()),
                taints: Some(self.taints.clone()).filter(|taints| !taints.is_empty()),
                ..Default::default()
            }),
            status: Some(self.status()),
        };
        pad(&mut node, self.size);
        node
    }

    fn status(&self) -> NodeStatus {
        let now = now();
        let pressure = |type_: &str, reason: &str, message: &str| {
            condition(type_, "False", reason, message, &now)
        };
        NodeStatus {
            addresses: Some(self.addresses.clone().unwrap_or_else(|| self.first_addresses())),
            capacity: Some(resources("8", "32893272Ki", "101430960Ki")),
            allocatable: Some(resources("7910m", "30286168Ki", "93478772658")),
            conditions: Some(vec![
                pressure(
                    "MemoryPressure",
                    "KubeletHasSufficientMemory",
                    "kubelet has sufficient memory available",
                ),
                pressure(
                    "DiskPressure",
                    "KubeletHasNoDiskPressure",
                    "kubelet has no disk pressure",
                ),
                pressure(
                    "PIDPressure",
                    "KubeletHasSufficientPID",
                    "kubelet has sufficient PID available",
                ),
                ready_condition(self.ready, &now),
            ]),
            daemon_endpoints: Some(NodeDaemonEndpoints {
                kubelet_endpoint: Some(DaemonEndpoint { port: 10250 }),
            }),
            node_info: Some(NodeSystemInfo {
                architecture: "amd64".to_owned(),
                boot_id: uuid(&self.name, "boot"),
                container_runtime_version: "containerd://2.1.4".to_owned(),
                kernel_version: "6.12.0-1-cloud-amd64".to_owned(),
                kubelet_version: format!("v{KUBERNETES_VERSION}"),
                machine_id: uuid(&self.name, "machine").replace('-', ""),
                operating_system: "linux".to_owned(),
                os_image: "Debian GNU/Linux 13 (trixie)".to_owned(),
                system_uuid: self.system_uuid.clone(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    /// As a kubelet with `--cloud-provider=external`: what `--node-ip` says, and the hostname.
    /// <https://github.com/kubernetes/kubernetes/blob/v1.36.3/pkg/kubelet/nodestatus/setters.go>
    fn first_addresses(&self) -> Vec<NodeAddress> {
        let ips = self.node_ip.iter().flat_map(|ips| ips.split(','));
        ips.map(|ip| ("InternalIP", ip))
            .chain([("Hostname", self.name.as_str())])
            .map(|(type_, address)| NodeAddress {
                type_: type_.to_owned(),
                address: address.to_owned(),
            })
            .collect()
    }

    /// Creates the node and, if it is ready, takes the API server's not-ready taint away. Returns the node as it then is.
    ///
    /// Two writes. With `--disable-admission-plugins=TaintNodesByCondition` among the API server's flags the taint is
    /// not added, and it is one.
    pub async fn register(&self, client: &Client) -> Result<Node, Error> {
        self.join(client).await?;
        let api: Api<Node> = Api::all(client.clone());
        api.get(&self.name).await.context(|| format!("reading node {}", self.name))
    }

    /// Without making objects of two answers of 20 kB: with thousands of nodes that would keep a core busy which the
    /// API server needs.
    async fn join(&self, client: &Client) -> Result<(), Error> {
        let what = || format!("registering node {}", self.name);
        let api: Api<Node> = Api::all(client.clone());
        let node = serde_json::to_vec(&self.node()).context(what)?;
        let params = PostParams { field_manager: Some(KUBELET.to_owned()), dry_run: false };
        let request = Request::new(api.resource_url()).create(&params, node);
        let request = request.map_err(kube::Error::BuildRequest).context(what)?;
        let created: Created = client.request(request).await.context(what)?;
        if !self.ready || !created.spec.taints.iter().any(|taint| taint.key == NOT_READY_TAINT) {
            return Ok(());
        }
        match replace_taints(&api, &self.name, Some(&created.spec.taints), &self.taints).await? {
            Replaced::Yes => Ok(()),
            // The program under test was quicker.
            Replaced::OthersFound => edit_taints(&api, &self.name, without_not_ready).await,
        }
    }
}

/// What is of interest in a node that was created.
#[derive(Deserialize)]
struct Created {
    #[serde(default)]
    spec: CreatedSpec,
}

#[derive(Default, Deserialize)]
struct CreatedSpec {
    #[serde(default)]
    taints: Vec<Taint>,
}

/// Registers many nodes, so many at a time; ends at the first failure.
///
/// 16 at a time keep two cores busy, and more gain nothing: it is the API server that takes the time.
pub async fn register_many(
    client: &Client,
    kubelets: impl IntoIterator<Item = Kubelet>,
    concurrency: usize,
) -> Result<(), Error> {
    futures::stream::iter(kubelets)
        .map(|kubelet| async move { kubelet.join(client).await })
        .buffer_unordered(concurrency.max(1))
        .try_collect()
        .await
}

/// Lets a node be ready or not: the condition, as its kubelet says it, and the taint, as a kube-controller-manager does.
/// Returns the node as it then is.
pub async fn set_ready(client: &Client, name: &str, ready: bool) -> Result<Node, Error> {
    let taint = (!ready).then_some(NOT_READY_TAINT);
    set_condition(client, name, KUBELET, ready_condition(ready, &now()), taint).await
}

/// Lets a node be silent: what a kube-controller-manager writes some time after its machine was switched off. Returns the
/// node as it then is.
pub async fn set_unknown(client: &Client, name: &str) -> Result<Node, Error> {
    let message = "Kubelet stopped posting node status.";
    let unknown = condition("Ready", "Unknown", "NodeStatusUnknown", message, &now());
    set_condition(client, name, CONTROLLER_MANAGER, unknown, Some(UNREACHABLE_TAINT)).await
}

async fn set_condition(
    client: &Client,
    name: &str,
    manager: &str,
    condition: NodeCondition,
    wanted: Option<&str>,
) -> Result<Node, Error> {
    let api: Api<Node> = Api::all(client.clone());
    let patch = json!({"status": {"conditions": [condition]}});
    let params = PatchParams { field_manager: Some(manager.to_owned()), ..Default::default() };
    api.patch_status(name, &params, &Patch::Strategic(&patch))
        .await
        .context(|| format!("setting the conditions of node {name}"))?;
    edit_taints(&api, name, |taints| {
        let is_other =
            |key: &str| ![NOT_READY_TAINT, UNREACHABLE_TAINT].contains(&key) || Some(key) == wanted;
        taints.retain(|taint| is_other(&taint.key));
        if let Some(wanted) = wanted
            && !taints.iter().any(|taint| taint.key == wanted)
        {
            taints.push(taint(wanted, None));
        }
    })
    .await?;
    api.get(name).await.context(|| format!("reading node {name}"))
}

fn without_not_ready(taints: &mut Vec<Taint>) {
    taints.retain(|taint| taint.key != NOT_READY_TAINT);
}

/// Changes the taints and nothing else, even if somebody else changes them at the same time.
async fn edit_taints(
    api: &Api<Node>,
    name: &str,
    edit: impl Fn(&mut Vec<Taint>),
) -> Result<(), Error> {
    for _ in 0..ATTEMPTS {
        let node = api.get(name).await.context(|| format!("reading node {name}"))?;
        let found = node.spec.and_then(|spec| spec.taints);
        let mut wanted = found.clone().unwrap_or_default();
        edit(&mut wanted);
        if wanted == *found.as_deref().unwrap_or_default() {
            return Ok(());
        }
        match replace_taints(api, name, found.as_deref(), &wanted).await? {
            Replaced::Yes => return Ok(()),
            Replaced::OthersFound => {}
        }
    }
    Err(Error::Refused(format!("the taints of node {name} change all the time")))
}

/// What came of it.
enum Replaced {
    Yes,
    /// The taints are not those that were meant to be replaced.
    OthersFound,
}

/// Taints are one list that can only be written whole, so the patch says which list it means to replace.
async fn replace_taints(
    api: &Api<Node>,
    name: &str,
    found: Option<&[Taint]>,
    wanted: &[Taint],
) -> Result<Replaced, Error> {
    let what = || format!("changing the taints of node {name}");
    let patch = serde_json::from_value(taints_patch(found, wanted)).context(what)?;
    let params =
        PatchParams { field_manager: Some(CONTROLLER_MANAGER.to_owned()), ..Default::default() };
    match api.patch_metadata(name, &params, &Patch::Json::<()>(patch)).await {
        Ok(_) => Ok(Replaced::Yes),
        // 409: the object changed while it was written; 422: it is not the list that was meant.
        Err(kube::Error::Api(status)) if matches!(status.code, 409 | 422) => {
            Ok(Replaced::OthersFound)
        }
        Err(err) => Err(err).context(what),
    }
}

/// A list that is not there is not an empty one: it can not be tested for, and an empty one can not be written.
fn taints_patch(found: Option<&[Taint]>, wanted: &[Taint]) -> serde_json::Value {
    const PATH: &str = "/spec/taints";
    let test = found.map(|found| json!({"op": "test", "path": PATH, "value": found}));
    let change = match (found, wanted) {
        (None, []) => None,
        (Some(_), []) => Some(json!({"op": "remove", "path": PATH})),
        (_, wanted) => Some(json!({"op": "add", "path": PATH, "value": wanted})),
    };
    test.into_iter().chain(change).collect()
}

/// Adds images until the node is about so many bytes when it is read back.
fn pad(node: &mut Node, target: usize) {
    if target == 0 {
        return;
    }
    let written = serde_json::to_vec(&*node).map_or(0, |json| json.len());
    let mut size = written + added_by_server(node);
    let mut images = Vec::new();
    while size < target {
        let image = image(images.len());
        size += size_of(&image);
        images.push(image);
    }
    if let Some(status) = &mut node.status
        && !images.is_empty()
    {
        status.images = Some(images);
    }
}

/// What the API server adds: UID, version, time, and who manages which field. Measured; labels and annotations are
/// named there once more.
fn added_by_server(node: &Node) -> usize {
    const FIXED: usize = 490;
    let names = node.labels().keys().chain(node.annotations().keys());
    FIXED + names.map(|name| name.len() + 8).sum::<usize>()
}

/// An image as a node lists it: by digest and by tag.
fn image(number: usize) -> ContainerImage {
    let name = format!("registry.example/platform/services/component-{number:04}-controller");
    let [a, b] = ["a", "b"].map(|part| hash(&[&name, part]));
    let digest = format!("{a:016x}{b:016x}").repeat(2);
    ContainerImage {
        names: Some(vec![
            format!("{name}@sha256:{digest}"),
            format!("{name}:v1.{number}.0-20260101-{}", &digest[..12]),
        ]),
        size_bytes: Some(20_000_000 + i64::try_from(number % 600).unwrap_or_default() * 123_457),
    }
}

/// In JSON: the names, and `{"names":["",""],"sizeBytes":20000000},` around them.
fn size_of(image: &ContainerImage) -> usize {
    39 + image.names.iter().flatten().map(String::len).sum::<usize>()
}

fn resources(cpu: &str, memory: &str, storage: &str) -> BTreeMap<String, Quantity> {
    [
        ("cpu", cpu),
        ("ephemeral-storage", storage),
        ("hugepages-1Gi", "0"),
        ("hugepages-2Mi", "0"),
        ("memory", memory),
        ("pods", "110"),
    ]
    .map(|(name, quantity)| (name.to_owned(), Quantity(quantity.to_owned())))
    .into()
}

fn ready_condition(ready: bool, now: &Time) -> NodeCondition {
    if ready {
        condition("Ready", "True", "KubeletReady", "kubelet is posting ready status", now)
    } else {
        let message = "container runtime network not ready: NetworkReady=false";
        condition("Ready", "False", "KubeletNotReady", message, now)
    }
}

fn condition(type_: &str, status: &str, reason: &str, message: &str, now: &Time) -> NodeCondition {
    NodeCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_heartbeat_time: Some(now.clone()),
        last_transition_time: Some(now.clone()),
    }
}

fn taint(key: &str, value: Option<&str>) -> Taint {
    Taint {
        key: key.to_owned(),
        value: value.map(str::to_owned),
        effect: "NoSchedule".to_owned(),
        time_added: None,
    }
}

fn now() -> Time {
    Time(Timestamp::now())
}

/// The same for the same name, and unlike any other.
fn uuid(name: &str, what: &str) -> String {
    let (a, b) = (hash(&[name, what, "a"]), hash(&[name, what, "b"]));
    let hex = format!("{a:016x}{b:016x}");
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

fn hash(parts: &[&str]) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn addresses(node: &Node) -> Vec<String> {
        let status = node.status.as_ref().unwrap();
        let addresses = status.addresses.iter().flatten();
        addresses.map(|address| format!("{} {}", address.type_, address.address)).collect()
    }

    #[rstest]
    #[case::none(None, &["Hostname n"])]
    #[case::one(Some("10.0.0.1"), &["InternalIP 10.0.0.1", "Hostname n"])]
    #[case::dual_stack(Some("10.0.0.1,fd00::1"), &["InternalIP 10.0.0.1", "InternalIP fd00::1", "Hostname n"])]
    fn addresses_follow_from_node_ip(#[case] ip: Option<&str>, #[case] want: &[&str]) {
        let mut kubelet = Kubelet::new("n");
        if let Some(ip) = ip {
            kubelet = kubelet.node_ip(ip);
        }
        let node = kubelet.node();
        assert_eq!(addresses(&node), want);
        assert_eq!(node.annotations().get(PROVIDED_NODE_IP).map(String::as_str), ip);
    }

    #[test]
    fn a_new_node_is_uninitialized_unless_told() {
        let taints = |kubelet: Kubelet| kubelet.node().spec.unwrap().taints.unwrap_or_default();
        let [taint] = &taints(Kubelet::new("n"))[..] else { panic!("not one taint") };
        assert_eq!(
            (&*taint.key, taint.value.as_deref(), &*taint.effect),
            (UNINITIALIZED_TAINT, Some("true"), "NoSchedule")
        );
        assert!(taints(Kubelet::new("n").initialized()).is_empty());
    }

    #[test]
    fn a_machine_has_an_identity_of_its_own() {
        let uuid = |name| Kubelet::new(name).node().status.unwrap().node_info.unwrap().system_uuid;
        assert_eq!(uuid("a"), uuid("a"));
        assert_ne!(uuid("a"), uuid("b"));
        assert_eq!(uuid("a").split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    }

    #[test]
    fn padding_knows_the_size_of_an_image() {
        let image = image(1234);
        assert_eq!(size_of(&image), serde_json::to_vec(&image).unwrap().len() + 1);
    }

    #[test]
    fn padding_stops_at_the_size() {
        let len = |bytes| serde_json::to_vec(&Kubelet::new("n").size(bytes).node()).unwrap().len();
        let grown = len(20_000) - len(12_000);
        assert!((7_700..8_300).contains(&grown), "{grown}");
        assert_eq!(len(0), len(1_000), "a node has a size below which it can not go");
    }

    #[test]
    fn a_taints_patch_names_the_list_it_replaces() {
        let not_ready = || taint(NOT_READY_TAINT, None);
        let patch = taints_patch(Some(&[not_ready()]), &[]);
        assert_eq!(
            patch,
            json!([
                {"op": "test", "path": "/spec/taints", "value": [{"key": NOT_READY_TAINT, "effect": "NoSchedule"}]},
                {"op": "remove", "path": "/spec/taints"},
            ])
        );
        let patch = taints_patch(None, &[not_ready()]);
        assert_eq!(patch[0]["op"], "add");
    }
}

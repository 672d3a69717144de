//! All of the cluster, to be started, used and stopped.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use ccm_envtest::{Binary, ControlPlane, Error as EnvtestError, KUBELET_CLIENT, Options, Process};
use k8s_openapi::api::{
    core::v1::{ConfigMap, Node as NodeObject},
    rbac::v1::{ClusterRoleBinding, RoleRef, Subject},
};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use simcloud::api::{CreateInstance, Nic};
use simcloud::console::Console;
use tokio::time::{Instant, sleep};

use crate::{Error, cloud::Cloud, needs, node::Node};

/// The node's name, and that of its machine in the cloud.
pub const NODE: &str = "node-1";

const PATIENCE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(20);
const GRACE: Duration = Duration::from_secs(5);

/// What every pod's account is told, which kube-controller-manager writes into each namespace.
const ROOT_CA: &str = "kube-root-ca.crt";

/// What may differ between clusters.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The simulated cloud's program.
    pub simcloud: PathBuf,
}

/// A running cluster with one node, which waits for its cloud-controller-manager.
///
/// [`stop`](Self::stop) ends it in order; dropping the value kills it; if our process is killed, the control plane's
/// guardian does.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order.
    node: Node,
    scheduler: Process,
    controllers: Process,
    cloud: Cloud,
    control_plane: ControlPlane,
    kubeconfig: PathBuf,
}

impl Cluster {
    /// Starts one, and returns when the node has registered and is Ready but for the cloud: nothing but what tolerates the
    /// uninitialized taint runs on it.
    pub async fn start(setup: &Setup) -> Result<Self, Error> {
        let missing = needs::missing();
        if !missing.is_empty() {
            let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
            return Err(format!("a real node needs {}", missing.join(", ")).into());
        }
        // Before anything runs: each may have to be built.
        let programs = Programs::locate().await?;
        let mut control_plane = ControlPlane::start_with(Options {
            reaches_kubelets: true,
            apiserver_args: vec!["--enable-admission-plugins=NodeRestriction".to_owned()],
            ..Options::default()
        })
        .await?;
        let kubeconfig =
            control_plane.write_kubeconfig("admin", control_plane.admin_credentials())?;
        let cloud = Cloud::start(&mut control_plane, &setup.simcloud).await?;
        let [controllers, scheduler] = start_controllers(&mut control_plane, &programs)?;
        let client = control_plane.admin_client();
        let_in_the_api_server(&client).await?;
        let mut node = Node::start(&mut control_plane, NODE, &[cloud.address]).await?;
        make_machine(&cloud.console, &node).await?;
        until_ready(&client, &mut node).await?;
        join_the_control_plane(&client).await?;
        Ok(Self { node, scheduler, controllers, cloud, control_plane, kubeconfig })
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// A client that may do anything.
    pub fn client(&self) -> Client {
        self.control_plane.admin_client()
    }

    /// A kubeconfig file of somebody who may do anything.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The folder with logs and all else, which goes with the cluster.
    pub fn dir(&self) -> &Path {
        self.control_plane.dir()
    }

    /// The operator's side of the simulated cloud.
    pub fn cloud(&self) -> &Console {
        &self.cloud.console
    }

    /// What a cloud-controller-manager opens the cloud with.
    pub fn cloud_token(&self) -> &str {
        &self.cloud.token
    }

    /// An error if something has ended.
    pub fn expect_running(&mut self) -> Result<(), Error> {
        self.node.expect_running()?;
        self.control_plane.expect_running()?;
        for process in [&mut self.scheduler, &mut self.controllers, &mut self.cloud.process] {
            process.expect_running()?;
        }
        Ok(())
    }

    /// Ends everything in order, and says what could not be ended.
    pub async fn stop(self) -> Result<(), Error> {
        let Self { node, mut scheduler, mut controllers, mut cloud, control_plane, .. } = self;
        let node = node.stop().await;
        let ended: Vec<Result<(), EnvtestError>> = vec![
            scheduler.stop(GRACE).await,
            controllers.stop(GRACE).await,
            cloud.process.stop(GRACE).await,
        ];
        drop((scheduler, controllers, cloud));
        control_plane.stop().await?;
        node?;
        ended.into_iter().collect::<Result<(), _>>()?;
        Ok(())
    }
}

/// Programs of the cluster beside those of the control plane and the kubelet.
#[derive(Debug)]
struct Programs {
    controllers: PathBuf,
    scheduler: PathBuf,
}

impl Programs {
    async fn locate() -> Result<Self, Error> {
        Binary::Kubelet.locate().await?;
        Ok(Self {
            controllers: Binary::KubeControllerManager.locate().await?,
            scheduler: Binary::KubeScheduler.locate().await?,
        })
    }
}

/// Each as the user that the API server's own roles are for. Neither serves anything.
fn start_controllers(
    control_plane: &mut ControlPlane,
    programs: &Programs,
) -> Result<[Process; 2], Error> {
    let dir = control_plane.dir().to_owned();
    let flags = |name: &str| -> Result<Vec<String>, Error> {
        let user = format!("system:{name}");
        // The group says nothing; the certificate has to have one.
        let credentials = control_plane.certificate(&user, &user)?;
        let kubeconfig = control_plane.write_kubeconfig(name, &credentials)?;
        Ok(vec![
            format!("--kubeconfig={}", kubeconfig.display()),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
        ])
    };
    let scheduler = flags("kube-scheduler")?;
    let mut controllers = flags("kube-controller-manager")?;
    controllers.extend([
        "--cloud-provider=external".to_owned(),
        "--use-service-account-credentials".to_owned(),
        // Elsewhere it would make a folder of the machine's.
        format!("--flex-volume-plugin-dir={}", dir.join("volume-plugins").display()),
        format!("--root-ca-file={}", dir.join("ca.crt").display()),
        format!("--service-account-private-key-file={}", dir.join("service-account.key").display()),
    ]);
    let controllers = control_plane.start_beside(
        "kube-controller-manager",
        &programs.controllers,
        &controllers,
    )?;
    let scheduler =
        control_plane.start_beside("kube-scheduler", &programs.scheduler, &scheduler)?;
    Ok([controllers, scheduler])
}

/// Lets the API server read logs and run commands, by the role that there is for it.
async fn let_in_the_api_server(client: &Client) -> Result<(), Error> {
    let binding = ClusterRoleBinding {
        metadata: ObjectMeta { name: Some(KUBELET_CLIENT.to_owned()), ..ObjectMeta::default() },
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "ClusterRole".to_owned(),
            name: "system:kubelet-api-admin".to_owned(),
        },
        subjects: Some(vec![Subject {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "User".to_owned(),
            name: KUBELET_CLIENT.to_owned(),
            namespace: None,
        }]),
    };
    Api::all(client.clone()).create(&PostParams::default(), &binding).await?;
    Ok(())
}

/// The node's machine. The API server will dial the address that the cloud says, so it has to be the node's.
async fn make_machine(cloud: &Console, node: &Node) -> Result<(), Error> {
    let nic = Nic { private_ipv4s: vec![node.address()], ..Nic::default() };
    let machine = CreateInstance { nics: Some(vec![nic]), ..CreateInstance::named(NODE) };
    cloud.create_instance(&machine).await?;
    Ok(())
}

/// Waits until pods that tolerate the taint would run.
async fn until_ready(client: &Client, node: &mut Node) -> Result<(), Error> {
    let nodes = Api::<NodeObject>::all(client.clone());
    let root_ca = Api::<ConfigMap>::namespaced(client.clone(), "kube-system");
    let deadline = Instant::now() + PATIENCE;
    loop {
        node.expect_running()?;
        let ready = match nodes.get_opt(NODE).await? {
            Some(object) => is_ready(&object),
            None => false,
        };
        if ready && root_ca.get_metadata_opt(ROOT_CA).await?.is_some() {
            return Ok(());
        }
        if Instant::now() > deadline {
            let said = node.tail("kubelet");
            return Err(format!("the node was not ready within {PATIENCE:?}\n{said}").into());
        }
        sleep(POLL).await;
    }
}

/// What an installer does with the node of its control plane; a kubelet may not say so of itself.
async fn join_the_control_plane(client: &Client) -> Result<(), Error> {
    const ROLE: &str = "node-role.kubernetes.io/control-plane";
    let label = json!({ "metadata": { "labels": { ROLE: "" } } });
    let nodes = Api::<NodeObject>::all(client.clone());
    nodes.patch_metadata(NODE, &PatchParams::default(), &Patch::Merge(&label)).await?;
    Ok(())
}

fn is_ready(node: &NodeObject) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|it| it.type_ == "Ready" && it.status == "True")
}

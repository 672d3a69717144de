//! The provider against its promises, on a fake AWS.
//!
//! One fake serves all tests here; each has a cluster and a network of its own, and is told apart by
//! the user agent of its processes. Two processes of the test binary have two fakes.

mod balancing;
mod calls;
mod disks;
mod late;
mod machines;
mod routing;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ccm_awscloud::{
    AwsCloud, Console, Fault as Spec, FaultKind, Instance, Launch, Settings, World,
};
use ccm_conformance::{Fault, Harness, Unsupported};
use ccm_core::cloud::{CloudProvider, NodeIdentity, NodeName, Setup, Uid};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::process::{REGION, connected, node, setup};

/// Never dropped; it ends with the test process.
static CLOUD: OnceCell<AwsCloud> = OnceCell::const_new();

/// Clusters that were made so far.
static CLUSTERS: AtomicU64 = AtomicU64::new(0);

/// Fakes that nobody uses at the moment. One takes seconds to start, mostly of work.
static IDLE: Mutex<Vec<AwsCloud>> = Mutex::new(Vec::new());

/// A fake that is one test's alone, until that ends.
struct Lent(Option<AwsCloud>);

impl Lent {
    async fn take() -> Self {
        let idle = IDLE.lock().unwrap().pop();
        let cloud = match idle {
            Some(cloud) => cloud,
            None => AwsCloud::start().await.unwrap(),
        };
        Self(Some(cloud))
    }

    fn url(&self) -> &str {
        self.0.as_ref().unwrap().url()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // What a failure leaves bears another cluster's mark.
        IDLE.lock().unwrap().extend(self.0.take());
    }
}

/// Which kind of load balancers Services ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Balancers {
    Classic,
    Network,
}

struct AwsHarness {
    balancers: Balancers,
    /// Of its own, where what others do would be in the way.
    _cloud: Option<Lent>,
    /// The test's hand on the fake.
    console: Console,
    world: World,
    /// A part of the user agent of this test's processes, and of no other's.
    caller: String,
    provider: Arc<dyn CloudProvider>,
    /// Whether there was ever a process of the other cluster.
    has_two: AtomicBool,
    launched: AtomicU64,
    /// The nodes of machines.
    names: Mutex<BTreeMap<String, NodeName>>,
    /// The numbers of faults that were ordered.
    faults: Mutex<Vec<u64>>,
    /// The route table of a second cluster in the same network.
    second_table: String,
    /// The numbers of the faults that make it show only after a while what was done.
    late: Vec<u64>,
}

async fn console() -> Console {
    let cloud = CLOUD.get_or_init(|| async {
        let cloud = AwsCloud::start().await.unwrap();
        // The kit makes more routes than a table takes by default.
        let settings = Settings { routes_per_table: Some(500), ..Settings::default() };
        cloud.console().set(&settings).await.unwrap();
        cloud
    });
    let url = cloud.await.url();
    // A client belongs to the runtime of one test.
    Console::new(url).unwrap()
}

impl AwsHarness {
    async fn start() -> Self {
        Self::on(console().await, None, Balancers::Classic).await
    }

    /// On a fake of its own: names of load balancers are one account's, and looking at all of it takes the
    /// longer the more there is.
    async fn with(balancers: Balancers) -> Self {
        let cloud = Lent::take().await;
        let console = Console::new(cloud.url()).unwrap();
        Self::on(console, Some(cloud), balancers).await
    }

    async fn on(console: Console, cloud: Option<Lent>, balancers: Balancers) -> Self {
        let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let (cluster, caller) = (format!("kit{number}"), format!("kit-{number}-end"));
        let world = console.world(&cluster).await.unwrap();
        let provider = connected(&setup(console.url(), &world, &cluster, &caller, "")).await;
        let mut harness = Self {
            balancers,
            _cloud: cloud,
            console,
            world,
            caller,
            provider,
            has_two: AtomicBool::new(false),
            launched: AtomicU64::new(0),
            names: Mutex::default(),
            faults: Mutex::default(),
            second_table: String::new(),
            late: Vec::new(),
        };
        harness.make_second_table().await;
        harness
    }

    /// Launches a machine and describes the node that joins from it.
    async fn launch_as(&self, launch: Launch) -> NodeIdentity {
        let made = self.machine(launch).await;
        self.names.lock().unwrap().insert(made.id.clone(), made.private_dns.as_str().into());
        node(&made)
    }

    async fn machine(&self, launch: Launch) -> Instance {
        let number = self.launched.fetch_add(1, Ordering::Relaxed);
        let first = u32::try_from(number).unwrap() + 1;
        let launch = Launch { first, ..launch };
        self.console.launch(&self.world, &launch).await.unwrap().pop().unwrap()
    }

    /// A machine of this cluster, and of the second one in the network.
    fn ours(&self) -> Launch {
        let shared = (format!("kubernetes.io/cluster/{}", self.second_name()), "shared".to_owned());
        Launch { extra_tags: [shared].into(), ..Launch::of(1) }
    }

    fn second_name(&self) -> String {
        format!("{}-two", self.world.cluster)
    }

    /// What a process of this cluster is built from.
    fn setup(&self, cluster: &str) -> Setup {
        setup(self.console.url(), &self.world, cluster, &self.caller, "")
    }

    async fn fault(&self, fault: Spec) {
        let number = self.console.add_fault(&fault.of(&self.caller)).await.unwrap();
        self.faults.lock().unwrap().push(number);
    }

    async fn aws(&self, method: &str, args: Value) -> Value {
        self.console.aws("ec2", method, args).await.unwrap()
    }
}

/// The instance of a node.
fn instance(node: &NodeIdentity) -> &str {
    node.uid.as_str()
}

#[async_trait]
impl Harness for AwsHarness {
    fn cloud(&self) -> Arc<dyn CloudProvider> {
        Arc::clone(&self.provider)
    }

    async fn launch(&self) -> NodeIdentity {
        self.launch_as(self.ours()).await
    }

    async fn stop(&self, node: &NodeIdentity) {
        self.console.stop(&[instance(node)]).await.unwrap();
    }

    async fn start(&self, node: &NodeIdentity) {
        self.console.start_again(&[instance(node)]).await.unwrap();
    }

    async fn terminate(&self, node: &NodeIdentity) {
        self.console.terminate(&[instance(node)]).await.unwrap();
    }

    /// An hour later AWS knows nothing of it any more.
    async fn forget(&self, node: &NodeIdentity) {
        self.terminate(node).await;
        let id = instance(node);
        let describe = |kind| Spec::new("DescribeInstances", kind);
        let unknown = FaultKind::Error {
            code: "InvalidInstanceID.NotFound".to_owned(),
            status: None,
            message: Some(format!("The instance ID '{id}' does not exist")),
        };
        self.fault(describe(unknown).with("InstanceId", id)).await;
        // Whoever else is asked about in the same question is not seen either.
        let nothing = FaultKind::Empty { element: Some("reservationSet".to_owned()) };
        self.fault(describe(nothing).with("Filter", id)).await;
    }

    /// In a second network with the same addresses: the fake gives none to a second machine, where
    /// AWS does once the first one is terminated.
    async fn replace(&self, node: &NodeIdentity) -> NodeIdentity {
        self.terminate(node).await;
        let vpc = self.aws("create_vpc", json!({ "CidrBlock": "10.0.0.0/16" })).await;
        let zone = format!("{REGION}a");
        let args = json!({
            "VpcId": vpc["Vpc"]["VpcId"], "CidrBlock": "10.0.0.0/17", "AvailabilityZone": zone,
        });
        let subnet = self.aws("create_subnet", args).await;
        let key = format!("kubernetes.io/cluster/{}", self.world.cluster);
        let tags = json!([{ "Key": key, "Value": "owned" }]);
        let args = json!({
            "ImageId": "ami-00000000", "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1,
            "SubnetId": subnet["Subnet"]["SubnetId"],
            "PrivateIpAddress": node.addresses[0].address.as_ref(),
            "TagSpecifications": [{ "ResourceType": "instance", "Tags": tags }],
        });
        let made = self.aws("run_instances", args).await;
        let id = made["Instances"][0]["InstanceId"].as_str().unwrap();
        NodeIdentity { uid: Uid::from(id), provider_id: None, ..node.clone() }
    }

    async fn inject(&self, fault: Fault) -> Result<(), Unsupported> {
        match fault {
            Fault::Denied => self.fault(Spec::new("*", FaultKind::Denied)).await,
            Fault::Throttled { retry_after } => {
                let retry_after = Some(u32::try_from(retry_after.as_secs()).unwrap());
                self.fault(Spec::new("*", FaultKind::Throttle { retry_after })).await;
            }
            Fault::Hang => self.fault(Spec::new("*", FaultKind::Hang { seconds: None })).await,
            Fault::EmptyAnswer => {
                let empty = || {
                    let element = Some("reservationSet".to_owned());
                    Spec::new("DescribeInstances", FaultKind::Empty { element })
                };
                self.fault(empty().with("Filter.1.Name", "")).await;
                self.fault(empty().with("InstanceId.2", "")).await;
            }
        }
        Ok(())
    }

    async fn heal(&self) {
        let numbers = std::mem::take(&mut *self.faults.lock().unwrap());
        for number in numbers {
            self.console.heal_one(number).await.unwrap();
        }
    }

    /// It shows at once what was done, unless it is told not to.
    fn lag(&self) -> Option<Duration> {
        self.late.is_empty().then_some(Duration::ZERO)
    }

    async fn tidy_up(&self) {
        self.heal().await;
        // Another test is lent the same fake.
        for number in &self.late {
            self.console.heal_one(*number).await.unwrap();
        }
    }
}

ccm_conformance::conformance!(instances, AwsHarness::start().await);
ccm_conformance::conformance!(routes, AwsHarness::start().await);
ccm_conformance::conformance!(volumes, AwsHarness::start().await);

mod classic {
    use super::*;

    ccm_conformance::conformance!(
        load_balancers,
        AwsHarness::with(Balancers::Classic).await,
        except {
            a_change_disrupts_only_what_it_must: "a listener of a Classic Load Balancer cannot be changed: it goes and comes back",
        }
    );
}

mod network {
    use super::*;

    ccm_conformance::conformance!(load_balancers, AwsHarness::with(Balancers::Network).await);
}

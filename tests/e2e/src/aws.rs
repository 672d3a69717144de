//! A world whose cloud is AWS, as far as the fake goes.

mod asks;
mod go;

pub use self::asks::annotation_key;
pub use self::go::Go;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ccm_awscloud::{AwsCloud, Call, Console, Instance, Launch, World as Network};
use ccm_envtest::kubelet::{Kubelet, register_many};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::ccm::Target;
use crate::wait::{LONG, wait_until};
use crate::world::{CLUSTER, World};

/// Before what the annotations of a Service are called.
pub const ANNOTATION: &str = "service.beta.kubernetes.io/aws-load-balancer-";

/// The configuration's file, in the world's folder.
const CONFIG: &str = "cloud.conf";

/// The access key of the programs under test: the fake's log knows them by it.
const KEY: &str = "key-of-the-ccm";

/// How long nothing is asked of AWS when all passes are over. Longer than what is collected before a
/// pass, than the pauses of one, and than what was made is taken for on its way (5 s).
const QUIET: Duration = Duration::from_secs(6);

/// Between two looks at whether anything is asked.
const LISTEN: Duration = Duration::from_millis(500);

/// AWS, and the operator's hands on it.
#[derive(Debug)]
pub struct Aws {
    cloud: AwsCloud,
    /// The VPC and its parts.
    pub network: Network,
    launched: AtomicU32,
}

impl Deref for Aws {
    type Target = Console;

    fn deref(&self) -> &Console {
        self.cloud.console()
    }
}

impl Aws {
    /// What the programs under test have asked since the mark.
    pub async fn calls(&self, mark: u64) -> Vec<Call> {
        self.calls_since(mark, KEY).await.unwrap()
    }

    /// How many calls of each action the programs under test have made since the mark.
    pub async fn asked(&self, mark: u64) -> BTreeMap<String, u64> {
        self.counts(mark, KEY).await.unwrap()
    }

    /// What the programs under test have changed since the mark, as `action status`.
    pub async fn changed(&self, mark: u64) -> Vec<String> {
        let calls = self.mutations_by(mark, KEY).await.unwrap();
        calls.iter().map(|call| format!("{} {}", call.action, call.code)).collect()
    }

    /// A call by boto3 whose answer has to be a success.
    pub async fn boto(&self, service: &str, method: &str, args: Value) -> Value {
        let answer = self.aws(service, method, args).await;
        answer.unwrap_or_else(|err| panic!("{service} {method}: {err}"))
    }

    /// Launches instances.
    pub async fn instances(&self, count: u32) -> Vec<Instance> {
        let first = 1 + self.launched.fetch_add(count, Ordering::Relaxed);
        self.launch(&self.network, &Launch { first, ..Launch::of(count) }).await.unwrap()
    }

    /// All that bears the cluster's mark, as lines.
    pub async fn lines(&self) -> Vec<String> {
        // What goes while it is looked at makes no snapshot, which takes some hundred calls.
        wait_until("a snapshot", LONG, async || self.snapshot(CLUSTER).await).await
    }

    /// Lines that have this text.
    pub async fn lines_with(&self, text: &str) -> Vec<String> {
        let mut lines = self.lines().await;
        lines.retain(|line| line.contains(text));
        lines
    }

    /// Waits until nothing is asked any more: all passes are over. Looks at instances do not count,
    /// which go on and on while a node is not ready.
    pub async fn quiet(&self) {
        let mut heard = (self.mark().await.unwrap(), Instant::now());
        wait_until("that nothing is asked any more", LONG, async || {
            let mut calls = self.calls(heard.0).await;
            let under_way = calls.iter().any(|call| call.status.is_none());
            let last = calls.last().map_or(heard.0, |call| call.number);
            calls.retain(|call| call.action != "DescribeInstances");
            if !calls.is_empty() {
                heard.1 = Instant::now();
            }
            // What is under way is looked at again.
            if !under_way {
                heard.0 = last;
            }
            if heard.1.elapsed() >= QUIET {
                return Ok(());
            }
            sleep(LISTEN).await;
            Err(calls.into_iter().map(|call| call.action).collect::<Vec<_>>())
        })
        .await;
    }

    /// Waits until it is so.
    pub async fn lines_until(
        &self,
        what: &str,
        bound: Duration,
        is_so: impl Fn(&[String]) -> bool,
    ) {
        wait_until(what, bound, async || {
            let lines = self.snapshot(CLUSTER).await.map_err(|err| vec![err.to_string()])?;
            if is_so(&lines) { Ok(()) } else { Err(lines) }
        })
        .await;
    }
}

impl World<Aws> {
    /// One with an empty VPC. These lines go into the configuration's section `[Global]` beside those
    /// that say where it is.
    pub async fn aws(config: &[&str]) -> Self {
        Self::set_up(false, async |dir| {
            let cloud = AwsCloud::start().await.unwrap();
            let network = cloud.world(CLUSTER).await.unwrap();
            let file = dir.join(CONFIG);
            std::fs::write(&file, conf(&network, config)).unwrap();
            let env = vec![
                ("AWS_ENDPOINT_URL", cloud.url().to_owned()),
                ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
                ("AWS_SECRET_ACCESS_KEY", "a-secret".to_owned()),
            ];
            let aws = Aws { cloud, network, launched: AtomicU32::new(0) };
            (aws, Target { provider: "aws", config: file, env })
        })
        .await
    }

    /// Lets programs that start from now on have these lines in the configuration's section `[Global]`
    /// instead.
    pub fn configure(&self, config: &[&str]) {
        std::fs::write(self.dir().join(CONFIG), conf(&self.cloud.network, config)).unwrap();
    }

    /// Launches an instance and registers its node.
    pub async fn join_instance(&self) -> Instance {
        let mut made = self.join_instances(1).await;
        made.pop().unwrap()
    }

    /// Launches instances and registers their nodes under their private DNS names.
    pub async fn join_instances(&self, count: u32) -> Vec<Instance> {
        let instances = self.cloud.instances(count).await;
        self.register_instances(&instances).await;
        instances
    }

    /// Registers nodes for instances that are there.
    pub async fn register_instances(&self, instances: &[Instance]) {
        let kubelets = instances.iter().map(|it| Kubelet::new(it.private_dns.as_str()));
        register_many(&self.admin(), kubelets, 16).await.unwrap();
    }
}

/// The configuration of a program that runs outside of the cloud.
fn conf(network: &Network, more: &[&str]) -> String {
    let mut conf = format!(
        "[Global]\nRegion = {}\nVPC = {}\nSubnetID = {}\nKubernetesClusterID = {CLUSTER}\n",
        network.region, network.vpc, network.public_a
    );
    for line in more {
        conf.push_str(line);
        conf.push('\n');
    }
    conf
}

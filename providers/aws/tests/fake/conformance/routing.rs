//! The fake's route tables, from behind the provider's back.
//!
//! A route bears no mark. Whose it is shows in the machine that it leads to: so what is put there as
//! somebody else's leads to a machine of somebody else that passes for the node's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ccm_awscloud::{Fault as Spec, FaultKind, Launch};
use ccm_conformance::{
    Cluster, Harness as _, Path, Placed, ReadFault, RouteHarness, RouteMark, RouteRig, Unsupported,
    WriteFault,
};
use ccm_core::cloud::{CloudProvider, Kind, NodeIdentity};
use ipnet::IpNet;
use rstest::rstest;
use serde_json::{Value, json};

use super::{AwsHarness, instance};
use crate::process::built;

impl AwsHarness {
    /// Makes a route table for the second cluster in the network.
    pub(super) async fn make_second_table(&mut self) {
        let key = format!("kubernetes.io/cluster/{}", self.second_name());
        let tags = json!([{ "Key": key, "Value": "owned" }]);
        let args = json!({
            "VpcId": self.world.vpc,
            "TagSpecifications": [{ "ResourceType": "route-table", "Tags": tags }],
        });
        let made = self.aws("create_route_table", args).await;
        made["RouteTable"]["RouteTableId"].as_str().unwrap().clone_into(&mut self.second_table);
    }

    /// The route table of a cluster. That of ours has a route to the internet, too.
    fn table(&self, cluster: Cluster) -> String {
        match cluster {
            Cluster::Ours => self.world.public_table.clone(),
            Cluster::Another => self.second_table.clone(),
        }
    }

    async fn routes(&self, cluster: Cluster) -> Vec<Value> {
        let args = json!({ "RouteTableIds": [self.table(cluster)] });
        let found = self.aws("describe_route_tables", args).await;
        found["RouteTables"][0]["Routes"].as_array().unwrap().clone()
    }

    /// Machines of these routes that are not terminated, with whether they bear the cluster's tag.
    async fn machines(&self, routes: &[Value], cluster: &str) -> BTreeMap<String, bool> {
        let ids: Vec<_> = routes.iter().filter_map(|it| it["InstanceId"].as_str()).collect();
        let mut machines = BTreeMap::new();
        for ids in ids.chunks(100) {
            let args = json!({ "Filters": [{ "Name": "instance-id", "Values": ids }] });
            let found = self.aws("describe_instances", args).await;
            let reservations = found["Reservations"].as_array().unwrap().iter();
            for it in reservations.flat_map(|it| it["Instances"].as_array().unwrap()) {
                if it["State"]["Name"] == "terminated" {
                    continue;
                }
                let key = format!("kubernetes.io/cluster/{cluster}");
                let tags = it["Tags"].as_array().cloned().unwrap_or_default();
                let is_ours = tags.iter().any(|tag| tag["Key"] == key);
                machines.insert(it["InstanceId"].as_str().unwrap().to_owned(), is_ours);
            }
        }
        machines
    }

    fn name_of(&self, cluster: Cluster) -> String {
        match cluster {
            Cluster::Ours => self.world.cluster.clone(),
            Cluster::Another => self.second_name(),
        }
    }
}

fn destination(route: &Value) -> IpNet {
    let block = route["DestinationCidrBlock"].as_str();
    block.or_else(|| route["DestinationIpv6CidrBlock"].as_str()).unwrap().parse().unwrap()
}

/// Arguments for a call about one route.
fn about(table: &str, destination: IpNet, more: Value) -> Value {
    let field = match destination {
        IpNet::V4(_) => "DestinationCidrBlock",
        IpNet::V6(_) => "DestinationIpv6CidrBlock",
    };
    let mut args = json!({ "RouteTableId": table, field: destination.to_string() });
    if let (Some(args), Value::Object(more)) = (args.as_object_mut(), more) {
        args.extend(more);
    }
    args
}

#[async_trait]
impl RouteHarness for AwsHarness {
    fn process(
        &self,
        cluster: Cluster,
        ranges: &[IpNet],
    ) -> Result<Arc<dyn CloudProvider>, Unsupported> {
        let name = self.name_of(cluster);
        Ok(built(&self.setup(&name), ranges))
    }

    async fn snapshot(&self, cluster: Cluster) -> Vec<String> {
        let routes = self.routes(cluster).await;
        let machines = self.machines(&routes, &self.name_of(cluster)).await;
        let names = self.names.lock().unwrap();
        let line = |route: &Value| {
            let target = route["InstanceId"].as_str()?;
            let to = match machines.get(target) {
                Some(false) => return None,
                Some(true) => {
                    names.get(target).map_or("a machine without a node", |it| it.as_str())
                }
                None => "nowhere",
            };
            Some(format!("{} -> {to}", destination(route)))
        };
        let mut lines: Vec<_> = routes.iter().filter_map(line).collect();
        lines.sort();
        lines
    }

    async fn paths(&self) -> Vec<Path> {
        let mut paths = Vec::new();
        let routes = self.routes(Cluster::Ours).await;
        let machines = self.machines(&routes, "").await;
        let names = self.names.lock().unwrap();
        for route in &routes {
            let target = route["InstanceId"].as_str().filter(|id| machines.contains_key(*id));
            let node = target.and_then(|id| names.get(id).cloned());
            paths.push(Path { destination: destination(route), node });
        }
        paths
    }

    async fn mutations(&self) -> u64 {
        let calls = self.console.mutations_by(0, &self.caller).await.unwrap();
        calls.iter().filter(|call| call.took_effect).count().try_into().unwrap()
    }

    async fn put(&self, route: &Placed<'_>) -> Result<(), Unsupported> {
        let foreign = |tags: &[(&str, &str)]| {
            let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
            let extra_tags = tags.iter().map(own).collect();
            Launch { tag: false, extra_tags, ..Launch::of(1) }
        };
        let launch = match &route.mark {
            RouteMark::Ours(_) => None,
            RouteMark::Another => Some(foreign(&[("kubernetes.io/cluster/a-third", "owned")])),
            RouteMark::Nobody => Some(foreign(&[])),
        };
        let target = match launch {
            None => {
                // As the Go program leaves it.
                let id = instance(route.node);
                let args = json!({ "InstanceId": id, "SourceDestCheck": { "Value": false } });
                self.aws("modify_instance_attribute", args).await;
                id.to_owned()
            }
            Some(launch) => {
                let machine = self.machine(launch).await;
                let name = route.node.name.clone();
                self.names.lock().unwrap().insert(machine.id.clone(), name);
                machine.id
            }
        };
        let table = self.table(Cluster::Ours);
        let args = about(&table, route.destination, json!({ "InstanceId": target }));
        self.aws("create_route", args).await;
        Ok(())
    }

    async fn remove(&self, destination: IpNet) {
        let table = self.table(Cluster::Ours);
        self.aws("delete_route", about(&table, destination, json!({}))).await;
    }

    async fn mislead(&self, destination: IpNet, to: &NodeIdentity) -> Result<(), Unsupported> {
        let table = self.table(Cluster::Ours);
        let args = about(&table, destination, json!({ "InstanceId": instance(to) }));
        self.aws("replace_route", args).await;
        Ok(())
    }

    async fn inject_on_writes(&self, fault: WriteFault, pass: usize) -> Result<(), Unsupported> {
        let kind = match fault {
            WriteFault::Denied => FaultKind::Denied,
            WriteFault::Unavailable => FaultKind::Unavailable,
            WriteFault::Hang => FaultKind::Hang { seconds: None },
            WriteFault::LostAnswer => FaultKind::LoseResponse,
            WriteFault::QuotaExceeded => FaultKind::Error {
                code: "RouteLimitExceeded".to_owned(),
                status: None,
                message: Some("The maximum number of routes has been reached.".to_owned()),
            },
            WriteFault::Throttled { retry_after } => {
                let retry_after = Some(u32::try_from(retry_after.as_secs()).unwrap());
                FaultKind::Throttle { retry_after }
            }
        };
        let spec = Spec::new("writes", kind).after(u32::try_from(pass).unwrap());
        let spec = if fault == WriteFault::LostAnswer { spec.times(1) } else { spec };
        self.fault(spec).await;
        Ok(())
    }

    async fn inject_on_route(&self, destination: IpNet) -> Result<(), Unsupported> {
        let spec = Spec::new("writes", FaultKind::Denied);
        self.fault(spec.with("DestinationCidrBlock", destination.to_string())).await;
        Ok(())
    }

    async fn inject_on_reads(&self, fault: ReadFault) -> Result<(), Unsupported> {
        let describe = |kind| Spec::new("DescribeRouteTables", kind);
        let spec = match fault {
            ReadFault::Denied => describe(FaultKind::Denied),
            ReadFault::Short => {
                // The last ones are those that were made last.
                let element = Some("routeSet".to_owned());
                describe(FaultKind::Short { drop: 3, element }).times(1)
            }
        };
        self.fault(spec).await;
        Ok(())
    }

    fn patience(&self) -> Duration {
        Duration::from_mins(1)
    }
}

#[rstest]
#[case::empty(FaultKind::Empty { element: Some("routeTableSet".to_owned()) })]
#[case::short(FaultKind::Short { drop: 9, element: Some("routeTableSet".to_owned()) })]
#[tokio::test]
async fn a_table_that_is_not_shown_says_nothing_against_its_routes(#[case] fault: FaultKind) {
    let harness = AwsHarness::start().await;
    let mut rig = RouteRig::start(&harness).await;
    let node = rig.node().await;
    rig.present(&node);
    rig.settled().await;
    let before = rig.snapshot().await;

    harness.fault(Spec::new("DescribeRouteTables", fault)).await;
    rig.look_again().await;
    let trouble = rig.progress(&node).unwrap().trouble.unwrap();
    assert_eq!(trouble.error.kind(), Kind::NotFound, "{trouble:?}");
    assert!(trouble.was_done, "it is looked at again soon, and nothing is said: {trouble:?}");

    harness.heal().await;
    rig.settled().await;
    assert_eq!(rig.snapshot().await, before);
}

/// As the Go program's published policy has it.
#[tokio::test]
async fn without_the_right_to_replace_routes_they_are_mended_all_the_same() {
    let harness = AwsHarness::start().await;
    let mut rig = RouteRig::start(&harness).await;
    let (node, other) = (rig.node().await, rig.node().await);
    rig.present(&node);
    rig.present(&other);
    rig.settled().await;
    let before = rig.snapshot().await;

    harness.fault(Spec::new("ReplaceRoute", FaultKind::Denied)).await;
    rig.sent();
    for _ in 0..2 {
        harness.mislead(node.ranges[0], &other.node).await.unwrap();
        rig.look_again().await;
        rig.settled().await;
        assert_eq!(rig.snapshot().await, before);
    }
    let denied = harness.console.calls_since(0, &harness.caller).await.unwrap();
    let denied = denied.iter().filter(|call| call.action == "ReplaceRoute").count();
    assert_eq!(denied, 1, "it is not tried each time");
}

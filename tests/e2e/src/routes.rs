//! Nodes with pod ranges, and the routes to them.

use std::time::Duration;

use ccm_envtest::kubelet::{Kubelet, register_many};
use simcloud::api::{CLUSTER_TAG, Instance, ListPieces, OWNER_TAG, Route};

use crate::cloud::Cloud;
use crate::seen::Seen;
use crate::wait::{SOON, wait_until};
use crate::world::{CLUSTER, World};

/// The ranges of pods in tests of two families.
#[derive(Clone, Copy, Debug)]
pub struct Pods;

impl Pods {
    /// `--cluster-cidr`.
    pub const CLUSTER: &str = "10.244.0.0/16,fd00:244::/48";

    /// The ranges of the node with this number.
    pub fn of(number: u16) -> [String; 2] {
        let (high, low) = (number / 256, number % 256);
        assert!(high == 0, "there are 256");
        [format!("10.244.{low}.0/24"), format!("fd00:244:0:{low:x}::/64")]
    }
}

impl Cloud {
    /// The routes of one node, in the order of their destinations.
    pub async fn routes_of(&self, uid: &str) -> Vec<Route> {
        let owner = [(OWNER_TAG.to_owned(), uid.to_owned())].into();
        let mut routes: Vec<Route> = self.all_pieces(ListPieces::tagged(owner)).await.unwrap();
        routes.sort_by_key(|route| route.destination);
        routes
    }

    /// All routes, of whomever.
    pub async fn all_routes(&self) -> Vec<Route> {
        self.all_pieces(ListPieces::default()).await.unwrap()
    }

    /// All routes with the cluster's mark, as lines that can be compared, without their owners.
    pub async fn route_lines(&self) -> Vec<String> {
        let tags = [(CLUSTER_TAG.to_owned(), CLUSTER.to_owned())].into();
        let lines = self.snapshot(&tags).await.unwrap().pieces;
        lines.into_iter().filter(|line| line.starts_with("route ")).collect()
    }
}

impl World {
    /// Makes an instance and registers its node, which has these ranges already.
    pub async fn join_with(&self, name: &str, ranges: &[&str]) -> Instance {
        let instance = self.cloud.instance_named(name).await;
        self.register(Kubelet::new(name).pod_cidrs(ranges)).await;
        instance
    }

    /// Makes an instance and registers its node, with the ranges of this number.
    pub async fn join_numbered(&self, number: u16) -> String {
        let name = format!("n{number}");
        let [v4, v6] = Pods::of(number);
        self.join_with(&name, &[&v4, &v6]).await;
        name
    }

    /// Makes instances and registers their nodes, with the ranges of these numbers.
    pub async fn join_all_numbered(&self, numbers: std::ops::Range<u16>) {
        let names = numbers.clone().map(|number| format!("n{number}"));
        self.cloud.instances_named(names).await;
        let kubelets = numbers.map(|number| {
            let [v4, v6] = Pods::of(number);
            Kubelet::new(format!("n{number}")).pod_cidrs(&[&v4, &v6])
        });
        register_many(&self.admin(), kubelets, 16).await.unwrap();
    }

    /// Waits until the cloud has just these routes with the cluster's mark.
    pub async fn routes_are(&self, wanted: &[String], bound: Duration) {
        wait_until("the routes", bound, async || {
            let found = self.cloud.route_lines().await;
            if found == wanted { Ok(()) } else { Err(found) }
        })
        .await;
    }
}

impl<C> World<C> {
    /// Waits until pods on the node can be reached.
    pub async fn reachable(&self, name: &str) -> Seen {
        self.node_until(name, "reachable", SOON, Seen::is_reachable).await
    }

    /// Waits until the node says that pods on it cannot be reached, with this in the message.
    pub async fn unreachable(&self, name: &str, why: &str) -> Seen {
        let is_so = |seen: &Seen| seen.unreachable().contains(why);
        self.node_until(name, &format!("unreachable: {why}"), SOON, is_so).await
    }
}

//! The Service of a stage, of type `nlb`, and its load balancer.

use ccm_core::cloud::{LoadBalancerSpec, ObjectId, Uid, Want};
use serde_json::{Value, json};

use crate::stage::{Stage, Wanted, absent, spec};

impl Stage {
    /// A certificate, by ARN.
    pub(super) async fn certificate(&self) -> String {
        let args = json!({ "DomainName": "a.example" });
        let made = self.aws("acm", "request_certificate", args).await;
        made["CertificateArn"].as_str().unwrap().to_owned()
    }

    /// What boto3 answers of Network Load Balancers.
    pub(super) async fn elbv2(&self, method: &str, args: Value) -> Value {
        self.aws("elbv2", method, args).await
    }

    /// The Service's load balancer, by ARN.
    pub(super) async fn balancer(&self) -> String {
        let found = self.elbv2("describe_load_balancers", json!({ "Names": [self.name()] })).await;
        found["LoadBalancers"][0]["LoadBalancerArn"].as_str().unwrap().to_owned()
    }

    /// The name of the Service's load balancer.
    pub(super) fn name(&self) -> String {
        format!("a{}", self.id().uid.as_str())
    }

    /// A line's text without what differs between clusters.
    pub(super) fn anonymous(&self, text: &str) -> String {
        let uid = self.id().uid;
        text.replace(uid.as_str(), "UID").replace(&self.place.cluster, "CLUSTER")
    }

    /// The Service of this cluster: one that has its like in no other.
    pub(super) fn id(&self) -> ObjectId {
        let uid = Uid::from(format!("uid0of0{}", self.place.cluster));
        ObjectId { namespace: "shop".into(), name: self.place.cluster.as_str().into(), uid }
    }

    /// With these ports, each with a node port 30000 above it.
    pub(super) fn spec(&self, ports: &[u16], annotations: &[(&str, &str)]) -> LoadBalancerSpec {
        let mut annotations = annotations.to_vec();
        if annotations.iter().all(|(key, _)| *key != "type") {
            annotations.push(("type", "nlb"));
        }
        spec(self.id(), ports, &annotations)
    }

    pub(super) fn present(&self, ports: &[u16], annotations: &[(&str, &str)]) -> Wanted {
        Want::Present(self.spec(ports, annotations).into())
    }

    pub(super) fn absent(&self) -> Wanted {
        absent(self.id())
    }
}

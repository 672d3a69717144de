//! What an operator makes on AWS beside a cluster, and what a Service asks for by annotations.

use serde_json::{Map, Value, json};

use super::{ANNOTATION, Aws};
use crate::services::Wanted;
use crate::world::{CLUSTER, World};

impl Aws {
    /// The ARN of a new certificate.
    pub async fn certificate(&self) -> String {
        let made = self.boto("acm", "request_certificate", json!({"DomainName": "example.org"}));
        made.await["CertificateArn"].as_str().unwrap().to_owned()
    }

    /// The ID of a new security group, of nobody or with the cluster's mark.
    pub async fn security_group(&self, name: &str, is_marked: bool) -> String {
        let mut args = json!({"GroupName": name, "Description": name, "VpcId": self.network.vpc});
        if is_marked {
            let key = format!("kubernetes.io/cluster/{CLUSTER}");
            let tags = json!([{"Key": key, "Value": "owned"}]);
            args["TagSpecifications"] = json!([{"ResourceType": "security-group", "Tags": tags}]);
        }
        let made = self.boto("ec2", "create_security_group", args).await;
        made["GroupId"].as_str().unwrap().to_owned()
    }

    /// The allocation ID of a new Elastic IP.
    pub async fn elastic_ip(&self) -> String {
        let made = self.boto("ec2", "allocate_address", json!({"Domain": "vpc"})).await;
        made["AllocationId"].as_str().unwrap().to_owned()
    }
}

impl Wanted {
    /// With this annotation, named as [`annotation_key`] takes it.
    #[must_use]
    pub fn asks(self, key: &str, value: &str) -> Self {
        self.annotation(&annotation_key(key), value)
    }

    /// As a Network Load Balancer.
    #[must_use]
    pub fn nlb(self) -> Self {
        self.asks("type", "nlb")
    }
}

impl World<Aws> {
    /// Sets annotations of a Service, named as [`annotation_key`] takes them, or takes them away.
    pub async fn annotate(&self, name: &str, pairs: &[(&str, Option<&str>)]) {
        let pairs = pairs.iter().map(|(key, value)| (annotation_key(key), json!(value)));
        let annotations: Map<String, Value> = pairs.collect();
        self.change_service(name, &json!({"metadata": {"annotations": annotations}})).await;
    }
}

/// The whole key of an annotation, which may be named without what all of load balancers begin with.
pub fn annotation_key(key: &str) -> String {
    if key.contains('/') { key.to_owned() } else { format!("{ANNOTATION}{key}") }
}

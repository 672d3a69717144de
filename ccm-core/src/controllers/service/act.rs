//! Carries a decision out: one patch, no read. Decides nothing.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use serde_json::{Map, Value, json};

use crate::cloud::{IngressAddress, IngressPoint, IngressPort, IpMode, Protocol};
use crate::cluster::node::{ConditionStatus, Version};
use crate::cluster::service::Service;
use crate::controllers::write::{self, seconds};

/// What shall change on a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    /// Finalizers that it gets, if it has them not.
    pub add_finalizers: Vec<String>,
    /// Finalizers that it loses, if it has them.
    pub remove_finalizers: Vec<String>,
    /// Annotations, `None` to take one away.
    pub annotations: BTreeMap<String, Option<String>>,
    /// All its addresses, in their order.
    pub ingress: Option<Vec<IngressPoint>>,
    /// Conditions that it gets, or that change.
    pub conditions: Vec<ConditionEntry>,
    /// Types of the conditions that it loses.
    pub remove_conditions: Vec<String>,
}

/// A condition to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionEntry {
    /// `type`.
    pub kind: String,
    /// `status`.
    pub status: ConditionStatus,
    /// `reason`.
    pub reason: String,
    /// `message`.
    pub message: String,
    /// Whether the status is another than before, or the condition new: then it gets a new
    /// `lastTransitionTime`. Otherwise it keeps the one that it has.
    pub transition: bool,
}

impl Patch {
    /// Whether nothing would change. Then it is not sent.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Sends the patch. Gives the Service's new version.
///
/// All of it goes through the status subresource, which takes metadata too: so no right is needed to
/// change what users ask for. It is one write, so nobody sees a finalizer gone and the condition
/// still there. A Service that was made anew under the name refuses it, as [`is_made_anew`] tells; one
/// that is gone answers 404.
pub async fn write(
    client: &Client,
    service: &Service,
    patch: &Patch,
    now: Timestamp,
) -> kube::Result<Version> {
    let services = format!("/api/v1/namespaces/{}/services", service.key.namespace);
    write::patch_status(client, &services, &service.key.name, status_patch(service, patch, now))
        .await
}

/// Whether a write was refused because the Service of this name is another one by now. The API server
/// says that as it says that a value is invalid, which nobody should try again.
pub fn is_made_anew(err: &kube::Error) -> bool {
    let kube::Error::Api(status) = err else { return false };
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 422 && causes.any(|cause| cause.field == "metadata.uid")
}

/// A strategic merge: finalizers merge by value and conditions by type, so other writers' stay; the
/// API has the addresses as one value, which is replaced as a whole. The UID is a precondition; the
/// version is none, because nothing in it rests on what others write.
pub fn status_patch(service: &Service, patch: &Patch, now: Timestamp) -> Value {
    let mut metadata = Map::new();
    metadata.insert("uid".to_owned(), service.uid.as_str().into());
    if !patch.add_finalizers.is_empty() {
        metadata.insert("finalizers".to_owned(), json!(patch.add_finalizers));
    }
    if !patch.remove_finalizers.is_empty() {
        let key = "$deleteFromPrimitiveList/finalizers".to_owned();
        metadata.insert(key, json!(patch.remove_finalizers));
    }
    if !patch.annotations.is_empty() {
        metadata.insert("annotations".to_owned(), json!(patch.annotations));
    }
    let mut status = Map::new();
    if let Some(ingress) = &patch.ingress {
        let points: Vec<_> = ingress.iter().map(point).collect();
        status.insert("loadBalancer".to_owned(), json!({"ingress": points}));
    }
    let removed = patch.remove_conditions.iter();
    let removed = removed.map(|kind| json!({"$patch": "delete", "type": kind}));
    let conditions: Vec<_> =
        patch.conditions.iter().map(|entry| condition(entry, now)).chain(removed).collect();
    if !conditions.is_empty() {
        status.insert("conditions".to_owned(), conditions.into());
    }
    json!({"metadata": metadata, "status": status})
}

fn condition(entry: &ConditionEntry, now: Timestamp) -> Value {
    let mut json = json!({
        "type": entry.kind,
        "status": entry.status.as_str(),
        "reason": entry.reason,
        "message": entry.message,
    });
    if entry.transition {
        json["lastTransitionTime"] = seconds(now).into();
    }
    json
}

fn point(point: &IngressPoint) -> Value {
    let mut json = match &point.address {
        IngressAddress::Ip(ip) => json!({"ip": ip}),
        IngressAddress::Hostname(name) => json!({"hostname": name}),
    };
    // The API refuses a mode beside a name.
    if let (IngressAddress::Ip(_), Some(mode)) = (&point.address, point.mode) {
        json["ipMode"] = match mode {
            IpMode::Vip => "VIP".into(),
            IpMode::Proxy => "Proxy".into(),
        };
    }
    if !point.ports.is_empty() {
        json["ports"] = point.ports.iter().map(port).collect();
    }
    json
}

fn port(port: &IngressPort) -> Value {
    let protocol = match port.protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    };
    let mut json = json!({"port": port.port, "protocol": protocol});
    if let Some(error) = &port.error {
        json["error"] = error.as_str().into();
    }
    json
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;
    use crate::cluster::keys;
    use crate::cluster::service::WireService;

    fn now() -> Timestamp {
        "2026-01-02T03:04:05.678Z".parse().unwrap()
    }

    fn service() -> Service {
        let json = json!({"metadata": {"namespace": "shop", "name": "web", "uid": "u1"}});
        let wire: WireService = serde_json::from_value(json).unwrap();
        wire.trim(|_| true, |_| true)
    }

    fn entry(transition: bool) -> ConditionEntry {
        ConditionEntry {
            kind: keys::LOAD_BALANCER_READY.to_owned(),
            status: ConditionStatus::False,
            reason: "Progressing".to_owned(),
            message: "m".to_owned(),
            transition,
        }
    }

    #[test]
    fn other_writers_finalizers_and_conditions_stay() {
        let patch = Patch {
            add_finalizers: vec![keys::FINALIZER.to_owned()],
            remove_finalizers: vec!["sim/old".to_owned()],
            annotations: [("a".to_owned(), Some("1".to_owned())), ("b".to_owned(), None)].into(),
            ingress: None,
            conditions: vec![entry(true)],
            remove_conditions: vec!["sim/Gone".to_owned()],
        };
        assert_eq!(
            status_patch(&service(), &patch, now()),
            json!({
                "metadata": {
                    "uid": "u1",
                    "finalizers": ["service.kubernetes.io/load-balancer-cleanup"],
                    "$deleteFromPrimitiveList/finalizers": ["sim/old"],
                    "annotations": {"a": "1", "b": null},
                },
                "status": {"conditions": [
                    {"type": "ccm.rs/LoadBalancerReady", "status": "False", "reason": "Progressing",
                        "message": "m", "lastTransitionTime": "2026-01-02T03:04:05Z"},
                    {"$patch": "delete", "type": "sim/Gone"},
                ]},
            })
        );
    }

    #[test]
    fn the_time_of_the_last_transition_stays_where_the_status_does() {
        let patch = Patch { conditions: vec![entry(false)], ..Patch::default() };
        let json = status_patch(&service(), &patch, now());
        assert_eq!(json["status"]["conditions"][0].get("lastTransitionTime"), None);
        assert_eq!(json["metadata"], json!({"uid": "u1"}));
        assert_eq!(json["status"].get("loadBalancer"), None);
    }

    #[test]
    fn addresses_are_written_as_the_api_accepts_them() {
        let ip = IngressAddress::Ip("2001:db8::1".parse().unwrap());
        let name = IngressAddress::Hostname("lb.example.com".to_owned());
        let port = |error: Option<&str>| IngressPort {
            port: NonZeroU16::new(53).unwrap(),
            protocol: Protocol::Udp,
            error: error.map(str::to_owned),
        };
        let ingress = vec![
            IngressPoint {
                address: ip,
                mode: Some(IpMode::Proxy),
                ports: vec![port(None), port(Some("NoQuota"))],
            },
            IngressPoint { address: name, mode: Some(IpMode::Vip), ports: vec![] },
        ];
        let patch = Patch { ingress: Some(ingress), ..Patch::default() };
        assert_eq!(
            status_patch(&service(), &patch, now())["status"],
            json!({"loadBalancer": {"ingress": [
                {"ip": "2001:db8::1", "ipMode": "Proxy", "ports": [
                    {"port": 53, "protocol": "UDP"},
                    {"port": 53, "protocol": "UDP", "error": "NoQuota"},
                ]},
                {"hostname": "lb.example.com"},
            ]}})
        );
        let patch = Patch { ingress: Some(vec![]), ..Patch::default() };
        let status = status_patch(&service(), &patch, now())["status"].clone();
        assert_eq!(status, json!({"loadBalancer": {"ingress": []}}));
    }

    #[test]
    fn a_patch_that_changes_nothing_is_empty() {
        assert!(Patch::default().is_empty());
        assert!(!Patch { ingress: Some(vec![]), ..Patch::default() }.is_empty());
        assert!(!Patch { conditions: vec![entry(false)], ..Patch::default() }.is_empty());
    }
}

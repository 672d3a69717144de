//! A Service as the API server shows it, and what changes, in words. Pure.

use std::fmt;

use ccm_core::cluster::keys;
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;

use super::{Change, Condition, listed};
use crate::out::Tone;

/// A Service, as far as the cloud-controller-manager has a say in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::demo) struct ServiceView {
    /// `80/TCP`.
    pub(in crate::demo) ports: Vec<String>,
    /// Where its clients reach it.
    pub(in crate::demo) addresses: Vec<String>,
    /// Whether it may not go before its load balancer has.
    pub(in crate::demo) held: bool,
    /// Whether somebody has deleted it.
    pub(in crate::demo) deleting: bool,
    /// The condition `LoadBalancerReady`.
    pub(in crate::demo) ready: Option<Condition>,
}

impl From<&Service> for ServiceView {
    fn from(service: &Service) -> Self {
        let spec = service.spec.as_ref();
        let ports = spec.and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
        let status = service.status.as_ref();
        let balancer = status.and_then(|status| status.load_balancer.as_ref());
        let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref());
        let address = |ip: &Option<String>, name: &Option<String>| ip.clone().or(name.clone());
        let conditions = status.and_then(|status| status.conditions.as_ref());
        let ready = conditions
            .into_iter()
            .flatten()
            .find(|condition| condition.type_ == keys::LOAD_BALANCER_READY);
        Self {
            ports: ports
                .map(|port| {
                    let protocol = port.protocol.as_deref().unwrap_or("TCP");
                    format!("{}/{protocol}", port.port)
                })
                .collect(),
            addresses: ingress
                .into_iter()
                .flatten()
                .filter_map(|point| address(&point.ip, &point.hostname))
                .collect(),
            held: service.finalizers().iter().any(|it| it == keys::FINALIZER),
            deleting: service.metadata.deletion_timestamp.is_some(),
            ready: ready.map(|condition| Condition {
                kind: keys::LOAD_BALANCER_READY,
                status: condition.status.clone(),
                reason: condition.reason.clone(),
                message: condition.message.clone(),
            }),
        }
    }
}

impl ServiceView {
    /// Whether the condition says so.
    pub(in crate::demo) fn is_ready(&self) -> bool {
        self.ready.as_ref().is_some_and(|ready| ready.status == "True")
    }
}

impl fmt::Display for ServiceView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ports {}; addresses {}", listed(&self.ports), listed(&self.addresses))?;
        if self.held {
            f.write_str("; held by our finalizer")?;
        }
        if self.deleting {
            f.write_str("; being deleted")?;
        }
        self.ready.iter().try_for_each(|ready| write!(f, "; {ready}"))
    }
}

/// What there is to say about a Service that was `before` and is `now`.
pub(in crate::demo) fn changes(before: Option<&ServiceView>, now: Option<&ServiceView>) -> Vec<Change> {
    let Some(now) = now else {
        return vec![Change::new("deleted", Tone::Bad, vec!["the Service is gone".to_owned()])];
    };
    let nothing = ServiceView::default();
    let mut changes = Vec::new();
    if before.is_none() {
        let text = format!("type LoadBalancer, ports {}", listed(&now.ports));
        changes.push(Change::new("made", Tone::Plain, vec![text]));
    }
    let is_new = before.is_none();
    let before = before.unwrap_or(&nothing);
    if !is_new && before.ports != now.ports {
        changes.push(Change::new("ports", Tone::Plain, vec![listed(&now.ports)]));
    }
    if now.deleting && !before.deleting {
        let text = "marked as deleted: it goes when its load balancer has gone";
        changes.push(Change::new("deleting", Tone::Waiting, vec![text.to_owned()]));
    }
    if before.held != now.held {
        let text = if now.held { "set" } else { "removed: nothing is left in the cloud" };
        changes.push(Change::new("finalizer", Tone::Plain, vec![text.to_owned()]));
    }
    if before.addresses != now.addresses {
        let (what, tone) =
            if now.addresses.is_empty() { ("address", Tone::Plain) } else { ("ADDRESS", Tone::Good) };
        changes.push(Change::new(what, tone, vec![listed(&now.addresses)]));
    }
    if before.ready != now.ready {
        let kind = keys::LOAD_BALANCER_READY;
        let (tone, text) = match &now.ready {
            Some(ready) if ready.status == "True" => (Tone::Good, ready.to_string()),
            Some(ready) => (Tone::Waiting, ready.to_string()),
            None => (Tone::Plain, format!("{kind} removed")),
        };
        changes.push(Change::new("condition", tone, vec![text]));
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(before: Option<&ServiceView>, now: Option<&ServiceView>) -> Vec<&'static str> {
        changes(before, now).iter().map(|change| change.what).collect()
    }

    #[test]
    fn a_service_is_made_gets_its_address_and_goes() {
        let new = ServiceView { ports: vec!["80/TCP".to_owned()], ..ServiceView::default() };
        assert_eq!(words(None, Some(&new)), ["made"]);
        assert_eq!(words(Some(&new), Some(&new)), [""; 0]);
        let ready = Condition {
            kind: keys::LOAD_BALANCER_READY,
            status: "True".to_owned(),
            reason: "Ready".to_owned(),
            message: String::new(),
        };
        let served = ServiceView {
            held: true,
            addresses: vec!["192.0.2.1".to_owned()],
            ready: Some(ready),
            ..new.clone()
        };
        assert_eq!(words(Some(&new), Some(&served)), ["finalizer", "ADDRESS", "condition"]);
        let going = ServiceView { deleting: true, ..served.clone() };
        assert_eq!(words(Some(&served), Some(&going)), ["deleting"]);
        assert_eq!(words(Some(&going), None), ["deleted"]);
    }
}

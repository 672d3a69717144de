//! Services of type `LoadBalancer`: how a test makes them, and how it looks at them.

use std::time::Duration;

use ccm_core::cluster::keys;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::wait::{LONG, SOON, wait_until};
use crate::world::World;

/// Services made, changed or deleted at once.
const AT_ONCE: usize = 16;

/// A Service to be made: of type `LoadBalancer`, with a port 80.
#[derive(Clone, Debug)]
pub struct Wanted(Value);

impl Wanted {
    /// One of this name.
    pub fn named(name: &str) -> Self {
        Self(json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"type": "LoadBalancer", "selector": {"app": name}, "ports": ports(&[80])},
        }))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().unwrap()
    }

    /// What an annotation says.
    pub fn said(&self, key: &str) -> Option<&str> {
        self.0["metadata"]["annotations"][key].as_str()
    }

    /// With these TCP ports.
    #[must_use]
    pub fn ports(self, numbers: &[u16]) -> Self {
        self.spec("ports", ports(numbers))
    }

    /// With this annotation.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.0["metadata"]["annotations"][key] = value.into();
        self
    }

    /// With this finalizer.
    #[must_use]
    pub fn finalizer(mut self, finalizer: &str) -> Self {
        self.0["metadata"]["finalizers"] = json!([finalizer]);
        self
    }

    /// With this field of the spec.
    #[must_use]
    pub fn spec(mut self, field: &str, value: Value) -> Self {
        self.0["spec"][field] = value;
        self
    }

    /// The object, to be sent as it is.
    pub fn service(&self) -> Service {
        serde_json::from_value(self.0.clone()).unwrap()
    }
}

/// TCP ports of a Service. The API server chooses their node ports, or leaves them as they are.
pub fn ports(numbers: &[u16]) -> Value {
    let port = |number: &u16| json!({"name": format!("p{number}"), "port": number});
    numbers.iter().map(port).collect()
}

/// What a test wants to know of a Service, short enough for the message of one that fails.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenService {
    /// Which Service of this name it is.
    pub uid: String,
    /// All finalizers.
    pub finalizers: Vec<String>,
    /// `192.0.2.1 VIP`, in order.
    pub ingress: Vec<String>,
    /// The condition `ccm.rs/LoadBalancerReady`: status, reason, message.
    pub ready: Option<(String, String, String)>,
    /// Ports and their node ports, in order.
    pub ports: Vec<(i32, i32)>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

impl From<&Service> for SeenService {
    fn from(service: &Service) -> Self {
        let spec = service.spec.clone().unwrap_or_default();
        let status = service.status.clone().unwrap_or_default();
        let ingress = status.load_balancer.and_then(|it| it.ingress).unwrap_or_default();
        let ingress = ingress.into_iter().map(|point| {
            let address = point.ip.or(point.hostname).unwrap_or_default();
            format!("{address} {}", point.ip_mode.unwrap_or_default())
        });
        let conditions = status.conditions.unwrap_or_default();
        let ready = conditions.into_iter().find(|it| it.type_ == keys::LOAD_BALANCER_READY);
        let ports = spec.ports.unwrap_or_default();
        Self {
            uid: service.uid().unwrap_or_default(),
            finalizers: service.finalizers().to_vec(),
            ingress: ingress.collect(),
            ready: ready.map(|it| (it.status, it.reason, it.message)),
            ports: ports.iter().map(|it| (it.port, it.node_port.unwrap_or_default())).collect(),
            deleting: service.metadata.deletion_timestamp.is_some(),
        }
    }
}

impl SeenService {
    /// Whether we hold it until its load balancer is gone.
    pub fn is_held(&self) -> bool {
        self.finalizers.iter().any(|finalizer| finalizer == keys::FINALIZER)
    }

    /// Whether it has an address, and all is as it asks.
    pub fn is_ready(&self) -> bool {
        self.is_held() && !self.ingress.is_empty() && self.ready() == ("True", "Ready")
    }

    /// Status and reason of the condition; empty where it is not set.
    pub fn ready(&self) -> (&str, &str) {
        self.ready.as_ref().map_or(("", ""), |(status, reason, _)| (status, reason))
    }

    /// The condition's message; empty where it is not set.
    pub fn message(&self) -> &str {
        self.ready.as_ref().map_or("", |(_, _, message)| message)
    }

    /// Whether nothing on it is ours.
    pub fn is_untouched(&self) -> bool {
        !self.is_held() && self.ready.is_none() && self.ingress.is_empty()
    }

    /// What its load balancer is called on AWS, of either kind.
    pub fn balancer(&self) -> String {
        format!("a{}", self.uid.replace('-', "")).chars().take(32).collect()
    }

    /// Lines about its own pieces and rules with what differs between two alike Services replaced,
    /// so that they can be compared.
    pub fn anonymous(&self, lines: &[String]) -> Vec<String> {
        let name = self.balancer();
        let ports = |line: String| {
            self.ports.iter().enumerate().fold(line, |line, (index, (_, node_port))| {
                replace_number(&line, *node_port, &format!("NODE-PORT-{index}"))
            })
        };
        let anonymous = |line: &String| ports(line.replace(&self.uid, "UID").replace(&name, "LB"));
        let mut lines: Vec<_> = lines.iter().map(anonymous).collect();
        lines.sort();
        lines
    }
}

/// Puts a word where this number stands by itself: it may also be a part of an ID.
fn replace_number(line: &str, number: i32, word: &str) -> String {
    let number = number.to_string();
    let is_part = |c: char| c.is_ascii_alphanumeric();
    let (mut replaced, mut rest) = (String::new(), 0);
    for (at, _) in line.match_indices(&number) {
        let end = at + number.len();
        if !line[..at].ends_with(is_part) && !line[end..].starts_with(is_part) {
            replaced.push_str(&line[rest..at]);
            replaced.push_str(word);
            rest = end;
        }
    }
    replaced + &line[rest..]
}

impl<C> World<C> {
    /// The Services of the tests.
    pub fn services(&self) -> Api<Service> {
        Api::namespaced(self.admin(), self.namespace())
    }

    /// Makes a Service.
    pub async fn serve(&self, wanted: &Wanted) -> SeenService {
        let made = self.services().create(&PostParams::default(), &wanted.service()).await;
        SeenService::from(&made.unwrap())
    }

    /// Makes Services.
    pub async fn serve_all(&self, wanted: &[Wanted]) -> Vec<SeenService> {
        let make = futures::stream::iter(wanted).map(|wanted| self.serve(wanted));
        make.buffered(AT_ONCE).collect().await
    }

    /// Makes a Service, and waits until its load balancer is there.
    pub async fn served(&self, wanted: &Wanted) -> SeenService {
        self.serve(wanted).await;
        self.ready(wanted.name()).await
    }

    /// The Service as it is.
    pub async fn service(&self, name: &str) -> SeenService {
        SeenService::from(&self.services().get(name).await.unwrap())
    }

    /// Waits until the Service is as wanted.
    pub async fn service_until(
        &self,
        name: &str,
        what: &str,
        bound: Duration,
        is_so: impl Fn(&SeenService) -> bool,
    ) -> SeenService {
        wait_until(&format!("service {name}: {what}"), bound, async || {
            let service = self.services().get(name).await.map_err(|err| err.to_string())?;
            let seen = SeenService::from(&service);
            if is_so(&seen) { Ok(seen) } else { Err(format!("{seen:?}")) }
        })
        .await
    }

    /// Waits until the Service has its address and all is as it asks.
    pub async fn ready(&self, name: &str) -> SeenService {
        self.service_until(name, "ready", LONG, SeenService::is_ready).await
    }

    /// Waits until the condition of the Service has this reason.
    pub async fn service_says(&self, name: &str, reason: &str) -> SeenService {
        self.service_until(name, reason, SOON, |seen| seen.ready().1 == reason).await
    }

    /// Waits until every Service of type `LoadBalancer` is as wanted.
    pub async fn services_until(
        &self,
        what: &str,
        bound: Duration,
        is_so: impl Fn(&SeenService) -> bool,
    ) {
        wait_until(&format!("all services: {what}"), bound, async || {
            let all =
                self.services().list(&ListParams::default()).await.map_err(|e| e.to_string())?;
            let is_ours = |it: &&Service| {
                it.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer")
            };
            let waits = |it: &&Service| !is_so(&SeenService::from(*it));
            let waiting: Vec<_> = all.items.iter().filter(is_ours).filter(waits).collect();
            let Some(first) = waiting.first() else { return Ok(()) };
            let (count, all) = (waiting.len(), all.items.len());
            Err(format!("{count} of {all} wait, such as {:?}", SeenService::from(*first)))
        })
        .await;
    }

    /// Waits until all Services of type `LoadBalancer` have their addresses and are as they ask.
    pub async fn all_ready(&self, bound: Duration) {
        self.services_until("ready", bound, SeenService::is_ready).await;
    }

    /// Changes a Service, as its owner would.
    pub async fn change_service(&self, name: &str, patch: &Value) -> SeenService {
        let patch = Patch::Merge(patch);
        let changed = self.services().patch(name, &PatchParams::default(), &patch).await;
        SeenService::from(&changed.unwrap())
    }

    /// Gives a Service other ports. Those that it has keep their node ports.
    pub async fn change_ports(&self, name: &str, numbers: &[u16]) -> SeenService {
        let before = self.service(name).await.ports;
        let mut ports = ports(numbers);
        for (number, port) in numbers.iter().zip(ports.as_array_mut().unwrap()) {
            if let Some((_, node_port)) = before.iter().find(|it| it.0 == i32::from(*number)) {
                port["nodePort"] = (*node_port).into();
            }
        }
        self.change_service(name, &json!({"spec": {"ports": ports}})).await
    }

    /// Asks for the end of a Service.
    pub async fn end_service(&self, name: &str) {
        self.services().delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Waits until there is no Service of this name, or another one.
    pub async fn service_gone(&self, name: &str, uid: &str, bound: Duration) {
        wait_until(&format!("the end of service {name}"), bound, async || {
            match self.services().get_opt(name).await {
                Ok(Some(service)) if service.uid().as_deref() == Some(uid) => {
                    Err(format!("{:?}", SeenService::from(&service)))
                }
                Ok(_) => Ok(()),
                Err(err) => Err(err.to_string()),
            }
        })
        .await;
    }

    /// Waits until there is no Service of this name.
    pub async fn services_free(&self, name: &str) {
        wait_until(&format!("that nobody is called {name}"), SOON * 9, async || {
            match self.services().get_opt(name).await {
                Ok(None) => Ok(()),
                Ok(Some(service)) => Err(format!("{:?}", SeenService::from(&service))),
                Err(err) => Err(err.to_string()),
            }
        })
        .await;
    }

    /// Ends a Service, and waits until it is gone.
    pub async fn remove_service(&self, name: &str) {
        let uid = self.service(name).await.uid;
        self.end_service(name).await;
        self.service_gone(name, &uid, LONG).await;
    }

    /// Events about the Service, oldest first: reason, message, count.
    pub async fn service_events(&self, name: &str) -> Vec<(String, String, i32)> {
        self.events_about("Service", name).await
    }

    /// The reasons of the events about the Service, each as often as it was said, in order of
    /// reasons.
    pub async fn service_reasons(&self, name: &str) -> Vec<String> {
        let events = self.service_events(name).await.into_iter();
        let times = |(reason, _, count): (String, String, i32)| {
            std::iter::repeat_n(reason, usize::try_from(count).unwrap())
        };
        let mut reasons: Vec<_> = events.flat_map(times).collect();
        reasons.sort();
        reasons
    }

    /// Waits for an event about the Service, and gives its message.
    pub async fn service_event(&self, name: &str, reason: &str) -> String {
        wait_until(&format!("event {reason} about {name}"), LONG, async || {
            let events = self.service_events(name).await;
            let found = events.iter().find(|event| event.0 == reason);
            found.map(|event| event.1.clone()).ok_or(events)
        })
        .await
    }
}

/// Takes away what tests have left, whoever holds it.
pub(crate) async fn clear(client: Client) {
    let all = Api::<Service>::all(client.clone()).list(&ListParams::default()).await.unwrap();
    let ours = all.items.into_iter().filter(|it| it.name_any() != "kubernetes");
    let clear = futures::stream::iter(ours).map(|service| {
        let namespace = service.namespace().unwrap_or_default();
        let services = Api::<Service>::namespaced(client.clone(), &namespace);
        let name = service.name_any();
        async move {
            if !service.finalizers().is_empty() {
                let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
                // One that was being deleted is gone with that.
                services.patch(&name, &PatchParams::default(), &patch).await.unwrap();
            }
            match services.delete(&name, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                ended => drop(ended.unwrap()),
            }
        }
    });
    clear.buffer_unordered(AT_ONCE).collect::<()>().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_replaced_where_it_stands_by_itself() {
        let line = "listener tcp 30123 of i-0a30123f: 30123-30124, 130123";
        let replaced = replace_number(line, 30123, "PORT");
        assert_eq!(replaced, "listener tcp PORT of i-0a30123f: PORT-30124, 130123");
    }
}

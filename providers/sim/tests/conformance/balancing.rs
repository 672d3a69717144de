//! The simulated cloud's load balancers, from behind the provider's back.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ccm_conformance::{
    Cluster, LoadBalancerHarness, Mistake, Service, Unsupported, Variant, WriteFault, tcp,
};
use ccm_core::cloud::{
    Annotations, CloudProvider, ExternalTrafficPolicy, IpFamily, NodeName, ObjectId, Protocol,
    ServicePort,
};
use ccm_provider_sim::registration;
use simcloud::api::{
    Address, CLUSTER_TAG, ChangeRule, ChangeTargets, FaultExtent, FaultKind, FaultSpec, Firewall,
    ForcedState, ListPieces, Listener, ListenerSettings, LoadBalancer, OWNER_TAG, OperationClass,
    OperationFilter, Piece, Quota, Rule, SetLoadBalancerState, SettingsPatch, TargetGroup,
    TargetState, UpdateListener,
};

use super::{CALLER, CLUSTER, SimHarness, process};

type Tags = BTreeMap<String, String>;

pub(super) fn name_of(cluster: Cluster) -> &'static str {
    match cluster {
        Cluster::Ours => CLUSTER,
        Cluster::Another => "another",
    }
}

pub(super) fn cluster_tags(cluster: &str) -> Tags {
    [(CLUSTER_TAG.to_owned(), cluster.to_owned())].into()
}

impl SimHarness {
    /// The Service's own pieces of a kind, oldest first.
    async fn pieces<P: Piece>(&self, service: &ObjectId) -> Vec<P> {
        let mut tags = cluster_tags(CLUSTER);
        tags.insert(OWNER_TAG.to_owned(), service.uid.as_str().to_owned());
        self.console.all_pieces(ListPieces::tagged(tags)).await.unwrap()
    }

    async fn firewall(&self) -> Option<Firewall> {
        let ours = ListPieces::tagged(cluster_tags(CLUSTER));
        self.console.all_pieces(ours).await.unwrap().pop()
    }

    /// A rule of the Service, where it has one.
    async fn rule(&self, service: &ObjectId) -> Option<Rule> {
        let rules = self.console.all_rules(&self.firewall().await?.id).await.unwrap();
        rules.into_iter().find(|rule| rule.spec.owner == service.uid.as_str())
    }

    async fn remove(&self, id: Option<impl std::fmt::Display>) -> bool {
        let Some(id) = id else { return false };
        self.console.remove_by_hand(id).await.unwrap();
        true
    }

    /// Makes writes go wrong, the first so many aside; the quota is what can be used up.
    pub(super) async fn fault_on_writes(&self, fault: WriteFault, pass: usize, quota: Quota) {
        let skip = Some(pass as u64);
        let always = FaultExtent { skip, share: Some(1.0), ..FaultExtent::default() };
        let once = FaultExtent { skip, calls: Some(1), ..FaultExtent::default() };
        let (kind, extent) = match fault {
            WriteFault::QuotaExceeded => {
                let quotas = Some([(quota, 0)].into());
                let patch = SettingsPatch { quotas, ..SettingsPatch::default() };
                self.console.change_settings(&patch).await.unwrap();
                return;
            }
            WriteFault::Denied => (FaultKind::PermissionDenied, always),
            WriteFault::Throttled { retry_after } => {
                let retry_after_ms = Some(retry_after.as_secs() * 1000);
                (FaultKind::Throttle { retry_after_ms }, always)
            }
            WriteFault::Unavailable => (FaultKind::ServerError { status: 503 }, always),
            WriteFault::LostAnswer => (FaultKind::LoseResponse, once),
            WriteFault::Hang => (FaultKind::Hang { max_ms: None }, always),
        };
        let operation = OperationFilter::Class(OperationClass::Write);
        let spec = FaultSpec::always(operation, kind);
        let spec = FaultSpec { extent, caller: Some(CALLER.to_owned()), ..spec };
        self.console.add_fault(&spec).await.unwrap();
    }
}

fn annotation(name: &'static str, key: &'static str, value: &'static str) -> Variant {
    Variant::new(name, move |it| {
        it.annotations.insert(format!("sim.ccm.rs/{key}"), value.to_owned());
    })
}

fn annotated(name: &'static str, key: &'static str, value: &'static str) -> Mistake {
    Mistake::new(name, key, move |it| {
        it.annotations.insert(format!("sim.ccm.rs/{key}"), value.to_owned());
    })
}

fn udp(mut port: ServicePort) -> ServicePort {
    port.protocol = Protocol::Udp;
    port
}

#[async_trait]
impl LoadBalancerHarness for SimHarness {
    fn process(&self, cluster: Cluster) -> Result<Arc<dyn CloudProvider>, Unsupported> {
        Ok(process(self.console.url(), name_of(cluster), &[]))
    }

    fn annotations(&self) -> Annotations {
        registration().service_annotations
    }

    async fn snapshot(&self, cluster: Cluster) -> Vec<String> {
        self.console.snapshot(&cluster_tags(name_of(cluster))).await.unwrap().pieces
    }

    async fn mutations(&self) -> u64 {
        self.console.calls().await.unwrap().mutations_by(CALLER)
    }

    async fn targets(&self, service: &ObjectId) -> Vec<BTreeSet<NodeName>> {
        let mut groups = Vec::new();
        for group in self.pieces::<TargetGroup>(service).await {
            let targets = self.console.all_targets(&group.id).await.unwrap();
            let names = self.names.lock().unwrap();
            let stays = targets.iter().filter(|target| target.state != TargetState::Draining);
            groups.push(stays.map(|target| names[&target.instance].clone()).collect());
        }
        groups
    }

    fn variants(&self) -> Vec<Variant> {
        vec![
            annotation("another idle time-out", "idle-timeout-seconds", "300")
                .showing("idle_timeout=300s"),
            annotation("the PROXY protocol", "proxy-protocol", "true")
                .showing("proxy_protocol=true"),
            annotation("a health check of the port", "health-check-protocol", "tcp")
                .showing("health tcp:30080"),
            annotation("a health check by TLS", "health-check-protocol", "https")
                .showing("health https:10256/healthz"),
            annotation("another path of the health check", "health-check-path", "/well")
                .showing(":10256/well"),
            annotation("another port of the health check", "health-check-port", "9000")
                .showing("health http:9000"),
            Variant::new("a range beside those of the spec", |it| {
                it.source_ranges = vec!["10.9.0.0/16".to_owned()];
                let key = "sim.ccm.rs/additional-source-ranges".to_owned();
                it.annotations.insert(key, "192.0.2.0/24".to_owned());
            })
            .showing("192.0.2.0/24"),
            annotation("targets in a zone without nodes", "target-zones", "sim-1z")
                .showing("targets []"),
            annotation("more tags", "extra-tags", "team=red").showing("team=red").sticking(),
            annotation("from inside only", "internal", "true").showing(" internal ").disrupting(),
            annotation("a certain address", "addresses", "203.0.113.78")
                .showing("203.0.113.78")
                .disrupting()
                // Nobody who does not ask for an address is made to leave the one that is there.
                .sticking(),
            Variant::new("an address by the old field", |it| {
                it.requested_address = Some("203.0.113.77".to_owned());
            })
            .showing("203.0.113.77")
            .disrupting()
            .sticking(),
            Variant::new("both families", |it| it.families.push(IpFamily::V6)).showing(" ipv6"),
            Variant::new("the other family", |it| it.families = vec![IpFamily::V6])
                .showing(" ipv6")
                .disrupting(),
            Variant::new("who may connect", |it| it.source_ranges = vec!["10.9.0.0/16".to_owned()])
                .showing("10.9.0.0/16"),
            Variant::new("local traffic only", |it| {
                it.external_traffic_policy = ExternalTrafficPolicy::Local;
                it.health_check_node_port = NonZeroU16::new(32000);
            })
            .showing("health http:32000"),
            Variant::new("clients stay with their target", |it| {
                it.client_ip_affinity = Some(Duration::from_hours(3));
            })
            .showing("affinity=10800s"),
            Variant::new("another protocol", |it| it.ports[0] = udp(it.ports[0].clone()))
                .showing("udp/80"),
            Variant::new("a port for both protocols", |it| {
                it.ports.push(udp(tcp("https-quic", 443, 30443)));
            })
            .showing("udp/443"),
            Variant::new("all at once", |it| {
                it.ports = vec![tcp("http", 8080, 30080), udp(tcp("dns", 53, 30053))];
                it.client_ip_affinity = Some(Duration::from_hours(1));
                it.source_ranges = vec!["10.9.0.0/16".to_owned()];
                it.families.push(IpFamily::V6);
                it.annotations.insert("sim.ccm.rs/health-check-path".into(), "/well".into());
            })
            .showing("udp/53"),
        ]
    }

    fn mistakes(&self) -> Vec<Mistake> {
        vec![
            Mistake::new("no address", "spec.loadBalancerIP", |it| {
                it.requested_address = Some("somewhere".to_owned());
            }),
            Mistake::new("an address of another family", "spec.loadBalancerIP", |it| {
                it.requested_address = Some("2001:db8::7".to_owned());
            }),
            Mistake::new("no range", "spec.loadBalancerSourceRanges", |it| {
                it.source_ranges = vec!["10.0.0.0/99".to_owned()];
            }),
            Mistake::new("SCTP", "spec.ports[1].protocol", |it| {
                it.ports[1].protocol = Protocol::Sctp;
            }),
            Mistake::new("no node port", "nodePort", |it| it.ports[0].node_port = None),
            annotated("neither yes nor no", "proxy-protocol", "maybe"),
            annotated("no path", "health-check-path", "well"),
            annotated("our own tag", "extra-tags", "cluster=x"),
        ]
    }

    fn meddlings(&self) -> Vec<&'static str> {
        vec![
            "the load balancer is deleted",
            "the load balancer fails",
            "the address is deleted",
            "a listener is deleted",
            "a listener is changed",
            "a target group is deleted",
            "a target is removed",
            "a rule is removed",
            "a rule is changed",
            "the firewall is deleted",
        ]
    }

    async fn meddle(&self, service: &ObjectId, how: &str) -> bool {
        let console = &self.console;
        match how {
            "the load balancer is deleted" => {
                self.remove(self.pieces::<LoadBalancer>(service).await.first().map(|it| &it.id))
                    .await
            }
            "the load balancer fails" => {
                let all = self.pieces::<LoadBalancer>(service).await;
                let Some(one) = all.first() else { return false };
                let state = ForcedState::Failed;
                let failed =
                    SetLoadBalancerState { state, failure: Some("the hardware burns".to_owned()) };
                console.set_load_balancer_state(&one.id, &failed).await.unwrap();
                true
            }
            "the address is deleted" => {
                self.remove(self.pieces::<Address>(service).await.first().map(|it| &it.id)).await
            }
            "a listener is deleted" => {
                self.remove(self.pieces::<Listener>(service).await.first().map(|it| &it.id)).await
            }
            "a listener is changed" => {
                let all = self.pieces::<Listener>(service).await;
                let Some(one) = all.first() else { return false };
                let settings =
                    Some(ListenerSettings { idle_timeout_s: 7, ..ListenerSettings::default() });
                let update = UpdateListener { settings, ..UpdateListener::default() };
                console.update_piece::<Listener>(&one.id, &update).await.unwrap();
                true
            }
            "a target group is deleted" => {
                self.remove(self.pieces::<TargetGroup>(service).await.first().map(|it| &it.id))
                    .await
            }
            "a target is removed" => {
                let all = self.pieces::<TargetGroup>(service).await;
                let Some(one) = all.first() else { return false };
                let targets = console.all_targets(&one.id).await.unwrap();
                let Some(target) = targets.first() else { return false };
                let remove = vec![target.instance.clone()];
                let change = ChangeTargets { remove, ..ChangeTargets::default() };
                console.change_targets(&one.id, &change).await.unwrap();
                true
            }
            "a rule is removed" => self.remove(self.rule(service).await.map(|it| it.id)).await,
            "a rule is changed" => {
                let Some(rule) = self.rule(service).await else { return false };
                let source = Some("198.51.100.0/24".parse().unwrap());
                let change = ChangeRule { source, ..ChangeRule::default() };
                console.change_rule_by_hand(&rule.id, &change).await.unwrap();
                true
            }
            "the firewall is deleted" => self.remove(self.firewall().await.map(|it| it.id)).await,
            other => panic!("{other} is not one of the meddlings"),
        }
    }

    async fn inject_on_writes(&self, fault: WriteFault, pass: usize) -> Result<(), Unsupported> {
        self.fault_on_writes(fault, pass, Quota::LoadBalancers).await;
        Ok(())
    }

    fn service(&self) -> Service {
        Service::new("web")
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(30)
    }
}

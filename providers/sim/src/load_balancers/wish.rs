//! What a Service asks of this cloud: its spec and annotations, checked and in the cloud's words.
//! Pure.

use std::borrow::Cow;
use std::net::IpAddr;
use std::num::NonZeroU16;

use ccm_core::cloud::{
    CloudError, ExternalTrafficPolicy, IpMode, Kind, LoadBalancerSpec, ObjectId, Protocol,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use simcloud::api::{
    HealthCheck, HealthProtocol, IpFamily, ListenerSettings, Protocol as CloudProtocol, RuleSpec,
};

use super::annotations::{HealthCheckProtocol, ServiceAnnotations};
use super::change::{AddressWish, Balancer, GroupKey, PortKey};
use super::marks::{Marks, Tags, is_mark, load_balancer_name};

/// Where kube-proxy says whether the node is well.
/// <https://kubernetes.io/docs/reference/command-line-tools-reference/kube-proxy/>
const KUBE_PROXY_HEALTH: NonZeroU16 = NonZeroU16::new(10256).expect("it is not 0");

/// What one Service asks for.
#[derive(Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) id: &'a ObjectId,
    pub(crate) load_balancer: Balancer,
    /// One for each family, in the Service's order.
    pub(crate) addresses: Vec<AddressWish>,
    /// In the Service's order.
    pub(crate) ports: Vec<Port>,
    /// Who may connect, each once.
    pub(crate) sources: Vec<IpNet>,
    pub(crate) mode: IpMode,
    /// Only nodes in these zones; all where it is absent.
    pub(crate) zones: Option<&'a [String]>,
    /// Those of all its pieces.
    pub(crate) tags: Tags,
}

/// One port of a load balancer.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) key: PortKey,
    pub(crate) group: GroupKey,
    pub(crate) settings: ListenerSettings,
    pub(crate) health_check: HealthCheck,
}

/// The annotations of a spec. One that was made without any has the defaults.
fn annotations(spec: &LoadBalancerSpec) -> Cow<'_, ServiceAnnotations> {
    match spec.annotations.get() {
        Some(said) => Cow::Borrowed(said),
        None => Cow::Owned(ServiceAnnotations::default()),
    }
}

impl<'a> Wish<'a> {
    /// Reads a spec, or says all that is wrong with it.
    pub(crate) fn read(spec: &'a LoadBalancerSpec, marks: &Marks) -> Result<Self, CloudError> {
        let said = annotations(spec);
        let id = &spec.identity.id;
        let mut wrong = Vec::new();
        let addresses = addresses(spec, &said, &mut wrong);
        let ports = ports(spec, &said, &mut wrong);
        let sources = sources(spec, &said, &mut wrong);
        let mut tags = marks.of(&id.uid);
        for (key, value) in said.extra_tags.iter().flatten() {
            if is_mark(key) {
                let annotation = ServiceAnnotations::EXTRA_TAGS;
                wrong.push(format!(
                    "annotation {annotation}: the tag {key:?} is the controller's own; choose \
                     another"
                ));
            }
            tags.insert(key.clone(), value.clone());
        }
        if !wrong.is_empty() {
            return Err(CloudError::new(Kind::InvalidConfiguration, wrong.join("; ")));
        }
        Ok(Self {
            id,
            load_balancer: Balancer { name: load_balancer_name(&id.uid), internal: said.internal },
            addresses,
            ports,
            sources,
            mode: if said.proxy_protocol { IpMode::Proxy } else { IpMode::Vip },
            zones: zones(spec),
            tags,
        })
    }

    /// The rules that let its clients through, one for each port and source.
    pub(crate) fn rules(&self) -> impl Iterator<Item = RuleSpec> {
        self.ports
            .iter()
            .flat_map(|port| self.sources.iter().map(move |source| (port, source)))
            .map(|(port, source)| RuleSpec {
                owner: self.id.uid.as_str().to_owned(),
                source: *source,
                protocol: port.key.protocol,
                port: port.key.port,
                node_ports: vec![port.group.node_port],
            })
    }
}

/// An empty list asks for nothing.
fn zones(spec: &LoadBalancerSpec) -> Option<&[String]> {
    let said: &ServiceAnnotations = spec.annotations.get()?;
    said.target_zones.as_deref().filter(|zones| !zones.is_empty())
}

fn addresses(
    spec: &LoadBalancerSpec,
    said: &ServiceAnnotations,
    wrong: &mut Vec<String>,
) -> Vec<AddressWish> {
    let families = spec.families.iter().map(|family| match family {
        ccm_core::cloud::IpFamily::V4 => IpFamily::Ipv4,
        ccm_core::cloud::IpFamily::V6 => IpFamily::Ipv6,
    });
    let mut wishes: Vec<_> = families.map(|family| AddressWish { family, address: None }).collect();
    let mut requested: Vec<(&str, IpAddr)> = Vec::new();
    if let Some(text) = spec.requested_address.as_deref().filter(|text| !text.is_empty()) {
        match text.parse() {
            Ok(address) => requested.push(("spec.loadBalancerIP", address)),
            Err(_) => wrong.push(format!("spec.loadBalancerIP {text:?}: must be an IP address")),
        }
    }
    let listed = said.addresses.iter().flatten();
    requested.extend(listed.map(|address| (ServiceAnnotations::ADDRESSES, *address)));
    for (field, address) in requested {
        let family = IpFamily::of(address);
        let Some(wish) = wishes.iter_mut().find(|wish| wish.family == family) else {
            wrong.push(format!(
                "{field} {address}: the Service has no {family} in spec.ipFamilies; request \
                 addresses of its families"
            ));
            continue;
        };
        match wish.address {
            Some(other) if other != address => wrong.push(format!(
                "{field} {address}: {other} is requested too; one {family} address is accepted"
            )),
            Some(_) | None => wish.address = Some(address),
        }
    }
    wishes
}

fn ports(spec: &LoadBalancerSpec, said: &ServiceAnnotations, wrong: &mut Vec<String>) -> Vec<Port> {
    let mut ports = Vec::with_capacity(spec.ports.len());
    for (index, port) in spec.ports.iter().enumerate() {
        let protocol = match port.protocol {
            Protocol::Tcp => CloudProtocol::Tcp,
            Protocol::Udp => CloudProtocol::Udp,
            Protocol::Sctp => {
                wrong.push(format!(
                    "spec.ports[{index}].protocol SCTP: this cloud forwards TCP and UDP"
                ));
                continue;
            }
        };
        let Some(node_port) = port.node_port else {
            wrong.push(format!(
                "spec.ports[{index}] ({}) has no nodePort: this cloud reaches pods through node \
                 ports, so spec.allocateLoadBalancerNodePorts must be true",
                port.port
            ));
            continue;
        };
        let group = GroupKey { protocol, node_port };
        ports.push(Port {
            key: PortKey { protocol, port: port.port },
            group,
            settings: settings(spec, said, protocol),
            health_check: health_check(spec, said, group),
        });
    }
    ports
}

fn settings(
    spec: &LoadBalancerSpec,
    said: &ServiceAnnotations,
    protocol: CloudProtocol,
) -> ListenerSettings {
    // What the API server and the annotation's bounds let through fits.
    let seconds = |time: std::time::Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    ListenerSettings {
        proxy_protocol: said.proxy_protocol && protocol == CloudProtocol::Tcp,
        idle_timeout_s: seconds(said.idle_timeout.0),
        client_affinity_s: spec.client_ip_affinity.map(seconds),
    }
}

fn health_check(
    spec: &LoadBalancerSpec,
    said: &ServiceAnnotations,
    group: GroupKey,
) -> HealthCheck {
    let protocol = match said.health_check_protocol {
        HealthCheckProtocol::Http => HealthProtocol::Http,
        HealthCheckProtocol::Https => HealthProtocol::Https,
        HealthCheckProtocol::Tcp => {
            return HealthCheck {
                protocol: HealthProtocol::Tcp,
                port: group.node_port,
                path: None,
            };
        }
    };
    let of_service = match spec.external_traffic_policy {
        ExternalTrafficPolicy::Local => spec.health_check_node_port,
        ExternalTrafficPolicy::Cluster => None,
    };
    let port = said.health_check_port.or(of_service).unwrap_or(KUBE_PROXY_HEALTH);
    HealthCheck { protocol, port, path: Some(said.health_check_path.0.clone()) }
}

fn sources(
    spec: &LoadBalancerSpec,
    said: &ServiceAnnotations,
    wrong: &mut Vec<String>,
) -> Vec<IpNet> {
    let mut sources = Vec::new();
    for range in &spec.source_ranges {
        match range.network {
            Some(network) => sources.push(network.trunc()),
            None => wrong.push(format!(
                "{} {:?}: must be a range like 192.0.2.0/24",
                range.field, range.text
            )),
        }
    }
    if spec.source_ranges.is_empty() {
        // Everybody: no range can add to that.
        return everybody(spec);
    }
    sources.extend(said.source_ranges.iter().flatten().map(IpNet::trunc));
    sources.sort_unstable();
    sources.dedup();
    sources
}

fn everybody(spec: &LoadBalancerSpec) -> Vec<IpNet> {
    let all = spec.families.iter().map(|family| match family {
        ccm_core::cloud::IpFamily::V4 => IpNet::V4(Ipv4Net::default()),
        ccm_core::cloud::IpFamily::V6 => IpNet::V6(Ipv6Net::default()),
    });
    all.collect()
}

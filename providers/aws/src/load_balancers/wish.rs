//! What a Service asks for, as far as it does not depend on the kind of load balancer. Pure.

use std::borrow::Cow;
use std::collections::BTreeSet;

use ccm_core::cloud::{CloudError, Kind, LoadBalancerSpec, Note, ObjectId, Protocol};
use ipnet::{IpNet, Ipv4Net};

use super::annotations::{PREFIX, ServiceAnnotations};
use super::names;
use crate::ground::Cluster;
use crate::marks::{MANAGED_KEY, SERVICE_KEY, Tags};

/// What one Service asks for.
#[derive(Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) id: &'a ObjectId,
    pub(crate) spec: &'a LoadBalancerSpec,
    pub(crate) said: Cow<'a, ServiceAnnotations>,
    /// The load balancer's name.
    pub(crate) name: String,
    /// Those with a node port, in the Service's order, at least one; all of one protocol.
    pub(crate) ports: Vec<Port>,
    /// Who may connect, without host bits.
    pub(crate) ranges: BTreeSet<IpNet>,
    /// The tags that the annotation asks for.
    pub(crate) extra_tags: Tags,
    /// Those of load balancers, listeners and target groups; the extra ones with the cluster's and the
    /// Service's, which go before them.
    pub(crate) tags: Tags,
    /// Those of security groups.
    pub(crate) group_tags: Tags,
    /// What has no effect.
    pub(crate) notes: Vec<Note>,
    /// Whether it is about a load balancer that the Go program has left, and nothing was asked for since.
    pub(crate) is_as_found: bool,
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "as the API calls them")]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
    pub(crate) node_port: u16,
    /// Whether there is a certificate, and the annotation names this port.
    pub(crate) is_tls: bool,
    /// Whether the Go program reads it so.
    is_tls_to_go: bool,
}

/// The annotations of a spec. One that was made without any has the defaults.
pub(crate) fn annotations(spec: &LoadBalancerSpec) -> Cow<'_, ServiceAnnotations> {
    match spec.annotations.get() {
        Some(said) => Cow::Borrowed(said),
        None => Cow::Owned(ServiceAnnotations::default()),
    }
}

impl<'a> Wish<'a> {
    /// Reads a spec, or says all that is wrong with it whatever the kind.
    pub(crate) fn read(spec: &'a LoadBalancerSpec, cluster: &Cluster) -> Result<Self, CloudError> {
        let said = annotations(spec);
        let id = &spec.identity.id;
        let mut wrong = Vec::new();
        if spec.client_ip_affinity.is_some() {
            wrong.push(
                "spec.sessionAffinity ClientIP: load balancers of this provider take None alone"
                    .to_owned(),
            );
        }
        if let Some(text) = spec.requested_address.as_deref().filter(|text| !text.is_empty()) {
            wrong.push(format!(
                "spec.loadBalancerIP {text:?}: AWS chooses the addresses; leave it empty (a Network Load \
                 Balancer takes eip-allocations or private-ipv4-addresses)"
            ));
        }
        let mut notes = Vec::new();
        let ports = ports(spec, &said, &mut wrong, &mut notes);
        let ranges = ranges(spec, &mut wrong);
        if !wrong.is_empty() {
            return Err(CloudError::new(Kind::InvalidConfiguration, wrong.join("; ")));
        }
        let mut extra_tags = said.additional_tags.clone().unwrap_or_default().0;
        if extra_tags.remove(MANAGED_KEY).is_some() {
            let message = format!(
                "annotation {PREFIX}additional-resource-tags: {MANAGED_KEY} says whose a load balancer is \
                 and is not taken from there"
            );
            notes.push(Note { reason: "AnnotationIgnored", message });
        }
        let mut group_tags = extra_tags.clone();
        group_tags.extend(cluster.tags());
        let mut tags = group_tags.clone();
        tags.insert(SERVICE_KEY.to_owned(), id.to_string());
        let name = names::load_balancer(&id.uid);
        let is_as_found = false;
        Ok(Self {
            id,
            spec,
            said,
            name,
            ports,
            ranges,
            extra_tags,
            tags,
            group_tags,
            notes,
            is_as_found,
        })
    }

    /// Leaves with and without TLS what has been served so, which a change would cut off: `ssl-ports` is
    /// as the Go program reads it, and these ports have none.
    pub(crate) fn taken_over(mut self, plain: &BTreeSet<u16>) -> Self {
        self.is_as_found = true;
        let (mut left, mut kept) = (Vec::new(), Vec::new());
        let is_plain = |port: &Port| !port.is_tls_to_go || plain.contains(&port.port);
        let has_tls = |port: &Port| !port.is_tls && !is_plain(port);
        for port in self.ports.iter_mut().filter(|port| has_tls(port)) {
            port.is_tls = true;
            kept.push(port.port.to_string());
        }
        if !kept.is_empty() {
            let message = format!(
                "annotation {PREFIX}ssl-ports: taken over as it is, with TLS on port {}, which it does not \
                 name; with the next change of the Service it speaks without. Name it to keep it",
                kept.join(", ")
            );
            self.notes.push(Note { reason: "LeftAsFound", message });
        }
        for port in self.ports.iter_mut().filter(|port| port.is_tls && is_plain(port)) {
            port.is_tls = false;
            left.push(port.port.to_string());
        }
        if !left.is_empty() {
            let message = format!(
                "annotations {PREFIX}ssl-cert and -ssl-ports: taken over as it is, without TLS on port {}; \
                 with the next change of the Service it speaks TLS",
                left.join(", ")
            );
            self.notes.push(Note { reason: "LeftAsFound", message });
        }
        self
    }

    /// The tags of what is made with the Service's UID.
    pub(crate) fn marked(&self) -> Tags {
        let mut tags = self.tags.clone();
        tags.insert(MANAGED_KEY.to_owned(), self.id.uid.to_string());
        tags
    }

    /// The ranges that may connect, of IPv4.
    pub(crate) fn v4_ranges(&self) -> impl Iterator<Item = Ipv4Net> {
        self.ranges.iter().filter_map(|range| match range {
            IpNet::V4(range) => Some(*range),
            IpNet::V6(_) => None,
        })
    }
}

fn ports(
    spec: &LoadBalancerSpec,
    said: &ServiceAnnotations,
    wrong: &mut Vec<String>,
    notes: &mut Vec<Note>,
) -> Vec<Port> {
    let mut ports = Vec::with_capacity(spec.ports.len());
    let mut bare = Vec::new();
    for (index, port) in spec.ports.iter().enumerate() {
        if port.protocol == Protocol::Sctp {
            wrong.push(format!(
                "spec.ports[{index}].protocol SCTP: AWS forwards TCP, and UDP by type nlb"
            ));
            continue;
        }
        let Some(node_port) = port.node_port else {
            bare.push(format!("{} (spec.ports[{index}])", port.port));
            continue;
        };
        let is_named = said.tls_ports.has(port.port.get(), &port.name);
        let is_named_to_go = said.tls_ports.has_to_go(port.port.get(), &port.name);
        // What comes by UDP never speaks TLS.
        let has_certificate = port.protocol == Protocol::Tcp
            && said.certificate.as_ref().is_some_and(|arn| !arn.is_empty());
        ports.push(Port {
            name: port.name.clone(),
            protocol: port.protocol,
            port: port.port.get(),
            node_port: node_port.get(),
            is_tls: has_certificate && is_named,
            is_tls_to_go: has_certificate && is_named_to_go,
        });
    }
    if spec.ports.is_empty() {
        wrong.push("spec.ports: at least one is needed".to_owned());
    }
    if !bare.is_empty() {
        let message = format!(
            "no nodePort for port {}: AWS reaches pods through node ports, so \
             spec.allocateLoadBalancerNodePorts must be true",
            bare.join(", ")
        );
        if ports.is_empty() {
            wrong.push(message);
        } else {
            let message = format!("{message}; the other ports are served");
            notes.push(Note { reason: "PortIgnored", message });
        }
    }
    if let [first, rest @ ..] = &spec.ports[..]
        && rest.iter().any(|port| port.protocol != first.protocol)
    {
        wrong.push(
            "spec.ports: a load balancer of this provider has ports of one protocol".to_owned(),
        );
    }
    ports
}

fn ranges(spec: &LoadBalancerSpec, wrong: &mut Vec<String>) -> BTreeSet<IpNet> {
    if spec.source_ranges.is_empty() {
        return BTreeSet::from([IpNet::V4(Ipv4Net::default())]);
    }
    let mut ranges = BTreeSet::new();
    for range in &spec.source_ranges {
        match range.network {
            Some(network) => _ = ranges.insert(network.trunc()),
            None => wrong.push(format!(
                "{} {:?}: must be a range like 192.0.2.0/24",
                range.field, range.text
            )),
        }
    }
    ranges
}

//! What a record of the cloud says of a node. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ccm_core::cloud::{
    AddressKind, CloudError, Detail, Evidence, Incarnation, Instance, InstanceType, IpFamily, Kind,
    NodeAddress, Observation, PodCidrs, ProviderId, Region, RunState, Zone,
};

use super::detail::{InstanceDetail, by_index};
use crate::client::ec2::instances::{Interface, Machine, MachineState};
use crate::client::ec2::interfaces::{Attachment, FoundInterface};
use crate::ground::Cluster;
use crate::id;

/// What all nodes of the cluster have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common<'a> {
    /// The one of the client: a record does not say it.
    pub(super) region: &'a str,
    /// `NodeIPFamilies`, in their order.
    pub(super) families: &'a [IpFamily],
    pub(super) cluster: &'a Cluster,
}

/// What is said of the node with this instance. The labels are those beside type, zone and region.
pub(super) fn observation(
    machine: &Machine,
    labels: BTreeMap<String, String>,
    common: Common<'_>,
) -> Observation {
    let Some(state) = machine.state else {
        let message = format!("AWS does not say in which state {} is", machine.id);
        return Observation::Unknown(CloudError::new(Kind::Internal, message));
    };
    let state = match state {
        MachineState::Pending => RunState::Starting,
        MachineState::Running => RunState::Running,
        MachineState::Stopping | MachineState::ShuttingDown => RunState::Stopping,
        MachineState::Stopped => RunState::Stopped,
        MachineState::Terminated => return Observation::Gone(Evidence::Terminated),
    };
    match instance(machine, state, labels, common) {
        Ok(instance) => Observation::Present(instance),
        Err(err) => Observation::Unknown(err),
    }
}

fn instance(
    machine: &Machine,
    state: RunState,
    labels: BTreeMap<String, String>,
    common: Common<'_>,
) -> Result<Instance, CloudError> {
    Ok(Instance {
        provider_id: id::provider_id(machine.zone.as_deref(), &machine.id)?,
        // AWS never gives an ID to a second machine.
        incarnation: Incarnation::from(machine.id.as_str()),
        state,
        instance_type: machine.instance_type.as_deref().map(InstanceType::from),
        zone: machine.zone.as_deref().map(Zone::from),
        region: Some(Region::from(common.region)),
        addresses: addresses(machine, common.families)?,
        labels,
        pod_cidrs: PodCidrs::Unsaid,
        detail: Detail::new(InstanceDetail::of(machine, common.cluster)),
    })
}

/// One family after the other, in the configured order. Of IPv4 every private address of every
/// interface, then the public one, then the names; of IPv6 the first address of every interface and
/// nothing else.
fn addresses(machine: &Machine, families: &[IpFamily]) -> Result<Vec<NodeAddress>, CloudError> {
    let mut interfaces = by_index(machine);
    interfaces.retain(|one| one.is_in_use);
    let mut all = Vec::new();
    for family in families {
        match family {
            IpFamily::V4 => {
                let private = interfaces.iter().flat_map(|one| &one.private_ipv4s);
                for ip in private {
                    all.push(NodeAddress::internal(number(ip, *family, &machine.id)?));
                }
                if let Some(ip) = &machine.public_ip {
                    all.push(NodeAddress::external(number(ip, *family, &machine.id)?));
                }
                if let Some(name) = &machine.private_dns_name {
                    all.push(NodeAddress::new(AddressKind::InternalDns, name.as_str()));
                    all.push(NodeAddress::new(AddressKind::Hostname, name.as_str()));
                }
                if let Some(name) = &machine.public_dns_name {
                    all.push(NodeAddress::new(AddressKind::ExternalDns, name.as_str()));
                }
            }
            IpFamily::V6 => {
                for ip in interfaces.iter().filter_map(|one| one.ipv6s.first()) {
                    all.push(NodeAddress::internal(number(ip, *family, &machine.id)?));
                }
            }
        }
    }
    Ok(all)
}

fn number(text: &str, family: IpFamily, id: &str) -> Result<IpAddr, CloudError> {
    let fits = |ip: &IpAddr| ip.is_ipv4() == (family == IpFamily::V4);
    text.parse().ok().filter(fits).ok_or_else(|| {
        let message = format!("AWS says that {id} has the address {text:?}, which is none");
        CloudError::new(Kind::Internal, message)
    })
}

/// What is said of a node on Fargate, of which there is nothing to see but its interface: it runs while
/// that is attached, and is on its way down while it is detached. (The Go program says of each of them
/// that it is shut down.)
pub(super) fn fargate(
    provider_id: &ProviderId,
    found: &FoundInterface,
    labels: BTreeMap<String, String>,
    common: Common<'_>,
) -> Observation {
    let addresses = match fargate_addresses(found, common.families) {
        Ok(addresses) => addresses,
        Err(err) => return Observation::Unknown(err),
    };
    let state = match found.attachment {
        Attachment::Attached | Attachment::None => RunState::Running,
        Attachment::Detaching => RunState::Stopping,
    };
    let detail = InstanceDetail {
        id: found.id.clone(),
        subnet: found.subnet.clone(),
        vpc: found.vpc.clone(),
        interfaces: vec![Interface { id: found.id.clone(), ..Interface::default() }],
        is_fargate: true,
        ..InstanceDetail::default()
    };
    Observation::Present(Instance {
        provider_id: provider_id.clone(),
        incarnation: Incarnation::from(found.id.as_str()),
        state,
        instance_type: None,
        zone: found.zone.as_deref().map(Zone::from),
        region: Some(Region::from(common.region)),
        addresses,
        labels,
        pod_cidrs: PodCidrs::Unsaid,
        detail: Detail::new(detail),
    })
}

fn fargate_addresses(
    found: &FoundInterface,
    families: &[IpFamily],
) -> Result<Vec<NodeAddress>, CloudError> {
    let mut all = Vec::new();
    for family in families {
        let first = match family {
            IpFamily::V4 => found.private_ipv4s.first(),
            IpFamily::V6 => found.ipv6s.first(),
        };
        // The name goes with an address.
        let Some(ip) = first else { continue };
        all.push(NodeAddress::internal(number(ip, *family, &found.id)?));
        if let Some(name) = &found.private_dns_name {
            all.push(NodeAddress::new(AddressKind::InternalDns, name.as_str()));
        }
    }
    Ok(all)
}

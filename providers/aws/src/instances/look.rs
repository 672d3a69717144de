//! Which machine is a node's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ccm_core::cloud::{AddressKind, Ask, CloudError, Kind, NodeIdentity, ProviderId, Read};

use super::fargate;
use super::halves::{Part, halving};
use crate::client::Client;
use crate::client::ec2::MOST_VALUES;
use crate::client::ec2::instances::{Machine, MachineState};
use crate::client::ec2::interfaces::FoundInterface;
use crate::error::not_as_absence;
use crate::ground::{Home, OwnInstance};
use crate::id::{self, MachineId};

/// What a node's machine is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// The ID in its provider ID, or in its name.
    Id(String),
    /// Its private DNS name, which is the node's name, or else an address that the node reports.
    Name(String),
    /// The address of a pod on Fargate, with the provider ID.
    Fargate(ProviderId, Ipv4Addr),
}

/// What the cloud says of one node.
#[derive(Clone, Debug)]
pub(super) enum Word {
    Machine(Arc<Machine>),
    Fargate(ProviderId, Arc<FoundInterface>),
    Absent,
    Unknown(Arc<CloudError>),
}

impl Word {
    pub(super) fn unknown(kind: Kind, message: String) -> Self {
        Self::Unknown(Arc::new(CloudError::new(kind, message)))
    }

    /// The name of the zone that it is in.
    pub(super) fn zone(&self) -> Option<&str> {
        match self {
            Self::Machine(machine) => machine.zone.as_deref(),
            Self::Fargate(_, found) => found.zone.as_deref(),
            Self::Absent | Self::Unknown(_) => None,
        }
    }
}

impl Key {
    /// The key of a node, or why there is none.
    pub(super) fn of(node: &NodeIdentity, own: Option<&OwnInstance>) -> Result<Self, CloudError> {
        if let Some(provider_id) = &node.provider_id {
            return Ok(match id::parse(provider_id)? {
                MachineId::Instance(id) => Self::Id(id),
                MachineId::Fargate(address) => Self::Fargate(provider_id.clone(), address),
            });
        }
        let name = node.name.as_str();
        let own = own.filter(|own| own.private_dns_name == name).map(|own| own.id.as_str());
        Ok(match own.or_else(|| id::instance_of_name(name)) {
            Some(id) => Self::Id(id.to_owned()),
            None => Self::Name(name.to_owned()),
        })
    }
}

/// What the cloud says of each node, in their order.
pub(super) async fn ask(
    client: &Client,
    cx: &Read,
    ask: Ask,
    home: &Home,
    nodes: &[NodeIdentity],
    keys: Vec<Result<Key, CloudError>>,
) -> Vec<Word> {
    let (mut ids, mut named, mut pods) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
    for (node, key) in nodes.iter().zip(&keys) {
        match key {
            Ok(Key::Id(id)) => {
                ids.insert(id.clone());
            }
            Ok(Key::Name(name)) => named.push((name.as_str(), node)),
            Ok(Key::Fargate(_, address)) => {
                pods.insert(*address);
            }
            Err(_) => {}
        }
    }
    let ids: Vec<_> = ids.into_iter().collect();
    let by_id = async {
        match ask {
            Ask::Look => by_filter(client, cx, ids).await,
            Ask::Confirm => directly(client, cx, ids).await,
        }
    };
    let by_name = by_name(client, cx, home, &named);
    let by_address = fargate::ask(client, cx, ask, &home.vpc, &pods);
    let (by_id, by_name, by_address) = futures::join!(by_id, by_name, by_address);
    let mut by_name = by_name.into_iter();
    let word = |key: Result<Key, CloudError>| {
        let word = match &key {
            Ok(Key::Id(id)) => by_id.get(id).cloned(),
            // In the order of the questions.
            Ok(Key::Name(_)) => by_name.next(),
            Ok(Key::Fargate(provider_id, address)) => {
                by_address.get(address).map(|pod| pod.word(provider_id))
            }
            Err(err) => Some(Word::Unknown(Arc::new(err.repeat()))),
        };
        word.unwrap_or_else(|| Word::unknown(Kind::Internal, "nobody asked".to_owned()))
    };
    keys.into_iter().map(word).collect()
}

/// By a condition on the ID, which IDs that do not exist do not spoil.
async fn by_filter(client: &Client, cx: &Read, ids: Vec<String>) -> BTreeMap<String, Word> {
    let parts = halving(ids, |ids: Vec<String>| async move {
        client.find_instances(cx, &[("instance-id", &ids)]).await
    });
    let mut words = BTreeMap::new();
    for part in parts.await {
        words.extend(sort(part, |_| Word::Absent));
    }
    words
}

/// By the IDs themselves: one that does not exist is an error, and none is left out.
async fn directly(client: &Client, cx: &Read, ids: Vec<String>) -> BTreeMap<String, Word> {
    let ask = |ids: Vec<String>| async move { client.instances_by_id(cx, &ids).await };
    let mut words = BTreeMap::new();
    let mut left_out = Vec::new();
    for part in halving(ids, ask).await {
        let is_alone = part.0.len() == 1;
        for (id, word) in sort(part, omitted) {
            // An answer about many that lacks one says nothing about that one.
            if matches!(&word, Word::Unknown(err) if err.kind() == Kind::Internal) && !is_alone {
                left_out.push(id);
            } else {
                words.insert(id, word);
            }
        }
    }
    let alone = futures::future::join_all(left_out.into_iter().map(|id| halving(vec![id], ask)));
    for part in alone.await.into_iter().flatten() {
        words.extend(sort(part, omitted));
    }
    words
}

/// The API promises an error for an ID that it does not know. So an answer without it is an answer
/// to something else, and no proof.
fn omitted(id: &str) -> Word {
    let message = format!("asked for {id} by its ID, AWS answered without it");
    Word::unknown(Kind::Internal, message)
}

/// Sorts an answer by IDs. `left_out` says what follows for one that is not in it.
fn sort(
    (ids, answer): Part<Vec<Machine>>,
    left_out: impl Fn(&str) -> Word,
) -> BTreeMap<String, Word> {
    let machines = match answer {
        Ok(machines) => machines,
        Err(err) => {
            // Only of one that was asked about alone is that said.
            let word = if err.kind() == Kind::NotFound && ids.len() == 1 {
                Word::Absent
            } else {
                Word::Unknown(Arc::new(not_as_absence(err)))
            };
            return ids.into_iter().map(|id| (id, word.clone())).collect();
        }
    };
    let odd = machines.iter().find(|machine| !ids.contains(&machine.id)).map(|odd| {
        let message = format!("AWS answered with {:?}, which nobody asked for", odd.id);
        Arc::new(CloudError::new(Kind::Internal, message))
    });
    let mut found: BTreeMap<_, _> =
        machines.into_iter().map(|it| (it.id.clone(), Arc::new(it))).collect();
    let word = |id: String| {
        let word = match (found.remove(&id), &odd) {
            (Some(machine), _) => Word::Machine(machine),
            // The question was not understood: nothing follows from what is missing.
            (None, Some(odd)) => Word::Unknown(Arc::clone(odd)),
            (None, None) => left_out(&id),
        };
        (id, word)
    };
    ids.into_iter().map(word).collect()
}

/// Nodes without a provider ID, by their names, and those whose names lead nowhere by the addresses
/// that they report. As many words as nodes, in their order.
async fn by_name(
    client: &Client,
    cx: &Read,
    home: &Home,
    asked: &[(&str, &NodeIdentity)],
) -> Vec<Word> {
    let names: BTreeSet<_> = asked.iter().map(|(name, _)| (*name).to_owned()).collect();
    let names: Vec<_> = names.into_iter().collect();
    let found = live(client, cx, "private-dns-name", &names).await;
    let by_name = asked.iter().map(|(name, _)| match &found {
        Ok(found) => of_name(found, name, home),
        Err(err) => Some(Word::Unknown(Arc::clone(err))),
    });
    let by_name: Vec<_> = by_name.collect();
    let lost = asked.iter().zip(&by_name).filter(|(_, word)| word.is_none());
    let addresses: BTreeSet<_> = lost.flat_map(|((_, node), _)| internal_ips(node)).collect();
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let found = live_in(client, cx, &home.vpc, &addresses).await;
    let by_address = |node| match &found {
        Ok(found) => of_addresses(found, node, home),
        Err(err) => Word::Unknown(Arc::clone(err)),
    };
    let each = by_name.into_iter().zip(asked);
    each.map(|(word, (_, node))| word.unwrap_or_else(|| by_address(node))).collect()
}

type Found = Result<Vec<Arc<Machine>>, Arc<CloudError>>;

/// Instances that are not terminated, by a condition with many values.
async fn live(client: &Client, cx: &Read, condition: &str, values: &[String]) -> Found {
    let states = MachineState::LIVE.map(str::to_owned);
    let mut all = Vec::new();
    for values in values.chunks(MOST_VALUES) {
        let conditions = [(condition, values), ("instance-state-name", &states[..])];
        let found = client.find_instances(cx, &conditions).await.map_err(not_as_absence)?;
        all.extend(found.into_iter().map(Arc::new));
    }
    Ok(all)
}

/// The same by their primary addresses, which are unique in a VPC and nowhere else.
async fn live_in(client: &Client, cx: &Read, vpc: &str, addresses: &[String]) -> Found {
    let states = MachineState::LIVE.map(str::to_owned);
    let vpc = [vpc.to_owned()];
    let mut all = Vec::new();
    for addresses in addresses.chunks(MOST_VALUES) {
        let conditions = [
            ("private-ip-address", addresses),
            ("vpc-id", &vpc[..]),
            ("instance-state-name", &states[..]),
        ];
        let found = client.find_instances(cx, &conditions).await.map_err(not_as_absence)?;
        all.extend(found.into_iter().map(Arc::new));
    }
    Ok(all)
}

/// The addresses by which EC2 finds an instance, as far as the node reports them.
fn internal_ips(node: &NodeIdentity) -> impl Iterator<Item = Ipv4Addr> + '_ {
    let internal = node.addresses.iter().filter(|it| it.kind == AddressKind::InternalIp);
    internal.filter_map(|it| match it.ip() {
        Some(IpAddr::V4(ip)) => Some(ip),
        Some(IpAddr::V6(_)) | None => None,
    })
}

/// The machine with this private DNS name. `None`: nothing has it.
fn of_name(found: &[Arc<Machine>], name: &str, home: &Home) -> Option<Word> {
    let has_name = |it: &&Arc<Machine>| it.private_dns_name.as_deref() == Some(name);
    let what = format!("private DNS name {name}");
    only(found.iter().filter(has_name), &what, home)
}

/// The machine with an address that the node reports.
fn of_addresses(found: &[Arc<Machine>], node: &NodeIdentity, home: &Home) -> Word {
    let reported: BTreeSet<_> = internal_ips(node).map(|ip| ip.to_string()).collect();
    let has_one = |it: &&Arc<Machine>| {
        let own = it.interfaces.iter().flat_map(|one| &one.private_ipv4s);
        it.vpc.as_ref() == Some(&home.vpc) && own.into_iter().any(|ip| reported.contains(ip))
    };
    let reported: Vec<_> = reported.iter().map(String::as_str).collect();
    let what = format!("private address {}", reported.join(" or "));
    only(found.iter().filter(has_one), &what, home).unwrap_or(Word::Absent)
}

/// The one of these that is the cluster's. One that is being terminated gives way to its successor.
fn only<'a>(
    candidates: impl Iterator<Item = &'a Arc<Machine>>,
    what: &str,
    home: &Home,
) -> Option<Word> {
    let (mut ours, others): (Vec<_>, Vec<_>) =
        candidates.partition(|machine| home.cluster.has(&machine.tags));
    let is_staying = |it: &&Arc<Machine>| it.state != Some(MachineState::ShuttingDown);
    if ours.iter().any(is_staying) {
        ours.retain(is_staying);
    }
    ours.sort_by(|one, other| one.id.cmp(&other.id));
    match ours[..] {
        [machine] => Some(Word::Machine(Arc::clone(machine))),
        [one, other, ..] => {
            let message = format!(
                "instances {} and {} both have the {what}: terminate one, or start the kubelet \
                 with --provider-id",
                one.id, other.id
            );
            Some(Word::unknown(Kind::InvalidConfiguration, message))
        }
        [] => {
            // Names and addresses come again in other networks, where they say nothing.
            let near = others.iter().filter(|it| it.vpc.as_ref() == Some(&home.vpc));
            let near = near.min_by(|one, other| one.id.cmp(&other.id))?;
            let message = format!(
                "instance {} has the {what}, but not the tag {}: if it is this cluster's, tag it",
                near.id,
                home.cluster.key()
            );
            Some(Word::unknown(Kind::InvalidConfiguration, message))
        }
    }
}

#[cfg(test)]
mod tests;

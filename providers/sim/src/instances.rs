//! The machines behind nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::slice;
use std::sync::Arc;

use async_trait::async_trait;
use ccm_core::cloud::{
    AddressKind, Ask, Batching, CloudError, Detail, Evidence, Incarnation, Instance, Instances,
    Kind, NodeAddress, NodeIdentity, Observation, PodCidrs, Read, RunState,
};
use futures::future::join_all;
use ipnet::IpNet;
use simcloud::api::{self, DescribeInstances, InstanceId, Nic};

use crate::client::{Client, Record};
use crate::id;

/// Instances of the simulated cloud. Nothing is kept between two questions.
#[derive(Debug)]
pub(crate) struct SimInstances {
    client: Arc<Client>,
    batch_limit: NonZeroUsize,
}

impl SimInstances {
    pub(crate) fn new(client: Arc<Client>, batch_limit: NonZeroUsize) -> Self {
        Self { client, batch_limit }
    }
}

#[async_trait]
impl Instances for SimInstances {
    fn batching(&self) -> Batching {
        Batching::UpTo(self.batch_limit)
    }

    async fn describe(
        &self,
        cx: &Read,
        ask: Ask,
        nodes: &[NodeIdentity],
    ) -> Result<Vec<Observation>, CloudError> {
        match ask {
            Ask::Look => self.look(cx, nodes).await,
            Ask::Confirm => Ok(join_all(nodes.iter().map(|node| self.confirm(cx, node))).await),
        }
    }
}

impl SimInstances {
    /// One call about all of them.
    async fn look(
        &self,
        cx: &Read,
        nodes: &[NodeIdentity],
    ) -> Result<Vec<Observation>, CloudError> {
        let keys: Vec<_> = nodes.iter().map(Key::of).collect();
        let wanted: BTreeSet<&Key> = keys.iter().flatten().collect();
        let answer = if wanted.is_empty() {
            Answer::default()
        } else {
            let records = self.client.describe_instances(cx, &question(&wanted)).await?;
            Answer::new(records, &wanted)
        };
        let observe = |(node, key): (&NodeIdentity, Result<Key, CloudError>)| match key {
            Ok(Key::Id(id)) => answer.by_id(&id),
            Ok(Key::Name(name)) => answer.by_name(&name, node),
            Err(err) => Observation::Unknown(err),
        };
        Ok(nodes.iter().zip(keys).map(observe).collect())
    }

    /// One call about just this one.
    async fn confirm(&self, cx: &Read, node: &NodeIdentity) -> Observation {
        let id = match Key::of(node) {
            Ok(Key::Id(id)) => id,
            Ok(Key::Name(_)) => {
                return match self.look(cx, slice::from_ref(node)).await {
                    Ok(mut one) => one.pop().expect("as many answers as questions"),
                    Err(err) => Observation::Unknown(err),
                };
            }
            Err(err) => return Observation::Unknown(err),
        };
        match self.client.get_instance(cx, &id).await {
            Ok(record) if record.id.as_ref() == Some(&id) => observation(&record),
            Ok(_) => unknown(format!("asked for {id}, the cloud answered with another instance")),
            Err(err) if err.kind() == Kind::NotFound => Observation::Gone(Evidence::Absent),
            Err(err) => Observation::Unknown(err),
        }
    }
}

/// What a node's instance is found by.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Id(InstanceId),
    Name(String),
}

impl Key {
    fn of(node: &NodeIdentity) -> Result<Self, CloudError> {
        match &node.provider_id {
            Some(provider_id) => Ok(Self::Id(id::parse(provider_id)?)),
            None => Ok(Self::Name(node.name.as_str().to_owned())),
        }
    }
}

fn question(wanted: &BTreeSet<&Key>) -> DescribeInstances {
    let mut ask = DescribeInstances::default();
    for key in wanted {
        match key {
            Key::Id(id) => ask.ids.push(id.clone()),
            Key::Name(name) => ask.names.push(name.clone()),
        }
    }
    ask
}

/// What the cloud said about several instances at once.
#[derive(Debug, Default)]
struct Answer {
    records: Vec<Record>,
    /// Why nothing follows from what is missing.
    doubt: Option<CloudError>,
}

impl Answer {
    fn new(records: Vec<Record>, wanted: &BTreeSet<&Key>) -> Self {
        let is_wanted = |record: &Record| {
            wanted.iter().any(|key| match key {
                Key::Id(id) => record.id.as_ref() == Some(id),
                Key::Name(name) => record.name.as_ref() == Some(name),
            })
        };
        // Either the question was not understood, and the answer may be the first page of
        // everything, or an unreadable record stands where a wanted one should.
        let doubt = records.iter().find(|record| !is_wanted(record)).map(|record| {
            let which = record.id.as_ref().map_or("an unknown instance", InstanceId::as_str);
            let message = format!("the cloud answered with {which}, which nobody asked for");
            CloudError::new(Kind::Internal, message)
        });
        Self { records, doubt }
    }

    fn by_id(&self, id: &InstanceId) -> Observation {
        let mut found = self.records.iter().filter(|record| record.id.as_ref() == Some(id));
        match (found.next(), found.next()) {
            (Some(record), None) => observation(record),
            (None, _) => self.absent(),
            (Some(_), Some(_)) => unknown(format!("the cloud has two records of {id}")),
        }
    }

    /// Names are not unique in this cloud, least of all over time: what is terminated gives way to
    /// what lives, and where several live, the firmware's UUID tells them apart, or the fact that
    /// all but one are being terminated.
    fn by_name(&self, name: &str, node: &NodeIdentity) -> Observation {
        let is_of_name = |record: &&Record| record.name.as_deref() == Some(name);
        let mut found = Vec::new();
        for record in self.records.iter().filter(is_of_name) {
            match &record.instance {
                Ok(instance) => found.push((record, instance)),
                Err(err) => return Observation::Unknown(err.repeat()),
            }
        }
        prefer(&mut found, |(_, one)| one.state != api::RunState::Terminated);
        prefer(&mut found, |(_, one)| {
            node.system_uuid
                .as_ref()
                .is_some_and(|uuid| uuid.eq_ignore_ascii_case(&one.system_uuid))
        });
        prefer(&mut found, |(_, one)| one.state != api::RunState::Terminating);
        match found[..] {
            [] => self.absent(),
            [(record, _)] => observation(record),
            [(_, one), ..] if one.state == api::RunState::Terminated => {
                Observation::Gone(Evidence::Terminated)
            }
            [(_, one), (_, other), ..] => {
                let message = format!(
                    "instances {} and {} are both named {name:?}: rename or terminate one",
                    one.id, other.id
                );
                Observation::Unknown(CloudError::new(Kind::InvalidConfiguration, message))
            }
        }
    }

    fn absent(&self) -> Observation {
        match &self.doubt {
            None => Observation::Gone(Evidence::Absent),
            Some(doubt) => Observation::Unknown(doubt.repeat()),
        }
    }
}

/// Keeps those that fit, if there are any.
fn prefer<T>(all: &mut Vec<T>, fits: impl Fn(&T) -> bool) {
    if all.iter().any(&fits) {
        all.retain(fits);
    }
}

fn unknown(message: String) -> Observation {
    Observation::Unknown(CloudError::new(Kind::Internal, message))
}

/// What a record says.
fn observation(record: &Record) -> Observation {
    let record = match &record.instance {
        Ok(record) => record,
        Err(err) => return Observation::Unknown(err.repeat()),
    };
    let state = match record.state {
        api::RunState::Pending => RunState::Starting,
        api::RunState::Running => RunState::Running,
        api::RunState::Stopping | api::RunState::Terminating => RunState::Stopping,
        api::RunState::Stopped => RunState::Stopped,
        api::RunState::Terminated => return Observation::Gone(Evidence::Terminated),
    };
    match instance(record, state) {
        Ok(instance) => Observation::Present(instance),
        Err(err) => Observation::Unknown(err),
    }
}

fn instance(record: &api::Instance, state: RunState) -> Result<Instance, CloudError> {
    Ok(Instance {
        provider_id: id::provider_id(&record.id)?,
        // A machine that replaces the one of before keeps its ID.
        incarnation: Incarnation::from(format!("{}/{}", record.id, record.incarnation)),
        state,
        instance_type: label_value(&record.instance_type),
        zone: label_value(&record.zone),
        region: label_value(&record.region),
        addresses: addresses(record)?,
        labels: labels(&record.labels),
        pod_cidrs: pod_cidrs(record)?,
        detail: Detail::default(),
    })
}

/// The order is documented: internal before external, numbers before names, and within each kind
/// the primary interface first and IPv4 before IPv6.
fn addresses(record: &api::Instance) -> Result<Vec<NodeAddress>, CloudError> {
    let nics = &record.nics;
    let private = |nic: &Nic| {
        let v4 = nic.private_ipv4s.iter().copied().map(IpAddr::V4);
        v4.chain(nic.private_ipv6s.iter().copied().map(IpAddr::V6)).collect::<Vec<_>>()
    };
    let public = |nic: &Nic| {
        nic.public_ipv4.map(IpAddr::V4).into_iter().chain(nic.public_ipv6.map(IpAddr::V6))
    };
    let name = |kind, name: &Option<String>| Some(NodeAddress::new(kind, name.as_deref()?));

    let mut all = Vec::new();
    all.extend(nics.iter().flat_map(private).map(NodeAddress::internal));
    all.extend(nics.iter().flat_map(public).map(NodeAddress::external));
    let odd = all.iter().find(|entry| !entry.ip().is_some_and(is_usable));
    if let Some(odd) = odd {
        let message = format!("the cloud says that {} has the address {}", record.id, odd.address);
        return Err(CloudError::new(Kind::Internal, message));
    }
    all.extend(nics.iter().filter_map(|n| name(AddressKind::InternalDns, &n.private_dns_name)));
    all.extend(nics.iter().filter_map(|n| name(AddressKind::ExternalDns, &n.public_dns_name)));
    all.push(NodeAddress::new(AddressKind::Hostname, record.name.as_str()));
    Ok(all)
}

/// Whether others can reach a machine under it.
fn is_usable(ip: IpAddr) -> bool {
    !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast())
}

fn pod_cidrs(record: &api::Instance) -> Result<PodCidrs, CloudError> {
    let ranges = &record.pod_cidrs;
    let v4 = ranges.iter().filter(|range| matches!(range, IpNet::V4(_))).count();
    if v4 > 1 || ranges.len() - v4 > 1 {
        let message =
            format!("the cloud gives {} more than one pod range of one family", record.id);
        return Err(CloudError::new(Kind::Internal, message));
    }
    if ranges.is_empty() {
        return Ok(PodCidrs::Unsaid);
    }
    // The cloud keeps them as they were written; a Node takes none with host bits.
    Ok(PodCidrs::Ranges(ranges.iter().map(IpNet::trunc).collect()))
}

/// What cannot be the value of a label is left out: the API server would refuse the node with it,
/// again and again.
fn label_value<T: for<'a> From<&'a str>>(text: &str) -> Option<T> {
    (!text.is_empty() && is_label_value(text)).then(|| T::from(text))
}

fn labels(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let is_label = |(key, value): &(&String, &String)| is_label_key(key) && is_label_value(value);
    labels.iter().filter(is_label).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>
fn is_label_key(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let is_domain = |prefix: &str| {
        let is_part = |part: &str| {
            is_enclosed(part, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit(), b"-")
        };
        prefix.len() <= 253 && prefix.split('.').all(is_part)
    };
    !name.is_empty() && is_label_value(name) && prefix.is_none_or(is_domain)
}

fn is_label_value(text: &str) -> bool {
    text.len() <= 63 && (text.is_empty() || is_enclosed(text, u8::is_ascii_alphanumeric, b"-_."))
}

/// Whether the text is made of `outer` and `inner`, and begins and ends with the former.
fn is_enclosed(text: &str, outer: impl Fn(&u8) -> bool, inner: &[u8]) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(&outer)
        && bytes.last().is_some_and(&outer)
        && bytes.iter().all(|byte| outer(byte) || inner.contains(byte))
}

#[cfg(test)]
mod tests;

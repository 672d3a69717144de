//! `DescribeInstances`, and what is changed about an instance.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{self as sdk, AttributeBooleanValue, InstanceStateName};
use ccm_core::cloud::{CloudError, Read, Write};

use super::{Condition, PAGE, filters, group_ids, some, tags};
use crate::actions::{
    DESCRIBE_INSTANCES, MODIFY_INSTANCE_ATTRIBUTE, MODIFY_NETWORK_INTERFACE_ATTRIBUTE,
};
use crate::client::pages::pages;
use crate::client::{Client, read, write};
use crate::marks::Tags;

/// An instance, as EC2 has it. Texts that it leaves empty are missing here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    /// `i-…`.
    pub(crate) id: String,
    /// `None` where it is missing, or is one that nobody knows yet.
    pub(crate) state: Option<MachineState>,
    pub(crate) instance_type: Option<String>,
    /// The availability zone's name.
    pub(crate) zone: Option<String>,
    /// Terminated instances lose it.
    pub(crate) vpc: Option<String>,
    pub(crate) subnet: Option<String>,
    pub(crate) private_dns_name: Option<String>,
    pub(crate) public_dns_name: Option<String>,
    pub(crate) public_ip: Option<String>,
    /// In the order of the answer.
    pub(crate) interfaces: Vec<Interface>,
    /// The groups of the primary interface.
    pub(crate) security_groups: BTreeSet<String>,
    /// Whether packets that are not from or to the instance itself are dropped. `None`: it does not
    /// say so.
    pub(crate) source_dest_check: Option<bool>,
    pub(crate) tags: Tags,
}

/// The states of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum MachineState {
    Pending,
    Running,
    Stopping,
    Stopped,
    ShuttingDown,
    Terminated,
}

/// A network interface (ENI) of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interface {
    /// `eni-…`.
    pub(crate) id: String,
    /// Its place at the instance: 0 is the primary one. `None` while it is not attached.
    pub(crate) device_index: Option<i32>,
    /// Its status is `in-use`.
    pub(crate) is_in_use: bool,
    /// The primary one first, the others in the order of their numbers.
    pub(crate) private_ipv4s: Vec<String>,
    /// The primary one first, where one is; the others in the order of the answer.
    pub(crate) ipv6s: Vec<String>,
    pub(crate) security_groups: BTreeSet<String>,
    pub(crate) source_dest_check: Option<bool>,
}

impl MachineState {
    /// The states of instances that exist, as EC2 spells them.
    pub(crate) const LIVE: [&'static str; 5] =
        ["pending", "running", "shutting-down", "stopping", "stopped"];

    fn of(state: &InstanceStateName) -> Option<Self> {
        match state {
            InstanceStateName::Pending => Some(Self::Pending),
            InstanceStateName::Running => Some(Self::Running),
            InstanceStateName::Stopping => Some(Self::Stopping),
            InstanceStateName::Stopped => Some(Self::Stopped),
            InstanceStateName::ShuttingDown => Some(Self::ShuttingDown),
            InstanceStateName::Terminated => Some(Self::Terminated),
            _ => None,
        }
    }
}

impl Machine {
    /// The interface with the device index 0, or else the only one.
    pub(crate) fn primary_interface(&self) -> Option<&Interface> {
        match &self.interfaces[..] {
            [only] => Some(only),
            all => all.iter().find(|one| one.device_index == Some(0)),
        }
    }
}

impl Client {
    /// All instances that fit. Those that do not exist are no error, by any condition.
    pub(crate) async fn find_instances(
        &self,
        cx: &Read,
        conditions: &[Condition<'_>],
    ) -> Result<Vec<Machine>, CloudError> {
        self.instances(cx, |ask| ask.set_filters(Some(filters(conditions))).max_results(PAGE)).await
    }

    /// These instances. One that does not exist fails the whole question.
    pub(crate) async fn instances_by_id(
        &self,
        cx: &Read,
        ids: &[String],
    ) -> Result<Vec<Machine>, CloudError> {
        // A page size is refused beside IDs.
        self.instances(cx, |ask| ask.set_instance_ids(Some(ids.to_vec()))).await
    }

    async fn instances(
        &self,
        cx: &Read,
        about: impl Fn(Ask) -> Ask + Send + Sync,
    ) -> Result<Vec<Machine>, CloudError> {
        let ec2 = &self.sdk()?.ec2;
        pages(|page| async {
            let ask = about(ec2.describe_instances()).set_next_token(page);
            let answer = read(cx, &DESCRIBE_INSTANCES, ask.send()).await?;
            let instances = answer.reservations().iter().flat_map(sdk::Reservation::instances);
            Ok((instances.map(machine).collect(), answer.next_token))
        })
        .await
    }

    /// Lets the instance take packets that are not addressed to itself. Refused where it has several
    /// interfaces.
    pub(crate) async fn stop_checking_instance(
        &self,
        cx: &Write,
        id: &str,
    ) -> Result<(), CloudError> {
        let off = AttributeBooleanValue::builder().value(false).build();
        let ask =
            self.sdk()?.ec2.modify_instance_attribute().instance_id(id).source_dest_check(off);
        write(cx, &MODIFY_INSTANCE_ATTRIBUTE, ask.send()).await?;
        Ok(())
    }

    /// The same for one interface.
    pub(crate) async fn stop_checking_interface(
        &self,
        cx: &Write,
        id: &str,
    ) -> Result<(), CloudError> {
        let off = AttributeBooleanValue::builder().value(false).build();
        let ec2 = &self.sdk()?.ec2;
        let ask = ec2
            .modify_network_interface_attribute()
            .network_interface_id(id)
            .source_dest_check(off);
        write(cx, &MODIFY_NETWORK_INTERFACE_ATTRIBUTE, ask.send()).await?;
        Ok(())
    }
}

type Ask = aws_sdk_ec2::operation::describe_instances::builders::DescribeInstancesFluentBuilder;

fn machine(record: &sdk::Instance) -> Machine {
    let placement = record.placement();
    Machine {
        id: record.instance_id().unwrap_or_default().to_owned(),
        state: record.state().and_then(|state| state.name()).and_then(MachineState::of),
        instance_type: some(record.instance_type().map(sdk::InstanceType::as_str)),
        zone: some(placement.and_then(sdk::Placement::availability_zone)),
        vpc: some(record.vpc_id()),
        subnet: some(record.subnet_id()),
        private_dns_name: some(record.private_dns_name()),
        public_dns_name: some(record.public_dns_name()),
        public_ip: some(record.public_ip_address()),
        interfaces: record.network_interfaces().iter().map(interface).collect(),
        security_groups: group_ids(record.security_groups()),
        source_dest_check: record.source_dest_check(),
        tags: tags(record.tags()),
    }
}

fn interface(record: &sdk::InstanceNetworkInterface) -> Interface {
    let v4 = record.private_ip_addresses().iter();
    let v4 = v4.filter_map(|it| Some((it.primary() == Some(true), some(it.private_ip_address())?)));
    let v6 = record.ipv6_addresses().iter();
    let v6 =
        v6.filter_map(|it| Some((it.is_primary_ipv6() == Some(true), some(it.ipv6_address())?)));
    Interface {
        id: record.network_interface_id().unwrap_or_default().to_owned(),
        device_index: record
            .attachment()
            .and_then(sdk::InstanceNetworkInterfaceAttachment::device_index),
        is_in_use: record.status() == Some(&sdk::NetworkInterfaceStatus::InUse),
        private_ipv4s: in_order(v4.collect()),
        ipv6s: primary_first(v6.collect()),
        security_groups: group_ids(record.groups()),
        source_dest_check: record.source_dest_check(),
    }
}

/// The primary address first, the others in the order of their numbers: answers give them in any
/// order, and a Node's addresses must not change places by themselves.
pub(super) fn in_order(mut all: Vec<(bool, String)>) -> Vec<String> {
    all.sort_by_cached_key(|(is_primary, text)| {
        (!is_primary, text.parse::<std::net::IpAddr>().ok(), text.clone())
    });
    all.into_iter().map(|(_, text)| text).collect()
}

pub(super) fn primary_first(mut all: Vec<(bool, String)>) -> Vec<String> {
    all.sort_by_key(|(is_primary, _)| !is_primary);
    all.into_iter().map(|(_, text)| text).collect()
}

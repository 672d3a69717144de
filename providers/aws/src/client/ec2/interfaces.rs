//! `DescribeNetworkInterfaces`: what there is to see of a pod on Fargate.

use aws_sdk_ec2::types::{self as sdk, AttachmentStatus};
use ccm_core::cloud::{CloudError, Read};

use super::instances::{in_order, primary_first};
use super::{Condition, PAGE, filters, some};
use crate::actions::DESCRIBE_NETWORK_INTERFACES;
use crate::client::pages::pages;
use crate::client::{Client, read};

/// A network interface that stands by itself in an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FoundInterface {
    /// `eni-…`.
    pub(crate) id: String,
    pub(crate) attachment: Attachment,
    /// The availability zone's name.
    pub(crate) zone: Option<String>,
    pub(crate) vpc: Option<String>,
    pub(crate) subnet: Option<String>,
    pub(crate) private_dns_name: Option<String>,
    /// The primary one first.
    pub(crate) private_ipv4s: Vec<String>,
    /// The primary one first, where one is.
    pub(crate) ipv6s: Vec<String>,
}

/// Whether a network interface serves something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Attachment {
    /// It does.
    Attached,
    /// It is about to serve nothing any more.
    Detaching,
    /// It does not, or not yet.
    #[default]
    None,
}

impl Client {
    /// All network interfaces that fit.
    pub(crate) async fn find_interfaces(
        &self,
        cx: &Read,
        conditions: &[Condition<'_>],
    ) -> Result<Vec<FoundInterface>, CloudError> {
        let ec2 = &self.sdk()?.ec2;
        pages(|page| async {
            let ask = ec2
                .describe_network_interfaces()
                .set_filters(Some(filters(conditions)))
                .max_results(PAGE)
                .set_next_token(page);
            let answer = read(cx, &DESCRIBE_NETWORK_INTERFACES, ask.send()).await?;
            Ok((answer.network_interfaces().iter().map(found).collect(), answer.next_token))
        })
        .await
    }
}

fn found(record: &sdk::NetworkInterface) -> FoundInterface {
    let v4 = record.private_ip_addresses().iter();
    let v4 = v4.filter_map(|it| Some((it.primary() == Some(true), some(it.private_ip_address())?)));
    let v6 = record.ipv6_addresses().iter();
    let v6 =
        v6.filter_map(|it| Some((it.is_primary_ipv6() == Some(true), some(it.ipv6_address())?)));
    let mut private_ipv4s = in_order(v4.collect());
    if private_ipv4s.is_empty() {
        private_ipv4s.extend(some(record.private_ip_address()));
    }
    let attachment = match record.attachment().and_then(|it| it.status()) {
        Some(AttachmentStatus::Attached) => Attachment::Attached,
        Some(AttachmentStatus::Detaching) => Attachment::Detaching,
        _ => Attachment::None,
    };
    FoundInterface {
        id: record.network_interface_id().unwrap_or_default().to_owned(),
        attachment,
        zone: some(record.availability_zone()),
        vpc: some(record.vpc_id()),
        subnet: some(record.subnet_id()),
        private_dns_name: some(record.private_dns_name()),
        private_ipv4s,
        ipv6s: primary_first(v6.collect()),
    }
}

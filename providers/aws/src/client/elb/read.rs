//! Looking.

use std::collections::BTreeMap;

use aws_sdk_elasticloadbalancing::types as sdk;
use ccm_core::cloud::{CloudError, Read};

use super::super::{Client, read};
use super::{Attributes, LoadBalancer, convert};
use crate::actions::{DESCRIBE_CLASSIC, DESCRIBE_CLASSIC_ATTRIBUTES, DESCRIBE_CLASSIC_TAGS};
use crate::marks::Tags;

/// Load balancers on one page, the most that AWS gives.
const PAGE: i32 = 400;

/// How many load balancers' tags may be asked for at once.
pub(crate) const TAGS_AT_ONCE: usize = 20;

impl Client {
    /// All Classic Load Balancers of the region, by name.
    pub(crate) async fn classic_load_balancers(
        &self,
        cx: &Read,
    ) -> Result<BTreeMap<String, LoadBalancer>, CloudError> {
        let mut found = BTreeMap::new();
        let mut marker = None;
        loop {
            let request = self.sdk()?.elb.describe_load_balancers();
            let request = request.page_size(PAGE).set_marker(marker);
            let page = read(cx, &DESCRIBE_CLASSIC, request.send()).await?;
            let all = page.load_balancer_descriptions.unwrap_or_default().into_iter();
            found.extend(all.map(convert::load_balancer).map(|it| (it.name.clone(), it)));
            marker = page.next_marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                return Ok(found);
            }
        }
    }

    /// The tags of at most [`TAGS_AT_ONCE`] load balancers, by name. [`Kind::NotFound`] where one of
    /// them is not there.
    pub(crate) async fn classic_tags(
        &self,
        cx: &Read,
        names: Vec<String>,
    ) -> Result<BTreeMap<String, Tags>, CloudError> {
        let request = self.sdk()?.elb.describe_tags().set_load_balancer_names(Some(names));
        let answer = read(cx, &DESCRIBE_CLASSIC_TAGS, request.send()).await?;
        let pair = |tag: sdk::Tag| (tag.key, tag.value.unwrap_or_default());
        let of = |one: sdk::TagDescription| {
            let tags = one.tags.unwrap_or_default().into_iter().map(pair).collect();
            (one.load_balancer_name.unwrap_or_default(), tags)
        };
        Ok(answer.tag_descriptions.unwrap_or_default().into_iter().map(of).collect())
    }

    /// The attributes of a load balancer.
    pub(crate) async fn classic_attributes(
        &self,
        cx: &Read,
        name: &str,
    ) -> Result<Attributes, CloudError> {
        let request = self.sdk()?.elb.describe_load_balancer_attributes().load_balancer_name(name);
        let answer = read(cx, &DESCRIBE_CLASSIC_ATTRIBUTES, request.send()).await?;
        Ok(answer.load_balancer_attributes.map(convert::attributes).unwrap_or_default())
    }
}

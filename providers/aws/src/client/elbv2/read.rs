//! Looking.

use std::collections::BTreeSet;

use ccm_core::cloud::{CloudError, Kind, Read};

use super::super::{Client, read};
use super::{Attributes, Listener, LoadBalancer, TagsByArn, Target, TargetGroup, convert};
use crate::actions::{
    DESCRIBE_LISTENERS, DESCRIBE_LOAD_BALANCER_ATTRIBUTES, DESCRIBE_LOAD_BALANCERS, DESCRIBE_TAGS,
    DESCRIBE_TARGET_GROUP_ATTRIBUTES, DESCRIBE_TARGET_GROUPS, DESCRIBE_TARGET_HEALTH,
};

/// The most of a page that AWS gives.
const PAGE: i32 = 400;
/// The most resources that one `DescribeTags` may be about.
const TAGGED: usize = 20;

impl Client {
    /// All load balancers of the account in the region.
    pub(crate) async fn load_balancers(&self, cx: &Read) -> Result<Vec<LoadBalancer>, CloudError> {
        let mut all = Vec::new();
        let mut marker = None;
        loop {
            let request = self.sdk()?.elbv2.describe_load_balancers().page_size(PAGE);
            let request = request.set_marker(marker);
            let page = read(cx, &DESCRIBE_LOAD_BALANCERS, request.send()).await?;
            all.extend(
                page.load_balancers.unwrap_or_default().into_iter().map(convert::load_balancer),
            );
            marker = page.next_marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                return Ok(all);
            }
        }
    }

    /// All target groups of the account in the region.
    pub(crate) async fn target_groups(&self, cx: &Read) -> Result<Vec<TargetGroup>, CloudError> {
        let mut all = Vec::new();
        let mut marker = None;
        loop {
            let request = self.sdk()?.elbv2.describe_target_groups().page_size(PAGE);
            let request = request.set_marker(marker);
            let page = read(cx, &DESCRIBE_TARGET_GROUPS, request.send()).await?;
            all.extend(
                page.target_groups.unwrap_or_default().into_iter().map(convert::target_group),
            );
            marker = page.next_marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                return Ok(all);
            }
        }
    }

    /// The listeners of a load balancer. [`Kind::NotFound`] where it is gone.
    pub(crate) async fn listeners(
        &self,
        cx: &Read,
        balancer: &str,
    ) -> Result<Vec<Listener>, CloudError> {
        let mut all = Vec::new();
        let mut marker = None;
        loop {
            let request = self.sdk()?.elbv2.describe_listeners().load_balancer_arn(balancer);
            let request = request.page_size(PAGE).set_marker(marker);
            let page = read(cx, &DESCRIBE_LISTENERS, request.send()).await?;
            all.extend(page.listeners.unwrap_or_default().into_iter().map(convert::listener));
            marker = page.next_marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                return Ok(all);
            }
        }
    }

    /// The attributes of a load balancer. [`Kind::NotFound`] where it is gone.
    pub(crate) async fn load_balancer_attributes(
        &self,
        cx: &Read,
        balancer: &str,
    ) -> Result<Attributes, CloudError> {
        let request = self.sdk()?.elbv2.describe_load_balancer_attributes();
        let request = request.load_balancer_arn(balancer);
        let answer = read(cx, &DESCRIBE_LOAD_BALANCER_ATTRIBUTES, request.send()).await?;
        Ok(convert::attributes(answer.attributes, |it| (it.key, it.value)))
    }

    /// The attributes of a target group. [`Kind::NotFound`] where it is gone.
    pub(crate) async fn target_group_attributes(
        &self,
        cx: &Read,
        group: &str,
    ) -> Result<Attributes, CloudError> {
        let request = self.sdk()?.elbv2.describe_target_group_attributes();
        let request = request.target_group_arn(group);
        let answer = read(cx, &DESCRIBE_TARGET_GROUP_ATTRIBUTES, request.send()).await?;
        Ok(convert::attributes(answer.attributes, |it| (it.key, it.value)))
    }

    /// The targets of a group, whatever their health, without those that are on their way out.
    /// [`Kind::NotFound`] where the group is gone.
    pub(crate) async fn targets(
        &self,
        cx: &Read,
        group: &str,
    ) -> Result<BTreeSet<Target>, CloudError> {
        let request = self.sdk()?.elbv2.describe_target_health().target_group_arn(group);
        let answer = read(cx, &DESCRIBE_TARGET_HEALTH, request.send()).await?;
        let all = answer.target_health_descriptions.unwrap_or_default();
        Ok(all.into_iter().filter_map(convert::target).collect())
    }

    /// The tags of load balancers, listeners and target groups. What is gone is left out.
    pub(crate) async fn tags(&self, cx: &Read, arns: &[String]) -> Result<TagsByArn, CloudError> {
        let mut all = TagsByArn::new();
        for arns in arns.chunks(TAGGED) {
            match self.tags_of(cx, arns).await {
                Ok(some) => all.extend(some),
                // One that is gone spoils the answer for the others.
                Err(err) if err.kind() == Kind::NotFound => {
                    for arn in arns.iter().filter(|_| arns.len() > 1) {
                        match self.tags_of(cx, std::slice::from_ref(arn)).await {
                            Ok(some) => all.extend(some),
                            Err(err) if err.kind() == Kind::NotFound => {}
                            Err(err) => return Err(err),
                        }
                    }
                }
                Err(err) => return Err(err),
            }
        }
        Ok(all)
    }

    async fn tags_of(&self, cx: &Read, arns: &[String]) -> Result<TagsByArn, CloudError> {
        let request = self.sdk()?.elbv2.describe_tags().set_resource_arns(Some(arns.to_vec()));
        let answer = read(cx, &DESCRIBE_TAGS, request.send()).await?;
        let tags = |it: aws_sdk_elasticloadbalancingv2::types::TagDescription| {
            Some((it.resource_arn?, convert::tags(it.tags)))
        };
        Ok(answer.tag_descriptions.unwrap_or_default().into_iter().filter_map(tags).collect())
    }
}

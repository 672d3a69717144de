//! Changing.

use std::collections::BTreeSet;

use aws_sdk_elasticloadbalancingv2::operation::register_targets::RegisterTargetsError;
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, Certificate, LoadBalancerAttribute, LoadBalancerSchemeEnum,
    LoadBalancerTypeEnum, SubnetMapping, TargetGroupAttribute, TargetTypeEnum,
};
use ccm_core::cloud::{CloudError, Kind, Write};

use super::super::groups::gone_is_done;
use super::super::{Client, Taken, write};
use super::{
    Address, Attributes, HealthSettings, Listener, ListenerSettings, LoadBalancer, Protocol,
    Target, TargetGroup, convert,
};
use crate::actions::{
    ADD_TAGS, Action as Call, CREATE_LISTENER, CREATE_LOAD_BALANCER, CREATE_TARGET_GROUP,
    DELETE_LISTENER, DELETE_LOAD_BALANCER, DELETE_TARGET_GROUP, DEREGISTER_TARGETS,
    MODIFY_LISTENER, MODIFY_LOAD_BALANCER_ATTRIBUTES, MODIFY_TARGET_GROUP,
    MODIFY_TARGET_GROUP_ATTRIBUTES, REGISTER_TARGETS, SET_SECURITY_GROUPS,
};
use crate::marks::Tags;

/// A Network Load Balancer that is to be made.
#[derive(Debug)]
pub(crate) struct NewLoadBalancer<'a> {
    pub(crate) name: &'a str,
    pub(crate) is_internal: bool,
    /// `subnet-…`, each with the address to have there.
    pub(crate) subnets: &'a [(String, Option<Address>)],
    /// Empty: none, for good.
    pub(crate) security_groups: BTreeSet<String>,
    pub(crate) tags: &'a Tags,
}

/// A target group of instances that is to be made.
#[derive(Debug)]
pub(crate) struct NewTargetGroup<'a> {
    pub(crate) name: &'a str,
    pub(crate) vpc: &'a str,
    pub(crate) protocol: &'a Protocol,
    pub(crate) port: u16,
    pub(crate) health: &'a HealthSettings,
    pub(crate) tags: &'a Tags,
}

/// A listener that is to be made.
#[derive(Debug)]
pub(crate) struct NewListener<'a> {
    /// ARN.
    pub(crate) balancer: &'a str,
    pub(crate) port: u16,
    pub(crate) settings: &'a ListenerSettings,
    /// ARN.
    pub(crate) target_group: &'a str,
    pub(crate) tags: &'a Tags,
}

/// What is to be changed and is not there is [`Kind::NotFound`], but where that is said otherwise.
impl Client {
    /// Makes a load balancer. AWS gives the one that is there where all is alike, and says
    /// [`Kind::Conflict`] otherwise.
    pub(crate) async fn create_load_balancer(
        &self,
        cx: &Write,
        new: &NewLoadBalancer<'_>,
    ) -> Result<LoadBalancer, CloudError> {
        let mapping = |(subnet, address): &(String, Option<Address>)| {
            let mapping = SubnetMapping::builder().subnet_id(subnet);
            match address {
                Some(Address::Allocation(id)) => mapping.allocation_id(id),
                Some(Address::Private(ip)) => mapping.private_ipv4_address(ip.to_string()),
                None => mapping,
            }
            .build()
        };
        let groups: Vec<_> = new.security_groups.iter().cloned().collect();
        let request = self.sdk()?.elbv2.create_load_balancer().name(new.name);
        let request = request
            .r#type(LoadBalancerTypeEnum::Network)
            .set_scheme(new.is_internal.then_some(LoadBalancerSchemeEnum::Internal))
            .set_subnet_mappings(Some(new.subnets.iter().map(mapping).collect()))
            .set_security_groups((!groups.is_empty()).then_some(groups))
            .set_tags(Some(convert::tag_list(new.tags)));
        let made = write(cx, &CREATE_LOAD_BALANCER, request.send()).await?;
        let made = one(&CREATE_LOAD_BALANCER, made.load_balancers)?;
        Ok(convert::load_balancer(made))
    }

    /// Deletes a load balancer with its listeners. One that is gone already is success.
    pub(crate) async fn delete_load_balancer(
        &self,
        cx: &Write,
        balancer: &str,
    ) -> Result<(), CloudError> {
        let request = self.sdk()?.elbv2.delete_load_balancer().load_balancer_arn(balancer);
        gone_is_done(write(cx, &DELETE_LOAD_BALANCER, request.send()).await)
    }

    /// Sets the security groups of a load balancer that was made with some.
    pub(crate) async fn set_security_groups(
        &self,
        cx: &Write,
        balancer: &str,
        groups: &BTreeSet<String>,
    ) -> Result<(), CloudError> {
        let request = self.sdk()?.elbv2.set_security_groups().load_balancer_arn(balancer);
        let request = request.set_security_groups(Some(groups.iter().cloned().collect()));
        write(cx, &SET_SECURITY_GROUPS, request.send()).await.map(drop)
    }

    /// Sets attributes of a load balancer; others stay.
    pub(crate) async fn set_load_balancer_attributes(
        &self,
        cx: &Write,
        balancer: &str,
        attributes: &Attributes,
    ) -> Result<(), CloudError> {
        let request = self.sdk()?.elbv2.modify_load_balancer_attributes();
        let attribute = |(key, value): (&String, &String)| {
            LoadBalancerAttribute::builder().key(key).value(value).build()
        };
        let request = request.load_balancer_arn(balancer);
        let request = request.set_attributes(Some(attributes.iter().map(attribute).collect()));
        write(cx, &MODIFY_LOAD_BALANCER_ATTRIBUTES, request.send()).await.map(drop)
    }

    /// Makes a target group. AWS gives the one that is there where all is alike, and says
    /// [`Kind::Conflict`] otherwise.
    pub(crate) async fn create_target_group(
        &self,
        cx: &Write,
        new: &NewTargetGroup<'_>,
    ) -> Result<TargetGroup, CloudError> {
        let health = new.health;
        let request = self.sdk()?.elbv2.create_target_group().name(new.name).vpc_id(new.vpc);
        let request = request
            .protocol(convert::protocol_enum(new.protocol))
            .port(new.port.into())
            .target_type(TargetTypeEnum::Instance)
            .set_health_check_protocol(health.protocol.as_ref().map(convert::protocol_enum))
            .set_health_check_port(health.port.clone())
            .set_health_check_path(health.path.clone())
            .set_health_check_interval_seconds(number(health.interval))
            .set_health_check_timeout_seconds(number(health.timeout))
            .set_healthy_threshold_count(number(health.healthy))
            .set_unhealthy_threshold_count(number(health.unhealthy))
            .set_tags(Some(convert::tag_list(new.tags)));
        let made = write(cx, &CREATE_TARGET_GROUP, request.send()).await?;
        let made = one(&CREATE_TARGET_GROUP, made.target_groups)?;
        Ok(convert::target_group(made))
    }

    /// Changes the health check of a target group; what is not said stays.
    pub(crate) async fn modify_target_group(
        &self,
        cx: &Write,
        group: &str,
        health: &HealthSettings,
    ) -> Result<TargetGroup, CloudError> {
        let request = self.sdk()?.elbv2.modify_target_group().target_group_arn(group);
        let request = request
            .set_health_check_protocol(health.protocol.as_ref().map(convert::protocol_enum))
            .set_health_check_port(health.port.clone())
            .set_health_check_path(health.path.clone())
            .set_health_check_interval_seconds(number(health.interval))
            .set_health_check_timeout_seconds(number(health.timeout))
            .set_healthy_threshold_count(number(health.healthy))
            .set_unhealthy_threshold_count(number(health.unhealthy));
        let now = write(cx, &MODIFY_TARGET_GROUP, request.send()).await?;
        one(&MODIFY_TARGET_GROUP, now.target_groups).map(convert::target_group)
    }

    /// Sets attributes of a target group; others stay.
    pub(crate) async fn set_target_group_attributes(
        &self,
        cx: &Write,
        group: &str,
        attributes: &Attributes,
    ) -> Result<(), CloudError> {
        let request = self.sdk()?.elbv2.modify_target_group_attributes().target_group_arn(group);
        let attribute = |(key, value): (&String, &String)| {
            TargetGroupAttribute::builder().key(key).value(value).build()
        };
        let request = request.set_attributes(Some(attributes.iter().map(attribute).collect()));
        write(cx, &MODIFY_TARGET_GROUP_ATTRIBUTES, request.send()).await.map(drop)
    }

    /// Deletes a target group. One that is gone already is success; one that a listener uses is a
    /// [`Kind::Conflict`].
    pub(crate) async fn delete_target_group(
        &self,
        cx: &Write,
        group: &str,
    ) -> Result<(), CloudError> {
        let request = self.sdk()?.elbv2.delete_target_group().target_group_arn(group);
        gone_is_done(write(cx, &DELETE_TARGET_GROUP, request.send()).await)
    }

    /// Adds targets, all or none; those that are there already stay.
    pub(crate) async fn register_targets(
        &self,
        cx: &Write,
        group: &str,
        targets: &BTreeSet<Target>,
    ) -> Result<Taken, CloudError> {
        let request = self.sdk()?.elbv2.register_targets().target_group_arn(group);
        let request = request.set_targets(Some(convert::targets(targets)));
        let answer = write(cx, &REGISTER_TARGETS, request.send()).await;
        Taken::sort(answer, RegisterTargetsError::is_invalid_target_exception)
    }

    /// Lets targets go, once their connections have ended.
    pub(crate) async fn deregister_targets(
        &self,
        cx: &Write,
        group: &str,
        targets: &BTreeSet<Target>,
    ) -> Result<(), CloudError> {
        let request = self.sdk()?.elbv2.deregister_targets().target_group_arn(group);
        let request = request.set_targets(Some(convert::targets(targets)));
        write(cx, &DEREGISTER_TARGETS, request.send()).await.map(drop)
    }

    /// Makes a listener. [`Kind::Conflict`] where there is one at its port.
    pub(crate) async fn create_listener(
        &self,
        cx: &Write,
        new: &NewListener<'_>,
    ) -> Result<Listener, CloudError> {
        let request = self.sdk()?.elbv2.create_listener().load_balancer_arn(new.balancer);
        let request = request
            .port(new.port.into())
            .protocol(convert::protocol_enum(&new.settings.protocol))
            .set_certificates(certificates(new.settings))
            .set_ssl_policy(new.settings.policy.clone())
            .default_actions(forward(new.target_group))
            .set_tags(Some(convert::tag_list(new.tags)));
        let made = write(cx, &CREATE_LISTENER, request.send()).await?;
        one(&CREATE_LISTENER, made.listeners).map(convert::listener)
    }

    /// Changes a listener: all of it but its port, and a policy that is not said.
    pub(crate) async fn modify_listener(
        &self,
        cx: &Write,
        listener: &str,
        settings: &ListenerSettings,
        target_group: &str,
    ) -> Result<Listener, CloudError> {
        let request = self.sdk()?.elbv2.modify_listener().listener_arn(listener);
        let request = request
            .protocol(convert::protocol_enum(&settings.protocol))
            .set_certificates(certificates(settings))
            .set_ssl_policy(settings.policy.clone())
            .default_actions(forward(target_group));
        let now = write(cx, &MODIFY_LISTENER, request.send()).await?;
        one(&MODIFY_LISTENER, now.listeners).map(convert::listener)
    }

    /// Deletes a listener. One that is gone already is success.
    pub(crate) async fn delete_listener(
        &self,
        cx: &Write,
        listener: &str,
    ) -> Result<(), CloudError> {
        let request = self.sdk()?.elbv2.delete_listener().listener_arn(listener);
        gone_is_done(write(cx, &DELETE_LISTENER, request.send()).await)
    }

    /// Adds tags to a load balancer, a listener or a target group, or changes them. The request has a
    /// list of resources, of which AWS takes one.
    pub(crate) async fn add_tags(
        &self,
        cx: &Write,
        arn: &str,
        tags: &Tags,
    ) -> Result<(), CloudError> {
        let request = self.sdk()?.elbv2.add_tags().resource_arns(arn);
        let request = request.set_tags(Some(convert::tag_list(tags)));
        write(cx, &ADD_TAGS, request.send()).await.map(drop)
    }
}

fn certificates(settings: &ListenerSettings) -> Option<Vec<Certificate>> {
    let arn = settings.certificate.as_ref()?;
    Some(vec![Certificate::builder().certificate_arn(arn).build()])
}

fn forward(target_group: &str) -> Action {
    Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(target_group).build()
}

fn number(it: Option<u32>) -> Option<i32> {
    it.and_then(|it| it.try_into().ok())
}

fn one<T>(call: &Call, all: Option<Vec<T>>) -> Result<T, CloudError> {
    all.and_then(|all| all.into_iter().next()).ok_or_else(|| {
        let message = format!("{} was answered without what it made", call.name);
        CloudError::new(Kind::Unavailable, message)
    })
}

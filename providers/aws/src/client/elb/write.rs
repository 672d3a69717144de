//! Changing.

use std::collections::BTreeSet;

use aws_sdk_elasticloadbalancing::operation::register_instances_with_load_balancer as register;
use aws_sdk_elasticloadbalancing::types as sdk;
use ccm_core::cloud::{CloudError, Write};

use super::super::groups::gone_is_done;
use super::super::{Client, Taken, write};
use super::{Attributes, HealthCheck, Listener, convert};
use crate::actions::{
    ADD_CLASSIC_TAGS, APPLY_SECURITY_GROUPS, ATTACH_SUBNETS, CONFIGURE_HEALTH_CHECK,
    CREATE_CLASSIC, CREATE_CLASSIC_LISTENERS, CREATE_CLASSIC_POLICY, DELETE_CLASSIC,
    DELETE_CLASSIC_LISTENERS, DEREGISTER_INSTANCES, DETACH_SUBNETS, MODIFY_CLASSIC_ATTRIBUTES,
    REGISTER_INSTANCES, SET_BACKEND_POLICIES, SET_LISTENER_CERTIFICATE, SET_LISTENER_POLICIES,
};
use crate::marks::Tags;

/// What a load balancer is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewLoadBalancer<'a> {
    pub(crate) name: &'a str,
    pub(crate) internal: bool,
    pub(crate) listeners: &'a BTreeSet<Listener>,
    pub(crate) subnets: &'a BTreeSet<String>,
    pub(crate) groups: &'a BTreeSet<String>,
    pub(crate) tags: &'a Tags,
}

impl Client {
    /// Makes a load balancer and gives its DNS name. [`Kind::Conflict`] where there is one of that
    /// name.
    pub(crate) async fn create_classic(
        &self,
        cx: &Write,
        new: NewLoadBalancer<'_>,
    ) -> Result<String, CloudError> {
        let NewLoadBalancer { name, internal, listeners, subnets, groups, tags } = new;
        let request = self.sdk()?.elb.create_load_balancer().load_balancer_name(name);
        let request = request
            .set_listeners(Some(convert::listener_list(listeners)?))
            .set_subnets(list(subnets))
            .set_security_groups(list(groups))
            .set_tags(Some(convert::tag_list(tags.iter())?))
            .set_scheme(internal.then(|| "internal".to_owned()));
        let answer = write(cx, &CREATE_CLASSIC, request.send()).await?;
        Ok(answer.dns_name.unwrap_or_default())
    }

    /// Deletes a load balancer. One that is gone already is success.
    pub(crate) async fn delete_classic(&self, cx: &Write, name: &str) -> Result<(), CloudError> {
        let request = self.sdk()?.elb.delete_load_balancer().load_balancer_name(name);
        gone_is_done(write(cx, &DELETE_CLASSIC, request.send()).await)
    }

    /// Adds tags, or changes them.
    pub(crate) async fn tag_classic(
        &self,
        cx: &Write,
        name: &str,
        tags: &[(String, String)],
    ) -> Result<(), CloudError> {
        let tags = convert::tag_list(tags.iter().map(|(key, value)| (key, value)))?;
        let request = self.sdk()?.elb.add_tags().load_balancer_names(name).set_tags(Some(tags));
        write(cx, &ADD_CLASSIC_TAGS, request.send()).await.map(drop)
    }

    /// Adds subnets. Those that it is in are success.
    pub(crate) async fn attach_subnets(
        &self,
        cx: &Write,
        name: &str,
        subnets: &BTreeSet<String>,
    ) -> Result<(), CloudError> {
        let request = self.sdk()?.elb.attach_load_balancer_to_subnets().load_balancer_name(name);
        let request = request.set_subnets(list(subnets));
        write(cx, &ATTACH_SUBNETS, request.send()).await.map(drop)
    }

    /// Takes subnets away. Those that it is not in are success.
    pub(crate) async fn detach_subnets(
        &self,
        cx: &Write,
        name: &str,
        subnets: &BTreeSet<String>,
    ) -> Result<(), CloudError> {
        let request = self.sdk()?.elb.detach_load_balancer_from_subnets().load_balancer_name(name);
        let request = request.set_subnets(list(subnets));
        write(cx, &DETACH_SUBNETS, request.send()).await.map(drop)
    }

    /// Sets the security groups; others go.
    pub(crate) async fn set_classic_groups(
        &self,
        cx: &Write,
        name: &str,
        groups: &BTreeSet<String>,
    ) -> Result<(), CloudError> {
        let elb = &self.sdk()?.elb;
        let request = elb.apply_security_groups_to_load_balancer().load_balancer_name(name);
        let request = request.set_security_groups(list(groups));
        write(cx, &APPLY_SECURITY_GROUPS, request.send()).await.map(drop)
    }

    /// Adds listeners. [`Kind::Conflict`] where there is another on one of the ports.
    pub(crate) async fn create_classic_listeners(
        &self,
        cx: &Write,
        name: &str,
        listeners: &BTreeSet<Listener>,
    ) -> Result<(), CloudError> {
        let request = self.sdk()?.elb.create_load_balancer_listeners().load_balancer_name(name);
        let request = request.set_listeners(Some(convert::listener_list(listeners)?));
        write(cx, &CREATE_CLASSIC_LISTENERS, request.send()).await.map(drop)
    }

    /// Takes the listeners of these ports away. Those that are gone already are success.
    pub(crate) async fn delete_classic_listeners(
        &self,
        cx: &Write,
        name: &str,
        ports: &BTreeSet<u16>,
    ) -> Result<(), CloudError> {
        let request = self.sdk()?.elb.delete_load_balancer_listeners().load_balancer_name(name);
        let ports = ports.iter().map(|port| i32::from(*port)).collect();
        let request = request.set_load_balancer_ports(Some(ports));
        write(cx, &DELETE_CLASSIC_LISTENERS, request.send()).await.map(drop)
    }

    /// Makes a policy, which works nowhere before it is set. [`Kind::Conflict`] where there is one of
    /// that name with other attributes.
    pub(crate) async fn create_classic_policy(
        &self,
        cx: &Write,
        load_balancer: &str,
        name: &str,
        kind: &str,
        (key, value): (&str, &str),
    ) -> Result<(), CloudError> {
        let attribute =
            sdk::PolicyAttribute::builder().attribute_name(key).attribute_value(value).build();
        let request =
            self.sdk()?.elb.create_load_balancer_policy().load_balancer_name(load_balancer);
        let request = request.policy_name(name).policy_type_name(kind).policy_attributes(attribute);
        write(cx, &CREATE_CLASSIC_POLICY, request.send()).await.map(drop)
    }

    /// Sets the policies for what is sent to this port of the nodes; others go.
    pub(crate) async fn set_backend_policies(
        &self,
        cx: &Write,
        name: &str,
        port: u16,
        policies: &BTreeSet<String>,
    ) -> Result<(), CloudError> {
        let elb = &self.sdk()?.elb;
        let request = elb.set_load_balancer_policies_for_backend_server().load_balancer_name(name);
        let request = request.instance_port(port.into()).set_policy_names(list(policies));
        write(cx, &SET_BACKEND_POLICIES, request.send()).await.map(drop)
    }

    /// Gives a listener another certificate, by ARN.
    pub(crate) async fn set_listener_certificate(
        &self,
        cx: &Write,
        name: &str,
        port: u16,
        certificate: &str,
    ) -> Result<(), CloudError> {
        let elb = &self.sdk()?.elb;
        let request = elb.set_load_balancer_listener_ssl_certificate().load_balancer_name(name);
        let request = request.load_balancer_port(port.into()).ssl_certificate_id(certificate);
        write(cx, &SET_LISTENER_CERTIFICATE, request.send()).await.map(drop)
    }

    /// Sets the policies of a listener; others go.
    pub(crate) async fn set_listener_policies(
        &self,
        cx: &Write,
        name: &str,
        port: u16,
        policies: &BTreeSet<String>,
    ) -> Result<(), CloudError> {
        let elb = &self.sdk()?.elb;
        let request = elb.set_load_balancer_policies_of_listener().load_balancer_name(name);
        let request = request.load_balancer_port(port.into()).set_policy_names(list(policies));
        write(cx, &SET_LISTENER_POLICIES, request.send()).await.map(drop)
    }

    /// Sets how nodes are asked whether they are well.
    pub(crate) async fn configure_health_check(
        &self,
        cx: &Write,
        name: &str,
        check: &HealthCheck,
    ) -> Result<(), CloudError> {
        let request = self.sdk()?.elb.configure_health_check().load_balancer_name(name);
        let request = request.health_check(convert::health_check_request(check)?);
        write(cx, &CONFIGURE_HEALTH_CHECK, request.send()).await.map(drop)
    }

    /// Sets the attributes.
    pub(crate) async fn modify_classic_attributes(
        &self,
        cx: &Write,
        name: &str,
        attributes: &Attributes,
    ) -> Result<(), CloudError> {
        let attributes = convert::attributes_request(attributes)?;
        let request = self.sdk()?.elb.modify_load_balancer_attributes();
        let request = request.load_balancer_name(name).load_balancer_attributes(attributes);
        write(cx, &MODIFY_CLASSIC_ATTRIBUTES, request.send()).await.map(drop)
    }

    /// Adds instances, all or none. Those that are there are success.
    pub(crate) async fn register_instances(
        &self,
        cx: &Write,
        name: &str,
        instances: &BTreeSet<String>,
    ) -> Result<Taken, CloudError> {
        let elb = &self.sdk()?.elb;
        let request = elb.register_instances_with_load_balancer().load_balancer_name(name);
        let request = request.set_instances(Some(convert::instance_list(instances)));
        let answer = write(cx, &REGISTER_INSTANCES, request.send()).await;
        Taken::sort(
            answer,
            register::RegisterInstancesWithLoadBalancerError::is_invalid_end_point_exception,
        )
    }

    /// Takes instances away. Those that are not there are success.
    pub(crate) async fn deregister_instances(
        &self,
        cx: &Write,
        name: &str,
        instances: &BTreeSet<String>,
    ) -> Result<(), CloudError> {
        let elb = &self.sdk()?.elb;
        let request = elb.deregister_instances_from_load_balancer().load_balancer_name(name);
        let request = request.set_instances(Some(convert::instance_list(instances)));
        write(cx, &DEREGISTER_INSTANCES, request.send()).await.map(drop)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what the SDK's setters take")]
fn list(texts: &BTreeSet<String>) -> Option<Vec<String>> {
    Some(texts.iter().cloned().collect())
}

//! Sends a change.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_elasticloadbalancing::operation::set_load_balancer_listener_ssl_certificate as renew;
use ccm_core::cloud::{CloudError, Kind, Write};
use futures::FutureExt;

use super::change::{ClassicChange, Policy, What};
use super::foresee;
use super::observe::{ClassicRoom, Found};
use super::wish::group_ids;
use crate::client::elb::NewLoadBalancer;
use crate::error;
use crate::ground::Ground;
use crate::load_balancers::change::vanished;
use crate::load_balancers::observe::Own;
use crate::load_balancers::refusals::sift;

/// Sends a change. What is then there, where its success says so.
pub(crate) async fn apply(
    ground: &Ground,
    room: &ClassicRoom,
    cx: &Write,
    change: &ClassicChange,
    own: &Own,
) -> Result<Option<Found>, CloudError> {
    let answer = vanished(send(ground, room, cx, change, own).await)?;
    let mut now = foresee::after(change, &own.classic, &own.surroundings.groups);
    let Some(have) = now.as_mut().and_then(|now| now.balancer.as_mut()) else { return Ok(now) };
    match (answer, &change.what) {
        (Answer::Made(dns_name), _) => have.it.dns_name = dns_name,
        (Answer::Registered(refused), What::Register(ids)) => {
            have.it.instances.retain(|id| !refused.contains_key(id));
            let refused = refused.iter().map(|(id, why)| (id, why.clone())).collect();
            have.refused = room.refusals.note(&change.name, ids.iter(), refused);
        }
        (Answer::Done | Answer::Registered(_), _) => {}
    }
    Ok(now)
}

/// What an answer says beside success.
enum Answer {
    Done,
    /// The DNS name of what was made.
    Made(String),
    /// The instances that AWS did not take, with what it says.
    Registered(BTreeMap<String, String>),
}

async fn send(
    ground: &Ground,
    room: &ClassicRoom,
    cx: &Write,
    change: &ClassicChange,
    own: &Own,
) -> Result<Answer, CloudError> {
    let (client, name) = (&ground.client, change.name.as_str());
    let ids = |refs| {
        group_ids(refs, &own.surroundings.groups).ok_or_else(|| {
            let message =
                format!("the security group of load balancer {name} is not there any more");
            CloudError::new(Kind::Conflict, message)
        })
    };
    match &change.what {
        What::Create(blueprint) => {
            let (groups, tags) =
                (ids(&blueprint.groups)?, blueprint.tags.iter().cloned().collect());
            let new = NewLoadBalancer {
                name,
                internal: blueprint.internal,
                listeners: &blueprint.listeners,
                subnets: &blueprint.subnets,
                groups: &groups,
                tags: &tags,
            };
            return client.create_classic(cx, new).await.map(Answer::Made);
        }
        What::Tag(tags) => client.tag_classic(cx, name, tags).await?,
        What::Attach(subnets) => client.attach_subnets(cx, name, subnets).await?,
        What::Detach(subnets) => client.detach_subnets(cx, name, subnets).await?,
        What::SetGroups(groups) => client.set_classic_groups(cx, name, &ids(groups)?).await?,
        What::DeleteListeners { ports, .. } => {
            client.delete_classic_listeners(cx, name, ports).await?;
        }
        What::CreateListeners(listeners) => {
            client.create_classic_listeners(cx, name, listeners).await?;
        }
        What::CreatePolicy(policy) => {
            let (kind, attribute) = match policy {
                Policy::Proxy => ("ProxyProtocolPolicyType", ("ProxyProtocol", "true")),
                Policy::Tls(reference) => {
                    ("SSLNegotiationPolicyType", ("Reference-Security-Policy", reference.as_str()))
                }
            };
            client.create_classic_policy(cx, name, &policy.name(), kind, attribute).await?;
        }
        What::SetBackend { node_port, policies } => {
            client.set_backend_policies(cx, name, *node_port, policies).await?;
        }
        What::SetCertificate { port, certificate } => {
            let sent = client.set_listener_certificate(cx, name, *port, certificate).await;
            sent.map_err(|err| {
                let code = error::code::<renew::SetLoadBalancerListenerSSLCertificateError>(&err)
                    .map(str::to_owned);
                room.certificates.note(err, code.as_deref())
            })?;
        }
        What::SetListener { port, policies } => {
            client.set_listener_policies(cx, name, *port, policies).await?;
        }
        What::SetAttributes(attributes) => {
            client.modify_classic_attributes(cx, name, attributes).await?;
        }
        What::SetHealthCheck(check) => client.configure_health_check(cx, name, check).await?,
        What::Register(ids) => {
            let register = |some: BTreeSet<String>| {
                async move { client.register_instances(cx, name, &some).await }.boxed()
            };
            return sift(ids, register).await.map(Answer::Registered);
        }
        What::Deregister(ids) => client.deregister_instances(cx, name, ids).await?,
        What::Delete => client.delete_classic(cx, name).await?,
    }
    Ok(Answer::Done)
}

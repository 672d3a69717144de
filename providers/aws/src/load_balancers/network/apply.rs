//! Carrying changes out: one request for each.

use std::collections::BTreeSet;

use ccm_core::cloud::{CloudError, Kind, Write};
use futures::FutureExt;

use super::super::change::vanished;
use super::super::groups;
use super::super::observe::Own;
use super::super::refusals::{Refused, sift};
use super::change::{NetworkChange, Piece, Shield};
use super::found::{Balancer, Claim, Ear, Found, Group};
use super::observe::NetworkRoom;
use crate::client::Client;
use crate::client::elbv2::{
    Attributes, NewListener, NewLoadBalancer, NewTargetGroup, Target, TargetGroup,
};
use crate::client::groups::SecurityGroup;
use crate::ground::Ground;
use crate::marks::Tags;

/// Sends a change. What is then there, where the answer says so.
pub(crate) async fn apply(
    ground: &Ground,
    room: &NetworkRoom,
    cx: &Write,
    change: &NetworkChange,
    own: &Own,
) -> Result<Option<Found>, CloudError> {
    vanished(send(ground, room, cx, change, own).await)
}

async fn send(
    ground: &Ground,
    room: &NetworkRoom,
    cx: &Write,
    change: &NetworkChange,
    own: &Own,
) -> Result<Option<Found>, CloudError> {
    let (home, client) = (ground.home()?, &ground.client);
    let found = &own.network;
    let mut now = found.clone();
    match change {
        NetworkChange::Create { name, is_internal, subnets, security_groups, tags } => {
            let security_groups = ids(security_groups, &own.surroundings.groups)?;
            let is_internal = *is_internal;
            let new = NewLoadBalancer { name, is_internal, subnets, security_groups, tags };
            let it = client.create_load_balancer(cx, &new).await?;
            let (tags, attributes) = (tags.clone(), Attributes::new());
            now.balancer = Some(Balancer { it, tags, attributes, listeners: [].into() });
        }
        NetworkChange::Protect { security_groups, .. } => {
            let ids = ids(security_groups, &own.surroundings.groups)?;
            client.set_security_groups(cx, &balancer(found)?.it.arn, &ids).await?;
            now.balancer.iter_mut().for_each(|it| it.it.security_groups.clone_from(&ids));
        }
        NetworkChange::SetAttributes { attributes, .. } => {
            let arn = &balancer(found)?.it.arn;
            client.set_load_balancer_attributes(cx, arn, attributes).await?;
            now.balancer.iter_mut().for_each(|it| it.attributes.extend(attributes.clone()));
        }
        NetworkChange::Tag { piece, tags } => {
            client.add_tags(cx, &arn(found, piece)?, tags).await?;
            tag(&mut now, piece, tags);
        }
        NetworkChange::CreateGroup { name, protocol, node_port, health, tags } => {
            let (vpc, port) = (&home.vpc, *node_port);
            let new = NewTargetGroup { name, vpc, protocol, port, health, tags };
            let it = client.create_target_group(cx, &new).await?;
            now.groups.insert(name.clone(), new_group(it, tags.clone()));
        }
        NetworkChange::SetHealth { group: name, health } => {
            let arn = &group(found, name)?.it.arn;
            let it = client.modify_target_group(cx, arn, health).await?;
            if let Some(group) = now.groups.get_mut(name) {
                group.it = TargetGroup { load_balancers: group.it.load_balancers.clone(), ..it };
            }
        }
        NetworkChange::SetGroupAttributes { group: name, attributes } => {
            let arn = &group(found, name)?.it.arn;
            client.set_target_group_attributes(cx, arn, attributes).await?;
            now.groups
                .entry(name.clone())
                .and_modify(|it| it.attributes.extend(attributes.clone()));
        }
        NetworkChange::Register { group: name, targets } => {
            register(client, room, cx, (&group(found, name)?.it.arn, name, targets), &mut now)
                .await?;
        }
        NetworkChange::Deregister { group: name, targets } => {
            client.deregister_targets(cx, &group(found, name)?.it.arn, targets).await?;
            with_targets(&mut now, name, |have| have.retain(|it| !targets.contains(it)));
        }
        NetworkChange::CreateListener { port, settings, group: name, tags, .. } => {
            let (balancer, target_group) = (&balancer(found)?.it.arn, &group(found, name)?.it.arn);
            let new = NewListener { balancer, port: *port, settings, target_group, tags };
            let it = client.create_listener(cx, &new).await?;
            if let Some(balancer) = &mut now.balancer {
                balancer.listeners.insert(*port, Ear { it, tags: Some(tags.clone()) });
            }
        }
        NetworkChange::SetListener { port, settings, group: name, .. } => {
            let ear = ear(found, *port)?;
            let target_group = &group(found, name)?.it.arn;
            let it = client.modify_listener(cx, &ear.it.arn, settings, target_group).await?;
            if let Some(ear) = now.balancer.as_mut().and_then(|it| it.listeners.get_mut(port)) {
                ear.it = it;
            }
        }
        NetworkChange::DeleteListener { port, .. } => {
            if let Ok(ear) = ear(found, *port) {
                client.delete_listener(cx, &ear.it.arn).await?;
            }
            if let Some(balancer) = &mut now.balancer {
                balancer.listeners.remove(port);
            }
        }
        NetworkChange::DeleteGroup { name } => {
            if let Some(group) = found.groups.get(name) {
                client.delete_target_group(cx, &group.it.arn).await?;
            }
            now.groups.remove(name);
        }
        NetworkChange::Delete { .. } => {
            if let Some(balancer) = &found.balancer {
                delete(client, cx, balancer).await?;
            }
            now.balancer = None;
        }
    }
    // The last piece that we know of: a look says whether there are others.
    Ok((!now.is_empty()).then_some(now))
}

/// Adds targets, without those that AWS does not take.
async fn register(
    client: &Client,
    room: &NetworkRoom,
    cx: &Write,
    (arn, name, targets): (&String, &String, &BTreeSet<Target>),
    now: &mut Found,
) -> Result<(), CloudError> {
    let register = |some: BTreeSet<Target>| {
        async move { client.register_targets(cx, arn, &some).await }.boxed()
    };
    let refused = sift(targets, register).await?;
    let taken = targets.iter().filter(|it| !refused.contains_key(it));
    with_targets(now, name, |have| have.extend(taken.cloned()));
    let refused = refused.iter().map(|(target, why)| (&target.id, why.clone())).collect();
    let refused = room.refusals.note(arn, targets.iter().map(|it| &it.id), refused);
    now.groups.entry(name.clone()).and_modify(|it| it.refused = refused);
    Ok(())
}

/// A target group that has just been made.
fn new_group(it: TargetGroup, tags: Tags) -> Group {
    let (targets, refused, attributes) = (Some(BTreeSet::new()), Refused::new(), Attributes::new());
    Group { it, claim: Claim::Ours, tags, targets, refused, attributes }
}

/// Says it where a load balancer is protected, which AWS calls an operation that is not permitted.
async fn delete(client: &Client, cx: &Write, balancer: &Balancer) -> Result<(), CloudError> {
    let arn = &balancer.it.arn;
    let Err(err) = client.delete_load_balancer(cx, arn).await else { return Ok(()) };
    if !matches!(err.kind(), Kind::PermissionDenied | Kind::InvalidConfiguration) {
        return Err(err);
    }
    let have = client.load_balancer_attributes(cx, arn).await;
    let is_on = |have: Attributes| have.get(PROTECTION).is_some_and(|text| text == "true");
    if !have.is_ok_and(is_on) {
        return Err(err);
    }
    let message = format!(
        "Network Load Balancer {} is protected from deletion: set its attribute {PROTECTION} to false",
        balancer.it.name
    );
    Err(CloudError::new(Kind::InvalidConfiguration, message).with_source(err))
}

const PROTECTION: &str = "deletion_protection.enabled";

fn missing(what: impl std::fmt::Display) -> CloudError {
    CloudError::new(Kind::Conflict, format!("{what} is not there any more"))
}

fn balancer(found: &Found) -> Result<&Balancer, CloudError> {
    found.balancer.as_ref().ok_or_else(|| missing("the Network Load Balancer"))
}

fn group<'a>(found: &'a Found, name: &str) -> Result<&'a Group, CloudError> {
    found.groups.get(name).ok_or_else(|| missing(format_args!("target group {name}")))
}

fn ear(found: &Found, port: u16) -> Result<&Ear, CloudError> {
    let ear = balancer(found)?.listeners.get(&port);
    ear.ok_or_else(|| missing(format_args!("the listener at port {port}")))
}

fn arn(found: &Found, piece: &Piece) -> Result<String, CloudError> {
    match piece {
        Piece::Balancer(_) => balancer(found).map(|it| it.it.arn.clone()),
        Piece::Group(name) => group(found, name).map(|it| it.it.arn.clone()),
        Piece::Listener(_, port) => ear(found, *port).map(|it| it.it.arn.clone()),
    }
}

fn tag(now: &mut Found, piece: &Piece, tags: &crate::marks::Tags) {
    let have = match piece {
        Piece::Balancer(_) => now.balancer.as_mut().map(|it| &mut it.tags),
        Piece::Group(name) => now.groups.get_mut(name).map(|it| &mut it.tags),
        Piece::Listener(_, port) => now
            .balancer
            .as_mut()
            .and_then(|it| it.listeners.get_mut(port))
            .and_then(|it| it.tags.as_mut()),
    };
    if let Some(have) = have {
        have.extend(tags.clone());
    }
}

fn with_targets(now: &mut Found, name: &str, change: impl FnOnce(&mut BTreeSet<Target>)) {
    if let Some(have) = now.groups.get_mut(name).and_then(|group| group.targets.as_mut()) {
        change(have);
    }
}

/// The security groups by ID: the one that was made for the load balancer is known by its name.
fn ids(wanted: &Shield, groups: &[SecurityGroup]) -> Result<BTreeSet<String>, CloudError> {
    match wanted {
        Shield::None => Ok(BTreeSet::new()),
        Shield::These(ids) => Ok(ids.clone()),
        Shield::Own(name) => match groups::find(groups, name) {
            Some(group) => Ok(BTreeSet::from([group.id.clone()])),
            None => Err(missing(format_args!("security group {name}"))),
        },
    }
}

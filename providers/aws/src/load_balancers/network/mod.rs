//! Network Load Balancers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ccm_core::cloud::{CloudError, Effect, ObjectId, Read, Write};

use super::draft::Draft;
use super::members::Members;
use super::observe::Own;
use super::site::Site;
use super::wish::Wish;
use crate::config::Config;
use crate::ground::Ground;

/// What is kept between looks.
#[derive(Debug, Default)]
pub(crate) struct NetworkRoom {}

/// What AWS has of Network Load Balancers for one Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {}

/// A change of a Network Load Balancer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum NetworkChange {
    /// Deletes it.
    Delete { name: String },
}

impl NetworkChange {
    pub(crate) fn effect(&self) -> Effect {
        Effect::Delete
    }
}

impl fmt::Display for NetworkChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delete { name } => write!(f, "delete Network Load Balancer {name}"),
        }
    }
}

impl Found {
    /// Whether nothing is there.
    pub(crate) fn is_empty(&self) -> bool {
        true
    }

    /// Whether it is there and bears [`MANAGED_KEY`](crate::marks::MANAGED_KEY). `None`: it is not there.
    pub(crate) fn is_managed(&self) -> Option<bool> {
        None
    }

    /// Its address, once it has one.
    pub(crate) fn hostname(&self) -> Option<&str> {
        None
    }
}

/// Looks. `wish` says what else is worth a look; without one only what a tear-down needs.
pub(crate) async fn observe(
    _ground: &Ground,
    _room: &NetworkRoom,
    _cx: &Read,
    _id: &ObjectId,
    _wish: Option<&Wish<'_>>,
) -> Result<Found, CloudError> {
    Ok(Found::default())
}

/// What it takes that it is as asked for. An error refuses the Service, and nothing is done.
pub(crate) fn build(
    _site: &Site<'_>,
    _wish: &Wish<'_>,
    _members: &Members,
    _found: &Found,
    _draft: &mut Draft,
) -> Result<(), CloudError> {
    Ok(())
}

/// It keeps what it has, but nodes come and go.
pub(crate) fn keep(_members: &Members, _found: &Found, _draft: &mut Draft) {}

/// Takes it away, with its security group.
pub(crate) fn down(_site: &Site<'_>, _found: &Found, _draft: &mut Draft) {}

/// Marks what is there as [`MANAGED`](crate::marks::MANAGED_KEY).
pub(crate) fn mark(_found: &Found) -> Option<NetworkChange> {
    None
}

/// Sends a change. What the unit is then, where the answer says so.
pub(crate) async fn apply(
    _ground: &Ground,
    _cx: &Write,
    _change: &NetworkChange,
    _own: &Own,
) -> Result<Option<Found>, CloudError> {
    Ok(None)
}

/// The subnets of every Network Load Balancer, by its name.
pub(crate) async fn places(
    _ground: &Ground,
    _room: &NetworkRoom,
    _cx: &Read,
) -> Result<BTreeMap<String, BTreeSet<String>>, CloudError> {
    Ok(BTreeMap::new())
}

/// The ports at which nodes are asked whether they are well. `None`: the annotations make no sense.
pub(crate) fn health_ports(_config: &Config, _wish: &Wish<'_>) -> Option<BTreeSet<u16>> {
    None
}

/// Of load balancers of these names, those that bear [`MANAGED_KEY`](crate::marks::MANAGED_KEY).
pub(crate) async fn managed(
    _ground: &Ground,
    _room: &NetworkRoom,
    _cx: &Read,
    _names: &BTreeSet<String>,
) -> Result<BTreeSet<String>, CloudError> {
    Ok(BTreeSet::new())
}

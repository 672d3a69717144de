//! What AWS has of Network Load Balancers for one Service.

use std::collections::{BTreeMap, BTreeSet};

use super::super::names;
use super::super::refusals::Refused;
use crate::client::elbv2::{
    Attributes, Listener, LoadBalancer, Protocol, State, Target, TargetGroup,
};
use crate::ground::Cluster;
use crate::marks::{MANAGED_KEY, SERVICE_KEY, Tags};
use ccm_core::cloud::ObjectId;

/// What AWS has for one Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The Service's own.
    pub(super) balancer: Option<Balancer>,
    /// Why the load balancer that bears the Service's name is somebody else's, where it is.
    pub(super) taken: Option<String>,
    /// By name: those of the load balancer, those that were left behind, and those in the way.
    pub(super) groups: BTreeMap<String, Group>,
}

/// A load balancer with what hangs on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Balancer {
    pub(super) it: LoadBalancer,
    pub(super) tags: Tags,
    pub(super) attributes: Attributes,
    /// By port: AWS has one at each.
    pub(super) listeners: BTreeMap<u16, Ear>,
}

/// A listener with its tags, as far as anybody asked for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ear {
    pub(super) it: Listener,
    pub(super) tags: Option<Tags>,
}

/// A target group with what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(super) it: TargetGroup,
    pub(super) claim: Claim,
    /// Empty where it is another's.
    pub(super) tags: Tags,
    /// Those that are not on their way out. `None`: nobody asked, for no traffic goes there.
    pub(super) targets: Option<BTreeSet<Target>>,
    /// Those that AWS did not take, and which are not tried for now.
    pub(super) refused: Refused,
    /// Empty where nobody asked.
    pub(super) attributes: Attributes,
}

/// Whose a target group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// This Service's, by its tags, or by being on its load balancer without any cluster's.
    Ours,
    /// Another Service's of this cluster, maybe an earlier one of this name: it is on another load
    /// balancer, or bears another UID.
    Elsewhere,
    /// Somebody's who must not be touched.
    Others,
}

/// Who asks whose a target group is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claimant<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) id: &'a ObjectId,
    /// Whether it goes while another Service of its namespace and name is there: what bears no UID
    /// may be that one's.
    pub(super) yields: bool,
}

impl Claimant<'_> {
    /// Judges a group by its tags. `mounted` is its name where it is on the Service's load balancer: the
    /// oldest have no tags.
    pub(super) fn judge(&self, tags: &Tags, mounted: Option<&str>) -> Claim {
        let Self { cluster, id, yields } = *self;
        let service = tags.get(SERVICE_KEY);
        if cluster.has(tags) {
            if let Some(uid) = tags.get(MANAGED_KEY) {
                return if uid == id.uid.as_str() { Claim::Ours } else { Claim::Elsewhere };
            }
            // The Go program's groups bear no UID.
            if service.is_some_and(|text| *text == id.to_string()) {
                return if yields && mounted.is_none() { Claim::Elsewhere } else { Claim::Ours };
            }
        }
        let is_nobodys = service.is_none() && !cluster.has(tags) && !cluster.is_anothers(tags);
        match mounted {
            Some(name) if is_nobodys && name.starts_with(&names::short_prefix(id)) => Claim::Ours,
            Some(_) | None => Claim::Others,
        }
    }
}

impl Found {
    /// Whether nothing of the Service's is there.
    pub(crate) fn is_empty(&self) -> bool {
        self.balancer.is_none() && self.groups.values().all(|group| group.claim != Claim::Ours)
    }

    /// Whether it is there and bears [`MANAGED_KEY`]. `None`: it is not there.
    pub(crate) fn is_managed(&self) -> Option<bool> {
        self.balancer.as_ref().map(|it| it.tags.contains_key(MANAGED_KEY))
    }

    /// The subnets that it is in.
    pub(crate) fn subnets(&self) -> Option<BTreeSet<String>> {
        Some(self.balancer.as_ref()?.it.subnets.keys().cloned().collect())
    }

    /// Ports that are served without TLS.
    pub(crate) fn plain_ports(&self) -> BTreeSet<u16> {
        let listeners = self.balancer.iter().flat_map(|it| &it.listeners);
        let plain = listeners.filter(|(_, ear)| ear.it.settings.protocol != Protocol::Tls);
        plain.map(|(port, _)| *port).collect()
    }

    /// Its address. AWS gives it at once, and it can be resolved soon after.
    pub(crate) fn hostname(&self) -> Option<&str> {
        let it = &self.balancer.as_ref()?.it;
        match it.state {
            State::Usable => it.dns_name.as_deref(),
            State::Failed(_) => None,
        }
    }

    /// The target group of this ARN.
    pub(super) fn by_arn(&self, arn: &str) -> Option<&Group> {
        self.groups.values().find(|group| group.it.arn == arn)
    }

    /// The target groups that a listener forwards to, as far as they are there.
    pub(super) fn groups_of(&self, listener: &Listener) -> impl Iterator<Item = &Group> {
        listener.target_groups.iter().filter_map(|arn| self.by_arn(arn))
    }

    /// The listeners in the order of their ports.
    pub(super) fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.balancer.iter().flat_map(|it| it.listeners.values()).map(|ear| &ear.it)
    }
}

//! By what our routes are known, beside the tags that all our pieces bear.

use ccm_core::cloud::Uid;
use ipnet::IpNet;
use simcloud::api::{OWNER_TAG, Route};

use super::Scope;

/// The name of a route, for people.
pub(crate) fn name(owner: &Uid, destination: IpNet) -> String {
    let family = match destination {
        IpNet::V4(_) => "ipv4",
        IpNet::V6(_) => "ipv6",
    };
    format!("{owner}-{family}")
}

/// The UID in a route's mark.
pub(crate) fn owner(route: &Route) -> Option<Uid> {
    route.tags.get(OWNER_TAG).map(|owner| Uid::from(owner.as_str()))
}

impl Scope {
    /// Whether a route bears this cluster's mark.
    pub(crate) fn is_ours(&self, route: &Route) -> bool {
        self.marks.is_of_cluster(&route.tags)
    }

    /// Whether it bears this cluster's mark and this owner's.
    pub(crate) fn is_of(&self, route: &Route, of: &Uid) -> bool {
        self.is_ours(route) && owner(route).as_ref() == Some(of)
    }
}

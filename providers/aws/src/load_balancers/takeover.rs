//! Whether a Service was changed since it was taken over.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use ccm_core::cloud::{LoadBalancerSpec, ObjectId, Want};

use super::annotations::PREFIX;

/// What annotations begin with that may say something about a load balancer.
const ANNOTATIONS: &str = "service.beta.kubernetes.io/";

/// How what a Service asks for differs from what it asked for when it was first seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// In anything.
    pub(crate) any: bool,
    /// In the kind of load balancer: the text of its annotation.
    pub(crate) kind: bool,
}

/// What each Service asked for when it was first seen.
///
/// What the Go program left goes with the next change of a Service, and some changes are about nothing
/// else: tags, or the time-out of health checks. In memory: a change that nobody saw is not
/// known to be one.
#[derive(Debug, Default)]
pub(crate) struct FirstSeen(Mutex<HashMap<ObjectId, Asked>>);

#[derive(Debug, PartialEq, Eq)]
struct Asked {
    all: u64,
    kind: Option<String>,
}

impl FirstSeen {
    /// Whether it asks for something else than when it was first seen, which may be now. One that
    /// is going is forgotten.
    pub(crate) fn change_of(&self, want: &Want<LoadBalancerSpec>) -> Change {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let spec = match want {
            Want::Present(spec) => spec,
            Want::Keep(_) => return Change::default(),
            Want::Absent(_) => {
                all.remove(want.id());
                return Change::default();
            }
        };
        let kind = spec.identity.annotations.get(&format!("{PREFIX}type")).cloned();
        let now = Asked { all: fingerprint(spec), kind };
        match all.entry(spec.identity.id.clone()) {
            Entry::Occupied(first) => {
                let first = first.get();
                Change { any: first.all != now.all, kind: first.kind != now.kind }
            }
            Entry::Vacant(place) => {
                place.insert(now);
                Change::default()
            }
        }
    }
}

/// Of what its owner says of it.
fn fingerprint(spec: &LoadBalancerSpec) -> u64 {
    let mut hasher = DefaultHasher::new();
    spec.ports.hash(&mut hasher);
    spec.external_traffic_policy.hash(&mut hasher);
    spec.health_check_node_port.hash(&mut hasher);
    spec.client_ip_affinity.hash(&mut hasher);
    spec.requested_address.hash(&mut hasher);
    spec.source_ranges.hash(&mut hasher);
    let said = spec.identity.annotations.iter();
    said.filter(|(key, _)| key.starts_with(ANNOTATIONS)).for_each(|pair| pair.hash(&mut hasher));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rstest::rstest;

    use super::*;
    use crate::load_balancers::samples::{absent, from, local, present, spec};

    const NONE: Change = Change { any: false, kind: false };
    const ANY: Change = Change { any: true, kind: false };
    const KIND: Change = Change { any: true, kind: true };

    #[rstest]
    #[case::the_same(spec("web", &[80], &[]), NONE)]
    #[case::another_port(spec("web", &[80, 81], &[]), ANY)]
    #[case::an_annotation(spec("web", &[80], &[("additional-resource-tags", "a=b")]), ANY)]
    #[case::kind(spec("web", &[80], &[("type", "nlb")]), KIND)]
    #[case::ranges(from(spec("web", &[80], &[]), &["10.0.0.0/8"]), ANY)]
    #[case::policy(local(spec("web", &[80], &[])), ANY)]
    #[case::another_service(spec("shop", &[81], &[]), NONE)]
    fn a_change_is_one_of_what_is_asked_for(#[case] now: LoadBalancerSpec, #[case] change: Change) {
        let (seen, now) = (FirstSeen::default(), Want::Present(Arc::new(now)));
        assert_eq!(seen.change_of(&present(spec("web", &[80], &[]))), NONE);
        assert_eq!(seen.change_of(&now), change);
        assert_eq!(seen.change_of(&now), change, "it stays one");
        assert_eq!(seen.change_of(&now.kept()), NONE);
    }

    #[test]
    fn one_that_went_is_seen_anew() {
        let seen = FirstSeen::default();
        for port in [80, 81] {
            assert_eq!(seen.change_of(&present(spec("web", &[port], &[]))), NONE);
            seen.change_of(&absent("web"));
        }
    }
}

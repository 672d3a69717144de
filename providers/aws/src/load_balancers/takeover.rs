//! Whether a Service was changed since it was taken over.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use ccm_core::cloud::{LoadBalancerSpec, ObjectId};

/// What annotations begin with that may say something about a load balancer.
const ANNOTATIONS: &str = "service.beta.kubernetes.io/";

/// What each Service asked for when it was first seen.
///
/// What the Go program left goes with the next change of a Service, and some changes are about nothing
/// else: tags, or the time-out of health checks. In memory: a change that nobody saw is not
/// known to be one.
#[derive(Debug, Default)]
pub(crate) struct FirstSeen(Mutex<HashMap<ObjectId, u64>>);

impl FirstSeen {
    /// Whether it asks for something else than when it was first seen, which may be now.
    pub(crate) fn is_changed(&self, spec: &LoadBalancerSpec) -> bool {
        let now = fingerprint(spec);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *all.entry(spec.identity.id.clone()).or_insert(now) != now
    }

    /// It is going.
    pub(crate) fn forget(&self, id: &ObjectId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
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
    use rstest::rstest;

    use super::*;
    use crate::load_balancers::samples::{from, id, local, spec};

    #[rstest]
    #[case::the_same(spec("web", &[80], &[]), false)]
    #[case::another_port(spec("web", &[80, 81], &[]), true)]
    #[case::an_annotation(spec("web", &[80], &[("additional-resource-tags", "a=b")]), true)]
    #[case::ranges(from(spec("web", &[80], &[]), &["10.0.0.0/8"]), true)]
    #[case::policy(local(spec("web", &[80], &[])), true)]
    #[case::another_service(spec("shop", &[81], &[]), false)]
    fn a_change_is_one_of_what_is_asked_for(#[case] now: LoadBalancerSpec, #[case] is_one: bool) {
        let seen = FirstSeen::default();
        assert!(!seen.is_changed(&spec("web", &[80], &[])));
        assert_eq!(seen.is_changed(&now), is_one);
        assert_eq!(seen.is_changed(&now), is_one, "it stays one");
    }

    #[test]
    fn one_that_went_is_seen_anew() {
        let seen = FirstSeen::default();
        assert!(!seen.is_changed(&spec("web", &[80], &[])));
        seen.forget(&id("web"));
        assert!(!seen.is_changed(&spec("web", &[81], &[])));
    }
}

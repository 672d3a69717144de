//! Which Services of one namespace and name are there, one after the other.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use ccm_core::cloud::{LoadBalancerSpec, Uid, Want};

/// The Services that are wanted, by namespace and name.
///
/// There are two of one name where somebody took the first one's finalizer away and made it again:
/// the first goes while the second comes. The Go program's target groups do not say of which of
/// them they are. In memory: a process that starts finds the second alone, and what it makes itself
/// bears the UID.
#[derive(Debug, Default)]
pub(crate) struct Namesakes(Mutex<HashMap<Name, BTreeSet<Uid>>>);

type Name = (Arc<str>, Arc<str>);

impl Namesakes {
    /// Notes what is wanted, and says whether this one goes while another of its name is there.
    pub(crate) fn see(&self, want: &Want<LoadBalancerSpec>) -> bool {
        let id = want.id();
        let name = (Arc::clone(&id.namespace), Arc::clone(&id.name));
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match want {
            Want::Present(_) => {
                all.entry(name).or_default().insert(id.uid.clone());
                false
            }
            Want::Absent(_) => {
                let Some(uids) = all.get_mut(&name) else { return false };
                uids.remove(&id.uid);
                let is_alone = uids.is_empty();
                if is_alone {
                    all.remove(&name);
                }
                !is_alone
            }
            // Nothing of it goes.
            Want::Keep(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use ccm_core::cloud::Identity;

    use super::*;
    use crate::load_balancers::samples::{absent, keep, present, spec};

    /// The same with another UID.
    fn later(want: &Want<LoadBalancerSpec>) -> Want<LoadBalancerSpec> {
        let mut identity = Identity::clone(want.identity());
        identity.id.uid = Uid::from("uid-later");
        match want {
            Want::Present(_) => present(LoadBalancerSpec::new(identity)),
            Want::Absent(_) => Want::Absent(identity.into()),
            Want::Keep(_) => Want::Keep(identity.into()),
        }
    }

    #[test]
    fn who_goes_gives_way_to_who_is_there() {
        let (there, gone) = (present(spec("web", &[80], &[])), absent("web"));
        let all = Namesakes::default();
        assert!(!all.see(&gone), "nobody else was seen");
        assert!(!all.see(&there) && !all.see(&keep("web")));
        assert!(!all.see(&gone), "it was there itself");
        assert!(!all.see(&there) && !all.see(&later(&there)), "who is there gives way to nobody");
        assert!(!all.see(&absent("shop")), "that is another name");
        assert!(all.see(&gone) && all.see(&gone), "and not once only");
        assert!(!all.see(&later(&gone)), "the last one");
        assert!(all.0.lock().unwrap().is_empty());
    }
}

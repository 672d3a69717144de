//! What was made of load balancers a moment ago, which AWS may not show yet to those who list them.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::node_rules::Balancers;
use super::observe::Own;
use crate::client::kept::LAG;

/// Load balancers by their names, with what the last change has made of them. In memory: another process
/// sends that change again.
#[derive(Debug, Default)]
pub(crate) struct Latest(Mutex<HashMap<String, (Instant, Place)>>);

#[derive(Debug)]
struct Place {
    /// The subnets of the Network Load Balancer of that name.
    network: Option<BTreeSet<String>>,
    /// The security groups of the Classic one.
    classic: Option<Vec<String>>,
}

impl Latest {
    /// A change has just made this of it.
    pub(crate) fn note(&self, name: String, own: &Own) {
        let now = Instant::now();
        let place = Place { network: own.network.subnets(), classic: own.classic.groups() };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (since, _)| now < *since + LAG);
        all.insert(name, (now, place));
    }

    /// Nobody knows what a change has made of it.
    pub(crate) fn forget(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Puts right what a list may show as it was before.
    pub(crate) fn put_right(&self, listed: &mut Balancers) {
        let now = Instant::now();
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, (_, place)) in all.iter().filter(|(_, (since, _))| now < *since + LAG) {
            match &place.network {
                Some(subnets) => _ = listed.networks.insert(name.clone(), subnets.clone()),
                None => _ = listed.networks.remove(name),
            }
            match &place.classic {
                Some(groups) => _ = listed.classics.insert(name.clone(), groups.clone()),
                None => _ = listed.classics.remove(name),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_just_done_counts_more_than_what_is_listed() {
        let listed = || {
            let mut listed = Balancers::default();
            listed.classics.insert("a".to_owned(), vec!["sg-old".to_owned()]);
            listed.networks.insert("b".to_owned(), BTreeSet::from(["subnet-a".to_owned()]));
            listed
        };
        let latest = Latest::default();
        let seen = || {
            let mut listed = listed();
            latest.put_right(&mut listed);
            (listed.classics.contains_key("a"), listed.networks.contains_key("b"))
        };
        assert_eq!(seen(), (true, true));
        latest.note("a".to_owned(), &Own::default());
        assert_eq!(seen(), (false, true), "it is gone");
        latest.forget("a");
        assert_eq!(seen(), (true, true));
        latest.note("a".to_owned(), &Own::default());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(seen(), (false, true));
        tokio::time::advance(LAG).await;
        assert_eq!(seen(), (true, true), "it is there again, or was never gone");
    }
}

//! The IDs of zones, which are the same in every account where their names are not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ccm_core::cloud::Read;
use ccm_core::report::Chain;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::EXTRA_LIMIT;
use crate::client::Client;

/// From one question about a zone that nobody knows to the next one.
const PAUSE: Duration = Duration::from_mins(10);

/// After a question that failed.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_mins(1);

/// The zones' IDs by their names. Kept for the life of the process, and asked for again where a
/// name is not among them.
#[derive(Debug, Default)]
pub(super) struct ZoneIds(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    ids: BTreeMap<String, String>,
    /// Before that nothing is asked.
    not_before: Option<Instant>,
}

impl Known {
    fn is_to_ask(&self, wanted: &BTreeSet<&str>, now: Instant) -> bool {
        let is_unknown = |zone: &&str| !self.ids.contains_key(*zone);
        wanted.iter().any(is_unknown) && self.not_before.is_none_or(|then| now >= then)
    }
}

impl ZoneIds {
    /// The IDs of these zones, as far as they are to be had: a zone without one is no reason to hold
    /// up a node.
    pub(super) async fn of(
        &self,
        client: &Client,
        cx: &Read,
        wanted: &BTreeSet<&str>,
    ) -> BTreeMap<String, String> {
        // Those who come meanwhile wait for the one answer.
        let mut known = self.0.lock().await;
        if known.is_to_ask(wanted, Instant::now()) {
            let answer = timeout(EXTRA_LIMIT, client.zones(cx)).await;
            let pause = match answer {
                Ok(Ok(zones)) => {
                    let ids = zones.into_iter().filter_map(|(name, zone)| Some((name, zone.id?)));
                    known.ids.extend(ids);
                    PAUSE
                }
                Ok(Err(err)) => {
                    warn!(error = %Chain(&err), "the IDs of zones are not known");
                    PAUSE_AFTER_FAILURE
                }
                Err(_) => {
                    warn!("the IDs of zones are not known: the cloud does not answer in time");
                    PAUSE_AFTER_FAILURE
                }
            };
            known.not_before = Some(Instant::now() + pause);
        }
        let of = |zone: &&str| Some(((*zone).to_owned(), known.ids.get(*zone)?.clone()));
        wanted.iter().filter_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_asked_where_something_is_not_known_and_not_too_often() {
        let now = Instant::now();
        let mut known = Known::default();
        assert!(!known.is_to_ask(&[].into(), now), "nothing is wanted");
        assert!(known.is_to_ask(&["a"].into(), now), "nothing is known");
        known.ids.insert("a".to_owned(), "1".to_owned());
        known.not_before = Some(now + PAUSE);
        assert!(!known.is_to_ask(&["a"].into(), now), "all is known");
        assert!(!known.is_to_ask(&["a", "b"].into(), now), "it was asked just now");
        assert!(known.is_to_ask(&["a", "b"].into(), now + PAUSE));
    }
}

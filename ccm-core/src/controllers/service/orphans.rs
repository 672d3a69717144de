//! What bears our mark in the cloud and belongs to no Service. It is reported, never swept: another
//! cluster may bear the same name.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use tracing::{debug, warn};

use super::ServiceController;
use crate::cloud::{Owned, Uid};
use crate::report::Chain;

/// After the start, so that what is on its way is not taken for lost.
const FIRST: Duration = Duration::from_mins(5);

/// Things that one log line names.
const NAMED: usize = 20;

impl ServiceController {
    /// Looks now and then, and says what there is.
    pub(super) async fn report_orphans(&self) {
        let mut pause = FIRST.min(self.settings.drift);
        let mut kinds: HashSet<&'static str> = HashSet::new();
        let mut before = Vec::new();
        loop {
            tokio::time::sleep(pause).await;
            pause = self.settings.drift;
            let orphans = match self.orphans().await {
                Ok(orphans) => orphans,
                Err(err) => {
                    debug!(error = %Chain(&err), "cannot look for what belongs to nobody");
                    continue;
                }
            };
            let mut counts: BTreeMap<&'static str, usize> =
                kinds.iter().map(|kind| (*kind, 0)).collect();
            for orphan in &orphans {
                *counts.entry(orphan.kind).or_default() += 1;
            }
            for (kind, count) in counts {
                kinds.insert(kind);
                self.metrics.orphans(kind, count);
            }
            if !orphans.is_empty() && orphans != before {
                let named: Vec<_> = orphans.iter().take(NAMED).map(name).collect();
                warn!(
                    count = orphans.len(),
                    what = named.join(", "),
                    "in the cloud with our mark, and of no Service here: left alone"
                );
            }
            before = orphans;
        }
    }

    /// Pieces in the cloud whose owner is no Service that we know.
    pub async fn orphans(&self) -> Result<Vec<Owned>, crate::cloud::CloudError> {
        let pieces = self.engine.inventory().await?;
        // After the look: whoever made a piece was known before it.
        let services = self.services.all();
        let ids = self.engine.ids();
        let known: HashSet<&Uid> = services
            .iter()
            .map(|service| &service.uid)
            .chain(ids.iter().map(|id| &id.uid))
            .collect();
        Ok(unowned(pieces, &known))
    }
}

/// Those that name an owner, which is none of these.
fn unowned(pieces: Vec<Owned>, known: &HashSet<&Uid>) -> Vec<Owned> {
    let is_orphan =
        |piece: &Owned| piece.owner.as_ref().is_some_and(|owner| !known.contains(owner));
    pieces.into_iter().filter(is_orphan).collect()
}

fn name(piece: &Owned) -> String {
    let owner = piece.owner.as_ref().map(Uid::as_str).unwrap_or_default();
    format!("{} {} (of {owner})", piece.kind, piece.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_names_an_owner_that_nobody_knows_is_an_orphan() {
        let piece = |id: &str, owner: Option<&str>| Owned {
            kind: "address",
            id: id.to_owned(),
            owner: owner.map(Uid::from),
        };
        let pieces = vec![piece("a", Some("known")), piece("b", Some("lost")), piece("c", None)];
        let known = Uid::from("known");
        let orphans = unowned(pieces, &[&known].into());
        assert_eq!(orphans, [piece("b", Some("lost"))]);
    }
}

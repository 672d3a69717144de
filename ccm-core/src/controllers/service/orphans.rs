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
        let names = services.iter().map(|service| service.key.to_string());
        let names: HashSet<_> = names.chain(ids.iter().map(ToString::to_string)).collect();
        Ok(unowned(pieces, &known, &names))
    }
}

/// Those that name an owner, which is none of these.
fn unowned(pieces: Vec<Owned>, known: &HashSet<&Uid>, names: &HashSet<String>) -> Vec<Owned> {
    let is_orphan = |piece: &Owned| match (&piece.owner, &piece.object) {
        (Some(owner), _) => !known.contains(owner),
        (None, Some(name)) => !names.contains(name),
        (None, None) => false,
    };
    pieces.into_iter().filter(is_orphan).collect()
}

fn name(piece: &Owned) -> String {
    let owner = piece.owner.as_ref().map(Uid::as_str).or(piece.object.as_deref());
    format!("{} {} (of {})", piece.kind, piece.id, owner.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_names_an_owner_that_nobody_knows_is_an_orphan() {
        let piece = |id: &str, owner: Option<&str>, object: Option<&str>| Owned {
            kind: "address",
            id: id.to_owned(),
            owner: owner.map(Uid::from),
            object: object.map(str::to_owned),
        };
        let pieces = vec![
            piece("a", Some("known"), None),
            piece("b", Some("lost"), Some("shop/web")),
            piece("c", None, None),
            piece("d", None, Some("shop/web")),
            piece("e", None, Some("shop/gone")),
        ];
        let known = Uid::from("known");
        let orphans = unowned(pieces, &[&known].into(), &["shop/web".to_owned()].into());
        assert_eq!(orphans.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["b", "e"]);
    }
}

//! Routes of nodes that went while nobody looked: a Node has no finalizer that would hold it until
//! its routes are gone.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info, warn};

use super::RouteController;
use super::desk::name_of;
use crate::cloud::{CloudError, Identity, NodeName, ObjectId, Owned, Uid, Want};
use crate::report::Chain;

/// After the start: what waits for a route goes first.
const FIRST: Duration = Duration::from_secs(2);

/// Things that one log line names.
const NAMED: usize = 20;

/// Routes that no node has.
#[derive(Debug, Default)]
pub(super) struct Strays {
    /// Whose they were: no Node of today, or one without pod ranges.
    pub(super) owners: Vec<Arc<Identity>>,
    /// They name no owner, so it is not known that nobody needs them.
    pub(super) unowned: Vec<Owned>,
}

impl RouteController {
    /// Looks now and then, and has them taken away.
    pub(super) async fn clear_strays(&self) {
        let mut pause = FIRST.min(self.settings.drift);
        let mut before = Vec::new();
        loop {
            tokio::time::sleep(pause).await;
            pause = self.settings.drift;
            let strays = match self.strays().await {
                Ok(strays) => strays,
                Err(err) => {
                    debug!(error = %Chain(&err), "cannot look for routes of nobody");
                    pause = pause.min(Duration::from_mins(1));
                    continue;
                }
            };
            for owner in strays.owners {
                info!(node = %owner.id, uid = %owner.id.uid, "routes of a node that is gone");
                self.clear_away(owner);
            }
            self.metrics.strays(strays.unowned.len());
            if !strays.unowned.is_empty() && strays.unowned != before {
                let named: Vec<_> =
                    strays.unowned.iter().take(NAMED).map(|it| it.id.as_str()).collect();
                warn!(
                    count = strays.unowned.len(),
                    what = named.join(", "),
                    "routes with our mark that name no owner: left alone"
                );
            }
            before = strays.unowned;
        }
    }

    /// Has the routes of this owner taken away, and remembers it until they are.
    pub(super) fn clear_away(&self, owner: Arc<Identity>) {
        let name = name_of(&owner.id);
        {
            let mut files = self.desk.files();
            let file = files.entry(name.clone()).or_default();
            let is_current = file.current.as_ref().is_some_and(|it| it.id == owner.id);
            if !is_current && file.former.iter().all(|it| it.id != owner.id) {
                file.former.push(Arc::clone(&owner));
            }
        }
        self.engine.want(Want::Absent(owner), 0);
    }

    /// Routes in the cloud that no node has.
    pub(super) async fn strays(&self) -> Result<Strays, CloudError> {
        let routes = self.engine.inventory().await?;
        // After the look: whoever's routes were made was known before it.
        let nodes = self.nodes.all();
        let with_ranges = nodes.iter().filter(|node| !node.pod_cidrs.is_empty());
        let wanted = self.engine.ids();
        let known: HashSet<&Uid> =
            with_ranges.map(|node| &node.uid).chain(wanted.iter().map(|id| &id.uid)).collect();
        let (owners, unowned) = sort_out(routes, &known);
        let name = |uid: &Uid| {
            let node = nodes.iter().find(|node| node.uid == *uid);
            node.map_or_else(|| NodeName::from(uid.as_str()), |node| node.name.clone())
        };
        let owners = owners.into_iter().map(|uid| Arc::new(identity_of(&name(&uid), &uid)));
        Ok(Strays { owners: owners.collect(), unowned })
    }
}

/// The owners that nobody knows, each once, and the routes that name none.
fn sort_out(routes: Vec<Owned>, known: &HashSet<&Uid>) -> (Vec<Uid>, Vec<Owned>) {
    let mut owners = Vec::new();
    let mut seen = HashSet::new();
    let mut unowned = Vec::new();
    for route in routes {
        match &route.owner {
            None => unowned.push(route),
            Some(owner) if known.contains(owner) => {}
            Some(owner) => {
                if seen.insert(owner.clone()) {
                    owners.push(owner.clone());
                }
            }
        }
    }
    (owners, unowned)
}

/// A node as an object that something is wanted for.
pub(super) fn identity_of(name: &NodeName, uid: &Uid) -> Identity {
    let id = ObjectId { namespace: "".into(), name: name.as_str().into(), uid: uid.clone() };
    Identity { id, annotations: BTreeMap::new(), finalizers: BTreeSet::new(), ingress: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_node_is_gone_goes_and_what_names_nobody_stays() {
        let route = |id: &str, owner: Option<&str>| Owned {
            kind: "route",
            id: id.to_owned(),
            owner: owner.map(Uid::from),
            object: None,
        };
        let known = Uid::from("known");
        let routes = vec![
            route("a", Some("known")),
            route("b", Some("gone")),
            route("c", Some("gone")),
            route("d", None),
        ];
        let (owners, unowned) = sort_out(routes, &[&known].into());
        assert_eq!(owners, [Uid::from("gone")]);
        assert_eq!(unowned, [route("d", None)]);
    }
}

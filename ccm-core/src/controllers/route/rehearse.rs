//! What would be done about all routes, with nothing of it done.

use std::collections::BTreeMap;

use super::RouteController;
use super::decide::Told;
use super::desk::File;
use crate::cloud::{CloudError, NodeName, Owned};
use crate::controllers::rehearsal::{Intended, Line};
use crate::converge::Rehearsed;

/// What would be done about all routes.
#[derive(Debug)]
pub struct Rehearsal {
    /// In the cloud.
    pub cloud: Vec<Rehearsed>,
    /// In the cluster.
    pub cluster: Vec<Intended>,
    /// Routes in the cloud that bear our mark and name no owner: left alone.
    pub unowned: Result<Vec<Owned>, CloudError>,
}

impl RouteController {
    /// Thinks it all through. Needs the watch, but neither [`run`](Self::run) nor leave to write.
    pub async fn rehearse(&self) -> Rehearsal {
        self.prepare().await;
        let unowned = match self.strays().await {
            Ok(strays) => {
                for owner in strays.owners {
                    self.clear_away(owner);
                }
                Ok(strays.unowned)
            }
            Err(err) => Err(err),
        };
        let cloud = self.engine.dry().await;
        let mut nodes: BTreeMap<NodeName, _> = BTreeMap::new();
        nodes.extend(self.nodes.all().into_iter().map(|node| (node.name.clone(), node)));
        let intended = nodes.values().filter_map(|node| {
            let told = self.decide(node, &self.look(node), &File::default()).tell?;
            let object = format!("Node {}", node.name);
            Some(Intended { object, lines: vec![line(&told, node.network_unavailable.is_some())] })
        });
        Rehearsal { cloud, cluster: intended.collect(), unowned }
    }
}

fn line(told: &Told, is_there: bool) -> Line {
    let (status, reason) = (told.status.as_str(), told.reason);
    let text = format!("condition NetworkUnavailable: {status} {reason}: {}", told.message);
    if is_there { Line::change(text) } else { Line::add(text) }
}

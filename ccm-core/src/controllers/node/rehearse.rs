//! What would be done about all Nodes, with nothing of it done.

use std::time::Duration;

use super::decide::{Changes, Decision, Knowledge, decide};
use crate::cloud::{CloudProvider, Needs, Urgency};
use crate::cluster::keys;
use crate::cluster::nodes::Nodes;
use crate::controllers::rehearsal::{Intended, Line};
use crate::fleet::Fleet;

/// Thinks it through for every Node, in the order of their names.
pub async fn rehearse(
    nodes: &Nodes,
    fleet: &Fleet,
    cloud: &dyn CloudProvider,
    needs: &Needs,
) -> Vec<Intended> {
    let mut all = nodes.all();
    all.retain(|node| !node.deleting);
    all.sort_by(|one, other| one.name.cmp(&other.name));
    let identities: Vec<_> = all.iter().map(|node| node.identity(needs)).collect();
    let sightings = fleet.look(identities.clone(), Duration::ZERO, Urgency::Refresh).await;
    let each = all.iter().zip(&identities).zip(sightings);
    let intended = each.filter_map(|((node, identity), sighting)| {
        let knowledge = Knowledge {
            belongs: &cloud.belongs(identity),
            observation: &sighting.observation,
            own_label_prefixes: needs.own_label_prefixes,
            replaced: false,
            announced: false,
            // The rehearsal of the routes says what it comes to.
            routed: false,
        };
        let lines = match decide(node, knowledge) {
            Decision::Leave => return None,
            Decision::Wait(wait) => {
                vec![Line::later(format!("initialisation: {}", wait.known.message))]
            }
            Decision::Write(changes) => lines(&changes),
        };
        (!lines.is_empty()).then(|| Intended { object: format!("Node {}", node.name), lines })
    });
    intended.collect()
}

fn lines(changes: &Changes) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(addresses) = &changes.status.addresses {
        let texts: Vec<_> = addresses.iter().map(|entry| format!("{entry:?}")).collect();
        lines.push(Line::change(format!("addresses: {}", texts.join(", "))));
    }
    if let Some(known) = &changes.status.known {
        let (status, reason) = (known.status.as_str(), known.reason);
        lines.push(Line::change(format!("condition {}: {status} {reason}", keys::INSTANCE_KNOWN)));
    }
    if let Some(id) = &changes.main.provider_id {
        lines.push(Line::add(format!("spec.providerID: {id}")));
    }
    for (key, value) in &changes.main.labels {
        lines.push(Line::change(format!("label {key}: {value}")));
    }
    if !changes.main.remove_taints.is_empty() {
        lines.push(Line::remove(format!("taint {}", keys::TAINT_UNINITIALIZED)));
    }
    lines
}

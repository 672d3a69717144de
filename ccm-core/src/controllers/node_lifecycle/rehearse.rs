//! What would be done about Nodes whose machines are stopped or gone, with nothing of it done.

use std::time::Duration;

use tokio::time::Instant;

use super::case::{Case, Fate};
use super::decide::{Next, Rules, Write, is_open, next};
use crate::cloud::{Ask, Belongs, CloudProvider, Needs, Urgency};
use crate::cluster::keys;
use crate::cluster::nodes::Nodes;
use crate::controllers::rehearsal::{Intended, Line};
use crate::fleet::Fleet;

/// Thinks it through for every Node, in the order of their names. A deletion needs a direct answer
/// some seconds later, so the most that is said of one is that it may come.
pub async fn rehearse(
    nodes: &Nodes,
    fleet: &Fleet,
    cloud: &dyn CloudProvider,
    needs: &Needs,
) -> Vec<Intended> {
    let mut all = nodes.all();
    all.retain(|node| {
        node.provider_id.is_some()
            && is_open(node)
            && cloud.belongs(&node.identity(needs)) == Belongs::Ours
    });
    all.sort_by(|one, other| one.name.cmp(&other.name));
    let identities: Vec<_> = all.iter().map(|node| node.identity(needs)).collect();
    let sightings = fleet.look(identities, Duration::ZERO, Urgency::Refresh).await;
    let now = Instant::now();
    let rules = Rules { min_age: Duration::ZERO, terminated_is_final: false };
    let intended = all.iter().zip(sightings).filter_map(|(node, sighting)| {
        let mut case = Case::new(node.uid.clone(), now, now);
        case.saw(Ask::Look, &sighting, now);
        let line = match next(node, &case, &rules, now) {
            Next::Write(Write::AddTaint) => Line::add(format!("taint {}", keys::TAINT_SHUTDOWN)),
            Next::Write(Write::RemoveTaint(_)) => {
                Line::remove(format!("taint {}", keys::TAINT_SHUTDOWN))
            }
            Next::Leave | Next::Look | Next::Confirm { .. } | Next::Write(_) => match case.fate {
                Fate::Suspected { .. } | Fate::Confirmed { .. } if !node.is_ready() => Line::later(
                    "deletion: the cloud does not have its instance; the Node goes if a direct \
                     question is answered so too, it is old enough and the budget allows it"
                        .to_owned(),
                ),
                _ => return None,
            },
        };
        Some(Intended { object: format!("Node {}", node.name), lines: vec![line] })
    });
    intended.collect()
}

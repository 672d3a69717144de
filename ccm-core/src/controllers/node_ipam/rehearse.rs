//! Which nodes would be given ranges, with nothing of it done.

use std::time::Duration;

use tokio::time::Instant;

use super::decide::{Network, by_the_cloud, usual};
use super::desk::Desk;
use super::ledger::Want;
use super::others::Others;
use super::{Settings, Source, pools};
use crate::cloud::{Belongs, Urgency};
use crate::cluster::node::Node;
use crate::cluster::nodes::Nodes;
use crate::controllers::node_ipam::decide::{Decision, Outlook, Wait, decide};
use crate::controllers::rehearsal::{Intended, Line};
use crate::telemetry::IpamMetrics;

/// Thinks it through for every Node, in the order of their names. In which order they would be served
/// is not said: which node gets which range may come out differently.
pub async fn rehearse(nodes: &Nodes, settings: &Settings) -> Vec<Intended> {
    let mut all = nodes.all();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    let mut desk = Desk::new(
        pools(&settings.source),
        &settings.kept_free,
        Others::new(Duration::ZERO),
        IpamMetrics::unread(),
    );
    for node in &all {
        desk.shows(node);
    }
    let mut intended = Vec::new();
    for node in &all {
        let want = wanted(node, settings, &desk).await;
        if want.is_none() && node.pod_cidrs.is_empty() {
            continue;
        }
        let outlook = match want {
            Some(Ok(want)) => desk.claim(node, &want, Instant::now()).0,
            Some(Err(why)) => Outlook::Refused(why),
            None => Outlook::NotOurs,
        };
        let is_foreign = settings.strangers.as_ref().is_some_and(|others| others.has(node));
        let lines = match decide(node, outlook, settings.network, is_foreign) {
            Decision::Give(ranges) => {
                let texts: Vec<_> = ranges.iter().map(ToString::to_string).collect();
                vec![Line::add(format!("spec.podCIDRs: {}", texts.join(", ")))]
            }
            Decision::Tell(why) => vec![Line::later(format!("spec.podCIDRs: {}", why.message))],
            Decision::Clear(cleared) if settings.network == Network::Ourselves => {
                vec![Line::change(format!(
                    "condition NetworkUnavailable: False {}",
                    cleared.reason
                ))]
            }
            Decision::Clear(_) | Decision::Leave => continue,
        };
        intended.push(Intended { object: format!("Node {}", node.name), lines });
    }
    intended
}

async fn wanted(node: &Node, settings: &Settings, desk: &Desk) -> Option<Result<Want, Wait>> {
    if node.deleting || !node.pod_cidrs.is_empty() {
        return None;
    }
    match &settings.source {
        Source::Cluster(_) => Some(Ok(usual(desk.pools()))),
        Source::Cloud { fleet, cloud, needs, .. } => {
            let identity = node.identity(needs);
            if node.provider_id.is_none() || cloud.belongs(&identity) != Belongs::Ours {
                return None;
            }
            // The other rehearsals have asked about all nodes a moment ago.
            let sightings =
                fleet.look(vec![identity], Duration::from_mins(1), Urgency::Refresh).await;
            Some(by_the_cloud(&sightings.first()?.observation, desk.pools()))
        }
    }
}

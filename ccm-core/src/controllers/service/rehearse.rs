//! What would be done about all Services, with nothing of it done.

use super::ServiceController;
use super::act::Patch;
use super::decide::Hand;
use super::desk::File;
use crate::cloud::{CloudError, IngressAddress, Owned};
use crate::cluster::service::Service;
use crate::controllers::rehearsal::{Intended, Line};
use crate::converge::Rehearsed;

/// What would be done about all Services.
#[derive(Debug)]
pub struct Rehearsal {
    /// In the cloud.
    pub cloud: Vec<Rehearsed>,
    /// In the cluster.
    pub cluster: Vec<Intended>,
    /// Pieces in the cloud that belong to nobody here, which are left alone.
    pub orphans: Result<Vec<Owned>, CloudError>,
}

impl ServiceController {
    /// Thinks it all through. Needs the watches and the fleet, but neither [`run`](Self::run) nor
    /// leave to write.
    pub async fn rehearse(&self) -> Rehearsal {
        self.prepare().await;
        let mut services = self.services.all();
        services.sort_by(|one, other| one.key.cmp(&other.key));
        for service in &services {
            // As if what comes before it had been written.
            let decision = self.decide(service, &File::default());
            if let want @ Hand::Want(..) = decision.then {
                self.hand(&service.id(), want);
            }
        }
        let cloud = self.engine.dry().await;
        let intended = services.iter().filter_map(|service| {
            let decision = self.decide(service, &File::default());
            let lines = lines(service, &decision.patch);
            let object = format!("Service {}", service.key);
            (!lines.is_empty()).then_some(Intended { object, lines })
        });
        Rehearsal { cloud, cluster: intended.collect(), orphans: self.orphans().await }
    }
}

/// A patch, for people.
fn lines(service: &Service, patch: &Patch) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut add = |line| lines.push(line);
    for finalizer in &patch.add_finalizers {
        add(Line::add(format!("finalizer {finalizer}")));
    }
    for (key, value) in &patch.annotations {
        let is_there = service.annotations.get(key).is_some();
        add(match value {
            None => Line::remove(format!("annotation {key}")),
            Some(value) if is_there => Line::change(format!("annotation {key}: {value}")),
            Some(value) => Line::add(format!("annotation {key}: {value}")),
        });
    }
    if let Some(ingress) = &patch.ingress {
        let text = |address: &IngressAddress| match address {
            IngressAddress::Ip(ip) => ip.to_string(),
            IngressAddress::Hostname(name) => name.clone(),
        };
        let points: Vec<_> = ingress.iter().map(|point| text(&point.address)).collect();
        add(if points.is_empty() {
            Line::remove("addresses".to_owned())
        } else {
            Line::change(format!("addresses: {}", points.join(", ")))
        });
    }
    for entry in &patch.conditions {
        let is_there = service.condition(&entry.kind).is_some();
        let (kind, status) = (&entry.kind, entry.status.as_str());
        let text = format!("condition {kind}: {status} {}: {}", entry.reason, entry.message);
        add(if is_there { Line::change(text) } else { Line::add(text) });
    }
    for kind in &patch.remove_conditions {
        add(Line::remove(format!("condition {kind}")));
    }
    for finalizer in &patch.remove_finalizers {
        add(Line::remove(format!("finalizer {finalizer}")));
    }
    lines
}

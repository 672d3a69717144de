//! What has to change in one Service's own pieces. Pure.

use ccm_core::cloud::{
    CloudError, Holds, Ingress, IngressAddress, IngressPoint, Kind as Failure, LoadBalancerSpec,
    Plan, Report, Step, Verdict, Want, World,
};

use super::annotations::{Kind, PREFIX, ServiceAnnotations};
use super::change::{AwsChange, OwnChange};
use super::draft::Draft;
use super::groups::GroupChange;
use super::members::Members;
use super::observe::Own;
use super::site::Site;
use super::wish::Wish;
use super::{AwsLoadBalancers, classic, names, network};
use crate::ground::Home;

/// What a tolerated refusal to delete a security group says.
const STILL_USED: &str = "a security group is still used and is deleted later";

/// Plans what this Service's own pieces need.
pub(crate) fn plan(
    at: &AwsLoadBalancers,
    home: &Home,
    want: &Want<LoadBalancerSpec>,
    world: &World<LoadBalancerSpec>,
    own: &Own,
) -> Plan<AwsChange> {
    let site = Site {
        id: want.id(),
        home,
        config: &at.ground.config,
        cluster_name: &at.ground.cluster_name,
        surroundings: &own.surroundings,
        annotations: &want.identity().annotations,
    };
    let labels = ServiceAnnotations::node_labels(&want.identity().annotations);
    let members = at.roll.of(&world.nodes, &labels);
    match want {
        Want::Absent(_) => {
            at.first_seen.forget(want.id());
            absent(&site, own)
        }
        Want::Keep(_) => keep(&site, &members, own, Verdict::Done),
        Want::Present(spec) => {
            let kind = super::wish::annotations(spec).kind;
            if kind == Kind::Elsewhere {
                return elsewhere(&site, own);
            }
            let wish = match Wish::read(spec, &home.cluster) {
                Ok(wish) => wish,
                Err(err) => return keep(&site, &members, own, Verdict::Refused(err)),
            };
            let is_changed = at.first_seen.is_changed(spec);
            match present(&site, &wish, (kind, is_changed), &members, own) {
                Ok(plan) => plan,
                Err(err) => keep(&site, &members, own, Verdict::Refused(err)),
            }
        }
    }
}

fn present(
    site: &Site<'_>,
    wish: &Wish<'_>,
    (kind, is_changed): (Kind, bool),
    members: &Members,
    own: &Own,
) -> Result<Plan<AwsChange>, CloudError> {
    let mut draft = Draft::default();
    if kind == Kind::Unheard {
        draft.note(
            "AnnotationIgnored",
            format!(
                "annotation {PREFIX}type: a Classic Load Balancer is made; nlb, external and nlb-ip are the \
                 values that mean something else"
            ),
        );
    }
    let is_network = kind == Kind::Network;
    // Both kinds have one name. The one of before goes first: it would take the name's place in what
    // looks for it, and the nodes' rules are by that name.
    let (managed, hostname) = if is_network {
        network::build(site, wish, members, &own.network, &mut draft)?;
        (own.network.is_managed(), own.network.hostname())
    } else {
        classic::build(site, wish, members, &own.classic, &mut draft)?;
        (own.classic.is_managed(), own.classic.hostname())
    };
    let mut replaced = Draft::default();
    if is_network {
        classic::down(site, &own.classic, &mut replaced);
    } else {
        network::down(site, &own.network, &mut replaced);
    }
    // Where it is made anew by us, all is as we have it.
    let is_strict = managed.unwrap_or(true);
    let has_work = !draft.building.is_empty();
    // What the Go program would leave goes with a change of the Service, also where that needs nothing
    // else.
    let is_touched = has_work || is_changed;
    let mut stages = Vec::new();
    if managed.is_none() {
        // The type has changed: the address changes anyhow.
        stages.append(&mut replaced.clearing);
    }
    if managed == Some(false) && is_touched {
        let mark = if is_network {
            network::mark(site.id, &own.network).map(OwnChange::from)
        } else {
            classic::mark(site.id, &own.classic).map(OwnChange::from)
        };
        stages.extend(mark.map(|mark| vec![mark]));
    }
    stages.append(&mut draft.building);
    if is_strict || is_touched {
        stages.append(&mut draft.tidying);
        stages.append(&mut replaced.clearing);
        stages.append(&mut draft.clearing);
        draft.later.append(&mut replaced.later);
    } else {
        let left = draft.tidying.iter().chain(&replaced.clearing).chain(&draft.clearing).flatten();
        let left: Vec<_> = left.map(|change| line(site, change)).collect();
        if !left.is_empty() {
            let message = format!(
                "taken over as it is; with the next change of the Service this is put right: {}",
                left.join("; ")
            );
            draft.note("LeftAsFound", message);
        }
        draft.later.clear();
    }
    let verdict = if has_work {
        Verdict::Progressing("its load balancer to be as asked for".to_owned())
    } else if draft.waits.is_empty() {
        Verdict::Done
    } else {
        Verdict::Progressing(draft.waits.join(", "))
    };
    let ingress = match hostname {
        Some(name) => Ingress::Set(vec![IngressPoint {
            address: IngressAddress::Hostname(name.to_owned()),
            mode: None,
            ports: Vec::new(),
        }]),
        None => Ingress::Leave,
    };
    Ok(finish(site, stages, draft, holds(site, own), verdict, ingress))
}

fn absent(site: &Site<'_>, own: &Own) -> Plan<AwsChange> {
    let mut draft = Draft::default();
    classic::down(site, &own.classic, &mut draft);
    network::down(site, &own.network, &mut draft);
    let mut stages = std::mem::take(&mut draft.building);
    stages.append(&mut draft.clearing);
    let holds = holds(site, own);
    let verdict = match holds {
        Holds::Nothing => Verdict::Done,
        Holds::Something => Verdict::Progressing("its pieces to be gone".to_owned()),
    };
    finish(site, stages, draft, holds, verdict, Ingress::Leave)
}

/// Another controller's. What it had here goes.
fn elsewhere(site: &Site<'_>, own: &Own) -> Plan<AwsChange> {
    let mut plan = absent(site, own);
    for report in &mut plan.reports {
        let message = format!("annotation {PREFIX}type: the AWS Load Balancer Controller");
        report.verdict = Verdict::Elsewhere(message);
    }
    plan
}

/// It keeps what it has, but nodes come and go, and a mistake that lasts must not cost it the last of its
/// targets.
fn keep(site: &Site<'_>, members: &Members, own: &Own, verdict: Verdict) -> Plan<AwsChange> {
    let mut draft = Draft::default();
    classic::keep(members, &own.classic, &mut draft);
    network::keep(members, &own.network, &mut draft);
    let stages = std::mem::take(&mut draft.building);
    finish(site, stages, draft, holds(site, own), verdict, Ingress::Leave)
}

fn finish(
    site: &Site<'_>,
    stages: Vec<Vec<OwnChange>>,
    draft: Draft,
    holds: Holds,
    verdict: Verdict,
    ingress: Ingress,
) -> Plan<AwsChange> {
    let step = |change: OwnChange| {
        let waits = matches!(change, OwnChange::Group(GroupChange::Delete { .. }));
        let change = AwsChange::Own { service: site.id.clone(), change };
        let step = Step::new(change).wanted_by(site.id);
        if waits { step.tolerating(Failure::Conflict, STILL_USED) } else { step }
    };
    let stages = stages.into_iter().map(|stage| stage.into_iter().map(step).collect()).collect();
    let mut report = Report::new(site.id, holds, verdict);
    report.ingress = ingress;
    report.notes = draft.notes;
    Plan { stages, later: draft.later, reports: vec![report] }
}

fn holds(site: &Site<'_>, own: &Own) -> Holds {
    let classic = names::classic_group(&names::load_balancer(&site.id.uid));
    let is_ours = |group: &crate::client::groups::SecurityGroup| {
        group.name == classic && site.home.cluster.owns(&group.tags)
    };
    let has_group = own.surroundings.groups.iter().any(is_ours)
        || network::has_security_group(site, &own.network);
    if own.classic.is_empty() && own.network.is_empty() && !has_group {
        Holds::Nothing
    } else {
        Holds::Something
    }
}

fn line(site: &Site<'_>, change: &OwnChange) -> String {
    AwsChange::Own { service: site.id.clone(), change: change.clone() }.to_string()
}

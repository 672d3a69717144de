//! What has to change in one Service's own pieces. Pure.

use ccm_core::cloud::{
    CloudError, Holds, Ingress, IngressAddress, IngressPoint, Kind as Failure, LoadBalancerSpec,
    Note, Plan, Report, Step, Verdict, Want, World,
};

use super::annotations::{Kind, PREFIX, ServiceAnnotations};
use super::change::{AwsChange, OwnChange};
use super::draft::Draft;
use super::groups::GroupChange;
use super::members::Members;
use super::observe::Own;
use super::reach::{Order, Parts, Standing};
use super::site::Site;
use super::wish::Wish;
use super::{AwsLoadBalancers, classic, names, network};
use crate::ground::Home;

/// What a tolerated refusal to delete a security group says.
const STILL_USED: &str = "a security group is still used and is deleted later";

/// What a tolerated refusal to mark a load balancer says.
const NO_ROOM_FOR_MARK: &str = "the load balancer takes no more tags, so that it cannot be marked as looked after; \
                                take one away";

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
        Want::Absent(_) => absent(&site, own),
        Want::Keep(_) => keep(&site, &members, own, Verdict::Done),
        Want::Present(spec) => {
            let kind = super::wish::annotations(spec).kind;
            if kind == Kind::Elsewhere {
                return elsewhere(&site, &members, own);
            }
            let wish = match Wish::read(spec, &home.cluster) {
                Ok(wish) => wish,
                Err(err) => return keep(&site, &members, own, Verdict::Refused(err)),
            };
            let is_found = standing(kind == Kind::Network, own).is_as_found();
            // The Go program cannot give a port of a Network Load Balancer another protocol.
            let wish = if is_found { wish.taken_over(&own.network.plain_ports()) } else { wish };
            match present(&site, &wish, kind, &members, own) {
                Ok(plan) => plan,
                Err(err) => keep(&site, &members, own, Verdict::Refused(err)),
            }
        }
    }
}

fn present(
    site: &Site<'_>,
    wish: &Wish<'_>,
    kind: Kind,
    members: &Members,
    own: &Own,
) -> Result<Plan<AwsChange>, CloudError> {
    let is_network = kind == Kind::Network;
    let standing = standing(is_network, own);
    if standing.is_refused() {
        return Err(refused(is_network));
    }
    let (mut draft, mut replaced) = (Draft::default(), Draft::default());
    if kind == Kind::Unheard {
        draft.note(
            "AnnotationIgnored",
            format!(
                "annotation {PREFIX}type: a Classic Load Balancer is made; nlb, external and nlb-ip are the \
                 values that mean something else"
            ),
        );
    }
    let (mark, mark_other) = marks(site, is_network, own);
    let hostname = if is_network {
        network::build(site, wish, members, &own.network, &mut draft)?;
        classic::down(site, &own.classic, &mut replaced);
        own.network.hostname()
    } else {
        classic::build(site, wish, members, &own.classic, &mut draft)?;
        network::down(site, &own.network, &mut replaced);
        own.classic.hostname()
    };
    let verdict = if !draft.building.is_empty() {
        Verdict::Progressing("its load balancer to be as asked for".to_owned())
    } else if draft.waits.is_empty() {
        Verdict::Done
    } else {
        Verdict::Progressing(draft.waits.join(", "))
    };
    let parts = Parts {
        mark,
        mark_other,
        building: std::mem::take(&mut draft.building),
        tidying: std::mem::take(&mut draft.tidying),
        replaced: replaced.clearing,
        clearing: std::mem::take(&mut draft.clearing),
    };
    let Order { now, left } = standing.order(parts);
    if left.is_empty() {
        draft.later.append(&mut draft.cleared_later);
        draft.later.append(&mut replaced.cleared_later);
    } else {
        let left: Vec<_> = left.iter().map(|change| line(site, change)).collect();
        let message = format!(
            "taken over as it is; with the next change of the Service this is put right: {}",
            left.join("; ")
        );
        draft.note("LeftAsFound", message);
    }
    let ingress = match hostname {
        Some(name) => Ingress::Set(vec![IngressPoint {
            address: IngressAddress::Hostname(name.to_owned()),
            mode: None,
            ports: Vec::new(),
        }]),
        None => Ingress::Leave,
    };
    Ok(finish(site, now, draft, holds(site, own), verdict, ingress))
}

/// What there is, with the kind that is asked for first.
fn standing(is_network: bool, own: &Own) -> Standing {
    let (classic, network) = (own.classic.is_managed(), own.network.is_managed());
    let (here, other) = if is_network { (network, classic) } else { (classic, network) };
    Standing { here, other, change: own.change }
}

/// What marks load balancers as managed: that of the kind that is asked for, and the other.
fn marks(site: &Site<'_>, is_network: bool, own: &Own) -> (Option<OwnChange>, Option<OwnChange>) {
    let classic = classic::mark(site.id, &own.classic).map(OwnChange::from);
    let network = network::mark(site.id, &own.network).map(OwnChange::from);
    if is_network { (network, classic) } else { (classic, network) }
}

/// The Go program has refused to change the kind, with an event at each of its attempts.
fn refused(is_network: bool) -> CloudError {
    let (there, asked) = if is_network {
        ("a Classic Load Balancer", "a Network Load Balancer")
    } else {
        ("a Network Load Balancer", "a Classic Load Balancer")
    };
    let message = format!(
        "annotation {PREFIX}type asks for {asked}, and {there} serves, which was taken over: it is left as it \
         is, because its address would change. Put the annotation back to keep it. To have it replaced, \
         put the annotation back, and then change it once more"
    );
    CloudError::new(Failure::InvalidConfiguration, message)
}

fn absent(site: &Site<'_>, own: &Own) -> Plan<AwsChange> {
    let mut draft = Draft::default();
    classic::down(site, &own.classic, &mut draft);
    network::down(site, &own.network, &mut draft);
    let mut stages = std::mem::take(&mut draft.building);
    stages.append(&mut draft.clearing);
    draft.later.append(&mut draft.cleared_later);
    let holds = holds(site, own);
    let verdict = match holds {
        Holds::Nothing => Verdict::Done,
        Holds::Something => Verdict::Progressing("its pieces to be gone".to_owned()),
    };
    finish(site, stages, draft, holds, verdict, Ingress::Leave)
}

/// Another controller's. What it had here goes, unless the Go program has made it: that leaves it alone.
fn elsewhere(site: &Site<'_>, members: &Members, own: &Own) -> Plan<AwsChange> {
    let verdict =
        || Verdict::Elsewhere(format!("annotation {PREFIX}type: the AWS Load Balancer Controller"));
    let is_left = |managed: Option<bool>| managed == Some(false);
    let has_left = is_left(own.classic.is_managed()) || is_left(own.network.is_managed());
    if has_left && !own.change.kind {
        let mut plan = keep(site, members, own, verdict());
        let message = "a load balancer of this Service was taken over and is left as it is, with its nodes; it \
                       goes with the Service";
        for report in &mut plan.reports {
            report.notes.push(Note { reason: "LeftAsFound", message: message.to_owned() });
        }
        return plan;
    }
    let mut plan = absent(site, own);
    if has_left {
        // A process that is started meanwhile goes on.
        let (classic, network) = marks(site, false, own);
        let marks = [
            classic.filter(|_| is_left(own.classic.is_managed())),
            network.filter(|_| is_left(own.network.is_managed())),
        ];
        let marks = marks.into_iter().flatten().map(|change| step(site, change)).collect();
        plan.stages.insert(0, marks);
    }
    for report in &mut plan.reports {
        report.verdict = verdict();
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
    let steps =
        |stage: Vec<OwnChange>| stage.into_iter().map(|change| step(site, change)).collect();
    let stages = stages.into_iter().map(steps).collect();
    let mut report = Report::new(site.id, holds, verdict);
    report.ingress = ingress;
    report.notes = draft.notes;
    Plan { stages, later: draft.later, reports: vec![report] }
}

fn step(site: &Site<'_>, change: OwnChange) -> Step<AwsChange> {
    let tolerated = match &change {
        OwnChange::Group(GroupChange::Delete { .. }) => Some((Failure::Conflict, STILL_USED)),
        change if change.is_mark() => Some((Failure::QuotaExceeded, NO_ROOM_FOR_MARK)),
        _ => None,
    };
    let change = AwsChange::Own { service: site.id.clone(), change };
    let step = Step::new(change).wanted_by(site.id);
    match tolerated {
        Some((kind, note)) => step.tolerating(kind, note),
        None => step,
    }
}

fn holds(site: &Site<'_>, own: &Own) -> Holds {
    let classic = names::classic_group(&names::load_balancer(&site.id.uid));
    let is_ours = |group: &crate::client::groups::SecurityGroup| {
        group.name == classic
            && site.home.cluster.owns(&group.tags)
            && !ServiceAnnotations::name_group(site.annotations, &group.id)
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

//! Requests about pieces.

use crate::api::{
    AddRule, ChangeTargets, CreateAddress, CreateFirewall, CreateListener, CreateLoadBalancer,
    CreateRoute, CreateRoutes, CreateTargetGroup, CreateVolume, DescribeRoutes, DescribeVolumes,
    Etag, ListPieces, ListRules, ListTargets, PieceKind, ReplaceRules, UpdateAddress,
    UpdateFirewall, UpdateListener, UpdateLoadBalancer, UpdateRoute, UpdateTargetGroup,
    UpdateVolume,
};
use crate::state::{Cloud, Cx, Fleet, ListAsk, Listed, Made, MemberAsk, Pieces, Refusal, RouteAsk};

use super::{Answer, List, Shown, query};

/// A call about a piece; strings are IDs.
#[derive(Debug)]
pub(crate) enum PieceRequest {
    List(PieceKind, ListPieces),
    Get(PieceKind, String),
    Create(NewOne),
    Update(String, PieceUpdate),
    /// With the form that it must still have.
    Delete(PieceKind, String, Option<Etag>),
    ListTargets(String, ListTargets),
    ChangeTargets(String, ChangeTargets),
    ListRules(String, ListRules),
    AddRule(String, AddRule),
    RemoveRule {
        firewall: String,
        rule: String,
    },
    ReplaceRules(String, ReplaceRules),
    DescribeRoutes(DescribeRoutes),
    CreateRoutes(CreateRoutes),
    DescribeVolumes(DescribeVolumes),
}

/// A piece to be made.
#[derive(Debug)]
pub(crate) enum NewOne {
    Address(CreateAddress),
    TargetGroup(CreateTargetGroup),
    LoadBalancer(CreateLoadBalancer),
    Listener(CreateListener),
    Firewall(CreateFirewall),
    Route(CreateRoute),
    Volume(CreateVolume),
}

/// What to change of a piece.
#[derive(Debug)]
pub(crate) enum PieceUpdate {
    Address(UpdateAddress),
    TargetGroup(UpdateTargetGroup),
    LoadBalancer(UpdateLoadBalancer),
    Listener(UpdateListener),
    Firewall(UpdateFirewall),
    Route(UpdateRoute),
    Volume(UpdateVolume),
}

impl PieceUpdate {
    pub(super) const fn kind(&self) -> PieceKind {
        match self {
            Self::Address(_) => PieceKind::Address,
            Self::TargetGroup(_) => PieceKind::TargetGroup,
            Self::LoadBalancer(_) => PieceKind::LoadBalancer,
            Self::Listener(_) => PieceKind::Listener,
            Self::Firewall(_) => PieceKind::Firewall,
            Self::Route(_) => PieceKind::Route,
            Self::Volume(_) => PieceKind::Volume,
        }
    }
}

/// Does what is asked.
pub(super) fn serve(
    cloud: &mut Cloud,
    request: PieceRequest,
    cx: &Cx<'_>,
) -> Result<Answer, Refusal> {
    let Cloud { fleet, pieces } = cloud;
    match request {
        PieceRequest::List(kind, ask) => list(pieces, cx, fleet, kind, &ask),
        PieceRequest::Get(kind, id) => get(pieces, cx, fleet, kind, &id).map(Answer::One),
        PieceRequest::Create(wanted) => create(pieces, cx, fleet, wanted),
        PieceRequest::Update(id, update) => change(pieces, cx, fleet, &id, update).map(Answer::One),
        PieceRequest::Delete(kind, id, etag) => {
            delete(pieces, cx, fleet, kind, &id, etag.as_ref()).map(Answer::One)
        }
        PieceRequest::ListTargets(id, ask) => {
            let ask = member_ask(cx, ask.page_token.as_deref(), ask.page_size)?;
            Ok(listed(pieces.list_targets(cx, &id, &ask)?, Shown::Target))
        }
        PieceRequest::ChangeTargets(id, change) => {
            let group = pieces.change_targets(cx, fleet, &id, &change)?;
            Ok(Answer::One(Shown::TargetGroup(group)))
        }
        PieceRequest::ListRules(id, ask) => {
            let member_ask = member_ask(cx, ask.page_token.as_deref(), ask.page_size)?;
            let (page, etag) = pieces.list_rules(cx, &id, &member_ask, ask.owner.as_deref())?;
            let list = List::of(page.items.into_iter().map(Shown::Rule), page.next);
            Ok(Answer::List(list.with_etag(etag)))
        }
        PieceRequest::AddRule(id, wanted) => {
            Ok(made(pieces.add_rule(cx, &id, wanted)?, Shown::Rule))
        }
        PieceRequest::RemoveRule { firewall, rule } => {
            pieces.remove_rule(cx, &firewall, &rule).map(|rule| Answer::One(Shown::Rule(rule)))
        }
        PieceRequest::ReplaceRules(id, wanted) => pieces
            .replace_rules(cx, &id, wanted)
            .map(|firewall| Answer::One(Shown::Firewall(firewall))),
        PieceRequest::DescribeRoutes(ask) => {
            Ok(all(pieces.describe_routes(cx, fleet, &ask)?, Shown::Route))
        }
        PieceRequest::CreateRoutes(batch) => {
            Ok(all(pieces.create_routes(cx, fleet, batch)?, Shown::Route))
        }
        PieceRequest::DescribeVolumes(ask) => {
            Ok(all(pieces.describe_volumes(cx, &ask)?, Shown::Volume))
        }
    }
}

fn list(
    pieces: &Pieces,
    cx: &Cx<'_>,
    fleet: &Fleet,
    kind: PieceKind,
    ask: &ListPieces,
) -> Result<Answer, Refusal> {
    let token = ask.page_token.as_deref();
    let (after, size) = query::page(token, ask.page_size, cx.settings.page_limit)?;
    let list = ListAsk { after, size, name: ask.name.as_deref(), tags: &ask.tags };
    Ok(match kind {
        PieceKind::Address => listed(pieces.list_addresses(cx, &list), Shown::Address),
        PieceKind::TargetGroup => listed(pieces.list_target_groups(cx, &list), Shown::TargetGroup),
        PieceKind::LoadBalancer => {
            listed(pieces.list_load_balancers(cx, &list), Shown::LoadBalancer)
        }
        PieceKind::Listener => {
            let of = ask.load_balancer.as_ref();
            listed(pieces.list_listeners(cx, &list, of), Shown::Listener)
        }
        PieceKind::Firewall => listed(pieces.list_firewalls(cx, &list), Shown::Firewall),
        PieceKind::Route => {
            let of = RouteAsk { table: ask.table.as_deref(), destination: ask.destination };
            listed(pieces.list_routes(cx, fleet, &list, &of), Shown::Route)
        }
        PieceKind::Volume => listed(pieces.list_volumes(cx, &list), Shown::Volume),
    })
}

fn get(
    pieces: &Pieces,
    cx: &Cx<'_>,
    fleet: &Fleet,
    kind: PieceKind,
    id: &str,
) -> Result<Shown, Refusal> {
    match kind {
        PieceKind::Address => pieces.address(cx, id).map(Shown::Address),
        PieceKind::TargetGroup => pieces.target_group(cx, id).map(Shown::TargetGroup),
        PieceKind::LoadBalancer => pieces.load_balancer(cx, id).map(Shown::LoadBalancer),
        PieceKind::Listener => pieces.listener(cx, id).map(Shown::Listener),
        PieceKind::Firewall => pieces.firewall(cx, id).map(Shown::Firewall),
        PieceKind::Route => pieces.route(cx, fleet, id).map(Shown::Route),
        PieceKind::Volume => pieces.volume(cx, id).map(Shown::Volume),
    }
}

fn create(
    pieces: &mut Pieces,
    cx: &Cx<'_>,
    fleet: &Fleet,
    wanted: NewOne,
) -> Result<Answer, Refusal> {
    Ok(match wanted {
        NewOne::Address(wanted) => made(pieces.create_address(cx, wanted)?, Shown::Address),
        NewOne::TargetGroup(wanted) => {
            made(pieces.create_target_group(cx, wanted)?, Shown::TargetGroup)
        }
        NewOne::LoadBalancer(wanted) => {
            made(pieces.create_load_balancer(cx, wanted)?, Shown::LoadBalancer)
        }
        NewOne::Listener(wanted) => made(pieces.create_listener(cx, wanted)?, Shown::Listener),
        NewOne::Firewall(wanted) => made(pieces.create_firewall(cx, wanted)?, Shown::Firewall),
        NewOne::Route(wanted) => made(pieces.create_route(cx, fleet, wanted)?, Shown::Route),
        NewOne::Volume(wanted) => made(pieces.create_volume(cx, wanted)?, Shown::Volume),
    })
}

fn change(
    pieces: &mut Pieces,
    cx: &Cx<'_>,
    fleet: &Fleet,
    id: &str,
    update: PieceUpdate,
) -> Result<Shown, Refusal> {
    match update {
        PieceUpdate::Address(update) => pieces.update_address(cx, id, update).map(Shown::Address),
        PieceUpdate::TargetGroup(update) => {
            pieces.update_target_group(cx, id, update).map(Shown::TargetGroup)
        }
        PieceUpdate::LoadBalancer(update) => {
            pieces.update_load_balancer(cx, id, update).map(Shown::LoadBalancer)
        }
        PieceUpdate::Listener(update) => {
            pieces.update_listener(cx, id, update).map(Shown::Listener)
        }
        PieceUpdate::Firewall(update) => {
            pieces.update_firewall(cx, id, update).map(Shown::Firewall)
        }
        PieceUpdate::Route(update) => pieces.update_route(cx, fleet, id, update).map(Shown::Route),
        PieceUpdate::Volume(update) => pieces.update_volume(cx, id, update).map(Shown::Volume),
    }
}

fn delete(
    pieces: &mut Pieces,
    cx: &Cx<'_>,
    fleet: &Fleet,
    kind: PieceKind,
    id: &str,
    etag: Option<&Etag>,
) -> Result<Shown, Refusal> {
    match kind {
        PieceKind::Address => pieces.delete_address(cx, id).map(Shown::Address),
        PieceKind::TargetGroup => pieces.delete_target_group(cx, id).map(Shown::TargetGroup),
        PieceKind::LoadBalancer => pieces.delete_load_balancer(cx, id).map(Shown::LoadBalancer),
        PieceKind::Listener => pieces.delete_listener(cx, id).map(Shown::Listener),
        PieceKind::Firewall => pieces.delete_firewall(cx, id).map(Shown::Firewall),
        PieceKind::Route => pieces.delete_route(cx, fleet, id, etag).map(Shown::Route),
        PieceKind::Volume => pieces.delete_volume(cx, id).map(Shown::Volume),
    }
}

fn member_ask(cx: &Cx<'_>, token: Option<&str>, size: Option<usize>) -> Result<MemberAsk, Refusal> {
    let (after, size) = query::page(token, size, cx.settings.member_page_limit)?;
    Ok(MemberAsk { after, size })
}

fn listed<T>(page: Listed<T>, shown: fn(T) -> Shown) -> Answer {
    Answer::List(List::of(page.items.into_iter().map(shown), page.next))
}

fn all<T>(pieces: Vec<T>, shown: fn(T) -> Shown) -> Answer {
    Answer::List(List::of(pieces.into_iter().map(shown), None))
}

fn made<T>(made: Made<T>, shown: fn(T) -> Shown) -> Answer {
    let piece = shown(made.piece);
    if made.is_new { Answer::Made(piece) } else { Answer::One(piece) }
}

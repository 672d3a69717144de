//! Requests about the pieces of load balancers.

use crate::api::{
    AddRule, ChangeTargets, CreateAddress, CreateFirewall, CreateListener, CreateLoadBalancer,
    CreateTargetGroup, ListPieces, ListRules, ListTargets, PieceKind, ReplaceRules, UpdateAddress,
    UpdateFirewall, UpdateListener, UpdateLoadBalancer, UpdateTargetGroup,
};
use crate::state::{Cloud, Cx, ListAsk, Listed, Made, MemberAsk, Pieces, Refusal};

use super::{Answer, List, Shown, query};

/// A call about a piece; strings are IDs.
#[derive(Debug)]
pub(crate) enum PieceRequest {
    List(PieceKind, ListPieces),
    Get(PieceKind, String),
    Create(NewOne),
    Update(String, PieceUpdate),
    Delete(PieceKind, String),
    ListTargets(String, ListTargets),
    ChangeTargets(String, ChangeTargets),
    ListRules(String, ListRules),
    AddRule(String, AddRule),
    RemoveRule { firewall: String, rule: String },
    ReplaceRules(String, ReplaceRules),
}

/// A piece to be made.
#[derive(Debug)]
pub(crate) enum NewOne {
    Address(CreateAddress),
    TargetGroup(CreateTargetGroup),
    LoadBalancer(CreateLoadBalancer),
    Listener(CreateListener),
    Firewall(CreateFirewall),
}

/// What to change of a piece.
#[derive(Debug)]
pub(crate) enum PieceUpdate {
    Address(UpdateAddress),
    TargetGroup(UpdateTargetGroup),
    LoadBalancer(UpdateLoadBalancer),
    Listener(UpdateListener),
    Firewall(UpdateFirewall),
}

impl PieceUpdate {
    pub(super) const fn kind(&self) -> PieceKind {
        match self {
            Self::Address(_) => PieceKind::Address,
            Self::TargetGroup(_) => PieceKind::TargetGroup,
            Self::LoadBalancer(_) => PieceKind::LoadBalancer,
            Self::Listener(_) => PieceKind::Listener,
            Self::Firewall(_) => PieceKind::Firewall,
        }
    }
}

/// Does what is asked.
pub(super) fn serve(
    cloud: &mut Cloud,
    request: PieceRequest,
    cx: &Cx<'_>,
) -> Result<Answer, Refusal> {
    let pieces = &mut cloud.pieces;
    match request {
        PieceRequest::List(kind, ask) => list(pieces, cx, kind, &ask),
        PieceRequest::Get(kind, id) => get(pieces, cx, kind, &id).map(Answer::One),
        PieceRequest::Create(wanted) => create(pieces, cx, wanted),
        PieceRequest::Update(id, update) => change(pieces, cx, &id, update).map(Answer::One),
        PieceRequest::Delete(kind, id) => delete(pieces, cx, kind, &id).map(Answer::One),
        PieceRequest::ListTargets(id, ask) => {
            let ask = member_ask(cx, ask.page_token.as_deref(), ask.page_size)?;
            Ok(listed(pieces.list_targets(cx, &id, &ask)?, Shown::Target))
        }
        PieceRequest::ChangeTargets(id, change) => {
            let group = pieces.change_targets(cx, &cloud.fleet, &id, &change)?;
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
    }
}

fn list(
    pieces: &Pieces,
    cx: &Cx<'_>,
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
    })
}

fn get(pieces: &Pieces, cx: &Cx<'_>, kind: PieceKind, id: &str) -> Result<Shown, Refusal> {
    match kind {
        PieceKind::Address => pieces.address(cx, id).map(Shown::Address),
        PieceKind::TargetGroup => pieces.target_group(cx, id).map(Shown::TargetGroup),
        PieceKind::LoadBalancer => pieces.load_balancer(cx, id).map(Shown::LoadBalancer),
        PieceKind::Listener => pieces.listener(cx, id).map(Shown::Listener),
        PieceKind::Firewall => pieces.firewall(cx, id).map(Shown::Firewall),
    }
}

fn create(pieces: &mut Pieces, cx: &Cx<'_>, wanted: NewOne) -> Result<Answer, Refusal> {
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
    })
}

fn change(
    pieces: &mut Pieces,
    cx: &Cx<'_>,
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
    }
}

fn delete(pieces: &mut Pieces, cx: &Cx<'_>, kind: PieceKind, id: &str) -> Result<Shown, Refusal> {
    match kind {
        PieceKind::Address => pieces.delete_address(cx, id).map(Shown::Address),
        PieceKind::TargetGroup => pieces.delete_target_group(cx, id).map(Shown::TargetGroup),
        PieceKind::LoadBalancer => pieces.delete_load_balancer(cx, id).map(Shown::LoadBalancer),
        PieceKind::Listener => pieces.delete_listener(cx, id).map(Shown::Listener),
        PieceKind::Firewall => pieces.delete_firewall(cx, id).map(Shown::Firewall),
    }
}

fn member_ask(cx: &Cx<'_>, token: Option<&str>, size: Option<usize>) -> Result<MemberAsk, Refusal> {
    let (after, size) = query::page(token, size, cx.settings.member_page_limit)?;
    Ok(MemberAsk { after, size })
}

fn listed<T>(page: Listed<T>, shown: fn(T) -> Shown) -> Answer {
    Answer::List(List::of(page.items.into_iter().map(shown), page.next))
}

fn made<T>(made: Made<T>, shown: fn(T) -> Shown) -> Answer {
    let piece = shown(made.piece);
    if made.is_new { Answer::Made(piece) } else { Answer::One(piece) }
}

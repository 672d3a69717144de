//! Pieces.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::Uri;
use axum::response::Response;
use axum::routing::{delete, get, post};

use super::{Body, Id, known, pairs};
use crate::api::{Operation, PieceKind, path};
use crate::request::{
    NewOne, PieceRequest, PieceUpdate, Request, parse_deletion, parse_pieces, parse_rules,
    parse_targets,
};
use crate::server::app::App;
use crate::server::call::Caller;
use crate::server::problem::{Problem, json};

type Pair = Result<Path<(String, String)>, PathRejection>;

pub(super) fn router() -> Router<Arc<App>> {
    PieceKind::ALL
        .into_iter()
        .fold(Router::new(), |router, kind| router.merge(of(kind)))
        .route(&path::targets("{id}"), get(list_targets).post(change_targets))
        .route(&path::rules("{id}"), get(list_rules).post(add_rule).put(replace_rules))
        .route(&path::rule("{id}", "{rule}"), delete(remove_rule))
        .route(path::DESCRIBE_ROUTES, post(describe_routes))
        .route(path::BATCH_CREATE_ROUTES, post(create_routes))
        .route(path::DESCRIBE_VOLUMES, post(describe_volumes))
}

/// What is the same for every kind.
fn of(kind: PieceKind) -> Router<Arc<App>> {
    let all = get(async move |caller: Caller, uri: Uri| {
        let ask = pairs(&uri).and_then(|pairs| Ok(parse_pieces(kind, pairs)?));
        call(caller, Operation::list(kind), ask.map(|ask| PieceRequest::List(kind, ask))).await
    })
    .post(async move |caller: Caller, body: Body| {
        call(caller, Operation::create(kind), new(kind, body).map(PieceRequest::Create)).await
    });
    let one = get(async move |caller: Caller, id: Id| {
        call(caller, Operation::get(kind), known(id).map(|id| PieceRequest::Get(kind, id))).await
    })
    .patch(async move |caller: Caller, id: Id, body: Body| {
        let request = known(id).and_then(|id| Ok(PieceRequest::Update(id, update(kind, body)?)));
        call(caller, Operation::update(kind), request).await
    })
    .delete(async move |caller: Caller, id: Id, uri: Uri| {
        let request = known(id)
            .and_then(|id| Ok(PieceRequest::Delete(kind, id, parse_deletion(kind, pairs(&uri)?)?)));
        call(caller, Operation::delete(kind), request).await
    });
    Router::new().route(path::pieces(kind), all).route(&path::piece(kind, "{id}"), one)
}

fn new(kind: PieceKind, body: Body) -> Result<NewOne, Problem> {
    match kind {
        PieceKind::Address => json(body).map(NewOne::Address),
        PieceKind::TargetGroup => json(body).map(NewOne::TargetGroup),
        PieceKind::LoadBalancer => json(body).map(NewOne::LoadBalancer),
        PieceKind::Listener => json(body).map(NewOne::Listener),
        PieceKind::Firewall => json(body).map(NewOne::Firewall),
        PieceKind::Route => json(body).map(NewOne::Route),
        PieceKind::Volume => json(body).map(NewOne::Volume),
    }
}

fn update(kind: PieceKind, body: Body) -> Result<PieceUpdate, Problem> {
    match kind {
        PieceKind::Address => json(body).map(PieceUpdate::Address),
        PieceKind::TargetGroup => json(body).map(PieceUpdate::TargetGroup),
        PieceKind::LoadBalancer => json(body).map(PieceUpdate::LoadBalancer),
        PieceKind::Listener => json(body).map(PieceUpdate::Listener),
        PieceKind::Firewall => json(body).map(PieceUpdate::Firewall),
        PieceKind::Route => json(body).map(PieceUpdate::Route),
        PieceKind::Volume => json(body).map(PieceUpdate::Volume),
    }
}

async fn list_targets(caller: Caller, id: Id, uri: Uri) -> Response {
    let request =
        known(id).and_then(|id| Ok(PieceRequest::ListTargets(id, parse_targets(pairs(&uri)?)?)));
    call(caller, Operation::ListTargets, request).await
}

async fn change_targets(caller: Caller, id: Id, body: Body) -> Response {
    let request = known(id).and_then(|id| Ok(PieceRequest::ChangeTargets(id, json(body)?)));
    call(caller, Operation::ChangeTargets, request).await
}

async fn list_rules(caller: Caller, id: Id, uri: Uri) -> Response {
    let request =
        known(id).and_then(|id| Ok(PieceRequest::ListRules(id, parse_rules(pairs(&uri)?)?)));
    call(caller, Operation::ListRules, request).await
}

async fn add_rule(caller: Caller, id: Id, body: Body) -> Response {
    let request = known(id).and_then(|id| Ok(PieceRequest::AddRule(id, json(body)?)));
    call(caller, Operation::AddRule, request).await
}

async fn replace_rules(caller: Caller, id: Id, body: Body) -> Response {
    let request = known(id).and_then(|id| Ok(PieceRequest::ReplaceRules(id, json(body)?)));
    call(caller, Operation::ReplaceRules, request).await
}

async fn remove_rule(caller: Caller, ids: Pair) -> Response {
    let request = match ids {
        Ok(Path((firewall, rule))) => Ok(PieceRequest::RemoveRule { firewall, rule }),
        Err(rejection) => Err(Problem::invalid(rejection.body_text())),
    };
    call(caller, Operation::RemoveRule, request).await
}

async fn describe_routes(caller: Caller, body: Body) -> Response {
    let request = json(body).map(PieceRequest::DescribeRoutes);
    call(caller, Operation::DescribeRoutes, request).await
}

async fn create_routes(caller: Caller, body: Body) -> Response {
    call(caller, Operation::CreateRoutes, json(body).map(PieceRequest::CreateRoutes)).await
}

async fn describe_volumes(caller: Caller, body: Body) -> Response {
    let request = json(body).map(PieceRequest::DescribeVolumes);
    call(caller, Operation::DescribeVolumes, request).await
}

async fn call(
    caller: Caller,
    operation: Operation,
    request: Result<PieceRequest, Problem>,
) -> Response {
    caller.call(operation, request.map(|request| Request::Piece(Box::new(request)))).await
}

//! The operator's hand on pieces. What it does is saved, and not counted as a change.

use std::sync::Arc;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{StatusCode, Uri};
use axum::routing::{delete, get, patch, put};
use axum::{Json, Router};

use super::{Answer, Body, Operator, name};
use crate::api::{LoadBalancer, Route, Rule, Snapshot, path};
use crate::request::parse_tags;
use crate::server::app::App;
use crate::server::problem::{Problem, json};
use crate::server::routes::pairs;
use crate::state::{Cloud, Cx, Refusal};

type Name = Result<Path<String>, PathRejection>;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route(path::SNAPSHOT, get(snapshot))
        .route(&path::forced_piece("{id}"), delete(remove_piece))
        .route(&path::forced_rule("{id}"), patch(change_rule))
        .route(&path::forced_route("{id}"), patch(change_route))
        .route(&path::forced_state("{id}"), put(set_state))
}

async fn snapshot(Operator(app): Operator, uri: Uri) -> Answer<Snapshot> {
    let tags = parse_tags(pairs(&uri)?)?;
    let mut core = app.core();
    let now = core.now();
    let cx = Cx::new(now, &core.settings, false);
    Ok(Json(core.cloud.pieces.lines(&cx, &core.cloud.fleet, &tags)))
}

async fn remove_piece(Operator(app): Operator, id: Name) -> Result<StatusCode, Problem> {
    let id = name(id)?;
    by_hand(&app, |cloud, cx| cloud.pieces.remove(cx, &id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn change_rule(Operator(app): Operator, id: Name, body: Body) -> Answer<Rule> {
    let (id, change) = (name(id)?, json(body)?);
    by_hand(&app, |cloud, cx| cloud.pieces.change_rule(cx, &id, change)).await.map(Json)
}

async fn change_route(Operator(app): Operator, id: Name, body: Body) -> Answer<Route> {
    let (id, change) = (name(id)?, json(body)?);
    let route =
        by_hand(&app, |Cloud { fleet, pieces }, cx| pieces.change_route(cx, fleet, &id, &change));
    route.await.map(Json)
}

async fn set_state(Operator(app): Operator, id: Name, body: Body) -> Answer<LoadBalancer> {
    let (id, wanted) = (name(id)?, json(body)?);
    by_hand(&app, |cloud, cx| cloud.pieces.set_load_balancer_state(cx, &id, wanted)).await.map(Json)
}

/// Changes pieces, and waits until that is on disk.
async fn by_hand<T>(
    app: &App,
    change: impl FnOnce(&mut Cloud, &Cx<'_>) -> Result<T, Refusal>,
) -> Result<T, Problem> {
    let (changed, revision) = {
        let mut core = app.core();
        let core = &mut *core;
        let now = core.now();
        let changed = change(&mut core.cloud, &Cx::new(now, &core.settings, false))?;
        core.revision += 1;
        (changed, core.revision)
    };
    if app.is_saved(revision).await {
        Ok(changed)
    } else {
        Err(Problem::server_error(500, "done, and lost when the cloud restarts: it is not saved"))
    }
}

//! The control API: `/control`. Nothing here is limited, delayed, struck by faults or logged.

mod pieces;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

use super::app::App;
use super::call::bearer;
use super::problem::{Problem, json};
use super::tokens::{BadToken, Token};
use crate::api::{AddToken, CallLog, Calls, Fault, Faults, Settings, TokenStatus, Tokens, path};
use crate::settings::patched;

/// Entries of the call log in one answer.
const MAX_ENTRIES: usize = 10_000;

type Body = Result<Bytes, BytesRejection>;
type Name = Result<Path<String>, PathRejection>;
type Answer<T> = Result<Json<T>, Problem>;
type Created<T> = Result<(StatusCode, Json<T>), Problem>;

pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
        .route(path::FAULTS, get(list_faults).post(add_fault).delete(clear_faults))
        .route(&path::fault("{id}"), get(show_fault).delete(remove_fault))
        .route(path::CALLS, get(show_calls).delete(clear_calls))
        .route(path::CALL_LOG, get(show_call_log))
        .route(path::SETTINGS, get(show_settings).patch(change_settings))
        .route(path::TOKENS, get(list_tokens).post(add_token))
        .route(&path::revoke_token("{name}"), post(revoke_token))
        .route(&path::restore_token("{name}"), post(restore_token))
        .merge(pieces::router())
}

/// Somebody with the control token.
struct Operator(Arc<App>);

impl FromRequestParts<Arc<App>> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let secret = bearer(&parts.headers).ok_or_else(Problem::unauthenticated)?;
        if app.is_control_token(&secret) {
            return Ok(Self(Arc::clone(app)));
        }
        if app.core().tokens.name_of(&secret).is_some() {
            return Err(Problem::permission_denied("the control API takes the control token only"));
        }
        Err(Problem::unauthenticated())
    }
}

async fn list_faults(Operator(app): Operator) -> Json<Faults> {
    let mut core = app.core();
    let now = core.now();
    Json(Faults { faults: core.faults.list(now) })
}

async fn add_fault(Operator(app): Operator, body: Body) -> Created<Fault> {
    let spec = json(body)?;
    let mut core = app.core();
    let now = core.now();
    if core.faults.is_full() {
        return Err(Problem::conflict("there are too many faults; remove some"));
    }
    let fault = core.faults.add(spec, now)?;
    Ok((StatusCode::CREATED, Json(fault)))
}

async fn clear_faults(Operator(app): Operator) -> StatusCode {
    app.core().faults.clear();
    app.faults_removed();
    StatusCode::NO_CONTENT
}

async fn show_fault(Operator(app): Operator, id: Name) -> Answer<Fault> {
    let id = name(id)?;
    let mut core = app.core();
    let now = core.now();
    let fault = core.faults.get(&id, now);
    fault.map(Json).ok_or_else(|| Problem::not_found(format!("no fault {id}")))
}

async fn remove_fault(Operator(app): Operator, id: Name) -> Result<StatusCode, Problem> {
    let id = name(id)?;
    if !app.core().faults.remove(&id) {
        return Err(Problem::not_found(format!("no fault {id}")));
    }
    app.faults_removed();
    Ok(StatusCode::NO_CONTENT)
}

async fn show_calls(Operator(app): Operator) -> Json<Calls> {
    Json(app.core().calls.calls())
}

async fn clear_calls(Operator(app): Operator) -> StatusCode {
    app.core().calls.clear();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LogQuery {
    since: u64,
    limit: usize,
}

impl Default for LogQuery {
    fn default() -> Self {
        Self { since: 0, limit: 1_000 }
    }
}

async fn show_call_log(
    Operator(app): Operator,
    query: Result<Query<LogQuery>, QueryRejection>,
) -> Answer<CallLog> {
    let Query(query) = query.map_err(|rejection| Problem::invalid(rejection.body_text()))?;
    let log = app.core().calls.log(query.since, query.limit.clamp(1, MAX_ENTRIES));
    Ok(Json(log))
}

async fn show_settings(Operator(app): Operator) -> Json<Settings> {
    Json(app.core().settings.clone())
}

async fn change_settings(Operator(app): Operator, body: Body) -> Answer<Settings> {
    let patch = json(body)?;
    let uptime = app.uptime();
    let mut core = app.core();
    let changed = patched(&core.settings, patch)?;
    core.set(changed.clone(), uptime);
    Ok(Json(changed))
}

async fn list_tokens(Operator(app): Operator) -> Json<Tokens> {
    Json(app.core().tokens.list())
}

async fn add_token(Operator(app): Operator, body: Body) -> Created<TokenStatus> {
    let AddToken { name, token } = json(body)?;
    // A caller with the control token as its own would be let in by accident.
    if app.is_control_token(&token) {
        return Err(Problem::conflict("that is the control token"));
    }
    let added = app.core().tokens.add(Token::new(name.clone(), token));
    added.map_err(|bad| match bad {
        BadToken::Name(_) | BadToken::Secret(_) => Problem::invalid(bad.to_string()),
        BadToken::Taken(_) | BadToken::Full => Problem::conflict(bad.to_string()),
    })?;
    Ok((StatusCode::CREATED, Json(TokenStatus { name, revoked: false })))
}

async fn revoke_token(Operator(app): Operator, token: Name) -> Answer<TokenStatus> {
    set_revoked(&app, token, true)
}

async fn restore_token(Operator(app): Operator, token: Name) -> Answer<TokenStatus> {
    set_revoked(&app, token, false)
}

fn set_revoked(app: &App, token: Name, revoked: bool) -> Answer<TokenStatus> {
    let token = name(token)?;
    let status = app.core().tokens.set_revoked(&token, revoked);
    status.map(Json).ok_or_else(|| Problem::not_found(format!("no token {token}")))
}

fn name(path: Name) -> Result<String, Problem> {
    match path {
        Ok(Path(name)) => Ok(name),
        Err(rejection) => Err(Problem::invalid(rejection.body_text())),
    }
}

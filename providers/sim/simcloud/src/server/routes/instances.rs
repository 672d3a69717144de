//! Instances.

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use axum::response::Response;
use axum::routing::{get, post};

use super::{Body, Id, known as known_id, pairs};
use crate::api::{InstanceId, Operation, path};
use crate::request::{Request, parse_instances};
use crate::server::app::App;
use crate::server::call::Caller;
use crate::server::problem::{Problem, json};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route(path::INSTANCES, get(list).post(create))
        .route(path::DESCRIBE_INSTANCES, post(describe))
        .route(path::BATCH_CREATE_INSTANCES, post(batch_create))
        .route(&path::instance("{id}"), get(show).patch(update))
        .route(&path::start_instance("{id}"), post(start))
        .route(&path::stop_instance("{id}"), post(stop))
        .route(&path::replace_instance("{id}"), post(replace))
        .route(&path::terminate_instance("{id}"), post(terminate))
}

async fn describe(caller: Caller, body: Body) -> Response {
    caller.call(Operation::DescribeInstances, json(body).map(Request::Describe)).await
}

async fn list(caller: Caller, uri: Uri) -> Response {
    let query = pairs(&uri).and_then(|pairs| Ok(parse_instances(pairs)?));
    caller.call(Operation::ListInstances, query.map(Request::List)).await
}

async fn show(caller: Caller, id: Id) -> Response {
    caller.call(Operation::GetInstance, known(id).map(Request::Get)).await
}

async fn create(caller: Caller, body: Body) -> Response {
    let wanted = json(body).map(|wanted| Request::Create(Box::new(wanted)));
    caller.call(Operation::CreateInstance, wanted).await
}

async fn batch_create(caller: Caller, body: Body) -> Response {
    caller.call(Operation::BatchCreateInstances, json(body).map(Request::BatchCreate)).await
}

async fn update(caller: Caller, id: Id, body: Body) -> Response {
    let request =
        known(id).and_then(|id| json(body).map(|update| Request::Update(id, Box::new(update))));
    caller.call(Operation::UpdateInstance, request).await
}

async fn start(caller: Caller, id: Id) -> Response {
    caller.call(Operation::StartInstance, known(id).map(Request::Start)).await
}

async fn stop(caller: Caller, id: Id) -> Response {
    caller.call(Operation::StopInstance, known(id).map(Request::Stop)).await
}

async fn replace(caller: Caller, id: Id) -> Response {
    caller.call(Operation::ReplaceInstance, known(id).map(Request::Replace)).await
}

async fn terminate(caller: Caller, id: Id) -> Response {
    caller.call(Operation::TerminateInstance, known(id).map(Request::Terminate)).await
}

fn known(id: Id) -> Result<InstanceId, Problem> {
    known_id(id).map(InstanceId::new)
}

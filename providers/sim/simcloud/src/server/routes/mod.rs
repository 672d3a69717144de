//! The cloud's API: `/v1`.

mod instances;
mod pieces;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, Query};
use axum::http::Uri;

use super::app::App;
use super::problem::Problem;

type Body = Result<Bytes, BytesRejection>;
type Id = Result<Path<String>, PathRejection>;

pub(crate) fn router() -> Router<Arc<App>> {
    instances::router().merge(pieces::router())
}

/// Names and values of the query string.
pub(super) fn pairs(uri: &Uri) -> Result<Vec<(String, String)>, Problem> {
    match Query::try_from_uri(uri) {
        Ok(Query(pairs)) => Ok(pairs),
        Err(rejection) => Err(Problem::invalid(rejection.body_text())),
    }
}

fn known(id: Id) -> Result<String, Problem> {
    match id {
        Ok(Path(id)) if id.is_empty() => Err(Problem::invalid("id: must not be empty")),
        Ok(Path(id)) => Ok(id),
        Err(rejection) => Err(Problem::invalid(rejection.body_text())),
    }
}

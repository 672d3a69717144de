//! What is answered.

mod configz;
mod slis;
mod zpages;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query};
use axum::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get, put};
use prometheus_client::registry::Registry;
use tracing::error;

pub(super) use self::slis::Slis;

use super::health::{self, Checks, Endpoint};
use crate::app::NAME;
use crate::app::flags::Given;
use crate::app::logging::Verbosity;
use crate::report::Chain;

/// What a client may send: a level of verbosity.
const BODY_BYTES: usize = 64;

/// Metrics as text.
pub trait Exposition: Send + Sync + 'static {
    /// The `OpenMetrics` text of all metrics, up to and including `# EOF`.
    fn render(&self) -> Result<String, fmt::Error>;
}

impl Exposition for Registry {
    fn render(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, self)?;
        Ok(text)
    }
}

/// What there is to tell.
#[derive(Clone)]
pub struct Endpoints {
    /// The process's health.
    pub checks: Checks,
    /// All metrics.
    pub metrics: Arc<dyn Exposition>,
    /// The command line.
    pub given: Given,
    /// The program's version, as `0.1.0`.
    pub version: &'static str,
    /// When the process was started.
    pub started: SystemTime,
    /// The log's verbosity, if it can be changed from outside.
    pub verbosity: Option<Verbosity>,
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoints").field("checks", &self.checks).finish_non_exhaustive()
    }
}

/// A path and what is done for it.
struct Route {
    path: String,
    handler: MethodRouter,
}

impl Endpoints {
    /// Those of a process of which nothing is known.
    pub fn new(checks: Checks, metrics: Arc<dyn Exposition>) -> Self {
        Self {
            checks,
            metrics,
            given: Given::default(),
            version: crate::app::VERSION,
            started: SystemTime::now(),
            verbosity: None,
        }
    }

    /// Every path that is answered, as axum writes patterns: `/healthz/{check}`.
    pub fn paths(&self) -> Vec<String> {
        self.routes().into_iter().map(|route| route.path).collect()
    }

    /// Answers, to whoever comes here.
    pub(super) fn router(&self) -> Router {
        let router = Router::new().fallback(async || not_found());
        let router = self
            .routes()
            .into_iter()
            .fold(router, |router, Route { path, handler }| router.route(&path, handler));
        router.layer(DefaultBodyLimit::max(BODY_BYTES))
    }

    fn routes(&self) -> Vec<Route> {
        let slis = Slis::default();
        let mut routes = vec![self.metrics(), slis_route(&slis), self.configz()];
        for endpoint in Endpoint::ALL {
            routes.extend(self.health(endpoint, &slis));
        }
        routes.extend(self.verbosity());
        routes.push(self.flagz());
        let paths = routes.iter().map(|route| route.path.clone()).collect();
        routes.push(self.statusz(paths));
        routes
    }

    fn metrics(&self) -> Route {
        let metrics = Arc::clone(&self.metrics);
        Route::new("/metrics", get(async move || exposition(&*metrics)))
    }

    fn configz(&self) -> Route {
        let text = configz::page(&self.given);
        Route::new("/configz", get(async move || (JSON, text)))
    }

    fn flagz(&self) -> Route {
        let text = zpages::flags(NAME, &self.given);
        Route::new("/flagz", get(async move || plain((StatusCode::OK, text))))
    }

    fn statusz(&self, mut paths: Vec<String>) -> Route {
        const PATH: &str = "/statusz";
        paths.push(PATH.to_owned());
        // Those with a pattern in them are not there to be typed.
        paths.retain(|path| !path.contains('{'));
        paths.sort();
        let (version, started) = (self.version, self.started);
        let page = move || zpages::status(NAME, version, started, SystemTime::now(), &paths);
        Route::new(PATH, get(async move || plain((StatusCode::OK, page()))))
    }

    fn verbosity(&self) -> Option<Route> {
        let verbosity = self.verbosity.clone()?;
        let set = put(async move |body: Bytes| plain(zpages::set_verbosity(&verbosity, &body)));
        // Upstream's words and status.
        let other =
            async || plain((StatusCode::NOT_ACCEPTABLE, "unsupported http method\n".to_owned()));
        Some(Route::new("/debug/flags/v", set.fallback(other)))
    }

    fn health(&self, endpoint: Endpoint, slis: &Slis) -> [Route; 2] {
        let path = format!("/{}", endpoint.name());
        let (checks, counted) = (self.checks.clone(), slis.clone());
        let all = get(async move |Query(query): Query<Vec<(String, String)>>| {
            let seen = |name, is_well| counted.seen(name, endpoint, is_well);
            plain(health::all(&checks, endpoint, query, seen))
        });
        let checks = self.checks.clone();
        let one = get(async move |Path(name): Path<String>| {
            health::one(&checks, endpoint, &name).map_or_else(not_found, plain)
        });
        [Route::new(&path, all), Route::new(&format!("{path}/{{check}}"), one)]
    }
}

impl Route {
    fn new(path: &str, handler: MethodRouter) -> Self {
        Self { path: path.to_owned(), handler }
    }
}

fn slis_route(slis: &Slis) -> Route {
    let (shown, reset) = (slis.clone(), slis.clone());
    // As upstream, somebody who may DELETE starts the counting anew.
    let delete = any(async || StatusCode::METHOD_NOT_ALLOWED.into_response());
    let handler = delete.get(async move || exposition(&shown)).delete(async move || {
        reset.reset();
        plain((StatusCode::OK, "metrics reset\n".to_owned()))
    });
    Route::new("/metrics/slis", handler)
}

const PLAIN: [(HeaderName, &str); 2] =
    [(CONTENT_TYPE, "text/plain; charset=utf-8"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];

const JSON: [(HeaderName, &str); 2] =
    [(CONTENT_TYPE, "application/json"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];

/// The format that `prometheus-client` writes, whatever the client would rather have: scrapers
/// that say they want the older text format read this one too.
const OPENMETRICS: [(HeaderName, &str); 1] =
    [(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];

fn plain((status, text): (StatusCode, String)) -> Response {
    (status, PLAIN, text).into_response()
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, PLAIN, "404 page not found\n").into_response()
}

fn exposition(metrics: &dyn Exposition) -> Response {
    match metrics.render() {
        Ok(text) => (OPENMETRICS, text).into_response(),
        Err(err) => {
            error!(error = %Chain(&err), "metrics not rendered");
            (StatusCode::INTERNAL_SERVER_ERROR, PLAIN, "metrics not rendered\n").into_response()
        }
    }
}

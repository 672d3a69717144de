//! The way of a call: who calls, what is in the way, the work, the answer, the log.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Json;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::app::{App, Core};
use super::problem::Problem;
use super::wire::Wire;
use crate::api::{FaultKind, Operation, OperationClass, Outcome, StruckBy};
use crate::calls::{About, Begun, End};
use crate::faults::{MAX_WAIT_MS, Strike, Victim};
use crate::request::{Answer, Request, serve, spoil};
use crate::state::Cx;

/// The longest name of a caller in the log.
const MAX_CALLER: usize = 64;

/// Whoever sent the request, not yet known to be let in.
#[derive(Debug)]
pub(crate) struct Caller {
    app: Arc<App>,
    wire: Wire,
    secret: Option<String>,
    product: Option<String>,
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Infallible> {
        let ConnectInfo(wire) = parts
            .extensions
            .get::<ConnectInfo<Wire>>()
            .cloned()
            .expect("the server puts it there for every connection");
        Ok(Self {
            app: Arc::clone(app),
            wire,
            secret: bearer(&parts.headers),
            product: product(&parts.headers),
        })
    }
}

/// The secret of an `Authorization: Bearer` header.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<String> {
    let (scheme, secret) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim().to_owned())
}

/// The first product of `User-Agent`, without its version.
fn product(headers: &HeaderMap) -> Option<String> {
    let agent = headers.get(header::USER_AGENT)?.to_str().ok()?;
    let product = agent.split(['/', ' ']).next()?;
    (!product.is_empty()).then(|| product.chars().take(MAX_CALLER).collect())
}

/// What stands between a call and its work.
#[derive(Debug)]
enum Fate {
    /// It is refused.
    Refused(Problem),
    /// It is let through, after a time, with a fault or without one.
    Passed { work: Box<Work>, latency: Duration, strike: Option<Strike> },
}

/// The work of a call.
#[derive(Debug)]
enum Work {
    /// It waits as long as the call does.
    Ahead(Result<Request, Problem>),
    /// It was done when the call arrived, and only the answer waits.
    Done(Result<Done, Problem>),
}

/// What came of the work.
#[derive(Debug)]
struct Done {
    answer: Answer,
    /// What must be saved before it is answered; nothing for a read.
    revision: Option<u64>,
}

impl Caller {
    /// Takes a call from its arrival to its answer.
    pub(crate) async fn call(
        self,
        operation: Operation,
        request: Result<Request, Problem>,
    ) -> Response {
        let (mut call, fate) = self.receive(operation, request);
        let (work, latency, strike) = match fate {
            Fate::Refused(problem) => return call.answer(Err(problem)),
            Fate::Passed { work, latency, strike } => (work, latency, strike),
        };
        let app = Arc::clone(&self.app);

        let mut delay = latency;
        match strike.as_ref().map(|strike| strike.kind) {
            Some(FaultKind::Reset) => return call.cut(),
            Some(FaultKind::Hang { max_ms }) => {
                let max = Duration::from_millis(max_ms.unwrap_or(MAX_WAIT_MS));
                let id = strike.as_ref().map_or("", |strike| &strike.id);
                if !app.fault_lifted(id, max).await {
                    return call.cut();
                }
            }
            Some(FaultKind::Slow { delay_ms, .. }) => delay += Duration::from_millis(delay_ms),
            Some(kind) => {
                if let Some(problem) = denial(kind) {
                    app.pause(delay).await;
                    return call.answer(Err(problem));
                }
            }
            None => {}
        }

        let loses_answer =
            strike.as_ref().is_some_and(|strike| strike.kind == FaultKind::LoseResponse);
        let trace = call.trace.clone();
        let work = async move {
            match *work {
                Work::Ahead(request) => {
                    app.pause(delay).await;
                    let done = perform(&mut app.core(), &trace, request, strike.as_ref());
                    saved(&app, done).await
                }
                Work::Done(done) => {
                    let answer = saved(&app, done).await;
                    app.pause(delay).await;
                    answer
                }
            }
        };
        let answer = match operation.class() {
            OperationClass::Read => work.await,
            // Once received, a write is done, though the caller may have gone meanwhile.
            OperationClass::Write => tokio::spawn(work).await.unwrap_or_else(|panic| {
                tracing::error!(%operation, error = %panic, "call not finished");
                Err(Problem::server_error(500, "the call was not finished"))
            }),
        };
        if loses_answer { call.cut() } else { call.answer(answer) }
    }

    /// Enters the call in the log and decides what becomes of it.
    fn receive(&self, operation: Operation, request: Result<Request, Problem>) -> (Call, Fate) {
        let mut core = self.app.core();
        let now = core.now();
        let token = self.secret.as_deref().and_then(|secret| core.tokens.name_of(secret));
        let is_known = token.is_some();
        let caller = self.product.as_deref().or(token).unwrap_or("unknown").to_owned();
        let about = request.as_ref().map_or_else(
            |_| About::default(),
            |request| About { instances: request.instances(), resource: request.resource() },
        );
        let begun = core.calls.begin(operation, &caller, about, now);
        let trace = Trace { operation, begun, changed: Arc::default() };
        let mut call = Call {
            app: Arc::clone(&self.app),
            wire: self.wire.clone(),
            trace: trace.clone(),
            has_ended: false,
            fault: None,
        };

        if !is_known {
            return (call, Fate::Refused(Problem::unauthenticated()));
        }
        if let Err(wait) = core.take(operation, self.app.uptime()) {
            return (call, Fate::Refused(Problem::throttled(Some(wait))));
        }
        let core = &mut *core;
        let victim = Victim { operation, caller: &caller };
        let cx = Cx::new(now, &core.settings, false);
        let strike = core.faults.strike(&victim, now, &mut core.rng, |spec| {
            let is_about_instance =
                |request: &Request, name: &String| request.is_about_instance(&core.cloud, name);
            let is_about_piece =
                |request: &Request, name: &String| request.is_about_piece(&core.cloud, &cx, name);
            let request = request.as_ref().ok();
            let is = |name: &Option<String>, is_about: &dyn Fn(&Request, &String) -> bool| {
                let Some(name) = name else { return true };
                request.is_some_and(|request| is_about(request, name))
            };
            is(&spec.instance, &is_about_instance) && is(&spec.resource, &is_about_piece)
        });
        if let Some(strike) = &strike {
            let kind = strike.kind.as_str().to_owned();
            call.fault = Some(StruckBy { id: strike.id.clone(), kind });
        }
        let latency = core.latency(operation);
        let is_done_now = strike
            .as_ref()
            .is_some_and(|one| matches!(one.kind, FaultKind::Slow { stale: true, .. }));
        let work = if is_done_now {
            // Under the same lock: whoever sees the call in flight knows what it has seen.
            Work::Done(perform(core, &trace, request, strike.as_ref()))
        } else {
            Work::Ahead(request)
        };
        (call, Fate::Passed { work: Box::new(work), latency, strike })
    }
}

/// The answer of a fault that refuses; none for those that do something else.
fn denial(kind: FaultKind) -> Option<Problem> {
    match kind {
        FaultKind::Unauthenticated => Some(Problem::unauthenticated()),
        FaultKind::PermissionDenied => {
            Some(Problem::permission_denied("the token does not allow this operation"))
        }
        FaultKind::Throttle { retry_after_ms } => {
            Some(Problem::throttled(retry_after_ms.map(Duration::from_millis)))
        }
        FaultKind::ServerError { status } => {
            Some(Problem::server_error(status, "the cloud failed"))
        }
        FaultKind::NotFound
        | FaultKind::Hang { .. }
        | FaultKind::Slow { .. }
        | FaultKind::CutPage { .. }
        | FaultKind::DropPageToken
        | FaultKind::EmptyPage
        | FaultKind::LoseResponse
        | FaultKind::Reset
        | FaultKind::FailProvisioning => None,
    }
}

/// Does what is asked, as far as the fault lets it.
fn perform(
    core: &mut Core,
    trace: &Trace,
    request: Result<Request, Problem>,
    strike: Option<&Strike>,
) -> Result<Done, Problem> {
    let now = core.now();
    let fails = strike.is_some_and(|strike| strike.kind == FaultKind::FailProvisioning);
    let changes = core.cloud.changes();
    let answer = serve(&mut core.cloud, request?, &Cx::new(now, &core.settings, fails))?;
    if core.cloud.changes() > changes {
        core.calls.changed(&trace.begun);
        trace.changed.store(true, Ordering::Relaxed);
    }
    let answer = match strike {
        Some(strike) => spoil(answer, strike, &core.cloud, &mut core.rng)?,
        None => answer,
    };
    let revision = match trace.operation.class() {
        OperationClass::Read => None,
        OperationClass::Write => {
            core.revision += 1;
            Some(core.revision)
        }
    };
    Ok(Done { answer, revision })
}

/// The answer, once what was done for it is on disk.
async fn saved(app: &App, done: Result<Done, Problem>) -> Result<Answer, Problem> {
    let Done { answer, revision } = done?;
    let is_saved = match revision {
        Some(revision) => app.is_saved(revision).await,
        None => true,
    };
    if is_saved {
        Ok(answer)
    } else {
        Err(Problem::server_error(500, "done, and lost when the cloud restarts: it is not saved"))
    }
}

/// A call in flight. When it is dropped without an end, the caller has gone away.
#[derive(Debug)]
struct Call {
    app: Arc<App>,
    wire: Wire,
    trace: Trace,
    has_ended: bool,
    fault: Option<StruckBy>,
}

/// What the log is told of a call, also by work that outlives it.
#[derive(Clone, Debug)]
struct Trace {
    operation: Operation,
    begun: Begun,
    changed: Arc<AtomicBool>,
}

impl Call {
    fn answer(&mut self, answer: Result<Answer, Problem>) -> Response {
        let response = match answer {
            Ok(answer) => answer.into_response(),
            Err(problem) => problem.into_response(),
        };
        let status = response.status();
        let outcome = if status == StatusCode::TOO_MANY_REQUESTS {
            Outcome::Throttled
        } else if status.is_client_error() {
            Outcome::ClientError
        } else if status.is_server_error() {
            Outcome::ServerError
        } else {
            Outcome::Ok
        };
        self.end(Some(status.as_u16()), outcome);
        response
    }

    /// Ends without an answer; what is returned never leaves.
    fn cut(&mut self) -> Response {
        self.end(None, Outcome::Cut);
        self.wire.cut();
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }

    fn end(&mut self, status: Option<u16>, outcome: Outcome) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let changed = self.trace.changed.load(Ordering::Relaxed);
        let mut core = self.app.core();
        let at = core.now();
        let end = End { at, status, outcome, fault: self.fault.take(), changed };
        core.calls.end(self.trace.begun.clone(), end);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(None, Outcome::Abandoned);
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Self::One(shown) => Json(shown).into_response(),
            Self::Made(shown) => (StatusCode::CREATED, Json(shown)).into_response(),
            Self::List(list) => Json(list).into_response(),
        }
    }
}

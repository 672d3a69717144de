//! The API server, in the process's own client: takes patches of one condition, refuses them, loses
//! answers, and is slow.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::sleep;
use tower::{BoxError, Service};

use super::laws::{what_is_told_is_true, writes_are_few};
use super::state::{Sim, State};
use crate::cloud::NodeName;
use crate::cluster::node::{Condition, ConditionStatus, Version};

/// One process's way to the API server.
#[derive(Clone, Debug)]
pub(super) struct Api {
    pub(super) sim: Sim,
    /// Rings when the process dies of itself.
    pub(super) dies: Arc<Notify>,
}

/// What becomes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Taken,
    Refused(u16),
    /// It is taken, and no answer comes.
    Lost,
    /// No answer comes; whether it is taken shows when nobody waits any more.
    Hangs,
}

/// The other program's word for "reachable".
pub(super) const THEIRS: &str = "CiliumIsUp";

impl Service<Request<Body>> for Api {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let node = head.uri.path().strip_prefix("/api/v1/nodes/");
            let node = node.and_then(|path| path.strip_suffix("/status"));
            let Some(node) = node.filter(|_| head.method == Method::PATCH) else {
                this.sim.lock().figures.count("event");
                let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}});
                return answer(201, &event);
            };
            let patch = serde_json::from_slice(&body.collect_bytes().await?)?;
            this.patch(&node.into(), patch).await
        })
    }
}

fn answer(code: u16, body: &Value) -> Result<Response<Body>, BoxError> {
    Ok(Response::builder().status(code).body(Body::from(serde_json::to_vec(body)?))?)
}

fn refusal(code: u16) -> Result<Response<Body>, BoxError> {
    let status = json!({
        "kind": "Status", "status": "Failure", "message": "no", "reason": "No", "code": code,
    });
    answer(code, &status)
}

/// A write on its way. Where its sender dies, it may arrive all the same.
struct Wire<'a> {
    sim: &'a Sim,
    sent: Option<(&'a NodeName, &'a Value)>,
}

impl Drop for Wire<'_> {
    fn drop(&mut self) {
        let Some((name, patch)) = self.sent.take() else { return };
        let mut state = self.sim.lock();
        if state.rng.chance(50) {
            state.note("write done unheard", || name.to_string());
            let _ = state.take(self.sim, name, patch);
        }
    }
}

impl Api {
    async fn patch(&self, name: &NodeName, patch: Value) -> Result<Response<Body>, BoxError> {
        let mut wire = Wire { sim: &self.sim, sent: None };
        self.may_die("crash before a write to the API").await;
        let (fate, there, back) = {
            let mut state = self.sim.lock();
            let entry = &patch["status"]["conditions"][0];
            state
                .say(|| format!("  {name} is to be told {} {}", entry["reason"], entry["message"]));
            state.sent(name);
            let fate = state.fate_of_a_write();
            let ways = if state.setup.api_faults > 0 && !state.is_calm() && state.rng.chance(10) {
                state.figures.count("the API was slow");
                [state.rng.between(1, 5000), state.rng.between(1, 2000)]
            } else {
                [state.rng.between(1, 20), state.rng.between(1, 20)]
            };
            (fate, Duration::from_millis(ways[0]), Duration::from_millis(ways[1]))
        };
        wire.sent = Some((name, &patch));
        sleep(there).await;
        match fate {
            Fate::Refused(code) => {
                wire.sent = None;
                return refusal(code);
            }
            Fate::Hangs => {
                // The client's own limit.
                sleep(Duration::from_secs(10)).await;
                return Err("no answer".into());
            }
            Fate::Taken | Fate::Lost => {}
        }
        wire.sent = None;
        let taken = self.sim.lock().take(&self.sim, name, &patch);
        self.may_die("crash after a write to the API").await;
        sleep(back).await;
        match taken {
            _ if fate == Fate::Lost => {
                sleep(Duration::from_secs(9)).await;
                Err("no answer".into())
            }
            Ok(version) => answer(200, &json!({"metadata": {"resourceVersion": version.as_str()}})),
            Err(code) => refusal(code),
        }
    }

    async fn may_die(&self, what: &'static str) {
        let is_over = {
            let mut state = self.sim.lock();
            let crashes = state.setup.crashes;
            let is_over = !state.is_calm() && state.rng.chance(crashes);
            if is_over {
                state.note(what, String::new);
            }
            is_over
        };
        if is_over {
            self.dies.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

impl State {
    fn fate_of_a_write(&mut self) -> Fate {
        let faults = self.setup.api_faults;
        if self.is_calm() {
            return Fate::Taken;
        }
        if self.rng.chance(faults) {
            let codes = [403, 409, 429, 500];
            self.figures.count("the API refuses a write");
            return Fate::Refused(self.rng.pick(&codes));
        }
        if self.rng.chance(faults) {
            self.figures.count("the API's answer is lost");
            return self.rng.pick(&[Fate::Lost, Fate::Hangs]);
        }
        Fate::Taken
    }

    /// Counts a write that is sent.
    fn sent(&mut self, name: &NodeName) {
        self.writes += 1;
        let Some(uid) = self.nodes.get(name).map(|node| node.uid.clone()) else { return };
        let now = self.now();
        self.written.entry(uid.clone()).or_default().push(now);
        let verdict = writes_are_few(self, &uid);
        self.judge(verdict);
    }

    /// Takes a patch of the condition. Gives the Node's version, or the code of the refusal.
    fn take(&mut self, sim: &Sim, name: &NodeName, patch: &Value) -> Result<Version, u16> {
        let mut node = self.nodes.get(name).ok_or(404_u16)?.clone();
        if patch["metadata"]["uid"] != node.uid.as_str() {
            return Err(422);
        }
        let [entry] = &patch["status"]["conditions"].as_array().expect("conditions")[..] else {
            panic!("one condition: {patch}");
        };
        assert_eq!(entry["type"], "NetworkUnavailable");
        let status = match entry["status"].as_str() {
            Some("True") => ConditionStatus::True,
            Some("False") => ConditionStatus::False,
            _ => ConditionStatus::Unknown,
        };
        let reason = entry["reason"].as_str().expect("a reason");
        let verdict = what_is_told_is_true(self, &node, status, reason);
        self.judge(verdict);
        self.figures.count(match status {
            ConditionStatus::False => "told: reachable",
            ConditionStatus::True | ConditionStatus::Unknown => "told: not reachable",
        });
        let message = entry["message"].as_str().expect("a message");
        self.say(|| format!("{name} says {status:?} {reason}: {message}"));
        let is_true = status == ConditionStatus::True;
        node.unreachable_because = if is_true { message.into() } else { "".into() };
        node.network_unavailable = Some(Condition { status, reason: reason.into() });
        Ok(self.store(sim, node))
    }
}

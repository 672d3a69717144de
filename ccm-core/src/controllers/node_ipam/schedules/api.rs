//! The API server: takes patches of Nodes, or has mishaps with them.

use std::collections::btree_map::Entry;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use json_patch::PatchOperation;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::sleep;
use tower::{BoxError, Service};

use super::laws::{given_right, written_right};
use super::mutants::Mutant;
use super::setup::Mishap;
use super::state::{Author, Generation, Ms, Sim, State};
use crate::cloud::NodeName;
use crate::cluster::node::{Condition, ConditionStatus};

/// How long the client waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What a process that died had sent is carried out in this time, or not at all.
const AFTER_DEATH: Ms = 700;

/// The API server, as one process reaches it.
#[derive(Clone, Debug)]
pub(super) struct Api {
    pub(super) sim: Sim,
    pub(super) generation: Generation,
}

/// A patch, as it comes over the wire.
#[derive(Clone, Debug)]
struct Write {
    name: NodeName,
    body: Value,
    is_status: bool,
}

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
            let body = serde_json::from_slice(&body.collect_bytes().await?)?;
            if head.method != Method::PATCH {
                // Events.
                return answer(201, &body);
            }
            let path = head.uri.path().trim_start_matches("/api/v1/nodes/");
            let name = path.trim_end_matches("/status");
            let is_status = path != name;
            this.write(Write { name: name.into(), body, is_status }).await
        })
    }
}

impl Api {
    async fn write(self, write: Write) -> Result<Response<Body>, BoxError> {
        let (mishap, on_its_way) = {
            let mut state = self.sim.lock();
            state.arrives(self.generation, &write);
            let trouble = state.setup.trouble(state.now());
            let strikes = trouble.filter(|trouble| state.rng.chance(trouble.percent));
            let longest = state.rng.pick(&[40, 40, 600]);
            (strikes.map(|trouble| trouble.mishap), state.rng.between(1, longest))
        };
        // What is sent goes on when the process dies.
        let on_its_way = Duration::from_millis(on_its_way);
        let goes_on = tokio::spawn(self.clone().arrived(write.clone(), mishap, on_its_way));
        let answer = goes_on.await?;
        if answer.as_ref().map_or(true, |answer| !answer.status().is_success()) {
            self.failed(&write);
        }
        answer
    }

    /// For the mistake that takes any failure for a refusal.
    fn failed(&self, write: &Write) {
        let state = self.sim.lock();
        let node = state.nodes.get(&write.name).map(|stored| stored.node.clone());
        let controller = state.controller.upgrade();
        let is_wanted = state.setup.mutant == Some(Mutant::FailureIsRefusal) && !write.is_status;
        if let (Some(mut node), Some(controller), true) = (node, controller, is_wanted) {
            node.pod_cidrs = [].into();
            let mut desk = controller.intake.desk();
            desk.gone(&node.uid);
            desk.shows(&node);
        }
    }

    async fn arrived(
        self,
        write: Write,
        mishap: Option<Mishap>,
        on_its_way: Duration,
    ) -> Result<Response<Body>, BoxError> {
        sleep(on_its_way).await;
        let count = |what| self.sim.lock().figures.count(what);
        let lost = || -> BoxError { Box::new(io::Error::other("the connection was closed")) };
        match mishap {
            None => {
                let code = self.carry_out(&write);
                sleep(on_its_way).await;
                refused_or(code)
            }
            Some(Mishap::Refused(code)) => {
                count("write fault: refused");
                refused_or(code)
            }
            Some(Mishap::DoneAndFailed(code)) => {
                count("write fault: done, and a failure answered");
                self.carry_out(&write);
                refused_or(code)
            }
            Some(Mishap::DoneAndLost) => {
                count("write fault: done, and the answer lost");
                self.carry_out(&write);
                Err(lost())
            }
            Some(Mishap::Lost) => {
                count("write fault: lost");
                Err(lost())
            }
            Some(Mishap::Late) => {
                count("write fault: late");
                let late = self.sim.lock().rng.between(1, 14_000);
                let this = self.clone();
                tokio::spawn(async move {
                    sleep(Duration::from_millis(late)).await;
                    this.carry_out(&write);
                });
                sleep(TIMEOUT).await;
                Err(lost())
            }
        }
    }

    fn carry_out(&self, write: &Write) -> u16 {
        self.sim.lock().carry_out(self.generation, write)
    }
}

fn answer(code: u16, body: &Value) -> Result<Response<Body>, BoxError> {
    Ok(Response::builder().status(code).body(Body::from(serde_json::to_vec(body)?))?)
}

fn refused_or(code: u16) -> Result<Response<Body>, BoxError> {
    if code == 200 {
        return answer(200, &json!({"metadata": {"resourceVersion": "1"}}));
    }
    let status = json!({"kind": "Status", "status": "Failure", "message": "refused",
        "reason": "Unknown", "code": code});
    answer(code, &status)
}

impl Write {
    /// What a reader of a trace wants to know.
    fn summary(&self) -> String {
        if self.is_status {
            let entry = &self.body["status"]["conditions"][0];
            format!("{} {}", entry["status"], entry["reason"])
        } else {
            ranges(&self.body).join(" ")
        }
    }
}

/// The ranges that a patch adds.
fn ranges(body: &Value) -> Vec<String> {
    let operations = body.as_array().into_iter().flatten();
    let added = operations.filter(|one| one["path"] == "/spec/podCIDRs");
    let texts = added.flat_map(|one| one["value"].as_array().into_iter().flatten());
    texts.filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

impl State {
    /// A write is about to be carried out, or to have a mishap.
    fn arrives(&mut self, generation: Generation, write: &Write) {
        let now = self.now();
        self.last_try = now;
        self.say(|| format!("process {generation} writes {}: {}", write.name, write.summary()));
        let uid = if write.is_status {
            write.body["metadata"]["uid"].as_str()
        } else {
            write.body[0]["value"].as_str()
        };
        let uid: crate::cloud::Uid = uid.unwrap_or_default().into();
        *self.tries.entry(uid.clone()).or_default() += 1;
        if write.is_status {
            return;
        }
        let ranges = ranges(&write.body);
        let key = (generation, uid.clone(), ranges.join(","));
        if let Entry::Vacant(entry) = self.sent.entry(key) {
            entry.insert(now);
        } else {
            self.figures.count("write of the same ranges again");
        }
        let verdict = written_right(self, &uid, &ranges);
        self.judge(verdict);
    }

    /// Carries a write out. Gives the code of the answer.
    fn carry_out(&mut self, generation: Generation, write: &Write) -> u16 {
        let now = self.now();
        if let Some(death) = self.deaths.get(&generation) {
            if now > death + AFTER_DEATH {
                return 0;
            }
            self.figures.count("carried out after its process died");
        }
        let code = if write.is_status {
            self.patch_status(write)
        } else {
            self.patch_main(generation, write)
        };
        match code {
            404 => self.figures.count("write answered: 404"),
            409 => self.figures.count("write answered: 409"),
            422 => self.figures.count("write answered: 422"),
            _ => {}
        }
        self.say(|| format!("process {generation} has written {}: {code}", write.name));
        code
    }

    fn patch_main(&mut self, generation: Generation, write: &Write) -> u16 {
        let Some(mut stored) = self.nodes.get(&write.name).cloned() else { return 404 };
        let mut operations: Vec<PatchOperation> =
            serde_json::from_value(write.body.clone()).expect("a JSON Patch");
        if self.setup.mutant == Some(Mutant::UidUntested) {
            operations.retain(|operation| !matches!(operation, PatchOperation::Test(_)));
        }
        let mut document = json!({"metadata": {"uid": stored.node.uid.as_str()}, "spec": {}});
        if json_patch::patch(&mut document, &operations).is_err() {
            return 422;
        }
        let mut wanted = ranges(&write.body);
        if self.setup.mutant == Some(Mutant::OneFamily) {
            wanted.truncate(1);
        }
        let before: Vec<_> = stored.node.pod_cidrs.iter().map(ToString::to_string).collect();
        if before == wanted {
            return 200;
        }
        if !before.is_empty() {
            return 422;
        }
        stored.node.pod_cidrs = wanted.iter().map(|range| Box::from(range.as_str())).collect();
        stored.author = Some(Author::Us);
        let verdict = given_right(self, generation, &stored);
        self.judge(verdict);
        self.figures.count("ranges given");
        if wanted.iter().any(|range| self.returned.contains(range)) {
            self.figures.count("a range given back is given again");
        }
        if self.told.contains(&stored.node.uid) {
            self.figures.count("served after a wait");
        }
        self.put(stored);
        200
    }

    fn patch_status(&mut self, write: &Write) -> u16 {
        let Some(mut stored) = self.nodes.get(&write.name).cloned() else { return 404 };
        if write.body["metadata"]["uid"] != stored.node.uid.as_str() {
            return 409;
        }
        let entry = &write.body["status"]["conditions"][0];
        assert_eq!(entry["type"], "NetworkUnavailable");
        if self.setup.mutant == Some(Mutant::Silent) {
            return 200;
        }
        let reason = entry["reason"].as_str().unwrap_or_default();
        let status =
            if entry["status"] == "True" { ConditionStatus::True } else { ConditionStatus::False };
        if status == ConditionStatus::True {
            self.figures.count("told that there is none");
            self.told.insert(stored.node.uid.clone());
        }
        stored.node.network_unavailable = Some(Condition { status, reason: reason.into() });
        self.put(stored);
        200
    }
}

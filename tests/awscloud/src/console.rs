//! The test's hand on the fake: what the operator does, what went over the wire, and faults.

use std::{collections::BTreeMap, time::Duration};

use reqwest::{Method, StatusCode};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    api::{Boto, Call, Calls, Correction, Fault, Instance, Launch, Refusal, Settings, World},
    error::Error,
};

/// Deadline of a call. Long enough for a thousand machines on a busy machine.
const DEADLINE: Duration = Duration::from_mins(2);

/// The control side of a fake. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Console {
    http: reqwest::Client,
    url: String,
    agent: Option<String>,
}

impl Console {
    /// A console for the fake at this URL. Sends nothing yet.
    pub fn new(url: impl Into<String>) -> Result<Self, Error> {
        let transport = |source| Error::Transport { what: "a client".to_owned(), source };
        // Plain HTTP; the client wants TLS settings all the same, and would otherwise depend on
        // what the process has installed.
        let tls = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("the provider supports the default versions")
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .timeout(DEADLINE)
            .no_proxy()
            .build()
            .map_err(transport)?;
        Ok(Self { http, url: url.into(), agent: None })
    }

    /// The endpoint of every service.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same with another user agent for [`aws`](Self::aws): to be the program under test.
    #[must_use]
    pub fn as_caller(&self, agent: impl Into<String>) -> Self {
        Self { agent: Some(agent.into()), ..self.clone() }
    }

    /// Forgets everything: the cloud, faults, settings and calls.
    pub async fn reset(&self) -> Result<(), Error> {
        self.post::<Value>("reset", &json!({})).await.map(drop)
    }

    /// The number of the last call.
    pub async fn mark(&self) -> Result<u64, Error> {
        let calls: Calls = self.post("calls", &json!({ "list": false })).await?;
        Ok(calls.mark)
    }

    /// The calls after this mark, 0 for all, by callers with this in their user agent or access
    /// key ID. Our own are `operator`'s.
    pub async fn calls_since(&self, mark: u64, caller: &str) -> Result<Vec<Call>, Error> {
        let calls: Calls = self.post("calls", &json!({ "mark": mark, "caller": caller })).await?;
        Ok(calls.calls)
    }

    /// How many calls of each action came after this mark.
    pub async fn counts(&self, mark: u64, caller: &str) -> Result<BTreeMap<String, u64>, Error> {
        let ask = json!({ "mark": mark, "caller": caller, "list": false });
        let calls: Calls = self.post("calls", &ask).await?;
        Ok(calls.counts)
    }

    /// The calls after this mark that would change something, whether they were let or not.
    pub async fn mutations_by(&self, mark: u64, caller: &str) -> Result<Vec<Call>, Error> {
        let mut calls = self.calls_since(mark, caller).await?;
        calls.retain(|call| call.mutates);
        Ok(calls)
    }

    /// Adds a fault behind those that are there; the first that matches hits. Its number is for
    /// [`heal_one`](Self::heal_one).
    pub async fn add_fault(&self, fault: &Fault) -> Result<u64, Error> {
        let made: Value = self.post("faults", fault).await?;
        Ok(made["number"].as_u64().unwrap_or_default())
    }

    /// Takes all faults away.
    pub async fn heal(&self) -> Result<(), Error> {
        self.post::<Value>("heal", &json!({})).await.map(drop)
    }

    /// Takes one fault away.
    pub async fn heal_one(&self, number: u64) -> Result<(), Error> {
        self.post::<Value>("heal", &json!({ "number": number })).await.map(drop)
    }

    /// Changes settings.
    pub async fn set(&self, settings: &Settings) -> Result<(), Error> {
        self.post::<Value>("settings", settings).await.map(drop)
    }

    /// All corrections, in the book's order.
    pub async fn corrections(&self) -> Result<Vec<Correction>, Error> {
        self.ask(Method::GET, "corrections", None::<&()>).await
    }

    /// Makes a network as kops does, in `us-east-1`.
    pub async fn world(&self, cluster: &str) -> Result<World, Error> {
        self.post("world", &json!({ "cluster": cluster })).await
    }

    /// As [`world`](Self::world), with the cluster's marks on the private route table too.
    pub async fn world_of_two_tables(&self, cluster: &str) -> Result<World, Error> {
        self.post("world", &json!({ "cluster": cluster, "tag_private_table": true })).await
    }

    /// Launches machines, in the order of their numbers.
    pub async fn launch(&self, world: &World, launch: &Launch) -> Result<Vec<Instance>, Error> {
        #[derive(Serialize)]
        struct Ask<'a> {
            world: &'a World,
            #[serde(flatten)]
            launch: &'a Launch,
        }
        self.post("launch", &Ask { world, launch }).await
    }

    /// Terminates machines.
    pub async fn terminate(&self, ids: &[&str]) -> Result<(), Error> {
        self.aws("ec2", "terminate_instances", json!({ "InstanceIds": ids })).await.map(drop)
    }

    /// Stops machines.
    pub async fn stop(&self, ids: &[&str]) -> Result<(), Error> {
        self.aws("ec2", "stop_instances", json!({ "InstanceIds": ids })).await.map(drop)
    }

    /// Starts machines that were stopped.
    pub async fn start_again(&self, ids: &[&str]) -> Result<(), Error> {
        self.aws("ec2", "start_instances", json!({ "InstanceIds": ids })).await.map(drop)
    }

    /// All that bears this cluster's mark, as sorted lines without IDs, ARNs and times: equal for
    /// equal clouds.
    pub async fn snapshot(&self, cluster: &str) -> Result<Vec<String>, Error> {
        self.post("snapshot", &json!({ "cluster": cluster })).await
    }

    /// What boto3 answers: `aws("ec2", "describe_instances", json!({}))`. Its caller is `operator`.
    pub async fn aws(&self, service: &str, method: &str, args: Value) -> Result<Value, Error> {
        self.try_aws(service, method, args)
            .await?
            .map_err(|refusal| Error::Refused { call: format!("{service} {method}"), refusal })
    }

    /// As [`aws`](Self::aws), for tests that want to see AWS refuse. No answer at all is the code
    /// `NoAnswer` with status 0.
    pub async fn try_aws(
        &self,
        service: &str,
        method: &str,
        args: Value,
    ) -> Result<Result<Value, Refusal>, Error> {
        let ask = json!({
            "service": service, "method": method, "kwargs": args, "agent": self.agent,
        });
        Ok(match self.post("boto", &ask).await? {
            Boto::Ok(answer) => Ok(answer),
            Boto::Error(refusal) => Err(refusal),
        })
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + Sync + ?Sized),
    ) -> Result<T, Error> {
        self.ask(Method::POST, path, Some(body)).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync + ?Sized)>,
    ) -> Result<T, Error> {
        let path = format!("/ccm/{path}");
        let transport = |source| Error::Transport { what: path.clone(), source };
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(transport)?;
        let status = answer.status();
        let text = answer.text().await.map_err(transport)?;
        if status != StatusCode::OK {
            return Err(Error::Control { path, status: status.as_u16(), text });
        }
        serde_json::from_str(&text).map_err(|source| Error::Json { what: path, source })
    }
}

//! A client of the operator's side: makes and breaks instances, load balancers, routes and volumes,
//! and works the controls.
//!
//! For tests, demos and benches. Its calls of the cloud's API are calls like any other: they are
//! logged (as `console`), limited, and struck by faults that do not name another caller. A console
//! with a token of its own is not locked out when another's is revoked.

mod load_balancers;
mod routes;
mod volumes;

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::api::{
    AddToken, BatchCreateInstances, CallLog, Calls, CreateInstance, DescribeInstances, ErrorBody,
    ErrorDetail, Fault, FaultSpec, Faults, Instance, InstanceId, InstancePage, Instances,
    ListInstances, Settings, SettingsPatch, TokenStatus, Tokens, UpdateInstance, path,
};

/// How the call log names the console.
pub const CALLER: &str = "console";

/// Deadline of a call. Long enough for the largest `batchCreate` on a busy machine.
const DEADLINE: Duration = Duration::from_mins(1);

/// Why a call of the console has no result.
#[derive(Debug, Error)]
pub enum ConsoleError {
    /// The cloud refused, and says why.
    #[error("the cloud answered {status}: {}", error.message)]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The reason.
        error: ErrorDetail,
    },
    /// Something else than the cloud answered.
    #[error("an answer with status {status} is not the cloud's")]
    Foreign {
        /// The HTTP status.
        status: u16,
    },
    /// There was no answer, or it broke off.
    #[error("no answer from the cloud")]
    Transport(#[from] reqwest::Error),
}

type Result<T> = std::result::Result<T, ConsoleError>;

/// The operator's hands on a cloud. Cheap to clone.
#[derive(Clone)]
pub struct Console {
    http: reqwest::Client,
    url: String,
    token: String,
    control_token: String,
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Console {
    /// A console for the cloud at a URL such as `http://127.0.0.1:8080`. Sends nothing yet.
    pub fn new(
        url: impl Into<String>,
        token: impl Into<String>,
        control_token: impl Into<String>,
    ) -> Result<Self> {
        // The cloud speaks plain HTTP. The client wants TLS settings all the same, and would
        // otherwise depend on what the process has installed.
        let tls = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("the provider supports the default versions")
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(format!("{CALLER}/{}", env!("CARGO_PKG_VERSION")))
            .timeout(DEADLINE)
            .no_proxy()
            .build()?;
        let url = url.into().trim_end_matches('/').to_owned();
        Ok(Self { http, url, token: token.into(), control_token: control_token.into() })
    }

    /// The cloud's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same console with another token for the cloud's API.
    #[must_use]
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self { token: token.into(), ..self.clone() }
    }

    /// Makes an instance.
    pub async fn create_instance(&self, wanted: &CreateInstance) -> Result<Instance> {
        answer(self.cloud(Method::POST, path::INSTANCES).json(wanted)).await
    }

    /// Makes many instances in one call, all or none.
    pub async fn create_instances(&self, wanted: Vec<CreateInstance>) -> Result<Vec<Instance>> {
        let batch = BatchCreateInstances { instances: wanted };
        let made: Instances =
            answer(self.cloud(Method::POST, path::BATCH_CREATE_INSTANCES).json(&batch)).await?;
        Ok(made.instances)
    }

    /// Changes what is given of an instance.
    pub async fn update_instance(
        &self,
        id: &InstanceId,
        update: &UpdateInstance,
    ) -> Result<Instance> {
        answer(self.cloud(Method::PATCH, &path::instance(id)).json(update)).await
    }

    /// Starts an instance.
    pub async fn start_instance(&self, id: &InstanceId) -> Result<Instance> {
        answer(self.cloud(Method::POST, &path::start_instance(id))).await
    }

    /// Stops an instance.
    pub async fn stop_instance(&self, id: &InstanceId) -> Result<Instance> {
        answer(self.cloud(Method::POST, &path::stop_instance(id))).await
    }

    /// Puts a new machine behind the ID and the name of an instance.
    pub async fn replace_instance(&self, id: &InstanceId) -> Result<Instance> {
        answer(self.cloud(Method::POST, &path::replace_instance(id))).await
    }

    /// Terminates an instance.
    pub async fn terminate_instance(&self, id: &InstanceId) -> Result<Instance> {
        answer(self.cloud(Method::POST, &path::terminate_instance(id))).await
    }

    /// Looks one instance up.
    pub async fn instance(&self, id: &InstanceId) -> Result<Instance> {
        answer(self.cloud(Method::GET, &path::instance(id))).await
    }

    /// Looks instances up by ID or name; unknown ones are missing.
    pub async fn describe_instances(&self, ask: &DescribeInstances) -> Result<Vec<Instance>> {
        let found: Instances =
            answer(self.cloud(Method::POST, path::DESCRIBE_INSTANCES).json(ask)).await?;
        Ok(found.instances)
    }

    /// One page of the list.
    pub async fn list_instances(&self, ask: &ListInstances) -> Result<InstancePage> {
        answer(self.cloud(Method::GET, path::INSTANCES).query(&ask.to_query())).await
    }

    /// All pages of the list of those that have the tags.
    pub async fn all_instances(&self, tags: BTreeMap<String, String>) -> Result<Vec<Instance>> {
        let mut ask = ListInstances { tags, ..ListInstances::default() };
        let mut all = Vec::new();
        loop {
            let page = self.list_instances(&ask).await?;
            all.extend(page.instances);
            match page.next_page_token {
                Some(next) => ask.page_token = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// Adds a fault.
    pub async fn add_fault(&self, spec: &FaultSpec) -> Result<Fault> {
        answer(self.control(Method::POST, path::FAULTS).json(spec)).await
    }

    /// One fault, with its uses.
    pub async fn fault(&self, id: &str) -> Result<Fault> {
        answer(self.control(Method::GET, &path::fault(id))).await
    }

    /// All faults, with their uses.
    pub async fn faults(&self) -> Result<Vec<Fault>> {
        let all: Faults = answer(self.control(Method::GET, path::FAULTS)).await?;
        Ok(all.faults)
    }

    /// Removes a fault; calls that it holds go on.
    pub async fn remove_fault(&self, id: &str) -> Result<()> {
        done(self.control(Method::DELETE, &path::fault(id))).await
    }

    /// Removes all faults.
    pub async fn clear_faults(&self) -> Result<()> {
        done(self.control(Method::DELETE, path::FAULTS)).await
    }

    /// Counts of calls.
    pub async fn calls(&self) -> Result<Calls> {
        answer(self.control(Method::GET, path::CALLS)).await
    }

    /// Forgets counts and calls.
    pub async fn clear_calls(&self) -> Result<()> {
        done(self.control(Method::DELETE, path::CALLS)).await
    }

    /// The calls after `since`, at most 10 000; go on with [`CallLog::next`].
    pub async fn call_log(&self, since: u64) -> Result<CallLog> {
        let query = [("since", since), ("limit", 10_000)];
        answer(self.control(Method::GET, path::CALL_LOG).query(&query)).await
    }

    /// The settings.
    pub async fn settings(&self) -> Result<Settings> {
        answer(self.control(Method::GET, path::SETTINGS)).await
    }

    /// Changes what is given of the settings: latency, limits, delays.
    pub async fn change_settings(&self, patch: &SettingsPatch) -> Result<Settings> {
        answer(self.control(Method::PATCH, path::SETTINGS).json(patch)).await
    }

    /// All tokens, without their secrets.
    pub async fn tokens(&self) -> Result<Vec<TokenStatus>> {
        let all: Tokens = answer(self.control(Method::GET, path::TOKENS)).await?;
        Ok(all.tokens)
    }

    /// Lets a token in.
    pub async fn add_token(&self, name: &str, token: &str) -> Result<TokenStatus> {
        let added = AddToken { name: name.to_owned(), token: token.to_owned() };
        answer(self.control(Method::POST, path::TOKENS).json(&added)).await
    }

    /// Revokes a token by its name.
    pub async fn revoke_token(&self, name: &str) -> Result<TokenStatus> {
        answer(self.control(Method::POST, &path::revoke_token(name))).await
    }

    /// Restores a token by its name.
    pub async fn restore_token(&self, name: &str) -> Result<TokenStatus> {
        answer(self.control(Method::POST, &path::restore_token(name))).await
    }

    fn cloud(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    fn control(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.control_token)
    }
}

async fn answer<T: DeserializeOwned>(request: RequestBuilder) -> Result<T> {
    Ok(succeeded(request).await?.json().await?)
}

async fn done(request: RequestBuilder) -> Result<()> {
    succeeded(request).await.map(drop)
}

async fn succeeded(request: RequestBuilder) -> Result<reqwest::Response> {
    let response = request.send().await?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    Err(refusal(status, response.json().await.ok()))
}

fn refusal(status: StatusCode, body: Option<ErrorBody>) -> ConsoleError {
    let status = status.as_u16();
    match body {
        Some(body) => ConsoleError::Refused { status, error: body.error },
        None => ConsoleError::Foreign { status },
    }
}

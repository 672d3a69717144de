//! The cloud's API behind the calls that we make, in the cloud's own types.
//!
//! Nothing of the HTTP client leaves this module. A method that changes something takes `&Write`
//! instead of `&Read`, so that no look and no plan can call it.

mod load_balancers;
mod routes;
mod volumes;

pub(crate) use volumes::VolumeRecord;

use std::fmt;
use std::time::Duration;

use ccm_core::cloud::{Bucket, CloudError, ConfigError, Kind, Operation, Read};
use ccm_core::report::Chain;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Certificate, RequestBuilder, Response, redirect, retry};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use simcloud::api::{self, DescribeInstances, Instance, InstanceId};

use crate::config::{Config, Endpoint};
use crate::error::{Failure, fold};

/// All reading calls share one rate limit in this cloud.
const READS: Bucket = Bucket("read");
/// And all that change something another.
const WRITES: Bucket = Bucket("write");

const DESCRIBE_INSTANCES: Operation = Operation(api::Operation::DescribeInstances.as_str());
const GET_INSTANCE: Operation = Operation(api::Operation::GetInstance.as_str());

/// How long a connection may take to come about.
///
/// A guess: long enough for two lost packets, short enough that a dead address is noticed well
/// before any deadline. The whole request is bounded by [`Read::call`].
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The cloud's API.
pub(crate) struct Client {
    http: reqwest::Client,
    endpoint: Endpoint,
    token: SecretString,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Client {
    /// Sets up a client. Nothing is sent.
    pub(crate) fn new(config: &Config, user_agent: &str) -> Result<Self, ConfigError> {
        // Fails when the process has chosen one already, which is just as well.
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let mut builder = reqwest::Client::builder()
            .user_agent(user_agent)
            .connect_timeout(CONNECT_TIMEOUT)
            // The token is for this endpoint and no other.
            .redirect(redirect::Policy::none())
            // Retries are the framework's business.
            .retry(retry::never());
        if config.endpoint.is_loopback() {
            builder = builder.no_proxy();
        }
        if let Some(authorities) = &config.authorities {
            builder = builder.tls_certs_only(authorities.0.clone());
        } else if !config.endpoint.is_encrypted() {
            // Not even read: a minimal image has none, and that must not be an error here.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(|err| {
            let wrong = ConfigError::new(format!("cannot set up TLS: {}", Chain(&err)));
            if config.authorities.is_some() { wrong.at_key("caFile") } else { wrong }
        })?;
        Ok(Self { http, endpoint: config.endpoint.clone(), token: config.token.clone() })
    }

    /// `DescribeInstances`: the records of these IDs and names, terminated ones included; what the
    /// cloud does not know is missing.
    pub(crate) async fn describe_instances(
        &self,
        cx: &Read,
        ask: &DescribeInstances,
    ) -> Result<Vec<Record>, CloudError> {
        let request = self.http.post(self.endpoint.url(api::path::DESCRIBE_INSTANCES));
        let request = with_body(request, ask);
        let answer: Many = cx
            .call(DESCRIBE_INSTANCES, READS, self.send(DESCRIBE_INSTANCES, request))
            .await
            .map_err(unknown_call)?;
        Ok(answer.instances.into_iter().map(Record::read).collect())
    }

    /// `GetInstance`: the record of this ID, or [`Kind::NotFound`].
    pub(crate) async fn get_instance(
        &self,
        cx: &Read,
        id: &InstanceId,
    ) -> Result<Record, CloudError> {
        let request = self.http.get(self.endpoint.url(&api::path::instance(id)));
        let record = cx.call(GET_INSTANCE, READS, self.send(GET_INSTANCE, request)).await?;
        Ok(Record::read(record))
    }

    async fn send<T: DeserializeOwned>(
        &self,
        operation: Operation,
        request: RequestBuilder,
    ) -> Result<T, CloudError> {
        let request = request.bearer_auth(self.token.expose_secret());
        exchange(request).await.map_err(|failure| fold(operation, failure))
    }
}

/// A body in JSON.
fn with_body(request: RequestBuilder, body: &impl Serialize) -> RequestBuilder {
    let body = serde_json::to_vec(body).expect("plain fields can be written as JSON");
    request.header(CONTENT_TYPE, "application/json").body(body)
}

/// "Not found" where no thing was named: then it is the call itself that the other side does not
/// know, which says nothing about any thing.
fn unknown_call(err: CloudError) -> CloudError {
    if err.kind() == Kind::NotFound {
        return CloudError::new(Kind::Internal, err.message()).with_source(err);
    }
    err
}

async fn exchange<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, Failure> {
    let answer = request.send().await.map_err(Failure::Transport)?;
    let (status, retry_after) = (answer.status(), retry_after(&answer));
    let body = answer.bytes().await.map_err(Failure::Transport)?;
    if !status.is_success() {
        return Err(Failure::Refused { status, retry_after, body: body.into() });
    }
    serde_json::from_slice(&body).map_err(Failure::Unreadable)
}

/// `Retry-After` in seconds. This cloud never says a date.
fn retry_after(answer: &Response) -> Option<Duration> {
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[derive(Deserialize)]
struct Many {
    instances: Vec<Value>,
}

/// One record of an answer. Read one by one, so that an odd one spoils no other.
#[derive(Debug)]
pub(crate) struct Record {
    /// The ID, as far as it can be made out.
    pub(crate) id: Option<InstanceId>,
    /// The name, as far as it can be made out.
    pub(crate) name: Option<String>,
    /// All of it, where it makes sense.
    pub(crate) instance: Result<Instance, CloudError>,
}

impl Record {
    pub(crate) fn read(record: Value) -> Self {
        let text = |key| record.get(key).and_then(Value::as_str).map(str::to_owned);
        let (id, name) = (text("id").map(InstanceId::new), text("name"));
        let instance = serde_json::from_value(record).map_err(|err| {
            let which = id.as_ref().map_or("an instance", InstanceId::as_str);
            let message = format!("the cloud's record of {which} makes no sense");
            CloudError::new(Kind::Internal, message).with_source(err)
        });
        Self { id, name, instance }
    }
}

/// The certificate authorities to trust instead of the system's.
#[derive(Clone)]
pub(crate) struct Authorities(Vec<Certificate>);

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.0.len())
    }
}

impl Authorities {
    /// Reads certificates in PEM form. `None` where there are none.
    pub(crate) fn from_pem(pem: &[u8]) -> Option<Self> {
        let certificates = Certificate::from_pem_bundle(pem).ok()?;
        if certificates.is_empty() { None } else { Some(Self(certificates)) }
    }
}

#[cfg(test)]
mod tests;

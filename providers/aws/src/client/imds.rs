//! The instance metadata service, version 2: what the machine that we run on knows of itself.

use std::time::Duration;

use aws_config::imds;
use aws_config::imds::client::error::ImdsError;
use aws_config::provider_config::ProviderConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, tls};
use ccm_core::cloud::{Bucket, CloudError, Kind, Operation, Read};

use super::sdk::habits;
use crate::config::{Config, Service};

const CONNECT_LIMIT: Duration = Duration::from_secs(1);
const READ_LIMIT: Duration = Duration::from_secs(2);
/// The token and what is asked for, with what is tried again.
const LIMIT: Duration = Duration::from_secs(6);
const ATTEMPTS: u32 = 2;

/// It has no quota that we know of, but is slow to answer many at once.
const BUCKET: Bucket = Bucket("imds");
const DOCUMENT: (Operation, &str) =
    (Operation("imds:instance-identity"), "/latest/dynamic/instance-identity/document");
const REGION: (Operation, &str) =
    (Operation("imds:placement-region"), "/latest/meta-data/placement/region");
const INSTANCE_ID: (Operation, &str) =
    (Operation("imds:instance-id"), "/latest/meta-data/instance-id");

/// The instance metadata service. It takes no rights to ask it.
#[derive(Clone, Debug)]
pub(crate) struct Imds(imds::Client);

impl Imds {
    /// At the configured endpoint, or where `AWS_EC2_METADATA_SERVICE_ENDPOINT` says, or where it
    /// is on all instances. No proxy is asked: it would answer for itself.
    pub(crate) fn new(config: &Config) -> Result<Self, CloudError> {
        let direct =
            Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::AwsLc)).build_https();
        let surroundings = ProviderConfig::without_region()
            .with_behavior_version(Some(habits()))
            .with_http_client(direct);
        let mut builder = imds::Client::builder()
            .configure(&surroundings)
            .connect_timeout(CONNECT_LIMIT)
            .read_timeout(READ_LIMIT)
            .operation_attempt_timeout(CONNECT_LIMIT + READ_LIMIT)
            .operation_timeout(LIMIT)
            .max_attempts(ATTEMPTS);
        if let Some(given) = config.overrides.find(Service::Imds, "") {
            builder = builder.endpoint(&given.url).map_err(|err| {
                let message = "the URL of the instance metadata service cannot be used";
                CloudError::new(Kind::InvalidConfiguration, message).with_source(err)
            })?;
        }
        Ok(Self(builder.build()))
    }

    /// The SDK's client, for those who find credentials with it.
    pub(super) fn client(&self) -> imds::Client {
        self.0.clone()
    }

    /// The region that the machine is in.
    pub(crate) async fn region(&self, cx: &Read) -> Result<String, CloudError> {
        let document = match self.ask(cx, DOCUMENT).await {
            Ok(document) => region_of(&document),
            Err(err) if err.kind() == Kind::NotFound => None,
            Err(err) => return Err(err),
        };
        match document {
            Some(region) => Ok(region),
            // Some that stand in for the service have no document, or none with a region.
            None => self.ask(cx, REGION).await,
        }
    }

    /// The ID of the machine.
    pub(crate) async fn instance_id(&self, cx: &Read) -> Result<String, CloudError> {
        self.ask(cx, INSTANCE_ID).await
    }

    async fn ask(
        &self,
        cx: &Read,
        (operation, path): (Operation, &'static str),
    ) -> Result<String, CloudError> {
        let answer = async {
            let text = self.0.get(path).await.map_err(|err| fold(operation, err))?;
            match text.as_ref().trim() {
                "" => {
                    let message = format!("the answer to {} is empty", operation.0);
                    Err(CloudError::new(Kind::Internal, message))
                }
                text => Ok(text.to_owned()),
            }
        };
        cx.call(operation, BUCKET, answer).await
    }
}

/// `region` in the document.
fn region_of(document: &str) -> Option<String> {
    let document: serde_json::Value = serde_json::from_str(document).ok()?;
    let region = document.get("region")?.as_str()?;
    (!region.is_empty()).then(|| region.to_owned())
}

fn fold(operation: Operation, err: ImdsError) -> CloudError {
    let name = operation.0;
    let (kind, message) = match &err {
        ImdsError::ErrorResponse(answer) => {
            let status = answer.response().status().as_u16();
            let kind = match status {
                404 => Kind::NotFound,
                401 | 403 => Kind::PermissionDenied,
                429 => Kind::RateLimited { retry_after: None },
                500.. => Kind::Unavailable,
                _ => Kind::Internal,
            };
            (kind, format!("{name} was answered with HTTP {status}"))
        }
        ImdsError::FailedToLoadToken(_) => {
            (Kind::Unavailable, format!("{name} was not asked: no token of IMDSv2 could be had"))
        }
        _ => (Kind::Unavailable, format!("{name} was not answered")),
    };
    // The answer itself stays out of the log: there may be credentials in it.
    match err {
        ImdsError::ErrorResponse(_) => CloudError::new(kind, message),
        err => CloudError::new(kind, message).with_source(err),
    }
}

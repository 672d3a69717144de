//! The SDK's clients, as the configuration wants them.

use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::default_provider::use_dual_stack::use_dual_stack_provider;
use aws_config::default_provider::use_fips::use_fips_provider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_config::{BehaviorVersion, FrameworkMetadata, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use ccm_core::cloud::CloudError;

use super::Sdk;
use super::authorities;
use super::credentials::Assumed;
use super::endpoint;
use super::imds::Imds;
use crate::config::{Config, Service};

/// How long a connection may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a request may take, as in the Go program. The framework gives up earlier; this ends
/// those that the SDK sends by itself, for credentials.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// The SDK's habits are those of this version until we choose another. It honours `HTTPS_PROXY`
/// and its like.
pub(super) fn habits() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

impl Sdk {
    /// Makes the clients for a region. Reads the environment and the files that the SDK reads;
    /// sends nothing.
    ///
    /// The credentials are `base`, or those that the SDK finds where it is `None`; with a role,
    /// those of the role. An error where the environment names certificates that cannot be used.
    pub(crate) async fn new(
        config: &Config,
        region: &str,
        user_agent: &str,
        imds: &Imds,
        base: Option<SharedCredentialsProvider>,
    ) -> Result<Self, CloudError> {
        let http = authorities::client()?;
        let base = match base {
            Some(base) => base,
            None => found(region, imds, http.clone()).await,
        };
        let mut loader = aws_config::defaults(habits())
            .region(Region::new(region.to_owned()))
            .credentials_provider(base)
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(limits());
        if let Some(framework) = framework(user_agent) {
            loader = loader.framework_metadata(framework);
        }
        if let Some(http) = http {
            loader = loader.http_client(http);
        }
        let mut shared: SdkConfig = loader.load().await;
        if let Some(role) = &config.role {
            let assumed = Assumed::new(role, &shared, &config.overrides);
            let assumed = SharedCredentialsProvider::new(assumed);
            shared = shared.into_builder().credentials_provider(assumed).build();
        }
        let resolver = |service| endpoint::resolver(&config.overrides, service, region);

        let mut ec2 = aws_sdk_ec2::config::Builder::from(&shared);
        if let Some(resolver) = resolver(Service::Ec2) {
            ec2.set_endpoint_resolver(Some(resolver));
        }
        let mut elb = aws_sdk_elasticloadbalancing::config::Builder::from(&shared);
        if let Some(resolver) = resolver(Service::Elb) {
            elb.set_endpoint_resolver(Some(resolver));
        }
        let mut elbv2 = aws_sdk_elasticloadbalancingv2::config::Builder::from(&shared);
        if let Some(resolver) = resolver(Service::ElbV2) {
            elbv2.set_endpoint_resolver(Some(resolver));
        }
        Ok(Self {
            ec2: aws_sdk_ec2::Client::from_conf(ec2.build()),
            elb: aws_sdk_elasticloadbalancing::Client::from_conf(elb.build()),
            elbv2: aws_sdk_elasticloadbalancingv2::Client::from_conf(elbv2.build()),
        })
    }
}

fn limits() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_LIMIT)
        .operation_attempt_timeout(REQUEST_LIMIT)
        .build()
}

/// The SDK's chain: environment, files, container, and then the instance's role, for which the instance
/// metadata is asked at the configured endpoint. A web identity goes before the files, as in the Go
/// program and not in this SDK: a pod must not act as somebody else after the swap.
async fn found(
    region: &str,
    imds: &Imds,
    http: Option<SharedHttpClient>,
) -> SharedCredentialsProvider {
    let region = Region::new(region.to_owned());
    let surroundings = match http {
        Some(http) => ProviderConfig::without_region().with_http_client(http),
        None => ProviderConfig::without_region(),
    };
    let surroundings = surroundings
        .with_region(Some(region.clone()))
        .with_behavior_version(Some(habits()))
        .with_timeout_config(limits());
    // The SDK asks for both itself for calls of AWS, and not where it asks STS for credentials.
    let (fips, dual_stack) =
        (use_fips_provider(&surroundings).await, use_dual_stack_provider(&surroundings).await);
    let surroundings = surroundings.with_use_fips(fips).with_use_dual_stack(dual_stack);
    let identity = WebIdentityTokenCredentialsProvider::builder().configure(&surroundings).build();
    let rest = DefaultCredentialsChain::builder()
        .configure(surroundings)
        .region(region)
        .imds_client(imds.client())
        .build()
        .await;
    let environment = EnvironmentVariableCredentialsProvider::new();
    let chain = CredentialsProviderChain::first_try("Environment", environment)
        .or_else("WebIdentityToken", identity)
        .or_else("Default", rest);
    SharedCredentialsProvider::new(chain)
}

/// `<name>/<version>` at the front of `User-Agent`, in the SDK's own words.
fn framework(user_agent: &str) -> Option<FrameworkMetadata> {
    let (name, version) = user_agent.split_whitespace().next()?.split_once('/')?;
    FrameworkMetadata::new(name.to_owned(), Some(version.to_owned())).ok()
}

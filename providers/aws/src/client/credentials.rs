//! Whose name the calls bear.

use std::fmt;
use std::time::SystemTime;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};

use super::endpoint;
use crate::actions::ASSUME_ROLE;
use crate::config::{Overrides, Role, Service};
use crate::error::fold;

/// How the sessions are called in the records of STS.
const SESSION: &str = "cloud-controller-manager";

/// Both keep a service from being used as a deputy by others than those whom the role trusts:
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html>.
const SOURCE_ACCOUNT: &str = "x-amz-source-account";
const SOURCE_ARN: &str = "x-amz-source-arn";

/// The credentials of a role, assumed with those that were found. The SDK asks for them when they
/// are about to expire, and keeps them until then.
pub(super) struct Assumed {
    sts: aws_sdk_sts::Client,
    role: Role,
}

impl fmt::Debug for Assumed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assumed").field("role", &self.role.arn).finish_non_exhaustive()
    }
}

impl Assumed {
    /// With the credentials of `base`, in its region.
    pub(super) fn new(role: &Role, base: &SdkConfig, overrides: &Overrides) -> Self {
        let region = base.region().map_or("", |region| region.as_ref());
        let mut config = aws_sdk_sts::config::Builder::from(base);
        if let Some(resolver) = endpoint::resolver(overrides, Service::Sts, region) {
            config.set_endpoint_resolver(Some(resolver));
        }
        Self { sts: aws_sdk_sts::Client::from_conf(config.build()), role: role.clone() }
    }

    async fn assume(&self) -> provider::Result {
        let Role { arn, account, source } = self.role.clone();
        let answer = self
            .sts
            .assume_role()
            .role_arn(arn)
            .role_session_name(SESSION)
            .customize()
            .mutate_request(move |request| {
                let headers = request.headers_mut();
                headers.insert(SOURCE_ACCOUNT, account.clone());
                if let Some(source) = source.clone() {
                    headers.insert(SOURCE_ARN, source);
                }
            })
            .send()
            .await
            .map_err(|err| CredentialsError::provider_error(fold(&ASSUME_ROLE, err)))?;
        let Some(given) = answer.credentials else {
            return Err(CredentialsError::unhandled("AssumeRole was answered without credentials"));
        };
        let expiry = SystemTime::try_from(given.expiration).map_err(CredentialsError::unhandled)?;
        Ok(Credentials::new(
            given.access_key_id,
            given.secret_access_key,
            Some(given.session_token),
            Some(expiry),
            "AssumeRole",
        ))
    }
}

impl ProvideCredentials for Assumed {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.assume())
    }
}

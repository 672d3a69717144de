//! The cloud's APIs behind the calls that we make, in types of our own.
//!
//! Nothing of the SDK leaves this module but its builders' failures, folded. A method that changes
//! something takes `&Write` instead of `&Read`, so that no look and no plan can call it.

mod authorities;
mod credentials;
pub(crate) mod ec2;
pub(crate) mod elb;
pub(crate) mod elbv2;
mod endpoint;
pub(crate) mod groups;
pub(crate) mod imds;
pub(crate) mod kept;
#[cfg(test)]
pub(crate) mod loopback;
pub(crate) mod network;
mod pages;
mod sdk;

use std::error::Error;
use std::future::Future;
use std::sync::OnceLock;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use ccm_core::cloud::{CloudError, Kind, Read, Write};
use futures::future::BoxFuture;

use crate::actions::Action;
use crate::error::fold;

/// The cloud's APIs. They can be called once the region is known, which
/// [`connect`](ccm_core::cloud::CloudProvider::connect) finds.
#[derive(Debug, Default)]
pub(crate) struct Client(OnceLock<Sdk>);

/// The SDK's clients. Their own retries are off: those are the framework's business.
#[derive(Clone, Debug)]
pub(crate) struct Sdk {
    pub(crate) ec2: aws_sdk_ec2::Client,
    /// Classic Load Balancers.
    pub(crate) elb: aws_sdk_elasticloadbalancing::Client,
    /// Network Load Balancers.
    pub(crate) elbv2: aws_sdk_elasticloadbalancingv2::Client,
}

impl Client {
    /// Sets the clients; those that were set before stay.
    pub(crate) fn connect(&self, sdk: Sdk) {
        let _ = self.0.set(sdk);
    }

    /// The SDK's clients, for the methods of this module's rooms.
    pub(crate) fn sdk(&self) -> Result<&Sdk, CloudError> {
        self.0.get().ok_or_else(|| CloudError::new(Kind::Unavailable, "AWS is not connected yet"))
    }
}

/// What became of targets that were to be registered together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    All,
    /// AWS does not take one of them, and so took none. What it said.
    NotAll(String),
}

impl Taken {
    /// Sorts an answer out. `is_refusal`: whether it is about one of the targets.
    fn sort<T, E: Error + 'static>(
        answer: Result<T, CloudError>,
        is_refusal: impl Fn(&E) -> bool,
    ) -> Result<Self, CloudError> {
        let Err(err) = answer else { return Ok(Self::All) };
        let cause = err.source().and_then(|it| it.downcast_ref::<SdkError<E, HttpResponse>>());
        match cause.and_then(SdkError::as_service_error) {
            Some(cause) if is_refusal(cause) => Ok(Self::NotAll(err.message().to_owned())),
            Some(_) | None => Err(err),
        }
    }
}

/// Sends one request that changes nothing.
///
/// The SDK's futures are large: they are put on the heap here, not into each caller's.
pub(crate) fn read<'a, T, E>(
    cx: &'a Read,
    action: &'a Action,
    request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send + 'a,
) -> BoxFuture<'a, Result<T, CloudError>>
where
    T: Send + 'a,
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    debug_assert!(!action.mutates, "{action:?}");
    let answer = async { request.await.map_err(|err| fold(action, err)) };
    Box::pin(cx.call(action.operation(), action.bucket(), answer))
}

/// Sends one request that changes something.
pub(crate) fn write<'a, T, E>(
    cx: &'a Write,
    action: &'a Action,
    request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send + 'a,
) -> BoxFuture<'a, Result<T, CloudError>>
where
    T: Send + 'a,
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    debug_assert!(action.mutates, "{action:?}");
    let answer = async { request.await.map_err(|err| fold(action, err)) };
    Box::pin(cx.call(action.operation(), action.bucket(), answer))
}

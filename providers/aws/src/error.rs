//! What the cloud's failures mean. The only place where that is decided.

use std::error::Error;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use ccm_core::cloud::{CloudError, Kind};

use crate::actions::{ATTACH_SUBNETS, Action};

/// Sorts a failure by what is to be done about it.
pub(crate) fn fold<E>(action: &Action, err: SdkError<E, HttpResponse>) -> CloudError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let name = action.name;
    let (kind, message) = match &err {
        SdkError::ServiceError(refusal) => {
            let status = refusal.raw().status().as_u16();
            let retry_after = retry_after(refusal.raw());
            let (code, message) = (refusal.err().code(), refusal.err().message());
            match code {
                Some(code) => {
                    let kind = kind_of_code(action, code, status, retry_after);
                    (
                        kind,
                        format!(
                            "{name} was refused: {code}: {}",
                            message.unwrap_or("no reason given")
                        ),
                    )
                }
                // Not in the cloud's words: a proxy, or something else that listens there.
                None => (
                    kind_of_status(status, retry_after),
                    format!("{name} was answered with HTTP {status}"),
                ),
            }
        }
        SdkError::ResponseError(odd) => {
            let status = odd.raw().status().as_u16();
            let kind = if status < 300 { Kind::Unavailable } else { kind_of_status(status, None) };
            (kind, format!("the answer to {name} (HTTP {status}) makes no sense"))
        }
        SdkError::TimeoutError(_) => {
            (Kind::Unavailable, format!("{name} was not answered: it took too long"))
        }
        SdkError::DispatchFailure(failure) if failure.is_io() || failure.is_timeout() => (
            Kind::Unavailable,
            format!("{name} was not answered: cannot connect, or the connection broke"),
        ),
        // Credentials are had while a request is made ready.
        SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_)
            if let Some((kind, why)) = no_credentials(&err) =>
        {
            (kind, format!("{name} was not sent: {why}"))
        }
        SdkError::DispatchFailure(_) => (
            Kind::Unavailable,
            format!("{name} was not sent: no credentials could be had, or no connection"),
        ),
        _ => (Kind::Internal, format!("{name} could not be sent")),
    };
    CloudError::new(kind, message).with_source(err)
}

/// Why there are no credentials, if that is what failed.
fn no_credentials(err: &(dyn Error + 'static)) -> Option<(Kind, String)> {
    let mut next = Some(err);
    let mut found = None;
    while let Some(err) = next {
        // A role that is refused, folded already.
        if let Some(err) = err.downcast_ref::<CloudError>() {
            return Some((err.kind(), err.message().to_owned()));
        }
        if let Some(err) = err.downcast_ref::<CredentialsError>() {
            let (kind, why) = match err {
                CredentialsError::CredentialsNotLoaded(_) => (
                    Kind::PermissionDenied,
                    "there are no credentials, neither in the environment nor in files nor of \
                     the container or the instance",
                ),
                CredentialsError::InvalidConfiguration(_) => {
                    (Kind::PermissionDenied, "the configured credentials cannot be used")
                }
                _ => (Kind::Unavailable, "no credentials could be had"),
            };
            found.get_or_insert((kind, why.to_owned()));
        }
        next = err.source();
    }
    found
}

/// Codes: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>, and the
/// errors of both Elastic Load Balancing APIs.
fn kind_of_code(action: &Action, code: &str, status: u16, retry_after: Option<Duration>) -> Kind {
    match code {
        "RequestLimitExceeded"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "TooManyRequestsException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "SlowDown"
        | "BandwidthLimitExceeded"
        | "EC2ThrottledException" => Kind::RateLimited { retry_after },
        "UnauthorizedOperation"
        | "AccessDenied"
        | "AccessDeniedException"
        | "AuthFailure"
        | "Blocked"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidClientTokenId"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "OptInRequired"
        | "PendingVerification"
        | "RequestExpired"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException"
        | "OperationNotPermitted" => Kind::PermissionDenied,
        // A subnet that was just detached still has its zone for a moment.
        "InvalidConfigurationRequest" if *action == ATTACH_SUBNETS => Kind::Conflict,
        // Somebody else was quicker, or the thing is still in use.
        "DependencyViolation"
        | "ResourceInUse"
        | "IncorrectState"
        | "IncorrectInstanceState"
        | "InvalidPermission.Duplicate"
        | "InvalidGroup.Duplicate"
        | "RouteAlreadyExists"
        | "DuplicateListener"
        | "DuplicateLoadBalancerName"
        | "DuplicateTargetGroupName"
        | "DuplicatePolicyName"
        | "PriorityInUse"
        | "InvalidGroup.InUse" => Kind::Conflict,
        "InternalError"
        | "InternalFailure"
        | "InternalServerError"
        | "ServerInternal"
        | "ServiceUnavailable"
        | "Unavailable"
        | "RequestTimeout"
        | "DryRunOperation" => Kind::Unavailable,
        "UnsupportedOperation" | "Unsupported" => Kind::Unsupported,
        _ if is_not_found(code) => Kind::NotFound,
        _ if is_quota(code) => Kind::QuotaExceeded,
        _ if status >= 500 => Kind::Unavailable,
        // What users write is checked before it is sent, as far as we know what AWS accepts; the
        // rest (a certificate that has expired, an address of another region) is theirs to change
        // all the same. A malformed ID in a question is theirs too.
        _ if action.mutates || code.ends_with(".Malformed") || code == "InvalidID" => {
            Kind::InvalidConfiguration
        }
        _ => Kind::Internal,
    }
}

fn is_not_found(code: &str) -> bool {
    code.ends_with(".NotFound")
        || code.ends_with("NotFoundException")
        || matches!(
            code,
            // Classic Load Balancers.
            "LoadBalancerNotFound" | "ListenerNotFound" | "PolicyNotFound"
                // Both.
                | "TargetGroupNotFound" | "SubnetNotFound" | "LoadBalancerAttributeNotFound"
                | "InvalidInstance" | "InvalidRouteTableID.NotFound"
                // A target that does not run, or is gone.
                | "InvalidTarget"
        )
}

/// Codes that speak of how much there may be.
fn is_quota(code: &str) -> bool {
    code.ends_with("LimitExceeded") || code.starts_with("TooMany") || code.contains("Quota")
}

fn kind_of_status(status: u16, retry_after: Option<Duration>) -> Kind {
    match status {
        401 | 403 => Kind::PermissionDenied,
        429 => Kind::RateLimited { retry_after },
        408 | 500.. => Kind::Unavailable,
        // Also 404: a web server that knows no such page says nothing about an instance.
        _ => Kind::Internal,
    }
}

/// `Retry-After` in seconds. AWS hardly ever says it, and never a date.
fn retry_after(answer: &HttpResponse) -> Option<Duration> {
    let seconds = answer.headers().get("retry-after")?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

//! What the cloud's failures mean. The only place where that is decided.

use std::error::Error;
use std::io;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::{SdkError, ServiceError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use ccm_core::cloud::{CloudError, Kind};

use crate::actions::{ASSUME_ROLE, ATTACH_SUBNETS, Action, Api, DELETE_LOAD_BALANCER};

/// Sorts a failure by what is to be done about it.
pub(crate) fn fold<E>(action: &Action, err: SdkError<E, HttpResponse>) -> CloudError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let name = action.name;
    let (kind, message) = match &err {
        SdkError::ServiceError(refusal) => refused(action, name, refusal),
        SdkError::ResponseError(odd) => {
            let status = odd.raw().status().as_u16();
            let kind = if status < 300 { Kind::Unavailable } else { kind_of_status(status, None) };
            (kind, format!("the answer to {name} (HTTP {status}) makes no sense"))
        }
        SdkError::TimeoutError(_) => {
            (Kind::Unavailable, format!("{name} was not answered: it took too long"))
        }
        SdkError::DispatchFailure(failure) if failure.is_io() || failure.is_timeout() => {
            let what = "cannot connect, or the connection broke";
            let why = untrusted(&err).map(|why| format!(": {why}")).unwrap_or_default();
            (Kind::Unavailable, format!("{name} was not answered: {what}{why}"))
        }
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

/// What a refusal means. `name` is what was asked for, in AWS's words.
fn refused<E: ProvideErrorMetadata>(
    action: &Action,
    name: &str,
    refusal: &ServiceError<E, HttpResponse>,
) -> (Kind, String) {
    let status = refusal.raw().status().as_u16();
    let retry_after = retry_after(refusal.raw());
    match refusal.err().code() {
        Some(code) => {
            let why = refusal.err().message().map_or("no reason given", readable);
            let message = format!("{name} was refused: {code}: {why}");
            (kind_of_code(action, code, status, retry_after), message)
        }
        // Not in the cloud's words: a proxy, or something else that listens there.
        None => {
            (kind_of_status(status, retry_after), format!("{name} was answered with HTTP {status}"))
        }
    }
}

/// The part of a message that is for people. EC2 puts a thousand characters behind it that only the
/// API can read and that are others each time, so that the same failure would look like a new one.
fn readable(message: &str) -> &str {
    let said = message.split("Encoded authorization failure message").next();
    said.unwrap_or(message).trim_end()
}

/// "Not found" of a question about many is an answer that makes no sense, and never an absence.
pub(crate) fn not_as_absence(err: CloudError) -> CloudError {
    match err.kind() {
        Kind::NotFound => CloudError::new(Kind::Internal, err.message().to_owned()),
        _ => err,
    }
}

/// The code with which AWS refused. `E` is the error of the operation that failed.
pub(crate) fn code<E>(err: &CloudError) -> Option<&str>
where
    E: ProvideErrorMetadata + Error + 'static,
{
    err.source()?.downcast_ref::<SdkError<E, HttpResponse>>()?.code()
}

/// What TLS has against the endpoint, if that is what failed: nothing but other certificates mends it.
fn untrusted(err: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(err);
    while let Some(err) = next {
        if let Some(why) = err.downcast_ref::<rustls::Error>() {
            return Some(why.to_string());
        }
        // An I/O error is not the source of what it wraps.
        let wrapped = err.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => err.source(),
        };
    }
    None
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
        // The SDK assumes that role by itself (IRSA), and takes each refusal for an outage.
        if let Some(SdkError::ServiceError(refusal)) = err.downcast_ref::<WebIdentityRefused>() {
            return Some(refused(&ASSUME_ROLE, "AssumeRoleWithWebIdentity", refusal));
        }
        if let Some(err) = err.downcast_ref::<CredentialsError>() {
            let (kind, why) = match err {
                CredentialsError::CredentialsNotLoaded(_) => (
                    Kind::PermissionDenied,
                    "there are no credentials, neither in the environment nor in files nor of \
                     the container or the instance (whose metadata a pod without the host's \
                     network only reaches with a hop limit of 2)",
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

type WebIdentityRefused = SdkError<AssumeRoleWithWebIdentityError, HttpResponse>;

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
        // Such a thing is not to be had, whatever rights one has. But that a Network Load Balancer is
        // protected is found out by whoever deletes it.
        "OperationNotPermitted" if is_balancing(action) && *action != DELETE_LOAD_BALANCER => {
            Kind::InvalidConfiguration
        }
        "UnauthorizedOperation"
        | "AccessDenied"
        | "AccessDeniedException"
        | "AuthFailure"
        | "Blocked"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidClientTokenId"
        | "IDPRejectedClaim"
        | "IncompleteSignature"
        | "InvalidIdentityToken"
        | "MissingAuthenticationToken"
        | "OptInRequired"
        | "PendingVerification"
        | "RegionDisabledException"
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
        | "DryRunOperation"
        | "IDPCommunicationError" => Kind::Unavailable,
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

fn is_balancing(action: &Action) -> bool {
    match action.api {
        Api::Elb | Api::ElbV2 => true,
        Api::Ec2 | Api::Sts => false,
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
                | "InvalidInstance"
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

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::operation::create_route::CreateRouteError;
    use aws_smithy_types::body::SdkBody;
    use aws_smithy_types::error::ErrorMetadata;
    use rstest::rstest;

    use super::*;
    use crate::actions::{
        CREATE_LOAD_BALANCER, CREATE_ROUTE, DELETE_CLASSIC, DESCRIBE_ROUTE_TABLES,
        MODIFY_NETWORK_INTERFACE_ATTRIBUTE,
    };

    fn refusal(action: &Action, code: &str, message: &str) -> CloudError {
        let said = ErrorMetadata::builder().code(code).message(message).build();
        let status = 400.try_into().unwrap();
        let answer = HttpResponse::new(status, SdkBody::empty());
        fold(action, SdkError::service_error(CreateRouteError::generic(said), answer))
    }

    #[test]
    fn what_only_aws_can_read_is_left_to_the_log() {
        let said = "You are not authorized to perform this operation. User: arn:aws:iam::1:user/a is \
                    not authorized to perform: ec2:CreateRoute.";
        let [one, other] = ["Xy-1", "Zz-2"].map(|blob| {
            let said = format!("{said} Encoded authorization failure message: {blob}");
            refusal(&CREATE_ROUTE, "UnauthorizedOperation", &said)
        });
        assert_eq!(one, other);
        assert_eq!(one.kind(), Kind::PermissionDenied);
        let wanted = format!("CreateRoute was refused: UnauthorizedOperation: {said}");
        assert_eq!(one.message(), wanted);
        assert_eq!(code::<CreateRouteError>(&one), Some("UnauthorizedOperation"));
        let whole = ccm_core::report::Chain(&one).to_string();
        assert!(whole.contains("Xy-1"), "{whole}");
    }

    #[rstest]
    #[case::not_to_be_had(CREATE_LOAD_BALANCER, Kind::InvalidConfiguration)]
    #[case::not_to_be_had_either(DELETE_CLASSIC, Kind::InvalidConfiguration)]
    #[case::perhaps_protected(DELETE_LOAD_BALANCER, Kind::PermissionDenied)]
    #[case::of_somebody_else(MODIFY_NETWORK_INTERFACE_ATTRIBUTE, Kind::PermissionDenied)]
    fn what_is_not_permitted(#[case] action: Action, #[case] kind: Kind) {
        assert_eq!(refusal(&action, "OperationNotPermitted", "no").kind(), kind);
    }

    #[rstest]
    #[case::route_table("InvalidRouteTableID.NotFound")]
    #[case::instance("InvalidInstanceID.NotFound")]
    #[case::classic("InvalidInstance")]
    fn what_is_not_there(#[case] code: &str) {
        assert_eq!(refusal(&DESCRIBE_ROUTE_TABLES, code, "no").kind(), Kind::NotFound);
    }
}

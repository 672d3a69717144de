//! What the cloud's failures mean.

use std::time::Duration;

use ccm_core::cloud::{CloudError, Kind, Operation};
use reqwest::StatusCode;
use simcloud::api::{self, ErrorBody, ErrorCode, OperationClass};

/// How a request can fail.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No answer, or only a part of one.
    Transport(reqwest::Error),
    /// An answer that is not a success.
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// `Retry-After`, where the answer has one.
        retry_after: Option<Duration>,
        /// What came with it: the cloud's [`ErrorBody`], or anything else from somebody in between.
        body: Vec<u8>,
    },
    /// A success that cannot be read.
    Unreadable(serde_json::Error),
}

/// Sorts a failure by what is to be done about it. The only place where that is decided.
pub(crate) fn fold(operation: Operation, failure: Failure) -> CloudError {
    let Operation(operation) = operation;
    match failure {
        Failure::Transport(err) => {
            let (kind, why) = if err.is_builder() {
                (Kind::Internal, "it could not be sent")
            } else if err.is_connect() {
                (Kind::Unavailable, "cannot connect")
            } else if err.is_timeout() {
                (Kind::Unavailable, "it took too long")
            } else {
                (Kind::Unavailable, "the connection broke")
            };
            let message = format!("{operation} was not answered: {why}");
            CloudError::new(kind, message).with_source(err)
        }
        Failure::Unreadable(err) => {
            let message = format!("the answer to {operation} makes no sense");
            CloudError::new(Kind::Internal, message).with_source(err)
        }
        Failure::Refused { status, retry_after, body } => {
            let Ok(ErrorBody { error }) = serde_json::from_slice(&body) else {
                // Not in the cloud's words: a proxy, or something else that listens there.
                let message = format!("{operation} was answered with HTTP {}", status.as_u16());
                return CloudError::new(kind_of_status(status, retry_after), message);
            };
            let retry_after = error.retry_after_ms.map(Duration::from_millis).or(retry_after);
            let message = format!("{operation} was refused: {}", error.message);
            let kind = if is_refused_wish(operation, error.code, status) {
                Kind::InvalidConfiguration
            } else {
                kind_of_code(error.code, status, retry_after)
            };
            CloudError::new(kind, message)
        }
    }
}

/// Whether a change was refused for what it asked for. What users write is checked before it is
/// sent, as far as we know what the cloud accepts; the rest (an address out of its ranges) is
/// theirs to change all the same. A look that is refused is a mistake of ours.
fn is_refused_wish(operation: &str, code: ErrorCode, status: StatusCode) -> bool {
    let one = api::Operation::ALL.into_iter().find(|one| one.as_str() == operation);
    code == ErrorCode::InvalidArgument
        && status == StatusCode::BAD_REQUEST
        && one.is_some_and(|one| one.class() == OperationClass::Write)
}

fn kind_of_code(code: ErrorCode, status: StatusCode, retry_after: Option<Duration>) -> Kind {
    match code {
        ErrorCode::Unauthenticated | ErrorCode::PermissionDenied => Kind::PermissionDenied,
        // Nodes are deleted on this word, so both must say it.
        ErrorCode::NotFound if status == StatusCode::NOT_FOUND => Kind::NotFound,
        ErrorCode::Conflict => Kind::Conflict,
        ErrorCode::QuotaExceeded => Kind::QuotaExceeded,
        ErrorCode::Throttled => Kind::RateLimited { retry_after },
        ErrorCode::Unavailable | ErrorCode::Internal => Kind::Unavailable,
        // A mistake of ours.
        ErrorCode::InvalidArgument
        | ErrorCode::BatchTooLarge
        | ErrorCode::MethodNotAllowed
        | ErrorCode::NotFound => Kind::Internal,
    }
}

fn kind_of_status(status: StatusCode, retry_after: Option<Duration>) -> Kind {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Kind::PermissionDenied,
        StatusCode::TOO_MANY_REQUESTS => Kind::RateLimited { retry_after },
        StatusCode::REQUEST_TIMEOUT => Kind::Unavailable,
        status if status.is_server_error() => Kind::Unavailable,
        // Also 404: a web server that knows no such page says nothing about an instance.
        _ => Kind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use simcloud::api::ErrorDetail;

    use super::*;

    const OPERATION: Operation = Operation("GetInstance");

    const RATE_LIMITED: Kind = Kind::RateLimited { retry_after: None };

    fn refused(status: u16, retry_after: Option<u64>, body: impl Into<Vec<u8>>) -> CloudError {
        let status = StatusCode::from_u16(status).unwrap();
        let retry_after = retry_after.map(Duration::from_secs);
        fold(OPERATION, Failure::Refused { status, retry_after, body: body.into() })
    }

    fn body(code: ErrorCode, retry_after_ms: Option<u64>) -> Vec<u8> {
        let error = ErrorDetail { code, message: "because".into(), retry_after_ms };
        serde_json::to_vec(&ErrorBody { error }).unwrap()
    }

    #[rstest]
    #[case(ErrorCode::Unauthenticated, 401, Kind::PermissionDenied)]
    #[case(ErrorCode::PermissionDenied, 403, Kind::PermissionDenied)]
    #[case(ErrorCode::NotFound, 404, Kind::NotFound)]
    #[case(ErrorCode::MethodNotAllowed, 405, Kind::Internal)]
    #[case(ErrorCode::InvalidArgument, 400, Kind::Internal)]
    #[case(ErrorCode::InvalidArgument, 413, Kind::Internal)]
    #[case(ErrorCode::BatchTooLarge, 400, Kind::Internal)]
    #[case(ErrorCode::Conflict, 409, Kind::Conflict)]
    #[case(ErrorCode::QuotaExceeded, 403, Kind::QuotaExceeded)]
    #[case(ErrorCode::Throttled, 429, RATE_LIMITED)]
    #[case(ErrorCode::Unavailable, 503, Kind::Unavailable)]
    #[case(ErrorCode::Unavailable, 504, Kind::Unavailable)]
    #[case(ErrorCode::Internal, 500, Kind::Unavailable)]
    #[case::a_contradiction(ErrorCode::NotFound, 500, Kind::Internal)]
    fn codes(#[case] code: ErrorCode, #[case] status: u16, #[case] want: Kind) {
        let err = refused(status, None, body(code, None));
        assert_eq!(err.kind(), want);
        assert_eq!(err.message(), "GetInstance was refused: because");
    }

    #[rstest]
    #[case::a_wish("CreateAddress", 400, Kind::InvalidConfiguration)]
    #[case::too_large("CreateAddress", 413, Kind::Internal)]
    #[case::no_such_path("CreateAddress", 404, Kind::Internal)]
    #[case::a_look("ListAddresses", 400, Kind::Internal)]
    fn a_change_may_be_refused_for_what_it_asks(
        #[case] operation: &'static str,
        #[case] status: u16,
        #[case] want: Kind,
    ) {
        let status = StatusCode::from_u16(status).unwrap();
        let body = body(ErrorCode::InvalidArgument, None);
        let failure = Failure::Refused { status, retry_after: None, body };
        assert_eq!(fold(Operation(operation), failure).kind(), want);
    }

    #[rstest]
    #[case::a_redirect(302, Kind::Internal)]
    #[case::bad_request(400, Kind::Internal)]
    #[case::unauthorized(401, Kind::PermissionDenied)]
    #[case::forbidden(403, Kind::PermissionDenied)]
    #[case::no_such_page(404, Kind::Internal)]
    #[case::request_timeout(408, Kind::Unavailable)]
    #[case::gone(410, Kind::Internal)]
    #[case::too_many(429, RATE_LIMITED)]
    #[case::server_error(500, Kind::Unavailable)]
    #[case::bad_gateway(502, Kind::Unavailable)]
    #[case::unavailable(503, Kind::Unavailable)]
    #[case::gateway_timeout(504, Kind::Unavailable)]
    fn statuses_without_the_clouds_words(#[case] status: u16, #[case] want: Kind) {
        for body in ["", "<html>", "{}", r#"{"error":{"code":"of_the_future","message":""}}"#] {
            let err = refused(status, None, body);
            assert_eq!(err.kind(), want, "{body}");
            assert_eq!(err.message(), format!("GetInstance was answered with HTTP {status}"));
        }
    }

    #[rstest]
    #[case::only_the_header(Some(2), None, 2_000)]
    #[case::only_the_body(None, Some(1_500), 1_500)]
    #[case::the_body_is_more_exact(Some(2), Some(1_500), 1_500)]
    fn the_wait_that_the_cloud_asks_for_is_kept(
        #[case] header: Option<u64>,
        #[case] in_body: Option<u64>,
        #[case] want_ms: u64,
    ) {
        let want = Kind::RateLimited { retry_after: Some(Duration::from_millis(want_ms)) };
        assert_eq!(refused(429, header, body(ErrorCode::Throttled, in_body)).kind(), want);
        if in_body.is_none() {
            assert_eq!(refused(429, header, "slow down").kind(), want);
        }
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_an_internal_error() {
        let err = serde_json::from_str::<ErrorBody>("<html>").unwrap_err();
        let err = fold(OPERATION, Failure::Unreadable(err));
        assert_eq!(err.kind(), Kind::Internal);
        assert_eq!(err.message(), "the answer to GetInstance makes no sense");
    }
}

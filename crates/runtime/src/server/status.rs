//! Statuses on their way out: every one gets an `ErrorInfo`, and the codes that tonic gets wrong are
//! put right.

use tonic::{Code, Status};

use crate::errors::{Refusal, failure, generic};
use crate::methods::Deadline;

/// How tonic begins its messages for what we know better.
const DECODED_TOO_LARGE: &str = "Error, decoded message length too large";
const ENCODED_TOO_LARGE: &str = "Error, encoded message length too large";
const NOT_PROTOBUF: &str = "failed to decode Protobuf message";
const NO_MESSAGE: &str = "Missing request message";

/// The status of a call of this class as it should leave. One with details was made by us and is left alone.
pub(super) fn corrected(status: Status, class: Deadline) -> Status {
    if status.code() == Code::Ok || !status.details().is_empty() {
        return status;
    }
    let message = status.message();
    match status.code() {
        Code::OutOfRange if message.starts_with(DECODED_TOO_LARGE) => {
            request_too_large(class.request_bytes_max())
        }
        Code::OutOfRange if message.starts_with(ENCODED_TOO_LARGE) => {
            response_too_large(class.response_bytes_max())
        }
        Code::Internal if message.starts_with(NOT_PROTOBUF) || message.starts_with(NO_MESSAGE) => {
            Refusal::new(&generic::INVALID_ARGUMENT, "the request is not a valid message").status()
        }
        Code::Unimplemented => {
            Refusal::new(&generic::METHOD_NOT_FOUND, "the method is not implemented here").status()
        }
        // Its message may hold anything, so only the log gets it.
        Code::Internal | Code::Unknown | Code::DataLoss => failure(message),
        code => {
            let reason = generic::of_code(code);
            let mut named = Refusal::new(reason, message).status();
            if reason.grpc != code {
                named = Status::with_details(code, message, named.details().to_vec().into());
            }
            named
        }
    }
}

/// More bytes than a request may have.
pub(super) fn request_too_large(bytes_max: usize) -> Status {
    let text = format!("a request may have {bytes_max} bytes");
    Refusal::new(&generic::REQUEST_TOO_LARGE, text).meta("limit_bytes", bytes_max).status()
}

/// More bytes than an answer may have.
pub(super) fn response_too_large(bytes_max: usize) -> Status {
    let text = format!("the answer would have more than {bytes_max} bytes");
    Refusal::new(&generic::RESPONSE_TOO_LARGE, text).meta("limit_bytes", bytes_max).status()
}

/// The time allowed has run out.
pub(super) fn deadline() -> Status {
    Refusal::new(&generic::DEADLINE, "the time allowed for the request has run out").status()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::refusal_of;

    #[test]
    fn wrong_codes_of_the_library_are_put_right() {
        let cases = [
            (Code::OutOfRange, DECODED_TOO_LARGE, Code::ResourceExhausted, "REQUEST_TOO_LARGE"),
            (Code::OutOfRange, ENCODED_TOO_LARGE, Code::ResourceExhausted, "RESPONSE_TOO_LARGE"),
            (Code::Internal, NOT_PROTOBUF, Code::InvalidArgument, "INVALID_ARGUMENT"),
            (Code::Internal, NO_MESSAGE, Code::InvalidArgument, "INVALID_ARGUMENT"),
            (Code::Unimplemented, "", Code::Unimplemented, "METHOD_NOT_FOUND"),
            (Code::NotFound, "no such service", Code::NotFound, "NOT_FOUND"),
        ];
        for (code, message, expected, reason) in cases {
            let status = corrected(Status::new(code, message), Deadline::Read);
            assert_eq!(status.code(), expected, "{message}");
            assert_eq!(refusal_of(&status).expect("has details").reason, reason);
        }
    }

    #[test]
    fn the_message_of_a_failure_stays_inside() {
        let status = corrected(Status::internal("password=hunter2"), Deadline::Read);
        assert!(!format!("{status:?}").contains("hunter2"));
        assert!(refusal_of(&status).expect("has details").metadata.contains_key("error_id"));
    }

    #[test]
    fn a_status_with_details_is_left_alone() {
        let ours = Refusal::new(&generic::CONFLICT, "changed meanwhile").meta("etag", 7).status();
        let after = corrected(ours.clone(), Deadline::Read);
        assert_eq!((after.code(), after.details()), (ours.code(), ours.details()));
    }
}

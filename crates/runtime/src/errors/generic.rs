//! The reasons that every process can give, whatever it does.
//!
//! Codes follow one table: EIP-1474 and EIP-1193 on the JSON-RPC side, `google.rpc.Code` on the other.

use tonic::Code;

use super::Reason;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident: $grpc:ident, $jsonrpc:literal, $http:literal, $retryable:literal, $help:literal;)*) => {
        $($(#[$doc])*
        pub const $name: Reason = Reason {
            name: stringify!($name),
            grpc: Code::$grpc,
            jsonrpc: $jsonrpc,
            http: $http,
            retryable: $retryable,
            help: $help,
        };)*

        /// Every reason of this module, for the registry and its documentation.
        pub const ALL: &[&Reason] = &[$(&$name),*];
    };
}

reasons! {
    /// The time allowed for the request has run out.
    DEADLINE: DeadlineExceeded, -32002, 200, true, "Retry if the request is idempotent, with a longer deadline.";
    /// The caller went away before the answer.
    CANCELLED: Cancelled, -32002, 200, true, "The caller cancelled; ask again if the answer is still wanted.";
    /// A fault of ours; the message has only an id.
    INTERNAL: Internal, -32603, 200, false, "Report the error id to the operators, who find it in the log.";
    /// The method does not exist here.
    METHOD_NOT_FOUND: Unimplemented, -32601, 200, false, "Check the name of the method and the version of the server.";
    /// A credential is required.
    CREDENTIAL_MISSING: Unauthenticated, 4100, 401, false, "Send a client certificate or an API key.";
    /// The credential is not valid.
    CREDENTIAL_INVALID: Unauthenticated, 4100, 401, false, "Check the credential; ask an administrator for a new one.";
    /// The credential was valid once.
    CREDENTIAL_EXPIRED: Unauthenticated, 4100, 401, false, "Rotate the credential.";
    /// The caller is known but may not do this.
    PERMISSION_DENIED: PermissionDenied, 4100, 403, false, "Use an identity that the method allows.";
    /// The credential lacks the scope of the method.
    SCOPE_MISSING: PermissionDenied, 4100, 403, false, "Use a key with the scope that the method needs.";
    /// The caller asks more often than its limit allows.
    RATE_LIMITED: ResourceExhausted, -32005, 429, true, "Wait as long as the answer says, then retry.";
    /// This replica has as much work as it takes.
    OVERLOADED: ResourceExhausted, -32005, 429, true, "Wait as long as the answer says, then retry.";
    /// The process is shutting down.
    DRAINING: Unavailable, -32002, 503, true, "Retry; another replica will answer.";
    /// Postgres cannot be reached.
    DATABASE_UNAVAILABLE: Unavailable, -32002, 200, true, "Retry later; the operators are alerted.";
    /// Another service of ours cannot be reached.
    PEER_UNAVAILABLE: Unavailable, -32002, 200, true, "Retry later; the metadata names the service.";
    /// The request has more bytes than the limit.
    REQUEST_TOO_LARGE: ResourceExhausted, -32005, 413, false, "Send a smaller request.";
    /// The answer has more bytes than the limit.
    RESPONSE_TOO_LARGE: ResourceExhausted, -32005, 200, false, "Ask for smaller pages or a narrower range.";
    /// A field of the request is wrong; the details name it.
    INVALID_ARGUMENT: InvalidArgument, -32602, 200, false, "Correct the named field.";
    /// The page token is damaged or belongs to other filters.
    INVALID_PAGE_TOKEN: InvalidArgument, -32602, 200, false, "Start again without a page token.";
    /// The `request_id` was used before with another body.
    IDEMPOTENCY_KEY_REUSED: InvalidArgument, -32602, 200, false, "Use a fresh request_id for another request.";
    /// A request with the same `request_id` is being worked on.
    IDEMPOTENT_CALL_IN_FLIGHT: Aborted, -32000, 200, true, "Wait as long as the answer says, then retry.";
    /// Someone changed the object meanwhile.
    CONFLICT: Aborted, -32000, 200, true, "Read the object again and retry.";
    /// The object does not exist.
    NOT_FOUND: NotFound, -32001, 200, false, "Check the name of the object.";
    /// An object with this name exists.
    ALREADY_EXISTS: AlreadyExists, -32000, 200, false, "Use another name, or read the existing object.";
    /// The state of the object does not allow this.
    FAILED_PRECONDITION: FailedPrecondition, -32003, 200, false, "Change the state that the details name, then retry.";
}

/// The reason that stands for a status without details of its own.
pub(crate) fn of_code(code: Code) -> &'static Reason {
    match code {
        Code::Cancelled => &CANCELLED,
        Code::InvalidArgument | Code::OutOfRange => &INVALID_ARGUMENT,
        Code::DeadlineExceeded => &DEADLINE,
        Code::NotFound => &NOT_FOUND,
        Code::AlreadyExists => &ALREADY_EXISTS,
        Code::PermissionDenied => &PERMISSION_DENIED,
        Code::ResourceExhausted => &OVERLOADED,
        Code::FailedPrecondition => &FAILED_PRECONDITION,
        Code::Aborted => &CONFLICT,
        Code::Unimplemented => &METHOD_NOT_FOUND,
        Code::Unavailable => &PEER_UNAVAILABLE,
        Code::Unauthenticated => &CREDENTIAL_MISSING,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => &INTERNAL,
    }
}

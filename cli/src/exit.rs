//! Errors as the operator sees them: what, why, what to do; and the exit code that scripts branch on.

use std::process::ExitCode;

use runtime::errors::refusal_of;
use tonic::{Code, Status};

/// A check or the policy says no.
pub const REFUSED: u8 = 5;
/// The chain reverted it.
pub const REVERTED: u8 = 7;
/// Not finished when the waiting ended.
pub const PENDING: u8 = 8;

/// Prints the error to stderr and gives its exit code.
#[allow(clippy::print_stderr, reason = "the one place where a command says what went wrong")]
pub fn tell(error: &anyhow::Error) -> ExitCode {
    let Some(status) = error.downcast_ref::<Status>() else {
        eprintln!("seqctl: {error:#}");
        return ExitCode::FAILURE;
    };
    eprintln!("seqctl: {}", status.message());
    if let Some(refusal) = refusal_of(status) {
        for (field, why) in &refusal.fields {
            eprintln!("  {field}: {why}");
        }
        for (kind, subject, why) in &refusal.violations {
            eprintln!("  {kind} {subject}: {why}");
        }
        let help = api::reasons::by_name(&refusal.reason).map_or("", |reason| reason.help);
        eprintln!("  {} {help}", refusal.reason);
    }
    ExitCode::from(code(status.code()))
}

fn code(code: Code) -> u8 {
    match code {
        Code::InvalidArgument => 2,
        Code::NotFound => 3,
        Code::Unauthenticated | Code::PermissionDenied => 4,
        Code::FailedPrecondition | Code::Aborted => REFUSED,
        Code::DeadlineExceeded => PENDING,
        Code::Unavailable => 9,
        _ => 1,
    }
}

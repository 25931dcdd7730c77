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

/// The command line itself is wrong: nothing was asked of a service.
#[derive(Debug)]
struct Usage(String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// An error of the command line, with the exit code for it.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Usage(message.into()))
}

/// Prints the error to stderr and gives its exit code.
#[allow(clippy::print_stderr, reason = "the one place where a command says what went wrong")]
pub fn tell(error: &anyhow::Error) -> ExitCode {
    let Some(status) = error.downcast_ref::<Status>() else {
        eprintln!("seqctl: {error:#}");
        return if error.is::<Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE };
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

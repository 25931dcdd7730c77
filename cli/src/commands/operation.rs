//! Asking for an operation, its preflight, and what became of it.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use api::lifecycle::v1::{
    ApproveOperationRequest, CancelOperationRequest, CreateOperationRequest, GetOperationRequest,
    ListOperationsRequest, Operation, OperationMode, OperationParameters, OperationState,
    PreflightOperationRequest, RejectOperationRequest, SpeedUpOperationRequest, WatchOperationRequest,
};
use api::types::v1::{Check, OperationKind, Verdict};
use clap::{Args, Subcommand};

use super::confirm::typed;
use super::request_id;
use super::sequencer::find;
use super::verb::{Asked, Manner, Verb, asked};
use crate::connect::Session;
use crate::exit::{self, usage};
use crate::output::{Printer, Rows, utc, word};

/// Operations that exist.
#[derive(Subcommand)]
pub enum Command {
    /// Operations of the network, newest first.
    List {
        /// Only of this sequencer.
        #[arg(long)]
        sequencer: Option<String>,
    },
    /// One operation with its transactions and steps.
    Get {
        /// Operation id.
        id: String,
    },
    /// Stops an operation; what is signed already is cancelled on chain, if that is mined first.
    Cancel {
        /// Operation id.
        id: String,
        /// Why.
        #[arg(long, default_value = "cancelled by the operator")]
        reason: String,
    },
    /// Says yes to an operation of somebody else, by the digest that `operation get` shows.
    Approve {
        /// Operation id.
        id: String,
        /// Digest of what was read.
        #[arg(long)]
        digest: String,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Says no to an operation that waits for approvals, which ends it.
    Reject {
        /// Operation id.
        id: String,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Pays more at once for what waits for a block.
    SpeedUp {
        /// Operation id.
        id: String,
    },
}

/// `preflight`.
#[derive(Args)]
pub struct Preflight {
    #[command(subcommand)]
    verb: Verb,
}

/// Runs a verb, as a dry run if asked.
pub async fn verb(verb: Verb, session: &Session, out: &Printer) -> Result<ExitCode> {
    let Asked { sequencer, parameters, manner, irreversible } = asked(verb, session).await?;
    let found = find(session, &sequencer).await?;
    let parameters = OperationParameters { parameters: Some(parameters) };
    if manner.dry_run {
        return checked(session, out, found.id, parameters).await;
    }
    if !out.json {
        let request =
            PreflightOperationRequest { sequencer: found.id.clone(), parameters: Some(parameters.clone()) };
        let preview = session.lifecycle().preflight_operation(request).await?.into_inner();
        println!("{}", preview.words);
    }
    confirmed(&manner, &sequencer, irreversible)?;
    let request = CreateOperationRequest {
        request_id: manner.request_id.clone().unwrap_or_else(request_id),
        sequencer: found.id,
        parameters: Some(parameters),
        mode: OperationMode::Managed.into(),
        validate_only: false,
        terms: manner.terms.asked()?,
    };
    let answer = session.lifecycle().create_operation(request).await?.into_inner();
    let operation = answer.operation.context("lifecycle answered without an operation")?;
    if !manner.wait {
        print(out, &operation)?;
        return Ok(ExitCode::SUCCESS);
    }
    let last =
        tokio::time::timeout(Duration::from_secs(manner.timeout), followed(session, out, &operation.id))
            .await;
    match last {
        Err(_) => Ok(ExitCode::from(exit::PENDING)),
        Ok(last) => {
            let last = last?;
            print(out, &last)?;
            Ok(match last.state() {
                OperationState::Confirmed => ExitCode::SUCCESS,
                OperationState::Failed => ExitCode::from(exit::REVERTED),
                _ => ExitCode::from(exit::REFUSED),
            })
        }
    }
}

/// Runs the checks of a verb.
pub async fn preflight(preflight: Preflight, session: &Session, out: &Printer) -> Result<ExitCode> {
    let Asked { sequencer, parameters, .. } = asked(preflight.verb, session).await?;
    let sequencer = find(session, &sequencer).await?.id;
    checked(session, out, sequencer, OperationParameters { parameters: Some(parameters) }).await
}

/// Operations that exist.
pub async fn run(command: Command, session: &Session, out: &Printer) -> Result<()> {
    match command {
        Command::List { sequencer } => {
            let sequencer = match sequencer {
                Some(name) => find(session, &name).await?.id,
                None => String::new(),
            };
            let request = ListOperationsRequest {
                network: session.network()?,
                sequencer,
                page_size: 500,
                ..ListOperationsRequest::default()
            };
            let answer = session.lifecycle().list_operations(request).await?.into_inner();
            out.cut(&answer.next_page_token);
            out.print("sequencer.lifecycle.v1.ListOperationsResponse", &answer, || {
                let mut rows = Rows::new(["ID", "ASKED", "OPERATION", "STATE", "WHY"]);
                for one in &answer.operations {
                    rows.add([&one.id, &utc(one.create_time.as_ref()), &kind(one), &state(one), &one.reason]);
                }
                rows
            })
        }
        Command::Get { id } => {
            let answer = session.lifecycle().get_operation(GetOperationRequest { id }).await?.into_inner();
            print(out, &answer.operation.context("lifecycle answered without an operation")?)
        }
        Command::Approve { id, digest, reason } => {
            let request = ApproveOperationRequest { id, digest, reason };
            let answer = session.lifecycle().approve_operation(request).await?.into_inner();
            print(out, &answer.operation.context("lifecycle answered without an operation")?)
        }
        Command::Reject { id, reason } => {
            let request = RejectOperationRequest { id, reason };
            let answer = session.lifecycle().reject_operation(request).await?.into_inner();
            print(out, &answer.operation.context("lifecycle answered without an operation")?)
        }
        Command::Cancel { id, reason } => {
            let request = CancelOperationRequest { id, reason };
            let answer = session.lifecycle().cancel_operation(request).await?.into_inner();
            print(out, &answer.operation.context("lifecycle answered without an operation")?)
        }
        Command::SpeedUp { id } => {
            let request = SpeedUpOperationRequest { id };
            let answer = session.lifecycle().speed_up_operation(request).await?.into_inner();
            print(out, &answer.operation.context("lifecycle answered without an operation")?)
        }
    }
}

/// Exit 0 if nothing stands in the way, 5 if something does.
async fn checked(
    session: &Session,
    out: &Printer,
    sequencer: String,
    parameters: OperationParameters,
) -> Result<ExitCode> {
    let request = PreflightOperationRequest { sequencer, parameters: Some(parameters) };
    let answer = session.lifecycle().preflight_operation(request).await?.into_inner();
    out.note(&answer.words);
    out.print("sequencer.lifecycle.v1.PreflightOperationResponse", &answer, || check_rows(&answer.checks))?;
    Ok(if answer.ok { ExitCode::SUCCESS } else { ExitCode::from(exit::REFUSED) })
}

/// Checks as a table.
pub fn check_rows(checks: &[Check]) -> Rows {
    let mut rows = Rows::new(["CHECK", "VERDICT", "WHY"]);
    for check in checks {
        let verdict = Verdict::try_from(check.verdict).unwrap_or_default().as_str_name();
        rows.add([&check.name, &word(verdict, "VERDICT_"), &check.message]);
    }
    rows
}

/// What cannot be undone needs the name; the rest a yes.
fn confirmed(manner: &Manner, sequencer: &str, irreversible: bool) -> Result<()> {
    match (irreversible, &manner.confirm) {
        (true, Some(name)) if name == sequencer => return Ok(()),
        (true, Some(name)) => {
            return Err(usage(format!("--confirm says {name}, the sequencer is {sequencer}")));
        }
        (false, _) if manner.yes => return Ok(()),
        _ => {}
    }
    if irreversible { typed(sequencer, &format!("--confirm {sequencer}")) } else { typed("yes", "--yes") }
}

/// Follows an operation to its end, telling each state.
async fn followed(session: &Session, out: &Printer, id: &str) -> Result<Operation> {
    let mut last = None;
    loop {
        let request = WatchOperationRequest { id: id.to_owned() };
        let mut stream = session.lifecycle().watch_operation(request).await?.into_inner();
        while let Some(message) = stream.message().await? {
            let Some(operation) = message.operation else { continue };
            if last != Some(operation.state) {
                out.note(&format!("{} {}", state(&operation), operation.reason));
                last = Some(operation.state);
            }
            if is_final(&operation) {
                return Ok(operation);
            }
        }
    }
}

fn is_final(operation: &Operation) -> bool {
    matches!(
        operation.state(),
        OperationState::Confirmed
            | OperationState::Failed
            | OperationState::Cancelled
            | OperationState::Expired
    )
}

fn print(out: &Printer, operation: &Operation) -> Result<()> {
    out.print("sequencer.lifecycle.v1.Operation", operation, || {
        let mut rows = Rows::properties();
        rows.add(["id", &operation.id])
            .add(["operation", &operation.words])
            .add(["state", &state(operation)])
            .add(["why", &operation.reason]);
        if let Some(terms) = &operation.terms {
            rows.add(["waits", &terms.waits]).add(["digest", &terms.digest]);
            for said in &terms.approvals {
                rows.add([if said.approved { "approved by" } else { "rejected by" }, &said.identity]);
            }
        }
        for transaction in &operation.transactions {
            rows.add([&transaction.step, &format!("{} {}", transaction.state, transaction.hash)]);
        }
        rows
    })
}

fn kind(operation: &Operation) -> String {
    word(OperationKind::try_from(operation.kind).unwrap_or_default().as_str_name(), "OPERATION_KIND_")
}

fn state(operation: &Operation) -> String {
    word(operation.state().as_str_name(), "OPERATION_STATE_")
}

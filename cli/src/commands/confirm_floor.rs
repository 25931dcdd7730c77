//! `seqctl keys confirm-floor`: after keys or their database were restored, from which nonce on an account signs.

use anyhow::{Context, Result};
use api::keys::v1::ConfirmNonceFloorRequest;
use clap::Args;

use super::sequencer::key_id;
use crate::connect::Session;
use crate::output::{Printer, Rows};

/// Which account, and how the operator knows.
#[derive(Args)]
pub struct ConfirmFloor {
    /// Name of the key.
    name: String,
    /// Every nonce below was used or is given up: at least the nonce count of the account in the newest block.
    #[arg(long)]
    nonce: u64,
    /// How you know, for the audit log.
    #[arg(long)]
    reason: String,
    /// Run every check, store nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub async fn run(command: ConfirmFloor, session: &Session, out: &Printer) -> Result<()> {
    let ConfirmFloor { name, nonce, reason, dry_run } = command;
    let request = ConfirmNonceFloorRequest {
        key_id: key_id(session, &name).await?.context("give the key by name")?,
        network: session.network()?,
        nonce: Some(nonce),
        reason,
        validate_only: dry_run,
    };
    let answer = session.keys().confirm_nonce_floor(request).await?.into_inner();
    out.print("sequencer.keys.v1.ConfirmNonceFloorResponse", &answer, || {
        let mut rows = Rows::properties();
        rows.add(["account", &answer.account])
            .add(["chain id", &answer.chain_id.to_string()])
            .add(["signs from nonce", &answer.nonce.to_string()]);
        rows
    })
}

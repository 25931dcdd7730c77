//! `seqctl keys attach` and `confirm-backup`: keys whose secrets are in hardware, clouds and remote signers.

use anyhow::{Context, Result};
use api::keys::v1::{AttachKeyRequest, ConfirmKeyBackupRequest};
use clap::Args;

use super::keys::{New, rows};
use super::sequencer::key_id;
use super::{labels, request_id};
use crate::connect::Session;
use crate::output::Printer;

/// A key that is somewhere already.
#[derive(Args)]
pub struct Attach {
    #[command(flatten)]
    new: New,
    /// Name of the backend in the configuration of keys.
    #[arg(long)]
    backend: String,
    /// What the backend calls it: an ARN, the resource name of a version, a PKCS#11 id in hex, a public key.
    #[arg(long)]
    reference: String,
    /// Address that it must have.
    #[arg(long, default_value = "")]
    expect: String,
    /// Run every check, store nothing.
    #[arg(long)]
    dry_run: bool,
}

/// The word of an operator.
#[derive(Args)]
pub struct ConfirmBackup {
    /// Name of the key.
    name: String,
    /// What backs it up and how that was seen to work.
    #[arg(long)]
    reason: String,
}

/// Attaches a key.
pub async fn attach(arguments: Attach, session: &Session, out: &Printer) -> Result<()> {
    let Attach { new: New { name, role, labels: pairs }, backend, reference, expect, dry_run } = arguments;
    let request = AttachKeyRequest {
        request_id: request_id(),
        name,
        role: role.into(),
        labels: labels(pairs)?,
        backend,
        reference,
        expected_address: expect,
        validate_only: dry_run,
    };
    let answer = session.keys().attach_key(request).await?.into_inner();
    out.print("sequencer.keys.v1.AttachKeyResponse", &answer, || rows(answer.key.iter()))
}

/// Confirms a backup.
pub async fn confirm(arguments: ConfirmBackup, session: &Session, out: &Printer) -> Result<()> {
    let ConfirmBackup { name, reason } = arguments;
    let id = key_id(session, &name).await?.context("give the key by name")?;
    let request = ConfirmKeyBackupRequest { id, reason };
    let answer = session.keys().confirm_key_backup(request).await?.into_inner();
    out.print("sequencer.keys.v1.ConfirmKeyBackupResponse", &answer, || rows(answer.key.iter()))
}

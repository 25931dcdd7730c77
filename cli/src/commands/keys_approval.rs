//! `seqctl keys freeze`, `thaw`, `approve`, `approvals`, `revoke-approval`, `sign-message`, `sign-typed-data`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use api::keys::v1::approve_intent_request::Intent;
use api::keys::v1::thaw_intent::Target;
use api::keys::v1::{
    Approval, ApproveIntentRequest, FreezeLabelRequest, KeyState, Label, ListApprovalsRequest,
    ListFrozenLabelsRequest, PolicyIntent, RevokeApprovalRequest, SetKeyStateRequest, SignMessageRequest,
    SignTypedDataRequest, ThawIntent, ThawLabelRequest, TransactionIntent,
};
use clap::{Args, Subcommand};

use super::sequencer::key_id;
use crate::connect::Session;
use crate::exit::usage;
use crate::output::{Printer, Rows, utc};

/// Who may sign what for now.
#[derive(Subcommand)]
pub enum Command {
    /// Deny-all for a key, or for every key with a label.
    Freeze(Frozen),
    /// Ends a freeze, once others have approved that.
    Thaw(Frozen),
    /// Labels that are frozen.
    FrozenLabels,
    /// Approves an intent of somebody else.
    #[command(subcommand)]
    Approve(Approve),
    /// Approvals, newest first.
    Approvals {
        /// Only of this intent.
        #[arg(long, default_value = "")]
        digest: String,
    },
    /// Takes an approval back.
    RevokeApproval {
        /// Its id.
        id: String,
    },
    /// Signs a text (EIP-191).
    SignMessage {
        /// Name of the key.
        #[arg(long)]
        key: String,
        /// The text.
        message: String,
    },
    /// Signs typed data (EIP-712).
    SignTypedData {
        /// Name of the key.
        #[arg(long)]
        key: String,
        /// The document in JSON.
        file: PathBuf,
    },
}

/// A key or a label.
#[derive(Args)]
pub struct Frozen {
    /// Name of the key.
    #[arg(long, conflicts_with = "label")]
    key: Option<String>,
    /// Label KEY=VALUE.
    #[arg(long)]
    label: Option<String>,
    /// Why, for the audit log.
    #[arg(long)]
    reason: String,
}

/// What is approved. Without --yes only its words and digest are shown.
#[derive(Subcommand)]
pub enum Approve {
    /// A transaction.
    Transaction {
        /// Name of the key.
        #[arg(long)]
        key: String,
        /// Target.
        #[arg(long)]
        to: String,
        /// Calldata, 0x hex.
        #[arg(long)]
        data: String,
        /// Highest value, wei.
        #[arg(long, default_value = "0")]
        value_wei_max: String,
        #[command(flatten)]
        how: How,
    },
    /// A new policy.
    Policy {
        /// The document in TOML.
        file: PathBuf,
        /// Version that it replaces.
        #[arg(long)]
        expect: u64,
        #[command(flatten)]
        how: How,
    },
    /// The end of a freeze.
    Thaw {
        /// Name of the key.
        #[arg(long, conflicts_with = "label")]
        key: Option<String>,
        /// Label KEY=VALUE.
        #[arg(long)]
        label: Option<String>,
        #[command(flatten)]
        how: How,
    },
}

/// How it is approved.
#[derive(Args)]
pub struct How {
    /// Who asked for it.
    #[arg(long, default_value = "")]
    requested_by: String,
    /// For how many hours it counts.
    #[arg(long, default_value_t = 24)]
    hours: u32,
    /// Digest that it must have.
    #[arg(long, default_value = "")]
    digest: String,
    /// Approve, do not only show.
    #[arg(long)]
    yes: bool,
}

/// Runs the command.
pub async fn run(command: Command, session: &Session, out: &Printer) -> Result<()> {
    match command {
        Command::Freeze(frozen) => freeze(session, out, frozen).await,
        Command::Thaw(frozen) => thaw(session, out, frozen).await,
        Command::FrozenLabels => {
            let answer = session.keys().list_frozen_labels(ListFrozenLabelsRequest {}).await?.into_inner();
            out.print("sequencer.keys.v1.ListFrozenLabelsResponse", &answer, || {
                let mut rows = Rows::new(["LABEL", "SINCE", "BY", "REASON"]);
                for frozen in &answer.labels {
                    let Label { name, value } = frozen.label.clone().unwrap_or_default();
                    let since = utc(frozen.freeze_time.as_ref());
                    rows.add([&format!("{name}={value}"), &since, &frozen.frozen_by, &frozen.reason]);
                }
                rows
            })
        }
        Command::Approve(approve) => {
            let (intent, how) = intent(session, approve).await?;
            let How { requested_by, hours, digest: expected_digest, yes } = how;
            let request = ApproveIntentRequest {
                intent: Some(intent),
                requested_by,
                valid_secs: hours.saturating_mul(3600),
                expected_digest,
                validate_only: !yes,
            };
            let answer = session.keys().approve_intent(request).await?.into_inner();
            out.print("sequencer.keys.v1.ApproveIntentResponse", &answer, || {
                approvals(answer.approval.iter())
            })?;
            out.note(&format!("{} approve it now", answer.approvers));
            if !yes {
                out.note("not approved yet: repeat with --yes, and with --digest if you were shown one");
            }
            Ok(())
        }
        Command::Approvals { digest: intent_digest } => {
            let request =
                ListApprovalsRequest { page_size: 500, intent_digest, ..ListApprovalsRequest::default() };
            let answer = session.keys().list_approvals(request).await?.into_inner();
            out.print("sequencer.keys.v1.ListApprovalsResponse", &answer, || {
                approvals(answer.approvals.iter())
            })
        }
        Command::RevokeApproval { id } => {
            let answer = session.keys().revoke_approval(RevokeApprovalRequest { id }).await?.into_inner();
            out.print("sequencer.keys.v1.RevokeApprovalResponse", &answer, || {
                approvals(answer.approval.iter())
            })
        }
        Command::SignMessage { key, message } => {
            let key_id = id_of(session, &key).await?;
            let request = SignMessageRequest { key_id, message, operation_id: String::new() };
            let answer = session.keys().sign_message(request).await?.into_inner();
            out.print("sequencer.keys.v1.SignMessageResponse", &answer, || {
                signed(&answer.signature, &answer.signing_hash, &answer.rule)
            })
        }
        Command::SignTypedData { key, file } => {
            let key_id = id_of(session, &key).await?;
            let json = read(&file)?;
            let request = SignTypedDataRequest { key_id, json, operation_id: String::new() };
            let answer = session.keys().sign_typed_data(request).await?.into_inner();
            out.print("sequencer.keys.v1.SignTypedDataResponse", &answer, || {
                signed(&answer.signature, &answer.signing_hash, &answer.rule)
            })
        }
    }
}

async fn freeze(session: &Session, out: &Printer, frozen: Frozen) -> Result<()> {
    let Frozen { key, label, reason } = frozen;
    match target(session, key, label).await? {
        Target::KeyId(id) => set_state(session, out, id, KeyState::Frozen, reason).await,
        Target::Label(label) => {
            let request = FreezeLabelRequest { label: Some(label), reason };
            let answer = session.keys().freeze_label(request).await?.into_inner();
            out.print("sequencer.keys.v1.FreezeLabelResponse", &answer, || counted(answer.keys))
        }
    }
}

async fn thaw(session: &Session, out: &Printer, frozen: Frozen) -> Result<()> {
    let Frozen { key, label, reason } = frozen;
    match target(session, key, label).await? {
        Target::KeyId(id) => set_state(session, out, id, KeyState::Enabled, reason).await,
        Target::Label(label) => {
            let request = ThawLabelRequest { label: Some(label), reason };
            let answer = session.keys().thaw_label(request).await?.into_inner();
            out.print("sequencer.keys.v1.ThawLabelResponse", &answer, || counted(answer.keys))
        }
    }
}

async fn set_state(
    session: &Session,
    out: &Printer,
    id: String,
    state: KeyState,
    reason: String,
) -> Result<()> {
    let request = SetKeyStateRequest { id, state: state.into(), reason };
    let answer = session.keys().set_key_state(request).await?.into_inner();
    out.print("sequencer.keys.v1.SetKeyStateResponse", &answer, || {
        let mut rows = Rows::properties();
        let key = answer.key.clone().unwrap_or_default();
        rows.add(["key", &key.name]).add(["state", key.state().as_str_name()]);
        rows
    })
}

async fn intent(session: &Session, approve: Approve) -> Result<(Intent, How)> {
    Ok(match approve {
        Approve::Transaction { key, to, data, value_wei_max, how } => {
            let key_id = id_of(session, &key).await?;
            let network = session.network()?;
            (Intent::Transaction(TransactionIntent { key_id, network, to, value_wei_max, data }), how)
        }
        Approve::Policy { file, expect: expected_version, how } => {
            (Intent::Policy(PolicyIntent { toml: read(&file)?, expected_version }), how)
        }
        Approve::Thaw { key, label, how } => {
            let target = Some(target(session, key, label).await?);
            (Intent::Thaw(ThawIntent { target }), how)
        }
    })
}

async fn target(session: &Session, key: Option<String>, label: Option<String>) -> Result<Target> {
    match (key, label) {
        (Some(key), None) => Ok(Target::KeyId(id_of(session, &key).await?)),
        (None, Some(label)) => {
            let (name, value) =
                label.split_once('=').ok_or_else(|| usage(format!("label `{label}` is not KEY=VALUE")))?;
            Ok(Target::Label(Label { name: name.to_owned(), value: value.to_owned() }))
        }
        _ => Err(usage("give --key or --label")),
    }
}

async fn id_of(session: &Session, name: &str) -> Result<String> {
    key_id(session, name).await?.context("give the key by name")
}

fn read(path: &std::path::Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

fn counted(keys: u32) -> Rows {
    let mut rows = Rows::properties();
    rows.add(["keys with the label", &keys.to_string()]);
    rows
}

fn signed(signature: &str, hash: &str, rule: &str) -> Rows {
    let mut rows = Rows::properties();
    rows.add(["signature", signature]).add(["hash", hash]).add(["rule", rule]);
    rows
}

fn approvals<'a>(approvals: impl Iterator<Item = &'a Approval>) -> Rows {
    let mut rows = Rows::new(["ID", "WORDS", "APPROVER", "EXPIRES", "REVOKED", "USED BY RECORD", "DIGEST"]);
    for approval in approvals {
        let used = match approval.used_audit_sequence {
            0 => String::new(),
            record => record.to_string(),
        };
        rows.add([
            &approval.id,
            &approval.words,
            &approval.approver,
            &utc(approval.expire_time.as_ref()),
            &utc(approval.revoke_time.as_ref()),
            &used,
            &approval.intent_digest,
        ]);
    }
    rows
}

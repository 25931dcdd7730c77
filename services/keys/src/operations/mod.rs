//! One file for each verb: parse, decide, store, and a record of it in the same transaction.

pub mod admit;
pub mod approve_intent;
pub mod attach_key;
pub mod backup_keys;
pub mod confirm_key_backup;
pub mod confirm_nonce_floor;
pub mod create_key;
mod denial;
pub mod explain_policy;
pub mod export_keystore;
pub mod export_node_key;
pub mod freeze_label;
pub mod get_audit_head;
pub mod get_blast_radius;
pub mod get_key;
pub mod get_policy;
pub mod import_key;
pub mod list_approvals;
pub mod list_audit_records;
pub mod list_drills;
pub mod list_frozen_labels;
pub mod list_keys;
mod message;
pub mod once;
mod quorum;
pub mod restore_keys;
pub mod revoke_approval;
pub mod rotate_kek;
pub mod set_key_state;
pub mod set_policy;
pub mod sign;
pub mod sign_message;
pub mod sign_typed_data;
pub mod test_policy;
pub mod thaw_label;
pub mod verify_backup;
pub mod wire;

pub use sign::{transaction as sign_transaction, transactions as sign_transactions};

use api::reasons::EXPORT_FORBIDDEN;
use runtime::errors::Refusal;

use crate::audit::Entry;
use crate::db;
use crate::error::Declined;
use crate::keyring::Keyring;

/// Text of a caller goes into records no longer than this.
const CLIPPED_CHARS: usize = 100;

/// Does the work of a verb, and writes a refusal to the audit log before it is answered. A failure is
/// no decision; it stands in the log of the process.
async fn recorded<T>(
    keyring: &Keyring,
    entry: &Entry,
    work: impl Future<Output = Result<T, Declined>>,
) -> Result<T, Declined> {
    match work.await {
        Err(Declined::Refused(refusal)) => {
            db::audit::append(&keyring.db, entry.refused(refusal.reason.name)).await?;
            Err(Declined::Recorded(refusal))
        }
        done => done,
    }
}

/// Whether a secret may leave at the wish of this caller, even encrypted. The method table says only
/// who may ask.
fn may_export(named: &[String], caller: &str) -> Result<(), Refusal> {
    if named.iter().any(|name| name == caller) {
        return Ok(());
    }
    let why = format!("{caller} has no right to this export");
    Err(Refusal::new(&EXPORT_FORBIDDEN, why).meta("caller", caller))
}

/// The beginning of a caller's text, for a record.
pub(crate) fn clip(text: &str) -> String {
    text.chars().take(CLIPPED_CHARS).filter(|c| !c.is_control()).collect()
}

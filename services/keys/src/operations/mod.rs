//! One file for each verb: parse, decide, store, and a record of it in the same transaction.

pub mod admit;
pub mod backup_keys;
pub mod confirm_nonce_floor;
pub mod create_key;
pub mod export_node_key;
pub mod get_audit_head;
pub mod get_key;
pub mod get_policy;
pub mod import_key;
pub mod list_audit_records;
pub mod list_keys;
pub mod once;
pub mod restore_keys;
pub mod set_key_state;
pub mod set_policy;
pub mod sign_transaction;
pub mod verify_backup;
pub mod wire;

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

/// The beginning of a caller's text, for a record.
pub(crate) fn clip(text: &str) -> String {
    text.chars().take(CLIPPED_CHARS).filter(|c| !c.is_control()).collect()
}

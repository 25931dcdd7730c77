//! ConfirmKeyBackup: an operator vouches for the backup of a key whose secret cannot leave its backend (the module has a
//! second one with the same keys, the cloud keeps copies). There is no archive to decrypt, so the proof is that the
//! backend signs now, and the word of the operator with a reason, in the audit log.
//!
//! Leaves the date on the key and a record; twice is harmless, the date is the later one.

use api::convert;
use api::keys::v1::{ConfirmKeyBackupRequest, ConfirmKeyBackupResponse};
use api::reasons::KEY_EXPORTABLE;
use runtime::errors::Refusal;

use super::{clip, recorded, wire};
use crate::audit::Entry;
use crate::db;
use crate::error::Declined;
use crate::keyring::{Keyring, not_found};

pub async fn run(
    keyring: &Keyring,
    caller: &str,
    request: ConfirmKeyBackupRequest,
) -> Result<ConfirmKeyBackupResponse, Declined> {
    let entry = Entry {
        caller: caller.to_owned(),
        action: "ConfirmKeyBackup",
        key_id: clip(&request.id),
        intent: format!("confirm the backup, because: {}", clip(&request.reason)),
        ..Entry::default()
    };
    recorded(keyring, &entry, confirm(keyring, &entry, request)).await
}

async fn confirm(
    keyring: &Keyring,
    entry: &Entry,
    request: ConfirmKeyBackupRequest,
) -> Result<ConfirmKeyBackupResponse, Declined> {
    let ConfirmKeyBackupRequest { id, reason } = request;
    convert::required("reason", &reason)?;
    let key = db::key::of_id(&keyring.db, &id).await?.ok_or_else(|| not_found("id"))?;
    if key.place.envelope().is_some() {
        let sentence = format!("{} can be backed up and proven, nobody needs to vouch for it", key.name);
        return Err(Refusal::new(&KEY_EXPORTABLE, sentence).field("id", "is a local key").into());
    }
    keyring.prove(&key).await?;
    let id = id.as_str();
    store::in_transaction(&keyring.db, move |tx| {
        Box::pin(async move {
            db::key::mark_backup_proven(&tx, vec![id.to_owned()]).await?;
            let after = db::key::of_id(&tx, id).await?.ok_or_else(|| not_found("id"))?;
            db::audit::append(&tx, entry.allowed()).await?;
            Ok(ConfirmKeyBackupResponse { key: Some(wire::key(&after)) })
        })
    })
    .await
}

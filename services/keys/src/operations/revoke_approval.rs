//! RevokeApproval: ends an approval now. Twice is harmless; what was signed with it stays signed.

use api::keys::v1::{RevokeApprovalRequest, RevokeApprovalResponse};
use api::reasons::APPROVAL_NOT_FOUND;
use runtime::errors::Refusal;

use super::{clip, recorded, wire};
use crate::audit::Entry;
use crate::db;
use crate::error::Declined;
use crate::keyring::Keyring;

pub async fn run(
    keyring: &Keyring,
    caller: &str,
    request: RevokeApprovalRequest,
) -> Result<RevokeApprovalResponse, Declined> {
    let entry = Entry {
        caller: caller.to_owned(),
        action: "RevokeApproval",
        intent: format!("revoke approval {}", clip(&request.id)),
        ..Entry::default()
    };
    recorded(keyring, &entry, revoke(keyring, &entry, request)).await
}

/// Anyone who may approve may take any approval back: that only ever allows less.
async fn revoke(
    keyring: &Keyring,
    entry: &Entry,
    request: RevokeApprovalRequest,
) -> Result<RevokeApprovalResponse, Declined> {
    let id = request.id.as_str();
    store::in_transaction(&keyring.db, move |tx| {
        Box::pin(async move {
            let unknown =
                || Refusal::new(&APPROVAL_NOT_FOUND, "there is no such approval").field("id", "is unknown");
            let before = db::approval::of_id(&tx, id).await?.ok_or_else(unknown)?;
            db::approval::revoke(&tx, id).await?;
            let after = db::approval::of_id(&tx, id).await?.ok_or_else(unknown)?;
            let intent = format!("revoke the approval of {}: {}", before.approver, before.words);
            let entry = Entry { intent, digest: Some(before.intent_digest.0), ..entry.clone() };
            db::audit::append(&tx, entry.allowed()).await?;
            Ok(RevokeApprovalResponse { approval: Some(wire::approval(after)) })
        })
    })
    .await
}

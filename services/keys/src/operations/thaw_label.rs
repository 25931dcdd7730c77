//! ThawLabel: lifts the freeze of a label, with as many approvals by others as the policy asks for. Keys that are
//! frozen by themselves or by another label stay frozen.

use alloy_primitives::B256;
use api::convert;
use api::keys::v1::{ThawLabelRequest, ThawLabelResponse};
use api::reasons::LABEL_NOT_FROZEN;
use runtime::errors::Refusal;
use sea_orm::ConnectionTrait;

use super::{clip, quorum, recorded, wire};
use crate::audit::Entry;
use crate::db;
use crate::error::Declined;
use crate::keyring::{self, Keyring};
use crate::policy::intent;

pub async fn run(
    keyring: &Keyring,
    caller: &str,
    request: ThawLabelRequest,
) -> Result<ThawLabelResponse, Declined> {
    let label = request.label.clone().unwrap_or_default();
    let (name, value, reason) = (clip(&label.name), clip(&label.value), clip(&request.reason));
    let entry = Entry {
        caller: caller.to_owned(),
        action: "ThawLabel",
        intent: format!("end the freeze of label {name}={value}, because: {reason}"),
        ..Entry::default()
    };
    recorded(keyring, &entry, thaw(keyring, &entry, request)).await
}

async fn thaw(
    keyring: &Keyring,
    entry: &Entry,
    request: ThawLabelRequest,
) -> Result<ThawLabelResponse, Declined> {
    let ThawLabelRequest { label, reason } = request;
    let label = wire::label(label)?;
    convert::required("reason", &reason)?;
    let label = &label;
    store::in_transaction(&keyring.db, move |tx| {
        Box::pin(async move {
            let named = (label.name.as_str(), label.value.as_str());
            // What is lifted must be the freeze that was approved, not one that came since.
            db::key::hold_states(&tx).await?;
            let not_frozen = || {
                Refusal::new(&LABEL_NOT_FROZEN, "this label is not frozen").field("label", "is not frozen")
            };
            let frozen = db::frozen_label::of_label(&tx, named).await?.ok_or_else(not_frozen)?;
            let digest = intent::thaw_label(&label.name, &label.value, frozen.frozen_at);
            quorum_to_thaw(&tx, digest, &entry.caller).await?;
            let keys = db::frozen_label::thaw(&tx, named, &entry.caller).await?.ok_or_else(not_frozen)?;
            let intent = format!("{} ({keys} keys)", entry.intent);
            db::audit::append(&tx, Entry { intent, digest: Some(digest), ..entry.clone() }.allowed()).await?;
            db::approval::use_up(&tx, digest, &entry.caller).await?;
            Ok(ThawLabelResponse { keys })
        })
    })
    .await
}

/// As many identities other than the caller approve the end of a freeze as the policy in force asks for.
pub async fn quorum_to_thaw<C: ConnectionTrait>(tx: &C, digest: B256, caller: &str) -> Result<(), Declined> {
    let needed = keyring::in_force(tx).await?.policy.quorum.thaw;
    quorum::of_others(tx, digest, needed, caller).await
}

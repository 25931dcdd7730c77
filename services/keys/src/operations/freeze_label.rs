//! FreezeLabel: deny-all for every key with a label, in one call. A decision under way is before or after it.
//! Keys that are made, imported or restored later with the label are frozen from their first moment.

use api::convert;
use api::keys::v1::{FreezeLabelRequest, FreezeLabelResponse};
use api::reasons::LABEL_FROZEN;
use runtime::errors::Refusal;

use super::{clip, recorded, wire};
use crate::audit::Entry;
use crate::db;
use crate::error::Declined;
use crate::keyring::Keyring;

pub async fn run(
    keyring: &Keyring,
    caller: &str,
    request: FreezeLabelRequest,
) -> Result<FreezeLabelResponse, Declined> {
    let label = request.label.clone().unwrap_or_default();
    let (name, value, reason) = (clip(&label.name), clip(&label.value), clip(&request.reason));
    let entry = Entry {
        caller: caller.to_owned(),
        action: "FreezeLabel",
        intent: format!("freeze label {name}={value}, because: {reason}"),
        ..Entry::default()
    };
    recorded(keyring, &entry, freeze(keyring, &entry, request)).await
}

async fn freeze(
    keyring: &Keyring,
    entry: &Entry,
    request: FreezeLabelRequest,
) -> Result<FreezeLabelResponse, Declined> {
    let FreezeLabelRequest { label, reason } = request;
    let label = wire::label(label)?;
    convert::required("reason", &reason)?;
    let (label, reason) = (&label, clip(&reason));
    let reason = reason.as_str();
    store::in_transaction(&keyring.db, move |tx| {
        Box::pin(async move {
            let named = (label.name.as_str(), label.value.as_str());
            let keys =
                db::frozen_label::freeze(&tx, named, reason, &entry.caller).await?.ok_or_else(|| {
                    Refusal::new(&LABEL_FROZEN, "this label is frozen already")
                        .field("label", "is frozen already")
                })?;
            let intent = format!("{} ({keys} keys)", entry.intent);
            db::audit::append(&tx, Entry { intent, ..entry.clone() }.allowed()).await?;
            Ok(FreezeLabelResponse { keys })
        })
    })
    .await
}

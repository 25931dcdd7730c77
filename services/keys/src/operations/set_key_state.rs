//! SetKeyState: enables, disables or freezes a key. A decision under way is before or after it, never
//! beside it; setting the same state again changes nothing but leaves another record. To freeze, one call of one
//! identity is enough; to end a freeze, others approve. A key whose label is frozen stays frozen.

use api::convert;
use api::keys::v1::{SetKeyStateRequest, SetKeyStateResponse};

use super::thaw_label::quorum_to_thaw;
use super::{clip, recorded, wire};
use crate::audit::Entry;
use crate::db;
use crate::db::key::State;
use crate::error::Declined;
use crate::keyring::{Keyring, not_found};
use crate::policy::intent;

pub async fn run(
    keyring: &Keyring,
    caller: &str,
    request: SetKeyStateRequest,
) -> Result<SetKeyStateResponse, Declined> {
    let entry = Entry {
        caller: caller.to_owned(),
        action: "SetKeyState",
        key_id: clip(&request.id),
        intent: format!("set the state, because: {}", clip(&request.reason)),
        ..Entry::default()
    };
    recorded(keyring, &entry, set(keyring, &entry, request)).await
}

async fn set(
    keyring: &Keyring,
    entry: &Entry,
    request: SetKeyStateRequest,
) -> Result<SetKeyStateResponse, Declined> {
    let SetKeyStateRequest { id, state, reason } = request;
    let state = wire::state_required("state", state)?;
    convert::required("reason", &reason)?;
    let id = id.as_str();
    store::in_transaction(&keyring.db, move |tx| {
        Box::pin(async move {
            // Else a freeze that is under way would be undone by who has just seen the key not frozen.
            db::key::hold_states(&tx).await?;
            let before = db::key::of_id(&tx, id).await?.ok_or_else(|| not_found("id"))?;
            let is_thaw = before.state == State::Frozen && state != State::Frozen;
            let frozen_at = db::key::frozen_at(&tx, id).await?;
            let thaw = is_thaw.then(|| intent::thaw_key(id, frozen_at));
            if let Some(digest) = thaw {
                quorum_to_thaw(&tx, digest, &entry.caller).await?;
            }
            db::key::set_state(&tx, id, state).await?;
            let after = db::key::of_id(&tx, id).await?.ok_or_else(|| not_found("id"))?;
            let (from, to, why) = (before.state.as_str(), state.as_str(), clip(&entry.intent));
            let entry = Entry { intent: format!("{from} to {to}: {why}"), digest: thaw, ..entry.clone() };
            db::audit::append(&tx, entry.allowed()).await?;
            if let Some(digest) = thaw {
                db::approval::use_up(&tx, digest, &entry.caller).await?;
            }
            Ok(SetKeyStateResponse { key: Some(wire::key(&after)) })
        })
    })
    .await
}

//! ConfirmNonceFloor: after a restoration, an operator says from which nonce on an account signs again. A floor only
//! ever rises; the same one again changes nothing but leaves another record.

use api::convert::{self, bad};
use api::keys::v1::{ConfirmNonceFloorRequest, ConfirmNonceFloorResponse};
use api::reasons::{GUARD_PROVEN, NETWORK_NOT_FOUND};
use runtime::errors::{Refusal, generic};

use super::{clip, recorded};
use crate::audit::Entry;
use crate::db;
use crate::db::restoration::Floor;
use crate::error::Declined;
use crate::keyring::Keyring;

/// A reason is a sentence, and its beginning goes into the record.
const REASON_CHARS_MAX: usize = 1000;

pub async fn run(
    keyring: &Keyring,
    caller: &str,
    request: ConfirmNonceFloorRequest,
) -> Result<ConfirmNonceFloorResponse, Declined> {
    let entry = Entry {
        caller: caller.to_owned(),
        action: "ConfirmNonceFloor",
        key_id: clip(&request.key_id),
        network: clip(&request.network),
        intent: "confirm a nonce floor".to_owned(),
        ..Entry::default()
    };
    recorded(keyring, &entry, confirm(keyring, &entry, request)).await
}

async fn confirm(
    keyring: &Keyring,
    entry: &Entry,
    request: ConfirmNonceFloorRequest,
) -> Result<ConfirmNonceFloorResponse, Declined> {
    let ConfirmNonceFloorRequest { key_id, network, nonce, reason, validate_only } = request;
    convert::required("key_id", &key_id)?;
    convert::required("network", &network)?;
    convert::required("reason", &reason)?;
    if reason.chars().count() > REASON_CHARS_MAX {
        let most = format!("at most {REASON_CHARS_MAX} characters");
        return Err(bad(&generic::INVALID_ARGUMENT, "reason", most).into());
    }
    let nonce = convert::present("nonce", nonce)?;
    let nonce = i64::try_from(nonce)
        .map_err(|_| bad(&generic::INVALID_ARGUMENT, "nonce", format!("at most {}", i64::MAX)))?;
    let key = keyring.key(&key_id).await?;
    let policy = keyring.policy();
    let contracts = policy.policy.contracts.get(&network).ok_or_else(|| {
        Refusal::new(&NETWORK_NOT_FOUND, "the policy names no such network")
            .field("network", "is not in the policy")
    })?;
    let chain_id = i64::try_from(contracts.chain_id).unwrap_or(i64::MAX);
    let (account, reason) = (key.address, clip(&reason));
    let reason = reason.as_str();
    let counts = store::in_transaction(&keyring.db, move |tx| {
        Box::pin(async move {
            let asked = (chain_id, account, nonce);
            let confirmed = db::restoration::confirm_floor(&tx, asked, &entry.caller, validate_only).await?;
            let Some(Floor { before, counts }) = confirmed else {
                let text = "no published head is missing from the log, and no keys came from an archive";
                return Err(Refusal::new(&GUARD_PROVEN, text).into());
            };
            let was = before.map_or("none".to_owned(), |before| before.to_string());
            let mode = if validate_only { " (validate only)" } else { "" };
            let intent =
                format!("{account} signs from nonce {counts} on, before: {was}, because: {reason}{mode}");
            db::audit::append(&tx, Entry { intent, ..entry.clone() }.allowed()).await?;
            Ok::<_, Declined>(counts)
        })
    })
    .await?;
    Ok(ConfirmNonceFloorResponse {
        account: key.address.to_string(),
        chain_id: contracts.chain_id,
        nonce: u64::try_from(counts).unwrap_or_default(),
    })
}

//! SignTypedData: typed data (EIP-712), within policy. The same data gets the same signature again.

use api::keys::v1::{SignTypedDataRequest, SignTypedDataResponse};

use super::message::{self, Signed};
use super::{clip, recorded};
use crate::audit::Entry;
use crate::error::Declined;
use crate::keyring::Keyring;

pub async fn run(
    keyring: &Keyring,
    caller: &str,
    request: SignTypedDataRequest,
) -> Result<SignTypedDataResponse, Declined> {
    let SignTypedDataRequest { key_id, json, operation_id } = request;
    let entry = Entry {
        caller: caller.to_owned(),
        action: "SignTypedData",
        key_id: clip(&key_id),
        operation_id: clip(&operation_id),
        ..Entry::default()
    };
    let sign = async { message::sign(keyring, &entry, &message::typed(&json, "json")?).await };
    let Signed { signature, signing_hash, words: intent_words, rule, audit_sequence } =
        recorded(keyring, &entry, sign).await?;
    Ok(SignTypedDataResponse { signature, signing_hash, intent_words, rule, audit_sequence })
}

//! SignMessage: a text (EIP-191), within policy. The same text gets the same signature again.

use api::keys::v1::{SignMessageRequest, SignMessageResponse};

use super::message::{self, Signed};
use super::{clip, recorded};
use crate::audit::Entry;
use crate::error::Declined;
use crate::keyring::Keyring;

pub async fn run(
    keyring: &Keyring,
    caller: &str,
    request: SignMessageRequest,
) -> Result<SignMessageResponse, Declined> {
    let SignMessageRequest { key_id, message: text, operation_id } = request;
    let entry = Entry {
        caller: caller.to_owned(),
        action: "SignMessage",
        key_id: clip(&key_id),
        operation_id: clip(&operation_id),
        ..Entry::default()
    };
    let sign = async { message::sign(keyring, &entry, &message::text(&text, "message")?).await };
    let Signed { signature, signing_hash, words: _, rule, audit_sequence } =
        recorded(keyring, &entry, sign).await?;
    Ok(SignMessageResponse { signature, signing_hash, rule, audit_sequence })
}

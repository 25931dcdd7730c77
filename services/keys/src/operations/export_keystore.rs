//! ExportKeystore: one key as keystore v3, under a passphrase that the caller chose. Nobody may unless
//! `keys.rights` says so; the record is durable before the document leaves.

use alloy_primitives::B256;
use api::convert::{self, bad};
use api::keys::v1::{ExportKeystoreRequest, ExportKeystoreResponse};
use api::reasons::PASSPHRASE_SHORT;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{clip, may_export, recorded};
use crate::audit::Entry;
use crate::db;
use crate::error::{Declined, Failure};
use crate::import::keystore;
use crate::keyring::{Keyring, not_found};

/// With scrypt at 2^17 rounds a random one of this length outlives the key.
const PASSPHRASE_CHARS_MIN: usize = 12;

pub async fn run(
    keyring: &Keyring,
    caller: &str,
    request: ExportKeystoreRequest,
) -> Result<ExportKeystoreResponse, Declined> {
    let entry = Entry {
        caller: caller.to_owned(),
        action: "ExportKeystore",
        key_id: clip(&request.id),
        intent: format!("export as keystore v3, because: {}", clip(&request.reason)),
        ..Entry::default()
    };
    recorded(keyring, &entry, export(keyring, &entry, request)).await
}

async fn export(
    keyring: &Keyring,
    entry: &Entry,
    request: ExportKeystoreRequest,
) -> Result<ExportKeystoreResponse, Declined> {
    let ExportKeystoreRequest { id, passphrase, reason } = request;
    let passphrase = Zeroizing::new(passphrase);
    may_export(&keyring.rights.export_keystore, &entry.caller)?;
    convert::required("reason", &reason)?;
    if passphrase.chars().count() < PASSPHRASE_CHARS_MIN {
        let least = format!("at least {PASSPHRASE_CHARS_MIN} characters");
        return Err(bad(&PASSPHRASE_SHORT, "passphrase", least).into());
    }
    let key = db::key::of_id(&keyring.db, &id).await?.ok_or_else(|| not_found("id"))?;
    let secret = keyring.secret_of(&key)?;
    let encrypted = keystore::in_turn(move || keystore::encrypt(&secret, &passphrase));
    let json = encrypted.await?.map_err(Failure::from)?;
    let digest = Some(B256::from_slice(&Sha256::digest(&json)));
    db::audit::append(&keyring.db, Entry { digest, ..entry.clone() }.allowed()).await?;
    Ok(ExportKeystoreResponse { json })
}

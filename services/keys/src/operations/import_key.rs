//! ImportKey: an existing secret, in one of three forms. The address is derived from the secret, never
//! believed, and a test signature proves that the secret can sign for it.
//!
//! Leaves a key, the answer for the `request_id` and a record; twice is harmless by that id.

use alloy_primitives::Address;
use api::convert::{self, bad};
use api::keys::v1::import_key_request::Material;
use api::keys::v1::{ImportKeyRequest, ImportKeyResponse, KeystoreV3};
use api::reasons::{KEY_ADDRESS_MISMATCH, KEY_MATERIAL_INVALID, KEY_PASSPHRASE_WRONG};
use runtime::errors::Refusal;
use zeroize::Zeroizing;

use super::admit::{self, Newcomer};
use super::once::Once;
use super::{clip, recorded, wire};
use crate::audit::Entry;
use crate::crypto::SecretKey;
use crate::error::Declined;
use crate::import::{keystore, priv_validator};
use crate::keyring::Keyring;

pub async fn run(
    keyring: &Keyring,
    caller: &str,
    request: ImportKeyRequest,
) -> Result<ImportKeyResponse, Declined> {
    let entry = Entry {
        caller: caller.to_owned(),
        action: "ImportKey",
        intent: format!("import key {}", clip(&request.name)),
        ..Entry::default()
    };
    recorded(keyring, &entry, import(keyring, &entry, request)).await
}

async fn import(
    keyring: &Keyring,
    entry: &Entry,
    mut request: ImportKeyRequest,
) -> Result<ImportKeyResponse, Declined> {
    let request_id = std::mem::take(&mut request.request_id);
    let expected = match request.expected_address.as_str() {
        "" => None,
        text => Some(convert::address("expected_address", text)?),
    };
    let secret = secret_of(convert::present("material", request.material.take())?).await?;
    let address = secret.address();
    matches_expected(expected, address)?;
    // The fingerprint knows the key by its address, so that no hash of a secret is stored.
    request.expected_address = address.to_string();
    let once = Once::new(&request_id, entry.action, &entry.caller, &request)?;
    let ImportKeyRequest { name, role, labels, validate_only, .. } = request;
    let name = convert::name("name", &name)?;
    let role = wire::role_required("role", role)?;
    wire::labels("labels", &labels)?;
    let newcomer = Newcomer::fresh(name, role, labels);
    let key = admit::prepare(keyring, newcomer, &secret)?;
    let entry = &Entry { intent: format!("{} with address {address}", entry.intent), ..entry.clone() };
    admit::take_in(keyring, (&once, entry), &key, validate_only, |key| ImportKeyResponse { key: Some(key) })
        .await
}

fn matches_expected(expected: Option<Address>, derived: Address) -> Result<(), Refusal> {
    match expected {
        Some(expected) if expected != derived => {
            let why = format!("the secret derives {derived}");
            Err(bad(&KEY_ADDRESS_MISMATCH, "expected_address", why)
                .meta("expected", expected)
                .meta("derived", derived))
        }
        _ => Ok(()),
    }
}

async fn secret_of(material: Material) -> Result<SecretKey, Declined> {
    let invalid = |field: &str, why: &dyn std::fmt::Display| bad(&KEY_MATERIAL_INVALID, field, why);
    match material {
        Material::Raw(bytes) => Ok(SecretKey::from_slice(&bytes).map_err(|why| invalid("raw", &why))?),
        Material::PrivValidatorKeyJson(json) => {
            let json = Zeroizing::new(json);
            priv_validator::read(&json).map_err(|why| {
                let reason = match why {
                    priv_validator::Invalid::Address { .. } | priv_validator::Invalid::PublicKey { .. } => {
                        &KEY_ADDRESS_MISMATCH
                    }
                    _ => &KEY_MATERIAL_INVALID,
                };
                bad(reason, "priv_validator_key_json", why).into()
            })
        }
        Material::KeystoreV3(KeystoreV3 { json, passphrase }) => {
            let passphrase = Zeroizing::new(passphrase);
            let decrypted = keystore::in_turn(move || keystore::decrypt(&json, &passphrase));
            decrypted.await?.map_err(|why| match why {
                keystore::Invalid::Passphrase => {
                    bad(&KEY_PASSPHRASE_WRONG, "keystore_v3.passphrase", why).into()
                }
                _ => invalid("keystore_v3.json", &why).into(),
            })
        }
    }
}

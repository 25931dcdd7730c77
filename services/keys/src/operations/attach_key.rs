//! AttachKey: a key that a hardware module, a cloud or a remote signer has already. Its public key is asked for, never
//! believed of the caller, and a signature of a fresh challenge proves that the backend can sign for it.
//!
//! Leaves a key, the answer for the `request_id` and a record; twice is harmless by that id.

use api::convert::{self, bad};
use api::keys::v1::{AttachKeyRequest, AttachKeyResponse};
use api::reasons::{BACKEND_REFERENCE_UNKNOWN, BACKEND_UNSUPPORTED, KEY_ADDRESS_MISMATCH};
use runtime::errors::{Refusal, generic};

use super::admit::{self, Newcomer};
use super::create_key::no_backend;
use super::once::Once;
use super::{clip, recorded, wire};
use crate::audit::Entry;
use crate::backend::{self, LOCAL, REFERENCE_BYTES_MAX};
use crate::error::{Declined, Failure};
use crate::keyring::Keyring;

pub async fn run(
    keyring: &Keyring,
    caller: &str,
    request: AttachKeyRequest,
) -> Result<AttachKeyResponse, Declined> {
    let entry = Entry {
        caller: caller.to_owned(),
        action: "AttachKey",
        intent: format!("attach key {} in {}", clip(&request.name), clip(&request.backend)),
        ..Entry::default()
    };
    recorded(keyring, &entry, attach(keyring, &entry, request)).await
}

async fn attach(
    keyring: &Keyring,
    entry: &Entry,
    mut request: AttachKeyRequest,
) -> Result<AttachKeyResponse, Declined> {
    let request_id = std::mem::take(&mut request.request_id);
    let once = Once::new(&request_id, entry.action, &entry.caller, &request)?;
    let AttachKeyRequest { name, role, labels, backend, reference, expected_address, validate_only, .. } =
        request;
    let name = convert::name("name", &name)?;
    let role = wire::role_required("role", role)?;
    wire::labels("labels", &labels)?;
    let expected = match expected_address.as_str() {
        "" => None,
        text => Some(convert::address("expected_address", text)?),
    };
    convert::required("reference", &reference)?;
    if reference.len() > REFERENCE_BYTES_MAX {
        let most = format!("at most {REFERENCE_BYTES_MAX} bytes");
        return Err(bad(&generic::INVALID_ARGUMENT, "reference", most).into());
    }
    let held = find(keyring, &backend, &reference).await?;
    let address = held.public_key.address();
    if let Some(expected) = expected.filter(|expected| *expected != address) {
        let why = format!("the key has address {address}");
        let refusal = bad(&KEY_ADDRESS_MISMATCH, "expected_address", why);
        return Err(refusal.meta("expected", expected).meta("derived", address).into());
    }
    let newcomer = Newcomer::fresh(name, role, labels);
    let key = admit::prove(keyring, newcomer, held).await?;
    let entry = &Entry { intent: format!("{} with address {address}", entry.intent), ..entry.clone() };
    admit::take_in(keyring, (&once, entry), &key, validate_only, |key| AttachKeyResponse { key: Some(key) })
        .await
}

async fn find(keyring: &Keyring, name: &str, reference: &str) -> Result<backend::Held, Declined> {
    if name == LOCAL {
        let refusal = Refusal::new(&BACKEND_UNSUPPORTED, "a local key is not attached: import it");
        return Err(refusal.field("backend", "choose another backend").into());
    }
    let backend = keyring.backends.named(name).ok_or_else(|| no_backend(name))?;
    backend.find(reference).await.map_err(|source| match source {
        backend::Error::UnknownKey(_) => {
            bad(&BACKEND_REFERENCE_UNKNOWN, "reference", source).meta("backend", name).into()
        }
        backend::Error::Unusable(unusable) => {
            bad(&BACKEND_REFERENCE_UNKNOWN, "reference", unusable).meta("backend", name).into()
        }
        source => Failure::Backend { key_id: String::new(), source }.into(),
    })
}

//! CreateKey: a new secret, made and encrypted here, or made in another backend where it stays.
//!
//! Leaves a key, the answer for the `request_id` and a record; twice is harmless by that id.

use api::convert;
use api::keys::v1::{CreateKeyRequest, CreateKeyResponse};
use api::reasons::BACKEND_NOT_FOUND;
use runtime::errors::Refusal;
use tokio::sync::OnceCell;

use super::admit::{self, Newcomer};
use super::once::Once;
use super::{clip, recorded, wire};
use crate::audit::Entry;
use crate::backend::{Backend, LOCAL, Wanted};
use crate::db;
use crate::db::key::Key;
use crate::error::{Declined, Failure};
use crate::keyring::Keyring;

pub async fn run(
    keyring: &Keyring,
    caller: &str,
    request: CreateKeyRequest,
) -> Result<CreateKeyResponse, Declined> {
    let entry = Entry {
        caller: caller.to_owned(),
        action: "CreateKey",
        intent: format!("create key {}", clip(&request.name)),
        ..Entry::default()
    };
    recorded(keyring, &entry, create(keyring, &entry, request)).await
}

async fn create(
    keyring: &Keyring,
    entry: &Entry,
    mut request: CreateKeyRequest,
) -> Result<CreateKeyResponse, Declined> {
    let request_id = std::mem::take(&mut request.request_id);
    let once = Once::new(&request_id, entry.action, &entry.caller, &request)?;
    let CreateKeyRequest { request_id: _, name, role, labels, validate_only, backend } = request;
    let name = convert::name("name", &name)?;
    let role = wire::role_required("role", role)?;
    wire::labels("labels", &labels)?;
    let backend_name = if backend.is_empty() { LOCAL } else { backend.as_str() };
    let backend = keyring.backends.named(backend_name).ok_or_else(|| no_backend(backend_name))?;
    let entry = &Entry { intent: format!("{} in {backend_name}", entry.intent), ..entry.clone() };
    let newcomer = Newcomer::fresh(name, role, labels);
    if validate_only {
        admit::is_new(&keyring.db, &newcomer.name, None).await?;
        db::audit::append(
            &keyring.db,
            Entry { intent: format!("{} (validate only)", entry.intent), ..entry.clone() }.allowed(),
        )
        .await?;
        return Ok(CreateKeyResponse { key: None });
    }
    // Made inside the transaction, so that a request that comes again makes no second key in the hardware; once,
    // however often the transaction is tried.
    let made = OnceCell::new();
    let (once, newcomer, made) = (&once, &newcomer, &made);
    store::in_transaction(&keyring.db, move |tx| {
        Box::pin(async move {
            if let Some(before) = once.begin(&tx).await? {
                return Ok(before);
            }
            admit::is_new(&tx, &newcomer.name, None).await?;
            let key = made.get_or_try_init(|| make(keyring, backend.as_ref(), newcomer)).await?;
            let stored = admit::store(&tx, key).await?;
            let answer = CreateKeyResponse { key: Some(wire::key(&stored)) };
            once.finish(&tx, &answer).await?;
            db::restoration::key_was_made(&tx, stored.address, &keyring.policy().policy.chain_ids()).await?;
            let entry = Entry { key_id: stored.id, ..entry.clone() };
            db::audit::append(&tx, entry.allowed()).await?;
            Ok(answer)
        })
    })
    .await
}

async fn make(keyring: &Keyring, backend: &dyn Backend, newcomer: &Newcomer) -> Result<Key, Failure> {
    let wanted = Wanted { key_id: &newcomer.id, name: &newcomer.name, role: newcomer.role };
    let held = backend.generate(&wanted).await;
    let held = held.map_err(|source| Failure::Backend { key_id: newcomer.id.clone(), source })?;
    let place = held.place.clone();
    let proven = admit::prove(keyring, newcomer.clone(), held).await;
    if let (Err(_), Some(reference)) = (&proven, place.reference()) {
        // The key is there and nobody knows it: an operator can attach or remove it.
        tracing::error!(backend = place.backend(), reference, "a new key in a backend was not taken in");
    }
    proven
}

/// No backend has this name.
pub fn no_backend(name: &str) -> Refusal {
    Refusal::new(&BACKEND_NOT_FOUND, "there is no such backend")
        .field("backend", "no backend of this name is configured")
        .meta("backend", clip(name))
}

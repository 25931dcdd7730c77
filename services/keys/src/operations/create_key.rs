//! CreateKey: a new secret, made and encrypted here.
//!
//! Leaves a key, the answer for the `request_id` and a record; twice is harmless by that id.

use api::convert;
use api::keys::v1::{CreateKeyRequest, CreateKeyResponse};

use super::admit::{self, Newcomer};
use super::once::Once;
use super::{clip, recorded, wire};
use crate::audit::Entry;
use crate::crypto::SecretKey;
use crate::db;
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
    let CreateKeyRequest { request_id: _, name, role, labels, validate_only } = request;
    let name = convert::name("name", &name)?;
    let role = wire::role_required("role", role)?;
    wire::labels("labels", &labels)?;
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
    let secret = SecretKey::generate().map_err(Failure::from)?;
    let key = admit::prepare(keyring, newcomer, &secret)?;
    let (once, key) = (&once, &key);
    store::in_transaction(&keyring.db, move |tx| {
        Box::pin(async move {
            if let Some(before) = once.begin(&tx).await? {
                return Ok(before);
            }
            let stored = admit::store(&tx, key).await?;
            let answer = CreateKeyResponse { key: Some(wire::key(&stored)) };
            once.finish(&tx, &answer).await?;
            let entry = Entry { key_id: stored.id, ..entry.clone() };
            db::audit::append(&tx, entry.allowed()).await?;
            Ok(answer)
        })
    })
    .await
}

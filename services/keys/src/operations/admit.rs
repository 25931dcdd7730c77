//! Takes a key into the installation: the common end of creating, importing, attaching and restoring.

use alloy_primitives::Address;
use api::reasons::{KEY_DUPLICATE, NAME_TAKEN};
use prost::Message;
use runtime::errors::Refusal;
use sea_orm::ConnectionTrait;
use time::OffsetDateTime;

use super::once::Once;
use super::wire;
use crate::audit::Entry;
use crate::backend::{Held, Place};
use crate::crypto::{Envelope, SecretKey, envelope};
use crate::db;
use crate::db::key::{Key, Labels, Role, State};
use crate::error::{Declined, Failure};
use crate::keyring::Keyring;

/// What a key is to become.
#[derive(Debug, Clone)]
pub struct Newcomer {
    /// Kept when restoring, else fresh.
    pub id: String,
    pub name: String,
    pub role: Role,
    pub labels: Labels,
    pub state: State,
    /// When its archive was just decrypted.
    pub backup_proven_at: Option<OffsetDateTime>,
}

impl Newcomer {
    /// A new key, under an id that sorts by time of creation.
    pub fn fresh(name: String, role: Role, labels: Labels) -> Self {
        let id = uuid::Uuid::now_v7().to_string();
        Self { id, name, role, labels, state: State::Enabled, backup_proven_at: None }
    }
}

/// Refuses a name or an address that is here already.
pub async fn is_new<C: ConnectionTrait>(
    db: &C,
    name: &str,
    address: Option<Address>,
) -> Result<(), Declined> {
    if let Some(address) = address
        && let Some(present) = db::key::of_address(db, address).await?
    {
        return Err(duplicate(&present).into());
    }
    match db::key::of_name(db, name).await? {
        Some(present) => Err(name_taken(&present).into()),
        None => Ok(()),
    }
}

/// The key as it would be stored, with its secret proven and encrypted.
pub fn prepare(keyring: &Keyring, newcomer: Newcomer, secret: &SecretKey) -> Result<Key, Failure> {
    secret.prove()?;
    let belongs = envelope::Belongs { key_id: &newcomer.id, role: newcomer.role.as_str() };
    let (generation, kek) = keyring.newest_kek()?;
    let envelope = Envelope::seal((generation, &kek), belongs, secret)?;
    // What cannot be opened again must not be stored.
    let opened = envelope.open(&kek, belongs);
    let opened = opened.map_err(|source| Failure::Envelope { key_id: newcomer.id.clone(), source })?;
    Ok(keep(newcomer, Held { public_key: opened.public(), place: Place::Local(envelope) }))
}

/// The key as it would be stored, with the proof that its backend can sign for it.
pub async fn prove(keyring: &Keyring, newcomer: Newcomer, held: Held) -> Result<Key, Failure> {
    let key = keep(newcomer, held);
    keyring.prove(&key).await?;
    Ok(key)
}

fn keep(newcomer: Newcomer, held: Held) -> Key {
    let Newcomer { id, name, role, labels, state, backup_proven_at } = newcomer;
    let Held { public_key, place } = held;
    Key {
        address: public_key.address(),
        public_key,
        place,
        id,
        name,
        role,
        labels,
        state,
        created_at: OffsetDateTime::now_utc(),
        backup_proven_at,
    }
}

/// Stores a prepared key, or says who has its place.
pub async fn store<C: ConnectionTrait>(tx: &C, key: &Key) -> Result<Key, Declined> {
    is_new(tx, &key.name, Some(key.address)).await?;
    if let Some(envelope) = key.place.envelope() {
        let newest = db::kek::hold_newest(tx).await?;
        if envelope.generation != newest {
            // A rotation began after `prepare`; under the old key this secret would be left behind.
            return Err(Failure::GenerationMissing { generation: newest }.into());
        }
    }
    match db::key::insert(tx, key).await? {
        Some(stored) => Ok(stored),
        // Somebody was faster between the look and the insert.
        None => {
            is_new(tx, &key.name, Some(key.address)).await?;
            let refusal = Refusal::new(&KEY_DUPLICATE, "another key has this id").meta("id", &key.id);
            Err(refusal.into())
        }
    }
}

/// Takes a prepared key in, once, with its record; `answer` puts it into the response. With `validate_only` nothing but the
/// record is stored, and the key that is shown has no id.
pub async fn take_in<M: Message + Default + 'static>(
    keyring: &Keyring,
    (once, entry): (&Once, &Entry),
    key: &Key,
    validate_only: bool,
    answer: fn(api::keys::v1::Key) -> M,
) -> Result<M, Declined> {
    if validate_only {
        is_new(&keyring.db, &key.name, Some(key.address)).await?;
        let intent = format!("{} (validate only)", entry.intent);
        db::audit::append(&keyring.db, Entry { intent, ..entry.clone() }.allowed()).await?;
        return Ok(answer(api::keys::v1::Key { id: String::new(), ..wire::key(key) }));
    }
    store::in_transaction(&keyring.db, move |tx| {
        Box::pin(async move {
            if let Some(before) = once.begin(&tx).await? {
                return Ok(before);
            }
            let stored = store(&tx, key).await?;
            let answer = answer(wire::key(&stored));
            once.finish(&tx, &answer).await?;
            let entry = Entry { key_id: stored.id, ..entry.clone() };
            db::audit::append(&tx, entry.allowed()).await?;
            Ok::<_, Declined>(answer)
        })
    })
    .await
}

fn duplicate(present: &Key) -> Refusal {
    Refusal::new(&KEY_DUPLICATE, format!("this key is here already, as {}", present.name))
        .meta("name", &present.name)
        .meta("id", &present.id)
        .meta("address", present.address)
}

fn name_taken(present: &Key) -> Refusal {
    Refusal::new(&NAME_TAKEN, format!("another key is named {}", present.name))
        .field("name", "another key has this name")
        .meta("name", &present.name)
        .meta("id", &present.id)
}

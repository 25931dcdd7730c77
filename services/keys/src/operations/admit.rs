//! Takes a secret into the installation: the common end of creating, importing and restoring.

use alloy_primitives::Address;
use api::reasons::{KEY_DUPLICATE, NAME_TAKEN};
use runtime::errors::Refusal;
use sea_orm::ConnectionTrait;
use time::OffsetDateTime;

use crate::crypto::{Envelope, SecretKey, envelope};
use crate::db;
use crate::db::key::{Key, Labels, Role, State};
use crate::error::{Declined, Failure};
use crate::keyring::Keyring;

/// The one backend there is.
const BACKEND: &str = "local";

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
    let Newcomer { id, name, role, labels, state, backup_proven_at } = newcomer;
    secret.prove()?;
    let belongs = envelope::Belongs { key_id: &id, role: role.as_str() };
    let (generation, kek) = keyring.newest_kek()?;
    let envelope = Envelope::seal((generation, &kek), belongs, secret)?;
    // What cannot be opened again must not be stored.
    let opened =
        envelope.open(&kek, belongs).map_err(|source| Failure::Envelope { key_id: id.clone(), source })?;
    let public_key = opened.public();
    Ok(Key {
        address: public_key.address(),
        public_key,
        envelope,
        id,
        name,
        role,
        labels,
        state,
        backend: BACKEND.to_owned(),
        created_at: OffsetDateTime::now_utc(),
        backup_proven_at,
    })
}

/// Stores a prepared key, or says who has its place.
pub async fn store<C: ConnectionTrait>(tx: &C, key: &Key) -> Result<Key, Declined> {
    is_new(tx, &key.name, Some(key.address)).await?;
    let newest = db::kek::hold_newest(tx).await?;
    if key.envelope.generation != newest {
        // A rotation began after `prepare`; under the old key this secret would be left behind.
        return Err(Failure::GenerationMissing { generation: newest }.into());
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

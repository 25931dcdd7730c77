//! `keys.key`: the public side of each key, and its secret as an envelope or where else it is.

use std::collections::{BTreeMap, HashMap};

use alloy_primitives::Address;
use domain::pubkey::PublicKey;
use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use serde::{Deserialize, Serialize};
use store::column::Addr;
use store::statement;
use time::OffsetDateTime;

use crate::backend::{LOCAL, Place};
use crate::crypto::Envelope;
use crate::crypto::envelope::Belongs;
use crate::db::is_storable;
use crate::error::Failure;

/// Labels, sorted so that they always encode the same way.
pub type Labels = BTreeMap<String, String>;

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Owner,
    Sequencer,
}

/// Whether a key may sign.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    Enabled,
    Disabled,
    Frozen,
}

/// One key.
#[derive(Debug, Clone)]
pub struct Key {
    pub id: String,
    pub name: String,
    pub role: Role,
    pub state: State,
    pub place: Place,
    pub address: Address,
    pub public_key: PublicKey,
    pub labels: Labels,
    pub created_at: OffsetDateTime,
    pub backup_proven_at: Option<OffsetDateTime>,
}

impl Role {
    /// The name in the database and in what binds an envelope.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "OWNER",
            Self::Sequencer => "SEQUENCER",
        }
    }

    fn of(text: &str) -> Option<Self> {
        [Self::Owner, Self::Sequencer].into_iter().find(|role| role.as_str() == text)
    }
}

impl State {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "ENABLED",
            Self::Disabled => "DISABLED",
            Self::Frozen => "FROZEN",
        }
    }

    fn of(text: &str) -> Option<Self> {
        [Self::Enabled, Self::Disabled, Self::Frozen].into_iter().find(|state| state.as_str() == text)
    }
}

impl Key {
    /// What its envelope is bound to.
    pub fn belongs(&self) -> Belongs<'_> {
        Belongs { key_id: &self.id, role: self.role.as_str() }
    }
}

const COLUMNS: &str = "id, name, role, state, backend, reference, address, public_key, labels, kek_generation, \
                       envelope_version, wrapped_data_key, ciphertext, created_at, backup_proven_at";

#[derive(FromQueryResult)]
struct Row {
    id: String,
    name: String,
    role: String,
    state: String,
    backend: String,
    reference: Option<String>,
    address: Addr,
    public_key: Vec<u8>,
    labels: serde_json::Value,
    kek_generation: Option<i32>,
    envelope_version: Option<i32>,
    wrapped_data_key: Option<Vec<u8>>,
    ciphertext: Option<Vec<u8>>,
    created_at: OffsetDateTime,
    backup_proven_at: Option<OffsetDateTime>,
}

impl TryFrom<Row> for Key {
    type Error = Failure;

    fn try_from(row: Row) -> Result<Self, Failure> {
        let Row { id, name, role, state, backend, reference, address, public_key, labels, .. } = row;
        let Row { kek_generation, envelope_version, wrapped_data_key, ciphertext, .. } = row;
        let Row { created_at, backup_proven_at, .. } = row;
        let broken = |column| Failure::KeyRow { key_id: id.clone(), column };
        let wrapping = kek_generation.zip(wrapped_data_key);
        let place = match (backend.as_str(), reference, envelope_version, wrapping, ciphertext) {
            (LOCAL, None, Some(version), Some((generation, wrapped_data_key)), Some(ciphertext)) => {
                Place::Local(Envelope { version, generation, wrapped_data_key, ciphertext })
            }
            (LOCAL, ..) => return Err(broken("ciphertext")),
            (_, Some(reference), None, None, None) => Place::Remote { backend, reference },
            _ => return Err(broken("reference")),
        };
        Ok(Self {
            role: Role::of(&role).ok_or_else(|| broken("role"))?,
            state: State::of(&state).ok_or_else(|| broken("state"))?,
            public_key: PublicKey::from_bytes(&public_key).map_err(|_| broken("public_key"))?,
            labels: serde_json::from_value(labels).map_err(|_| broken("labels"))?,
            place,
            address: address.into(),
            id,
            name,
            created_at,
            backup_proven_at,
        })
    }
}

/// Adds a key; `None` if its id, name or address is taken.
pub async fn insert<C: ConnectionTrait>(tx: &C, key: &Key) -> Result<Option<Key>, Failure> {
    let Key { id, name, role, state, place, address, public_key, labels, created_at: _, backup_proven_at } =
        key;
    let envelope = place.envelope();
    let labels = serde_json::to_value(labels).expect("maps of text always serialise");
    let values = [
        id.into(),
        name.into(),
        role.as_str().into(),
        state.as_str().into(),
        place.backend().into(),
        Addr(*address).into(),
        public_key.bytes64().to_vec().into(),
        labels.into(),
        envelope.map(|envelope| envelope.generation).into(),
        envelope.map(|envelope| envelope.version).into(),
        envelope.map(|envelope| envelope.wrapped_data_key.clone()).into(),
        envelope.map(|envelope| envelope.ciphertext.clone()).into(),
        (*backup_proven_at).into(),
        place.reference().map(str::to_owned).into(),
    ];
    let sql = format!(
        "INSERT INTO keys.key (id, name, role, state, backend, address, public_key, labels, kek_generation,
                               envelope_version, wrapped_data_key, ciphertext, backup_proven_at, reference)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         ON CONFLICT DO NOTHING RETURNING {COLUMNS}"
    );
    one(tx, &sql, values, "storing a key").await
}

pub async fn of_id<C: ConnectionTrait>(db: &C, id: &str) -> Result<Option<Key>, Failure> {
    if !is_storable(id) {
        return Ok(None);
    }
    one(db, &format!("SELECT {COLUMNS} FROM keys.key WHERE id = $1"), [id.into()], "reading a key").await
}

pub async fn of_name<C: ConnectionTrait>(db: &C, name: &str) -> Result<Option<Key>, Failure> {
    if !is_storable(name) {
        return Ok(None);
    }
    one(db, &format!("SELECT {COLUMNS} FROM keys.key WHERE name = $1"), [name.into()], "reading a key").await
}

pub async fn of_address<C: ConnectionTrait>(db: &C, address: Address) -> Result<Option<Key>, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM keys.key WHERE address = $1");
    one(db, &sql, [Addr(address).into()], "reading a key").await
}

/// At most `limit` keys behind `after` (time of creation in microseconds and id), oldest first.
pub async fn page<C: ConnectionTrait>(
    db: &C,
    role: Option<Role>,
    after: Option<(OffsetDateTime, String)>,
    limit: u32,
) -> Result<Vec<Key>, Failure> {
    let (time, id) = after.unzip();
    let sql = format!(
        "SELECT {COLUMNS} FROM keys.key
          WHERE ($1::text IS NULL OR role = $1) AND ($2::timestamptz IS NULL OR (created_at, id) > ($2, $3))
          ORDER BY created_at, id LIMIT $4"
    );
    let values = [role.map(Role::as_str).into(), time.into(), id.into(), i64::from(limit).into()];
    let rows =
        Row::find_by_statement(statement(sql, values)).all(db).await.map_err(Failure::at("listing keys"))?;
    rows.into_iter().map(Key::try_from).collect()
}

/// What was set for the key itself, where a frozen label makes its state another.
pub async fn own_states<C: ConnectionTrait>(db: &C) -> Result<HashMap<String, State>, Failure> {
    #[derive(FromQueryResult)]
    struct Own {
        id: String,
        own_state: String,
    }
    let sql = "SELECT id, own_state FROM keys.key WHERE own_state <> state";
    let rows = Own::find_by_statement(statement(sql, []))
        .all(db)
        .await
        .map_err(Failure::at("reading the own states of frozen keys"))?;
    let state = |Own { id, own_state }| match State::of(&own_state) {
        Some(state) => Ok((id, state)),
        None => Err(Failure::KeyRow { key_id: id, column: "own_state" }),
    };
    rows.into_iter().map(state).collect()
}

/// At most `limit` keys whose data key is wrapped by a generation before this one.
pub async fn behind<C: ConnectionTrait>(db: &C, generation: i32, limit: u32) -> Result<Vec<Key>, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM keys.key WHERE kek_generation < $1 ORDER BY id LIMIT $2");
    let rows = Row::find_by_statement(statement(sql, [generation.into(), i64::from(limit).into()]))
        .all(db)
        .await
        .map_err(Failure::at("listing keys under older key-encryption keys"))?;
    rows.into_iter().map(Key::try_from).collect()
}

/// Waits for all who change states of keys, and keeps others from it until the transaction ends. Comes before the
/// look that a change rests on.
pub async fn hold_states<C: ConnectionTrait>(tx: &C) -> Result<(), Failure> {
    run(tx, "SELECT keys.hold_states()", [], "waiting for changes of states of keys").await
}

/// Since when a key is frozen by itself; `None` if it is not, or not there.
pub async fn frozen_at<C: ConnectionTrait>(db: &C, id: &str) -> Result<Option<OffsetDateTime>, Failure> {
    const STEP: &str = "reading since when a key is frozen";
    let sql = "SELECT frozen_at FROM keys.key WHERE id = $1";
    let row = db.query_one_raw(statement(sql, [id.into()])).await.map_err(Failure::at(STEP))?;
    let frozen = row.map(|row| row.try_get("", "frozen_at")).transpose().map_err(Failure::at(STEP))?;
    Ok(frozen.flatten())
}

pub async fn set_state<C: ConnectionTrait>(tx: &C, id: &str, state: State) -> Result<(), Failure> {
    run(
        tx,
        "SELECT keys.set_key_state($1, $2)",
        [id.into(), state.as_str().into()],
        "setting the state of a key",
    )
    .await
}

/// Writes the date of the proof.
pub async fn mark_backup_proven<C: ConnectionTrait>(tx: &C, ids: Vec<String>) -> Result<(), Failure> {
    run(tx, "SELECT keys.mark_backup_proven($1)", [ids.into()], "noting a restore drill").await
}

async fn one<C: ConnectionTrait, const N: usize>(
    db: &C,
    sql: &str,
    values: [Value; N],
    step: &'static str,
) -> Result<Option<Key>, Failure> {
    let row = Row::find_by_statement(statement(sql, values)).one(db).await.map_err(Failure::at(step))?;
    row.map(Key::try_from).transpose()
}

async fn run<C: ConnectionTrait, const N: usize>(
    tx: &C,
    sql: &str,
    values: [Value; N],
    step: &'static str,
) -> Result<(), Failure> {
    tx.execute_raw(statement(sql, values)).await.map_err(Failure::at(step))?;
    Ok(())
}

//! `gateway.api_key`: who may call, for what, until when.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::{Error, statement};
use time::OffsetDateTime;

use crate::key::Hash;

/// A key, without its secret.
#[derive(Debug, Clone)]
pub struct Row {
    /// Public part of the key.
    pub id: String,
    /// Hash of its secret.
    pub secret_hash: Hash,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Labels that a sequencer must have for the key to act on it.
    pub label_selector: Option<BTreeMap<String, String>>,
    /// Its end.
    pub expires_at: OffsetDateTime,
    /// When it was taken back.
    pub revoked_at: Option<OffsetDateTime>,
}

#[derive(FromQueryResult)]
struct Stored {
    id: String,
    secret_hash: Vec<u8>,
    scopes: Vec<String>,
    label_selector: Option<serde_json::Value>,
    expires_at: OffsetDateTime,
    revoked_at: Option<OffsetDateTime>,
}

impl TryFrom<Stored> for Row {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self, Error> {
        let Stored { id, secret_hash, scopes, label_selector, expires_at, revoked_at } = stored;
        let unreadable = || Error::Row { what: "an API key" };
        Ok(Self {
            id,
            secret_hash: Hash(secret_hash.try_into().map_err(|_| unreadable())?),
            scopes,
            // A selector that cannot be read must not turn into none, which would allow everything.
            label_selector: label_selector
                .map(serde_json::from_value)
                .transpose()
                .map_err(|_| unreadable())?,
            expires_at,
            revoked_at,
        })
    }
}

/// The key with this id.
pub async fn of_id<C: ConnectionTrait>(db: &C, id: &str) -> Result<Option<Row>, Error> {
    let sql = "SELECT id, secret_hash, scopes, label_selector, expires_at, revoked_at \
               FROM gateway.api_key WHERE id = $1";
    let stored = Stored::find_by_statement(statement(sql, [id.into()]))
        .one(db)
        .await
        .map_err(Error::at("reading an API key"))?;
    stored.map(Row::try_from).transpose()
}

/// A key to be stored.
#[derive(Debug)]
pub struct New {
    /// Public part.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Hash of its secret.
    pub secret_hash: Hash,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Seconds until its end.
    pub ttl_secs: i64,
}

/// Stores a key.
pub async fn insert<C: ConnectionTrait>(db: &C, new: New) -> Result<(), Error> {
    let New { id, name, secret_hash, scopes, ttl_secs } = new;
    let sql = "INSERT INTO gateway.api_key (id, name, secret_hash, scopes, expires_at) \
               VALUES ($1, $2, $3, $4, now() + make_interval(secs => $5::bigint))";
    let values = [id.into(), name.into(), secret_hash.0.to_vec().into(), scopes.into(), ttl_secs.into()];
    db.execute_raw(statement(sql, values)).await.map_err(Error::at("storing an API key"))?;
    Ok(())
}

//! `keys.restoration` and `keys.nonce_floor`: older states of this database that were put back, and what
//! operators confirmed since.

use alloy_primitives::Address;
use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::{Addr, Hash};
use store::statement;
use time::OffsetDateTime;
use trail::Head;

use crate::error::Failure;

/// One restoration.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Restoration {
    pub id: i64,
    pub published_sequence: i64,
    pub published_hash: Hash,
    pub database_sequence: i64,
    pub found_at: OffsetDateTime,
}

/// The lowest nonce of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Floor {
    pub restoration: i64,
    pub chain_id: i64,
    pub account: Address,
    pub nonce: i64,
}

/// Tells of a restoration; whether it was not known before.
pub async fn insert<C: ConnectionTrait>(tx: &C, published: &Head, database: &Head) -> Result<bool, Failure> {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let values =
        [number(published.sequence).into(), published.hash.to_vec().into(), number(database.sequence).into()];
    let sql = "INSERT INTO keys.restoration (published_sequence, published_hash, database_sequence)
               VALUES ($1, $2, $3) ON CONFLICT (published_sequence, published_hash) DO NOTHING";
    let done = tx.execute_raw(statement(sql, values)).await;
    Ok(done.map_err(Failure::at("storing that the database was restored"))?.rows_affected() == 1)
}

/// The last one.
pub async fn last<C: ConnectionTrait>(db: &C) -> Result<Option<Restoration>, Failure> {
    let sql = "SELECT id, published_sequence, published_hash, database_sequence, found_at
                 FROM keys.restoration ORDER BY id DESC LIMIT 1";
    Restoration::find_by_statement(statement(sql, []))
        .one(db)
        .await
        .map_err(Failure::at("reading whether the database was restored"))
}

/// The floor that counts for an account since a restoration.
pub async fn floor<C: ConnectionTrait>(
    db: &C,
    restoration: i64,
    chain_id: i64,
    account: Address,
) -> Result<Option<i64>, Failure> {
    let sql = "SELECT max(nonce) AS nonce FROM keys.nonce_floor
                WHERE restoration = $1 AND chain_id = $2 AND account = $3";
    let row = db
        .query_one_raw(statement(sql, [restoration.into(), chain_id.into(), Addr(account).into()]))
        .await
        .map_err(Failure::at("reading a nonce floor"))?;
    let nonce = row.map(|row| row.try_get::<Option<i64>>("", "nonce")).transpose();
    Ok(nonce.map_err(Failure::at("reading a nonce floor"))?.flatten())
}

/// Stores a floor; the same one again changes nothing.
pub async fn insert_floor<C: ConnectionTrait>(tx: &C, floor: &Floor, by: &str) -> Result<(), Failure> {
    let Floor { restoration, chain_id, account, nonce } = floor.clone();
    let sql = "INSERT INTO keys.nonce_floor (restoration, chain_id, account, nonce, confirmed_by)
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    let values = [restoration.into(), chain_id.into(), Addr(account).into(), nonce.into(), by.into()];
    tx.execute_raw(statement(sql, values)).await.map_err(Failure::at("storing a nonce floor"))?;
    Ok(())
}

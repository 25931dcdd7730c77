//! `keys.head_key` and `keys.signed_head`: who signs the end of the log, and what was signed.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::statement;
use trail::{Head, SignedHead};

use crate::error::Failure;

/// Keys that ever signed; one is made when none of them opens, so there are few.
const KEYS_MAX: i64 = 100;

/// A key with which heads are signed.
#[derive(Debug, Clone, FromQueryResult)]
pub struct HeadKey {
    pub public_key: Vec<u8>,
    pub sealed_seed: Vec<u8>,
}

#[derive(FromQueryResult)]
struct Row {
    sequence: i64,
    hash: Vec<u8>,
    time_micros: i64,
    public_key: Vec<u8>,
    signature: Vec<u8>,
}

/// The end of the log with the time of the database.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub head: Head,
    pub time_micros: u64,
}

/// Newest first.
pub async fn keys<C: ConnectionTrait>(db: &C) -> Result<Vec<HeadKey>, Failure> {
    let sql =
        "SELECT public_key, sealed_seed FROM keys.head_key ORDER BY created_at DESC, public_key LIMIT $1";
    HeadKey::find_by_statement(statement(sql, [KEYS_MAX.into()]))
        .all(db)
        .await
        .map_err(Failure::at("reading the keys that sign heads"))
}

pub async fn insert_key<C: ConnectionTrait>(tx: &C, key: &HeadKey) -> Result<(), Failure> {
    let HeadKey { public_key, sealed_seed } = key.clone();
    let sql = "INSERT INTO keys.head_key (public_key, sealed_seed) VALUES ($1, $2)";
    tx.execute_raw(statement(sql, [public_key.into(), sealed_seed.into()]))
        .await
        .map_err(Failure::at("storing a key that signs heads"))?;
    Ok(())
}

pub async fn reseal_key<C: ConnectionTrait>(tx: &C, key: &HeadKey) -> Result<(), Failure> {
    let HeadKey { public_key, sealed_seed } = key.clone();
    tx.execute_raw(statement("SELECT keys.reseal_head_key($1, $2)", [public_key.into(), sealed_seed.into()]))
        .await
        .map_err(Failure::at("sealing a key that signs heads anew"))?;
    Ok(())
}

pub async fn now<C: ConnectionTrait>(db: &C) -> Result<Now, Failure> {
    #[derive(FromQueryResult)]
    struct Row {
        sequence: i64,
        hash: Vec<u8>,
        time_micros: i64,
    }
    let sql =
        "SELECT sequence, hash, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS time_micros
                 FROM keys.audit_head";
    let row = Row::find_by_statement(statement(sql, []))
        .one(db)
        .await
        .map_err(Failure::at("reading the end of the audit log"))?;
    row.and_then(|Row { sequence, hash, time_micros }| {
        let head = Head { sequence: sequence.try_into().ok()?, hash: hash.try_into().ok()? };
        Some(Now { head, time_micros: time_micros.try_into().ok()? })
    })
    .ok_or(Failure::Store(store::Error::Row { what: "the end of the audit log" }))
}

/// The hash of one record, if it is there.
pub async fn hash_of<C: ConnectionTrait>(db: &C, sequence: u64) -> Result<Option<[u8; 32]>, Failure> {
    let Ok(sequence) = i64::try_from(sequence) else { return Ok(None) };
    let sql = "SELECT hash FROM keys.audit_record WHERE sequence = $1";
    let row = db
        .query_one_raw(statement(sql, [sequence.into()]))
        .await
        .map_err(Failure::at("reading the hash of an audit record"))?;
    let hash = row.map(|row| row.try_get::<Vec<u8>>("", "hash")).transpose();
    let hash = hash.map_err(Failure::at("reading the hash of an audit record"))?;
    Ok(hash.and_then(|hash| hash.try_into().ok()))
}

/// Stores a head; whether it was the first for this record.
pub async fn insert<C: ConnectionTrait>(db: &C, signed: &SignedHead) -> Result<bool, Failure> {
    let SignedHead { head: Head { sequence, hash }, time_micros, public_key, signature } = signed;
    let number = |n: &u64| i64::try_from(*n).unwrap_or(i64::MAX);
    let values = [
        number(sequence).into(),
        hash.to_vec().into(),
        number(time_micros).into(),
        public_key.to_vec().into(),
        signature.to_vec().into(),
    ];
    let sql = "INSERT INTO keys.signed_head (sequence, hash, time_micros, public_key, signature)
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT (sequence) DO NOTHING";
    let done = db.execute_raw(statement(sql, values)).await.map_err(Failure::at("storing a signed head"))?;
    Ok(done.rows_affected() == 1)
}

/// The newest signed head.
pub async fn last<C: ConnectionTrait>(db: &C) -> Result<Option<SignedHead>, Failure> {
    let sql = "SELECT sequence, hash, time_micros, public_key, signature
                 FROM keys.signed_head ORDER BY sequence DESC LIMIT 1";
    let row = Row::find_by_statement(statement(sql, []))
        .one(db)
        .await
        .map_err(Failure::at("reading the newest signed head"))?;
    row.map(|row| signed(row).ok_or(Failure::Store(store::Error::Row { what: "a signed head" }))).transpose()
}

fn signed(row: Row) -> Option<SignedHead> {
    let Row { sequence, hash, time_micros, public_key, signature } = row;
    Some(SignedHead {
        head: Head { sequence: sequence.try_into().ok()?, hash: hash.try_into().ok()? },
        time_micros: time_micros.try_into().ok()?,
        public_key: public_key.try_into().ok()?,
        signature: signature.try_into().ok()?,
    })
}

//! `keys.audit_record` and the end of its chain.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::Hash;
use store::statement;
use time::OffsetDateTime;

use crate::error::Failure;

/// One record as it was hashed.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Row {
    pub sequence: i64,
    pub recorded_at: OffsetDateTime,
    pub body: Vec<u8>,
    pub hash: Hash,
}

/// The end of the chain.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Head {
    pub sequence: i64,
    pub hash: Hash,
}

/// Adds a record in the transaction of what it tells of. The end of the chain stays locked until that
/// transaction ends, so this comes last. `fields` are encoded by `audit::Entry`.
pub async fn append<C: ConnectionTrait>(tx: &C, fields: Vec<u8>) -> Result<(), Failure> {
    tx.execute_raw(statement("SELECT audit_sequence FROM keys.append_audit($1)", [fields.into()]))
        .await
        .map_err(Failure::at("writing to the audit log"))?;
    Ok(())
}

/// At most `limit` records behind `after`, oldest first.
pub async fn page<C: ConnectionTrait>(db: &C, after: i64, limit: u32) -> Result<Vec<Row>, Failure> {
    let sql = "SELECT sequence, recorded_at, body, hash FROM keys.audit_record
                WHERE sequence > $1 ORDER BY sequence LIMIT $2";
    Row::find_by_statement(statement(sql, [after.into(), i64::from(limit).into()]))
        .all(db)
        .await
        .map_err(Failure::at("reading the audit log"))
}

pub async fn head<C: ConnectionTrait>(db: &C) -> Result<Head, Failure> {
    Head::find_by_statement(statement("SELECT sequence, hash FROM keys.audit_head", []))
        .one(db)
        .await
        .map_err(Failure::at("reading the end of the audit log"))?
        .ok_or(Failure::Store(store::Error::Row { what: "the end of the audit log" }))
}

/// At most `limit` records before `before`, newest first.
pub async fn page_before<C: ConnectionTrait>(db: &C, before: i64, limit: u32) -> Result<Vec<Row>, Failure> {
    let sql = "SELECT sequence, recorded_at, body, hash FROM keys.audit_record
                WHERE sequence < $1 ORDER BY sequence DESC LIMIT $2";
    Row::find_by_statement(statement(sql, [before.into(), i64::from(limit).into()]))
        .all(db)
        .await
        .map_err(Failure::at("reading the audit log"))
}

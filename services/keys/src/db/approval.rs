//! `keys.approval`: who approved exactly what, until when, and what it was used for.

use alloy_primitives::B256;
use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use store::column::Hash;
use store::statement;
use time::OffsetDateTime;

use crate::db::is_storable;
use crate::error::Failure;

/// An approval to be stored.
#[derive(Debug)]
pub struct New<'a> {
    pub id: &'a str,
    pub digest: B256,
    pub words: &'a str,
    pub approver: &'a str,
    pub requester: &'a str,
    pub valid_secs: i64,
    /// The audit record of it, stored with it.
    pub record: Vec<u8>,
}

/// An approval.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Row {
    pub id: String,
    pub intent_digest: Hash,
    pub words: String,
    pub approver: String,
    pub requester: String,
    pub approved_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
    pub revoked_at: Option<OffsetDateTime>,
    pub used_sequence: Option<i64>,
}

const COLUMNS: &str =
    "id, intent_digest, words, approver, requester, approved_at, expires_at, revoked_at, used_sequence";

#[derive(FromQueryResult)]
struct Count {
    approvers: i64,
}

/// Stores an approval and its record; its time is that of the database.
pub async fn insert<C: ConnectionTrait>(tx: &C, new: New<'_>) -> Result<Row, Failure> {
    let New { id, digest, words, approver, requester, valid_secs, record } = new;
    let sql = format!("SELECT {COLUMNS} FROM keys.approve($1, $2, $3, $4, $5, $6, $7)");
    let values = [
        id.into(),
        Hash(digest).into(),
        words.into(),
        approver.into(),
        requester.into(),
        valid_secs.into(),
        record.into(),
    ];
    one(tx, &sql, values, "storing an approval")
        .await?
        .ok_or(Failure::Store(store::Error::Row { what: "an approval" }))
}

pub async fn of_id<C: ConnectionTrait>(db: &C, id: &str) -> Result<Option<Row>, Failure> {
    if !is_storable(id) {
        return Ok(None);
    }
    let sql = format!("SELECT {COLUMNS} FROM keys.approval WHERE id = $1");
    one(db, &sql, [id.into()], "reading an approval").await
}

/// At most `limit` approvals before `before` (time in microseconds and id), newest first.
pub async fn page<C: ConnectionTrait>(
    db: &C,
    digest: Option<B256>,
    before: Option<(OffsetDateTime, String)>,
    limit: u32,
) -> Result<Vec<Row>, Failure> {
    let (time, id) = before.unzip();
    let sql = format!(
        "SELECT {COLUMNS} FROM keys.approval
          WHERE ($1::bytea IS NULL OR intent_digest = $1)
            AND ($2::timestamptz IS NULL OR (approved_at, id) < ($2, $3))
          ORDER BY approved_at DESC, id DESC LIMIT $4"
    );
    let values = [digest.map(Hash).into(), time.into(), id.into(), i64::from(limit).into()];
    Row::find_by_statement(statement(&sql, values)).all(db).await.map_err(Failure::at("listing approvals"))
}

/// Ends an approval now. Twice is harmless.
pub async fn revoke<C: ConnectionTrait>(tx: &C, id: &str) -> Result<(), Failure> {
    tx.execute_raw(statement("SELECT keys.revoke_approval($1)", [id.into()]))
        .await
        .map_err(Failure::at("revoking an approval"))?;
    Ok(())
}

/// Distinct identities other than `caller` whose unused approval of this digest counts now.
pub async fn approvers<C: ConnectionTrait>(db: &C, digest: B256, caller: &str) -> Result<u32, Failure> {
    // No nonce has this number, so that only unused ones count.
    let sql = "SELECT keys.approvers($1, $2, 0, ''::bytea, -1) AS approvers";
    let count = Count::find_by_statement(statement(sql, [Hash(digest).into(), caller.into()]))
        .one(db)
        .await
        .map_err(Failure::at("counting approvals"))?;
    Ok(count.and_then(|count| u32::try_from(count.approvers).ok()).unwrap_or_default())
}

/// Records that they were used, once and for all, for the record with the highest number.
pub async fn use_up<C: ConnectionTrait>(tx: &C, digest: B256, caller: &str) -> Result<(), Failure> {
    let sql = "SELECT keys.use_approvals($1, $2, 0, ''::bytea, -2, h.sequence) FROM keys.audit_head AS h";
    tx.execute_raw(statement(sql, [Hash(digest).into(), caller.into()]))
        .await
        .map_err(Failure::at("using approvals"))?;
    Ok(())
}

async fn one<C: ConnectionTrait, const N: usize>(
    db: &C,
    sql: &str,
    values: [Value; N],
    step: &'static str,
) -> Result<Option<Row>, Failure> {
    Row::find_by_statement(statement(sql, values)).one(db).await.map_err(Failure::at(step))
}

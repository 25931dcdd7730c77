//! `keys.drill`: every proof that an archive can be restored, and of which keys.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::Hash;
use store::statement;
use time::OffsetDateTime;

use crate::db::is_storable;
use crate::error::Failure;

/// What was done with an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Decrypted and compared only.
    Verify,
    /// Taken in.
    Restore,
}

impl Kind {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Verify => "VERIFY",
            Self::Restore => "RESTORE",
        }
    }
}

/// A drill that was done.
#[derive(Debug)]
pub struct Done<'a> {
    pub kind: Kind,
    pub caller: &'a str,
    pub archive: Hash,
    pub archive_made_at: OffsetDateTime,
    /// Keys of this installation that were in it.
    pub proven: Vec<String>,
    /// How many were not.
    pub missing: usize,
}

/// One row of the history.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Row {
    pub id: i64,
    pub kind: String,
    pub caller: String,
    pub archive_sha256: Hash,
    pub archive_made_at: OffsetDateTime,
    pub proven: i32,
    pub missing: i32,
    pub proven_at: OffsetDateTime,
}

/// How long a key is without proof.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Age {
    pub name: String,
    pub days: f64,
}

/// Writes a drill down, and its date on each proven key.
pub async fn insert<C: ConnectionTrait>(tx: &C, done: Done<'_>) -> Result<(), Failure> {
    let Done { kind, caller, archive, archive_made_at, proven, missing } = done;
    let whole = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    let sql = "WITH drill AS (
                   INSERT INTO keys.drill (kind, caller, archive_sha256, archive_made_at, proven, missing)
                   VALUES ($1, $2, $3, $4, $5, $6) RETURNING id),
               of_key AS (
                   INSERT INTO keys.drill_key (drill_id, key_id) SELECT drill.id, unnest($7::text[]) FROM drill)
               SELECT keys.mark_backup_proven($7)";
    let values = [
        kind.as_str().into(),
        caller.into(),
        archive.into(),
        archive_made_at.into(),
        whole(proven.len()).into(),
        whole(missing).into(),
        proven.into(),
    ];
    tx.execute_raw(statement(sql, values)).await.map_err(Failure::at("noting a restore drill"))?;
    Ok(())
}

/// At most `limit` drills before `before`, newest first; of one key, if one is named.
pub async fn page<C: ConnectionTrait>(
    db: &C,
    key_id: Option<&str>,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<Row>, Failure> {
    if key_id.is_some_and(|id| !is_storable(id)) {
        return Ok(Vec::new());
    }
    let sql = "SELECT id, kind, caller, archive_sha256, archive_made_at, proven, missing, proven_at FROM keys.drill AS d
                WHERE ($1::bigint IS NULL OR d.id < $1)
                  AND ($2::text IS NULL OR EXISTS (
                      SELECT 1 FROM keys.drill_key AS k WHERE k.drill_id = d.id AND k.key_id = $2))
                ORDER BY id DESC LIMIT $3";
    Row::find_by_statement(statement(sql, [before.into(), key_id.into(), i64::from(limit).into()]))
        .all(db)
        .await
        .map_err(Failure::at("listing restore drills"))
}

/// The keys that are longest without proof.
pub async fn ages<C: ConnectionTrait>(db: &C, limit: u32) -> Result<Vec<Age>, Failure> {
    let sql = "SELECT name, (extract(epoch FROM clock_timestamp() - coalesce(backup_proven_at, created_at)) / 86400)::float8
                      AS days
                 FROM keys.key ORDER BY coalesce(backup_proven_at, created_at) LIMIT $1";
    Age::find_by_statement(statement(sql, [i64::from(limit).into()]))
        .all(db)
        .await
        .map_err(Failure::at("reading how long keys are without proof"))
}

/// Keys of which no restore was ever proven.
pub async fn never_proven<C: ConnectionTrait>(db: &C) -> Result<i64, Failure> {
    #[derive(FromQueryResult)]
    struct Count {
        keys: i64,
    }
    let sql = "SELECT count(*) AS keys FROM keys.key WHERE backup_proven_at IS NULL";
    let count = Count::find_by_statement(statement(sql, []))
        .one(db)
        .await
        .map_err(Failure::at("counting keys without proof"))?;
    Ok(count.map_or(0, |count| count.keys))
}

//! `keys.frozen_label`: labels whose keys sign nothing. The database keeps the state of those keys in step, so that
//! a decision looks in one place.

use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use store::statement;
use time::OffsetDateTime;

use crate::db::is_storable;
use crate::error::Failure;

/// Labels frozen at once; beyond that, everything is.
const FROZEN_MAX: i64 = 1000;

/// A label that is frozen now.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Row {
    pub name: String,
    pub value: String,
    pub reason: String,
    pub frozen_by: String,
    pub frozen_at: OffsetDateTime,
}

#[derive(FromQueryResult)]
struct Count {
    keys: Option<i64>,
}

/// Freezes; how many keys have the label, or `None` if it was frozen before.
pub async fn freeze<C: ConnectionTrait>(
    tx: &C,
    (name, value): (&str, &str),
    reason: &str,
    by: &str,
) -> Result<Option<u32>, Failure> {
    let values = [name.into(), value.into(), reason.into(), by.into()];
    count(tx, "SELECT keys.freeze_label($1, $2, $3, $4) AS keys", values, "freezing a label").await
}

/// Lifts it; how many keys have the label, or `None` if it was not frozen.
pub async fn thaw<C: ConnectionTrait>(
    tx: &C,
    (name, value): (&str, &str),
    by: &str,
) -> Result<Option<u32>, Failure> {
    let values = [name.into(), value.into(), by.into()];
    count(tx, "SELECT keys.thaw_label($1, $2, $3) AS keys", values, "lifting the freeze of a label").await
}

/// All that are frozen now, by name and value.
pub async fn all<C: ConnectionTrait>(db: &C) -> Result<Vec<Row>, Failure> {
    let sql = "SELECT name, value, reason, frozen_by, frozen_at FROM keys.frozen_label
                WHERE thawed_at IS NULL ORDER BY name, value LIMIT $1";
    Row::find_by_statement(statement(sql, [FROZEN_MAX.into()]))
        .all(db)
        .await
        .map_err(Failure::at("listing frozen labels"))
}

/// The freeze of one label that is in force.
pub async fn of_label<C: ConnectionTrait>(
    db: &C,
    (name, value): (&str, &str),
) -> Result<Option<Row>, Failure> {
    if !is_storable(name) || !is_storable(value) {
        return Ok(None);
    }
    let sql = "SELECT name, value, reason, frozen_by, frozen_at FROM keys.frozen_label
                WHERE name = $1 AND value = $2 AND thawed_at IS NULL";
    Row::find_by_statement(statement(sql, [name.into(), value.into()]))
        .one(db)
        .await
        .map_err(Failure::at("reading a frozen label"))
}

async fn count<C: ConnectionTrait, const N: usize>(
    tx: &C,
    sql: &str,
    values: [Value; N],
    step: &'static str,
) -> Result<Option<u32>, Failure> {
    let row = Count::find_by_statement(statement(sql, values)).one(tx).await.map_err(Failure::at(step))?;
    Ok(row.and_then(|row| row.keys).map(|keys| u32::try_from(keys).unwrap_or(u32::MAX)))
}

//! `keys.policy`: every version of the policy; the highest is in force.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::statement;
use time::OffsetDateTime;

use crate::error::Failure;

/// One version.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Row {
    pub version: i64,
    pub toml: String,
    pub set_by: String,
    pub set_at: OffsetDateTime,
}

pub async fn in_force<C: ConnectionTrait>(db: &C) -> Result<Option<Row>, Failure> {
    let sql = "SELECT version, toml, set_by, set_at FROM keys.policy ORDER BY version DESC LIMIT 1";
    Row::find_by_statement(statement(sql, [])).one(db).await.map_err(Failure::at("reading the policy"))
}

/// Stores `version`; `None` if it exists already.
pub async fn insert<C: ConnectionTrait>(
    db: &C,
    version: i64,
    toml: &str,
    set_by: &str,
) -> Result<Option<Row>, Failure> {
    let sql = "INSERT INTO keys.policy (version, toml, set_by) VALUES ($1, $2, $3)
               ON CONFLICT (version) DO NOTHING RETURNING version, toml, set_by, set_at";
    Row::find_by_statement(statement(sql, [version.into(), toml.into(), set_by.into()]))
        .one(db)
        .await
        .map_err(Failure::at("storing a policy"))
}

/// The newest versions, oldest of them first: the one in force always, older ones while all texts
/// together have at most `bytes_max`.
pub async fn newest<C: ConnectionTrait>(db: &C, bytes_max: usize) -> Result<Vec<Row>, Failure> {
    let sql = "SELECT version, toml, set_by, set_at
                 FROM (SELECT p.*, sum(octet_length(toml)) OVER (ORDER BY version DESC) AS bytes FROM keys.policy AS p) AS sized
                WHERE bytes <= $1 OR version = (SELECT max(n.version) FROM keys.policy AS n)
                ORDER BY version";
    let bytes_max = i64::try_from(bytes_max).unwrap_or(i64::MAX);
    Row::find_by_statement(statement(sql, [bytes_max.into()]))
        .all(db)
        .await
        .map_err(Failure::at("reading policies"))
}

/// Stores a version as it was elsewhere; `false` if there is one with that number.
pub async fn insert_as_it_was<C: ConnectionTrait>(db: &C, row: &Row) -> Result<bool, Failure> {
    let Row { version, toml, set_by, set_at } = row.clone();
    let sql = "INSERT INTO keys.policy (version, toml, set_by, set_at) VALUES ($1, $2, $3, $4)
               ON CONFLICT (version) DO NOTHING";
    let values = [version.into(), toml.into(), set_by.into(), set_at.into()];
    let done = db.execute_raw(statement(sql, values)).await.map_err(Failure::at("restoring a policy"))?;
    Ok(done.rows_affected() == 1)
}

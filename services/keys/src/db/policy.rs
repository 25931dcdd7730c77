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

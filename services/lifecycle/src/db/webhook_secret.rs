//! The sealed secrets of webhooks, one row for each generation.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::Error;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{all, execute};

/// One generation.
#[derive(Debug, Clone, PartialEq, FromQueryResult)]
pub struct Row {
    pub webhook: Uuid,
    pub generation: i32,
    /// As `notify::seal` made it.
    pub sealed: Vec<u8>,
    pub expire_time: Option<OffsetDateTime>,
}

/// Stores a new generation.
pub async fn insert<C: ConnectionTrait>(tx: &C, row: &Row) -> Result<(), Error> {
    let Row { webhook, generation, sealed, expire_time: _ } = row.clone();
    let sql = "INSERT INTO lifecycle.webhook_secret (webhook, generation, sealed) VALUES ($1, $2, $3)";
    execute(tx, "storing a webhook secret", sql, [webhook.into(), generation.into(), sealed.into()]).await?;
    Ok(())
}

/// All generations, newest first.
pub async fn all_of<C: ConnectionTrait>(db: &C, webhook: Uuid) -> Result<Vec<Row>, Error> {
    let sql = "SELECT webhook, generation, sealed, expire_time FROM lifecycle.webhook_secret \
               WHERE webhook = $1 ORDER BY generation DESC";
    all(db, "reading webhook secrets", sql, [webhook.into()]).await
}

/// Those that sign now, newest first.
pub async fn valid<C: ConnectionTrait>(db: &C, webhook: Uuid) -> Result<Vec<Row>, Error> {
    let sql = "SELECT webhook, generation, sealed, expire_time FROM lifecycle.webhook_secret \
               WHERE webhook = $1 AND (expire_time IS NULL OR expire_time > clock_timestamp()) \
               ORDER BY generation DESC";
    all(db, "reading valid webhook secrets", sql, [webhook.into()]).await
}

/// Lets the newest one end after `secs`, and those before it at once: two at most sign at a time. What has ended is
/// removed.
pub async fn retire<C: ConnectionTrait>(tx: &C, webhook: Uuid, secs: i64) -> Result<(), Error> {
    let sql = "DELETE FROM lifecycle.webhook_secret WHERE webhook = $1 AND expire_time IS NOT NULL";
    execute(tx, "removing old webhook secrets", sql, [webhook.into()]).await?;
    let sql = "UPDATE lifecycle.webhook_secret SET expire_time = clock_timestamp() + $2 * interval '1 second' \
               WHERE webhook = $1";
    execute(tx, "retiring a webhook secret", sql, [webhook.into(), secs.into()]).await?;
    Ok(())
}

//! Endpoints that are told what happens, and how far in the feed each is.

use std::time::Duration;

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::Error;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{all, execute, one};

/// A row of the table.
#[derive(Debug, Clone, PartialEq, FromQueryResult)]
pub struct Row {
    pub id: Uuid,
    pub url: String,
    pub description: String,
    /// Empty for all.
    pub types: Vec<String>,
    /// None for all.
    pub network: Option<String>,
    pub enabled: bool,
    pub disabled_reason: String,
    pub position: i64,
    pub resume_time: Option<OffsetDateTime>,
    pub version: i64,
    pub caller: String,
    pub create_time: OffsetDateTime,
}

const COLUMNS: &str = "id, url, description, types, network, enabled, disabled_reason, position, resume_time, version, \
                       caller, create_time";

#[derive(Debug, FromQueryResult)]
struct Id {
    id: Uuid,
}

#[derive(Debug, FromQueryResult)]
struct Count {
    count: i64,
}

/// Stores a new one.
pub async fn insert<C: ConnectionTrait>(tx: &C, row: &Row) -> Result<(), Error> {
    let Row { id, url, description, types, network, position, caller, .. } = row.clone();
    let sql = "INSERT INTO lifecycle.webhook (id, url, description, types, network, position, caller) \
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let values = [
        id.into(),
        url.into(),
        description.into(),
        types.into(),
        network.into(),
        position.into(),
        caller.into(),
    ];
    execute(tx, "storing a webhook", sql, values).await?;
    Ok(())
}

/// How many there are, with all of them locked against additions until the transaction ends.
pub async fn count_locked<C: ConnectionTrait>(tx: &C) -> Result<i64, Error> {
    execute(tx, "locking the webhooks", "LOCK TABLE lifecycle.webhook IN SHARE ROW EXCLUSIVE MODE", [])
        .await?;
    let row: Option<Count> =
        one(tx, "counting webhooks", "SELECT count(*) AS count FROM lifecycle.webhook", []).await?;
    Ok(row.map_or(0, |row| row.count))
}

/// All, oldest first: there are few.
pub async fn list<C: ConnectionTrait>(db: &C) -> Result<Vec<Row>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM lifecycle.webhook ORDER BY id");
    all(db, "listing webhooks", &sql, []).await
}

/// By its id.
pub async fn of_id<C: ConnectionTrait>(db: &C, id: Uuid) -> Result<Option<Row>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM lifecycle.webhook WHERE id = $1");
    one(db, "reading a webhook", &sql, [id.into()]).await
}

/// By its id, locked until the transaction ends.
pub async fn lock<C: ConnectionTrait>(tx: &C, id: Uuid) -> Result<Option<Row>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM lifecycle.webhook WHERE id = $1 FOR UPDATE");
    one(tx, "locking a webhook", &sql, [id.into()]).await
}

/// Writes what an operator may change.
pub async fn update<C: ConnectionTrait>(tx: &C, row: &Row) -> Result<(), Error> {
    let Row { id, url, description, types, network, enabled, disabled_reason, .. } = row.clone();
    let sql = "UPDATE lifecycle.webhook SET url = $2, description = $3, types = $4, network = $5, enabled = $6, \
               disabled_reason = $7, version = version + 1 WHERE id = $1";
    let values = [
        id.into(),
        url.into(),
        description.into(),
        types.into(),
        network.into(),
        enabled.into(),
        disabled_reason.into(),
    ];
    execute(tx, "changing a webhook", sql, values).await?;
    Ok(())
}

/// Removes it with its secrets and deliveries; false if there was none.
pub async fn remove<C: ConnectionTrait>(tx: &C, id: Uuid) -> Result<bool, Error> {
    Ok(execute(tx, "removing a webhook", "DELETE FROM lifecycle.webhook WHERE id = $1", [id.into()]).await?
        == 1)
}

/// Enabled ones that have not reached the end of the feed and have fewer than `pending_max` deliveries waiting.
pub async fn behind<C: ConnectionTrait>(db: &C, pending_max: i64) -> Result<Vec<Uuid>, Error> {
    let sql = "SELECT w.id FROM lifecycle.webhook w, lifecycle.notification_feed f \
               WHERE w.enabled AND w.position < f.position AND (SELECT count(*) FROM lifecycle.delivery d \
               WHERE d.webhook = w.id AND d.state = 'PENDING') < $1 ORDER BY w.id";
    let rows: Vec<Id> = all(db, "reading the webhooks that are behind", sql, [pending_max.into()]).await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Moves its place in the feed: forward by the loop, back by a replay.
pub async fn reach<C: ConnectionTrait>(tx: &C, id: Uuid, position: i64) -> Result<(), Error> {
    let sql = "UPDATE lifecycle.webhook SET position = $2 WHERE id = $1";
    execute(tx, "moving the place of a webhook", sql, [id.into(), position.into()]).await?;
    Ok(())
}

/// Sends nothing to it any more.
pub async fn disable<C: ConnectionTrait>(tx: &C, id: Uuid, reason: &str) -> Result<(), Error> {
    let sql = "UPDATE lifecycle.webhook SET enabled = false, disabled_reason = $2, version = version + 1 \
               WHERE id = $1";
    execute(tx, "disabling a webhook", sql, [id.into(), reason.into()]).await?;
    Ok(())
}

/// Lets it rest.
pub async fn rest<C: ConnectionTrait>(tx: &C, id: Uuid, rest: Duration) -> Result<(), Error> {
    let sql = "UPDATE lifecycle.webhook SET resume_time = clock_timestamp() + $2 * interval '1 millisecond' \
               WHERE id = $1";
    let millis = i64::try_from(rest.as_millis()).unwrap_or(i64::MAX);
    execute(tx, "letting a webhook rest", sql, [id.into(), millis.into()]).await?;
    Ok(())
}

//! What happened, as told to webhooks. Rows are written by triggers (migration 8); the delivery loop gives them their
//! positions.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::Error;
use uuid::Uuid;

use super::{execute, one};

#[derive(Debug, FromQueryResult)]
struct Position {
    position: i64,
}

/// Gives the next positions to at most `limit` rows that have none, in the order in which they were made; what one
/// transaction made after another had committed comes after it. How many there were.
pub async fn number<C: ConnectionTrait>(tx: &C, limit: i64) -> Result<u64, Error> {
    let sql = "WITH fresh AS MATERIALIZED (
                   SELECT ordinal, row_number() OVER (ORDER BY ordinal) AS place FROM
                       (SELECT ordinal FROM lifecycle.notification WHERE position IS NULL ORDER BY ordinal LIMIT $1) f),
               feed AS (
                   UPDATE lifecycle.notification_feed SET position = position + (SELECT count(*) FROM fresh)
                   WHERE EXISTS (SELECT 1 FROM fresh) RETURNING position - (SELECT count(*) FROM fresh) AS before)
               UPDATE lifecycle.notification n SET position = feed.before + fresh.place FROM fresh, feed
               WHERE n.ordinal = fresh.ordinal";
    execute(tx, "numbering notifications", sql, [limit.into()]).await
}

/// The last position given.
pub async fn last_position<C: ConnectionTrait>(db: &C) -> Result<i64, Error> {
    let row: Option<Position> =
        one(db, "reading the feed", "SELECT position FROM lifecycle.notification_feed", []).await?;
    Ok(row.ok_or(Error::Row { what: "the feed of notifications" })?.position)
}

/// The first position that is still kept; none if nothing is.
pub async fn first_position<C: ConnectionTrait>(db: &C) -> Result<Option<i64>, Error> {
    let sql =
        "SELECT position FROM lifecycle.notification WHERE position IS NOT NULL ORDER BY position LIMIT 1";
    Ok(one::<Position, _>(db, "reading the beginning of the feed", sql, []).await?.map(|row| row.position))
}

/// Tells something to one webhook alone.
pub async fn tell<C: ConnectionTrait>(tx: &C, webhook: Uuid, kind: &str, network: &str) -> Result<(), Error> {
    let sql = "INSERT INTO lifecycle.notification (type, network, data, only_for)
               VALUES ($1, $2, jsonb_build_object('webhook', $3::uuid), $3)";
    execute(tx, "telling a webhook", sql, [kind.into(), network.into(), webhook.into()]).await?;
    Ok(())
}

/// Removes at most `limit` rows older than `days`, with their deliveries. How many there were.
pub async fn prune<C: ConnectionTrait>(tx: &C, days: i64, limit: i64) -> Result<u64, Error> {
    let sql = "DELETE FROM lifecycle.notification WHERE ordinal IN
                   (SELECT ordinal FROM lifecycle.notification
                     WHERE time < now() - $1 * interval '1 day' AND position IS NOT NULL ORDER BY time LIMIT $2)";
    execute(tx, "removing old notifications", sql, [days.into(), limit.into()]).await
}

//! What is to be sent to which webhook, and what became of it.

use std::time::Duration;

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::Error;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{all, execute, one, webhook};

/// Waits for its next attempt.
pub const PENDING: &str = "PENDING";
/// The endpoint took it.
pub const DELIVERED: &str = "DELIVERED";
/// Given up.
pub const DEAD: &str = "DEAD";

/// A delivery with what it tells.
#[derive(Debug, Clone, PartialEq, FromQueryResult)]
pub struct Row {
    pub id: Uuid,
    pub webhook: Uuid,
    pub position: i64,
    pub kind: String,
    pub message: Uuid,
    pub state: String,
    pub attempts: i32,
    pub next_attempt_time: OffsetDateTime,
    pub last_attempt_time: Option<OffsetDateTime>,
    pub last_status: Option<i32>,
    pub last_error: String,
    pub time: OffsetDateTime,
    pub network: String,
}

/// A delivery that may be attempted now, with all that an attempt needs.
#[derive(Debug, Clone, PartialEq, FromQueryResult)]
pub struct Due {
    pub id: Uuid,
    pub webhook: Uuid,
    pub attempts: i32,
    pub url: String,
    pub message: Uuid,
    pub kind: String,
    pub network: String,
    pub position: i64,
    pub data: serde_json::Value,
    pub time: OffsetDateTime,
}

/// The first due delivery of every enabled webhook that does not rest.
pub async fn due<C: ConnectionTrait>(db: &C) -> Result<Vec<Due>, Error> {
    let sql = "SELECT d.id, d.webhook, d.attempts, w.url, n.id AS message, n.type AS kind, n.network, d.position, \
               n.data, n.time FROM lifecycle.webhook w CROSS JOIN LATERAL \
               (SELECT * FROM lifecycle.delivery p WHERE p.webhook = w.id AND p.state = 'PENDING' \
                   AND p.next_attempt_time <= clock_timestamp() ORDER BY p.position LIMIT 1) d \
               JOIN lifecycle.notification n ON n.ordinal = d.notification \
               WHERE w.enabled AND (w.resume_time IS NULL OR w.resume_time <= clock_timestamp())";
    all(db, "reading the due deliveries", sql, []).await
}

/// Makes deliveries of the feed from the place of the webhook to `end`. What was delivered before is delivered again:
/// a replay is a place that was moved back.
pub async fn fan_out<C: ConnectionTrait>(tx: &C, row: &webhook::Row, end: i64) -> Result<u64, Error> {
    let sql = "INSERT INTO lifecycle.delivery (webhook, notification, position) \
               SELECT $1, n.ordinal, n.position FROM lifecycle.notification n \
               WHERE n.position > $2 AND n.position <= $3 \
               AND (n.only_for = $1 OR (n.only_for IS NULL AND (cardinality($4::text[]) = 0 OR n.type = ANY($4)) \
                    AND ($5::text IS NULL OR n.network = $5))) \
               ON CONFLICT (webhook, notification) DO UPDATE SET state = 'PENDING', attempts = 0, \
               next_attempt_time = clock_timestamp(), last_error = ''";
    let values = [
        row.id.into(),
        row.position.into(),
        end.into(),
        row.types.clone().into(),
        row.network.clone().into(),
    ];
    execute(tx, "making deliveries", sql, values).await
}

/// Notes an attempt, unless the delivery was begun anew meanwhile.
pub async fn attempted<C: ConnectionTrait>(
    tx: &C,
    due: &Due,
    state: &str,
    after: Duration,
    status: Option<i32>,
    error: &str,
) -> Result<(), Error> {
    let sql = "UPDATE lifecycle.delivery SET state = $3, attempts = attempts + 1, last_status = $4, last_error = $5, \
               last_attempt_time = clock_timestamp(), \
               next_attempt_time = clock_timestamp() + $6 * interval '1 millisecond' \
               WHERE id = $1 AND attempts = $2 AND state = 'PENDING'";
    let millis = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
    let values =
        [due.id.into(), due.attempts.into(), state.into(), status.into(), error.into(), millis.into()];
    execute(tx, "noting an attempt", sql, values).await?;
    Ok(())
}

/// What a list asks for.
#[derive(Debug, Clone)]
pub struct Filter {
    pub webhook: Option<Uuid>,
    pub state: Option<String>,
    /// Place and webhook of the last row of the page before.
    pub before: Option<(i64, Uuid)>,
    pub limit: u32,
}

const SELECT: &str = "SELECT d.id, d.webhook, d.position, n.type AS kind, n.id AS message, d.state, d.attempts, \
                      d.next_attempt_time, d.last_attempt_time, d.last_status, d.last_error, n.time, n.network \
                      FROM lifecycle.delivery d JOIN lifecycle.notification n ON n.ordinal = d.notification";

/// A page, newest first.
pub async fn page<C: ConnectionTrait>(db: &C, filter: &Filter) -> Result<Vec<Row>, Error> {
    let Filter { webhook, state, before, limit } = filter.clone();
    let sql = format!(
        "{SELECT} WHERE ($1::uuid IS NULL OR d.webhook = $1) AND ($2::text IS NULL OR d.state = $2) \
         AND ($3::bigint IS NULL OR (d.position, d.id) < ($3, $4)) ORDER BY d.position DESC, d.id DESC LIMIT $5"
    );
    let values = [
        webhook.into(),
        state.into(),
        before.map(|(position, _)| position).into(),
        before.map(|(_, id)| id).into(),
        i64::from(limit).into(),
    ];
    all(db, "listing deliveries", &sql, values).await
}

/// Begins a delivery anew, whatever became of it. None if there is no such delivery.
pub async fn again<C: ConnectionTrait>(tx: &C, id: Uuid) -> Result<Option<Row>, Error> {
    let sql = "UPDATE lifecycle.delivery SET state = 'PENDING', attempts = 0, next_attempt_time = clock_timestamp(), \
               last_error = '' WHERE id = $1";
    execute(tx, "beginning a delivery anew", sql, [id.into()]).await?;
    one(tx, "reading a delivery", &format!("{SELECT} WHERE d.id = $1"), [id.into()]).await
}

#[derive(Debug, FromQueryResult)]
struct Counted {
    webhook: Uuid,
    state: String,
    count: i64,
}

/// How many wait and how many are dead, for each webhook that has any.
pub async fn counts<C: ConnectionTrait>(db: &C) -> Result<Vec<(Uuid, String, i64)>, Error> {
    let sql = "SELECT webhook, state, count(*) AS count FROM lifecycle.delivery \
               WHERE state IN ('PENDING', 'DEAD') GROUP BY webhook, state";
    let rows: Vec<Counted> = all(db, "counting deliveries", sql, []).await?;
    Ok(rows.into_iter().map(|Counted { webhook, state, count }| (webhook, state, count)).collect())
}

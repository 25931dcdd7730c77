//! Schedules and what they decided.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::Error;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{all, execute, one};

/// A row of the table. Looks are at chain time.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Row {
    pub id: Uuid,
    pub network: String,
    pub sequencer: Uuid,
    /// `ScheduleRule` as protobuf.
    pub rule: Vec<u8>,
    pub state: String,
    pub first_look: OffsetDateTime,
    pub next_look: OffsetDateTime,
    pub last_decision: String,
    pub last_time: Option<OffsetDateTime>,
    pub last_operation: Option<Uuid>,
    /// The requester of its operations: who made it run as it runs now.
    pub caller: String,
    pub version: i64,
    pub create_time: OffsetDateTime,
}

const COLUMNS: &str = "id, network, sequencer, rule, state, first_look, next_look, last_decision, last_time, \
                       last_operation, caller, version, create_time";

/// Looks when it is time.
pub const ACTIVE: &str = "ACTIVE";
/// Looks at nothing.
pub const PAUSED: &str = "PAUSED";
/// Nothing is left to do.
pub const FINISHED: &str = "FINISHED";
/// Removed; only its runs are shown.
pub const DELETED: &str = "DELETED";

/// Stores a new one.
pub async fn insert<C: ConnectionTrait>(tx: &C, row: &Row) -> Result<(), Error> {
    let sql = "INSERT INTO lifecycle.schedule (id, network, sequencer, rule, state, first_look, next_look, caller) \
               VALUES ($1,$2,$3,$4,$5,$6,$7,$8)";
    let values = [
        row.id.into(),
        row.network.clone().into(),
        row.sequencer.into(),
        row.rule.clone().into(),
        row.state.clone().into(),
        row.first_look.into(),
        row.next_look.into(),
        row.caller.clone().into(),
    ];
    execute(tx, "storing a schedule", sql, values).await?;
    Ok(())
}

/// Writes what an operator may change; the version grows.
pub async fn update<C: ConnectionTrait>(tx: &C, row: &Row) -> Result<(), Error> {
    let sql = "UPDATE lifecycle.schedule SET rule = $2, state = $3, next_look = $4, first_look = $5, \
               caller = $6, version = version + 1 WHERE id = $1";
    let values = [
        row.id.into(),
        row.rule.clone().into(),
        row.state.clone().into(),
        row.next_look.into(),
        row.first_look.into(),
        row.caller.clone().into(),
    ];
    execute(tx, "changing a schedule", sql, values).await?;
    Ok(())
}

/// Writes what a look decided.
pub async fn decided<C: ConnectionTrait>(tx: &C, row: &Row) -> Result<(), Error> {
    let sql = "UPDATE lifecycle.schedule SET state = $2, next_look = $3, last_decision = $4, last_time = $5, \
               last_operation = $6 WHERE id = $1";
    let values = [
        row.id.into(),
        row.state.clone().into(),
        row.next_look.into(),
        row.last_decision.clone().into(),
        row.last_time.into(),
        row.last_operation.into(),
    ];
    execute(tx, "writing what a schedule decided", sql, values).await?;
    Ok(())
}

/// By its id, unless it was removed.
pub async fn of_id<C: ConnectionTrait>(db: &C, id: Uuid) -> Result<Option<Row>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM lifecycle.schedule WHERE id = $1 AND state <> 'DELETED'");
    one(db, "reading a schedule", &sql, [id.into()]).await
}

/// By its id, locked until the transaction ends.
pub async fn lock<C: ConnectionTrait>(tx: &C, id: Uuid) -> Result<Option<Row>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM lifecycle.schedule WHERE id = $1 FOR UPDATE");
    one(tx, "locking a schedule", &sql, [id.into()]).await
}

/// Those whose time has come by the chain's clock.
pub async fn due<C: ConnectionTrait>(
    db: &C,
    network: &str,
    now: OffsetDateTime,
    limit: u32,
) -> Result<Vec<Row>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM lifecycle.schedule WHERE network = $1 AND state = 'ACTIVE' AND next_look <= $2 \
         ORDER BY next_look LIMIT $3"
    );
    all(db, "reading the schedules that are due", &sql, [network.into(), now.into(), i64::from(limit).into()])
        .await
}

/// A page, newest first.
pub async fn page<C: ConnectionTrait>(
    db: &C,
    network: Option<&str>,
    sequencer: Option<Uuid>,
    before: Option<Uuid>,
    limit: u32,
) -> Result<Vec<Row>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM lifecycle.schedule WHERE state <> 'DELETED' AND ($1::text IS NULL OR network = $1) \
         AND ($2::uuid IS NULL OR sequencer = $2) AND ($3::uuid IS NULL OR id < $3) ORDER BY id DESC LIMIT $4"
    );
    let values =
        [network.map(str::to_owned).into(), sequencer.into(), before.into(), i64::from(limit).into()];
    all(db, "listing schedules", &sql, values).await
}

/// A look that is settled.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Run {
    pub ordinal: i64,
    pub schedule: Uuid,
    pub slot: OffsetDateTime,
    pub decided: OffsetDateTime,
    pub decision: String,
    pub reason: String,
    pub operation: Option<Uuid>,
}

/// Records a settled look, once.
pub async fn append_run<C: ConnectionTrait>(tx: &C, run: &Run) -> Result<(), Error> {
    let sql = "INSERT INTO lifecycle.schedule_run (schedule, slot, decided, decision, reason, operation) \
               VALUES ($1,$2,$3,$4,$5,$6) ON CONFLICT (schedule, slot) DO NOTHING";
    let values = [
        run.schedule.into(),
        run.slot.into(),
        run.decided.into(),
        run.decision.clone().into(),
        run.reason.clone().into(),
        run.operation.into(),
    ];
    execute(tx, "recording a look of a schedule", sql, values).await?;
    Ok(())
}

/// A page of settled looks, newest first.
pub async fn runs<C: ConnectionTrait>(
    db: &C,
    schedule: Uuid,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<Run>, Error> {
    let sql = "SELECT ordinal, schedule, slot, decided, decision, reason, operation FROM lifecycle.schedule_run \
               WHERE schedule = $1 AND ($2::bigint IS NULL OR ordinal < $2) ORDER BY ordinal DESC LIMIT $3";
    all(db, "listing the looks of a schedule", sql, [schedule.into(), before.into(), i64::from(limit).into()])
        .await
}

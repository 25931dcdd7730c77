//! Fleet operations and their members.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::Error;
use store::column::{Hash, Wei};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{all, execute, one};

/// A row of the table.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Row {
    pub id: Uuid,
    pub network: String,
    /// `FleetSpec` as protobuf, with its defaults filled in.
    pub spec: Vec<u8>,
    pub kind: String,
    pub digest: Hash,
    pub state: String,
    pub reason: String,
    pub reason_code: String,
    pub caller: String,
    pub requirements: serde_json::Value,
    pub approve_by: Option<OffsetDateTime>,
    pub fee_budget: Option<Wei>,
    /// When the last member began.
    pub begun_time: Option<OffsetDateTime>,
    pub create_time: OffsetDateTime,
    pub update_time: OffsetDateTime,
}

const COLUMNS: &str = "id, network, spec, kind, digest, state, reason, reason_code, caller, requirements, approve_by, \
                       fee_budget, begun_time, create_time, update_time";

/// Waits for approvals.
pub const PENDING_APPROVAL: &str = "PENDING_APPROVAL";
/// Begins members.
pub const RUNNING: &str = "RUNNING";
/// Begins none until resumed.
pub const PAUSED: &str = "PAUSED";
/// Every member is final.
pub const DONE: &str = "DONE";
/// A canary was not confirmed.
pub const FAILED: &str = "FAILED";
/// Stopped by an operator.
pub const CANCELLED: &str = "CANCELLED";
/// Not approved in time.
pub const EXPIRED: &str = "EXPIRED";

/// Stores a new one.
pub async fn insert<C: ConnectionTrait>(tx: &C, row: &Row) -> Result<(), Error> {
    let Row {
        id,
        network,
        spec,
        kind,
        digest,
        state,
        reason,
        reason_code,
        caller,
        requirements,
        approve_by,
        fee_budget,
        begun_time: _,
        create_time,
        update_time,
    } = row.clone();
    let sql = "INSERT INTO lifecycle.fleet (id, network, spec, kind, digest, state, reason, reason_code, caller, \
               requirements, approve_by, fee_budget, create_time, update_time) \
               VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14)";
    let values = [
        id.into(),
        network.into(),
        spec.into(),
        kind.into(),
        digest.into(),
        state.into(),
        reason.into(),
        reason_code.into(),
        caller.into(),
        requirements.into(),
        approve_by.into(),
        fee_budget.into(),
        create_time.into(),
        update_time.into(),
    ];
    execute(tx, "storing a fleet operation", sql, values).await?;
    Ok(())
}

/// Moves it to a state, or says anew why it waits.
pub async fn enter<C: ConnectionTrait>(
    tx: &C,
    id: Uuid,
    state: &str,
    reason: &str,
    reason_code: &str,
) -> Result<(), Error> {
    let sql = "UPDATE lifecycle.fleet SET state = $2, reason = $3, reason_code = $4, update_time = clock_timestamp() \
               WHERE id = $1 AND (state, reason, reason_code) IS DISTINCT FROM ($2, $3, $4)";
    let values = [id.into(), state.into(), reason.into(), reason_code.into()];
    execute(tx, "moving a fleet operation", sql, values).await?;
    Ok(())
}

/// Notes that a member began.
pub async fn begun<C: ConnectionTrait>(tx: &C, id: Uuid, now: OffsetDateTime) -> Result<(), Error> {
    let sql = "UPDATE lifecycle.fleet SET begun_time = $2 WHERE id = $1";
    execute(tx, "noting that a member began", sql, [id.into(), now.into()]).await?;
    Ok(())
}

/// Sets a new fee budget.
pub async fn set_budget<C: ConnectionTrait>(tx: &C, id: Uuid, budget: Wei) -> Result<(), Error> {
    let sql = "UPDATE lifecycle.fleet SET fee_budget = $2 WHERE id = $1";
    execute(tx, "setting a fee budget", sql, [id.into(), budget.into()]).await?;
    Ok(())
}

/// By its id.
pub async fn of_id<C: ConnectionTrait>(db: &C, id: Uuid) -> Result<Option<Row>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM lifecycle.fleet WHERE id = $1");
    one(db, "reading a fleet operation", &sql, [id.into()]).await
}

/// By its id, locked until the transaction ends.
pub async fn lock<C: ConnectionTrait>(tx: &C, id: Uuid) -> Result<Option<Row>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM lifecycle.fleet WHERE id = $1 FOR UPDATE");
    one(tx, "locking a fleet operation", &sql, [id.into()]).await
}

/// Those of a network that may have something to do.
pub async fn unfinished<C: ConnectionTrait>(db: &C, network: &str) -> Result<Vec<Row>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM lifecycle.fleet WHERE network = $1 AND state IN ('PENDING_APPROVAL', 'RUNNING') \
         ORDER BY id"
    );
    all(db, "reading the unfinished fleet operations", &sql, [network.into()]).await
}

/// A page, newest first.
pub async fn page<C: ConnectionTrait>(
    db: &C,
    network: Option<&str>,
    before: Option<Uuid>,
    limit: u32,
) -> Result<Vec<Row>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM lifecycle.fleet WHERE ($1::text IS NULL OR network = $1) \
         AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3"
    );
    let values = [network.map(str::to_owned).into(), before.into(), i64::from(limit).into()];
    all(db, "listing fleet operations", &sql, values).await
}

/// A member with what became of its operation.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Member {
    pub fleet: Uuid,
    pub place: i32,
    pub sequencer: Uuid,
    pub name: String,
    /// SKIPPED, PLANNED, REFUSED or NOT_BEGUN; the operation's state counts once there is one.
    pub state: String,
    pub reason: String,
    pub reason_code: String,
    /// Made from fleet and sequencer: beginning twice has one effect.
    pub request_id: Uuid,
    pub fee_max: Wei,
    pub spent: Option<Wei>,
    pub operation: Option<Uuid>,
    pub operation_state: Option<String>,
    pub operation_reason: Option<String>,
    pub operation_code: Option<String>,
}

/// Left out by the plan.
pub const SKIPPED: &str = "SKIPPED";
/// To be begun.
pub const PLANNED: &str = "PLANNED";
/// Its checks failed when its turn came.
pub const REFUSED: &str = "REFUSED";
/// The fleet operation ended before its turn.
pub const NOT_BEGUN: &str = "NOT_BEGUN";

/// Stores the members of one.
pub async fn insert_members<C: ConnectionTrait>(tx: &C, rows: &[Member]) -> Result<(), Error> {
    let texts = |of: fn(&Member) -> String| rows.iter().map(of).collect::<Vec<String>>();
    let ids = |of: fn(&Member) -> Uuid| rows.iter().map(of).collect::<Vec<Uuid>>();
    let sql = "INSERT INTO lifecycle.fleet_member (fleet, place, sequencer, name, state, reason, reason_code, \
               request_id, fee_max) SELECT fleet, place, sequencer, name, state, reason, reason_code, request_id, \
               fee_max::numeric FROM unnest($1::uuid[], $2::integer[], $3::uuid[], $4::text[], $5::text[], $6::text[], \
               $7::text[], $8::uuid[], $9::text[]) AS member \
               (fleet, place, sequencer, name, state, reason, reason_code, request_id, fee_max)";
    let values = [
        ids(|row| row.fleet).into(),
        rows.iter().map(|row| row.place).collect::<Vec<i32>>().into(),
        ids(|row| row.sequencer).into(),
        texts(|row| row.name.clone()).into(),
        texts(|row| row.state.clone()).into(),
        texts(|row| row.reason.clone()).into(),
        texts(|row| row.reason_code.clone()).into(),
        ids(|row| row.request_id).into(),
        texts(|row| row.fee_max.0.to_string()).into(),
    ];
    execute(tx, "storing the members of a fleet", sql, values).await?;
    Ok(())
}

/// Says where a member without operation stands.
pub async fn enter_member<C: ConnectionTrait>(
    tx: &C,
    fleet: Uuid,
    place: i32,
    state: &str,
    reason: &str,
    reason_code: &str,
) -> Result<(), Error> {
    let sql = "UPDATE lifecycle.fleet_member SET state = $3, reason = $4, reason_code = $5 \
               WHERE fleet = $1 AND place = $2 AND (state, reason, reason_code) IS DISTINCT FROM ($3, $4, $5)";
    let values = [fleet.into(), place.into(), state.into(), reason.into(), reason_code.into()];
    execute(tx, "moving a member of a fleet", sql, values).await?;
    Ok(())
}

/// Gives up all members that have not begun.
pub async fn give_up<C: ConnectionTrait>(
    tx: &C,
    fleet: Uuid,
    reason: &str,
    reason_code: &str,
) -> Result<(), Error> {
    let sql = "UPDATE lifecycle.fleet_member m SET state = $4, reason = $2, reason_code = $3 \
               WHERE fleet = $1 AND state = 'PLANNED' \
               AND NOT EXISTS (SELECT FROM lifecycle.operation o WHERE o.request_id = m.request_id)";
    let values = [fleet.into(), reason.into(), reason_code.into(), NOT_BEGUN.into()];
    execute(tx, "giving up members of a fleet", sql, values).await?;
    Ok(())
}

/// Notes what a member has cost.
pub async fn spent<C: ConnectionTrait>(tx: &C, fleet: Uuid, place: i32, wei: Wei) -> Result<(), Error> {
    let sql = "UPDATE lifecycle.fleet_member SET spent = $3 WHERE fleet = $1 AND place = $2";
    execute(tx, "noting what a member cost", sql, [fleet.into(), place.into(), wei.into()]).await?;
    Ok(())
}

/// Members in order from `after` on.
pub async fn members<C: ConnectionTrait>(
    db: &C,
    fleet: Uuid,
    after: i32,
    limit: u32,
) -> Result<Vec<Member>, Error> {
    let sql = "SELECT m.fleet, m.place, m.sequencer, m.name, m.state, m.reason, m.reason_code, m.request_id, \
               m.fee_max, m.spent, o.id AS operation, o.state AS operation_state, o.reason AS operation_reason, \
               o.reason_code AS operation_code FROM lifecycle.fleet_member m \
               LEFT JOIN lifecycle.operation o ON o.request_id = m.request_id \
               WHERE m.fleet = $1 AND m.place > $2 ORDER BY m.place LIMIT $3";
    all(db, "reading the members of a fleet", sql, [fleet.into(), after.into(), i64::from(limit).into()])
        .await
}

/// How far the members of one are.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Tally {
    pub fleet: Uuid,
    pub included: i64,
    pub skipped: i64,
    pub open: i64,
    pub confirmed: i64,
    pub failed: i64,
    pub spent: Wei,
}

/// How far the members of several are.
pub async fn tallies<C: ConnectionTrait>(db: &C, fleets: &[Uuid]) -> Result<Vec<Tally>, Error> {
    let sql = "SELECT m.fleet, count(*) FILTER (WHERE m.state <> 'SKIPPED') AS included, \
               count(*) FILTER (WHERE m.state = 'SKIPPED') AS skipped, \
               count(*) FILTER (WHERE o.state NOT IN ('CONFIRMED', 'FAILED', 'CANCELLED', 'EXPIRED')) AS open, \
               count(*) FILTER (WHERE o.state = 'CONFIRMED') AS confirmed, \
               count(*) FILTER (WHERE o.state IN ('FAILED', 'CANCELLED', 'EXPIRED') OR m.state = 'REFUSED') AS failed, \
               coalesce(sum(m.spent), 0) AS spent FROM lifecycle.fleet_member m \
               LEFT JOIN lifecycle.operation o ON o.request_id = m.request_id \
               WHERE m.fleet = ANY($1) GROUP BY m.fleet";
    all(db, "counting the members of fleets", sql, [fleets.to_vec().into()]).await
}

//! What was asked for, and where it stands.

use alloy_primitives::Address;
use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use store::Error;
use store::column::Addr;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{all, execute, one, step};

/// Channel of wake-ups: the payload is the id of the operation that changed.
pub const CHANNEL: &str = "lifecycle_operation";

/// Where an operation stands. The first two wait to be admitted, the next four are open, the rest is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    PendingApproval,
    Scheduled,
    Queued,
    Signing,
    Broadcast,
    Mined,
    Confirmed,
    Failed,
    Cancelled,
    Expired,
}

impl State {
    /// All of them, in the order of a life.
    pub const ALL: [Self; 10] = [
        Self::PendingApproval,
        Self::Scheduled,
        Self::Queued,
        Self::Signing,
        Self::Broadcast,
        Self::Mined,
        Self::Confirmed,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
    ];

    /// Name in SQL and, with a prefix, on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PendingApproval => "PENDING_APPROVAL",
            Self::Scheduled => "SCHEDULED",
            Self::Queued => "QUEUED",
            Self::Signing => "SIGNING",
            Self::Broadcast => "BROADCAST",
            Self::Mined => "MINED",
            Self::Confirmed => "CONFIRMED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::Expired => "EXPIRED",
        }
    }

    /// Whether a reorganisation alone can change it again.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Confirmed | Self::Failed | Self::Cancelled | Self::Expired)
    }
}

/// A row of the table.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Row {
    pub id: Uuid,
    pub request_id: Uuid,
    pub network: String,
    pub sequencer: Uuid,
    pub kind: String,
    /// `OperationParameters` as protobuf.
    pub parameters: Vec<u8>,
    pub mode: String,
    pub state: String,
    pub reason: String,
    pub reason_code: String,
    pub words: String,
    pub caller: String,
    pub chain_id: i64,
    pub account: Addr,
    pub key_id: Option<String>,
    pub create_time: OffsetDateTime,
    pub update_time: OffsetDateTime,
    pub expire_time: Option<OffsetDateTime>,
    pub not_before: Option<OffsetDateTime>,
    pub deadline: Option<OffsetDateTime>,
    pub recipient_if_unset: Option<Addr>,
    /// `domain::approval::Requirement`s that must be met.
    pub requirements: serde_json::Value,
    pub approve_by: Option<OffsetDateTime>,
    /// What asked for it; empty for a caller.
    pub origin: String,
}

const COLUMNS: &str = "id, request_id, network, sequencer, kind, parameters, mode, state, reason, reason_code, \
                       words, caller, chain_id, account, key_id, create_time, update_time, expire_time, not_before, deadline, \
                       recipient_if_unset, requirements, approve_by, origin";

impl Row {
    /// Whether we sign and send it.
    pub fn is_managed(&self) -> bool {
        self.mode == MANAGED
    }

    /// Whether a call of it may be begun at `now`: it is not final, and its deadline has not passed.
    pub fn may_begin(&self, now: OffsetDateTime) -> bool {
        !self.state().is_final() && self.deadline.is_none_or(|deadline| now < deadline)
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        State::ALL.into_iter().find(|state| state.name() == self.state).unwrap_or(State::Queued)
    }
}

/// Signed and sent by us.
pub const MANAGED: &str = "MANAGED";
/// Signed by a wallet.
pub const PREPARED: &str = "PREPARED";

/// Moves an operation to `state` and tells whoever watches. A step is recorded when state or reason changed.
pub async fn enter<C: ConnectionTrait>(
    tx: &C,
    id: Uuid,
    state: State,
    reason: &str,
    reason_code: &str,
) -> Result<(), Error> {
    let sql = "UPDATE lifecycle.operation SET state = $2, reason = $3, reason_code = $4, \
               reopened = reopened OR state IN ('CONFIRMED', 'FAILED', 'CANCELLED', 'EXPIRED'), update_time = clock_timestamp() \
               WHERE id = $1 AND (state, reason, reason_code) IS DISTINCT FROM ($2, $3, $4)";
    let values = [id.into(), state.name().into(), reason.into(), reason_code.into()];
    if execute(tx, "moving an operation", sql, values).await? == 1 {
        step::append(tx, id, state.name(), reason).await?;
        store::notify::notify(tx, CHANNEL, &id.to_string()).await?;
    }
    Ok(())
}

/// From now on it may be approved until then.
pub async fn approve_until<C: ConnectionTrait>(tx: &C, id: Uuid, by: OffsetDateTime) -> Result<(), Error> {
    let sql = "UPDATE lifecycle.operation SET approve_by = $2 WHERE id = $1";
    execute(tx, "asking for approvals again", sql, [id.into(), by.into()]).await?;
    Ok(())
}

/// By its id.
pub async fn of_id<C: ConnectionTrait>(db: &C, id: Uuid) -> Result<Option<Row>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM lifecycle.operation WHERE id = $1");
    one(db, "reading an operation", &sql, [id.into()]).await
}

/// By its id, locked until the transaction ends.
pub async fn lock<C: ConnectionTrait>(tx: &C, id: Uuid) -> Result<Option<Row>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM lifecycle.operation WHERE id = $1 FOR UPDATE");
    one(tx, "locking an operation", &sql, [id.into()]).await
}

/// The open managed operation of a sequencer other than `except`.
pub async fn open_of<C: ConnectionTrait>(
    db: &C,
    sequencer: Uuid,
    except: Option<Uuid>,
) -> Result<Option<Row>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM lifecycle.operation WHERE sequencer = $1 AND open AND NOT reopened \
         AND mode = 'MANAGED' AND id IS DISTINCT FROM $2 LIMIT 1"
    );
    one(db, "reading the open operation of a sequencer", &sql, [sequencer.into(), except.into()]).await
}

/// An account with work.
#[derive(Debug, Clone, Copy, FromQueryResult)]
pub struct Work {
    pub account: Addr,
    /// When one of its operations changed last.
    pub changed: OffsetDateTime,
    /// How many there are: one that was stored slowly may look older than another's change.
    pub operations: i64,
}

/// Accounts with open managed operations on a network, and those with nonces that must still be spent.
pub async fn accounts_with_work<C: ConnectionTrait>(db: &C, network: &str) -> Result<Vec<Work>, Error> {
    let sql = "SELECT account, max(update_time) AS changed, count(*) AS operations FROM ( \
         SELECT account, update_time FROM lifecycle.operation WHERE network = $1 AND open AND mode = 'MANAGED' \
         UNION ALL \
         SELECT t.account, o.update_time FROM lifecycle.transaction t \
         JOIN lifecycle.operation o ON o.id = t.operation \
         WHERE o.network = $1 AND NOT o.open AND o.mode = 'MANAGED' AND NOT t.finalized AND t.nonce IS NOT NULL \
         AND (t.state = 'PLANNED' OR (t.cancel_reason IS NOT NULL AND t.state IN ('SIGNED', 'BROADCAST'))) \
         ) AS work GROUP BY account";
    all(db, "reading the accounts with work", sql, [network.into()]).await
}

/// Open managed operations of an account, oldest first.
pub async fn open_of_account<C: ConnectionTrait>(
    db: &C,
    network: &str,
    account: Address,
) -> Result<Vec<Row>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM lifecycle.operation WHERE network = $1 AND account = $2 AND open \
         AND mode = 'MANAGED' ORDER BY id"
    );
    all(db, "reading the open operations of an account", &sql, [network.into(), Addr(account).into()]).await
}

/// Prepared operations whose wallet is late.
pub async fn overdue<C: ConnectionTrait>(db: &C, network: &str) -> Result<Vec<Row>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM lifecycle.operation WHERE network = $1 AND open AND state = 'QUEUED' \
         AND expire_time < now()"
    );
    all(db, "reading the overdue operations", &sql, [network.into()]).await
}

/// An operation of a sequencer that this fleet operation or schedule asked for and that is not final.
pub async fn unfinished_of<C: ConnectionTrait>(
    db: &C,
    sequencer: Uuid,
    origin: &str,
) -> Result<Option<Row>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM lifecycle.operation WHERE sequencer = $1 AND origin = $2 \
         AND state NOT IN ('CONFIRMED', 'FAILED', 'CANCELLED', 'EXPIRED') ORDER BY id LIMIT 1"
    );
    one(db, "reading the unfinished operation of a schedule", &sql, [sequencer.into(), origin.into()]).await
}

/// By the request id that is made from what asked for it.
pub async fn of_request<C: ConnectionTrait>(db: &C, request_id: Uuid) -> Result<Option<Row>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM lifecycle.operation WHERE request_id = $1 LIMIT 1");
    one(db, "reading an operation by its request", &sql, [request_id.into()]).await
}

/// Those that waited for approvals or their time and need a look at `now`, in the order of their ids.
pub async fn waiting<C: ConnectionTrait>(
    db: &C,
    network: &str,
    now: OffsetDateTime,
    after: Option<Uuid>,
    limit: u32,
) -> Result<Vec<Row>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM lifecycle.operation WHERE network = $1 AND state IN ('PENDING_APPROVAL', 'SCHEDULED') \
         AND (deadline <= $2 OR (state = 'PENDING_APPROVAL' AND approve_by <= $2) \
         OR (state = 'SCHEDULED' AND (not_before IS NULL OR not_before <= $2))) \
         AND ($3::uuid IS NULL OR id > $3) ORDER BY id LIMIT $4"
    );
    let values = [network.into(), now.into(), after.into(), i64::from(limit).into()];
    all(db, "reading the operations that wait", &sql, values).await
}

/// Managed ones past their deadline that may still be stopped: not in the pools.
pub async fn late<C: ConnectionTrait>(
    db: &C,
    network: &str,
    now: OffsetDateTime,
    limit: u32,
) -> Result<Vec<Row>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM lifecycle.operation o WHERE network = $1 AND deadline <= $2 \
         AND state IN ('QUEUED', 'SIGNING', 'MINED') AND mode = 'MANAGED' AND NOT EXISTS \
         (SELECT FROM lifecycle.transaction t WHERE t.operation = o.id AND t.nonce IS NOT NULL \
          AND (t.step_name = o.kind OR t.receipt_block IS NULL)) ORDER BY deadline LIMIT $3"
    );
    all(
        db,
        "reading the operations past their deadline",
        &sql,
        [network.into(), now.into(), i64::from(limit).into()],
    )
    .await
}

/// What a list asks for.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub network: Option<String>,
    pub sequencer: Option<Uuid>,
    pub state: Option<String>,
    /// Ids below this one.
    pub before: Option<Uuid>,
    pub limit: u32,
}

/// A page, newest first.
pub async fn page<C: ConnectionTrait>(db: &C, filter: &Filter) -> Result<Vec<Row>, Error> {
    let Filter { network, sequencer, state, before, limit } = filter.clone();
    // Only what was asked for: a plan that serves every filter at once reads the whole table for some.
    let asked: [(&str, Option<Value>); 4] = [
        ("network =", network.map(Value::from)),
        ("sequencer =", sequencer.map(Value::from)),
        ("state =", state.map(Value::from)),
        ("id <", before.map(Value::from)),
    ];
    let (mut sql, mut values) = (format!("SELECT {COLUMNS} FROM lifecycle.operation WHERE true"), Vec::new());
    for (column, value) in asked {
        let Some(value) = value else { continue };
        values.push(value);
        sql.push_str(&format!(" AND {column} ${}", values.len()));
    }
    values.push(i64::from(limit).into());
    sql.push_str(&format!(" ORDER BY id DESC LIMIT ${}", values.len()));
    all(db, "listing operations", &sql, values).await
}

//! The calls of operations. One row is one nonce for ever.

use alloy_primitives::{Address, B256, U256};
use sea_orm::{ConnectionTrait, FromQueryResult};
use store::Error;
use store::column::{Addr, Hash, Wei};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{all, execute, one};

/// A row of the table.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Row {
    pub id: Uuid,
    pub operation: Uuid,
    pub step: i16,
    pub step_name: String,
    pub chain_id: i64,
    pub account: Addr,
    pub nonce: Option<i64>,
    pub target: Addr,
    pub value: Wei,
    pub data: Vec<u8>,
    pub gas_limit: i64,
    pub max_fee: Wei,
    pub max_priority: Wei,
    pub words: String,
    pub state: String,
    pub hash: Option<Hash>,
    pub receipt_block: Option<i64>,
    pub receipt_hash: Option<Hash>,
    pub receipt_time: Option<OffsetDateTime>,
    pub receipt_status: Option<i16>,
    pub last_answer: String,
    /// Head at the last broadcast.
    pub broadcast_block: Option<i64>,
    /// Why a cancel is to spend its nonce; none while its call is wanted.
    pub cancel_reason: Option<String>,
    /// It only spends a nonce that was taken and never used.
    pub fills: bool,
    /// Every endpoint has refused its call for what it is: its operation fails when the nonce is spent on nothing.
    pub refused: bool,
    /// A replacement is wanted at once.
    pub hurried: bool,
    /// Which form was mined: its call or its cancel.
    pub mined_intent: Option<String>,
    /// What it cost by its receipt.
    pub paid: Option<Wei>,
    pub create_time: OffsetDateTime,
}

impl Row {
    /// Whether it has a nonce and no block yet.
    pub fn is_in_flight(&self) -> bool {
        self.nonce.is_some() && matches!(self.state.as_str(), PLANNED | SIGNED | BROADCAST)
    }
}

const COLUMNS: &str = "id, operation, step, step_name, chain_id, account, nonce, target, value, data, gas_limit, \
    max_fee, max_priority, words, state, hash, receipt_block, receipt_hash, receipt_time, receipt_status, \
    last_answer, broadcast_block, cancel_reason, fills, refused, hurried, mined_intent, paid, create_time";

/// Planned: not signed yet.
pub const PLANNED: &str = "PLANNED";
/// Signed and stored; it may have been sent.
pub const SIGNED: &str = "SIGNED";
/// Sent.
pub const BROADCAST: &str = "BROADCAST";
/// In a block.
pub const MINED: &str = "MINED";
/// Deep enough.
pub const CONFIRMED: &str = "CONFIRMED";
/// In a block, deep enough, without effect.
pub const REVERTED: &str = "REVERTED";
/// Its cancel was mined in its place, deep enough.
pub const CANCELLED: &str = "CANCELLED";
/// It will never be signed, as far as we know.
pub const DROPPED: &str = "DROPPED";
/// Its nonce was spent by somebody else.
pub const FOREIGN: &str = "FOREIGN";

/// The lowest nonces are what holds up the rest: four times what a lane has in flight, with those of wallets.
const IN_FLIGHT_READ_MAX: usize = 64;

/// The block of a receipt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mined {
    pub hash: B256,
    pub block: i64,
    pub block_hash: B256,
    pub block_time: OffsetDateTime,
    pub succeeded: bool,
    /// Which form it was.
    pub intent: &'static str,
    /// Gas, and the value unless a revert returned it.
    pub paid: U256,
}

/// Stores a planned call.
pub async fn insert<C: ConnectionTrait>(tx: &C, row: &Row) -> Result<(), Error> {
    let Row {
        id,
        operation,
        step,
        step_name,
        chain_id,
        account,
        nonce,
        target,
        value,
        data,
        gas_limit,
        max_fee,
        max_priority,
        words,
        state,
        hash: _,
        receipt_block: _,
        receipt_hash: _,
        receipt_time: _,
        receipt_status: _,
        last_answer: _,
        broadcast_block: _,
        cancel_reason,
        fills,
        refused: _,
        hurried: _,
        mined_intent: _,
        paid: _,
        create_time: _,
    } = row.clone();
    let sql = "INSERT INTO lifecycle.transaction (id, operation, step, step_name, chain_id, account, nonce, target, \
               value, data, gas_limit, max_fee, max_priority, words, state, cancel_reason, fills) \
               VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17)";
    let values = [
        id.into(),
        operation.into(),
        step.into(),
        step_name.into(),
        chain_id.into(),
        account.into(),
        nonce.into(),
        target.into(),
        value.into(),
        data.into(),
        gas_limit.into(),
        max_fee.into(),
        max_priority.into(),
        words.into(),
        state.into(),
        cancel_reason.into(),
        fills.into(),
    ];
    execute(tx, "storing a transaction", sql, values).await?;
    Ok(())
}

/// Notes a signed form: the newest hash, its fees and its nonce.
pub async fn signed<C: ConnectionTrait>(tx: &C, row: &Row, hash: B256) -> Result<(), Error> {
    let sql = "UPDATE lifecycle.transaction SET state = 'SIGNED', hash = $2, nonce = $3, max_fee = $4, \
               max_priority = $5, gas_limit = $6, finalized = false WHERE id = $1";
    let values = [
        row.id.into(),
        Hash(hash).into(),
        row.nonce.into(),
        row.max_fee.into(),
        row.max_priority.into(),
        row.gas_limit.into(),
    ];
    execute(tx, "noting a signed transaction", sql, values).await?;
    Ok(())
}

/// Notes why a cancel is to spend its nonce, unless its call has had its effect already; the first reason stands. A call
/// that reverted is not made again then, and cancelled where a reorganisation brings it back.
pub async fn want_cancel<C: ConnectionTrait>(
    tx: &C,
    id: Uuid,
    reason: &str,
    fills: bool,
) -> Result<(), Error> {
    let sql = "UPDATE lifecycle.transaction SET cancel_reason = coalesce(cancel_reason, $2), fills = fills OR $3 \
               WHERE id = $1 AND nonce IS NOT NULL AND (state IN ('PLANNED', 'SIGNED', 'BROADCAST') \
               OR (state = 'MINED' AND receipt_status = 0))";
    execute(
        tx,
        "noting that a transaction is to be cancelled",
        sql,
        [id.into(), reason.into(), fills.into()],
    )
    .await?;
    Ok(())
}

/// Notes that no endpoint will ever take its call: a cancel is to spend its nonce, and its operation fails with that.
pub async fn refuse<C: ConnectionTrait>(tx: &C, id: Uuid, reason: &str) -> Result<(), Error> {
    let sql = "UPDATE lifecycle.transaction SET refused = true, cancel_reason = $2 WHERE id = $1 \
               AND cancel_reason IS NULL AND nonce IS NOT NULL AND state IN ('PLANNED', 'SIGNED', 'BROADCAST')";
    execute(tx, "noting that a transaction is refused", sql, [id.into(), reason.into()]).await?;
    Ok(())
}

/// Notes that a replacement is wanted at once, or no longer.
pub async fn hurry<C: ConnectionTrait>(tx: &C, id: Uuid, hurried: bool) -> Result<(), Error> {
    let sql = "UPDATE lifecycle.transaction SET hurried = $2 WHERE id = $1";
    execute(tx, "hurrying a transaction", sql, [id.into(), hurried.into()]).await?;
    Ok(())
}

/// Nonces of an account that were taken by operations which have ended without sending anything, and those whose
/// cancel is under way: they would hold up all later ones.
pub async fn holes<C: ConnectionTrait>(db: &C, chain_id: i64, account: Address) -> Result<Vec<Row>, Error> {
    let sql = format!(
        "SELECT {} FROM lifecycle.transaction t JOIN lifecycle.operation o ON o.id = t.operation \
         WHERE t.chain_id = $1 AND t.account = $2 AND NOT t.finalized AND NOT o.open AND o.mode = 'MANAGED' \
         AND t.nonce IS NOT NULL AND (t.state = 'PLANNED' \
         OR (t.cancel_reason IS NOT NULL AND t.state IN ('SIGNED', 'BROADCAST'))) ORDER BY t.nonce",
        of_t()
    );
    all(db, "reading the nonces that were never used", &sql, [chain_id.into(), Addr(account).into()]).await
}

#[derive(Debug, FromQueryResult)]
struct Nonce {
    nonce: i64,
}

/// Nonces of an account from `from` on, below `to`, that a row of ours has.
pub async fn nonces_between<C: ConnectionTrait>(
    db: &C,
    chain_id: i64,
    account: Address,
    from: i64,
    to: i64,
) -> Result<Vec<i64>, Error> {
    let sql = "SELECT nonce FROM lifecycle.transaction WHERE chain_id = $1 AND account = $2 \
               AND nonce >= $3 AND nonce < $4 ORDER BY nonce";
    let values = [chain_id.into(), Addr(account).into(), from.into(), to.into()];
    let rows: Vec<Nonce> = all(db, "reading the nonces of an account", sql, values).await?;
    Ok(rows.into_iter().map(|row| row.nonce).collect())
}

/// Notes a broadcast with what the endpoints answered.
pub async fn sent<C: ConnectionTrait>(tx: &C, id: Uuid, answer: &str, head: i64) -> Result<(), Error> {
    let sql = "UPDATE lifecycle.transaction SET state = 'BROADCAST', last_answer = $2, broadcast_block = $3, \
               receipt_block = NULL, receipt_hash = NULL, receipt_time = NULL, receipt_status = NULL, \
               mined_intent = NULL, paid = NULL WHERE id = $1";
    execute(tx, "noting a broadcast", sql, [id.into(), answer.into(), head.into()]).await?;
    Ok(())
}

/// What had been sent is to be sent again, when that is allowed.
pub async fn unsent<C: ConnectionTrait>(tx: &C, id: Uuid) -> Result<(), Error> {
    let sql = "UPDATE lifecycle.transaction SET state = 'SIGNED', receipt_block = NULL, receipt_hash = NULL, \
               receipt_time = NULL, receipt_status = NULL, mined_intent = NULL, paid = NULL WHERE id = $1";
    execute(tx, "noting a transaction that is to be sent again", sql, [id.into()]).await?;
    Ok(())
}

/// Blocks that were final are gone: the transactions in them are followed again.
pub async fn follow_above<C: ConnectionTrait>(tx: &C, network: &str, block: i64) -> Result<(), Error> {
    let sql = "UPDATE lifecycle.transaction t SET finalized = false FROM lifecycle.operation o \
               WHERE o.id = t.operation AND o.network = $1 AND t.finalized AND t.receipt_block > $2";
    execute(tx, "following the transactions of blocks that are gone", sql, [network.into(), block.into()])
        .await?;
    Ok(())
}

/// Whether it is signed or sent and nothing has been seen of it on chain; locked until the transaction ends.
pub async fn lock_unseen<C: ConnectionTrait>(tx: &C, id: Uuid) -> Result<bool, Error> {
    let sql = format!("SELECT {COLUMNS} FROM lifecycle.transaction WHERE id = $1 FOR UPDATE");
    let row: Option<Row> = one(tx, "locking a transaction", &sql, [id.into()]).await?;
    Ok(row.is_some_and(|row| matches!(row.state.as_str(), SIGNED | BROADCAST)))
}

/// Notes the block that has it.
pub async fn mined<C: ConnectionTrait>(tx: &C, id: Uuid, mined: &Mined) -> Result<(), Error> {
    let Mined { hash, block, block_hash, block_time, succeeded, intent, paid } = *mined;
    let sql = "UPDATE lifecycle.transaction SET state = 'MINED', hash = $2, receipt_block = $3, receipt_hash = $4, \
               receipt_time = $5, receipt_status = $6, mined_intent = $7, paid = $8 WHERE id = $1";
    let values = [
        id.into(),
        Hash(hash).into(),
        block.into(),
        Hash(block_hash).into(),
        block_time.into(),
        i16::from(succeeded).into(),
        intent.into(),
        Wei(paid).into(),
    ];
    execute(tx, "noting a receipt", sql, values).await?;
    Ok(())
}

/// Stores the fees that the next signed form is to have, before it is signed: after a crash the same form is asked
/// for again.
pub async fn replan<C: ConnectionTrait>(
    tx: &C,
    id: Uuid,
    max_fee: U256,
    max_priority: U256,
) -> Result<(), Error> {
    let sql =
        "UPDATE lifecycle.transaction SET max_fee = $2, max_priority = $3, hurried = false WHERE id = $1";
    let values = [id.into(), Wei(max_fee).into(), Wei(max_priority).into()];
    execute(tx, "planning a replacement", sql, values).await?;
    Ok(())
}

/// Moves a row to a state.
pub async fn set_state<C: ConnectionTrait>(
    tx: &C,
    id: Uuid,
    state: &str,
    finalized: bool,
) -> Result<(), Error> {
    let sql = "UPDATE lifecycle.transaction SET state = $2, finalized = $3 WHERE id = $1";
    execute(tx, "moving a transaction", sql, [id.into(), state.into(), finalized.into()]).await?;
    Ok(())
}

/// Notes that a wallet did the call inside a transaction of `account`, which pays and whose nonce it has.
pub async fn carried<C: ConnectionTrait>(
    tx: &C,
    id: Uuid,
    account: Address,
    nonce: i64,
    hash: B256,
) -> Result<(), Error> {
    let sql = "UPDATE lifecycle.transaction SET state = 'SIGNED', account = $2, nonce = $3, hash = $4, \
               finalized = false WHERE id = $1";
    let values = [id.into(), Addr(account).into(), nonce.into(), Hash(hash).into()];
    execute(tx, "noting a call inside another transaction", sql, values).await?;
    Ok(())
}

/// Takes the nonce from a row that will never be signed.
pub async fn drop_unsigned<C: ConnectionTrait>(tx: &C, id: Uuid) -> Result<(), Error> {
    let sql = "UPDATE lifecycle.transaction SET state = 'DROPPED', nonce = NULL, finalized = true \
               WHERE id = $1 AND hash IS NULL";
    execute(tx, "dropping an unsigned transaction", sql, [id.into()]).await?;
    Ok(())
}

/// The calls that an operation dropped when it expired may be signed after all: what a wallet did in time counts, whenever
/// it is told.
pub async fn take_up_again<C: ConnectionTrait>(tx: &C, operation: Uuid) -> Result<(), Error> {
    let sql = "UPDATE lifecycle.transaction SET state = 'PLANNED', finalized = false \
               WHERE operation = $1 AND state = 'DROPPED'";
    execute(tx, "taking up the calls of an expired operation", sql, [operation.into()]).await?;
    Ok(())
}

/// Those of an account that are signed or sent and in no block, lowest nonce first.
pub async fn in_flight<C: ConnectionTrait>(
    db: &C,
    chain_id: i64,
    account: Address,
) -> Result<Vec<Row>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM lifecycle.transaction WHERE chain_id = $1 AND account = $2 AND NOT finalized \
         AND nonce IS NOT NULL AND state IN ('SIGNED', 'BROADCAST') ORDER BY nonce LIMIT {IN_FLIGHT_READ_MAX}"
    );
    all(db, "reading what is in flight", &sql, [chain_id.into(), Addr(account).into()]).await
}

/// All calls of an operation in order.
pub async fn of_operation<C: ConnectionTrait>(db: &C, operation: Uuid) -> Result<Vec<Row>, Error> {
    of_operations(db, &[operation]).await
}

/// All calls of several operations, in order for each.
pub async fn of_operations<C: ConnectionTrait>(db: &C, operations: &[Uuid]) -> Result<Vec<Row>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM lifecycle.transaction WHERE operation = ANY($1) ORDER BY operation, step"
    );
    all(db, "reading the transactions of operations", &sql, [operations.to_vec().into()]).await
}

/// Transactions of a chain that are signed or sent and whose block is not final yet.
pub async fn followed<C: ConnectionTrait>(db: &C, network: &str, chain_id: i64) -> Result<Vec<Row>, Error> {
    let sql = format!(
        "SELECT {} FROM lifecycle.transaction t JOIN lifecycle.operation o ON o.id = t.operation \
         WHERE t.chain_id = $2 AND o.network = $1 AND NOT t.finalized \
         AND t.state IN ('SIGNED', 'BROADCAST', 'MINED', 'CONFIRMED', 'REVERTED', 'CANCELLED', 'FOREIGN') \
         ORDER BY t.account, t.nonce",
        of_t()
    );
    all(db, "reading the followed transactions", &sql, [network.into(), chain_id.into()]).await
}

/// The columns of the table as `t`.
fn of_t() -> String {
    COLUMNS.split(", ").map(|column| format!("t.{}", column.trim())).collect::<Vec<_>>().join(", ")
}

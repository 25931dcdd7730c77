//! Every state an operation entered, with its reason. Rows are only added.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::Error;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{all, execute};

/// One state entered.
#[derive(Debug, Clone, PartialEq, FromQueryResult)]
pub struct Row {
    pub operation: Uuid,
    pub state: String,
    pub reason: String,
    pub time: OffsetDateTime,
}

/// Adds a state entered.
pub async fn append<C: ConnectionTrait>(
    tx: &C,
    operation: Uuid,
    state: &str,
    reason: &str,
) -> Result<(), Error> {
    let sql = "INSERT INTO lifecycle.operation_step (operation, state, reason, time) \
               VALUES ($1, $2, $3, clock_timestamp())";
    execute(tx, "recording a step", sql, [operation.into(), state.into(), reason.into()]).await?;
    Ok(())
}

/// The history of several operations, oldest first.
pub async fn of_many<C: ConnectionTrait>(db: &C, operations: &[Uuid]) -> Result<Vec<Row>, Error> {
    let sql = "SELECT operation, state, reason, time FROM lifecycle.operation_step \
               WHERE operation = ANY($1) ORDER BY ordinal";
    all(db, "reading the steps of operations", sql, [operations.to_vec().into()]).await
}

//! One file per table: its row and its queries, plain functions over a connection.

pub mod account_key;
pub mod approval;
pub mod attempt;
pub mod cursor;
pub mod delivery;
pub mod fees;
pub mod flag;
pub mod fleet;
pub mod intake;
pub mod lane;
pub mod notification;
pub mod operation;
pub mod position;
pub mod producer;
pub mod request;
pub mod schedule;
pub mod sequencer;
pub mod standing;
pub mod step;
pub mod transaction;
pub mod transition;
pub mod undo;
pub mod validator;
pub mod webhook;
pub mod webhook_secret;
pub mod whitelist;

use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use store::{Error, statement};

/// Schema and lease namespace of this service.
pub const SCHEMA: &str = "lifecycle";

/// All rows of a query.
pub(crate) async fn all<R: FromQueryResult, C: ConnectionTrait>(
    db: &C,
    step: &'static str,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<Vec<R>, Error> {
    let rows = db.query_all_raw(statement(sql, values)).await.map_err(Error::at(step))?;
    rows.iter().map(|row| R::from_query_result(row, "")).collect::<Result<_, _>>().map_err(Error::at(step))
}

/// The row of a query, if there is one.
pub(crate) async fn one<R: FromQueryResult, C: ConnectionTrait>(
    db: &C,
    step: &'static str,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<Option<R>, Error> {
    let row = db.query_one_raw(statement(sql, values)).await.map_err(Error::at(step))?;
    row.map(|row| R::from_query_result(&row, "")).transpose().map_err(Error::at(step))
}

/// Runs a statement and says how many rows it touched.
pub(crate) async fn execute<C: ConnectionTrait>(
    db: &C,
    step: &'static str,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<u64, Error> {
    Ok(db.execute_raw(statement(sql, values)).await.map_err(Error::at(step))?.rows_affected())
}

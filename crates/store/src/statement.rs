//! Short way to a parameterised statement.

use sea_orm::{DbBackend, Statement, Value};

/// A PostgreSQL statement with `$1`, `$2`, … bound to `values`.
///
/// Values are always bound, never written into the text: the text goes into traces.
pub fn statement(sql: impl Into<String>, values: impl IntoIterator<Item = Value>) -> Statement {
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}

//! A transaction that can insert [`Rows`] beside everything that a [`ConnectionTrait`] can.
//!
//! For writers of many rows. It is not repeated on conflicts: whoever writes in bulk is the only writer of its tables,
//! and loads its state again after any failure.

use std::time::Duration;

use sea_orm::sea_query::Values;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement,
};
use sea_query_sqlx::SqlxValues;
use sqlx::Postgres;
use sqlx::query::Query;
use tokio::sync::Mutex;

use crate::Error;
use crate::rows::{Array, Rows};

/// The open transaction; rolled back when dropped.
#[derive(Debug)]
pub struct Bulk(Mutex<sqlx::Transaction<'static, Postgres>>);

impl Bulk {
    /// Begins. The server ends the transaction if it hears nothing of it for `idle_max`: a writer that was stopped in the
    /// middle would else hold up whoever writes the same rows after it.
    ///
    /// # Errors
    /// When no connection can be had, or the server does not begin.
    pub async fn begin(db: &DatabaseConnection, idle_max: Duration) -> Result<Self, Error> {
        let begin =
            format!("BEGIN; SET LOCAL idle_in_transaction_session_timeout = {}", idle_max.as_millis().max(1));
        let begun = db.get_postgres_connection_pool().begin_with(sqlx::AssertSqlSafe(begin)).await;
        begun.map(|transaction| Self(Mutex::new(transaction))).map_err(transaction_error("beginning"))
    }

    /// Adds rows, if there are any.
    ///
    /// # Errors
    /// When the server refuses them; the transaction is then of no more use.
    pub async fn insert(&self, rows: &Rows) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let statement = rows.statement();
        let query = sqlx::query(sqlx::AssertSqlSafe(statement));
        let query = rows.columns().iter().fold(query, |query, column| query.bind(Array(column)));
        let done = query.execute(&mut **self.0.lock().await).await;
        done.map(drop).map_err(failed).map_err(Error::at("inserting rows"))
    }

    /// Commits.
    ///
    /// # Errors
    /// When the commit fails, or its answer was lost: look before doing it again.
    pub async fn commit(self) -> Result<(), Error> {
        self.0.into_inner().commit().await.map_err(transaction_error("committing"))
    }
}

fn failed(source: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(source.into()))
}

fn transaction_error(step: &'static str) -> impl FnOnce(sqlx::Error) -> Error {
    move |source| Error::Transaction { step, source: failed(source) }
}

fn query(statement: &Statement) -> Query<'_, Postgres, SqlxValues> {
    let values = statement.values.clone().unwrap_or(Values(Vec::new()));
    sqlx::query_with(sqlx::AssertSqlSafe(statement.sql.as_str()), SqlxValues(values))
}

#[async_trait::async_trait]
impl ConnectionTrait for Bulk {
    fn get_database_backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let done = query(&statement).execute(&mut **self.0.lock().await).await;
        done.map(Into::into).map_err(failed)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let done = sqlx::Executor::execute(&mut **self.0.lock().await, sqlx::AssertSqlSafe(sql)).await;
        done.map(Into::into).map_err(failed)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let row = query(&statement).fetch_optional(&mut **self.0.lock().await).await;
        row.map(|row| row.map(Into::into)).map_err(failed)
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let rows = query(&statement).fetch_all(&mut **self.0.lock().await).await;
        rows.map(|rows| rows.into_iter().map(Into::into).collect()).map_err(failed)
    }
}

//! All or nothing, and again if the database asks for it.
//!
//! Only serialization failures and deadlocks are tried again, because only then has the server
//! said that nothing happened. A broken connection is the caller's to judge: a commit may have
//! arrived.

use std::{future::Future, marker::PhantomData, ops::Deref, pin::Pin, time::Duration};

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult,
    Statement, TransactionTrait,
};
use tracing::{Instrument, Span, debug, field, info_span};

use crate::notify::telling;
use crate::{Error, error};

/// Conflicts that outlast this many attempts are a design fault, not bad luck.
const ATTEMPTS_MAX: u32 = 5;
/// First pause after a conflict; doubled each time, then shortened at random so that twins part.
const PAUSE_FIRST: Duration = Duration::from_millis(5);

const SERIALIZATION_FAILURE: &str = "40001";
const DEADLOCK: &str = "40P01";

/// What the work inside [`in_transaction`] returns.
pub type Work<'t, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 't>>;

/// The open transaction as the work inside [`in_transaction`] sees it.
///
/// A reference to sea-orm's transaction; `'env` lets the work borrow from its surroundings.
#[derive(Debug, Clone, Copy)]
pub struct Transaction<'t, 'env: 't> {
    inner: &'t DatabaseTransaction,
    surroundings: PhantomData<&'t &'env ()>,
}

impl Deref for Transaction<'_, '_> {
    type Target = DatabaseTransaction;

    fn deref(&self) -> &DatabaseTransaction {
        self.inner
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Transaction<'_, '_> {
    fn get_database_backend(&self) -> DbBackend {
        self.inner.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.inner.execute_raw(statement).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.inner.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.inner.query_one_raw(statement).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.inner.query_all_raw(statement).await
    }
}

/// Runs `work` in one transaction: committed if it returns `Ok`, rolled back if not.
///
/// The work may run several times (see the module), so it must have no effect but in `tx`:
///
/// ```text
/// let id = in_transaction(&db, |tx| Box::pin(async move {
///     lease::fence(&tx, "indexer", "l1:sepolia", epoch).await?;
///     blocks::insert(&tx, block).await
/// })).await?;
/// ```
///
/// # Errors
/// The error of the work, or its conversion of a [`store::Error`](Error) when the transaction
/// itself fails.
pub async fn in_transaction<'env, T, E, F>(db: &DatabaseConnection, mut work: F) -> Result<T, E>
where
    F: for<'t> FnMut(Transaction<'t, 'env>) -> Work<'t, T, E> + Send,
    T: Send,
    E: From<Error> + std::error::Error + Send + 'static,
{
    let mut attempt = 1;
    loop {
        let span = info_span!(
            "sql.transaction",
            otel.kind = "client",
            db.system = "postgresql",
            db.transaction.attempt = attempt,
            db.transaction.outcome = field::Empty,
        );
        match telling(db, once(db, &mut work)).instrument(span).await {
            Err(error) if attempt < ATTEMPTS_MAX && is_conflict(&error) => {
                debug!(attempt, "transaction met a conflict and is tried again");
                tokio::time::sleep(pause_after(attempt)).await;
                attempt += 1;
            }
            result => return result,
        }
    }
}

/// Whether the server rolled the transaction back because of others, so that it can be tried again.
pub fn is_conflict(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error::sqlstate(error).as_deref(), Some(SERIALIZATION_FAILURE | DEADLOCK))
}

/// Whether the server refused the values themselves (SQLSTATE classes 22 and 23): certainly
/// rolled back, and bound to fail again.
pub fn is_bad_value(error: &(dyn std::error::Error + 'static)) -> bool {
    error::sqlstate(error).is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
}

async fn once<'env, T, E, F>(db: &DatabaseConnection, work: &mut F) -> Result<T, E>
where
    F: for<'t> FnMut(Transaction<'t, 'env>) -> Work<'t, T, E> + Send,
    E: From<Error>,
{
    let failed = |step| move |source| E::from(Error::Transaction { step, source });
    let tx = db.begin().await.map_err(failed("beginning"))?;
    match work(Transaction { inner: &tx, surroundings: PhantomData }).await {
        Ok(value) => {
            tx.commit().await.map_err(failed("committing"))?;
            Span::current().record("db.transaction.outcome", "committed");
            Ok(value)
        }
        Err(error) => {
            Span::current().record("db.transaction.outcome", "rolled back");
            // The reason of the failure matters more than a rollback that failed too: the server
            // rolls back by itself when the connection is gone.
            if let Err(source) = tx.rollback().await {
                debug!(%source, "rollback failed");
            }
            Err(error)
        }
    }
}

fn pause_after(attempt: u32) -> Duration {
    let full = PAUSE_FIRST * 2_u32.pow(attempt);
    full.mul_f64(rand::random_range(0.5..1.0))
}

//! A connection that is kept between statements, for a caller whose every round trip counts.
//!
//! A pool asks a connection for a sign of life each time it lends it out: that is a round trip more for each statement.
//! Kept, it is asked once in a while. One that broke meanwhile is replaced, and the statement is sent again: only for
//! statements that are harmless twice.

use std::time::{Duration, Instant};

use sea_orm::{DatabaseConnection, DbErr, QueryResult, RuntimeErr};
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use tokio::sync::Mutex;

use crate::rows::{Array, Rows};
use crate::{Error, is_away};

/// Then it goes back to the pool, whose limits on the age of connections so hold here, too.
const KEPT_MAX: Duration = Duration::from_secs(60);

/// One connection of a pool, kept. Statements wait for each other.
#[derive(Debug)]
pub struct Standing {
    db: DatabaseConnection,
    kept: Mutex<Option<Kept>>,
}

#[derive(Debug)]
struct Kept {
    connection: PoolConnection<Postgres>,
    since: Instant,
}

impl Standing {
    /// Connects when first used.
    pub fn new(db: DatabaseConnection) -> Self {
        Self { db, kept: Mutex::const_new(None) }
    }

    /// Calls the function that the rows are for. It may be called twice if the connection breaks.
    ///
    /// # Errors
    /// When no connection can be had, or the server refuses; a kept connection that broke is replaced first.
    pub async fn call(&self, rows: &Rows) -> Result<Vec<QueryResult>, Error> {
        let mut place = self.kept.lock().await;
        let kept = place.take().filter(|kept| kept.since.elapsed() < KEPT_MAX);
        let was_kept = kept.is_some();
        let mut kept = match kept {
            Some(kept) => kept,
            None => self.fresh().await?,
        };
        let mut answer = ask(&mut kept.connection, rows).await;
        if was_kept && answer.as_ref().is_err_and(|error| is_away(error)) {
            // Nobody looked whether it was still alive: the server may have been restarted long ago.
            drop(kept);
            kept = self.fresh().await?;
            answer = ask(&mut kept.connection, rows).await;
        }
        if !answer.as_ref().is_err_and(|error| is_away(error)) {
            *place = Some(kept);
        }
        answer
    }

    async fn fresh(&self) -> Result<Kept, Error> {
        let acquired = self.db.get_postgres_connection_pool().acquire().await;
        // Whatever keeps us from having one, the same statement may succeed later.
        let away = |source: sqlx::Error| DbErr::Conn(RuntimeErr::SqlxError(source.into()));
        let connection = acquired.map_err(away).map_err(Error::at("taking a connection"))?;
        Ok(Kept { connection, since: Instant::now() })
    }
}

async fn ask(connection: &mut PoolConnection<Postgres>, rows: &Rows) -> Result<Vec<QueryResult>, Error> {
    let query = sqlx::query(sqlx::AssertSqlSafe(rows.call()));
    let query = rows.columns().iter().fold(query, |query, column| query.bind(Array(column)));
    let answer = query.fetch_all(&mut **connection).await;
    let answer = answer.map_err(failed).map_err(Error::at("calling a function"))?;
    Ok(answer.into_iter().map(QueryResult::from).collect())
}

fn failed(source: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(source.into()))
}

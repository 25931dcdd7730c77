//! The way to the database: one pool for each service, with limits on everything.

use std::time::Duration;

use sea_orm::DatabaseConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection};

use crate::Error;

/// A request that waits longer than this for a connection is better refused. Below the shortest deadline of a
/// method (2 s), so that callers hear that the database is away, and not only that time has run out.
const ACQUIRE_MAX: Duration = Duration::from_millis(1_500);
/// The first connection may take longer: at a start everything else starts, too.
const FIRST_MAX: Duration = Duration::from_secs(10);
/// Statements of the services are short; whatever runs longer holds locks that others need.
const STATEMENT_MAX: Duration = Duration::from_secs(30);
/// Shorter than the statement limit, so that a lock wait is reported as one.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(10);
/// A transaction whose client has gone silent must not keep its locks.
const IDLE_IN_TRANSACTION_MAX: Duration = Duration::from_secs(60);
/// Connections are renewed, so that a failover or a changed setting reaches all in the end.
const LIFETIME_MAX: Duration = Duration::from_secs(30 * 60);
/// A statement slower than this is logged as a warning by the driver.
const SLOW: Duration = Duration::from_secs(1);

/// How a pool behaves. Every limit has a default.
#[derive(Debug, Clone)]
pub struct Options {
    /// Upper bound of connections of this pool.
    pub connections_max: u32,
    /// What `pg_stat_activity` shows, so that a lock can be traced to a service.
    pub application_name: String,
    /// Longest statement.
    pub statement_max: Duration,
    /// Longest wait for one lock.
    pub lock_wait_max: Duration,
    /// Longest wait for a connection of the pool.
    pub acquire_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections_max: 10,
            application_name: "seqd".to_owned(),
            statement_max: STATEMENT_MAX,
            lock_wait_max: LOCK_WAIT_MAX,
            acquire_max: ACQUIRE_MAX,
        }
    }
}

/// Opens a pool of at most `max` connections with the default limits.
///
/// # Errors
/// When the URL is unusable or no connection can be made now.
pub async fn connect(url: &str, max: u32) -> Result<DatabaseConnection, Error> {
    connect_with(url, &Options { connections_max: max, ..Options::default() }).await
}

/// Opens a pool with limits of one's own.
///
/// # Errors
/// When the URL is unusable or no connection can be made now.
pub async fn connect_with(url: &str, options: &Options) -> Result<DatabaseConnection, Error> {
    let driver = driver_options(url, options)?;
    // Without the pool, which would repeat what fails and tell of nothing but its own time-out.
    let first = tokio::time::timeout(FIRST_MAX, driver.connect()).await;
    let first = first.map_err(|_| Error::Connect(sqlx::Error::PoolTimedOut))?.map_err(Error::Connect)?;
    // It has served its purpose; what goes wrong while it ends harms nobody.
    let _ = first.close().await;
    let pool = PgPoolOptions::new()
        .max_connections(options.connections_max)
        .acquire_timeout(options.acquire_max)
        .max_lifetime(LIFETIME_MAX)
        .connect_lazy_with(driver);
    // Not by sea-orm's `Database::connect`: it writes the whole URL into a span and into errors.
    Ok(DatabaseConnection::from(pool))
}

fn driver_options(url: &str, options: &Options) -> Result<PgConnectOptions, Error> {
    let Options { connections_max: _, application_name, statement_max, lock_wait_max, acquire_max: _ } =
        options;
    let known_scheme = url.starts_with("postgres://") || url.starts_with("postgresql://");
    let driver: PgConnectOptions = known_scheme.then(|| url.parse().ok()).flatten().ok_or(Error::Url)?;
    Ok(driver
        .application_name(application_name)
        .options([
            ("statement_timeout", statement_max.as_millis().to_string()),
            ("lock_timeout", lock_wait_max.as_millis().to_string()),
            ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_MAX.as_millis().to_string()),
        ])
        .log_statements("trace".parse().expect("a level of the log crate"))
        .log_slow_statements("warn".parse().expect("a level of the log crate"), SLOW))
}

/// Asks the database for a sign of life, for readiness checks.
///
/// # Errors
/// When no connection can be had or the server does not answer.
pub async fn ping(db: &DatabaseConnection) -> Result<(), Error> {
    db.ping().await.map_err(Error::at("pinging the database"))
}

//! Who holds leases, and whether he is still there.
//!
//! The time to live of a lease is for holders that cannot be asked: stopped, or cut off. A process that was killed is
//! told apart from them by the server: the process holds an advisory lock on a connection of its own, which the
//! operating system closes with the process. Whoever wants the lease and can have that lock knows that nobody is left.
//! A holder that only lost that connection may be overtaken too early; the fence keeps this harmless.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use sea_orm::DatabaseConnection;
use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions, Connection};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::Error;
use crate::renewal::Renewals;

/// Many leases have one holder: the server is asked no more often than this whether it still knows of us.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A connection that is silent for longer is lost: a cut cable says nothing, and a lease must not wait for it.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// A process that holds leases. Clones are the same one; it is gone when the last of them is.
#[derive(Clone)]
pub struct Holder(Arc<Alive>);

/// A holder that may be gone.
#[derive(Clone)]
pub(crate) struct WeakHolder(Weak<Alive>);

impl WeakHolder {
    pub(crate) fn upgrade(&self) -> Option<Holder> {
        self.0.upgrade().map(Holder)
    }
}

struct Alive {
    name: String,
    renewals: Renewals,
    session: Mutex<Option<Session>>,
}

struct Session {
    connection: PgConnection,
    /// When the server last answered.
    seen: Instant,
}

impl Holder {
    /// A new one, unlike every other; the name of the service is for people.
    pub fn new(service: &str) -> Self {
        let name = format!("{service} pid {} {:016x}", std::process::id(), rand::random::<u64>());
        Self(Arc::new(Alive { name, renewals: Renewals::default(), session: Mutex::new(None) }))
    }

    /// What stands in the row of the lease.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub(crate) fn downgrade(&self) -> WeakHolder {
        WeakHolder(Arc::downgrade(&self.0))
    }

    /// Its leases that are renewed.
    pub(crate) fn renewals(&self) -> &Renewals {
        &self.0.renewals
    }

    /// Takes care that the server knows of us.
    ///
    /// # Errors
    /// When no connection can be made.
    pub(crate) async fn appear(&self, db: &DatabaseConnection) -> Result<(), Error> {
        let mut session = self.0.session.lock().await;
        if let Some(known) = session.as_mut() {
            if known.seen.elapsed() < LOOK_EVERY {
                return Ok(());
            }
            if matches!(timeout(ANSWER_MAX, known.connection.ping()).await, Ok(Ok(()))) {
                known.seen = Instant::now();
                return Ok(());
            }
        }
        // Until it is made again, others take us for gone.
        *session = None;
        let made = timeout(ANSWER_MAX, self.connect(db)).await;
        let connection = made.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(Error::Connect)?;
        *session = Some(Session { connection, seen: Instant::now() });
        Ok(())
    }

    async fn connect(&self, db: &DatabaseConnection) -> Result<PgConnection, sqlx::Error> {
        let mut connection = db.get_postgres_connection_pool().connect_options().connect().await?;
        // Shared: the server may not have noticed yet that the connection before has ended.
        let lock = sqlx::query("SELECT pg_advisory_lock_shared(hashtextextended($1, 0))").bind(self.name());
        lock.execute(&mut connection).await?;
        Ok(connection)
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Holder").field(&self.0.name).finish()
    }
}

//! Who holds leases, and whether he is still there.
//!
//! The time to live of a lease is for holders that cannot be asked: stopped, or cut off. A process that was killed is
//! told apart from them by the server: the process holds an advisory lock on a connection of its own, which the
//! operating system closes with the process. Whoever wants the lease and can have that lock knows that nobody is left.
//! A holder that only lost that connection may be overtaken too early; the fence keeps this harmless.

use std::fmt;
use std::sync::Arc;

use sea_orm::DatabaseConnection;
use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions, Connection};
use tokio::sync::Mutex;

use crate::Error;

/// A process that holds leases. Clones are the same one; it is gone when the last of them is.
#[derive(Clone)]
pub struct Holder(Arc<Alive>);

struct Alive {
    name: String,
    session: Mutex<Option<PgConnection>>,
}

impl Holder {
    /// A new one, unlike every other; the name of the service is for people.
    pub fn new(service: &str) -> Self {
        let name = format!("{service} pid {} {:016x}", std::process::id(), rand::random::<u64>());
        Self(Arc::new(Alive { name, session: Mutex::new(None) }))
    }

    /// What stands in the row of the lease.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Takes care that the server knows of us: once the connection is made, one ping.
    ///
    /// # Errors
    /// When no connection can be made.
    pub(crate) async fn appear(&self, db: &DatabaseConnection) -> Result<(), Error> {
        let mut session = self.0.session.lock().await;
        if let Some(connection) = session.as_mut()
            && connection.ping().await.is_ok()
        {
            return Ok(());
        }
        // The pool is away from here on until the next renewal, should this fail.
        *session = None;
        let options = db.get_postgres_connection_pool().connect_options();
        let mut connection = options.connect().await.map_err(Error::Connect)?;
        // Shared: the server may not have noticed yet that the connection before has ended.
        sqlx::query("SELECT pg_advisory_lock_shared(hashtextextended($1, 0))")
            .bind(self.name())
            .execute(&mut connection)
            .await
            .map_err(Error::Connect)?;
        *session = Some(connection);
        Ok(())
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Holder").field(&self.0.name).finish()
    }
}

//! Postgres as the services use it: pool, transactions, column types, leases, group commit, bulk inserts, standing
//! connections, idempotency and wake-ups.
//!
//! Knows the shape of the tables that every schema has (`lease`, `request`; made by the
//! `migrations` crate) and no other table. Queries belong to the services' `db/` folders.
#![deny(missing_docs)]

pub mod bulk;
pub mod column;
mod error;
pub mod group_commit;
pub mod holder;
pub mod idempotency;
pub mod lease;
pub mod notify;
pub mod pool;
mod renewal;
pub mod rows;
pub mod standing;
mod statement;
pub mod transaction;

/// For COPY and everything else that needs the driver itself: take the pool with
/// `db.get_postgres_connection_pool()`.
pub use sqlx;

pub use error::{Error, is_away, sqlstate};
pub use holder::Holder;
pub use pool::{Options, connect, connect_with, ping};
pub use statement::statement;
pub use transaction::{Transaction, in_transaction};

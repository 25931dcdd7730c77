//! Schema changes of all services, forward only, run by `seqd migrate` and by nothing else.
//!
//! Each service owns one schema and writes its tables in `src/<service>/`. Its role may use that
//! schema and no other; tables that it lists as append-only can be read and added to, not changed; those that it lists as read-only are
//! written by functions of the schema.
//!
//! A migration must suit the code before and after it: add, fill, switch, remove later.

mod database;
pub mod gateway;
pub mod indexer;
pub mod keys;
pub mod lifecycle;
mod migration;
pub mod rewards;
mod roles;
mod scram;

pub use database::{Error, Report, expected, fingerprint, pending, run};
pub use migration::{Migration, frame, sql};
pub use roles::{Passwords, database_grants, role_of};

/// A service that owns a schema.
#[derive(Debug, Clone, Copy)]
pub struct Owner {
    /// Name of its schema.
    pub schema: &'static str,
    /// Tables that its role may only add to and read.
    pub append_only: &'static [&'static str],
    /// Tables that its role may only read, because functions of the schema write them.
    pub read_only: &'static [&'static str],
    /// Its schema changes, in order.
    pub migrations: fn() -> Vec<Migration>,
}

/// Every owner of a schema.
pub const OWNERS: [Owner; 5] = [
    Owner {
        schema: keys::SCHEMA,
        append_only: keys::APPEND_ONLY,
        read_only: keys::READ_ONLY,
        migrations: keys::migrations,
    },
    Owner {
        schema: indexer::SCHEMA,
        append_only: indexer::APPEND_ONLY,
        read_only: &[],
        migrations: indexer::migrations,
    },
    Owner {
        schema: lifecycle::SCHEMA,
        append_only: lifecycle::APPEND_ONLY,
        read_only: &[],
        migrations: lifecycle::migrations,
    },
    Owner {
        schema: rewards::SCHEMA,
        append_only: rewards::APPEND_ONLY,
        read_only: &[],
        migrations: rewards::migrations,
    },
    Owner {
        schema: gateway::SCHEMA,
        append_only: gateway::APPEND_ONLY,
        read_only: &[],
        migrations: gateway::migrations,
    },
];

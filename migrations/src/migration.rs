//! A migration is a name and a piece of SQL.

use std::borrow::Cow;

use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

/// One step forward, applied in one transaction.
#[derive(Debug, Clone)]
pub struct Migration {
    pub(crate) name: &'static str,
    pub(crate) sql: Cow<'static, str>,
}

/// A migration from SQL, as in `sql("m20261122_000010_keys_key", include_str!("m002_key.sql"))`.
///
/// Names are unique among all services and never change; the SQL of a released one neither.
/// Qualify every name with the schema.
pub fn sql(name: &'static str, sql: &'static str) -> Migration {
    Migration { name, sql: Cow::Borrowed(sql) }
}

/// The first migration of every service: its schema and the tables that the `store` crate works on.
pub fn frame(name: &'static str, schema: &'static str) -> Migration {
    let sql = format!(
        r"CREATE SCHEMA {schema};

-- What may run only once at a time: see store::lease.
CREATE TABLE {schema}.lease (
    name        text PRIMARY KEY,
    epoch       bigint NOT NULL CHECK (epoch > 0),
    holder      text NOT NULL,
    expires_at  timestamptz NOT NULL
);

-- Requests that were handled, with their answers: see store::idempotency.
CREATE TABLE {schema}.request (
    request_id  text NOT NULL CHECK (length(request_id) BETWEEN 1 AND 200),
    method      text NOT NULL,
    fingerprint bytea NOT NULL,
    response    bytea,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (request_id, method)
);
CREATE INDEX request_created_at ON {schema}.request (created_at);
"
    );
    Migration { name, sql: Cow::Owned(sql) }
}

impl Migration {
    /// Its name, unique among all services.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl MigrationName for Migration {
    fn name(&self) -> &str {
        self.name
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), sea_orm::DbErr> {
        use sea_orm::ConnectionTrait;

        manager.get_connection().execute_unprepared(&self.sql).await?;
        Ok(())
    }
}

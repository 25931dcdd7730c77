//! Bringing one database up to date, and telling whether it is.

use std::{collections::HashSet, time::Duration};

use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr};
use sea_orm_migration::{MigrationTrait, MigratorTrait};
use sha2::{Digest, Sha256};
use store::statement;

use crate::{Migration, OWNERS, roles, roles::Passwords};

/// One run at a time for each database; the number only has to be ours.
const ADVISORY_LOCK: i64 = 0x5e90_0001;
/// A migration that cannot get its lock soon would hold up everyone behind it: fail instead.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);
/// Filling a big table takes its time.
const STATEMENT_MAX: Duration = Duration::from_secs(30 * 60);

const UNDEFINED_TABLE: &str = "42P01";

/// Why the database could not be brought up to date. Migrations applied before stay applied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database could not be reached, or a transaction on it failed.
    #[error("working on the database")]
    Store(#[from] store::Error),
    /// A statement of the migrator itself failed.
    #[error("{step}")]
    Statement {
        /// What was being done.
        step: &'static str,
        /// Why it failed.
        #[source]
        source: DbErr,
    },
    /// A migration failed, or the database has one that this program does not know.
    #[error("applying the migrations")]
    Migrate(#[source] DbErr),
    /// A role could not be made or changed.
    #[error("setting up role {role}")]
    Role {
        /// The role.
        role: String,
        /// Why it failed.
        #[source]
        source: DbErr,
    },
    /// The password has other characters than printable ASCII, or is empty.
    #[error("the password of role {role} must be printable ASCII")]
    Password {
        /// The role.
        role: String,
    },
    /// A password was given for a schema that nobody owns.
    #[error("no service owns a schema named {0}")]
    UnknownSchema(String),
    /// A table listed as append-only is not there.
    #[error("{schema}.{table} is listed as append-only but does not exist")]
    UnknownTable {
        /// Its schema.
        schema: &'static str,
        /// Its name.
        table: &'static str,
    },
}

impl Error {
    pub(crate) fn at(step: &'static str) -> impl FnOnce(DbErr) -> Self {
        move |source| Self::Statement { step, source }
    }
}

/// What a run has done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Names of the migrations that it applied, in order.
    pub applied: Vec<String>,
}

struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        all().map(|migration| Box::new(migration) as Box<dyn MigrationTrait>).collect()
    }
}

/// Brings the database of `admin_url` up to date: roles, schemas, tables, grants. Harmless twice
/// and side by side.
///
/// The role in the URL must own the database and be allowed to create roles.
///
/// # Errors
/// See [`Error`]; each migration is applied whole or not at all.
pub async fn run(admin_url: &str, passwords: &Passwords) -> Result<Report, Error> {
    let options = store::Options {
        // One connection, because it carries the advisory lock.
        connections_max: 1,
        application_name: "seqd migrate".to_owned(),
        statement_max: STATEMENT_MAX,
        lock_wait_max: LOCK_WAIT_MAX,
        ..store::Options::default()
    };
    let db = store::connect_with(admin_url, &options).await?;
    let report = run_on(&db, passwords).await;
    // Closing ends the session and so gives the lock back, whatever happened. The result of the run
    // matters more than that of closing.
    let _ = db.close().await;
    report
}

async fn run_on(db: &DatabaseConnection, passwords: &Passwords) -> Result<Report, Error> {
    // Whoever else migrates may need longer than one lock wait.
    db.execute_unprepared("SET lock_timeout = 0").await.map_err(Error::at("preparing to wait"))?;
    let lock = statement("SELECT pg_advisory_lock($1)", [ADVISORY_LOCK.into()]);
    db.execute_raw(lock).await.map_err(Error::at("waiting for another migration"))?;
    db.execute_unprepared("RESET lock_timeout").await.map_err(Error::at("preparing to migrate"))?;

    roles::ensure(db, passwords).await?;
    let pending = pending(db).await?;
    Migrator::up(db, None).await.map_err(Error::Migrate)?;
    roles::grant(db).await?;
    Ok(Report { applied: pending.into_iter().map(str::to_owned).collect() })
}

/// Names of all migrations that this program knows, in the order of their application.
pub fn expected() -> Vec<&'static str> {
    all().map(|migration| migration.name).collect()
}

/// Names of the migrations that this program expects and the database has not had: not ready to
/// serve while there are any. Migrations that only a newer program knows do not count.
///
/// Any of the services' roles may ask.
///
/// # Errors
/// When the database cannot be asked.
pub async fn pending<C: ConnectionTrait>(db: &C) -> Result<Vec<&'static str>, Error> {
    let sql = "SELECT version FROM public.seaql_migrations";
    let rows = match db.query_all_raw(statement(sql, [])).await {
        Err(error) if store::sqlstate(&error).as_deref() == Some(UNDEFINED_TABLE) => return Ok(expected()),
        rows => rows.map_err(Error::at("reading the applied migrations"))?,
    };
    let applied: HashSet<String> = rows
        .iter()
        .map(|row| row.try_get("", "version"))
        .collect::<Result<_, _>>()
        .map_err(Error::at("reading the applied migrations"))?;
    Ok(expected().into_iter().filter(|name| !applied.contains(*name)).collect())
}

/// A hash of everything that `run` brings about, so that copies of a migrated database can be
/// told apart.
pub fn fingerprint() -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update(text.len().to_be_bytes());
        hash.update(text);
    };
    for Migration { name, sql } in all() {
        add(name);
        add(&sql);
    }
    for owner in OWNERS {
        owner.append_only.iter().for_each(|table| add(table));
        add("read only");
        owner.read_only.iter().for_each(|table| add(table));
    }
    // Grants are made by code.
    add(include_str!("roles.rs"));
    hash.finalize().into()
}

fn all() -> impl Iterator<Item = Migration> {
    OWNERS.into_iter().flat_map(|owner| (owner.migrations)())
}

//! Roles of the services and what they may do: each its own schema, and no other.
//!
//! Roles belong to the cluster and are shared by its databases; grants belong to a database.

use std::{collections::BTreeMap, fmt};

use sea_orm::{ConnectionTrait, DatabaseConnection, FromQueryResult};
use store::statement;

use crate::{OWNERS, Owner, database::Error, scram};

/// Two databases of one cluster may be migrated at once and touch the same role.
const ATTEMPTS_MAX: u32 = 5;

const DUPLICATE_OBJECT: &str = "42710";
const UNIQUE_VIOLATION: &str = "23505";
/// "tuple concurrently updated", as the catalog calls a race for a role.
const INTERNAL: &str = "XX000";

/// Passwords for the roles, by schema. A role without one can log in only where the server asks
/// for none, or for a certificate.
#[derive(Clone, Default)]
pub struct Passwords(BTreeMap<&'static str, String>);

impl Passwords {
    /// Adds the password for the role of `schema`; `run` refuses a schema that nobody owns.
    #[must_use]
    pub fn with(mut self, schema: &'static str, password: impl Into<String>) -> Self {
        self.0.insert(schema, password.into());
        self
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The role of the service that owns `schema`.
pub fn role_of(schema: &str) -> String {
    format!("seq_{schema}")
}

/// Statements that let the roles, and nobody else, into `database`. They can be given from any
/// database of the cluster; a copy made from a template needs them again.
pub fn database_grants(database: &str) -> String {
    let roles = OWNERS.map(|owner| role_of(owner.schema)).join(", ");
    format!(
        "REVOKE ALL ON DATABASE \"{database}\" FROM PUBLIC; GRANT CONNECT ON DATABASE \"{database}\" TO {roles};"
    )
}

/// Makes the roles that are missing and sets the passwords that are given.
pub(crate) async fn ensure(db: &DatabaseConnection, passwords: &Passwords) -> Result<(), Error> {
    if let Some(unknown) =
        passwords.0.keys().find(|schema| OWNERS.iter().all(|owner| owner.schema != **schema))
    {
        return Err(Error::UnknownSchema((*unknown).to_owned()));
    }
    for Owner { schema, .. } in OWNERS {
        let role = role_of(schema);
        let attributes = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS";
        if !exists(db, &role).await? {
            apply(db, &role, &format!("CREATE ROLE {role} {attributes}")).await?;
        }
        if let Some(password) = passwords.0.get(schema) {
            let verifier = scram::verifier(password).ok_or_else(|| Error::Password { role: role.clone() })?;
            apply(db, &role, &format!("ALTER ROLE {role} PASSWORD '{verifier}'")).await?;
        }
    }
    Ok(())
}

/// Gives each role its rights on the current database, and takes away all others it had there.
pub(crate) async fn grant(db: &DatabaseConnection) -> Result<(), Error> {
    store::in_transaction(db, |tx| {
        Box::pin(async move {
            let database: String = one(&tx, "SELECT current_database()::text AS one").await?;
            run(&tx, &database_grants(&database)).await?;
            // Services look there for the migrations that have been applied, and may make nothing.
            run(&tx, "REVOKE ALL ON SCHEMA public FROM PUBLIC").await?;
            for owner in OWNERS {
                let role = role_of(owner.schema);
                run(
                    &tx,
                    &format!("GRANT USAGE ON SCHEMA public TO {role}; GRANT SELECT ON public.seaql_migrations TO {role};"),
                )
                .await?;
                grant_schema(&tx, &owner).await?;
            }
            Ok(())
        })
    })
    .await
}

async fn grant_schema<C: ConnectionTrait>(tx: &C, owner: &Owner) -> Result<(), Error> {
    let Owner { schema, append_only, read_only, migrations: _ } = owner;
    let role = role_of(schema);
    run(
        tx,
        &format!(
            "REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role};
             REVOKE ALL ON ALL SEQUENCES IN SCHEMA {schema} FROM {role};
             REVOKE ALL ON SCHEMA {schema} FROM PUBLIC;
             REVOKE ALL ON SCHEMA {schema} FROM {role};
             GRANT USAGE ON SCHEMA {schema} TO {role};
             GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role};"
        ),
    )
    .await?;
    let tables = tables_of(tx, schema).await?;
    let mut listed = append_only.iter().chain(*read_only);
    if let Some(missing) = listed.find(|name| tables.iter().all(|table| table.name != **name)) {
        return Err(Error::UnknownTable { schema, table: missing });
    }
    for Table { name, parent, writable } in &tables {
        let is_of = |list: &[&str]| {
            list.contains(&name.as_str()) || parent.as_deref().is_some_and(|parent| list.contains(&parent))
        };
        let rights = if !writable || is_of(read_only) {
            "SELECT"
        } else if is_of(append_only) {
            "SELECT, INSERT"
        } else {
            "SELECT, INSERT, UPDATE, DELETE"
        };
        run(tx, &format!("GRANT {rights} ON {schema}.\"{name}\" TO {role}")).await?;
    }
    Ok(())
}

#[derive(Debug, FromQueryResult)]
struct Table {
    name: String,
    /// The table that this one is a partition of.
    parent: Option<String>,
    writable: bool,
}

async fn tables_of<C: ConnectionTrait>(tx: &C, schema: &str) -> Result<Vec<Table>, Error> {
    let sql = "SELECT c.relname::text AS name, p.relname::text AS parent, c.relkind IN ('r', 'p') AS writable
                 FROM pg_class c
                 LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
                 LEFT JOIN pg_class p ON p.oid = i.inhparent
                WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
                ORDER BY c.relname";
    Table::find_by_statement(statement(sql, [schema.into()]))
        .all(tx)
        .await
        .map_err(Error::at("listing tables"))
}

async fn exists(db: &DatabaseConnection, role: &str) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM pg_roles WHERE rolname = $1";
    let row =
        db.query_one_raw(statement(sql, [role.into()])).await.map_err(Error::at("looking for a role"))?;
    Ok(row.is_some())
}

/// Runs a statement on a role that others may be changing in this moment.
async fn apply(db: &DatabaseConnection, role: &str, sql: &str) -> Result<(), Error> {
    let mut attempt = 1;
    loop {
        let Err(source) = db.execute_unprepared(sql).await else { return Ok(()) };
        match store::sqlstate(&source).as_deref() {
            Some(DUPLICATE_OBJECT | UNIQUE_VIOLATION) => return Ok(()),
            Some(INTERNAL) if attempt < ATTEMPTS_MAX => attempt += 1,
            _ => return Err(Error::Role { role: role.to_owned(), source }),
        }
    }
}

async fn run<C: ConnectionTrait>(tx: &C, sql: &str) -> Result<(), Error> {
    tx.execute_unprepared(sql).await.map_err(Error::at("granting rights"))?;
    Ok(())
}

async fn one<C: ConnectionTrait>(tx: &C, sql: &str) -> Result<String, Error> {
    let row = tx.query_one_raw(statement(sql, [])).await.map_err(Error::at("asking for the database"))?;
    row.ok_or(Error::Store(store::Error::Row { what: "the current database" }))?
        .try_get("", "one")
        .map_err(Error::at("asking for the database"))
}

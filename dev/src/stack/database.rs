//! The database of a stack: on the server of `DATABASE_URL`, or on one of our own.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use migrations::{OWNERS, Passwords, role_of};
use runtime::config::Secret;
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use testkit::postgres::{self, Cluster};

use super::home::{Database as Saved, Home};
use crate::announce::{Announce, State};

#[derive(Debug)]
pub(super) struct Database {
    cluster: Cluster,
    pub(super) saved: Saved,
    /// Of the server, as administrator.
    server: Url,
    dropped: bool,
}

impl Database {
    /// Starts or finds the server and makes the database if it is not there.
    pub(super) async fn start(home: &Home, saved: Option<Saved>, announce: &Announce) -> Result<Self> {
        if Cluster::must_be_fetched() {
            announce.state(State::Downloading);
        }
        announce.state(State::StartingPostgres);
        let options = postgres::Options { dir: Some(home.path("postgres")), durable: home.is_kept() };
        let cluster = Cluster::given_or_start(options).await.context("starting PostgreSQL")?;
        let server = Url::parse(cluster.url())?;
        let saved = saved.unwrap_or_else(fresh);
        let admin = connect(&server.to_string()).await?;
        let known = Statement::from_sql_and_values(
            admin.get_database_backend(),
            "SELECT 1 FROM pg_database WHERE datname = $1",
            [saved.name.clone().into()],
        );
        if admin.query_one_raw(known).await.context("looking for the database")?.is_none() {
            let create = format!("CREATE DATABASE {}", saved.name);
            admin.execute_unprepared(&create).await.context("creating the database")?;
        }
        // On a server of our own the database goes with its folder.
        let dropped = cluster.pid().is_none() && !home.is_kept();
        Ok(Self { cluster, saved, server, dropped })
    }

    /// Brings the schemas up to date.
    pub(super) async fn migrate(&self) -> Result<()> {
        let passwords = OWNERS.iter().fold(Passwords::default(), |passwords, owner| {
            match self.saved.passwords.get(owner.schema) {
                Some(password) => passwords.with(owner.schema, password),
                None => passwords,
            }
        });
        migrations::run(&self.admin_url(), &passwords).await.context("migrating the database")?;
        Ok(())
    }

    /// Process id of the server, if it is ours.
    pub(super) fn pid(&self) -> Option<u32> {
        self.cluster.pid()
    }

    pub(super) fn admin_url(&self) -> String {
        self.server.at(&self.saved.name).to_string()
    }

    /// URL of each service's own role, as files, so that no configuration holds a password.
    pub(super) fn urls(&self, home: &Home) -> Result<BTreeMap<String, Secret>> {
        let of_service = |(schema, password): (&String, &String)| {
            let url = self.server.at(&self.saved.name).by(&role_of(schema), password);
            let file = home.write(&format!("database-{schema}.url"), &url.to_string())?;
            Ok((schema.clone(), Secret::file(file)))
        };
        self.saved.passwords.iter().map(of_service).collect()
    }

    pub(super) fn admin_secret(&self, home: &Home) -> Result<Secret> {
        Ok(Secret::file(home.write("database-admin.url", &self.admin_url())?))
    }

    pub(super) async fn stop(self) -> Result<()> {
        if self.dropped {
            let admin = connect(&self.server.to_string()).await?;
            let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.saved.name);
            admin.execute_unprepared(&drop).await.context("dropping the database")?;
        }
        // Stopping the server waits for it.
        tokio::task::spawn_blocking(move || drop(self.cluster)).await.context("stopping PostgreSQL")
    }
}

fn fresh() -> Saved {
    let password = || hex::encode(rand::random::<[u8; 16]>());
    let passwords = OWNERS.iter().map(|owner| (owner.schema.to_owned(), password())).collect();
    // Another stack on the same server has another.
    let name = format!("metis_dev_{}", hex::encode(rand::random::<[u8; 4]>()));
    Saved { name, passwords }
}

async fn connect(url: &str) -> Result<DatabaseConnection> {
    store::connect(url, 1).await.context("connecting to PostgreSQL as administrator")
}

/// `postgres://user:password@host:port/database?options`, taken apart.
#[derive(Debug, Clone)]
struct Url {
    credentials: Option<String>,
    host: String,
    database: String,
    options: String,
}

impl Url {
    fn parse(text: &str) -> Result<Self> {
        let Some(rest) = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"))
        else {
            bail!("DATABASE_URL must begin with postgres://");
        };
        let (rest, options) = rest.split_once('?').map_or((rest, ""), |(rest, options)| (rest, options));
        let (place, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, host) = match place.rsplit_once('@') {
            Some((credentials, host)) => (Some(credentials.to_owned()), host),
            None => (None, place),
        };
        Ok(Self {
            credentials,
            host: host.to_owned(),
            database: if database.is_empty() { "postgres".to_owned() } else { database.to_owned() },
            options: options.to_owned(),
        })
    }

    fn at(&self, database: &str) -> Self {
        Self { database: database.to_owned(), ..self.clone() }
    }

    fn by(&self, user: &str, password: &str) -> Self {
        Self { credentials: Some(format!("{user}:{password}")), ..self.clone() }
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { credentials, host, database, options } = self;
        let credentials = credentials.as_ref().map(|text| format!("{text}@")).unwrap_or_default();
        let options = if options.is_empty() { String::new() } else { format!("?{options}") };
        write!(f, "postgres://{credentials}{host}/{database}{options}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_to_another_database_and_another_role() {
        let table = [
            ("postgres://me:x@127.0.0.1:5432/postgres", "postgres://seq_keys:pw@127.0.0.1:5432/mine"),
            ("postgresql://localhost", "postgres://seq_keys:pw@localhost/mine"),
            ("postgres://me@db/a?sslmode=require", "postgres://seq_keys:pw@db/mine?sslmode=require"),
        ];
        for (given, expected) in table {
            let url = Url::parse(given).expect("a URL").at("mine").by("seq_keys", "pw");
            assert_eq!(url.to_string(), expected);
        }
        Url::parse("mysql://localhost").expect_err("another kind of server");
    }
}

//! A database of its own for every test: a copy of one that has had all migrations.

use std::{
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use migrations::{OWNERS, Passwords};
use sea_orm::DatabaseConnection;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use tokio::sync::OnceCell;

use crate::{Cluster, Error, process::is_alive, shared};

/// Prefix of the names of all our databases; also what may be removed.
const PREFIX: &str = "seqtest";
/// One program at a time builds the template or clears away; the number only has to be ours.
const ADVISORY_LOCK: i64 = 0x5e90_7e57;
/// A test has a handful of services, and the server has a bounded number of connections.
const CONNECTIONS_MAX: u32 = 8;

/// In SQL. Longer than any run of a test program.
const TEMPLATE_AGE_MAX: &str = "interval '6 hours'";

static TEMPLATE: OnceCell<Template> = OnceCell::const_new();
static COUNTER: AtomicU32 = AtomicU32::new(0);

#[derive(Debug)]
struct Template {
    server_url: String,
    name: String,
}

/// A fresh database with all migrations, dropped at the end of the test.
#[derive(Debug)]
pub struct TestDb {
    /// URL of this database for the superuser.
    pub admin_url: String,
    server_url: String,
    name: String,
}

/// Makes a database for one test.
///
/// # Panics
/// When there is no server or the migrations fail: no test can go on without.
pub async fn database() -> TestDb {
    TestDb::create().await.expect("a test has its own database")
}

impl TestDb {
    /// Makes a database with all migrations.
    ///
    /// # Errors
    /// When there is no server, or the migrations fail.
    pub async fn create() -> Result<Self, Error> {
        let Template { server_url, name: template } = TEMPLATE.get_or_try_init(template).await?;
        let name = fresh_name(template);
        let mut server = connect(server_url).await?;
        run(&mut server, "copying the template", format!("CREATE DATABASE {name} TEMPLATE {template}"))
            .await?;
        run(&mut server, "letting the roles in", migrations::database_grants(&name)).await?;
        close(server).await;
        Ok(Self { admin_url: with_database(server_url, &name), server_url: server_url.clone(), name })
    }

    /// Makes an empty database, for tests of the migrations themselves.
    ///
    /// # Errors
    /// When there is no server.
    pub async fn empty() -> Result<Self, Error> {
        let server_url = shared::shared_url().await?;
        let name = fresh_name(PREFIX);
        let mut server = connect(&server_url).await?;
        run(&mut server, "creating a database", format!("CREATE DATABASE {name} TEMPLATE template0")).await?;
        close(server).await;
        Ok(Self { admin_url: with_database(&server_url, &name), server_url, name })
    }

    /// Makes a database with all migrations on a server of the caller's own, which may be stopped.
    ///
    /// # Errors
    /// When the server does not answer, or the migrations fail.
    pub async fn on(cluster: &Cluster) -> Result<Self, Error> {
        let server_url = cluster.url().to_owned();
        let name = fresh_name(PREFIX);
        let mut server = connect(&server_url).await?;
        run(&mut server, "creating a database", format!("CREATE DATABASE {name} TEMPLATE template0")).await?;
        let admin_url = with_database(&server_url, &name);
        migrations::run(&admin_url, &passwords(&server_url)).await.map_err(Error::Migrate)?;
        run(&mut server, "letting the roles in", migrations::database_grants(&name)).await?;
        close(server).await;
        Ok(Self { admin_url, server_url, name })
    }

    /// URL of this database for the role of a service, by the name of its schema.
    ///
    /// # Panics
    /// When no service owns such a schema.
    pub fn url_for(&self, schema: &str) -> String {
        let owner = OWNERS.iter().find(|owner| owner.schema == schema).expect("a service owns the schema");
        let password = password_of(&self.server_url, owner.schema);
        with_credentials(&self.admin_url, &migrations::role_of(schema), &password)
    }

    /// A pool on this database as the role of a service.
    ///
    /// # Panics
    /// When no connection can be made.
    pub async fn connect(&self, schema: &str) -> DatabaseConnection {
        store::connect(&self.url_for(schema), CONNECTIONS_MAX)
            .await
            .expect("the role of the service can connect")
    }

    /// A pool on this database as superuser, to look where no service may.
    ///
    /// # Panics
    /// When no connection can be made.
    pub async fn admin(&self) -> DatabaseConnection {
        store::connect(&self.admin_url, CONNECTIONS_MAX).await.expect("the superuser can connect")
    }

    /// Passwords with which `migrations::run` sets the roles that [`TestDb::url_for`] uses.
    pub fn passwords(&self) -> Passwords {
        passwords(&self.server_url)
    }

    /// Name of this database.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A drop takes some 50 ms.
const DROP_WAIT: std::time::Duration = std::time::Duration::from_secs(1);

impl Drop for TestDb {
    fn drop(&mut self) {
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let url = self.server_url.clone();
        // A test's own runtime may be ending; what is left behind is cleared away by a later run.
        let (done, dropped) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || {
            let _done = done;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            runtime.block_on(async {
                let mut server = connect(&url).await.ok()?;
                run(&mut server, "dropping a database", sql).await.ok()?;
                close(server).await;
                Some(())
            })
        });
        // Not for ever: the server drops no database while any session is being authenticated, and that may be one
        // of a pool whose runtime is this very thread. It goes on when the runtime has ended.
        let _ = dropped.recv_timeout(DROP_WAIT);
    }
}

/// Finds or builds the template. Its name carries the hash of the migrations, so that a changed
/// migration makes a new one.
async fn template() -> Result<Template, Error> {
    let server_url = shared::shared_url().await?;
    let name = format!("{PREFIX}_{}", &hex::encode(migrations::fingerprint())[..12]);
    let mut server = connect(&server_url).await?;
    // Belongs to the session: released when it is closed, or when this program dies.
    run(&mut server, "waiting for the template", format!("SELECT pg_advisory_lock({ADVISORY_LOCK})")).await?;
    clear_away(&mut server, &name).await?;
    let finished = format!("SELECT 1 FROM pg_database WHERE datname = '{name}' AND datistemplate");
    let row = server.fetch_optional(AssertSqlSafe(finished)).await;
    if row.map_err(Error::sql("looking for the template"))?.is_none() {
        run(&mut server, "removing half a template", format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            .await?;
        run(&mut server, "creating the template", format!("CREATE DATABASE {name} TEMPLATE template0"))
            .await?;
        migrations::run(&with_database(&server_url, &name), &passwords(&server_url))
            .await
            .map_err(Error::Migrate)?;
        // Nobody may connect, because a database in use cannot be copied.
        let seal = format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false IS_TEMPLATE true");
        run(&mut server, "sealing the template", seal).await?;
    }
    close(server).await;
    Ok(Template { server_url, name })
}

/// Drops the databases of programs that are gone, and the templates of other migrations once they
/// are old: a living program may still copy them.
async fn clear_away(server: &mut PgConnection, keep: &str) -> Result<(), Error> {
    if std::env::var_os(shared::URL_VARIABLE).is_some() {
        // Someone else's server may serve several machines, where process ids mean nothing.
        return Ok(());
    }
    // A database has no date of its own, but its first file has.
    let sql = format!(
        "SELECT datname::text, datistemplate,
                (pg_stat_file('base/' || oid || '/PG_VERSION', true)).modification < now() - {TEMPLATE_AGE_MAX} AS old
           FROM pg_database WHERE datname LIKE '{PREFIX}\\_%'"
    );
    let rows = server.fetch_all(AssertSqlSafe(sql)).await.map_err(Error::sql("listing databases"))?;
    for row in rows {
        let (name, is_template, old): (String, bool, Option<bool>) = (row.get(0), row.get(1), row.get(2));
        let done_with = if is_template { name != keep && old == Some(true) } else { !is_in_use(&name) };
        if !done_with {
            continue;
        }
        if is_template {
            run(server, "unsealing an old template", format!("ALTER DATABASE {name} IS_TEMPLATE false"))
                .await?;
        }
        run(server, "dropping an old database", format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            .await?;
    }
    Ok(())
}

/// Half a template bears no process: whoever makes one holds the lock, so it was given up.
fn is_in_use(name: &str) -> bool {
    pid_of(name).is_some_and(is_alive)
}

/// `<prefix>_p<process>_<number>`.
fn fresh_name(prefix: &str) -> String {
    format!("{prefix}_p{}_{}", process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

fn pid_of(name: &str) -> Option<i32> {
    let (_, rest) = name.rsplit_once("_p")?;
    rest.split_once('_')?.0.parse().ok()
}

fn passwords(server_url: &str) -> Passwords {
    OWNERS.iter().fold(Passwords::default(), |passwords, owner| {
        passwords.with(owner.schema, password_of(server_url, owner.schema))
    })
}

/// The same for all programs that use the server, and unknown to those who cannot.
fn password_of(server_url: &str, schema: &str) -> String {
    let (credentials, _) = split(server_url);
    hex::encode(&Sha256::digest(format!("{credentials} {schema}"))[..16])
}

/// Scheme and credentials, and what follows the `@`.
fn split(url: &str) -> (&str, &str) {
    url.rsplit_once('@').expect("the URL of the test server has credentials")
}

fn with_credentials(url: &str, role: &str, password: &str) -> String {
    let (_, place) = split(url);
    format!("postgres://{role}:{password}@{place}")
}

fn with_database(url: &str, database: &str) -> String {
    let (credentials, place) = split(url);
    let (host, rest) = place.split_once('/').unwrap_or((place, ""));
    let options = rest.split_once('?').map(|(_, options)| format!("?{options}")).unwrap_or_default();
    format!("{credentials}@{host}/{database}{options}")
}

async fn connect(url: &str) -> Result<PgConnection, Error> {
    PgConnection::connect(url).await.map_err(Error::sql("connecting to the test server"))
}

async fn run(server: &mut PgConnection, step: &'static str, sql: String) -> Result<(), Error> {
    for statement in sql.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
        // One by one, because CREATE DATABASE refuses to run among others.
        server.execute(AssertSqlSafe(statement.to_owned())).await.map_err(Error::sql(step))?;
    }
    Ok(())
}

async fn close(server: PgConnection) {
    // The server notices a closed socket as well.
    let _ = server.close().await;
}

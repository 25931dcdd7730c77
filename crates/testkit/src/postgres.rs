//! A PostgreSQL server of our own: on loopback only, on a free port, as an ordinary user even
//! when we are root.
//!
//! Throw-away data is written without fsync; data that is kept is durable. Everything of a
//! cluster is in one folder: `data/`, `log`, `lock`, `password`.

use std::{
    fmt,
    fs::{self, File},
    io::Write,
    os::unix::{
        fs::{OpenOptionsExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use sqlx::{Connection, PgConnection};

use crate::{
    Error,
    account::Account,
    binaries::{self, Binaries},
    process,
};

/// Measured: 0.1 s. A machine under load, or one that recovers a kept cluster, needs longer.
const START_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(20);
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// Between picking a port and using it, another process may take it.
const PORTS_MAX: u32 = 5;
/// Sockets have short names on all systems; beyond this only TCP is offered.
const SOCKET_DIR_MAX: usize = 80;
const SUPERUSER: &str = "postgres";

/// What kind of server is wanted.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Folder of the cluster; kept. Without it, a temporary one that goes with the [`Cluster`].
    pub dir: Option<PathBuf>,
    /// Whether the data must survive a crash of the machine.
    pub durable: bool,
}

/// A running server; stopped when dropped, unless it was only found.
pub struct Cluster {
    url: String,
    server: Option<Server>,
}

#[derive(Debug)]
struct Server {
    child: Child,
    dir: PathBuf,
    // Held while the server runs: released by the system when this process ends, however it ends.
    _lock: Option<File>,
    _temporary: Option<tempfile::TempDir>,
    detached: bool,
    port: u16,
    durable: bool,
}

/// How a server is made to end, as by `pg_ctl stop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// Sessions are ended, transactions rolled back, everything is written: `-m fast`.
    Fast,
    /// At once, as if the machine had failed; the next start recovers: `-m immediate`.
    Immediate,
}

impl Cluster {
    /// The server of `DATABASE_URL` if that is set, else a new one.
    ///
    /// # Errors
    /// See [`Cluster::start`].
    pub async fn given_or_start(options: Options) -> Result<Self, Error> {
        match std::env::var("DATABASE_URL") {
            Ok(url) if !url.is_empty() => Ok(Self { url, server: None }),
            _ => Self::start(options).await,
        }
    }

    /// Starts a server and waits until it answers. One that was left behind on the same folder by
    /// a killed process is stopped first.
    ///
    /// # Errors
    /// When there is no server program, the folder is in use or cannot be used, or it does not start.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let start = move || {
            let Options { dir, durable } = options;
            let (dir, temporary) = match dir {
                Some(dir) => (dir, None),
                None => {
                    let temporary = tempfile::Builder::new()
                        .prefix("metis-postgres-")
                        .tempdir()
                        .map_err(Error::file("creating a folder in", std::env::temp_dir()))?;
                    (temporary.path().to_owned(), Some(temporary))
                }
            };
            let lock = lock(&dir)?.ok_or_else(|| Error::InUse(dir.clone()))?;
            let mut cluster = launch(&dir, durable)?;
            if let Some(server) = &mut cluster.server {
                server._lock = Some(lock);
                server._temporary = temporary;
            }
            Ok(cluster)
        };
        let mut cluster = blocking(start).await?;
        cluster.until_ready().await?;
        Ok(cluster)
    }

    /// Whether [`Cluster::given_or_start`] will have to fetch a server first, which takes a while.
    pub fn must_be_fetched() -> bool {
        let given = std::env::var("DATABASE_URL").is_ok_and(|url| !url.is_empty());
        !given && Account::of_server().is_ok_and(|account| !binaries::are_here(&account.cache()))
    }

    /// URL of the maintenance database, as superuser.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Process id of the server, if it is ours.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(|server| server.child.id())
    }

    /// Ends the server; what it keeps stays, for [`Cluster::start_again`].
    ///
    /// # Errors
    /// When it is not ours to end.
    pub async fn halt(&mut self, how: Halt) -> Result<(), Error> {
        let Some(server) = &mut self.server else { return Err(Error::NotOurServer) };
        let signal = match how {
            Halt::Fast => Signal::SIGINT,
            Halt::Immediate => Signal::SIGQUIT,
        };
        process::stop(&mut server.child, signal, STOP_MAX);
        Ok(())
    }

    /// Starts the server again after [`Cluster::halt`], on the same port with the same data, and waits until it answers.
    ///
    /// # Errors
    /// When it is not ours, or does not start.
    pub async fn start_again(&mut self) -> Result<(), Error> {
        let Some(server) = &mut self.server else { return Err(Error::NotOurServer) };
        let account = Account::of_server()?;
        let binaries = binaries::find(&account.cache())?;
        server.child = serve(&binaries, &account, &server.dir, server.port, server.durable)?;
        self.until_ready().await
    }

    /// Lets the server live on after this process.
    pub(crate) fn detach(mut self) -> String {
        if let Some(server) = &mut self.server {
            server.detached = true;
        }
        self.url.clone()
    }

    pub(crate) async fn until_ready(&mut self) -> Result<(), Error> {
        let start = Instant::now();
        loop {
            if answers(&self.url).await {
                return Ok(());
            }
            let Some(server) = &mut self.server else { return Ok(()) };
            let said = || process::tail(&server.dir.join("log"));
            if !matches!(server.child.try_wait(), Ok(None)) {
                return Err(Error::Failed { program: "postgres".into(), said: said() });
            }
            if start.elapsed() > START_MAX {
                return Err(Error::Silent {
                    program: "postgres".into(),
                    secs: START_MAX.as_secs(),
                    said: said(),
                });
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the URL, which has the password.
        f.debug_struct("Cluster").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.detached {
            // SIGINT is a fast and clean shutdown: sessions are ended, data is written.
            process::stop(&mut self.child, Signal::SIGINT, STOP_MAX);
        }
    }
}

/// Whether a server answers at `url`.
pub(crate) async fn answers(url: &str) -> bool {
    match PgConnection::connect(url).await {
        Ok(connection) => connection.close().await.is_ok(),
        Err(_) => false,
    }
}

/// Takes the lock of a cluster folder, making the folder first; `None` if another process has it.
pub(crate) fn lock(dir: &Path) -> Result<Option<File>, Error> {
    fs::create_dir_all(dir).map_err(Error::file("creating", dir))?;
    let path = dir.join("lock");
    let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.map_err(Error::file("opening", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(source)) => Err(Error::file("locking", &path)(source)),
    }
}

/// Starts a server on the folder without waiting for it. The caller holds the folder's lock.
pub(crate) fn launch(dir: &Path, durable: bool) -> Result<Cluster, Error> {
    let account = Account::of_server()?;
    let dir = &dir.canonicalize().map_err(Error::file("finding", dir))?;
    account.check_reach(dir)?;
    let binaries = binaries::find(&account.cache())?;
    account.check_reach(&binaries.postgres)?;

    stop_left_behind(dir);
    let data = dir.join("data");
    // Throw-away data of another version is of no use. The password file says that it is ours.
    let outdated = version_of(&data).is_some_and(|major| major != binaries.major);
    if !durable && outdated && dir.join("password").is_file() {
        fs::remove_dir_all(&data).map_err(Error::file("removing", &data))?;
    }
    if !data.exists() {
        initialise(&binaries, &account, dir, durable)?;
    }
    let password_file = dir.join("password");
    let password = fs::read_to_string(&password_file).map_err(Error::file("reading", &password_file))?;
    let mut attempt = 1;
    loop {
        let port = process::free_port()?;
        let mut child = serve(&binaries, &account, dir, port, durable)?;
        if attempt < PORTS_MAX && ended_at_once(&mut child) && said_port_is_taken(dir) {
            attempt += 1;
            continue;
        }
        let url = format!("postgres://{SUPERUSER}:{password}@127.0.0.1:{port}/postgres");
        let dir = dir.clone();
        let server = Server { child, dir, _lock: None, _temporary: None, detached: false, port, durable };
        return Ok(Cluster { url, server: Some(server) });
    }
}

/// Stops the server that a killed process left behind on this folder. The caller holds the lock,
/// so nobody else is using it.
pub(crate) fn stop_left_behind(dir: &Path) {
    let data = dir.join("data");
    let Ok(text) = fs::read_to_string(data.join("postmaster.pid")) else { return };
    let Some(pid) = text.lines().next().and_then(|line| line.trim().parse().ok()) else { return };
    // The id may long belong to another process: only one that was started on our folder is ours.
    let arguments = Command::new("ps").args(["-o", "args=", "-p", &format!("{pid}")]).output();
    let ours = arguments.is_ok_and(|output| {
        String::from_utf8_lossy(&output.stdout).contains(data.to_string_lossy().as_ref())
    });
    if ours {
        process::stop_pid(pid, Signal::SIGINT, STOP_MAX);
    }
}

fn initialise(binaries: &Binaries, account: &Account, dir: &Path, durable: bool) -> Result<(), Error> {
    // Under another name until it is whole, so that an interrupted attempt is known as one.
    let (data, finished) = (dir.join("data.new"), dir.join("data"));
    if data.exists() {
        fs::remove_dir_all(&data).map_err(Error::file("removing", &data))?;
    }
    fs::create_dir(&data).map_err(Error::file("creating", &data))?;
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700))
        .map_err(Error::file("protecting", &data))?;
    account.own(&data)?;
    // The server's user must get through to its data; what else is here is protected by itself.
    fs::set_permissions(dir, fs::Permissions::from_mode(account.folder_mode()))
        .map_err(Error::file("protecting", dir))?;

    let password = dir.join("password");
    let _ = fs::remove_file(&password);
    let mut file = File::options().create_new(true).write(true).mode(0o600).open(&password);
    let written = file.as_mut().map_err(|error| std::io::Error::from(error.kind()));
    written
        .and_then(|file| file.write_all(format!("{:032x}", rand::random::<u128>()).as_bytes()))
        .map_err(Error::file("writing", &password))?;
    account.own(&password)?;

    let (log_path, log) = log_of(dir)?;
    let mut command = account.command(&binaries.initdb, &data);
    command.arg("-D").arg(&data).arg("--pwfile").arg(&password);
    command.args(["-U", SUPERUSER, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]);
    if !durable {
        command.arg("--no-sync");
    }
    let status = command
        .stdout(log.try_clone().map_err(Error::file("opening", &log_path))?)
        .stderr(log)
        .status()
        .map_err(|source| Error::Spawn { program: binaries.initdb.clone(), source })?;
    binaries::check(&binaries.initdb, status, &log_path)?;
    fs::rename(&data, &finished).map_err(Error::file("finishing", &finished))
}

fn serve(
    binaries: &Binaries,
    account: &Account,
    dir: &Path,
    port: u16,
    durable: bool,
) -> Result<Child, Error> {
    let data = dir.join("data");
    let sockets = if data.as_os_str().len() <= SOCKET_DIR_MAX { data.as_path() } else { Path::new("") };
    let (log_path, log) = log_of(dir)?;
    let mut command = account.command(&binaries.postgres, &data);
    command.arg("-D").arg(&data).arg("-p").arg(port.to_string());
    command.arg("-c").arg(format!("unix_socket_directories={}", sockets.display()));
    let mut settings = vec!["listen_addresses=127.0.0.1", "max_connections=300", "timezone=UTC"];
    if !durable {
        settings.extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off"]);
    }
    settings.into_iter().for_each(|setting| {
        command.args(["-c", setting]);
    });
    command
        // Its own group, so that Ctrl-C on a terminal reaches only us, and we stop it in order.
        .process_group(0)
        .stdout(log.try_clone().map_err(Error::file("opening", &log_path))?)
        .stderr(log)
        .spawn()
        .map_err(|source| Error::Spawn { program: binaries.postgres.clone(), source })
}

/// A server that cannot have its port ends within this time; one that lives on has it.
fn ended_at_once(child: &mut Child) -> bool {
    const GRACE: Duration = Duration::from_millis(100);
    let start = Instant::now();
    while start.elapsed() < GRACE {
        if !matches!(child.try_wait(), Ok(None)) {
            return true;
        }
        std::thread::sleep(LOOK_PAUSE);
    }
    false
}

fn said_port_is_taken(dir: &Path) -> bool {
    process::tail(&dir.join("log")).contains("Address already in use")
}

fn log_of(dir: &Path) -> Result<(PathBuf, File), Error> {
    let path = dir.join("log");
    let file = File::options().create(true).append(true).mode(0o600).open(&path);
    let file = file.map_err(Error::file("opening", &path))?;
    Ok((path, file))
}

fn version_of(data: &Path) -> Option<u32> {
    fs::read_to_string(data.join("PG_VERSION")).ok()?.trim().parse().ok()
}

/// Runs something that waits for other processes off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.expect("the work does not panic and is not cancelled")
}

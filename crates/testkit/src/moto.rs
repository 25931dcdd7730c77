//! moto: the services of AWS in memory, for the KMS. Of the version in `requirements.txt`, in a virtual environment
//! beside the other tools of the project, made when it is first needed.

use std::{
    fs::{self, File},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{Error, postgres::blocking, process};

/// moto, with what it gets wrong put right.
const PROGRAM: &str = include_str!("moto.py");
const REQUIREMENTS: &str = include_str!("../requirements.txt");
/// Measured: 2 s. A machine under load needs longer.
const START_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(5);
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// A running server; stopped when dropped.
#[derive(Debug)]
pub struct Moto {
    child: Child,
    port: u16,
    // Holds the log.
    _folder: tempfile::TempDir,
}

impl Moto {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// When it cannot be fetched or does not answer.
    pub async fn start() -> Result<Self, Error> {
        blocking(|| {
            let program = installed()?;
            let folder =
                tempfile::tempdir().map_err(Error::file("creating a folder in", std::env::temp_dir()))?;
            let log = folder.path().join("log");
            let output = File::create(&log).map_err(Error::file("creating", &log))?;
            let port = process::free_port()?;
            let child = Command::new(&program)
                .args(["-c", PROGRAM, "-H", "127.0.0.1", "-p"])
                .arg(port.to_string())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(output)
                .spawn()
                .map_err(|source| Error::Spawn { program: program.clone(), source })?;
            let mut moto = Self { child, port, _folder: folder };
            moto.until_ready(&program, &log)?;
            Ok(moto)
        })
        .await
    }

    /// Where it listens.
    pub fn address(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    fn until_ready(&mut self, program: &Path, log: &Path) -> Result<(), Error> {
        let start = Instant::now();
        while TcpStream::connect(self.address()).is_err() {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return Err(Error::Failed { program: program.to_owned(), said: process::tail(log) });
            }
            if start.elapsed() > START_MAX {
                let (program, secs) = (program.to_owned(), START_MAX.as_secs());
                return Err(Error::Silent { program, secs, said: process::tail(log) });
            }
            std::thread::sleep(LOOK_PAUSE);
        }
        Ok(())
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        process::stop(&mut self.child, Signal::SIGTERM, STOP_MAX);
    }
}

/// The interpreter of the environment, made if need be.
fn installed() -> Result<PathBuf, Error> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools");
    fs::create_dir_all(&tools).map_err(Error::file("creating", &tools))?;
    let lock = tools.join("moto.lock");
    let _lock = File::create(&lock)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(Error::file("locking", &lock))?;
    let environment = tools.join("moto");
    let (python, done) = (environment.join("bin/python"), environment.join("requirements.txt"));
    if fs::read_to_string(&done).is_ok_and(|text| text == REQUIREMENTS) {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
    let wanted = environment.join("wanted.txt");
    fs::write(&wanted, REQUIREMENTS).map_err(Error::file("writing", &wanted))?;
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
        .arg(&wanted))?;
    fs::rename(&wanted, &done).map_err(Error::file("writing", &done))?;
    Ok(python)
}

fn run(command: &mut Command) -> Result<(), Error> {
    let program = PathBuf::from(command.get_program());
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::Spawn { program: program.clone(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Failed { program, said })
}

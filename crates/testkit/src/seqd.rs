//! Our own programs as processes of their own, which tests kill, stop and continue.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Lines of a log that are shown when a test fails.
const TAIL_LINES: usize = 40;

/// A binary of the profile that this test was built with: `target/<profile>/<name>`, two folders above the test.
///
/// # Panics
/// When it was not built: no test can go on without.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test is a file");
    let profile = test.parent().and_then(Path::parent).expect("a test binary is in target/<profile>/deps");
    let program = profile.join(name);
    assert!(
        program.is_file(),
        "there is no {}: build it first with `cargo build --package {name}`, as `make test` does",
        program.display()
    );
    program
}

/// A running service of `seqd`; killed when dropped.
#[derive(Debug)]
pub struct Seqd {
    child: Child,
    log: PathBuf,
}

impl Seqd {
    /// Starts a service on a configuration file. What it says is appended to the log.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(service: &str, config: &Path, log: &Path) -> Self {
        let output = File::options().create(true).append(true).open(log).expect("a log");
        let mut command = Command::new(program("seqd"));
        command.arg(service).arg("--config").arg(config).stdin(Stdio::null());
        command.stdout(output.try_clone().expect("a log")).stderr(output);
        // Its own group: what a terminal sends to us must not stop it behind our back.
        let child = command.process_group(0).spawn().expect("seqd starts");
        Self { child, log: log.to_owned() }
    }

    /// SIGKILL: nothing of it runs any more afterwards.
    ///
    /// # Panics
    /// When it had ended by itself.
    pub fn kill(mut self) {
        self.child.kill().expect("it is ours");
        let status = self.child.wait().expect("it is ours");
        assert_eq!(status.code(), None, "it had ended by itself: {}", self.tail());
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it cannot be sent.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it is ours");
    }

    /// Its process id.
    ///
    /// # Panics
    /// Never: process ids are positive numbers of 31 bits.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"))
    }

    /// How it has ended, if it has.
    ///
    /// # Panics
    /// When the system does not tell.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is ours")
    }

    /// What it has written.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn tail(&self) -> String {
        self.said().lines().rev().take(TAIL_LINES).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Seqd {
    fn drop(&mut self) {
        // Fails only if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("the last words of seqd in {}, newest first:\n{}", self.log.display(), self.tail());
        }
    }
}

//! `seqd lifecycle` as processes of their own, which are killed, stopped and continued.
//!
//! The binary is that of the profile this test was built with; `make test` builds it first.

use std::env;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lifecycle::Config;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::{NETWORK, TRUST_DOMAIN, World, socket};

/// Lines of its log that are shown when a test fails.
const TAIL_LINES: usize = 40;

/// A running service; killed when dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
    pub address: SocketAddr,
}

impl Process {
    /// Starts it with these endpoints of L1; it answers a moment later.
    pub async fn start(world: &World, name: &str, endpoints: &[String], config: &Config) -> Self {
        let folder = world.folder();
        let (listener, address) = socket().await;
        let file = folder.join(format!("{name}.toml"));
        fs::write(&file, configuration(world, name, address, endpoints, config)).expect("it is written");
        let log = folder.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log).expect("a log");
        let mut command = Command::new(program());
        command.arg("lifecycle").arg("--config").arg(file).stdin(Stdio::null());
        command.stdout(output.try_clone().expect("a log")).stderr(output);
        drop(listener);
        // Its own group: what a terminal sends to us must not stop it behind our back.
        let child = command.process_group(0).spawn().expect("seqd starts");
        Self { child, log, address }
    }

    /// SIGKILL: nothing of it runs any more afterwards.
    pub fn kill(mut self) {
        self.child.kill().expect("it is ours");
        let status = self.child.wait().expect("it is ours");
        assert_eq!(status.code(), None, "it had ended by itself: {}", self.tail());
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it is ours");
    }

    /// Whether a failpoint has ended it; nothing else may.
    pub fn has_aborted(&mut self) -> bool {
        let Some(status) = self.child.try_wait().expect("it is ours") else { return false };
        assert_eq!(status.signal(), Some(Signal::SIGABRT as i32), "it has ended: {status}");
        true
    }

    /// What it has written.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn tail(&self) -> String {
        self.said().lines().rev().take(TAIL_LINES).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("the last words of seqd, newest first:\n{}", self.tail());
        }
    }
}

/// `target/<profile>/seqd`, two folders above this test.
fn program() -> PathBuf {
    let test = env::current_exe().expect("this test is a file");
    let profile = test.parent().and_then(Path::parent).expect("a test binary is in target/<profile>/deps");
    let program = profile.join("seqd");
    assert!(program.is_file(), "build it first with `cargo build --package seqd`, as `make test` does");
    program
}

fn configuration(
    world: &World,
    name: &str,
    address: SocketAddr,
    endpoints: &[String],
    config: &Config,
) -> String {
    let folder = world.folder();
    let url = folder.join(format!("{name}.url"));
    fs::write(&url, world.db.url_for("lifecycle")).expect("the URL is written");
    let mut network = world.settings();
    network.l1.rpc = endpoints.iter().map(|url| url.parse().expect("a URL")).collect();
    let table = |pairs: &[(&str, toml::Value)]| {
        toml::Value::Table(pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
    };
    let text = |path: &Path| toml::Value::from(path.display().to_string());
    let listen = [("lifecycle", address.to_string().into()), ("admin", "127.0.0.1:0".into())];
    let peers = [
        ("indexer", world.addresses.indexer.to_string().into()),
        ("keys", world.addresses.keys.to_string().into()),
    ];
    let urls = table(&[("lifecycle", table(&[("file", text(&url))]))]);
    let whole = table(&[
        ("listen", table(&listen)),
        ("peers", table(&peers)),
        ("tls", table(&[("dir", text(folder)), ("trust_domain", TRUST_DOMAIN.into())])),
        ("database", table(&[("urls", urls), ("connections", 8.into())])),
        ("networks", table(&[(NETWORK, toml::Value::try_from(network).expect("a network"))])),
        ("lifecycle", toml::Value::try_from(config).expect("settings")),
    ]);
    toml::to_string(&whole).expect("a configuration can be written")
}

//! `seqd lifecycle` as processes of their own, which are killed, stopped and continued.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use lifecycle::{Config, Point};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use testkit::Seqd;

use crate::world::{NETWORK, TRUST_DOMAIN, World, socket};

/// A running service; killed when dropped.
pub struct Process {
    seqd: Seqd,
    /// Where its own words begin: another process of the same name may have written before.
    begins: usize,
    pub address: SocketAddr,
}

impl Process {
    /// Starts it with these endpoints of L1; it answers a moment later.
    pub async fn start(world: &World, name: &str, endpoints: &[String], config: &Config) -> Self {
        let folder = world.folder();
        let (listener, address) = socket().await;
        let file = folder.join(format!("{name}.toml"));
        fs::write(&file, configuration(world, name, address, endpoints, config)).expect("it is written");
        drop(listener);
        let log = folder.join(format!("{name}.log"));
        let begins = fs::read_to_string(&log).map_or(0, |text| text.len());
        let seqd = Seqd::start("lifecycle", &file, &log);
        Self { seqd, begins, address }
    }

    /// SIGKILL: nothing of it runs any more afterwards.
    pub fn kill(self) {
        self.seqd.kill();
    }

    pub fn signal(&self, signal: Signal) {
        self.seqd.signal(signal);
    }

    /// Whether this failpoint has ended it; nothing else may.
    pub fn has_aborted_at(&mut self, point: Point) -> bool {
        let Some(status) = self.seqd.ended() else { return false };
        assert_eq!(status.signal(), Some(Signal::SIGABRT as i32), "it has ended: {status}");
        assert!(self.met(point), "it has ended, and not at {point:?}");
        true
    }

    /// Whether this failpoint has stopped it; asked until it is so.
    pub fn was_stopped_at(&self, point: Point) -> bool {
        let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED;
        let status = waitpid(self.seqd.pid(), Some(flags));
        let stopped = matches!(status, Ok(WaitStatus::Stopped(_, Signal::SIGSTOP)));
        assert!(!stopped || self.met(point), "it was stopped, and not at {point:?}");
        stopped
    }

    fn met(&self, point: Point) -> bool {
        self.said().contains(&format!("failpoint {point:?}"))
    }

    /// What it has written.
    pub fn said(&self) -> String {
        self.seqd.said().get(self.begins..).unwrap_or_default().to_owned()
    }
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

//! Ports for the services, known before they start so that every file can name them.

use std::fs::File;
use std::net::TcpListener;
use std::sync::OnceLock;

use anyhow::{Context, Result};
use seqd::config::Addresses;

const ANY: &str = "127.0.0.1:0";
/// Whoever holds the lock on this file, below the folder for temporary files, may take the well-known ports.
const RESERVATION: &str = "metis-dev-known-ports.lock";

/// Held until the process ends: between the look and the services' own bind, another stack could look as well.
static RESERVED: OnceLock<File> = OnceLock::new();

fn reserve() -> bool {
    if RESERVED.get().is_some() {
        return true;
    }
    let Ok(file) = File::options().create(true).append(true).open(std::env::temp_dir().join(RESERVATION))
    else {
        return false;
    };
    file.try_lock().is_ok() && RESERVED.set(file).is_ok()
}

/// The well-known ones if wanted, reserved and all free, else any.
pub(super) fn choose(known: bool) -> Result<Addresses> {
    let wanted = Addresses::default();
    let all =
        [&wanted.keys, &wanted.indexer, &wanted.lifecycle, &wanted.rewards, &wanted.gateway, &wanted.admin];
    if known && reserve() && all.iter().all(|address| TcpListener::bind(address.as_str()).is_ok()) {
        return Ok(wanted);
    }
    // All are held until the last is found, so that none is given twice.
    let listeners: Vec<TcpListener> =
        all.iter().map(|_| TcpListener::bind(ANY)).collect::<Result<_, _>>().context("finding free ports")?;
    let mut found = Vec::new();
    for listener in &listeners {
        found.push(listener.local_addr().context("finding free ports")?.to_string());
    }
    let mut next = found.into_iter().map(|address| address.to_string());
    let mut take = || next.next().unwrap_or_default();
    Ok(Addresses {
        keys: take(),
        indexer: take(),
        lifecycle: take(),
        rewards: take(),
        gateway: take(),
        admin: take(),
    })
}

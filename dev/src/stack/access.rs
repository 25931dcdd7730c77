//! How to reach a running stack, for people and programs: `stack.json` and `seqctl.toml`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use runtime::tls::TlsConfig;
use seqd::config::Addresses;
use serde::{Deserialize, Serialize};
use testkit::contracts::{L1, L2};

/// Processes beside that of the services, for tests that stop or kill them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Processes {
    /// PostgreSQL, if it is our own.
    pub postgres: Option<u32>,
    /// L1.
    pub l1: u32,
    /// L2.
    pub l2: u32,
}

/// Everything that a client of the stack must know. The file is readable for its owner only.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Access {
    /// Name of the network in every API.
    pub network: String,
    /// JSON-RPC over HTTP.
    pub gateway: String,
    /// JSON-RPC over WebSocket.
    pub gateway_ws: String,
    /// `/livez`, `/readyz`, `/metrics`.
    pub admin: String,
    /// `host:port` of every service.
    pub addresses: Addresses,
    /// Certificate of an operator.
    pub tls: TlsConfig,
    /// Folder of all certificates.
    pub trust_dir: PathBuf,
    /// Steers governance, MPC, nodes and time.
    pub simulator: String,
    /// Process ids.
    pub processes: Processes,
    /// Contracts of L1, with its URL.
    pub l1: L1,
    /// Contracts of L2, with its URL.
    pub l2: L2,
    /// API key of the gateway, once the services run.
    pub api_key: Option<String>,
    /// Configuration of `seqd`.
    pub seqd_config: PathBuf,
    /// Configuration of `seqctl`.
    pub seqctl_config: PathBuf,
}

impl Access {
    /// Reads the `stack.json` of a running stack.
    ///
    /// # Errors
    /// When there is none.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))
    }

    pub(super) fn seqctl_toml(&self) -> Result<String> {
        #[derive(Serialize)]
        struct File<'a> {
            network: &'a str,
            addresses: Services<'a>,
            tls: &'a TlsConfig,
        }
        #[derive(Serialize)]
        struct Services<'a> {
            keys: &'a str,
            indexer: &'a str,
            lifecycle: &'a str,
            rewards: &'a str,
        }
        let Addresses { keys, indexer, lifecycle, rewards, gateway: _, admin: _ } = &self.addresses;
        let addresses = Services { keys, indexer, lifecycle, rewards };
        let file = File { network: &self.network, addresses, tls: &self.tls };
        toml::to_string_pretty(&file).context("writing the configuration of seqctl")
    }
}

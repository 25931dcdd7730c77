//! The one configuration file of all services; each process reads its own sections.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::ValueEnum;
use runtime::config::Secret;
use runtime::telemetry::TelemetryConfig;
use runtime::tls::TlsConfig;
use serde::{Deserialize, Serialize};

/// One of the five services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub enum Role {
    /// What is secret.
    Keys,
    /// What is observed.
    Indexer,
    /// What is intended.
    Lifecycle,
    /// What is earned.
    Rewards,
    /// What is public.
    Gateway,
}

impl Role {
    /// All services, callees first.
    pub const ALL: [Self; 5] = [Self::Keys, Self::Indexer, Self::Lifecycle, Self::Rewards, Self::Gateway];

    /// Name of the service: in identities, schemas, metrics and sections of the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Indexer => "indexer",
            Self::Lifecycle => "lifecycle",
            Self::Rewards => "rewards",
            Self::Gateway => "gateway",
        }
    }
}

/// The whole configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Logs and traces.
    pub telemetry: TelemetryConfig,
    /// Certificates of the services.
    pub tls: Certificates,
    /// Postgres.
    pub database: Database,
    /// Where each service listens.
    pub listen: Addresses,
    /// `host:port` at which a service is found by the others, by service name; without an entry, where it listens.
    pub peers: BTreeMap<String, String>,
    /// The chains.
    pub networks: BTreeMap<String, chain::config::Network>,
    /// Section of the keys service.
    pub keys: keys::Config,
    /// Section of the indexer.
    pub indexer: indexer::Config,
    /// Section of lifecycle.
    pub lifecycle: lifecycle::Config,
    /// Section of rewards.
    pub rewards: rewards::Config,
    /// Section of the gateway.
    pub gateway: gateway::Config,
}

/// One folder with `ca.pem`, and `<service>.pem` and `<service>.key` for each service.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Certificates {
    /// The folder.
    pub dir: PathBuf,
    /// Trust domain of the SPIFFE ids.
    pub trust_domain: String,
}

impl Default for Certificates {
    fn default() -> Self {
        Self { dir: PathBuf::from("certs"), trust_domain: "metis.local".to_owned() }
    }
}

impl Certificates {
    /// The files of one service.
    pub fn of(&self, role: Role) -> TlsConfig {
        TlsConfig {
            cert: self.dir.join(format!("{}.pem", role.name())),
            key: self.dir.join(format!("{}.key", role.name())),
            ca: self.dir.join("ca.pem"),
            trust_domain: self.trust_domain.clone(),
        }
    }
}

/// Postgres: one database, one role for each service.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Database {
    /// URL of the administrator, only for `seqd migrate`.
    pub admin_url: Option<Secret>,
    /// URL of each service's own role, by service name.
    pub urls: BTreeMap<String, Secret>,
    /// Most connections of one service; 0 for the default.
    pub connections: u32,
}

/// Connections of one service when none are configured: five services share one Postgres with 100.
pub const CONNECTIONS_DEFAULT: u32 = 10;

/// `host:port` of each service; the gateway's is HTTP, the others' gRPC, admin's plain HTTP.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Addresses {
    /// gRPC of keys.
    pub keys: String,
    /// gRPC of the indexer.
    pub indexer: String,
    /// gRPC of lifecycle.
    pub lifecycle: String,
    /// gRPC of rewards.
    pub rewards: String,
    /// JSON-RPC of the gateway.
    pub gateway: String,
    /// `/livez`, `/readyz`, `/metrics`; not reachable from outside.
    pub admin: String,
}

impl Default for Addresses {
    fn default() -> Self {
        Self {
            keys: "127.0.0.1:7101".to_owned(),
            indexer: "127.0.0.1:7102".to_owned(),
            lifecycle: "127.0.0.1:7103".to_owned(),
            rewards: "127.0.0.1:7104".to_owned(),
            gateway: "127.0.0.1:7100".to_owned(),
            admin: "127.0.0.1:7190".to_owned(),
        }
    }
}

impl Addresses {
    /// The address of one service.
    pub fn of(&self, role: Role) -> &str {
        match role {
            Role::Keys => &self.keys,
            Role::Indexer => &self.indexer,
            Role::Lifecycle => &self.lifecycle,
            Role::Rewards => &self.rewards,
            Role::Gateway => &self.gateway,
        }
    }
}

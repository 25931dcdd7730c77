//! The section `[gateway]` of the configuration.

use serde::{Deserialize, Serialize};

/// Settings of the gateway; the defaults let in callers on this machine only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Names (without port) that the Host header may have. Guards against DNS rebinding.
    pub hosts: Vec<String>,
    /// Origins (`https://app.example`) whose pages may call; none by default, `*` is refused.
    pub origins: Vec<String>,
    /// Units (the costs of the method table) per second that one address may spend without a key.
    pub address_units_per_second: u32,
    /// Units that one address may spend at once.
    pub address_units_burst: u32,
    /// Units per second of one API key.
    pub key_units_per_second: u32,
    /// Units that one API key may spend at once.
    pub key_units_burst: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hosts: ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).into(),
            origins: Vec::new(),
            address_units_per_second: 200,
            address_units_burst: 1_000,
            key_units_per_second: 2_000,
            key_units_burst: 5_000,
        }
    }
}

//! `[keys.backends.<name>.<kind>]`: where keys other than local ones live. All kinds can be written in every build;
//! one that was left out of the build is refused by name at the start.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use runtime::config::Secret;
use serde::{Deserialize, Serialize};

/// One backend.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Settings {
    /// A hardware module with a PKCS#11 library.
    Pkcs11(Pkcs11),
    /// Key Management Service of AWS.
    AwsKms(AwsKms),
    /// Cloud Key Management Service of Google.
    GcpKms(GcpKms),
    /// A Web3Signer.
    Web3signer(Web3signer),
}

/// How much a backend is asked for; each kind has defaults of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Milliseconds that one request may take, with waiting for its turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<NonZeroU32>,
    /// Requests at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<NonZeroU32>,
    /// Requests in a second; keep it below the quota of the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_second: Option<NonZeroU32>,
}

/// Settings of a PKCS#11 module.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pkcs11 {
    /// The library of the module, for example `/usr/lib/softhsm/libsofthsm2.so`.
    pub module: PathBuf,
    /// Label of the token.
    pub token: String,
    /// PIN of the user.
    pub pin: Secret,
    #[serde(default)]
    pub limits: Limits,
}

/// Settings of AWS KMS. Without credentials here they come from the usual chain: environment, profile, web
/// identity, container, instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsKms {
    /// Region, for example `eu-central-1`.
    pub region: String,
    /// Another endpoint than that of the region: a VPC endpoint or an emulator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Access key id, with `secret_access_key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// Secret access key, with `access_key_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<Secret>,
    #[serde(default)]
    pub limits: Limits,
}

/// Settings of Google Cloud KMS. secp256k1 is there at protection level HSM only.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GcpKms {
    /// `projects/P/locations/L/keyRings/R`, where new keys are made.
    pub key_ring: String,
    /// An OAuth access token that something else keeps fresh. Without it the metadata server of the machine is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// PEM file with the authorities of the endpoint; without it those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Another endpoint than Google's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    #[serde(default)]
    pub limits: Limits,
}

/// Settings of a Web3Signer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Web3signer {
    /// Its base, `https://host:9000`. Plain http is taken for loopback only.
    pub url: String,
    /// PEM file with the authority of its certificate; https needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// PEM file with our certificate, if it asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// Key of our certificate, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
    #[serde(default)]
    pub limits: Limits,
}

/// Limits with nothing left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub timeout: Duration,
    pub concurrent: u32,
    pub per_second: NonZeroU32,
}

impl Settings {
    /// The kind, as in the configuration.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Pkcs11(_) => "pkcs11",
            Self::AwsKms(_) => "aws-kms",
            Self::GcpKms(_) => "gcp-kms",
            Self::Web3signer(_) => "web3signer",
        }
    }

    /// What this backend may be asked for.
    pub fn bounds(&self) -> Bounds {
        let (limits, timeout_ms, concurrent, per_second) = match self {
            // A token on the bus signs in a millisecond, one in the network in ten; there is no quota.
            Self::Pkcs11(Pkcs11 { limits, .. }) => (limits, 5_000, 8, 1_000),
            // Cryptographic requests with elliptic curves: 300 a second for an account and region where least.
            Self::AwsKms(AwsKms { limits, .. }) => (limits, 5_000, 32, 150),
            // Asymmetric requests to HSM keys: 3,000 a minute for a project.
            Self::GcpKms(GcpKms { limits, .. }) => (limits, 5_000, 16, 25),
            // It has no quota of its own, but often a KMS behind it.
            Self::Web3signer(Web3signer { limits, .. }) => (limits, 5_000, 32, 150),
        };
        let or = |given: Option<NonZeroU32>, default: u32| given.map_or(default, NonZeroU32::get);
        Bounds {
            timeout: Duration::from_millis(or(limits.timeout_ms, timeout_ms).into()),
            concurrent: or(limits.concurrent, concurrent),
            per_second: limits.per_second.or(NonZeroU32::new(per_second)).unwrap_or(NonZeroU32::MIN),
        }
    }
}

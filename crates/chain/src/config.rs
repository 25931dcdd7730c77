//! A network as it is configured: a built-in one by name, or its chains and contracts written out.
//!
//! ```toml
//! [networks.sepolia]
//! preset = "sepolia"
//! l1.rpc = ["https://first.example", "https://second.example"]
//! l1.ws = "wss://first.example"
//! l2.rpc = ["https://l2.example", { url = "https://l2.provider.example/key", requests_per_second = 25 }]
//! l2.quorum = 2
//!
//! [networks.devnet]
//! variant = "main"
//! confirmations = 2
//! l1 = { chain_id = 31337, rpc = ["http://127.0.0.1:8545"], locking_pool = "0x…", locking_info = "0x…",
//!        metis = "0x…", bridge = "0x…", start_block = 0 }
//! l2 = { chain_id = 59903, rpc = ["http://127.0.0.1:9545"], sequencer_set = "0x…", start_block = 0 }
//! ```
//!
//! An endpoint is a URL, or `{ url, ws, name, requests_per_second }` of which only the URL must be there.
//! What is written out wins over the preset. L2 is optional, and so are its endpoints.

mod entry;

use std::time::Duration;

use alloy_primitives::Address;
use domain::ids::{Height, NetworkName};
use domain::network::{L1Spec, L2Spec, NetworkSpec, THEMIS_CONFIRMATIONS, Variant};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::pool::{EndpointConfig, Pool, PoolError, PoolOptions};
use crate::rpc::EndpointUrl;

/// Time between two looks for a head where nothing else is configured.
const POLL_MS: u64 = 250;
/// A faster poll would be a load test of the node.
const POLL_MS_MIN: u64 = 10;

/// The section `[networks.<name>]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// A built-in network: `mainnet` or `sepolia`.
    pub preset: Option<String>,
    /// Which pool this is, where its implementation is not a recorded one (P 1.11).
    pub variant: Variant,
    /// Blocks on top after which a transaction counts as confirmed.
    pub confirmations: Option<u64>,
    /// Milliseconds between two looks for a head where there is no WebSocket.
    pub poll_ms: u64,
    /// `node_info.network` of the network's themis nodes; unchecked where it is not known.
    pub themis_network: Option<String>,
    /// The Ethereum side.
    pub l1: L1,
    /// The Metis side.
    pub l2: L2,
}

/// Ethereum, where the locking contracts are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct L1 {
    /// Endpoints for questions.
    pub rpc: Vec<EndpointConfig>,
    /// Where the first endpoint announces new heads, if its own entry does not say.
    #[serde(serialize_with = "shown")]
    pub ws: Option<EndpointUrl>,
    /// Endpoints that must agree on the logs of final blocks: 1, unless said otherwise.
    pub quorum: Option<usize>,
    /// EIP-155 chain id.
    pub chain_id: Option<u64>,
    /// LockingPool proxy.
    #[serde(deserialize_with = "checked")]
    pub locking_pool: Option<Address>,
    /// LockingInfo proxy.
    #[serde(deserialize_with = "checked")]
    pub locking_info: Option<Address>,
    /// METIS token.
    #[serde(deserialize_with = "checked")]
    pub metis: Option<Address>,
    /// L1StandardBridge proxy.
    #[serde(deserialize_with = "checked")]
    pub bridge: Option<Address>,
    /// First block with a log of ours.
    pub start_block: Option<u64>,
}

/// Metis, where MetisSequencerSet is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct L2 {
    /// Endpoints for questions; without any the chain is not followed.
    pub rpc: Vec<EndpointConfig>,
    /// Where the first endpoint announces new heads, if its own entry does not say.
    #[serde(serialize_with = "shown")]
    pub ws: Option<EndpointUrl>,
    /// Endpoints that must agree on the logs of final blocks: 1, unless said otherwise.
    pub quorum: Option<usize>,
    /// EIP-155 chain id.
    pub chain_id: Option<u64>,
    /// MetisSequencerSet proxy.
    #[serde(deserialize_with = "checked")]
    pub sequencer_set: Option<Address>,
    /// First block with a log of ours.
    pub start_block: Option<u64>,
}

/// Why a section is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The name does not fit.
    #[error("{0} is no name for a network: 1 to 32 of a-z, 0-9 and -")]
    Name(String),
    /// No such built-in network.
    #[error("networks.{network}.preset: there is no preset {preset}, only mainnet and sepolia")]
    Preset {
        /// The network.
        network: String,
        /// What was written.
        preset: String,
    },
    /// Neither the preset nor the section says it.
    #[error("networks.{network}.{key} is missing, and no preset gives it")]
    Missing {
        /// The network.
        network: String,
        /// The key.
        key: &'static str,
    },
    /// A number outside what makes sense.
    #[error("networks.{network}.{key} must be {rule}")]
    Number {
        /// The network.
        network: String,
        /// The key.
        key: &'static str,
        /// What is allowed.
        rule: &'static str,
    },
}

impl Default for Network {
    fn default() -> Self {
        Self {
            preset: None,
            variant: Variant::Unknown,
            confirmations: None,
            poll_ms: POLL_MS,
            themis_network: None,
            l1: L1::default(),
            l2: L2::default(),
        }
    }
}

impl Network {
    /// The network with everything filled in.
    ///
    /// # Errors
    /// If something is missing that no preset gives, or makes no sense.
    pub fn spec(&self, name: &str) -> Result<NetworkSpec, Invalid> {
        let parsed: NetworkName = name.parse().map_err(|_| Invalid::Name(name.to_owned()))?;
        let preset = match &self.preset {
            None => None,
            Some(preset) => Some(
                NetworkSpec::preset(preset)
                    .ok_or_else(|| Invalid::Preset { network: name.to_owned(), preset: preset.clone() })?,
            ),
        };
        let missing = |key| Invalid::Missing { network: name.to_owned(), key };
        if self.l1.rpc.is_empty() {
            return Err(missing("l1.rpc"));
        }
        if self.poll_ms < POLL_MS_MIN {
            return Err(Invalid::Number { network: name.to_owned(), key: "poll_ms", rule: "at least 10" });
        }
        check_quorum(name, "l1.quorum", self.l1.quorum, self.l1.rpc.len())?;
        check_quorum(name, "l2.quorum", self.l2.quorum, self.l2.rpc.len())?;
        let l1 = self.l1_spec(preset.as_ref().map(|preset| &preset.l1), missing)?;
        let l2 = self.l2.spec(preset.as_ref().and_then(|preset| preset.l2.as_ref()), missing)?;
        Ok(NetworkSpec { name: parsed, l1, l2 })
    }

    /// The endpoints of L1 as a pool, without asking any.
    ///
    /// # Errors
    /// If there are none, or no client can be made.
    pub fn l1_pool(&self, spec: &NetworkSpec) -> Result<Pool, PoolError> {
        let options = self.pool_options(self.l1.quorum);
        Pool::new(spec.l1.chain_id, endpoints(&self.l1.rpc, self.l1.ws.as_ref()), options)
    }

    /// The endpoints of L2 as a pool, without asking any; none where L2 is not followed.
    ///
    /// # Errors
    /// If no client can be made.
    pub fn l2_pool(&self, spec: &NetworkSpec) -> Result<Option<Pool>, PoolError> {
        let Some(l2) = spec.l2.as_ref().filter(|_| !self.l2.rpc.is_empty()) else { return Ok(None) };
        let endpoints = endpoints(&self.l2.rpc, self.l2.ws.as_ref());
        Pool::new(l2.chain_id, endpoints, self.pool_options(self.l2.quorum)).map(Some)
    }

    fn pool_options(&self, quorum: Option<usize>) -> PoolOptions {
        let defaults = PoolOptions::default();
        let quorum = quorum.unwrap_or(defaults.quorum);
        PoolOptions { poll_every: Duration::from_millis(self.poll_ms), quorum, ..defaults }
    }

    fn l1_spec(
        &self,
        preset: Option<&L1Spec>,
        missing: impl Fn(&'static str) -> Invalid,
    ) -> Result<L1Spec, Invalid> {
        let L1 { rpc: _, ws: _, quorum: _, chain_id, locking_pool, locking_info, metis, bridge, start_block } =
            &self.l1;
        let start_block = start_block.map(Height).or(preset.map(|l1| l1.start_block));
        let confirmations = self.confirmations.or(preset.map(|l1| l1.confirmations));
        Ok(L1Spec {
            chain_id: chain_id.or(preset.map(|l1| l1.chain_id)).ok_or_else(|| missing("l1.chain_id"))?,
            locking_pool: locking_pool
                .or(preset.map(|l1| l1.locking_pool))
                .ok_or_else(|| missing("l1.locking_pool"))?,
            locking_info: locking_info
                .or(preset.map(|l1| l1.locking_info))
                .ok_or_else(|| missing("l1.locking_info"))?,
            metis: metis.or(preset.map(|l1| l1.metis)).ok_or_else(|| missing("l1.metis"))?,
            bridge: bridge.or(preset.map(|l1| l1.bridge)).ok_or_else(|| missing("l1.bridge"))?,
            start_block: start_block.ok_or_else(|| missing("l1.start_block"))?,
            confirmations: confirmations.unwrap_or(THEMIS_CONFIRMATIONS),
        })
    }
}

impl L2 {
    /// The L2 side; none if nothing of it is given.
    fn spec(
        &self,
        preset: Option<&L2Spec>,
        missing: impl Fn(&'static str) -> Invalid,
    ) -> Result<Option<L2Spec>, Invalid> {
        if preset.is_none() && *self == Self::default() {
            return Ok(None);
        }
        let Self { rpc: _, ws: _, quorum: _, chain_id, sequencer_set, start_block } = self;
        Ok(Some(L2Spec {
            chain_id: chain_id.or(preset.map(|l2| l2.chain_id)).ok_or_else(|| missing("l2.chain_id"))?,
            sequencer_set: sequencer_set
                .or(preset.map(|l2| l2.sequencer_set))
                .ok_or_else(|| missing("l2.sequencer_set"))?,
            start_block: start_block
                .map(Height)
                .or(preset.map(|l2| l2.start_block))
                .ok_or_else(|| missing("l2.start_block"))?,
        }))
    }
}

/// More endpoints than there are can never agree, and agreement of none is no agreement.
fn check_quorum(
    network: &str,
    key: &'static str,
    quorum: Option<usize>,
    endpoints: usize,
) -> Result<(), Invalid> {
    if quorum.is_none_or(|quorum| (1..=endpoints).contains(&quorum)) {
        return Ok(());
    }
    let rule = "between 1 and the number of endpoints";
    Err(Invalid::Number { network: network.to_owned(), key, rule })
}

fn endpoints(rpc: &[EndpointConfig], ws: Option<&EndpointUrl>) -> Vec<EndpointConfig> {
    let mut endpoints = rpc.to_vec();
    if let Some(first) = endpoints.first_mut() {
        first.ws = first.ws.take().or_else(|| ws.cloned());
    }
    endpoints
}

/// An address with its checksum taken seriously: a mistyped contract must not be followed.
fn checked<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Address>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| domain::address::parse_nonzero(&text).map_err(D::Error::custom)).transpose()
}

/// Written as it is shown, since a URL may hold a key: the configuration is only ever written for people.
fn shown<S: Serializer>(url: &Option<EndpointUrl>, serializer: S) -> Result<S::Ok, S::Error> {
    url.as_ref().map(ToString::to_string).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_rpc(mut network: Network) -> Network {
        network.l1.rpc = vec!["http://127.0.0.1:8545/key".parse().expect("a URL")];
        network
    }

    #[test]
    fn a_preset_needs_only_endpoints_and_can_be_overridden() {
        let mut network = with_rpc(Network { preset: Some("sepolia".to_owned()), ..Network::default() });
        network.l1.start_block = Some(7);
        network.confirmations = Some(3);
        let spec = network.spec("testnet").expect("complete");
        let preset = NetworkSpec::sepolia();
        assert_eq!(spec.name.as_str(), "testnet");
        assert_eq!((spec.l1.start_block, spec.l1.confirmations), (Height(7), 3));
        assert_eq!((spec.l1.locking_pool, spec.l2), (preset.l1.locking_pool, preset.l2));
    }

    #[test]
    fn what_is_missing_is_named() {
        let none = Network::default().spec("devnet");
        assert_eq!(none, Err(Invalid::Missing { network: "devnet".to_owned(), key: "l1.rpc" }));
        let bare = with_rpc(Network::default()).spec("devnet");
        assert_eq!(bare, Err(Invalid::Missing { network: "devnet".to_owned(), key: "l1.chain_id" }));
        let mut half = with_rpc(Network { preset: Some("mainnet".to_owned()), ..Network::default() });
        half.preset = Some("holesky".to_owned());
        assert!(matches!(half.spec("devnet"), Err(Invalid::Preset { .. })));
        assert_eq!(half.spec("Dev Net"), Err(Invalid::Name("Dev Net".to_owned())));
    }

    #[test]
    fn a_network_without_l2_is_complete() {
        let address = Some(Address::repeat_byte(1));
        let mut network = with_rpc(Network::default());
        let rpc = std::mem::take(&mut network.l1.rpc);
        network.l1 = L1 {
            rpc,
            ws: None,
            quorum: None,
            chain_id: Some(31_337),
            locking_pool: address,
            locking_info: address,
            metis: address,
            bridge: address,
            start_block: Some(0),
        };
        assert_eq!(network.spec("devnet").expect("complete").l2, None);
        network.l2.chain_id = Some(5);
        let half = network.spec("devnet");
        assert_eq!(half, Err(Invalid::Missing { network: "devnet".to_owned(), key: "l2.sequencer_set" }));
    }

    #[test]
    fn a_key_in_a_url_is_not_written_out() {
        let written = serde_json::to_string(&with_rpc(Network::default())).expect("JSON");
        assert!(written.contains("http://127.0.0.1:8545") && !written.contains("key"), "{written}");
    }

    #[test]
    fn a_quorum_is_between_one_and_the_number_of_endpoints() {
        let preset = || with_rpc(Network { preset: Some("sepolia".to_owned()), ..Network::default() });
        for (quorum, good) in [(None, true), (Some(0), false), (Some(1), true), (Some(2), false)] {
            let mut network = preset();
            network.l1.quorum = quorum;
            let rule = "between 1 and the number of endpoints";
            let invalid = Invalid::Number { network: "testnet".to_owned(), key: "l1.quorum", rule };
            assert_eq!(network.spec("testnet").err(), (!good).then_some(invalid), "{quorum:?}");
        }
        let mut network = preset();
        network.l2.rpc = vec![network.l1.rpc[0].clone(); 2];
        network.l2.quorum = Some(2);
        let spec = network.spec("testnet").expect("two can agree");
        let l1 = network.l1_pool(&spec).expect("a pool");
        let l2 = network.l2_pool(&spec).expect("a pool").expect("L2 is followed");
        assert_eq!((l1.quorum(), l2.quorum(), l2.len()), (1, 2, 2));
    }

    #[test]
    fn the_websocket_of_a_chain_goes_to_the_first_endpoint_unless_it_has_its_own() {
        let ws: EndpointUrl = "ws://chain".parse().expect("a URL");
        let plain: EndpointConfig = "http://node".parse().expect("a URL");
        let own = EndpointConfig { ws: "ws://own".parse().ok(), ..plain.clone() };
        let found = |rpc: &[EndpointConfig]| {
            endpoints(rpc, Some(&ws)).into_iter().map(|one| one.ws).collect::<Vec<_>>()
        };
        assert_eq!(found(&[plain.clone(), own.clone()]), [Some(ws.clone()), own.ws.clone()]);
        assert_eq!(found(&[own.clone(), plain]), [own.ws, None]);
    }
}

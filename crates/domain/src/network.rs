//! What a network is made of, the public ones built in, and which contract stands behind the pool.
//!
//! Endpoints belong to configuration. The same 20 bytes mean different contracts on different
//! chains (P 1.1), so an address is only ever looked up together with its chain.

use alloy_primitives::{Address, address};
use serde::{Deserialize, Serialize};

use crate::ids::{Height, NetworkName};

/// Confirmations after which themis acts on an L1 log (P 3.6); we wait as long.
pub const THEMIS_CONFIRMATIONS: u64 = 12;

/// Ethereum and Metis mainnet.
const MAINNET: u64 = 1;
/// Ethereum's test network.
const SEPOLIA: u64 = 11_155_111;

/// A network: L1 contracts, and the L2 that they secure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// Its name in configuration, rows and calls.
    pub name: NetworkName,
    /// The L1 side.
    pub l1: L1Spec,
    /// The L2 side; without it producers and epochs are unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub l2: Option<L2Spec>,
}

/// The contracts on L1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct L1Spec {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// LockingPool proxy, where operators call.
    #[serde(with = "crate::address::text")]
    pub locking_pool: Address,
    /// LockingInfo proxy, which holds the METIS and is the spender of allowances.
    #[serde(with = "crate::address::text")]
    pub locking_info: Address,
    /// METIS token.
    #[serde(with = "crate::address::text")]
    pub metis: Address,
    /// L1StandardBridge proxy, through which rewards leave for L2.
    #[serde(with = "crate::address::text")]
    pub bridge: Address,
    /// No log of ours is below this block.
    pub start_block: Height,
    /// Blocks on top after which a transaction counts as confirmed.
    pub confirmations: u64,
}

/// The contract on L2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct L2Spec {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// MetisSequencerSet proxy.
    #[serde(with = "crate::address::text")]
    pub sequencer_set: Address,
    /// No epoch is committed below this block.
    pub start_block: Height,
}

impl NetworkSpec {
    /// The built-in network of this name, `mainnet` or `sepolia` (P 1.1, 2.1).
    pub fn preset(name: &str) -> Option<Self> {
        match name {
            "mainnet" => Some(Self::mainnet()),
            "sepolia" => Some(Self::sepolia()),
            _ => None,
        }
    }

    /// Ethereum and Andromeda.
    pub fn mainnet() -> Self {
        Self {
            name: "mainnet".parse().expect("a literal of allowed letters"),
            l1: L1Spec {
                chain_id: MAINNET,
                locking_pool: address!("0xD54c868362C2098E0E46F12E7D924C6A332952Dd"),
                locking_info: address!("0x0fe382b74C3894B65c10E5C12ae60Bbd8FAf5b48"),
                metis: address!("0x9e32b13ce7f2e80a01932b42553652e053d6ed8e"),
                bridge: address!("0x3980c9ed79d2c191A89E02Fa3529C60eD6e9c04b"),
                start_block: Height(19_424_656),
                confirmations: THEMIS_CONFIRMATIONS,
            },
            l2: Some(L2Spec {
                chain_id: 1088,
                sequencer_set: address!("0x0fe382b74C3894B65c10E5C12ae60Bbd8FAf5b48"),
                start_block: Height(15_214_334),
            }),
        }
    }

    /// Sepolia and Metis Sepolia.
    pub fn sepolia() -> Self {
        Self {
            name: "sepolia".parse().expect("a literal of allowed letters"),
            l1: L1Spec {
                chain_id: SEPOLIA,
                locking_pool: address!("0x7591940125cC0344a65D60319d1ADcD463B2D4c3"),
                locking_info: address!("0x390A6fE63385522E87e248BC5200f7d3a02F994b"),
                metis: address!("0x7f49160EB9BB068101d445fe77E17ecDb37D0B47"),
                bridge: address!("0x9848dE505e6Aa301cEecfCf23A0a150140fc996e"),
                start_block: Height(5_453_470),
                confirmations: THEMIS_CONFIRMATIONS,
            },
            l2: Some(L2Spec {
                chain_id: 59_902,
                sequencer_set: address!("0xdE8d56212118906a0CeCD331e842429714b4c47B"),
                start_block: Height(11),
            }),
        }
    }
}

/// Which LockingPool stands behind the proxy: the ABI is the same, the behaviour is not (P 1.11).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// The upstream main branch, deployed on Sepolia: anyone may exit.
    Main,
    /// The one recorded on mainnet: exits obey the BFT rule, another rule for owner changes.
    Mainnet,
    /// The first ones, until mid-2024: no partial withdrawal.
    V1,
    /// Any other: simulate a call before offering it.
    #[default]
    Unknown,
}

impl Variant {
    /// Recorded implementations of the pool, each on its chain.
    const RECORDED: [(u64, Address, Self); 4] = [
        (MAINNET, address!("0xD8f38c831E5032d23065Eaaee8c0620e17c04D60"), Self::Mainnet),
        (MAINNET, address!("0xd87Da73F82abe83915d61342199A4690cfdf4718"), Self::V1),
        (SEPOLIA, address!("0x00Ba8D0EcA054A9e0e74f68a33b13f25F6F3dd8E"), Self::Main),
        (SEPOLIA, address!("0x451625d6DEa856867aF5ec6045D4F7f91fc6ee38"), Self::V1),
    ];

    /// The variant of the pool's implementation on this L1.
    pub fn of(l1_chain_id: u64, implementation: Address) -> Self {
        Self::RECORDED
            .iter()
            .find(|(chain, address, _)| (*chain, *address) == (l1_chain_id, implementation))
            .map_or(Self::Unknown, |(_, _, variant)| *variant)
    }

    /// Its name in rows, answers and configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Mainnet => "mainnet",
            Self::V1 => "v1",
            Self::Unknown => "unknown",
        }
    }

    /// This variant, or for an unknown implementation what the operator declares of a private network.
    pub fn or(self, declared: Self) -> Self {
        if self == Self::Unknown { declared } else { self }
    }

    /// Whether exits obey the BFT rule; `None` if only a simulation can tell.
    pub fn has_bft_rule(self) -> Option<bool> {
        match self {
            Self::Main => Some(false),
            Self::Mainnet => Some(true),
            Self::V1 | Self::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_found_by_name_and_survive_json() {
        for name in ["mainnet", "sepolia"] {
            let spec = NetworkSpec::preset(name).expect("built in");
            assert_eq!(spec.name.as_str(), name);
            let json = serde_json::to_string(&spec).expect("a spec is JSON");
            assert_eq!(serde_json::from_str::<NetworkSpec>(&json).expect("what we wrote"), spec);
        }
        assert_eq!(NetworkSpec::preset("holesky"), None);
    }

    #[test]
    fn a_mistyped_address_in_a_spec_is_refused() {
        let json = serde_json::to_string(&NetworkSpec::mainnet()).expect("a spec is JSON");
        let mistyped = json.replace("0xD54c86", "0xd54c86");
        assert!(serde_json::from_str::<NetworkSpec>(&mistyped).is_err());
        let unknown = json.replace("\"bridge\"", "\"brigde\"");
        assert!(serde_json::from_str::<NetworkSpec>(&unknown).is_err());
    }

    #[test]
    fn an_implementation_is_known_only_on_its_own_chain() {
        let mainnet = address!("0xD8f38c831E5032d23065Eaaee8c0620e17c04D60");
        assert_eq!(Variant::of(MAINNET, mainnet), Variant::Mainnet);
        assert_eq!(Variant::of(SEPOLIA, mainnet), Variant::Unknown);
        assert_eq!(Variant::of(31_337, mainnet).or(Variant::Main), Variant::Main);
        assert_eq!(Variant::of(MAINNET, mainnet).or(Variant::Main), Variant::Mainnet);
        assert_eq!(Variant::of(MAINNET, Address::ZERO).has_bft_rule(), None);
    }
}

//! The committed artifacts, compiled in: nothing has to be found at run time.

use alloy_primitives::Bytes;
use serde::Deserialize;

macro_rules! artifacts {
    ($($name:ident = $file:literal),+ $(,)?) => {
        $(pub(crate) const $name: &str = include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"), "/../../contracts/artifacts/", $file, ".json"
        ));)+
    };
}

artifacts! {
    TOKEN = "MetisToken",
    ADDRESS_MANAGER = "Lib_AddressManager",
    ORACLE = "MVM_DiscountOracle",
    MESSENGER = "L1CrossDomainMessenger",
    BRIDGE = "L1StandardBridge",
    PROXY_ADMIN = "ProxyAdmin",
    PROXY = "TransparentUpgradeableProxy",
    LOCKING_INFO = "LockingInfo",
    LOCKING_POOL = "LockingPool",
    LOCKING_POOL_MAINNET = "LockingPoolMainnet",
    SEQUENCER_SET = "MetisSequencerSet",
    CROWD = "Crowd",
}

#[derive(Deserialize)]
struct Artifact {
    bytecode: Bytes,
}

/// What to send to create the contract.
pub(crate) fn creation(artifact: &str, arguments: Vec<u8>) -> Bytes {
    let Artifact { bytecode } = serde_json::from_str(artifact).expect("a test holds the artifacts current");
    [bytecode.to_vec(), arguments].concat().into()
}

//! The contracts of Metis on running anvils, and everything that can be done to them.
//!
//! [`deploy_l1`] and [`deploy_l2`] follow the recipe of `contracts/README.md` from the committed
//! artifacts. Whoever acts is impersonated, so tests need no keys, and each act is mined at once,
//! whatever the chain's own rhythm. An act that reverts is an error with the chain's reason.

pub(crate) mod artifact;
mod deploy;
mod l1;
mod l2;
mod link;

pub use deploy::{L1Options, L2Options, Variant, deploy_l1, deploy_l2};
pub use l1::L1;
pub use l2::{Epoch, L2};
pub use link::{Action, Link};

use alloy_primitives::{Address, address, keccak256};
use alloy_sol_types::sol;
use k256::SecretKey;

/// METIS on L2, the native coin.
pub const L2_METIS: Address = address!("DeadDeAddeAddEAddeadDEaDDEAdDeaDDeAD0000");
/// Chain id of our own L1.
pub const L1_CHAIN_ID: u64 = 31_337;
/// Chain id of our own L2.
pub const L2_CHAIN_ID: u64 = 31_338;

sol! {
    // What only governance and the deployment use, and therefore not in `chain::abi`.
    interface MetisToken {
        function mint(address to, uint256 amount) external;
    }
    interface Registry {
        function setAddress(string name, address to) external;
    }
    interface Oracle {
        function setDiscount(uint256 discount) external;
        function setMinL2Gas(uint256 gas) external;
    }
    interface ProxyAdmin {
        function upgrade(address proxy, address implementation) external;
    }
}

/// A repeatable address that no one has a key for.
pub fn account(name: &str) -> Address {
    Address::from_slice(&keccak256(name)[12..])
}

/// A repeatable key of a node or an owner, for tests that sign themselves. Worth nothing anywhere.
pub fn secret(name: &str) -> SecretKey {
    SecretKey::from_slice(keccak256(name).as_slice()).expect("a hash is a scalar, but for one in 2^128")
}

/// Public side of [`secret`].
pub fn node_key(name: &str) -> domain::pubkey::PublicKey {
    secret(name).public_key().into()
}

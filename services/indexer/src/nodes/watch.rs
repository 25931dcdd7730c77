//! Balances that must not run out: those that the configuration names, the MPC's, and the signers' for `updateSigner`.

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};
use chain::pool::Pool;
use chain::rpc::{BlockId, RpcError, call};
use domain::amount::WEI_PER_UNIT;
use serde::{Deserialize, Serialize};

use super::gauges::{Reading, reading};
use crate::db::Layer;

/// Addresses that a configuration may name: each is one question a minute.
pub const WATCHED_MAX: usize = 200;
/// Balances asked for in one batch.
const BATCH_MAX: usize = 50;
/// 3 METIS, the limit of Metis' own alert for the MPC that commits epochs; at 0.5 the chain lets others refill it.
pub const MPC_L2_MIN: U256 = U256::from_limbs([3_000_000_000_000_000_000, 0, 0, 0]);
/// 0.1 ETH: some dozens of reward batches.
pub const MPC_L1_MIN: U256 = U256::from_limbs([100_000_000_000_000_000, 0, 0, 0]);
/// 0.01 ETH: one `updateSigner`, which only the signer itself can send, at a bad gas price.
pub const SIGNER_L1_MIN: U256 = U256::from_limbs([10_000_000_000_000_000, 0, 0, 0]);

/// The chain of a watched address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Chain {
    /// Ethereum.
    L1,
    /// Metis.
    L2,
}

impl From<Chain> for Layer {
    fn from(chain: Chain) -> Self {
        match chain {
            Chain::L1 => Self::L1,
            Chain::L2 => Self::L2,
        }
    }
}

/// An address that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// Network.
    pub network: String,
    /// Its chain.
    pub layer: Chain,
    /// The address.
    pub address: Address,
    /// What people call it.
    pub name: String,
    /// The least that it should have.
    pub min_wei: domain::amount::Eth,
}

/// An address whose balance is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The address.
    pub address: Address,
    /// What people call it.
    pub name: String,
    /// The least that it should have.
    pub min: U256,
}

/// Why the list makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Too many.
    #[error("indexer.nodes.watched holds more than {WATCHED_MAX} addresses")]
    TooMany,
    /// Nobody could be asked.
    #[error("indexer.nodes.watched: {name} is on a chain of {network} that is not followed")]
    NotFollowed {
        /// Of the entry.
        name: String,
        /// Of the entry.
        network: String,
    },
}

/// Whether all of a list can be asked for; `follows` says which chains can.
///
/// # Errors
/// [`Invalid`] with the first that cannot.
pub fn check(list: &[Watched], follows: impl Fn(&str, Layer) -> bool) -> Result<(), Invalid> {
    if list.len() > WATCHED_MAX {
        return Err(Invalid::TooMany);
    }
    match list.iter().find(|one| !follows(&one.network, one.layer.into())) {
        Some(Watched { name, network, .. }) => {
            Err(Invalid::NotFollowed { name: name.clone(), network: network.clone() })
        }
        None => Ok(()),
    }
}

/// The accounts of one chain, each once: of two demands on an address the first counts.
pub fn accounts(
    list: &[Watched],
    network: &str,
    layer: Layer,
    derived: impl IntoIterator<Item = Account>,
) -> Vec<Account> {
    let named = list.iter().filter(|one| one.network == network && Layer::from(one.layer) == layer);
    let named = named.map(|one| Account { address: one.address, name: one.name.clone(), min: one.min_wei.0 });
    let mut once = BTreeMap::new();
    for account in named.chain(derived) {
        if account.address != Address::ZERO {
            once.entry(account.address).or_insert(account);
        }
    }
    once.into_values().collect()
}

/// Asks for the balances, and gives their gauges.
///
/// # Errors
/// When no endpoint answers; what was read before is then unknown again.
pub async fn balances(
    pool: &Pool,
    network: &str,
    layer: Layer,
    accounts: &[Account],
) -> Result<Vec<Reading>, RpcError> {
    let mut readings = Vec::new();
    for some in accounts.chunks(BATCH_MAX) {
        let calls: Vec<_> = some.iter().map(|one| call::balance(one.address, BlockId::Latest)).collect();
        for (account, balance) in some.iter().zip(pool.ask(calls).await?) {
            let address = account.address.to_string();
            let labels = [
                ("network", network),
                ("layer", layer.name()),
                ("name", account.name.as_str()),
                ("address", address.as_str()),
            ];
            let low = f64::from(u8::from(balance < account.min));
            readings.push(reading("indexer_watched_balance_low", low, &labels));
            // For pictures only: the comparison above is exact.
            let coins = f64::from(balance) / f64::from(WEI_PER_UNIT);
            readings.push(reading("indexer_watched_balance", coins, &labels));
        }
    }
    Ok(readings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(name: &str, layer: Chain, byte: u8) -> Watched {
        let min_wei = domain::amount::Eth::whole(1);
        Watched {
            network: "sepolia".to_owned(),
            layer,
            address: Address::repeat_byte(byte),
            name: name.to_owned(),
            min_wei,
        }
    }

    #[test]
    fn each_account_of_a_chain_is_asked_for_once() {
        let list = [watched("treasury", Chain::L1, 1), watched("faucet", Chain::L2, 2)];
        let signer = |byte| Account {
            address: Address::repeat_byte(byte),
            name: format!("signer {byte}"),
            min: SIGNER_L1_MIN,
        };
        let found = accounts(&list, "sepolia", Layer::L1, [signer(1), signer(3), signer(3), signer(0)]);
        let names: Vec<&str> = found.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["treasury", "signer 3"]);
        assert_eq!(accounts(&list, "mainnet", Layer::L1, []), []);
    }

    #[test]
    fn a_list_names_only_chains_that_are_followed() {
        let list = [watched("treasury", Chain::L1, 1), watched("faucet", Chain::L2, 2)];
        assert_eq!(check(&list, |_, _| true), Ok(()));
        let (name, network) = ("faucet".to_owned(), "sepolia".to_owned());
        let l1_only = check(&list, |_, layer| layer == Layer::L1);
        assert_eq!(l1_only, Err(Invalid::NotFollowed { name, network }));
        let many = vec![watched("one", Chain::L1, 1); WATCHED_MAX + 1];
        assert_eq!(check(&many, |_, _| true), Err(Invalid::TooMany));
    }
}

//! The recipe of `contracts/README.md`: all of a chain in one go, with addresses known beforehand.

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::{SolCall, SolValue};
use chain::abi::{DISCOUNT_ORACLE_NAME, Erc20, LockingInfo, LockingPool, SequencerSet};
use domain::amount::Metis;
use serde::{Deserialize, Serialize};

use super::{
    Action, L1, L2, L2_CHAIN_ID, L2_METIS, Link, MetisToken, Registry, account,
    artifact::{self, creation},
};
use crate::{Anvil, Error};

/// What the reward payer has: far more than any test distributes.
const PAYER_METIS: u64 = 1_000_000;
/// Wei for each unit of L2 gas, as on mainnet: a claim costs 0.0002 ETH.
const MAINNET_DISCOUNT: u64 = 1_000_000_000;
const EPOCH_BLOCKS: u64 = 20;

/// Which rules the pool follows (P 1.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// As on Sepolia and in the repository.
    #[default]
    Main,
    /// As recorded on mainnet: BFT restriction, other rules for a new owner.
    Mainnet,
}

impl Variant {
    pub(super) fn artifact(self) -> &'static str {
        match self {
            Self::Main => artifact::LOCKING_POOL,
            Self::Mainnet => artifact::LOCKING_POOL_MAINNET,
        }
    }
}

/// What kind of L1 is wanted.
#[derive(Debug, Clone)]
pub struct L1Options {
    /// Rules of the pool.
    pub variant: Variant,
    /// Wei for each unit of L2 gas that the bridge asks; 0 makes claims free.
    pub discount: u64,
    /// The L2 that rewards go to.
    pub l2_chain_id: u64,
    /// Who owns the contracts; another name makes other contracts on the same chain.
    pub deployer: Address,
}

impl Default for L1Options {
    fn default() -> Self {
        Self {
            variant: Variant::Main,
            discount: MAINNET_DISCOUNT,
            l2_chain_id: L2_CHAIN_ID,
            deployer: account("deployer"),
        }
    }
}

/// What kind of L2 is wanted.
#[derive(Debug, Clone)]
pub struct L2Options {
    /// Blocks of an epoch, the first included.
    pub epoch_blocks: u64,
    /// Who produces epoch 0; nobody on L1, so it earns nothing.
    pub genesis: Address,
    /// Who owns the contract.
    pub deployer: Address,
}

impl Default for L2Options {
    fn default() -> Self {
        // Another deployer than on L1 finds code that confuses the chains by different addresses;
        // the same one finds code that takes equal addresses for the same contract, as on mainnet.
        Self {
            epoch_blocks: EPOCH_BLOCKS,
            genesis: account("genesis sequencer"),
            deployer: account("deployer"),
        }
    }
}

/// Contracts to be created by one account, whose addresses follow from its nonce.
struct Deployment {
    deployer: Address,
    nonce: u64,
    actions: Vec<Action>,
}

impl Deployment {
    async fn by(deployer: Address, link: &Link) -> Result<Self, Error> {
        let params = serde_json::json!([deployer, "latest"]);
        let nonce: U256 = link.rpc("eth_getTransactionCount", params).await?;
        Ok(Self { deployer, nonce: nonce.saturating_to(), actions: Vec::new() })
    }

    fn create(&mut self, name: &'static str, artifact: &str, arguments: Vec<u8>) -> Address {
        let address = self.deployer.create(self.nonce);
        self.nonce += 1;
        let data = creation(artifact, arguments);
        self.actions.push(Action { name, from: self.deployer, to: None, data, value: U256::ZERO });
        address
    }

    /// The proxy's address. Initialised in its constructor, so that nobody else can do it first.
    fn proxy<C: SolCall>(&mut self, implementation: Address, admin: Address, initialize: &C) -> Address {
        let arguments = (implementation, admin, Bytes::from(initialize.abi_encode())).abi_encode_params();
        self.create("TransparentUpgradeableProxy", artifact::PROXY, arguments)
    }

    fn call<C: SolCall>(&mut self, to: Address, call: &C) {
        self.nonce += 1;
        self.actions.push(Action::call(self.deployer, to, call));
    }
}

/// Deploys everything of L1.
///
/// # Errors
/// When the chain does not take it.
pub async fn deploy_l1(anvil: &Anvil, options: L1Options) -> Result<L1, Error> {
    let L1Options { variant, discount, l2_chain_id, deployer } = options;
    let link = Link::to(&anvil.url())?;
    let start_block = link.head().await?.number + 1;
    let chain_id: U256 = link.rpc("eth_chainId", serde_json::json!([])).await?;
    let (payer, mpc) = (account("payer"), account("mpc"));
    let mut work = Deployment::by(deployer, &link).await?;

    let metis = work.create("MetisToken", artifact::TOKEN, vec![]);
    let registry = work.create("Lib_AddressManager", artifact::ADDRESS_MANAGER, vec![]);
    let oracle = work.create("MVM_DiscountOracle", artifact::ORACLE, U256::from(discount).abi_encode());
    let messenger = work.create("L1CrossDomainMessenger", artifact::MESSENGER, vec![]);
    work.call(registry, &Registry::setAddressCall { name: DISCOUNT_ORACLE_NAME.to_owned(), to: oracle });
    let arguments = (messenger, registry, U256::from(l2_chain_id)).abi_encode_params();
    let bridge = work.create("L1StandardBridge", artifact::BRIDGE, arguments);

    let admin = work.create("ProxyAdmin", artifact::PROXY_ADMIN, vec![]);
    let info_code = work.create("LockingInfo", artifact::LOCKING_INFO, vec![]);
    let initialize = LockingInfo::initializeCall {
        bridge,
        l1Token: metis,
        l2Token: L2_METIS,
        l2ChainId: U256::from(l2_chain_id),
    };
    let locking_info = work.proxy(info_code, admin, &initialize);
    let pool_code = work.create("LockingPool", variant.artifact(), vec![]);
    let locking_pool = work.proxy(pool_code, admin, &LockingPool::initializeCall { escrow: locking_info });
    work.call(locking_info, &LockingInfo::initManagerCall { manager: locking_pool });

    work.call(locking_info, &LockingInfo::setRewardPayerCall { payer });
    work.call(metis, &MetisToken::mintCall { to: payer, amount: Metis::whole(PAYER_METIS).0 });
    work.call(locking_pool, &LockingPool::updateMpcCall { newMpc: mpc });
    let approve = Erc20::approveCall { spender: locking_info, value: U256::MAX };
    link.act_all(&work.actions).await?;
    // After the token exists: to an address without code the call would do nothing and succeed.
    link.act(Action::call(payer, metis, &approve)).await?;

    let chain_id = chain_id.saturating_to();
    Ok(L1 {
        link,
        chain_id,
        locking_pool,
        locking_info,
        metis,
        bridge,
        oracle,
        admin,
        deployer,
        payer,
        mpc,
        start_block,
    })
}

/// Deploys everything of L2; epoch 0 begins with the next block.
///
/// # Errors
/// When the chain does not take it.
pub async fn deploy_l2(anvil: &Anvil, options: L2Options) -> Result<L2, Error> {
    let L2Options { epoch_blocks, genesis, deployer } = options;
    let link = Link::to(&anvil.url())?;
    let head = link.head().await?.number;
    let chain_id: U256 = link.rpc("eth_chainId", serde_json::json!([])).await?;
    let mpc = account("mpc");
    let mut work = Deployment::by(deployer, &link).await?;
    let admin = work.create("ProxyAdmin", artifact::PROXY_ADMIN, vec![]);
    let code = work.create("MetisSequencerSet", artifact::SEQUENCER_SET, vec![]);
    let initialize = SequencerSet::initializeCall {
        initialSequencer: genesis,
        mpc,
        firstStartBlock: U256::from(head + 1),
        firstEndBlock: U256::from(head + epoch_blocks),
        epochLength: U256::from(epoch_blocks),
    };
    let sequencer_set = work.proxy(code, admin, &initialize);
    link.act_all(&work.actions).await?;
    let chain_id = chain_id.saturating_to();
    Ok(L2 { link, chain_id, sequencer_set, deployer, mpc, genesis, epoch_blocks, start_block: head + 1 })
}

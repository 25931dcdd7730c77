//! Long chains with many events, the same each time: what an indexer is measured and tested on.
//!
//! A contract ([`contracts/src/testing/Crowd.sol`]) owns many sequencers and acts for them, so that one transaction
//! makes any number of events: anvil keeps about 32 kB for each transaction, whatever is in it. Around it
//! governance, MPC and signers do what they do on a real chain, each in transactions of its own ([`extras`]).
//!
//! [`contracts/src/testing/Crowd.sol`]: ../../../../contracts/src/testing/Crowd.sol

mod extras;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{SolCall, SolValue, sol};
use chain::rpc::{Header, Receipt};
use domain::amount::{Eth, Metis};
use serde_json::{Value, json};

use crate::anvil::Options;
use crate::contracts::artifact::{self, creation};
use crate::contracts::{Action, L1, L1Options, account, deploy_l1, node_key};
use crate::{Anvil, Error};
use extras::Extras;

sol! {
    interface CrowdContract {
        function enlist(uint256 member, address signer, bytes pubkey, uint256 amount) external;
        function order(uint256 member, bytes data) external;
        function forward(address target, bytes data) external;
        function play(uint256 seed, uint256 events) external;
        function ids(uint256 member) external view returns (uint256 id);
        function spare() external view returns (uint256 member);
    }
}

/// Owners, one of whom has no sequencer: as many as a decentralised pool has.
const MEMBERS: u64 = 49;
/// Owners that lock in one block.
const ENLISTED_AT_ONCE: u64 = 16;
/// METIS that each locks: a little above the least, so that withdrawals of some wei are taken.
const LOCKED: u64 = 20_100;
/// METIS, enough to lock anew after an exit.
const FUNDS: u64 = 100_000;
/// Time between two blocks, as on Ethereum.
const BLOCK_SECS: u64 = 12;
/// Time of the first block: the chain must not depend on the day.
const GENESIS_TIME: u64 = 1_750_000_000;
/// Gas of a block and of what fills it; far more than a thousand acts need.
const BLOCK_GAS: u64 = 1_000_000_000;
const PLAY_GAS: u64 = 900_000_000;
const GAS_PRICE: u64 = 1_000_000_000;
/// Ether of whoever pays for gas.
const RICH: u64 = 1_000_000_000;
/// States that stay for reads at a block, as on a node without an archive.
const STATES_KEPT: u64 = 32;
/// `finalized` is twice as many blocks behind the head.
const SLOTS: u64 = 32;
/// From the next one on each block writes the hash of its parent into a contract (EIP-2935), and anvil hashes the
/// whole storage anew for each block: an empty block takes 10 ms instead of 0.1.
const HARDFORK: &str = "shanghai";
/// Blocks without events in the sparse chain, between two with events.
const SPARSE_EVERY: u64 = 100;

/// What chain is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Blocks that the crowd acts in.
    pub blocks: u64,
    /// Events of the pool and its escrow in each, about.
    pub events_per_block: u64,
    /// From one such block to the next; 1 leaves no block empty.
    pub every: u64,
    /// Another seed gives another chain.
    pub seed: u64,
    /// Whether it is to live on: all past states stay, so that it can be reorganised, and `finalized` is 64 blocks
    /// behind the head. Slow beyond 10,000 blocks. Else it is for reading only, final but for its last two blocks.
    pub living: bool,
}

impl Plan {
    /// A chain full of events.
    pub fn dense(events: u64, events_per_block: u64) -> Self {
        Self { blocks: events.div_ceil(events_per_block), events_per_block, every: 1, seed: 1, living: false }
    }

    /// A chain that is nearly empty, as Ethereum is to us: one event for a hundred blocks.
    pub fn sparse(events: u64) -> Self {
        Self { blocks: events, events_per_block: 1, every: SPARSE_EVERY, seed: 1, living: false }
    }

    /// The same, to live on.
    #[must_use]
    pub fn living(self) -> Self {
        Self { living: true, ..self }
    }
}

/// A chain with its contracts and a crowd that can go on acting.
#[derive(Debug)]
pub struct Crowd {
    /// The node.
    pub anvil: Anvil,
    /// The contracts.
    pub l1: L1,
    contract: Address,
    player: Address,
    extras: Extras,
    seed: u64,
    played: u64,
    acted: u64,
}

impl Crowd {
    /// Makes a chain.
    ///
    /// # Errors
    /// When there is no anvil, or it does not take something.
    pub async fn make(plan: Plan) -> Result<Self, Error> {
        let Plan { blocks, events_per_block, every, seed, living } = plan;
        let mut crowd = Self::start(seed, living).await?;
        for _ in 0..blocks {
            if every > 1 {
                crowd.skip(every - 1).await?;
            }
            crowd.play(events_per_block).await?;
        }
        Ok(crowd)
    }

    /// Contracts, owners and their locks, in a few blocks.
    async fn start(seed: u64, living: bool) -> Result<Self, Error> {
        let options = Options {
            no_mining: true,
            prune_history: (!living).then_some(STATES_KEPT),
            gas_limit: Some(BLOCK_GAS),
            hardfork: Some(HARDFORK.to_owned()),
            timestamp: Some(GENESIS_TIME),
            slots_in_an_epoch: Some(if living { SLOTS } else { 1 }),
            accounts: Some(1),
            ..Options::default()
        };
        let anvil = Anvil::start(options).await?;
        anvil.rpc("anvil_setBlockTimestampInterval", json!([BLOCK_SECS])).await?;
        anvil.rpc("anvil_autoImpersonateAccount", json!([true])).await?;
        // Claims are free, so that the crowd needs no ether.
        let l1 = deploy_l1(&anvil, L1Options { discount: 0, ..L1Options::default() }).await?;
        let contract = deploy(&l1).await?;
        let player = account("player");
        for payer in [player, l1.deployer, l1.mpc] {
            l1.link.set_balance(payer, Eth::whole(RICH).0).await?;
        }
        let extras = Extras::new(seed);
        let mut crowd = Self { anvil, l1, contract, player, extras, seed, played: 0, acted: 0 };
        crowd.enlist().await?;
        Ok(crowd)
    }

    async fn enlist(&mut self) -> Result<(), Error> {
        for member in 0..MEMBERS {
            let owner = member_address(self.contract, member);
            self.l1.fund(owner, Metis::whole(FUNDS), Eth::ZERO).await?;
            self.l1.whitelist(owner, true).await?;
        }
        let all: Vec<u64> = (0..MEMBERS - 1).collect();
        for some in all.chunks(ENLISTED_AT_ONCE as usize) {
            for member in some {
                let call = self.extras.enlist(*member, None);
                self.send(self.player, self.contract, call).await?;
            }
            self.mine().await?;
        }
        Ok(())
    }

    /// Goes on: a block with about so many events, and before it those of others, if they are due.
    ///
    /// # Errors
    /// When the node does not take it.
    pub async fn play(&mut self, events: u64) -> Result<(), Error> {
        // Before the crowd's own acts, on which they must not hang.
        self.played += 1;
        let extras = Extras::due(self).await?;
        self.settle(extras).await?;
        self.mine_play(events).await
    }

    /// Exactly one block, with about so many events of the crowd.
    ///
    /// # Errors
    /// When the node does not take it.
    pub async fn act(&mut self, events: u64) -> Result<(), Error> {
        self.acted += 1;
        self.mine_play(events).await
    }

    async fn mine_play(&self, events: u64) -> Result<(), Error> {
        let draw = keccak256([self.seed, self.played, self.acted].map(U256::from).abi_encode());
        let play = CrowdContract::playCall { seed: draw.into(), events: U256::from(events) };
        self.send(self.player, self.contract, play.abi_encode().into()).await?;
        self.mine().await
    }

    /// Mines these in a block. What follows builds on them, while of what the crowd itself does some is refused.
    async fn settle(&self, actions: Vec<Action>) -> Result<(), Error> {
        if actions.is_empty() {
            return Ok(());
        }
        let mut sent = Vec::new();
        for Action { name, from, to, data, .. } in actions {
            sent.push((name, self.send(from, to.unwrap_or(self.contract), data).await?));
        }
        self.mine().await?;
        for (action, hash) in sent {
            let receipt: Option<Receipt> =
                self.l1.link.rpc("eth_getTransactionReceipt", json!([hash])).await?;
            if !receipt.is_some_and(|receipt| receipt.succeeded()) {
                return Err(Error::Reverted { action, said: format!("nothing, in turn {}", self.played) });
            }
        }
        Ok(())
    }

    /// Blocks with nothing in them.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn skip(&self, blocks: u64) -> Result<(), Error> {
        self.l1.link.rpc::<Value>("anvil_mine", json!([blocks, BLOCK_SECS])).await.map(drop)
    }

    /// The newest block.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn head(&self) -> Result<Header, Error> {
        self.l1.link.head().await
    }

    async fn mine(&self) -> Result<(), Error> {
        self.l1.link.rpc::<Value>("evm_mine", json!([])).await.map(drop)
    }

    /// Hands a transaction to the node, without waiting for its block.
    async fn send(&self, from: Address, to: Address, data: Bytes) -> Result<B256, Error> {
        let transaction = transaction(from, Some(to), &data);
        self.l1.link.rpc("eth_sendTransaction", json!([transaction])).await
    }
}

/// The contracts of the crowd; members have the addresses of its first creations.
async fn deploy(l1: &L1) -> Result<Address, Error> {
    let arguments = (l1.locking_pool, l1.metis, l1.locking_info, U256::from(MEMBERS)).abi_encode_params();
    let (from, data) = (account("crowd"), creation(artifact::CROWD, arguments));
    l1.link.set_balance(from, Eth::whole(RICH).0).await?;
    l1.link.rpc::<B256>("eth_sendTransaction", json!([transaction(from, None, &data)])).await?;
    l1.link.rpc::<Value>("evm_mine", json!([])).await?;
    let contract = from.create(0);
    let code: Bytes = l1.link.rpc("eth_getCode", json!([contract, "latest"])).await?;
    if code.is_empty() { Err(Error::Unmined("Crowd")) } else { Ok(contract) }
}

fn transaction(from: Address, to: Option<Address>, data: &Bytes) -> Value {
    let [gas, price] = [PLAY_GAS, GAS_PRICE].map(|number| format!("{number:#x}"));
    let mut transaction = json!({ "from": from, "data": data, "gas": gas, "gasPrice": price });
    if let Some(to) = to {
        transaction["to"] = json!(to);
    }
    transaction
}

fn member_address(crowd: Address, member: u64) -> Address {
    // The nonce of a contract begins at 1.
    crowd.create(member + 1)
}

/// What a member says to lock with the next key.
fn enlist_call(member: u64, key: u64) -> Bytes {
    let key = node_key(&format!("signer {key} of the crowd"));
    let call = CrowdContract::enlistCall {
        member: U256::from(member),
        signer: key.address(),
        pubkey: key.bytes64().into(),
        amount: Metis::whole(LOCKED).0,
    };
    call.abi_encode().into()
}

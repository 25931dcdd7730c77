//! LockingPool and LockingInfo in memory: every rule of P 1.10 that changes state, with the logs it emits. Written
//! apart from the fold, from the contract, so that the two can disagree.

#![allow(non_snake_case, reason = "the fields of events have the names of the ABI")]

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{SolCall, SolEvent};
use chain::abi::{Erc20, LockingInfo, LockingPool, Proxied};
use chain::rpc::{Header, Log, Transaction};
use chain::views::SequencerRecord;
use domain::amount::Metis;
use domain::ids::{BatchId, Nonce, SequencerId, Timestamp};
use domain::network::NetworkSpec;
use domain::preflight::Status;

pub const MPC: Address = Address::repeat_byte(0xcc);

/// What somebody does. Numbers choose among what there is, so that every value is meaningful.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    Lock { amount: u64 },
    Relock { who: usize, amount: u64, with_rewards: bool },
    Withdraw { who: usize, amount: u64 },
    Claim { who: usize },
    Unlock { who: usize },
    Finish { who: usize },
    Rotate { who: usize },
    SetOwner { who: usize },
    SetRecipient { who: usize },
    Batch { blocks: [u16; 3], nested: bool },
    Whitelist { who: usize, yes: bool },
    RewardPerBlock { wei: u32 },
    Pause { yes: bool },
}

/// The state after some block.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub records: BTreeMap<SequencerId, SequencerRecord>,
    pub whitelist: BTreeMap<Address, bool>,
    pub batch: u64,
    pub end_epoch: u64,
    pub total_locked: U256,
    pub liquidated: U256,
    pub reward_per_block: U256,
    pub paused: bool,
    names: u64,
}

/// One block with everything that an endpoint would tell of it.
#[derive(Debug, Clone)]
pub struct Block {
    pub header: Header,
    pub logs: Vec<Log>,
    pub transactions: Vec<Transaction>,
    pub after: State,
}

/// A block being built.
struct Building<'a> {
    spec: &'a NetworkSpec,
    number: u64,
    hash: B256,
    time: u64,
    logs: Vec<Log>,
    transactions: Vec<Transaction>,
    state: State,
}

impl State {
    pub fn genesis() -> Self {
        Self { batch: 1, reward_per_block: U256::from(761_000_000_000_000_u64), ..Self::default() }
    }

    /// A name never used before on any branch, so that signers and owners are fresh.
    fn fresh(&mut self, salt: u64) -> Address {
        self.names += 1;
        Address::from_slice(&keccak256([salt.to_be_bytes(), self.names.to_be_bytes()].concat())[12..])
    }

    fn chosen(&self, who: usize, status: Status) -> Option<SequencerId> {
        let all: Vec<SequencerId> =
            self.records.iter().filter(|(_, record)| record.status == status).map(|(id, _)| *id).collect();
        (!all.is_empty()).then(|| all[who % all.len()])
    }
}

/// The block on `parent` in which all this is done; `salt` tells branches apart.
pub fn block(spec: &NetworkSpec, parent: Option<&Block>, salt: u64, acts: &[Act]) -> Block {
    let number = parent.map_or(spec.l1.start_block.0, |parent| parent.header.number + 1);
    let parent_hash = parent.map_or(B256::ZERO, |parent| parent.header.hash);
    let hash = keccak256([parent_hash.as_slice(), &salt.to_be_bytes()].concat());
    let time = 1_700_000_000 + number * 12 + salt % 7;
    let state = parent.map_or_else(State::genesis, |parent| parent.after.clone());
    let mut building =
        Building { spec, number, hash, time, logs: Vec::new(), transactions: Vec::new(), state };
    if parent.is_none() {
        building.transaction(MPC, None, Bytes::new());
        building.emit(spec.l1.locking_pool, &Proxied::Initialized { version: 1 });
    }
    for act in acts {
        building.act(*act, salt);
    }
    let header = Header { number, hash, parent_hash, timestamp: time, base_fee_per_gas: None };
    Block { header, logs: building.logs, transactions: building.transactions, after: building.state }
}

impl Building<'_> {
    fn transaction(&mut self, from: Address, to: Option<Address>, input: Bytes) {
        let place = self.transactions.len() as u64;
        let hash = keccak256([self.hash.as_slice(), &place.to_be_bytes()].concat());
        self.transactions.push(Transaction {
            hash,
            from,
            to,
            input,
            value: U256::ZERO,
            nonce: place,
            block_number: Some(self.number),
            block_hash: Some(self.hash),
        });
    }

    fn emit<E: SolEvent>(&mut self, address: Address, event: &E) {
        let data = event.encode_log_data();
        let transaction = self.transactions.last().expect("logs belong to transactions");
        self.logs.push(Log {
            address,
            topics: data.topics().try_into().expect("at most four"),
            data: data.data.clone(),
            block_number: self.number,
            block_hash: self.hash,
            transaction_hash: transaction.hash,
            transaction_index: self.transactions.len() as u64 - 1,
            log_index: self.logs.len() as u64,
            block_timestamp: Some(self.time),
            removed: false,
        });
    }

    fn info<E: SolEvent>(&mut self, event: &E) {
        self.emit(self.spec.l1.locking_info, event);
    }

    fn pool<E: SolEvent>(&mut self, event: &E) {
        self.emit(self.spec.l1.locking_pool, event);
    }

    fn act(&mut self, act: Act, salt: u64) {
        let pool = self.spec.l1.locking_pool;
        match act {
            Act::Lock { amount } => self.lock(U256::from(amount), salt),
            Act::Batch { blocks, nested } => self.batch(&blocks, nested),
            Act::Whitelist { who, yes } => {
                let owners: Vec<Address> = self.state.whitelist.keys().copied().collect();
                let user = owners.get(who % owners.len().max(1)).copied().unwrap_or(MPC);
                self.transaction(MPC, Some(pool), Bytes::new());
                self.state.whitelist.insert(user, yes);
                self.pool(&LockingPool::SetWhitelist { user, yes });
            }
            Act::RewardPerBlock { wei } => {
                let newReward = U256::from(wei) + U256::from(1);
                let oldReward = std::mem::replace(&mut self.state.reward_per_block, newReward);
                self.transaction(MPC, Some(pool), Bytes::new());
                self.pool(&LockingPool::RewardUpdate { newReward, oldReward });
            }
            Act::Pause { yes } => {
                self.transaction(MPC, Some(pool), Bytes::new());
                self.state.paused = yes;
                if yes {
                    self.pool(&LockingPool::Paused { account: MPC });
                } else {
                    self.pool(&LockingPool::Unpaused { account: MPC });
                }
            }
            Act::Finish { who } => {
                if let Some(id) = self.state.chosen(who, Status::Inactive) {
                    self.finish(id);
                }
            }
            Act::Relock { who, .. }
            | Act::Withdraw { who, .. }
            | Act::Claim { who }
            | Act::Unlock { who }
            | Act::Rotate { who }
            | Act::SetOwner { who }
            | Act::SetRecipient { who } => {
                if let Some(id) = self.state.chosen(who, Status::Active) {
                    self.operate(act, id, salt);
                }
            }
        }
    }

    fn lock(&mut self, amount: U256, salt: u64) {
        let (owner, signer) = (self.state.fresh(salt), self.state.fresh(salt));
        let id = SequencerId(self.state.records.len() as u64 + 1);
        let pubkey = Bytes::from(vec![id.0 as u8; 64]);
        let record = SequencerRecord {
            amount: Metis(amount),
            reward: Metis::ZERO,
            activation_batch: BatchId(self.state.batch),
            updated_batch: BatchId(self.state.batch),
            deactivation_batch: BatchId(0),
            deactivation_time: Timestamp(0),
            unlock_claim_time: Timestamp(0),
            nonce: Nonce(1),
            owner,
            signer,
            pubkey: pubkey.clone(),
            reward_recipient: (!id.0.is_multiple_of(3)).then_some(MPC),
            status: Status::Active,
        };
        let recipient = record.reward_recipient.unwrap_or_default();
        self.state.records.insert(id, record);
        self.state.whitelist.insert(owner, true);
        self.state.total_locked += amount;
        let (total, batch) = (self.state.total_locked, U256::from(self.state.batch));
        let sequencerId = U256::from(id.0);
        self.transaction(MPC, Some(self.spec.l1.locking_pool), Bytes::new());
        self.pool(&LockingPool::SetWhitelist { user: owner, yes: true });
        self.transaction(owner, Some(self.spec.l1.locking_pool), Bytes::new());
        self.transfer(owner, amount);
        self.info(&LockingInfo::Locked {
            signer,
            sequencerId,
            nonce: U256::from(1),
            activationBatch: batch,
            amount,
            total,
            signerPubkey: pubkey,
        });
        self.pool(&LockingPool::SequencerOwnerChanged { seqId: sequencerId, owner });
        self.pool(&LockingPool::SequencerRewardRecipientChanged { seqId: sequencerId, recipient });
    }

    fn transfer(&mut self, from: Address, value: U256) {
        let to = self.spec.l1.locking_info;
        self.emit(self.spec.l1.metis, &Erc20::Transfer { from, to, value });
    }

    fn claim(&mut self, id: SequencerId, even_nothing: bool) -> U256 {
        let record = self.state.records.get_mut(&id).expect("chosen among them");
        let amount = std::mem::take(&mut record.reward).0;
        let recipient = record.reward_recipient.unwrap_or_default();
        if even_nothing || !amount.is_zero() {
            self.state.liquidated += amount;
            let totalAmount = self.state.liquidated;
            self.info(&LockingInfo::ClaimRewards {
                sequencerId: U256::from(id.0),
                recipient,
                amount,
                totalAmount,
            });
        }
        amount
    }

    fn step(&mut self, id: SequencerId) -> (&mut SequencerRecord, U256) {
        let record = self.state.records.get_mut(&id).expect("chosen among them");
        record.nonce = Nonce(record.nonce.0 + 1);
        let nonce = U256::from(record.nonce.0);
        (record, nonce)
    }

    fn operate(&mut self, act: Act, id: SequencerId, salt: u64) {
        let (batch, time) = (self.state.batch, self.time);
        let sequencerId = U256::from(id.0);
        let owner = self.state.records[&id].owner;
        self.transaction(owner, Some(self.spec.l1.locking_pool), Bytes::new());
        match act {
            Act::Relock { amount, with_rewards, .. } => self.relock(id, U256::from(amount), with_rewards),
            Act::Withdraw { amount, .. } => {
                let amount = U256::from(amount).min(self.state.records[&id].amount.0);
                let (record, nonce) = self.step(id);
                record.amount = Metis(record.amount.0 - amount);
                record.updated_batch = BatchId(batch);
                let newAmount = record.amount.0;
                self.state.total_locked -= amount;
                self.info(&LockingInfo::Withdraw { sequencerId, amount });
                self.info(&LockingInfo::LockUpdate { sequencerId, nonce, newAmount });
            }
            Act::Claim { .. } => {
                self.claim(id, false);
            }
            Act::Unlock { .. } => {
                let amount = self.claim(id, true);
                let (record, nonce) = self.step(id);
                record.status = Status::Inactive;
                record.deactivation_batch = BatchId(batch);
                record.deactivation_time = Timestamp(time);
                record.unlock_claim_time = Timestamp(time + 1_814_400);
                let user = record.signer;
                self.info(&LockingInfo::UnlockInit {
                    user,
                    sequencerId,
                    nonce,
                    deactivationBatch: U256::from(batch),
                    deactivationTime: U256::from(time),
                    unlockClaimTime: U256::from(time + 1_814_400),
                    amount,
                });
            }
            Act::Rotate { .. } => {
                let newSigner = self.state.fresh(salt);
                let (record, nonce) = self.step(id);
                let oldSigner = std::mem::replace(&mut record.signer, newSigner);
                record.pubkey = Bytes::from(newSigner.to_vec());
                record.updated_batch = BatchId(batch);
                let signerPubkey = record.pubkey.clone();
                self.info(&LockingInfo::SignerChange {
                    sequencerId,
                    nonce,
                    oldSigner,
                    newSigner,
                    signerPubkey,
                });
            }
            Act::SetOwner { .. } => {
                let owner = self.state.fresh(salt);
                self.step_less(id).owner = owner;
                self.pool(&LockingPool::SequencerOwnerChanged { seqId: sequencerId, owner });
            }
            Act::SetRecipient { .. } => {
                let recipient = self.state.fresh(salt);
                self.step_less(id).reward_recipient = Some(recipient);
                self.pool(&LockingPool::SequencerRewardRecipientChanged { seqId: sequencerId, recipient });
            }
            _ => {}
        }
    }

    fn step_less(&mut self, id: SequencerId) -> &mut SequencerRecord {
        self.state.records.get_mut(&id).expect("chosen among them")
    }

    fn relock(&mut self, id: SequencerId, incoming: U256, with_rewards: bool) {
        let owner = self.state.records[&id].owner;
        let (record, nonce) = self.step(id);
        let from_reward = if with_rewards { std::mem::take(&mut record.reward).0 } else { U256::ZERO };
        let amount = incoming + from_reward;
        record.amount = Metis(record.amount.0 + amount);
        let newAmount = record.amount.0;
        self.state.total_locked += amount;
        let (sequencerId, total) = (U256::from(id.0), self.state.total_locked);
        self.transfer(owner, incoming);
        self.info(&LockingInfo::Relocked { sequencerId, amount, total });
        self.info(&LockingInfo::LockUpdate { sequencerId, nonce, newAmount });
    }

    fn finish(&mut self, id: SequencerId) {
        let owner = self.state.records[&id].owner;
        self.transaction(owner, Some(self.spec.l1.locking_pool), Bytes::new());
        let (record, _) = self.step(id);
        record.status = Status::Unlocked;
        let amount = std::mem::take(&mut record.amount).0;
        self.state.total_locked -= amount;
        self.claim(id, false);
        let (sequencerId, total) = (U256::from(id.0), self.state.total_locked);
        self.info(&LockingInfo::Unlocked { user: owner, sequencerId, amount, total });
    }

    /// A batch for whoever can be paid, straight to the pool or hidden in a call of another contract.
    fn batch(&mut self, blocks: &[u16], nested: bool) {
        let live = |record: &&SequencerRecord| record.status != Status::Unlocked;
        let signers: Vec<Address> =
            self.state.records.values().filter(live).map(|record| record.signer).collect();
        if signers.is_empty() {
            return;
        }
        let paid: Vec<(Address, U256)> = blocks
            .iter()
            .enumerate()
            .map(|(n, blocks)| (signers[n % signers.len()], U256::from(*blocks)))
            .collect();
        self.state.batch += 1;
        let (start, end) = (self.state.end_epoch + 1, self.state.end_epoch + 2);
        self.state.end_epoch = end;
        let rpb = self.state.reward_per_block;
        let mut amount = U256::ZERO;
        for (signer, blocks) in &paid {
            let found = self.state.records.values_mut().find(|record| record.signer == *signer);
            let record = found.expect("chosen among them");
            record.reward = Metis(record.reward.0 + *blocks * rpb);
            amount += *blocks * rpb;
        }
        let batchId = U256::from(self.state.batch);
        let (startEpoch, endEpoch) = (U256::from(start), U256::from(end));
        let call = LockingPool::batchSubmitRewardsCall {
            batchId,
            startEpoch,
            endEpoch,
            seqs: paid.iter().map(|(signer, _)| *signer).collect(),
            blocks: paid.iter().map(|(_, blocks)| *blocks).collect(),
        };
        let to = if nested { MPC } else { self.spec.l1.locking_pool };
        self.transaction(MPC, Some(to), call.abi_encode().into());
        self.transfer(MPC, amount);
        self.info(&LockingInfo::BatchSubmitReward { newBatchId: batchId });
        self.pool(&LockingPool::DistributeReward { batchId, startEpoch, endEpoch, amount, rpb });
    }
}

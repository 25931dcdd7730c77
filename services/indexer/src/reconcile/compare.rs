//! Where the index and the contracts differ. Pure: two pictures of one block go in, named differences come out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use alloy_primitives::Address;
use chain::views::{BatchState, Epoch, EscrowParameters, PoolParameters, SequencerRecord, StatusCounts};
use domain::amount::Metis;
use domain::ids::{EpochId, SequencerId};

use crate::fold::parameters::Parameters;
use crate::fold::stored::status_number;

/// What the index says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indexed {
    /// Records by id.
    pub records: BTreeMap<SequencerId, SequencerRecord>,
    /// Parameters and counters.
    pub parameters: Parameters,
    /// Owners that were ever on the whitelist, and whether they are now.
    pub whitelist: BTreeMap<Address, bool>,
}

/// What the contracts say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnChain {
    /// Records by id.
    pub records: BTreeMap<SequencerId, SequencerRecord>,
    /// Of the pool.
    pub pool: PoolParameters,
    /// Of the escrow.
    pub escrow: EscrowParameters,
    /// `seqStatuses`.
    pub counts: StatusCounts,
    /// The same owners.
    pub whitelist: BTreeMap<Address, bool>,
    /// METIS that the escrow holds.
    pub escrow_balance: Metis,
}

/// Epochs compared: those that a re-span can change, and one that it cannot.
pub const EPOCHS: u32 = 3;

/// What the index says of L2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetIndexed {
    /// The newest [`EPOCHS`] by number.
    pub epochs: BTreeMap<EpochId, Epoch>,
    /// Blocks of a regular epoch; 0 until an event tells.
    pub epoch_length: u64,
    /// MPC address; zero until an event tells.
    pub mpc: Address,
}

/// What MetisSequencerSet says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetOnChain {
    /// `currentEpochNumber`.
    pub current: EpochId,
    /// Its newest [`EPOCHS`], and those that are the newest of the index.
    pub epochs: BTreeMap<EpochId, Epoch>,
    /// `epochLength`.
    pub epoch_length: u64,
    /// `mpcAddress`.
    pub mpc: Address,
}

#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn check<T: PartialEq + Display>(&mut self, what: impl Display, indexed: T, chain: T) {
        if indexed != chain {
            self.0.push(format!("{what}: indexed {indexed}, chain {chain}"));
        }
    }
}

/// Every field that differs, records first.
pub fn differences(indexed: &Indexed, chain: &OnChain) -> Vec<String> {
    let mut found = Differences::default();
    let last = |records: &BTreeMap<SequencerId, SequencerRecord>| {
        records.last_key_value().map_or(SequencerId(0), |(id, _)| *id)
    };
    found.check("totalSequencers", last(&indexed.records), chain.pool.total_sequencers);
    let ids: BTreeSet<&SequencerId> = indexed.records.keys().chain(chain.records.keys()).collect();
    for id in ids {
        match (indexed.records.get(id), chain.records.get(id)) {
            (Some(ours), Some(theirs)) => record(&mut found, *id, ours, theirs),
            (ours, theirs) => found.check(format!("sequencers({id})"), there(ours), there(theirs)),
        }
    }
    for (owner, ours) in &indexed.whitelist {
        let theirs = chain.whitelist.get(owner).copied().unwrap_or_default();
        found.check(format!("whitelist({owner})"), *ours, theirs);
    }
    parameters(&mut found, &indexed.parameters, chain);
    invariants(&mut found, chain);
    found.0
}

/// Every field of L2 that differs.
pub fn set_differences(indexed: &SetIndexed, chain: &SetOnChain) -> Vec<String> {
    let mut found = Differences::default();
    let last = indexed.epochs.last_key_value().map_or(EpochId(0), |(id, _)| *id);
    found.check("currentEpochNumber", last, chain.current);
    // Older ones were not read from the index.
    let first = indexed.epochs.first_key_value().map_or(EpochId(0), |(id, _)| *id);
    let ids: BTreeSet<&EpochId> = indexed.epochs.keys().chain(chain.epochs.keys()).collect();
    for id in ids.into_iter().filter(|id| **id >= first) {
        match (indexed.epochs.get(id), chain.epochs.get(id)) {
            (Some(ours), Some(theirs)) => {
                found.check(format!("epochs({id}).signer"), ours.signer, theirs.signer);
                found.check(format!("epochs({id}).startBlock"), ours.start_block, theirs.start_block);
                found.check(format!("epochs({id}).endBlock"), ours.end_block, theirs.end_block);
            }
            (ours, theirs) => found.check(format!("epochs({id})"), there(ours), there(theirs)),
        }
    }
    // The initialiser sets both without an event (P 2.2).
    if indexed.epoch_length != 0 {
        found.check("epochLength", indexed.epoch_length, chain.epoch_length);
    }
    if !indexed.mpc.is_zero() {
        found.check("mpcAddress of L2", indexed.mpc, chain.mpc);
    }
    found.0
}

fn there<T>(found: Option<T>) -> &'static str {
    if found.is_some() { "there" } else { "missing" }
}

fn record(found: &mut Differences, id: SequencerId, ours: &SequencerRecord, theirs: &SequencerRecord) {
    let field = |name: &str| format!("sequencers({id}).{name}");
    let recipient = |record: &SequencerRecord| record.reward_recipient.unwrap_or_default();
    found.check(field("amount"), ours.amount, theirs.amount);
    found.check(field("reward"), ours.reward, theirs.reward);
    found.check(field("activationBatch"), ours.activation_batch, theirs.activation_batch);
    found.check(field("updatedBatch"), ours.updated_batch, theirs.updated_batch);
    found.check(field("deactivationBatch"), ours.deactivation_batch, theirs.deactivation_batch);
    found.check(field("deactivationTime"), ours.deactivation_time, theirs.deactivation_time);
    found.check(field("unlockClaimTime"), ours.unlock_claim_time, theirs.unlock_claim_time);
    found.check(field("nonce"), ours.nonce, theirs.nonce);
    found.check(field("owner"), ours.owner, theirs.owner);
    found.check(field("signer"), ours.signer, theirs.signer);
    found.check(field("pubkey"), &ours.pubkey, &theirs.pubkey);
    found.check(field("rewardRecipient"), recipient(ours), recipient(theirs));
    found.check(field("status"), status_number(ours.status), status_number(theirs.status));
}

fn parameters(found: &mut Differences, ours: &Parameters, chain: &OnChain) {
    let OnChain { pool, escrow, counts, .. } = chain;
    let BatchState { id, l1_block, start_epoch, end_epoch } = pool.batch;
    found.check("curBatchState.id", ours.batch_id, id);
    found.check("curBatchState.number", ours.batch_block, l1_block);
    found.check("curBatchState.startEpoch", ours.batch_start_epoch, start_epoch);
    found.check("curBatchState.endEpoch", ours.batch_end_epoch, end_epoch);
    found.check("rewardPerBlock", ours.reward_per_block, pool.reward_per_block);
    found.check("exitDelayPeriod", ours.exit_delay_secs, pool.exit_delay_secs);
    found.check("signerUpdateThrottle", ours.signer_update_throttle, pool.signer_update_throttle);
    found.check("mpcAddress", ours.mpc, pool.mpc);
    found.check("paused", ours.paused, pool.paused);
    found.check("minLock", ours.min_lock, escrow.min_lock);
    found.check("maxLock", ours.max_lock, escrow.max_lock);
    found.check("totalLocked", ours.total_locked, escrow.total_locked);
    let liquidated = escrow.total_rewards_liquidated;
    found.check("totalRewardsLiquidated", ours.total_rewards_liquidated, liquidated);
    found.check("rewardPayer", ours.reward_payer, escrow.reward_payer);
    found.check("seqStatuses(1)", ours.exiting, counts.inactive);
    found.check("seqStatuses(2)", ours.active, counts.active);
    found.check("seqStatuses(3)", ours.exited, counts.unlocked);
}

/// What must hold on the chain itself (P 1.13).
fn invariants(found: &mut Differences, chain: &OnChain) {
    let sum = |of: fn(&SequencerRecord) -> Metis| Metis::checked_sum(chain.records.values().map(of));
    let (amounts, rewards) = (sum(|record| record.amount), sum(|record| record.reward));
    // Sums that do not fit are no METIS, and every single field has been reported then.
    let (Some(amounts), Some(rewards)) = (amounts, rewards) else { return };
    found.check("sum of amounts against totalLocked", amounts, chain.escrow.total_locked);
    let owed = amounts.checked_add(rewards).unwrap_or(Metis::MAX);
    if chain.escrow_balance < owed {
        let held = chain.escrow_balance;
        found.0.push(format!("METIS held by LockingInfo: {held}, less than the {owed} that it owes"));
    }
}

#[cfg(test)]
mod tests {
    use domain::ids::{BatchId, EpochId, Height, Nonce, Timestamp};
    use domain::preflight::Status;

    use super::*;

    fn pictures() -> (Indexed, OnChain) {
        let record = SequencerRecord {
            amount: Metis::whole(20),
            reward: Metis::whole(3),
            activation_batch: BatchId(1),
            updated_batch: BatchId(1),
            deactivation_batch: BatchId(0),
            deactivation_time: Timestamp(0),
            unlock_claim_time: Timestamp(0),
            nonce: Nonce(1),
            owner: Address::repeat_byte(1),
            signer: Address::repeat_byte(2),
            pubkey: vec![7; 64].into(),
            reward_recipient: None,
            status: Status::Active,
        };
        let parameters = Parameters { total_locked: Metis::whole(20), active: 1, ..Parameters::default() };
        let records: BTreeMap<_, _> = [(SequencerId(1), record)].into();
        let whitelist: BTreeMap<_, _> = [(Address::repeat_byte(1), true)].into();
        let zero = Address::ZERO;
        let chain = OnChain {
            records: records.clone(),
            pool: PoolParameters {
                batch: BatchState {
                    id: BatchId(1),
                    l1_block: Height(0),
                    start_epoch: EpochId(0),
                    end_epoch: EpochId(0),
                },
                total_sequencers: SequencerId(1),
                reward_per_block: parameters.reward_per_block,
                exit_delay_secs: parameters.exit_delay_secs,
                signer_update_throttle: 1,
                mpc: zero,
                escrow: zero,
                paused: false,
                owner: zero,
            },
            escrow: EscrowParameters {
                min_lock: parameters.min_lock,
                max_lock: parameters.max_lock,
                total_locked: Metis::whole(20),
                total_rewards_liquidated: Metis::ZERO,
                manager: zero,
                reward_payer: zero,
                bridge: zero,
                l1_token: zero,
                l2_token: zero,
                l2_chain_id: 1,
                owner: zero,
            },
            counts: StatusCounts { inactive: 0, active: 1, unlocked: 0 },
            whitelist: whitelist.clone(),
            escrow_balance: Metis::whole(23),
        };
        (Indexed { records, parameters, whitelist }, chain)
    }

    #[test]
    fn equal_pictures_have_no_difference() {
        let (indexed, chain) = pictures();
        assert_eq!(differences(&indexed, &chain), Vec::<String>::new());
    }

    #[test]
    fn each_difference_is_named_with_both_values() {
        type Change = fn(&mut Indexed, &mut OnChain);
        let cases: [(&str, Change); 7] = [
            ("sequencers(1).amount: indexed 21, chain 20", |ours, _| {
                ours.records.values_mut().for_each(|record| record.amount = Metis::whole(21));
            }),
            ("sequencers(1).status: indexed 1, chain 2", |ours, _| {
                ours.records.values_mut().for_each(|record| record.status = Status::Inactive);
            }),
            ("sequencers(1): indexed there, chain missing", |_, chain| {
                chain.records.clear();
                chain.escrow.total_locked = Metis::ZERO;
                chain.escrow_balance = Metis::ZERO;
            }),
            (
                "whitelist(0x0101010101010101010101010101010101010101): indexed true, chain false",
                |_, chain| {
                    chain.whitelist.clear();
                },
            ),
            ("curBatchState.id: indexed 1, chain 2", |_, chain| chain.pool.batch.id = BatchId(2)),
            ("seqStatuses(2): indexed 1, chain 3", |_, chain| chain.counts.active = 3),
            ("METIS held by LockingInfo: 22, less than the 23 that it owes", |_, chain| {
                chain.escrow_balance = Metis::whole(22);
            }),
        ];
        for (expected, change) in cases {
            let (mut indexed, mut chain) = pictures();
            change(&mut indexed, &mut chain);
            let found = differences(&indexed, &chain);
            assert_eq!(found.first().map(String::as_str), Some(expected));
        }
    }

    #[test]
    fn each_difference_of_l2_is_named_and_what_no_event_told_is_none() {
        let epoch = |number: u64, end: u64| {
            let (start, end) = (Height(number * 100), Height(end));
            let id = EpochId(number);
            (id, Epoch { number: id, signer: Address::repeat_byte(1), start_block: start, end_block: end })
        };
        let epochs: BTreeMap<_, _> = [epoch(4, 499), epoch(5, 599), epoch(6, 699)].into();
        let (epoch_length, mpc) = (100, Address::repeat_byte(9));
        let chain = SetOnChain { current: EpochId(6), epochs: epochs.clone(), epoch_length, mpc };
        let untold = SetIndexed { epochs: epochs.clone(), epoch_length: 0, mpc: Address::ZERO };
        assert_eq!(set_differences(&untold, &chain), Vec::<String>::new());

        let cut = [epoch(4, 499), epoch(5, 549)].into();
        let found = set_differences(&SetIndexed { epochs: cut, epoch_length: 99, mpc }, &chain);
        let expected = [
            "currentEpochNumber: indexed 5, chain 6",
            "epochs(5).endBlock: indexed 549, chain 599",
            "epochs(6): indexed missing, chain there",
            "epochLength: indexed 99, chain 100",
        ];
        assert_eq!(found, expected);
    }
}

//! What happens beside the crowd's own acts, each in a rhythm of its own: reward batches, governance, new signers,
//! exits.

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::SolCall;
use chain::abi::{LockingInfo, LockingPool};
use domain::amount::{Eth, Metis};
use domain::ids::SequencerId;
use domain::preflight::Status;

use super::{Crowd, CrowdContract, MEMBERS, enlist_call};
use crate::Error;
use crate::contracts::{Action, account, node_key};

/// Rhythms, in blocks of the crowd. Primes, so that they meet each other in all ways.
const BATCH_EVERY: u64 = 61;
const WHITELIST_EVERY: u64 = 37;
const PARAMETER_EVERY: u64 = 211;
const SIGNER_EVERY: u64 = 401;
const EXIT_EVERY: u64 = 499;
/// The batch of which this is a divisor is hidden from the transaction's calldata: the crowd is the MPC.
const NESTED_EVERY: u64 = 10;
/// Before it an exit cannot end, in blocks of the crowd: beyond [`EXIT_DELAY_SECS`].
const EXIT_BLOCKS: u64 = 320;
const EXIT_DELAY_SECS: u64 = 3_600;
/// Sequencers paid by a batch, and blocks of each.
const PAID: u64 = 12;
const PAID_BLOCKS: u64 = 40;
const EPOCHS_PER_BATCH: u64 = 12;
/// Batches between two uses of a sequencer's throttle, at most, as governance sets it here.
const SIGNER_THROTTLE_MAX: u64 = 2;
/// First reward for a block, and by what it grows.
const REWARD_WEI: u64 = 761_000_000_000_000;
const REWARD_STEP_WEI: u64 = 1_000_000_000;

/// What must be remembered from one to the next.
#[derive(Debug)]
pub(super) struct Extras {
    seed: u64,
    /// Numbers of the keys that sign now.
    keys: Vec<u64>,
    last_key: u64,
    batch: u64,
    last_epoch: u64,
    exiting: Option<(u64, SequencerId)>,
}

impl Extras {
    pub(super) fn new(seed: u64) -> Self {
        // The pool begins with batch 1.
        Self { seed, keys: Vec::new(), last_key: 0, batch: 1, last_epoch: 0, exiting: None }
    }

    /// The member locks, with a key that was never used; a key that it replaces signs no more.
    pub(super) fn enlist(&mut self, member: u64, replaced: Option<Address>) -> Bytes {
        let key = self.replace_key(replaced);
        enlist_call(member, key)
    }

    /// The next key, in the place of an old one if there was one.
    fn replace_key(&mut self, old: Option<Address>) -> u64 {
        self.last_key += 1;
        self.keys.retain(|key| Some(signer(*key).address()) != old);
        self.keys.push(self.last_key);
        self.last_key
    }

    /// What is to be sent beside the crowd's acts in this block.
    pub(super) async fn due(crowd: &mut Crowd) -> Result<Vec<Action>, Error> {
        let block = crowd.played;
        let mut actions = Vec::new();
        if block == 1 {
            let time = U256::from(EXIT_DELAY_SECS);
            actions.push(governance(crowd, &LockingPool::updateWithdrawDelayTimeValueCall { time }));
        }
        if block.is_multiple_of(BATCH_EVERY) {
            actions.extend(crowd.batch().await?);
        }
        if block.is_multiple_of(WHITELIST_EVERY) {
            let turn = block / WHITELIST_EVERY;
            let addr = account(&format!("applicant {} of {}", turn / 2, crowd.extras.seed));
            actions.push(governance(
                crowd,
                &LockingPool::setWhitelistCall { addr, yes: turn.is_multiple_of(2) },
            ));
        }
        if block.is_multiple_of(PARAMETER_EVERY) {
            actions.push(parameter(crowd, block / PARAMETER_EVERY));
        }
        match block % EXIT_EVERY {
            0 => actions.extend(crowd.begin_exit().await?),
            EXIT_BLOCKS => actions.extend(crowd.end_exit().await?),
            _ => {}
        }
        if block.is_multiple_of(SIGNER_EVERY) {
            actions.extend(crowd.change_signer().await?);
        }
        Ok(actions)
    }
}

impl Crowd {
    /// Pays some sequencers, and now and then does so through the crowd.
    async fn batch(&mut self) -> Result<Vec<Action>, Error> {
        let extras = &mut self.extras;
        extras.batch += 1;
        let start = extras.last_epoch + 1;
        extras.last_epoch += EPOCHS_PER_BATCH;
        let paid = |turn: u64| {
            let place = (extras.batch * 7 + turn) % extras.keys.len() as u64;
            signer(extras.keys[place as usize]).address()
        };
        let call = LockingPool::batchSubmitRewardsCall {
            batchId: U256::from(extras.batch),
            startEpoch: U256::from(start),
            endEpoch: U256::from(extras.last_epoch),
            seqs: (0..PAID).map(paid).collect(),
            blocks: (0..PAID).map(|turn| U256::from(PAID_BLOCKS + turn)).collect(),
        };
        let (pool, mpc) = (self.l1.locking_pool, self.l1.mpc);
        if !extras.batch.is_multiple_of(NESTED_EVERY) {
            return Ok(vec![Action::call(mpc, pool, &call)]);
        }
        // In blocks of their own, so that their order does not hang on how the node sorts its pool.
        let to_crowd = governance(self, &LockingPool::updateMpcCall { newMpc: self.contract });
        let back = governance(self, &LockingPool::updateMpcCall { newMpc: mpc });
        let forward = CrowdContract::forwardCall { target: pool, data: call.abi_encode().into() };
        let forward = Action::call(self.player, self.contract, &forward);
        self.settle(vec![to_crowd]).await?;
        self.settle(vec![forward]).await?;
        Ok(vec![back])
    }

    /// A member's sequencer begins its exit.
    async fn begin_exit(&mut self) -> Result<Option<Action>, Error> {
        let Some((member, id)) = self.some_sequencer().await? else { return Ok(None) };
        self.extras.exiting = Some((member, id));
        let call = LockingPool::unlockCall { seqId: id.into(), l2Gas: 0 };
        Ok(Some(self.order(member, &call)))
    }

    /// It ends its exit, and locks anew.
    async fn end_exit(&mut self) -> Result<Vec<Action>, Error> {
        let Some((member, id)) = self.extras.exiting.take() else { return Ok(Vec::new()) };
        let old = self.l1.record(id).await?.map(|record| record.signer);
        let claim = self.order(member, &LockingPool::unlockClaimCall { seqId: id.into(), l2Gas: 0 });
        let again = Action { data: self.extras.enlist(member, old), ..claim.clone() };
        Ok(vec![claim, again])
    }

    /// A sequencer gets a new key.
    async fn change_signer(&mut self) -> Result<Option<Action>, Error> {
        let Some((_, id)) = self.some_sequencer().await? else { return Ok(None) };
        let Some(record) = self.l1.record(id).await? else { return Ok(None) };
        let (batch, throttle) = (self.extras.batch, SIGNER_THROTTLE_MAX);
        // One on its way out keeps its key, and one that withdrew in this batch is throttled.
        if record.status != Status::Active || record.updated_batch.0 + throttle > batch {
            return Ok(None);
        }
        let new = self.extras.replace_key(Some(record.signer));
        self.l1.link.set_balance(record.signer, Eth::whole(10).0).await?;
        let call =
            LockingPool::updateSignerCall { seqId: id.into(), signerPubkey: signer(new).bytes64().into() };
        Ok(Some(Action::call(record.signer, self.l1.locking_pool, &call)))
    }

    /// A member in turn, with its sequencer; none if it has none just now.
    async fn some_sequencer(&self) -> Result<Option<(u64, SequencerId)>, Error> {
        let member = self.played % MEMBERS;
        let ids = CrowdContract::idsCall { member: U256::from(member) };
        let id = self.l1.link.view(self.contract, &ids).await?;
        Ok(Some((member, SequencerId(id.saturating_to()))).filter(|(_, id)| id.0 != 0))
    }

    fn order<C: SolCall>(&self, member: u64, call: &C) -> Action {
        let data = call.abi_encode().into();
        let order = CrowdContract::orderCall { member: U256::from(member), data };
        Action::call(self.player, self.contract, &order)
    }
}

fn governance<C: SolCall>(crowd: &Crowd, call: &C) -> Action {
    Action::call(crowd.l1.deployer, crowd.l1.locking_pool, call)
}

/// One parameter after the other, within what goes on to work.
fn parameter(crowd: &Crowd, turn: u64) -> Action {
    let (from, info) = (crowd.l1.deployer, crowd.l1.locking_info);
    match turn % 5 {
        0 => governance(crowd, &LockingPool::setSignerUpdateThrottleCall { n: U256::from(1 + turn % 2) }),
        1 => {
            let new = REWARD_WEI + turn * REWARD_STEP_WEI;
            governance(crowd, &LockingPool::updateBlockRewardCall { newReward: U256::from(new) })
        }
        2 => {
            let most = Metis::whole(100_000 + turn).0;
            Action::call(from, info, &LockingInfo::setMaxLockCall { maxLock: most })
        }
        3 => {
            let least = Metis::whole(20_000 + turn % 50).0;
            Action::call(from, info, &LockingInfo::setMinLockCall { minLock: least })
        }
        _ => {
            let time = U256::from(EXIT_DELAY_SECS - turn);
            governance(crowd, &LockingPool::updateWithdrawDelayTimeValueCall { time })
        }
    }
}

fn signer(key: u64) -> domain::pubkey::PublicKey {
    node_key(&format!("signer {key} of the crowd"))
}

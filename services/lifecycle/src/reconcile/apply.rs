//! What each event does to the projection and the history. Every change keeps its before-image first, so that a
//! revert restores exactly what stood there.

use alloy_primitives::{Address, U256};
use api::indexer::v1::chain_event::Event;
use api::indexer::v1::{ChainEvent, CommittedBlock, Locked};
use domain::amount::Metis;
use domain::ids::Timestamp;
use domain::phase::{Fact, Phase, Step, step};
use sea_orm::ConnectionTrait;
use store::column::{Addr, Wei};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::wire::{self, Block};
use crate::db::{position, producer, sequencer, transition, undo, whitelist};
use crate::error::Error;

/// Phases of sequencers without a lock: what moves them is the whitelist.
const BEFORE_LOCK: [&str; 2] = ["REGISTERED", "WHITELISTED"];

/// Applies the events of blocks of one network, counting the state changes it makes.
#[derive(Debug)]
pub struct Applier<'a, C> {
    pub tx: &'a C,
    pub network: &'a str,
    /// The L1 block that is being applied, or the L1 head for facts from elsewhere.
    pub block: Block,
    pub transitions: u64,
}

/// A cause in words with the log behind it, if there is one.
struct Cause {
    words: String,
    log: Option<transition::Log>,
}

impl<C: ConnectionTrait> Applier<'_, C> {
    /// One L1 block: time first, because the contract looked at it too, then its events in order.
    pub async fn l1_block(&mut self, committed: &CommittedBlock) -> Result<(), Error> {
        self.chain_time().await?;
        for (place, event) in committed.events.iter().enumerate() {
            self.l1_event(event, &committed.events[place + 1..]).await?;
        }
        Ok(())
    }

    /// EXITING becomes WITHDRAWABLE where the block's time allows it.
    pub async fn chain_time(&mut self) -> Result<(), Error> {
        let now = self.block.chain_time();
        for row in position::due(self.tx, self.network, "EXITING", self.block.time).await? {
            let cause = Cause { words: format!("the exit delay is over at block time {now}"), log: None };
            self.fact(row, Fact::ChainTime(now), cause).await?;
        }
        Ok(())
    }

    async fn l1_event(&mut self, event: &ChainEvent, following: &[ChainEvent]) -> Result<(), Error> {
        let Some(what) = &event.event else { return Ok(()) };
        let log = wire::log(event)?;
        match what {
            Event::SetWhitelist(event) => {
                self.set_whitelist(wire::address(&event.owner)?, event.whitelisted, log).await
            }
            Event::Locked(locked) => {
                let owner = owner_of_lock(locked, &log, following)?;
                self.locked(locked, owner, log).await
            }
            Event::SequencerOwnerChanged(event) => {
                let owner = Addr(wire::address(&event.owner)?);
                self.change(&event.sequencer_id, |row| row.owner = owner).await
            }
            Event::SequencerRewardRecipientChanged(event) => {
                let recipient = Addr(wire::address(&event.recipient)?);
                self.change(&event.sequencer_id, |row| row.recipient = Some(recipient)).await
            }
            Event::LockUpdate(event) => {
                let (locked, nonce) = (Wei(wire::number(&event.new_amount_wei)?), wire::count(event.nonce)?);
                self.change(&event.sequencer_id, |row| (row.locked, row.nonce) = (locked, nonce)).await
            }
            Event::SignerChange(event) => {
                let signer = Addr(wire::address(&event.new_signer)?);
                let (pubkey, nonce) = (wire::bytes(&event.signer_pubkey)?, wire::count(event.nonce)?);
                self.change(&event.sequencer_id, |row| {
                    (row.signer, row.signer_pubkey, row.nonce) = (signer, Some(pubkey), nonce);
                })
                .await
            }
            Event::UnlockInit(event) => {
                let at = wire::seconds(event.unlock_claim_time)?;
                let nonce = wire::count(event.nonce)?;
                self.change(&event.sequencer_id, |row| {
                    (row.withdrawable_at, row.nonce) = (Some(at), nonce);
                })
                .await?;
                let from = at.format(&Rfc3339).unwrap_or_else(|_| at.to_string());
                let words = format!("UnlockInit, withdrawable from {from}");
                let fact = Fact::UnlockInit { withdrawable_at: Timestamp(event.unlock_claim_time) };
                self.fact_of(&event.sequencer_id, fact, words, log).await
            }
            Event::Unlocked(event) => {
                // The last increment of the counter has no event of its own (P 1.8).
                self.change(&event.sequencer_id, |row| {
                    (row.locked, row.nonce) = (Wei::default(), row.nonce + 1)
                })
                .await?;
                let words = format!("Unlocked {} METIS", Metis(wire::number(&event.amount_wei)?));
                self.fact_of(&event.sequencer_id, Fact::Unlocked, words, log).await
            }
            _ => Ok(()),
        }
    }

    async fn set_whitelist(
        &mut self,
        owner: Address,
        whitelisted: bool,
        log: transition::Log,
    ) -> Result<(), Error> {
        let key = hex::encode(owner);
        undo::keep_whitelist_entry(self.tx, self.network, self.block.number, &key).await?;
        whitelist::put(self.tx, self.network, owner, whitelisted).await?;
        for row in position::of_owner(self.tx, self.network, owner).await? {
            let words = format!("SetWhitelist({owner}, {whitelisted})");
            self.fact(row, Fact::Whitelisted(whitelisted), Cause { words, log: Some(log.clone()) }).await?;
        }
        Ok(())
    }

    /// Ties a lock to the register by owner and signer, never by its id. A lock that nobody registered gets a row
    /// of its own.
    async fn locked(&mut self, locked: &Locked, owner: Address, log: transition::Log) -> Result<(), Error> {
        let signer = wire::address(&locked.signer)?;
        let pubkey = wire::bytes(&locked.signer_pubkey)?;
        let id = match sequencer::of_lock(self.tx, self.network, owner, signer).await? {
            Some(row) => row.id,
            None => self.observe(owner, signer, &pubkey).await?,
        };
        let before = position::of(self.tx, id).await?;
        let phase = match &before {
            Some(row) => row.phase.clone(),
            None if whitelist::of(self.tx, self.network, owner).await? => {
                Phase::Whitelisted.name().to_owned()
            }
            None => Phase::Registered.name().to_owned(),
        };
        self.keep(id).await?;
        let row = position::Row {
            sequencer: id,
            network: self.network.to_owned(),
            phase,
            seq_id: Some(Wei(wire::number(&locked.sequencer_id)?)),
            owner: Addr(owner),
            signer: Addr(signer),
            signer_pubkey: Some(pubkey),
            recipient: Some(Addr(Address::ZERO)),
            locked: Wei(wire::number(&locked.amount_wei)?),
            nonce: wire::count(locked.nonce)?,
            withdrawable_at: None,
            active_l2_block: None,
        };
        position::put(self.tx, &row).await?;
        let words = format!("Locked {} METIS", Metis(row.locked.0));
        self.fact(row, Fact::Locked, Cause { words, log: Some(log) }).await?;
        self.known_producer(id, signer).await
    }

    /// A signer that produced before we saw its lock is known to the consensus layer already.
    async fn known_producer(&mut self, id: Uuid, signer: Address) -> Result<(), Error> {
        if let Some(first) = producer::of(self.tx, self.network, signer).await? {
            self.activate_by_epoch(id, &first).await?;
        }
        Ok(())
    }

    async fn observe(&mut self, owner: Address, signer: Address, pubkey: &[u8]) -> Result<Uuid, Error> {
        let plain = format!("0x{}", hex::encode(signer));
        // After a reorganisation the same signer may have been locked by another owner.
        let second = format!("{plain}-{}", &hex::encode(owner)[..8]);
        for name in [plain, second] {
            let row = sequencer::Row {
                id: Uuid::now_v7(),
                network: self.network.to_owned(),
                name,
                managed: false,
                owner: Addr(owner),
                signer: Addr(signer),
                signer_pubkey: Some(pubkey.to_vec()),
                wanted_recipient: None,
                labels: serde_json::json!({}),
                listing: None,
                version: 1,
                create_time: OffsetDateTime::UNIX_EPOCH,
            };
            if sequencer::insert(self.tx, &row).await? {
                return Ok(row.id);
            }
        }
        Err(Error::Malformed { what: "the name of an observed sequencer" })
    }

    /// An epoch of L2 was given to a signer.
    pub async fn epoch(&mut self, first: &producer::Row) -> Result<(), Error> {
        if producer::put_first(self.tx, first).await? {
            for row in position::of_signer(self.tx, self.network, first.signer.0).await? {
                self.activate_by_epoch(row.sequencer, first).await?;
            }
        }
        Ok(())
    }

    async fn activate_by_epoch(&mut self, id: Uuid, first: &producer::Row) -> Result<(), Error> {
        let Some(mut row) = position::of(self.tx, id).await? else { return Ok(()) };
        if row.phase != Phase::Locked.name() {
            return Ok(());
        }
        row.active_l2_block = Some(first.block_number);
        let log = transition::Log {
            layer: 2,
            block_number: first.block_number,
            block_hash: first.block_hash,
            block_time: first.block_time,
            transaction: first.transaction_hash,
            index: first.log_index,
        };
        let words = format!("the signer produces in L2 epoch {}", first.epoch);
        self.fact(row, Fact::ConsensusKnows, Cause { words, log: Some(log) }).await
    }

    /// themis has a validator record of this signer.
    pub async fn validator_known(&mut self, row: position::Row) -> Result<(), Error> {
        let words = "themis has the validator record".to_owned();
        self.fact(row, Fact::ConsensusKnows, Cause { words, log: None }).await
    }

    /// Takes back what L2 blocks above `block` proved.
    pub async fn revert_l2(&mut self, block: i64) -> Result<u64, Error> {
        producer::remove_above(self.tx, self.network, block).await?;
        let mut undone = 0;
        let active = Phase::Active.name();
        for mut row in position::activated_above(self.tx, self.network, active, block).await? {
            self.keep(row.sequencer).await?;
            undone += transition::undo_l2_above(self.tx, self.network, row.sequencer, block).await?;
            (row.phase, row.active_l2_block) = (Phase::Locked.name().to_owned(), None);
            position::put(self.tx, &row).await?;
        }
        Ok(undone)
    }

    /// Takes back what L1 blocks above the present one did.
    pub async fn revert_l1(&mut self) -> Result<u64, Error> {
        let restored = undo::restore_above(self.tx, self.network, self.block.number).await?;
        let undone = transition::undo_above(self.tx, self.network, self.block.number).await?;
        // A sequencer registered after the block that went has no before-image of its own.
        for key in restored.owners {
            let owner = wire::address(&key)?;
            let whitelisted = whitelist::of(self.tx, self.network, owner).await?;
            for mut row in position::of_owner(self.tx, self.network, owner).await? {
                let phase = if whitelisted { Phase::Whitelisted } else { Phase::Registered };
                if BEFORE_LOCK.contains(&row.phase.as_str()) && row.phase != phase.name() {
                    let from = std::mem::replace(&mut row.phase, phase.name().to_owned());
                    position::put(self.tx, &row).await?;
                    let words = "a reorganisation took back SetWhitelist".to_owned();
                    self.record(&row, from, Cause { words, log: None }).await?;
                }
            }
        }
        Ok(undone)
    }

    async fn keep(&self, id: Uuid) -> Result<(), Error> {
        Ok(undo::keep_position(self.tx, self.network, self.block.number, id).await?)
    }

    /// Changes the position with this id on chain.
    async fn change(&mut self, seq_id: &str, change: impl FnOnce(&mut position::Row)) -> Result<(), Error> {
        let Some(mut row) = self.of_seq_id(seq_id).await? else { return Ok(()) };
        self.keep(row.sequencer).await?;
        change(&mut row);
        Ok(position::put(self.tx, &row).await?)
    }

    async fn fact_of(
        &mut self,
        seq_id: &str,
        fact: Fact,
        words: String,
        log: transition::Log,
    ) -> Result<(), Error> {
        let Some(row) = self.of_seq_id(seq_id).await? else { return Ok(()) };
        self.fact(row, fact, Cause { words, log: Some(log) }).await
    }

    async fn of_seq_id(&self, seq_id: &str) -> Result<Option<position::Row>, Error> {
        let id: U256 = wire::number(seq_id)?;
        let row = position::of_seq_id(self.tx, self.network, id).await?;
        if row.is_none() {
            // Only a stream that began after the lock can cause this.
            tracing::error!(
                "an event of {} is about sequencer {id}, whose lock was never seen",
                self.network
            );
        }
        Ok(row)
    }

    /// Lets the state machine decide and records what it says.
    async fn fact(&mut self, mut row: position::Row, fact: Fact, cause: Cause) -> Result<(), Error> {
        let phase = phase_of(&row)?;
        let next = match step(phase, fact) {
            Step::Stay => return Ok(()),
            Step::Move(next) => next,
            Step::Contradiction { to, why } => {
                tracing::error!(sequencer.id = %row.sequencer, "sequencer {} in {phase}: {why}", row.sequencer);
                let Some(next) = to else { return Ok(()) };
                next
            }
        };
        self.keep(row.sequencer).await?;
        row.phase = next.name().to_owned();
        position::put(self.tx, &row).await?;
        self.record(&row, phase.name().to_owned(), cause).await
    }

    /// Adds a state change to the history.
    async fn record(&mut self, row: &position::Row, from: String, cause: Cause) -> Result<(), Error> {
        let Cause { words, log } = cause;
        let (id, to) = (row.sequencer, row.phase.clone());
        tracing::info!(sequencer.id = %id, "sequencer {id} is {to}: {words}");
        let new = transition::New {
            sequencer: id,
            network: self.network.to_owned(),
            from_phase: Some(from),
            to_phase: to,
            cause: words,
            block_number: self.block.number,
            block_hash: Some(self.block.hash),
            block_time: self.block.time,
            log,
        };
        transition::append(self.tx, &new).await?;
        self.transitions += 1;
        Ok(())
    }
}

/// The phase of a position, with its time where it has one.
pub fn phase_of(row: &position::Row) -> Result<Phase, Error> {
    let at = row.withdrawable_at.and_then(|at| u64::try_from(at.unix_timestamp()).ok()).map(Timestamp);
    Phase::from_parts(&row.phase, at).map_err(|_| Error::Malformed { what: "the phase of a position" })
}

/// The owner is not in `Locked`: it comes in the SequencerOwnerChanged that follows in the same transaction.
fn owner_of_lock(locked: &Locked, log: &transition::Log, following: &[ChainEvent]) -> Result<Address, Error> {
    for next in following {
        let Some(Event::SequencerOwnerChanged(changed)) = &next.event else { continue };
        if changed.sequencer_id == locked.sequencer_id && wire::log(next)?.transaction == log.transaction {
            return wire::address(&changed.owner);
        }
    }
    Err(Error::Malformed { what: "a Locked without the SequencerOwnerChanged that follows it" })
}

#[cfg(test)]
mod tests {
    use api::indexer::v1::SequencerOwnerChanged;
    use api::types::v1::{BlockRef, LogRef};
    use prost_types::Timestamp;

    use super::*;

    fn event(transaction: u8, event: Event) -> ChainEvent {
        let block = BlockRef {
            number: 1,
            hash: format!("0x{}", "11".repeat(32)),
            time: Some(Timestamp { seconds: 1, nanos: 0 }),
        };
        let at = LogRef {
            layer: 1,
            block: Some(block),
            transaction_hash: format!("0x{}", hex::encode([transaction; 32])),
            log_index: 0,
        };
        ChainEvent { at: Some(at), event: Some(event), ..Default::default() }
    }

    #[test]
    fn a_lock_is_its_owners_who_is_told_in_the_same_transaction_or_nobodys() {
        let locked = Locked { sequencer_id: "3".to_owned(), ..Default::default() };
        let owner = Address::repeat_byte(7);
        let changed = |id: &str| {
            let changed = SequencerOwnerChanged { sequencer_id: id.to_owned(), owner: owner.to_string() };
            Event::SequencerOwnerChanged(changed)
        };
        let log = wire::log(&event(1, Event::Locked(locked.clone()))).expect("well formed");
        let following = [event(1, changed("2")), event(1, changed("3"))];
        assert_eq!(owner_of_lock(&locked, &log, &following).expect("told"), owner);
        for stranger in [event(1, changed("2")), event(2, changed("3"))] {
            let error = owner_of_lock(&locked, &log, &[stranger]).expect_err("not told");
            assert!(matches!(error, Error::Malformed { .. }), "{error}");
        }
    }
}

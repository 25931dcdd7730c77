//! What each event does to the projection and the history; `domain::life` decides. Every change keeps its before-image
//! first, so that a revert restores exactly what stood there.

use alloy_primitives::{Address, U256};
use api::indexer::v1::chain_event::Event;
use api::indexer::v1::{ChainEvent, CommittedBlock, Locked};
use domain::amount::Metis;
use domain::ids::SequencerId;
use domain::life;
use domain::phase::Phase;
use sea_orm::ConnectionTrait;
use store::column::Addr;
use time::OffsetDateTime;
use uuid::Uuid;

use super::event::{OfId, life_of, of_id, row_of};
use super::wire::{self, Block};
use crate::db::{position, producer, sequencer, transition, undo, validator, whitelist};
use crate::error::Error;

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
#[derive(Debug, Clone)]
pub struct Cause {
    pub words: String,
    pub log: Option<transition::Log>,
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
            self.take(row, &life::Event::ChainTime(now), cause).await?;
        }
        Ok(())
    }

    async fn l1_event(&mut self, event: &ChainEvent, following: &[ChainEvent]) -> Result<(), Error> {
        match &event.event {
            Some(Event::SetWhitelist(set)) => {
                self.set_whitelist(wire::address(&set.owner)?, set.whitelisted, wire::log(event)?).await
            }
            Some(Event::Locked(locked)) => {
                let log = wire::log(event)?;
                let owner = owner_of_lock(locked, &log, following)?;
                self.locked(locked, owner, log).await
            }
            _ => match of_id(event)? {
                Some(of_id) => self.of_id(of_id, wire::log(event)?).await,
                None => Ok(()),
            },
        }
    }

    async fn of_id(&mut self, OfId { id, event, words }: OfId, log: transition::Log) -> Result<(), Error> {
        let Some(row) = self.of_seq_id(id).await? else { return Ok(()) };
        let sequencer = row.sequencer;
        self.take(row, &event, Cause { words, log: Some(log) }).await?;
        // A new signer may have been given an epoch before we saw its rotation.
        if matches!(event, life::Event::SignerChange { .. }) {
            self.activate_if_known(sequencer).await?;
        }
        Ok(())
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
            let cause = Cause { words, log: Some(log.clone()) };
            self.take(row, &life::Event::Whitelist(whitelisted), cause).await?;
        }
        Ok(())
    }

    /// Ties a lock to the register by owner and signer, never by its id. A lock that nobody registered gets a row
    /// of its own.
    async fn locked(&mut self, locked: &Locked, owner: Address, log: transition::Log) -> Result<(), Error> {
        let signer = wire::address(&locked.signer)?;
        let pubkey = wire::bytes(&locked.signer_pubkey)?;
        let register = match sequencer::of_lock(self.tx, self.network, owner, signer).await? {
            Some(row) => row,
            None => self.observe(owner, signer, &pubkey).await?,
        };
        let id = register.id;
        let row = match position::of(self.tx, id).await? {
            Some(row) => row,
            None => {
                let whitelisted = whitelist::of(self.tx, self.network, owner).await?;
                let phase = if whitelisted { Phase::Whitelisted } else { Phase::Registered };
                position::Row::without_lock(&register, phase.name())
            }
        };
        let amount = Metis(wire::number(&locked.amount_wei)?);
        let seq_id: U256 = wire::number(&locked.sequencer_id)?;
        let seq_id =
            SequencerId::try_from(seq_id).map_err(|_| Error::Malformed { what: "the id of a Locked" })?;
        let event = life::Event::Locked { seq_id, amount, nonce: locked.nonce, pubkey };
        self.take(row, &event, Cause { words: format!("Locked {amount} METIS"), log: Some(log) }).await?;
        // A signer that produced before we saw its lock is known to the consensus layer already.
        self.activate_if_known(id).await
    }

    async fn observe(
        &mut self,
        owner: Address,
        signer: Address,
        pubkey: &[u8],
    ) -> Result<sequencer::Row, Error> {
        let plain = format!("0x{}", hex::encode(signer));
        // After a reorganisation the same signer may have been locked by another owner, and operators choose names too:
        // the last one is free whatever was taken, because a name must never stop the stream.
        let second = format!("{plain}-{}", &hex::encode(owner)[..8]);
        let id = Uuid::now_v7();
        for name in [plain, second, format!("observed-{id}")] {
            let row = sequencer::Row {
                id,
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
                return Ok(row);
            }
        }
        Err(Error::Malformed { what: "the name of an observed sequencer" })
    }

    /// An epoch of L2 was given to a signer.
    pub async fn epoch(&mut self, first: &producer::Row) -> Result<(), Error> {
        if producer::put_first(self.tx, first).await? {
            self.activate_signed_by(first.signer.0).await?;
        }
        Ok(())
    }

    /// themis has a validator record of this signer.
    pub async fn validator_known(&mut self, signer: Address) -> Result<(), Error> {
        validator::put(self.tx, self.network, signer).await?;
        self.activate_signed_by(signer).await
    }

    async fn activate_signed_by(&mut self, signer: Address) -> Result<(), Error> {
        let locked = Phase::Locked.name();
        for row in position::ever_signed_by(self.tx, self.network, locked, signer).await? {
            self.activate_if_known(row.sequencer).await?;
        }
        Ok(())
    }

    /// LOCKED becomes ACTIVE where the consensus layer knows one of its signers.
    async fn activate_if_known(&mut self, id: Uuid) -> Result<(), Error> {
        let Some(row) = position::of(self.tx, id).await? else { return Ok(()) };
        if row.phase != Phase::Locked.name() {
            return Ok(());
        }
        match self.known(&row.signers).await? {
            Some(cause) => self.take(row, &life::Event::ConsensusKnows, cause).await,
            None => Ok(()),
        }
    }

    /// How the consensus layer is known to know any of these signers, if it does.
    pub(super) async fn known(&self, signers: &[String]) -> Result<Option<Cause>, Error> {
        if let Some(first) = producer::of_any(self.tx, self.network, signers).await? {
            let log = transition::Log {
                layer: 2,
                block_number: first.block_number,
                block_hash: first.block_hash,
                block_time: first.block_time,
                transaction: first.transaction_hash,
                index: first.log_index,
            };
            let words = format!("the signer produces in L2 epoch {}", first.epoch);
            return Ok(Some(Cause { words, log: Some(log) }));
        }
        let known = validator::any_known(self.tx, self.network, signers).await?;
        Ok(known.then(|| Cause { words: "themis has the validator record".to_owned(), log: None }))
    }

    /// Keeps the position of a sequencer as it is before it changes.
    pub(super) async fn keep(&self, id: Uuid) -> Result<(), Error> {
        Ok(undo::keep_position(self.tx, self.network, self.block.number, id).await?)
    }

    async fn of_seq_id(&self, id: U256) -> Result<Option<position::Row>, Error> {
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

    /// Lets the state machine decide, and stores and records what it says.
    pub(super) async fn take(
        &mut self,
        row: position::Row,
        event: &life::Event,
        cause: Cause,
    ) -> Result<(), Error> {
        let mut life = life_of(&row)?;
        let (id, before) = (row.sequencer, life.clone());
        let taken = life.take(event);
        for why in taken.contradictions {
            tracing::error!(sequencer.id = %id, "sequencer {id} in {}: {why}", before.phase);
        }
        if life == before {
            return Ok(());
        }
        self.keep(id).await?;
        let row = row_of(&row, life)?;
        position::put(self.tx, &row).await?;
        match taken.moved_from {
            Some(from) => self.record(&row, from, cause).await,
            None => Ok(()),
        }
    }

    /// Adds a state change to the history.
    async fn record(&mut self, row: &position::Row, from: Phase, cause: Cause) -> Result<(), Error> {
        let Cause { words, log } = cause;
        let (id, to) = (row.sequencer, row.phase.clone());
        tracing::info!(sequencer.id = %id, "sequencer {id} is {to}: {words}");
        let new = transition::New {
            sequencer: id,
            network: self.network.to_owned(),
            from_phase: Some(from.name().to_owned()),
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

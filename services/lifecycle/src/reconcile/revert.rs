//! What a reorganisation takes back. The journal restores what L1 blocks did; what the consensus layer knows stands
//! beside it, so that afterwards every state is again what the surviving events of both chains add up to.

use domain::life::Event;
use domain::phase::Phase;
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::apply::{Applier, Cause};
use super::event::{life_of, row_of};
use super::wire;
use crate::db::{position, producer, sequencer, transition, undo, whitelist};
use crate::error::Error;

/// Phases of sequencers without a lock: what moves them is the whitelist.
const BEFORE_LOCK: [&str; 2] = ["REGISTERED", "WHITELISTED"];

impl<C: ConnectionTrait> Applier<'_, C> {
    /// Takes back what L2 blocks above `block` proved, in whatever state their sequencers are by now.
    pub async fn revert_l2(&mut self, block: i64) -> Result<u64, Error> {
        producer::remove_above(self.tx, self.network, block).await?;
        let mut undone = 0;
        for id in transition::caused_by_l2_above(self.tx, self.network, block).await? {
            undone += self.rewrite(id, block).await?;
        }
        Ok(undone)
    }

    /// Takes back the history of a sequencer from the L2 log on, and writes what is left of it again.
    async fn rewrite(&mut self, id: Uuid, block: i64) -> Result<u64, Error> {
        let gone = |row: &transition::Row| {
            row.log_layer == Some(2) && row.log_block_number.is_some_and(|number| number > block)
        };
        let mut history = transition::standing(self.tx, id).await?;
        let Some(first) = history.iter().position(gone) else { return Ok(0) };
        let tail = history.split_off(first);
        let undone = transition::take_back(self.tx, self.network, &tail).await?;
        let Some(row) = position::of(self.tx, id).await? else { return Ok(undone) };
        let known = self.known(&row.signers).await?;
        let mut from = tail.first().and_then(|row| row.from_phase.clone());
        for old in &tail {
            // Where another proof stands, that is why it is ACTIVE.
            let cause = match (&known, gone(old)) {
                (None, true) => continue,
                (Some(known), true) => known.clone(),
                (_, false) => Cause { words: old.cause.clone(), log: old.log() },
            };
            self.again(old, from.replace(old.to_phase.clone()), cause).await?;
        }
        let mut life = life_of(&row)?;
        let phase = life.phase_if_known(known.is_some());
        if phase != life.phase {
            self.keep(id).await?;
            life.phase = phase;
            position::put(self.tx, &row_of(&row, life)?).await?;
        }
        Ok(undone)
    }

    /// Records a state change again at its own block.
    async fn again(
        &mut self,
        old: &transition::Row,
        from_phase: Option<String>,
        cause: Cause,
    ) -> Result<(), Error> {
        let new = transition::New {
            sequencer: old.sequencer,
            network: old.network.clone(),
            from_phase,
            to_phase: old.to_phase.clone(),
            cause: cause.words,
            block_number: old.block_number,
            block_hash: old.block_hash,
            block_time: old.block_time,
            log: cause.log,
        };
        transition::append(self.tx, &new).await?;
        self.transitions += 1;
        Ok(())
    }

    /// Takes back what L1 blocks above the present one did.
    pub async fn revert_l1(&mut self) -> Result<u64, Error> {
        let restored = undo::restore_above(self.tx, self.network, self.block.number).await?;
        let undone = transition::undo_above(self.tx, self.network, self.block.number).await?;
        for id in restored.sequencers {
            self.settle(id).await?;
        }
        for key in restored.owners {
            self.follow_whitelist(&key).await?;
        }
        Ok(undone)
    }

    /// Makes a restored position what it is with what the consensus layer knows now.
    async fn settle(&mut self, id: Uuid) -> Result<(), Error> {
        let Some(mut row) = position::of(self.tx, id).await? else { return self.begin_again(id).await };
        if !row.has_lock_in_force() {
            return Ok(());
        }
        // An image may be of a time when L2 had proved what it has taken back since. The history was corrected then.
        let last = transition::standing(self.tx, id).await?.pop();
        if let Some(last) = last.filter(|last| last.to_phase != row.phase) {
            row.phase = last.to_phase;
            position::put(self.tx, &row).await?;
        }
        match self.known(&row.signers).await? {
            Some(known) => self.take(row, &Event::ConsensusKnows, known).await,
            None => Ok(()),
        }
    }

    /// A sequencer that an operator adopted after its lock keeps its place in the register when the lock is gone.
    async fn begin_again(&mut self, id: Uuid) -> Result<(), Error> {
        let Some(register) = sequencer::of_id(self.tx, id).await?.filter(|row| row.managed) else {
            return Ok(());
        };
        let whitelisted = whitelist::of(self.tx, self.network, register.owner.0).await?;
        let row = position::Row::without_lock(&register, before_lock(whitelisted).name());
        position::put(self.tx, &row).await?;
        self.correct(&row, None, "registered by an operator; a reorganisation took its lock").await
    }

    /// A sequencer registered after the block that went has no before-image of its own.
    async fn follow_whitelist(&mut self, key: &str) -> Result<(), Error> {
        let owner = wire::address(key)?;
        let phase = before_lock(whitelist::of(self.tx, self.network, owner).await?);
        for mut row in position::of_owner(self.tx, self.network, owner).await? {
            if BEFORE_LOCK.contains(&row.phase.as_str()) && row.phase != phase.name() {
                let from = std::mem::replace(&mut row.phase, phase.name().to_owned());
                position::put(self.tx, &row).await?;
                self.correct(&row, Some(from), "a reorganisation took back SetWhitelist").await?;
            }
        }
        Ok(())
    }

    /// Records what is so in spite of the journal. Like a registration it has no block hash: no later reorganisation
    /// takes it back.
    async fn correct(
        &mut self,
        row: &position::Row,
        from_phase: Option<String>,
        words: &str,
    ) -> Result<(), Error> {
        let new = transition::New {
            sequencer: row.sequencer,
            network: self.network.to_owned(),
            from_phase,
            to_phase: row.phase.clone(),
            cause: words.to_owned(),
            block_number: self.block.number,
            block_hash: None,
            block_time: self.block.time,
            log: None,
        };
        transition::append(self.tx, &new).await?;
        self.transitions += 1;
        Ok(())
    }
}

const fn before_lock(whitelisted: bool) -> Phase {
    if whitelisted { Phase::Whitelisted } else { Phase::Registered }
}

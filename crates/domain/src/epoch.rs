//! Which signer produces which L2 block: the table of epochs, folded from its events (P 2.4, 2.5).
//!
//! Re-spans truncate and overwrite epochs without saying so in a log; the rules of the contract are
//! repeated here. Reading logs and unwinding reorgs belong to the indexer.

use std::collections::BTreeMap;

use alloy_primitives::Address;

use crate::ids::{EpochId, Height};

/// A range of L2 blocks with one producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    /// Its number.
    pub id: EpochId,
    /// First block.
    pub start: Height,
    /// Last block.
    pub end: Height,
    /// The producer.
    pub signer: Address,
}

impl Epoch {
    /// Blocks of the epoch.
    pub fn blocks(&self) -> u64 {
        self.blocks_until(self.end)
    }

    /// Blocks of the epoch that are not above `head`.
    fn blocks_until(&self, head: Height) -> u64 {
        let end = self.end.min(head);
        if end < self.start { 0 } else { (end.0 - self.start.0).saturating_add(1) }
    }
}

/// The event `ReCommitEpoch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recommit {
    /// `oldEpochId`: the epoch that is cut short.
    pub old: EpochId,
    /// `newEpochId`: the epoch that is created or overwritten.
    pub new: EpochId,
    /// `curEpochId`: the newest epoch before the call.
    pub current: EpochId,
    /// First block of the new producer.
    pub start: Height,
    /// Last block of the new producer.
    pub end: Height,
    /// The new producer.
    pub signer: Address,
}

/// Blocks that a signer was to produce and no longer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The epoch it had.
    pub epoch: EpochId,
    /// Whose turn it was.
    pub signer: Address,
    /// Blocks taken from it; zero if its epoch was over and only no successor was there.
    pub blocks_lost: u64,
}

/// What a re-span took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Displaced {
    /// The old epoch's turn, if it was cut short or was the newest one.
    pub cut: Option<Turn>,
    /// The turn of the queued epoch that was overwritten.
    pub overwritten: Option<Turn>,
    /// Who took over.
    pub by: Address,
}

impl Displaced {
    /// The turns that another signer took over: these were missed.
    pub fn missed(&self) -> impl Iterator<Item = Turn> {
        let by = self.by;
        [self.cut, self.overwritten].into_iter().flatten().filter(move |turn| turn.signer != by)
    }
}

/// Why an event does not fit the table: one before it is missing, or it is not of this contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// The table is empty, and a re-span needs an epoch to displace.
    #[error("there is no epoch yet")]
    Empty,
    /// Another epoch was expected.
    #[error("epoch {found} came where {expected} was expected")]
    Order {
        /// The one that fits.
        expected: EpochId,
        /// The one that came.
        found: EpochId,
    },
    /// The epoch does not begin where the one before ends.
    #[error("epoch {epoch} begins at block {start}, not right after block {previous_end}")]
    Gap {
        /// The epoch.
        epoch: EpochId,
        /// Its first block.
        start: Height,
        /// Last block of the one before.
        previous_end: Height,
    },
    /// The range is empty, or begins before the epoch it displaces.
    #[error("blocks {start} to {end} are no range for epoch {epoch}")]
    Range {
        /// The epoch.
        epoch: EpochId,
        /// Its first block.
        start: Height,
        /// Its last block.
        end: Height,
    },
    /// The epoch was in the table, which does not begin early enough.
    #[error("epoch {0} is older than the table")]
    TooOld(EpochId),
}

/// The epochs of a network in order, without gaps in their numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Epochs {
    /// Starts ascend strictly, numbers ascend by one.
    rows: Vec<Epoch>,
}

impl Epochs {
    /// The table with these rows, as they were stored. It may begin with any epoch, and blocks may
    /// be missing between two of them.
    ///
    /// # Errors
    /// [`Misfit`] unless numbers ascend by one and ranges ascend without overlap.
    pub fn restore(rows: Vec<Epoch>) -> Result<Self, Misfit> {
        for pair in rows.windows(2) {
            let [before, epoch] = pair else { continue };
            follows(before.id, epoch.id)?;
            if epoch.start <= before.start || epoch.start <= before.end {
                return Err(Misfit::Gap { epoch: epoch.id, start: epoch.start, previous_end: before.end });
            }
        }
        match rows.iter().find(|epoch| epoch.end < epoch.start) {
            Some(Epoch { id, start, end, .. }) => Err(Misfit::Range { epoch: *id, start: *start, end: *end }),
            None => Ok(Self { rows }),
        }
    }

    /// Takes in a `NewEpoch`. The first one may have any number, the others follow each other.
    ///
    /// # Errors
    /// [`Misfit`] if it does not follow; the table is as before.
    pub fn commit(&mut self, epoch: Epoch) -> Result<(), Misfit> {
        range(epoch.id, epoch.start, epoch.end)?;
        if let Some(last) = self.rows.last() {
            follows(last.id, epoch.id)?;
            if Some(last.end) != epoch.start.previous() {
                return Err(Misfit::Gap { epoch: epoch.id, start: epoch.start, previous_end: last.end });
            }
        }
        self.rows.push(epoch);
        Ok(())
    }

    /// Takes in a `ReCommitEpoch` and tells whose turn it took.
    ///
    /// # Errors
    /// [`Misfit`] if the table is not where the event says; the table is as before.
    pub fn recommit(&mut self, event: Recommit) -> Result<Displaced, Misfit> {
        let current = self.rows.last().ok_or(Misfit::Empty)?.id;
        if event.current != current {
            return Err(Misfit::Order { expected: current, found: event.current });
        }
        range(event.new, event.start, event.end)?;
        if event.old == current { self.replace_current(event) } else { self.replace_queued(event) }
    }

    /// The epoch of this number.
    pub fn get(&self, id: EpochId) -> Option<&Epoch> {
        let index = id.0.checked_sub(self.rows.first()?.id.0)?;
        self.rows.get(usize::try_from(index).ok()?)
    }

    /// The newest epoch, which may lie in the future.
    pub fn last(&self) -> Option<&Epoch> {
        self.rows.last()
    }

    /// All epochs, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Epoch> {
        self.rows.iter()
    }

    /// The epoch that contains this block. Blocks before the first epoch have none, though the
    /// contract names the signer of epoch 0 for them.
    pub fn at(&self, block: Height) -> Option<&Epoch> {
        let after = self.rows.partition_point(|epoch| epoch.start <= block);
        self.rows.get(after.checked_sub(1)?).filter(|epoch| block <= epoch.end)
    }

    /// Who is to produce this block.
    pub fn producer(&self, block: Height) -> Option<Address> {
        self.at(block).map(|epoch| epoch.signer)
    }

    /// Blocks that each signer had in the epochs `from` to `to`, both included, up to `head`: later
    /// ones are not produced yet. Blocks up to the finalized one are certain.
    pub fn produced(&self, from: EpochId, to: EpochId, head: Height) -> BTreeMap<Address, u64> {
        let mut blocks = BTreeMap::<Address, u64>::new();
        for epoch in self.rows.iter().filter(|epoch| (from..=to).contains(&epoch.id)) {
            let produced = epoch.blocks_until(head);
            if produced > 0 {
                let sum = blocks.entry(epoch.signer).or_default();
                *sum = sum.saturating_add(produced);
            }
        }
        blocks
    }

    /// Case 1 of P 2.4: the newest epoch is cut, and a successor is created.
    fn replace_current(&mut self, event: Recommit) -> Result<Displaced, Misfit> {
        follows(event.old, event.new)?;
        let old = self.rows.last_mut().ok_or(Misfit::Empty)?;
        let cut = cut(old, event)?;
        // The contract sets the end even if that is later: in a stall single blocks come after the
        // end of an exhausted epoch, and they are counted as its own.
        old.end = last_before(event.start);
        let by = event.signer;
        self.rows.push(Epoch { id: event.new, start: event.start, end: event.end, signer: by });
        Ok(Displaced { cut: Some(cut), overwritten: None, by })
    }

    /// Case 2 of P 2.4: the queued epoch is overwritten, and the one before it is cut if it must be.
    fn replace_queued(&mut self, event: Recommit) -> Result<Displaced, Misfit> {
        follows(event.old, event.current)?;
        if event.new != event.current {
            return Err(Misfit::Order { expected: event.current, found: event.new });
        }
        let [.., old, queued] = self.rows.as_mut_slice() else {
            return Err(Misfit::TooOld(event.old));
        };
        if queued.start < event.start {
            return Err(Misfit::Range { epoch: event.new, start: event.start, end: event.end });
        }
        let turn = cut(old, event)?;
        let was_cut = old.end >= event.start;
        if was_cut {
            old.end = last_before(event.start);
        }
        let overwritten = Turn { epoch: queued.id, signer: queued.signer, blocks_lost: queued.blocks() };
        let by = event.signer;
        *queued = Epoch { id: event.new, start: event.start, end: event.end, signer: by };
        Ok(Displaced { cut: was_cut.then_some(turn), overwritten: Some(overwritten), by })
    }
}

/// What the old epoch loses; it must keep at least its first block.
fn cut(old: &Epoch, event: Recommit) -> Result<Turn, Misfit> {
    if event.start <= old.start {
        return Err(Misfit::Range { epoch: event.new, start: event.start, end: event.end });
    }
    let blocks_lost = old.end.0.saturating_sub(last_before(event.start).0);
    Ok(Turn { epoch: old.id, signer: old.signer, blocks_lost })
}

fn follows(before: EpochId, found: EpochId) -> Result<(), Misfit> {
    let expected = EpochId(before.0.saturating_add(1));
    if found == expected && found != before { Ok(()) } else { Err(Misfit::Order { expected, found }) }
}

/// The contract asks for two blocks at least.
fn range(epoch: EpochId, start: Height, end: Height) -> Result<(), Misfit> {
    if start < end { Ok(()) } else { Err(Misfit::Range { epoch, start, end }) }
}

/// The block before a range that displaces one; such a range never begins at block 0.
fn last_before(start: Height) -> Height {
    Height(start.0.saturating_sub(1))
}

#[cfg(test)]
mod tests;

//! Epochs of the L2 as the events add up to them, with the rules of `domain::epoch` (P 2.4).

use alloy_primitives::Address;
use chain::event::ChainEvent;
use domain::epoch::{Epoch, Misfit, Recommit};
use domain::ids::{EpochId, Height};

use super::wire::Derived;
use super::{Changes, Gap, Place};
use crate::db::{column, epoch, height, missed_turn};

/// Epochs loaded to go on from: a re-span changes at most the newest and the one before.
pub const LOADED: u32 = 3;

/// The state of MetisSequencerSet after some block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Epochs {
    table: domain::epoch::Epochs,
    length: u64,
    mpc: Address,
}

impl Epochs {
    /// The state as it was stored.
    ///
    /// # Errors
    /// When the rows are no sequence of epochs.
    pub fn load(mut newest: Vec<epoch::Row>, parameters: Option<epoch::Parameters>) -> Result<Self, Misfit> {
        newest.sort_by_key(|row| row.epoch_id);
        let table = domain::epoch::Epochs::restore(newest.into_iter().map(from_row).collect())?;
        let (length, mpc) = parameters.map(|row| (height(row.epoch_length), row.mpc.0)).unwrap_or_default();
        Ok(Self { table, length, mpc })
    }

    /// Applies the next log.
    ///
    /// # Errors
    /// When the log does not follow from those before.
    pub fn apply(
        &mut self,
        place: &Place,
        event: &ChainEvent,
        changes: &mut Changes,
    ) -> Result<Derived, Gap> {
        let before = (self.length, self.mpc);
        let mut derived = Derived::None;
        match event {
            ChainEvent::NewEpoch { epoch, start_block, end_block, signer } => {
                let new = Epoch { id: *epoch, start: *start_block, end: *end_block, signer: *signer };
                self.table.commit(new).map_err(|misfit| gap(place, &misfit))?;
                if epoch.0 > 0 {
                    // Epoch 0 has a length of its own; all other regular ones have this.
                    self.length = new.blocks();
                }
                note(place, &new, false, changes);
            }
            ChainEvent::ReCommitEpoch {
                old_epoch,
                new_epoch,
                current_epoch,
                start_block,
                end_block,
                new_signer,
            } => {
                let recommit = Recommit {
                    old: *old_epoch,
                    new: *new_epoch,
                    current: *current_epoch,
                    start: *start_block,
                    end: *end_block,
                    signer: *new_signer,
                };
                derived = self.recommit(place, recommit, changes)?;
            }
            ChainEvent::EpochUpdated { epoch_length } => self.length = *epoch_length,
            ChainEvent::MpcAddressUpdated { mpc } => self.mpc = *mpc,
            _ => {}
        }
        if (self.length, self.mpc) != before {
            let number = column(place.number);
            let row = epoch::Parameters { number, epoch_length: column(self.length), mpc: self.mpc.into() };
            changes.set_parameters.insert(number, row);
        }
        Ok(derived)
    }

    fn recommit(&mut self, place: &Place, event: Recommit, changes: &mut Changes) -> Result<Derived, Gap> {
        let old = self.table.get(event.old).copied();
        let displaced = self.table.recommit(event).map_err(|misfit| gap(place, &misfit))?;
        for (id, before) in [(event.old, old), (event.new, None)] {
            let after = self.table.get(id).copied();
            if let Some(after) = after.filter(|_| after != before) {
                note(place, &after, true, changes);
            }
        }
        // The contract can take two turns at once: the rest of the running epoch, and the queued one.
        for (turn, overwritten) in [(displaced.cut, false), (displaced.overwritten, true)] {
            if let Some(turn) = turn.filter(|turn| turn.signer != displaced.by) {
                changes.missed_turns.push(missed_turn::Row {
                    number: column(place.number),
                    log_index: place.column(),
                    epoch_id: column(turn.epoch.0),
                    signer: turn.signer.into(),
                    blocks_lost: column(turn.blocks_lost),
                    overwritten,
                    by_signer: displaced.by.into(),
                });
            }
        }
        Ok(Derived::Displaced(displaced.missed().map(|turn| turn.signer).collect()))
    }
}

fn gap(place: &Place, misfit: &Misfit) -> Gap {
    place.gap("epoch", "the next one", misfit)
}

fn note(place: &Place, epoch: &Epoch, respanned: bool, changes: &mut Changes) {
    let number = column(place.number);
    let row = epoch::Row {
        epoch_id: column(epoch.id.0),
        number,
        signer: epoch.signer.into(),
        start_block: column(epoch.start.0),
        end_block: column(epoch.end.0),
        respanned,
    };
    changes.epochs.insert((number, epoch.id.0), row);
}

fn from_row(row: epoch::Row) -> Epoch {
    let epoch::Row { epoch_id, number: _, signer, start_block, end_block, respanned: _ } = row;
    let (start, end) = (Height(height(start_block)), Height(height(end_block)));
    Epoch { id: EpochId(height(epoch_id)), start, end, signer: signer.0 }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;

    use super::*;

    const OLD: Address = Address::repeat_byte(1);
    const NEXT: Address = Address::repeat_byte(2);
    const NEW: Address = Address::repeat_byte(3);

    fn place(number: u64) -> Place {
        Place { number, block_hash: B256::ZERO, time: 0, transaction_hash: B256::ZERO, log_index: 0 }
    }

    fn commit(epoch: u64, start_block: u64, end_block: u64, signer: Address) -> ChainEvent {
        ChainEvent::NewEpoch {
            epoch: EpochId(epoch),
            start_block: Height(start_block),
            end_block: Height(end_block),
            signer,
        }
    }

    fn recommit(old_epoch: u64, new_epoch: u64, current_epoch: u64, start_block: u64) -> ChainEvent {
        ChainEvent::ReCommitEpoch {
            old_epoch: EpochId(old_epoch),
            new_epoch: EpochId(new_epoch),
            current_epoch: EpochId(current_epoch),
            start_block: Height(start_block),
            end_block: Height(start_block + 150),
            new_signer: NEW,
        }
    }

    /// The last versions by epoch as (start, end, respanned), and what the last event derived.
    fn after(events: &[ChainEvent]) -> (Vec<(i64, i64, bool)>, Derived, Epochs) {
        let (mut epochs, mut derived, mut changes) = (Epochs::default(), Derived::None, Changes::default());
        for (number, event) in (1..).zip(events) {
            derived = epochs.apply(&place(number), event, &mut changes).expect("follows");
        }
        let mut last = std::collections::BTreeMap::new();
        for row in changes.epochs.values() {
            last.insert(row.epoch_id, (row.start_block, row.end_block, row.respanned));
        }
        (last.into_values().collect(), derived, epochs)
    }

    #[test]
    fn a_respan_cuts_the_old_epoch_and_names_who_lost_blocks() {
        let (rows, derived, epochs) =
            after(&[commit(0, 0, 99, OLD), commit(1, 100, 199, OLD), recommit(1, 2, 1, 150)]);
        assert_eq!(rows, [(0, 99, false), (100, 149, true), (150, 300, true)]);
        assert_eq!(derived, Derived::Displaced(vec![OLD]));
        assert_eq!(epochs.length, 100, "a re-span is no regular epoch");
    }

    #[test]
    fn a_respan_over_a_queued_epoch_leaves_a_finished_one_alone() {
        let queued = [commit(0, 0, 99, OLD), commit(1, 100, 199, OLD), commit(2, 200, 299, NEXT)];
        let (rows, derived, _) = after(&[&queued[..], &[recommit(1, 2, 2, 200)]].concat());
        assert_eq!(rows, [(0, 99, false), (100, 199, false), (200, 350, true)]);
        assert_eq!(derived, Derived::Displaced(vec![NEXT]));
    }

    #[test]
    fn a_respan_that_takes_two_turns_names_both() {
        let queued = [commit(0, 0, 99, OLD), commit(1, 100, 199, OLD), commit(2, 200, 299, NEXT)];
        let mut epochs = Epochs::default();
        let mut changes = Changes::default();
        for (number, event) in (1..).zip([&queued[..], &[recommit(1, 2, 2, 150)]].concat()) {
            epochs.apply(&place(number), &event, &mut changes).expect("follows");
        }
        let missed = |row: &missed_turn::Row| (row.signer.0, row.epoch_id, row.blocks_lost, row.overwritten);
        let missed: Vec<_> = changes.missed_turns.iter().map(missed).collect();
        assert_eq!(missed, [(OLD, 1, 50, false), (NEXT, 2, 100, true)]);
    }

    #[test]
    fn a_missing_epoch_is_a_gap() {
        let (_, _, mut epochs) = after(&[commit(0, 0, 99, OLD)]);
        let gap = epochs.apply(&place(5), &commit(2, 200, 299, OLD), &mut Changes::default());
        assert_eq!(gap.expect_err("epoch 1 is missing").what, "epoch");
    }
}

use proptest::prelude::*;

use super::*;

const A: Address = Address::repeat_byte(0xa);
const B: Address = Address::repeat_byte(0xb);
const C: Address = Address::repeat_byte(0xc);

fn epoch(id: u64, start: u64, end: u64, signer: Address) -> Epoch {
    Epoch { id: EpochId(id), start: Height(start), end: Height(end), signer }
}

fn table(rows: &[Epoch]) -> Epochs {
    let mut epochs = Epochs::default();
    rows.iter().for_each(|row| epochs.commit(*row).expect("in order"));
    epochs
}

fn recommit(old: u64, new: u64, current: u64, start: u64, end: u64, signer: Address) -> Recommit {
    Recommit {
        old: EpochId(old),
        new: EpochId(new),
        current: EpochId(current),
        start: Height(start),
        end: Height(end),
        signer,
    }
}

fn turn(epoch: u64, signer: Address, blocks_lost: u64) -> Turn {
    Turn { epoch: EpochId(epoch), signer, blocks_lost }
}

#[test]
fn every_block_has_the_producer_of_its_epoch() {
    let epochs = table(&[epoch(0, 1000, 2999, A), epoch(1, 3000, 7999, B)]);
    let blocks =
        [(999, None), (1000, Some(A)), (2999, Some(A)), (3000, Some(B)), (7999, Some(B)), (8000, None)];
    for (block, producer) in blocks {
        assert_eq!(epochs.producer(Height(block)), producer, "block {block}");
    }
    assert_eq!(epochs.get(EpochId(1)).map(Epoch::blocks), Some(5000));
    assert_eq!(epochs.get(EpochId(2)), None);
}

#[test]
fn a_new_epoch_follows_the_last_one_exactly() {
    let mut epochs = table(&[epoch(5, 100, 199, A)]);
    let before = epochs.clone();
    let order = |found| Misfit::Order { expected: EpochId(6), found: EpochId(found) };
    let gap = |start| Misfit::Gap { epoch: EpochId(6), start: Height(start), previous_end: Height(199) };
    let range = |start, end| Misfit::Range { epoch: EpochId(6), start: Height(start), end: Height(end) };
    let misfits = [
        (epoch(5, 200, 299, B), order(5)),
        (epoch(7, 200, 299, B), order(7)),
        (epoch(6, 199, 299, B), gap(199)),
        (epoch(6, 201, 299, B), gap(201)),
        (epoch(6, 200, 200, B), range(200, 200)),
        (epoch(6, 200, 100, B), range(200, 100)),
    ];
    for (row, misfit) in misfits {
        assert_eq!(epochs.commit(row), Err(misfit));
        assert_eq!(epochs, before);
    }
    assert_eq!(epochs.commit(epoch(6, 200, 299, B)), Ok(()));
}

#[test]
fn a_failing_producer_is_cut_short_and_succeeded() {
    let mut epochs = table(&[epoch(0, 0, 99, A), epoch(1, 100, 199, B)]);
    let displaced = epochs.recommit(recommit(1, 2, 1, 150, 299, C)).expect("case 1");
    assert_eq!(displaced, Displaced { cut: Some(turn(1, B, 50)), overwritten: None, by: C });
    let rows = [epoch(0, 0, 99, A), epoch(1, 100, 149, B), epoch(2, 150, 299, C)];
    assert_eq!(epochs.iter().copied().collect::<Vec<_>>(), rows);
}

#[test]
fn an_exhausted_epoch_is_displaced_without_losing_blocks() {
    let mut epochs = table(&[epoch(0, 0, 99, A)]);
    let displaced = epochs.recommit(recommit(0, 1, 0, 100, 199, B)).expect("case 1");
    assert_eq!(displaced.missed().collect::<Vec<_>>(), [turn(0, A, 0)]);
    assert_eq!(epochs.get(EpochId(0)), Some(&epoch(0, 0, 99, A)));
}

#[test]
fn blocks_after_an_exhausted_epoch_become_its_own_as_in_the_contract() {
    let mut epochs = table(&[epoch(0, 0, 99, A)]);
    epochs.recommit(recommit(0, 1, 0, 102, 199, B)).expect("case 1");
    assert_eq!(epochs.producer(Height(101)), Some(A));
}

#[test]
fn a_queued_epoch_is_overwritten_and_the_running_one_cut() {
    let mut epochs = table(&[epoch(0, 0, 99, A), epoch(1, 100, 199, B)]);
    let displaced = epochs.recommit(recommit(0, 1, 1, 50, 299, C)).expect("case 2");
    let expected = Displaced { cut: Some(turn(0, A, 50)), overwritten: Some(turn(1, B, 100)), by: C };
    assert_eq!(displaced, expected);
    assert_eq!(displaced.missed().count(), 2);
    let rows = [epoch(0, 0, 49, A), epoch(1, 50, 299, C)];
    assert_eq!(epochs.iter().copied().collect::<Vec<_>>(), rows);
}

#[test]
fn a_finished_epoch_is_untouched_when_the_queued_one_is_overwritten() {
    let mut epochs = table(&[epoch(0, 0, 99, A), epoch(1, 100, 199, B)]);
    let displaced = epochs.recommit(recommit(0, 1, 1, 100, 299, C)).expect("case 2");
    assert_eq!(displaced, Displaced { cut: None, overwritten: Some(turn(1, B, 100)), by: C });
    assert_eq!(epochs.get(EpochId(0)), Some(&epoch(0, 0, 99, A)));
}

#[test]
fn who_takes_its_own_queued_turn_earlier_has_missed_none() {
    let mut epochs = table(&[epoch(0, 0, 99, A), epoch(1, 100, 199, B)]);
    let displaced = epochs.recommit(recommit(0, 1, 1, 50, 299, B)).expect("case 2");
    assert_eq!(displaced.missed().collect::<Vec<_>>(), [turn(0, A, 50)]);
}

#[test]
fn a_respan_that_does_not_fit_changes_nothing() {
    let rows = [epoch(0, 0, 99, A), epoch(1, 100, 199, B), epoch(2, 200, 299, C)];
    let mut epochs = table(&rows);
    let before = epochs.clone();
    let misfits = [
        recommit(2, 3, 1, 250, 399, A), // the table is ahead
        recommit(3, 4, 3, 250, 399, A), // an event before it is missing
        recommit(2, 4, 2, 250, 399, A), // not the successor
        recommit(2, 3, 2, 200, 399, A), // before the first block of the old epoch
        recommit(2, 3, 2, 250, 250, A), // no range
        recommit(0, 2, 2, 50, 399, A),  // neither the newest nor the one before
        recommit(1, 3, 2, 150, 399, A), // not the queued one
        recommit(1, 2, 2, 250, 399, A), // the queued one is producing already
        recommit(1, 2, 2, 100, 399, A), // before the first block of the old epoch
    ];
    for event in misfits {
        assert!(epochs.recommit(event).is_err(), "{event:?}");
        assert_eq!(epochs, before);
    }
    assert_eq!(Epochs::default().recommit(recommit(0, 1, 0, 5, 9, A)), Err(Misfit::Empty));
    let mut single = table(&rows[..1]);
    assert!(single.recommit(recommit(u64::MAX, 0, 0, 5, 9, A)).is_err());
    let mut late = table(&rows[2..]);
    assert_eq!(late.recommit(recommit(1, 2, 2, 150, 399, A)), Err(Misfit::TooOld(EpochId(1))));
}

#[test]
fn blocks_are_counted_by_signer_up_to_the_head() {
    let epochs = table(&[epoch(0, 0, 99, A), epoch(1, 100, 199, B), epoch(2, 200, 299, A)]);
    let counts = |from, to, head| epochs.produced(EpochId(from), EpochId(to), Height(head));
    assert_eq!(counts(0, 2, 1000), BTreeMap::from([(A, 200), (B, 100)]));
    assert_eq!(counts(1, 2, 249), BTreeMap::from([(A, 50), (B, 100)]));
    assert_eq!(counts(1, 2, 199), BTreeMap::from([(B, 100)]));
    assert_eq!(counts(2, 1, 1000), BTreeMap::new());
}

#[test]
fn stored_rows_make_the_same_table_or_are_refused() {
    let rows = vec![epoch(3, 100, 199, A), epoch(4, 200, 299, B)];
    assert_eq!(Epochs::restore(rows.clone()), Ok(table(&rows)));
    for bad in [
        vec![epoch(3, 100, 199, A), epoch(5, 200, 299, B)],
        vec![epoch(3, 100, 199, A), epoch(4, 199, 299, B)],
        vec![epoch(3, 100, 99, A)],
    ] {
        assert!(Epochs::restore(bad).is_err());
    }
}

#[derive(Debug, Clone)]
enum Step {
    Commit(u64),
    Recommit { back: bool, offset: u64, length: u64 },
    Noise([u64; 5]),
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..50_u64).prop_map(Step::Commit),
        (any::<bool>(), 0..100_u64, 1..50_u64).prop_map(|(back, offset, length)| Step::Recommit {
            back,
            offset,
            length
        }),
        any::<[u64; 5]>().prop_map(Step::Noise),
    ]
}

/// Takes a step that mostly fits, or noise that mostly does not.
fn take(epochs: &mut Epochs, step: &Step, signer: Address) {
    let last = epochs.last().copied().unwrap_or(epoch(0, 0, 1, A));
    match *step {
        Step::Commit(length) => {
            let start = last.end.0 + 1;
            let _ = epochs.commit(epoch(last.id.0 + 1, start, start + length, signer));
        }
        Step::Recommit { back, offset, length } => {
            let current = last.id.0;
            let (old, new) = if back { (current.saturating_sub(1), current) } else { (current, current + 1) };
            let from = epochs.get(EpochId(old)).map_or(0, |old| old.start.0);
            let start = from + offset;
            let _ = epochs.recommit(recommit(old, new, current, start, start + length, signer));
        }
        Step::Noise([a, b, c, d, e]) => {
            let _ = epochs.recommit(recommit(a, b, c, d, e, signer));
            if epochs.last().is_some() {
                let _ = epochs.commit(epoch(a, b, c, signer));
            }
            let _ = (epochs.producer(Height(d)), epochs.get(EpochId(e)));
        }
    }
}

proptest! {
    #[test]
    fn whatever_comes_the_table_stays_sound(steps in proptest::collection::vec(steps(), 0..60)) {
        let mut epochs = table(&[epoch(0, 10, 30, A)]);
        for (turn, step) in steps.iter().enumerate() {
            take(&mut epochs, step, [A, B, C][turn % 3]);
            let rows: Vec<_> = epochs.iter().copied().collect();
            prop_assert_eq!(Epochs::restore(rows.clone()), Ok(epochs.clone()));
            let total: u64 = epochs.produced(EpochId(0), EpochId(u64::MAX), Height(u64::MAX)).values().sum();
            prop_assert_eq!(total, rows.iter().map(Epoch::blocks).sum::<u64>());
            for row in rows {
                prop_assert_eq!(epochs.producer(row.start), Some(row.signer));
                prop_assert_eq!(epochs.producer(row.end), Some(row.signer));
            }
        }
    }

    #[test]
    fn no_first_epoch_makes_it_panic(numbers in any::<[u64; 4]>(), more in any::<[u64; 3]>()) {
        let [id, start, end, head] = numbers;
        let mut epochs = Epochs::default();
        let _ = epochs.commit(epoch(id, start, end, A));
        let _ = epochs.recommit(recommit(id, id.wrapping_add(1), id, more[0], more[1], B));
        let _ = epochs.recommit(recommit(id.wrapping_sub(1), id, id, more[0], more[1], B));
        let _ = epochs.commit(epoch(id.wrapping_add(1), end.wrapping_add(1), more[2], C));
        let _ = epochs.produced(EpochId(0), EpochId(u64::MAX), Height(head));
    }
}

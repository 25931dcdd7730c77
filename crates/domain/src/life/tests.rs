//! Whole lives, and the journal by which blocks are taken back, against a fold of what survives.

use proptest::prelude::*;

use super::*;

const OWNER: Address = Address::repeat_byte(1);
const EXIT: Timestamp = Timestamp(5_000);

fn signer(number: u8) -> Address {
    Address::repeat_byte(0x10 + number)
}

fn lock() -> Event {
    Event::Locked { seq_id: SequencerId(7), amount: Metis::whole(20_000), nonce: 1, pubkey: vec![1; 64] }
}

fn unlock(nonce: u64) -> Event {
    Event::UnlockInit { withdrawable_at: EXIT, nonce }
}

fn rotation(number: u8, nonce: u64) -> Event {
    Event::SignerChange { signer: signer(number), pubkey: vec![number; 64], nonce }
}

fn lived(events: &[Event]) -> Life {
    let mut life = Life::new(Phase::Registered, OWNER, signer(0));
    for event in events {
        assert_eq!(life.take(event).contradictions, Vec::<&str>::new(), "{event:?}");
    }
    life
}

#[test]
fn a_whole_life_keeps_the_record_as_the_contract_does() {
    let mut life = lived(&[Event::Whitelist(true), lock(), Event::RecipientChanged(OWNER)]);
    assert_eq!((life.phase, life.nonce, life.recipient), (Phase::Locked, 1, Some(OWNER)));
    let rest = [
        Event::ConsensusKnows,
        Event::LockUpdate { amount: Metis::whole(30_000), nonce: 2 },
        rotation(1, 3),
        Event::OwnerChanged(signer(9)),
        unlock(4),
        Event::ChainTime(EXIT),
    ];
    for event in &rest {
        assert_eq!(life.take(event).contradictions, Vec::<&str>::new(), "{event:?}");
    }
    assert_eq!((life.phase, life.locked), (Phase::Withdrawable, Metis::whole(30_000)));
    assert_eq!((life.owner, life.signer, life.nonce), (signer(9), signer(1), 4));
    life.take(&Event::Unlocked);
    assert_eq!((life.phase, life.locked, life.nonce), (Phase::Withdrawn, Metis::ZERO, 5));
}

#[test]
fn losing_the_whitelist_is_a_state_before_the_lock_and_a_flag_after_it() {
    for (events, expected) in [
        (vec![Event::Whitelist(true)], Phase::Registered),
        (vec![Event::Whitelist(true), lock()], Phase::Locked),
        (vec![Event::Whitelist(true), lock(), Event::ConsensusKnows], Phase::Active),
        (vec![Event::Whitelist(true), lock(), unlock(2)], Phase::Exiting { withdrawable_at: EXIT }),
        (vec![Event::Whitelist(true), lock(), unlock(2), Event::ChainTime(EXIT)], Phase::Withdrawable),
    ] {
        let mut life = lived(&events);
        life.take(&Event::Whitelist(false));
        assert_eq!(life.phase, expected, "{events:?}");
    }
}

#[test]
fn an_exit_keeps_its_time_and_a_hole_in_the_counter_is_told() {
    let mut life = lived(&[Event::Whitelist(true), lock(), unlock(2)]);
    let again = Event::UnlockInit { withdrawable_at: Timestamp(9), nonce: 4 };
    let taken = life.take(&again);
    assert_eq!(taken.contradictions, ["the contract's counter has a hole", "unlocked twice"]);
    assert_eq!((life.phase, life.withdrawable_at), (Phase::Exiting { withdrawable_at: EXIT }, Some(EXIT)));
}

fn any_event() -> impl Strategy<Value = Event> {
    let nonce = 0u64..6;
    prop_oneof![
        any::<bool>().prop_map(Event::Whitelist),
        Just(lock()),
        (0u8..4).prop_map(|number| Event::OwnerChanged(signer(number))),
        (0u8..4).prop_map(|number| Event::RecipientChanged(signer(number))),
        nonce.clone().prop_map(|nonce| Event::LockUpdate { amount: Metis::wei(nonce), nonce }),
        ((0u8..4), nonce.clone()).prop_map(|(number, nonce)| rotation(number, nonce)),
        (4_000u64..6_000, nonce)
            .prop_map(|(at, nonce)| Event::UnlockInit { withdrawable_at: Timestamp(at), nonce }),
        Just(Event::Unlocked),
        (4_000u64..6_000).prop_map(|now| Event::ChainTime(Timestamp(now))),
    ]
}

/// What happens to a projection.
#[derive(Debug, Clone)]
enum Act {
    /// The next L1 block.
    Block(Vec<Event>),
    /// So many L1 blocks are taken back.
    Revert(usize),
    /// The next L2 block gives this signer an epoch.
    Epoch(u8),
    /// So many L2 blocks are taken back.
    RevertL2(usize),
}

fn any_step() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => prop::collection::vec(any_event(), 0..4).prop_map(Act::Block),
        1 => (1usize..6).prop_map(Act::Revert),
        2 => (0u8..4).prop_map(Act::Epoch),
        1 => (1usize..4).prop_map(Act::RevertL2),
    ]
}

/// The projection as the service keeps it, in memory: before-images by L1 block, restored newest first, and what the
/// consensus layer knows beside them.
struct Journal {
    life: Life,
    images: Vec<(usize, Life)>,
    height: usize,
    epochs: Vec<u8>,
}

impl Journal {
    fn known(&self) -> bool {
        self.epochs.iter().any(|number| self.life.signers.contains(&signer(*number)))
    }

    fn take(&mut self, event: &Event) {
        self.images.push((self.height, self.life.clone()));
        self.life.take(event);
        if self.known() {
            self.life.take(&Event::ConsensusKnows);
        }
    }

    fn run(&mut self, step: &Act) {
        match step {
            Act::Block(events) => {
                self.height += 1;
                events.iter().for_each(|event| self.take(event));
            }
            Act::Revert(depth) => {
                self.height = self.height.saturating_sub(*depth);
                while self.images.last().is_some_and(|(height, _)| *height > self.height) {
                    (_, self.life) = self.images.pop().expect("there is one");
                }
                self.life.phase = self.life.phase_if_known(self.known());
            }
            Act::Epoch(number) => {
                self.epochs.push(*number);
                if self.known() {
                    self.take(&Event::ConsensusKnows);
                }
            }
            Act::RevertL2(depth) => {
                self.epochs.truncate(self.epochs.len().saturating_sub(*depth));
                self.images.push((self.height, self.life.clone()));
                self.life.phase = self.life.phase_if_known(self.known());
            }
        }
    }
}

/// A fold of the surviving blocks of L1, and then of what survives on L2.
fn fold(steps: &[Act]) -> Life {
    let (mut blocks, mut epochs): (Vec<&Vec<Event>>, Vec<u8>) = (Vec::new(), Vec::new());
    for step in steps {
        match step {
            Act::Block(events) => blocks.push(events),
            Act::Revert(depth) => blocks.truncate(blocks.len().saturating_sub(*depth)),
            Act::Epoch(number) => epochs.push(*number),
            Act::RevertL2(depth) => epochs.truncate(epochs.len().saturating_sub(*depth)),
        }
    }
    let mut life = Life::new(Phase::Registered, OWNER, signer(0));
    for event in blocks.into_iter().flatten() {
        life.take(event);
    }
    life.phase = life.phase_if_known(epochs.iter().any(|number| life.signers.contains(&signer(*number))));
    life
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn whatever_is_taken_back_and_when_the_rest_adds_up(steps in prop::collection::vec(any_step(), 0..40)) {
        let mut journal = Journal {
            life: Life::new(Phase::Registered, OWNER, signer(0)),
            images: Vec::new(),
            height: 0,
            epochs: Vec::new(),
        };
        for (count, step) in steps.iter().enumerate() {
            journal.run(step);
            prop_assert_eq!(&journal.life, &fold(&steps[..=count]), "after step {}", count);
        }
    }

    #[test]
    fn every_life_has_an_answer_to_every_event(events in prop::collection::vec(any_event(), 0..30)) {
        let mut life = Life::new(Phase::Registered, OWNER, signer(0));
        for event in &events {
            let before = life.phase;
            let taken = life.take(event);
            prop_assert_eq!(taken.moved_from, Some(before).filter(|_| before != life.phase));
            if let Phase::Exiting { withdrawable_at } = life.phase {
                prop_assert_eq!(life.withdrawable_at, Some(withdrawable_at));
            }
            if matches!(life.phase, Phase::Exiting { .. } | Phase::Withdrawable) {
                prop_assert!(life.withdrawable_at.is_some());
            }
        }
    }
}

//! Each operation against its own effect, and against everything that only looks like it.

use api::indexer::v1::{
    ClaimRewards, LockUpdate, Locked, SequencerOwnerChanged, SequencerRewardRecipientChanged, SignerChange,
    UnlockInit, Unlocked, Withdraw,
};
use testkit::contracts::node_key;

use super::*;

const ID: &str = "7";
const OURS: SequencerId = SequencerId(7);
const OWNER: Address = Address::repeat_byte(1);
const RECIPIENT: Address = Address::repeat_byte(2);
const OTHER: Address = Address::repeat_byte(9);

fn id(id: &str) -> String {
    id.to_owned()
}

fn locked(of: &str, amount: &str, signer: Address) -> Event {
    let (amount_wei, signer) = (amount.to_owned(), signer.to_string());
    Event::Locked(Locked { sequencer_id: id(of), amount_wei, signer, nonce: 1, ..Default::default() })
}

fn recipient(of: &str, recipient: Address) -> Event {
    Event::SequencerRewardRecipientChanged(SequencerRewardRecipientChanged {
        sequencer_id: id(of),
        recipient: recipient.to_string(),
    })
}

fn owner(of: &str, owner: Address) -> Event {
    Event::SequencerOwnerChanged(SequencerOwnerChanged { sequencer_id: id(of), owner: owner.to_string() })
}

fn relocked(of: &str, amount: &str, from_reward: &str) -> Event {
    let (amount_wei, from_reward_wei) = (amount.to_owned(), from_reward.to_owned());
    Event::Relocked(Relocked { sequencer_id: id(of), amount_wei, from_reward_wei, ..Default::default() })
}

fn withdraw(of: &str, amount: &str) -> Event {
    Event::Withdraw(Withdraw { sequencer_id: id(of), amount_wei: amount.to_owned() })
}

fn rotated(of: &str, new: &str) -> Event {
    let new_signer = node_key(new).address().to_string();
    Event::SignerChange(SignerChange { sequencer_id: id(of), new_signer, ..Default::default() })
}

fn claimed(of: &str) -> Event {
    Event::ClaimRewards(ClaimRewards {
        sequencer_id: id(of),
        recipient: RECIPIENT.to_string(),
        amount_wei: "5".to_owned(),
        ..Default::default()
    })
}

fn unlocking(of: &str) -> Event {
    Event::UnlockInit(UnlockInit { sequencer_id: id(of), reward_wei: "5".to_owned(), ..Default::default() })
}

fn unlocked(of: &str) -> Event {
    Event::Unlocked(Unlocked { sequencer_id: id(of), amount_wei: "5".to_owned(), ..Default::default() })
}

/// What was asked, the events of it, and events that are not of it.
struct Case {
    operation: Operation,
    effect: Vec<Event>,
    others: Vec<(&'static str, Vec<Event>)>,
}

fn of_metis() -> Vec<Case> {
    let (ours, other) = (node_key("ours").address(), node_key("other").address());
    let lock = Operation::Lock {
        amount: Metis::wei(5),
        recipient: RECIPIENT,
        signer: node_key("ours"),
        override_node: None,
    };
    vec![
        Case {
            operation: lock,
            effect: vec![locked(ID, "5", ours), owner(ID, OWNER), recipient(ID, RECIPIENT)],
            others: vec![
                ("another amount", vec![locked(ID, "6", ours), recipient(ID, RECIPIENT)]),
                ("another signer", vec![locked(ID, "5", other), recipient(ID, RECIPIENT)]),
                ("another recipient", vec![locked(ID, "5", ours), recipient(ID, OTHER)]),
                ("no recipient", vec![locked(ID, "5", ours), recipient(ID, Address::ZERO)]),
                ("another's recipient", vec![locked(ID, "5", ours), recipient("8", RECIPIENT)]),
                ("no word of the recipient", vec![locked(ID, "5", ours)]),
            ],
        },
        Case {
            operation: Operation::Increase { amount: Metis::wei(5), with_rewards: false },
            effect: vec![relocked(ID, "5", "")],
            others: vec![
                ("another id", vec![relocked("8", "5", "")]),
                ("another amount", vec![relocked(ID, "6", "")]),
                ("no amount", vec![relocked(ID, "", "")]),
            ],
        },
        Case {
            operation: Operation::Increase { amount: Metis::wei(5), with_rewards: true },
            effect: vec![relocked(ID, "8", "3")],
            others: vec![
                ("another id", vec![relocked("8", "8", "3")]),
                ("fewer tokens", vec![relocked(ID, "7", "3")]),
                ("more tokens", vec![relocked(ID, "9", "3")]),
                ("less than the tokens", vec![relocked(ID, "4", "")]),
            ],
        },
        Case {
            operation: Operation::Withdraw { amount: Metis::wei(5) },
            effect: vec![withdraw(ID, "5")],
            others: vec![
                ("another id", vec![withdraw("8", "5")]),
                ("another amount", vec![withdraw(ID, "6")]),
            ],
        },
        Case {
            operation: Operation::WithdrawFinal { l2_gas: 0 },
            effect: vec![claimed(ID), unlocked(ID)],
            others: vec![("another id", vec![unlocked("8")]), ("only its claim", vec![claimed(ID)])],
        },
    ]
}

fn of_hands() -> Vec<Case> {
    vec![
        Case {
            operation: Operation::Claim { l2_gas: 0 },
            effect: vec![claimed(ID)],
            others: vec![("another id", vec![claimed("8")])],
        },
        Case {
            operation: Operation::SetRecipient { recipient: RECIPIENT },
            effect: vec![recipient(ID, RECIPIENT)],
            others: vec![
                ("another id", vec![recipient("8", RECIPIENT)]),
                ("another recipient", vec![recipient(ID, OTHER)]),
            ],
        },
        Case {
            operation: Operation::SetOwner { new_owner: OWNER },
            effect: vec![owner(ID, OWNER)],
            others: vec![("another id", vec![owner("8", OWNER)]), ("another owner", vec![owner(ID, OTHER)])],
        },
        Case {
            operation: Operation::RotateSigner { new_signer: node_key("ours") },
            effect: vec![rotated(ID, "ours")],
            others: vec![
                ("another id", vec![rotated("8", "ours")]),
                ("another signer", vec![rotated(ID, "other")]),
            ],
        },
        Case {
            operation: Operation::Unlock { l2_gas: 0 },
            effect: vec![claimed(ID), unlocking(ID)],
            others: vec![("another id", vec![unlocking("8")]), ("only its claim", vec![claimed(ID)])],
        },
    ]
}

fn seen(events: &[Event]) -> Vec<ChainEvent> {
    let seen = |event: &Event| ChainEvent { event: Some(event.clone()), ..Default::default() };
    events.iter().map(seen).collect()
}

#[test]
fn only_the_very_effect_that_was_asked_for_counts() {
    let cases: Vec<Case> = of_metis().into_iter().chain(of_hands()).collect();
    let noise = Event::LockUpdate(LockUpdate { sequencer_id: id(ID), ..Default::default() });
    for (place, Case { operation, effect, others }) in cases.iter().enumerate() {
        let asked = format!("{operation:?}");
        assert!(holds(operation, Some(OURS), &seen(effect)), "{asked}");
        assert!(!holds(operation, Some(OURS), &[]), "{asked} by nothing");
        assert!(!holds(operation, Some(OURS), &seen(std::slice::from_ref(&noise))), "{asked} by noise");
        for (what, events) in others {
            assert!(!holds(operation, Some(OURS), &seen(events)), "{asked} by {what}");
        }
        let gives_its_id = matches!(operation, Operation::Lock { .. });
        assert_eq!(holds(operation, None, &seen(effect)), gives_its_id, "{asked} without an id");
        for (_, other) in cases.iter().enumerate().filter(|(other, _)| *other != place) {
            let about = |events: &[Event]| holds(operation, Some(OURS), &seen(events));
            // An exit claims too, a lock sets owner and recipient, an increase is a compound without reward: their events
            // are those of the other operation.
            let same_event = matches!(
                (operation, &other.operation),
                (Operation::Claim { .. }, Operation::Unlock { .. } | Operation::WithdrawFinal { .. })
                    | (Operation::SetRecipient { .. } | Operation::SetOwner { .. }, Operation::Lock { .. })
                    | (Operation::Increase { with_rewards: true, .. }, Operation::Increase { .. })
            );
            assert_eq!(about(&other.effect), same_event, "{asked} by {:?}", other.operation);
        }
    }
}

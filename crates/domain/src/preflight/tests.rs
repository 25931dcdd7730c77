//! Each check crossed alone, against facts that pass.

use alloy_primitives::{Address, U256};

use super::*;
use crate::ids::{BatchId, SequencerId, Timestamp};
use crate::pubkey::PublicKey;

const OWNER: Address = Address::repeat_byte(1);
const SIGNER: Address = Address::repeat_byte(2);
const OTHER: Address = Address::repeat_byte(3);

fn metis(amount: u64) -> Metis {
    Metis(U256::from(amount) * U256::from(10).pow(U256::from(18)))
}

fn key() -> PublicKey {
    let hex = "2e1a3735f93ddbad4f697dc576e37b159f31f344808bff2a18269b228fc83663\
               cfb66da6462fd258b5ef09d4a532a41ef96d0d589f1e0401317c21534c0239ad";
    PublicKey::from_hex(hex).expect("golden vector of P 1.12")
}

fn record() -> Record {
    Record {
        id: SequencerId(7),
        status: Status::Active,
        owner: OWNER,
        signer: SIGNER,
        recipient: OWNER,
        amount: metis(30_000),
        reward: metis(5),
        updated_batch: BatchId(3),
        unlock_claim_time: Timestamp(0),
    }
}

fn facts() -> Facts {
    Facts {
        block_time: Timestamp(1_000),
        variant: Variant::Main,
        paused: false,
        min_lock: metis(20_000),
        max_lock: metis(100_000),
        current_batch: BatchId(5),
        signer_update_throttle: 1,
        active: 10,
        exiting: 0,
        sender: OWNER,
        owner_whitelisted: true,
        owner_sequencer: None,
        new_signer: SignerUse::Unused,
        new_owner_whitelisted: true,
        new_owner_sequencer: None,
        record: Some(record()),
        balance: metis(100_000),
        allowance: metis(100_000),
        eth: Eth(U256::from(10)),
        eth_needed: Eth(U256::from(10)),
        oracle: Some(Oracle { min_l2_gas: U256::from(2), discount: U256::from(3) }),
        bridge_fee: Eth(U256::from(6)),
        backup_proven: Some(true),
        node: NodeState::Ready,
        open_operation: None,
        open_prepared: None,
    }
}

fn lock(amount: u64) -> Operation {
    Operation::Lock { amount: metis(amount), recipient: OWNER, signer: key(), override_node: None }
}

fn exiting(mut facts: Facts) -> Facts {
    facts.record = Some(Record { status: Status::Inactive, unlock_claim_time: Timestamp(1_000), ..record() });
    facts
}

fn by_signer(facts: Facts) -> Facts {
    Facts { sender: SIGNER, ..facts }
}

/// The reasons of all failing checks.
fn failing(operation: &Operation, facts: &Facts) -> Vec<&'static str> {
    preflight(operation, facts).into_iter().filter(|c| c.verdict == Verdict::Fail).map(|c| c.reason).collect()
}

#[test]
fn with_everything_in_order_each_operation_passes() {
    let cases = [
        (lock(20_000), facts()),
        (Operation::Increase { amount: metis(1), with_rewards: true }, facts()),
        (Operation::Withdraw { amount: metis(10_000) }, facts()),
        (Operation::Claim { l2_gas: 0 }, facts()),
        (Operation::SetRecipient { recipient: OTHER }, facts()),
        (Operation::SetOwner { new_owner: OTHER }, facts()),
        (Operation::RotateSigner { new_signer: key() }, by_signer(facts())),
        (Operation::Unlock { l2_gas: 0 }, facts()),
        (Operation::WithdrawFinal { l2_gas: 0 }, exiting(facts())),
    ];
    for (operation, facts) in cases {
        assert_eq!(failing(&operation, &facts), Vec::<&str>::new(), "{}", operation.name());
    }
}

#[test]
fn each_broken_precondition_fails_its_own_check_alone() {
    type Break = fn(&mut Facts);
    let cases: Vec<(Operation, Break, &str)> = vec![
        (lock(20_000), |f| f.paused = true, "POOL_PAUSED"),
        (lock(20_000), |f| f.owner_whitelisted = false, "NOT_WHITELISTED"),
        (lock(20_000), |f| f.owner_sequencer = Some(SequencerId(1)), "OWNER_HAS_SEQUENCER"),
        (lock(20_000), |f| f.new_signer = SignerUse::Burnt, "SIGNER_USED"),
        (lock(19_999), |_| {}, "LOCK_OUT_OF_RANGE"),
        (lock(100_001), |f| f.balance = metis(200_000), "LOCK_OUT_OF_RANGE"),
        (lock(20_000), |f| f.balance = metis(19_999), "BALANCE_TOO_LOW"),
        (lock(20_000), |f| f.eth = Eth(U256::from(9)), "ETH_TOO_LOW"),
        (lock(20_000), |f| f.backup_proven = Some(false), "BACKUP_UNPROVEN"),
        (lock(20_000), |f| f.node = NodeState::Unregistered, "NODE_NOT_READY"),
        (lock(20_000), |f| f.open_operation = Some("x".into()), "OPERATION_IN_FLIGHT"),
        (Operation::Increase { amount: metis(70_001), with_rewards: false }, |_| {}, "LOCK_CAP_EXCEEDED"),
        (Operation::Increase { amount: metis(69_996), with_rewards: true }, |_| {}, "LOCK_CAP_EXCEEDED"),
        (Operation::Increase { amount: metis(0), with_rewards: false }, |_| {}, "NOTHING_TO_LOCK"),
        (Operation::Withdraw { amount: metis(10_001) }, |_| {}, "WITHDRAW_ABOVE_AVAILABLE"),
        (Operation::Withdraw { amount: metis(0) }, |_| {}, "WITHDRAW_ABOVE_AVAILABLE"),
        (Operation::Withdraw { amount: metis(1) }, |f| f.current_batch = BatchId(3), "WITHDRAW_THROTTLED"),
        (
            Operation::Claim { l2_gas: 0 },
            |f| {
                f.record.as_mut().expect("set").reward = Metis::ZERO;
                f.bridge_fee = Eth::ZERO;
            },
            "NO_REWARD",
        ),
        (
            Operation::Claim { l2_gas: 0 },
            |f| f.record.as_mut().expect("set").recipient = Address::ZERO,
            "NO_REWARD_RECIPIENT",
        ),
        (Operation::Claim { l2_gas: 0 }, |f| f.sender = OTHER, "NOT_SEQUENCER_OWNER"),
        (Operation::SetRecipient { recipient: Address::ZERO }, |_| {}, "ADDRESS_ZERO"),
        (Operation::SetOwner { new_owner: OTHER }, |f| f.new_owner_whitelisted = false, "NOT_WHITELISTED"),
        (Operation::SetOwner { new_owner: Address::ZERO }, |_| {}, "ADDRESS_ZERO"),
        (
            Operation::Unlock { l2_gas: 0 },
            |f| {
                f.variant = Variant::Mainnet;
                f.active = 2;
            },
            "EXIT_RESTRICTED",
        ),
        (
            Operation::Unlock { l2_gas: 0 },
            |f| f.record.as_mut().expect("set").status = Status::Inactive,
            "SEQUENCER_NOT_ACTIVE",
        ),
        (
            Operation::RotateSigner { new_signer: key() },
            |f| {
                f.sender = SIGNER;
                f.current_batch = BatchId(3);
            },
            "SIGNER_UPDATE_THROTTLED",
        ),
        (Operation::RotateSigner { new_signer: key() }, |_| {}, "NOT_SEQUENCER_SIGNER"),
        (Operation::WithdrawFinal { l2_gas: 0 }, |_| {}, "NOT_EXITING"),
    ];
    for (operation, change, reason) in cases {
        let mut facts = facts();
        change(&mut facts);
        assert_eq!(failing(&operation, &facts), vec![reason], "{} {reason}", operation.name());
    }
}

#[test]
fn the_exit_is_over_at_the_claim_time_and_not_a_second_before() {
    let mut early = exiting(facts());
    early.block_time = Timestamp(999);
    assert_eq!(failing(&Operation::WithdrawFinal { l2_gas: 0 }, &early), vec!["EXIT_PERIOD_NOT_OVER"]);
    assert_eq!(failing(&Operation::WithdrawFinal { l2_gas: 0 }, &exiting(facts())), Vec::<&str>::new());
}

#[test]
fn a_node_that_is_not_ready_can_be_overridden_with_a_reason() {
    let mut facts = facts();
    facts.node = NodeState::NotReady("themis is catching up".into());
    let overridden = Operation::Lock {
        amount: metis(20_000),
        recipient: OWNER,
        signer: key(),
        override_node: Some("planned".into()),
    };
    assert_eq!(failing(&lock(20_000), &facts), vec!["NODE_NOT_READY"]);
    assert_eq!(failing(&overridden, &facts), Vec::<&str>::new());
}

#[test]
fn nothing_but_a_lock_is_possible_without_a_position() {
    let without = Facts { record: None, ..facts() };
    for operation in [
        Operation::Withdraw { amount: metis(1) },
        Operation::Claim { l2_gas: 0 },
        Operation::Unlock { l2_gas: 0 },
    ] {
        assert!(failing(&operation, &without).contains(&"SEQUENCER_NOT_LOCKED"), "{}", operation.name());
    }
}

#[test]
fn an_unknown_implementation_leaves_the_differences_to_the_simulation() {
    let unknown = Facts {
        variant: Variant::Unknown,
        active: 1,
        owner_whitelisted: true,
        new_owner_whitelisted: false,
        new_owner_sequencer: Some(SequencerId(9)),
        ..facts()
    };
    for operation in [Operation::Unlock { l2_gas: 0 }, Operation::SetOwner { new_owner: OTHER }] {
        assert_eq!(failing(&operation, &unknown), Vec::<&str>::new(), "{}", operation.name());
        let warned = preflight(&operation, &unknown).iter().any(|check| check.verdict == Verdict::Warn);
        assert!(warned, "{}", operation.name());
    }
}

#[test]
fn the_first_implementation_returns_no_part_of_the_principal() {
    let part = Operation::Withdraw { amount: metis(1) };
    let of = |variant| {
        let checks = preflight(&part, &Facts { variant, ..facts() });
        let first = checks.into_iter().next().expect("checks");
        (first.name, first.verdict, first.reason)
    };
    let unsupported = "WITHDRAW_UNSUPPORTED";
    assert_eq!(of(Variant::V1), ("WITHDRAW_SUPPORTED", Verdict::Fail, unsupported));
    assert_eq!(of(Variant::Unknown), ("WITHDRAW_SUPPORTED", Verdict::Warn, unsupported));
    for known in [Variant::Main, Variant::Mainnet] {
        assert_eq!(of(known), ("WITHDRAW_SUPPORTED", Verdict::Pass, ""));
    }
    assert_eq!(source("WITHDRAW_SUPPORTED"), Source::Contract);
}

#[test]
fn a_prepared_operation_is_worth_knowing_and_keeps_nobody_out() {
    let prepared = Facts { open_prepared: Some("x".into()), ..facts() };
    let open = |facts: &Facts| {
        let mut checks = preflight(&lock(20_000), facts);
        checks.retain(|check| check.name == "NOTHING_OPEN");
        checks.remove(0)
    };
    let warned = open(&prepared);
    assert_eq!((warned.verdict, warned.facts["operation"].as_str()), (Verdict::Warn, "x"));
    let both = open(&Facts { open_operation: Some("y".into()), ..prepared });
    assert_eq!((both.verdict, both.facts["operation"].as_str()), (Verdict::Fail, "y"), "ours counts");
}

#[test]
fn the_mainnet_variant_asks_about_the_caller_and_only_warns_of_a_second_sequencer() {
    let mainnet = Facts { variant: Variant::Mainnet, new_owner_sequencer: Some(SequencerId(9)), ..facts() };
    let hand_over = Operation::SetOwner { new_owner: OTHER };
    assert_eq!(failing(&hand_over, &mainnet), Vec::<&str>::new());
    let stranger = Facts { owner_whitelisted: false, ..mainnet };
    assert_eq!(failing(&hand_over, &stranger), vec!["NOT_WHITELISTED"]);
}

#[test]
fn every_check_has_numbers_or_words_and_no_operation_has_the_same_check_twice() {
    for operation in [
        lock(20_000),
        Operation::Increase { amount: metis(1), with_rewards: true },
        Operation::Withdraw { amount: metis(1) },
        Operation::Claim { l2_gas: 0 },
        Operation::SetRecipient { recipient: OTHER },
        Operation::SetOwner { new_owner: OTHER },
        Operation::RotateSigner { new_signer: key() },
        Operation::Unlock { l2_gas: 0 },
        Operation::WithdrawFinal { l2_gas: 0 },
    ] {
        let checks = preflight(&operation, &facts());
        let mut names: Vec<&str> = checks.iter().map(|check| check.name).collect();
        assert!(checks.iter().all(|check| !check.message.is_empty()), "{}", operation.name());
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "{}", operation.name());
    }
}

#[test]
fn a_value_that_is_not_the_exact_quote_fails() {
    assert_eq!(failing(&Operation::Claim { l2_gas: 3 }, &facts()), vec!["FEE_TOO_LOW"]);
    let mut nothing_to_bridge = facts();
    nothing_to_bridge.record.as_mut().expect("set").reward = Metis::ZERO;
    assert_eq!(failing(&Operation::Unlock { l2_gas: 0 }, &nothing_to_bridge), vec!["FEE_TOO_LOW"]);
}

use alloy_primitives::{Address, U256, address, keccak256};
use proptest::prelude::*;

use super::*;

/// The registry, read as text: `api` depends on us and not we on it.
const REGISTRY: &str = include_str!("../../../api/src/reasons.rs");

fn custom(signature: &str, words: &[U256]) -> Vec<u8> {
    let mut data = keccak256(signature)[..4].to_vec();
    words.iter().for_each(|word| data.extend(word.to_be_bytes::<32>()));
    data
}

fn error(text: &str) -> Vec<u8> {
    let mut data = custom("Error(string)", &[U256::from(32), U256::from(text.len())]);
    data.extend(text.as_bytes());
    data.resize(data.len().next_multiple_of(32) + 4, 0);
    data
}

#[test]
fn the_golden_payload_is_read() {
    let golden = "08c379a00000000000000000000000000000000000000000000000000000000000000020\
                  000000000000000000000000000000000000000000000000000000000000000e\
                  696e76616c696420616d6f756e74000000000000000000000000000000000000";
    let revert = Revert::decode(&hex::decode(golden).expect("hex"));
    assert_eq!(revert, Revert::Text("invalid amount".to_owned()));
    assert_eq!(revert.reason(), "LOCK_OUT_OF_RANGE");
    assert_eq!(revert.reason_in("withdraw"), "WITHDRAW_ABOVE_AVAILABLE");
}

#[test]
fn custom_errors_are_known_by_their_signatures() {
    let table = [
        ("NotWhitelisted()", Revert::NotWhitelisted, "NOT_WHITELISTED"),
        ("SeqNotActive()", Revert::SeqNotActive, "SEQUENCER_NOT_ACTIVE"),
        ("NotSeqOwner()", Revert::NotSeqOwner, "NOT_SEQUENCER_OWNER"),
        ("NotSeqSigner()", Revert::NotSeqSigner, "NOT_SEQUENCER_SIGNER"),
        ("OwnedSequencer()", Revert::OwnedSequencer, "OWNER_HAS_SEQUENCER"),
        ("SignerExisted()", Revert::SignerExisted, "SIGNER_USED"),
        ("NoSuchSeq()", Revert::NoSuchSeq, "CALL_REVERTED"),
        ("NoRewardRecipient()", Revert::NoRewardRecipient, "NO_REWARD_RECIPIENT"),
        ("NullAddress()", Revert::NullAddress, "ADDRESS_ZERO"),
    ];
    for (signature, expected, reason) in table {
        let revert = Revert::decode(&custom(signature, &[]));
        assert_eq!(revert, expected);
        assert_eq!(revert.reason(), reason);
    }
}

#[test]
fn token_errors_carry_their_numbers() {
    let info = address!("0x390A6fE63385522E87e248BC5200f7d3a02F994b");
    let words = [info.into_word().into(), U256::from(7), Metis::whole(20_000).0];
    let allowance = Revert::decode(&custom("ERC20InsufficientAllowance(address,uint256,uint256)", &words));
    assert_eq!(
        allowance,
        Revert::TokenAllowance { spender: info, allowance: Metis::wei(7), needed: Metis::whole(20_000) }
    );
    assert_eq!(allowance.reason(), "ALLOWANCE_TOO_LOW");
    assert_eq!(allowance.words(), format!("{info} may take 0.000000000000000007 METIS, 20000 are needed"));

    let balance = Revert::decode(&custom("ERC20InsufficientBalance(address,uint256,uint256)", &words));
    assert_eq!(balance.reason(), "BALANCE_TOO_LOW");
    for error in [
        "ERC20InvalidApprover",
        "ERC20InvalidReceiver",
        "ERC20InvalidSender",
        "ERC20InvalidSpender",
        "OwnableUnauthorizedAccount",
        "OwnableInvalidOwner",
    ] {
        let data = custom(&format!("{error}(address)"), &words[..1]);
        assert_eq!(Revert::decode(&data), Revert::TokenAddress { error, address: info });
    }
}

#[test]
fn texts_have_reasons() {
    let table = [
        ("Pausable: paused", "POOL_PAUSED"),
        ("BFT restriction", "EXIT_RESTRICTED"),
        ("withdraw throttle", "WITHDRAW_THROTTLED"),
        ("signer updating throttle", "SIGNER_UPDATE_THROTTLED"),
        ("Not allowed to cliam", "EXIT_PERIOD_NOT_OVER"),
        ("locked>maxLock", "LOCK_CAP_EXCEEDED"),
        ("No new locked added", "NOTHING_TO_LOCK"),
        ("not MPC", "MPC_ONLY"),
        ("ERC20: transfer amount exceeds balance", "BALANCE_TOO_LOW"),
        ("insufficient fee supplied. send at least 200000000000000", "FEE_TOO_LOW"),
        ("something new", "CALL_REVERTED"),
        ("", "CALL_REVERTED"),
    ];
    for (text, reason) in table {
        assert_eq!(Revert::decode(&error(text)).reason(), reason, "{text}");
    }
    let fee = Revert::decode(&error("insufficient fee supplied. send at least 200000000000000"));
    assert_eq!(fee.words(), "the bridge asks for at least 0.0002 ETH");
}

#[test]
fn too_large_a_withdrawal_panics_in_the_contract() {
    let revert = Revert::decode(&custom("Panic(uint256)", &[U256::from(0x11)]));
    assert_eq!(revert, Revert::Panic(U256::from(0x11)));
    assert_eq!(revert.reason(), "CALL_REVERTED");
    assert_eq!(revert.reason_in("withdraw"), "WITHDRAW_ABOVE_AVAILABLE");
}

#[test]
fn foreign_text_is_cut_short_and_cannot_drive_a_terminal() {
    let Revert::Text(text) = Revert::decode(&error(&format!("\u{1b}[2J{}", "x".repeat(1000)))) else {
        panic!("a text")
    };
    assert!(text.starts_with(" [2J"));
    assert_eq!(text.chars().count(), TEXT_MAX);
}

#[test]
fn broken_data_is_unknown_and_never_misread() {
    let unknown = |data: &[u8]| Revert::Unknown { selector: data[..data.len().min(4)].to_vec() };
    let lies = custom("Error(string)", &[U256::from(32), U256::MAX]);
    let far = custom("Error(string)", &[U256::MAX]);
    let no_address = custom("ERC20InvalidSender(address)", &[U256::MAX]);
    for data in [&[0x08][..], &ERROR, &PANIC, &lies, &far, &no_address, &[1, 2, 3, 4, 5]] {
        assert_eq!(Revert::decode(data), unknown(data));
        assert_eq!(Revert::decode(data).reason(), "CALL_REVERTED");
    }
    assert_eq!(Revert::decode(&[]), Revert::Empty);
}

#[test]
fn every_reason_stands_in_the_registry() {
    let zero = Address::ZERO;
    let others = [
        Revert::NotWhitelisted,
        Revert::SeqNotActive,
        Revert::NotSeqOwner,
        Revert::NotSeqSigner,
        Revert::OwnedSequencer,
        Revert::SignerExisted,
        Revert::NoRewardRecipient,
        Revert::NullAddress,
        Revert::TokenAllowance { spender: zero, allowance: Metis::ZERO, needed: Metis::ZERO },
        Revert::TokenBalance { sender: zero, balance: Metis::ZERO, needed: Metis::ZERO },
        Revert::BridgeFee { required: Eth::ZERO },
        Revert::Empty,
    ];
    let reasons = others.iter().map(Revert::reason).chain(texts::reasons());
    for reason in reasons.chain([Revert::Panic(U256::from(0x11)).reason_in("withdraw")]) {
        assert!(REGISTRY.contains(&format!("\n    {reason} = ")), "{reason}");
    }
}

proptest! {
    #[test]
    fn no_data_makes_the_decoder_panic(data in proptest::collection::vec(any::<u8>(), 0..200), pick in 0..3) {
        let selector: &[u8] = [&ERROR[..], &PANIC, &[]][pick as usize];
        let _ = Revert::decode(&[selector, &data].concat()).words();
    }

    #[test]
    fn a_text_of_any_length_is_read(text in "[a-z ]{0,200}") {
        prop_assert_eq!(Revert::decode(&error(&text)), Revert::Text(text));
    }
}

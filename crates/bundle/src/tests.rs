use alloy_consensus::TxEnvelope;
use alloy_consensus::transaction::SignerRecoverable;
use alloy_eips::Decodable2718;
use alloy_primitives::{Address, B256, Bytes, U256, address};
use alloy_sol_types::{SolCall, sol};
use domain::amount::Eth;
use domain::pubkey::PublicKey;
use k256::ecdsa::SigningKey;
use serde_json::json;

use super::*;

sol! {
    function approve(address spender, uint256 value) external;
    function lockWithRewardRecipient(address signer, address rewardRecipient, uint256 amount, bytes signerPubkey) external;
    function withdraw(uint256 seqId, uint256 amount) external;
    function withdrawRewards(uint256 seqId, uint32 l2Gas) external;
    function setSequencerRewardRecipient(uint256 seqId, address recipient) external;
}

const POOL: Address = address!("0x00000000000000000000000000000000000000a1");
const INFO: Address = address!("0x00000000000000000000000000000000000000a2");
const TOKEN: Address = address!("0x00000000000000000000000000000000000000a3");
const CONTRACTS: Contracts = Contracts { locking_pool: POOL, locking_info: INFO, metis: TOKEN };
const NOW: i64 = 1_000;
const METIS: u64 = 1_000_000_000_000_000_000;

fn key(byte: u8) -> SigningKey {
    SigningKey::from_slice(&[byte; 32]).expect("a secret")
}

fn public(byte: u8) -> PublicKey {
    k256::PublicKey::from(key(byte).verifying_key()).into()
}

fn call(to: Address, data: Vec<u8>, words: &str, nonce: u64) -> Call {
    Call {
        step: "step".to_owned(),
        words: words.to_owned(),
        to,
        value: Eth::ZERO,
        data: data.into(),
        nonce,
        gas_limit: 100_000,
        max_fee_per_gas: Eth::wei(20),
        max_priority_fee_per_gas: Eth::wei(2),
    }
}

fn lock_data(amount: u64) -> Vec<u8> {
    lockWithRewardRecipientCall {
        signer: public(9).address(),
        rewardRecipient: Address::repeat_byte(7),
        amount: U256::from(amount),
        signerPubkey: public(9).bytes64().into(),
    }
    .abi_encode()
}

fn lock_words(units: u64) -> String {
    format!(
        "lock {units} METIS for signer {} with rewards to {}",
        public(9).address(),
        Address::repeat_byte(7)
    )
}

fn bundle() -> Bundle {
    let approve = approveCall { spender: INFO, value: U256::from(5 * METIS) }.abi_encode();
    Bundle {
        format: FORMAT.to_owned(),
        operation: "an id".to_owned(),
        network: "devnet".to_owned(),
        chain_id: 31_337,
        sender: public(1).address(),
        sequencer: Subject { name: "alpha".to_owned(), id: None },
        words: format!("alpha: {}", lock_words(5)),
        expires_at: NOW + 60,
        contracts: CONTRACTS,
        calls: vec![
            call(TOKEN, approve, "allow LockingInfo to take 5 METIS", 4),
            call(POOL, lock_data(5 * METIS), &lock_words(5), 5),
        ],
        digest: B256::ZERO,
    }
    .sealed()
}

/// The bundle with a change that its digest does not tell of.
fn spoilt(change: impl FnOnce(&mut Bundle)) -> Bundle {
    let mut bundle = bundle();
    change(&mut bundle);
    bundle.sealed()
}

#[test]
fn a_whole_bundle_is_signed_by_the_key_of_its_sender() {
    let bundle = bundle();
    let text = serde_json::to_string_pretty(&bundle).expect("JSON");
    let read: Bundle = serde_json::from_str(&text).expect("the same");
    assert_eq!(read, bundle);
    let signed = sign(&read, &key(1), NOW).expect("signed");
    assert_eq!((signed.operation.as_str(), signed.digest), ("an id", bundle.digest));
    for (raw, call) in signed.transactions.iter().zip(&bundle.calls) {
        let envelope = TxEnvelope::decode_2718_exact(raw).expect("an envelope");
        assert_eq!(envelope.recover_signer().expect("a signer"), bundle.sender);
        let inner = envelope.as_eip1559().expect("EIP-1559").tx();
        assert_eq!((inner.nonce, &inner.input, inner.chain_id), (call.nonce, &call.data, 31_337));
    }
    let shown = describe(&bundle).join("\n");
    assert!(shown.contains(&bundle.digest.to_string()) && shown.contains(&lock_words(5)));
}

#[test]
fn what_was_changed_on_the_way_is_found_by_the_digest() {
    let mut changed = bundle();
    changed.calls[1].data = lock_data(6 * METIS).into();
    assert!(matches!(sign(&changed, &key(1), NOW), Err(SignError::Refused(Refused::Digest { .. }))));
}

#[test]
fn what_does_not_do_what_its_words_say_is_refused_even_with_a_right_digest() {
    type Change = fn(&mut Bundle);
    let evil: Change = |b| {
        let spender = Address::repeat_byte(0xee);
        b.calls[0].data = approveCall { spender, value: U256::from(5 * METIS) }.abi_encode().into();
    };
    let cases: [(&str, Change); 12] = [
        ("another amount", |b| b.calls[1].data = lock_data(6 * METIS).into()),
        ("another spender", evil),
        ("another target", |b| b.calls[1].to = Address::repeat_byte(0xee)),
        ("trailing bytes", |b| b.calls[1].data = [&b.calls[1].data[..], &[0]].concat().into()),
        ("ETH along", |b| b.calls[1].value = Eth::wei(1)),
        ("other words", |b| b.calls[1].words = "nothing to worry about".to_owned()),
        ("other words of all", |b| b.words = "alpha: claim".to_owned()),
        ("a gap of nonces", |b| b.calls[1].nonce = 9),
        ("no calls", |b| b.calls.clear()),
        ("another format", |b| b.format = "metis-sequencer-bundle/2".to_owned()),
        ("over its time", |b| b.expires_at = NOW),
        ("contracts of another on a public chain", |b| b.chain_id = 1),
    ];
    for (what, change) in cases {
        let refused = sign(&spoilt(change), &key(1), NOW);
        assert!(matches!(refused, Err(SignError::Refused(_))), "{what}: {refused:?}");
    }
}

#[test]
fn another_sequencer_or_key_is_refused() {
    let other = spoilt(|b| {
        let data = withdrawCall { seqId: U256::from(8), amount: U256::from(METIS) }.abi_encode();
        b.calls = vec![call(POOL, data, "withdraw 1 METIS of the principal", 0)];
        b.words = "alpha: withdraw 1 METIS of the principal".to_owned();
        b.sequencer.id = Some(U256::from(7));
    });
    assert_eq!(other.check(NOW), Err(Refused::Sequencer { number: 1 }));
    assert!(matches!(sign(&bundle(), &key(2), NOW), Err(SignError::Refused(Refused::Key { .. }))));
}

/// A claim whose recipient is set first.
fn claim_bundle() -> Bundle {
    let recipient = Address::repeat_byte(7);
    let set = setSequencerRewardRecipientCall { seqId: U256::from(7), recipient }.abi_encode();
    let claim = withdrawRewardsCall { seqId: U256::from(7), l2Gas: 0 }.abi_encode();
    let (first, last) = (
        format!("send future rewards to {recipient} on L2"),
        "claim the unclaimed reward to the L2 recipient",
    );
    spoilt(|b| {
        b.calls = vec![call(POOL, set, &first, 0), call(POOL, claim, last, 1)];
        b.words = format!("alpha: {last}");
        b.sequencer.id = Some(U256::from(7));
    })
}

#[test]
fn before_what_the_bundle_is_for_stands_only_what_prepares_it() {
    assert_eq!(claim_bundle().check(NOW), Ok(()));
    let mut swapped = claim_bundle();
    swapped.calls.reverse();
    (swapped.calls[0].nonce, swapped.calls[1].nonce) = (0, 1);
    swapped.words = format!("alpha: {}", swapped.calls[1].words);
    assert_eq!(swapped.sealed().check(NOW), Err(Refused::Step { number: 1 }));
    let mut short = claim_bundle();
    short.calls.pop();
    assert!(matches!(short.sealed().check(NOW), Err(Refused::Words { number: 1, .. })), "not what it says");
    let mut other = claim_bundle();
    let recipient = Address::repeat_byte(7);
    other.calls[0].data =
        setSequencerRewardRecipientCall { seqId: U256::from(8), recipient }.abi_encode().into();
    assert_eq!(other.sealed().check(NOW), Err(Refused::Sequencer { number: 1 }));
}

#[test]
fn only_calls_that_bridge_may_send_eth() {
    let claim = withdrawRewardsCall { seqId: U256::from(7), l2Gas: 0 }.abi_encode();
    assert!(Meaning::of(POOL, U256::from(1), &claim, &CONTRACTS).is_ok());
    let withdraw = withdrawCall { seqId: U256::from(7), amount: U256::from(1) }.abi_encode();
    assert_eq!(Meaning::of(POOL, U256::from(1), &withdraw, &CONTRACTS), Err(Unread::Value));
}

#[test]
fn a_wallet_gets_the_parameters_of_eip_5792() {
    let bundle = bundle();
    let calls = bundle.calls.iter().map(|call| (call.to, U256::from(16), &call.data));
    let object = wallet_calls(59_902, bundle.sender, calls);
    assert_eq!(object["version"], "2.0.0");
    assert_eq!(object["chainId"], "0xe9fe");
    assert_eq!(object["atomicRequired"], false);
    assert_eq!(object["calls"][0]["value"], "0x10");
    assert_eq!(object["calls"][1]["data"], json!(bundle.calls[1].data));
}

/// A file that the app itself wrote, published with its checksum (5afe/safe-cli-nodejs).
#[test]
fn the_checksum_is_the_one_that_the_safe_app_computes() {
    let file = json!({
        "version": "1.0",
        "chainId": "1",
        "createdAt": 1_761_326_849_944_i64,
        "meta": {
            "name": "Transactions Batch",
            "description": "",
            "txBuilderVersion": "1.18.2",
            "createdFromSafeAddress": "0xA77DE01e157f9f57C7c4A326eeE9C4874D0598b6",
            "createdFromOwnerAddress": "",
            "checksum": "0x8b5032f716845c8b08bab3d63dbd9ba92e056f3557793cd041e59b84e16aa989"
        },
        "transactions": [{
            "to": "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48",
            "value": "0",
            "data": null,
            "contractMethod": {
                "inputs": [
                    { "internalType": "address", "name": "spender", "type": "address" },
                    { "internalType": "uint256", "name": "value", "type": "uint256" }
                ],
                "name": "approve",
                "payable": false
            },
            "contractInputsValues": {
                "spender": "0x474e5Ded6b5D078163BFB8F6dBa355C3aA5478C8",
                "value": "100000000000"
            }
        }]
    });
    assert_eq!(safe::checksum(&file), file["meta"]["checksum"]);
}

#[test]
fn a_safe_gets_each_call_with_its_arguments_by_name() {
    let bundle = bundle();
    let calls = || bundle.calls.iter().map(|call| (call.to, call.value.0, &call.data));
    let file = safe_batch(31_337, bundle.sender, 5, "words", &CONTRACTS, calls()).expect("a file");
    assert_eq!(file["chainId"], "31337");
    assert_eq!(file["meta"]["checksum"], safe::checksum(&file));
    let lock = &file["transactions"][1];
    assert_eq!(lock["contractMethod"]["name"], "lockWithRewardRecipient");
    assert_eq!(lock["contractInputsValues"]["amount"], (5 * METIS).to_string());
    assert_eq!(lock["data"], json!(bundle.calls[1].data));
    let stray = Bytes::from_static(b"junk");
    let refused = safe_batch(1, POOL, 5, "words", &CONTRACTS, [(POOL, U256::ZERO, &stray)]);
    assert_eq!(refused, Err(Unread::Data));
}

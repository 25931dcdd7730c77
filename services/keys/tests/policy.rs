//! The shipped policy as a table, and rules that no document may break.

use std::collections::BTreeMap;

use alloy_primitives::{Address, Bytes, U256, address};
use alloy_sol_types::SolCall;
use keys::db::key::{Labels, Role};
use keys::policy::call::{
    approveCall, lockWithRewardRecipientCall, relockCall, setSequencerOwnerCall,
    setSequencerRewardRecipientCall, unlockCall, unlockClaimCall, updateSignerCall, withdrawCall,
    withdrawRewardsCall,
};
use keys::policy::{Call, Denial, KeyFacts, Policy, Request, Sent, Subject, Verdict, preset};
use proptest::prelude::*;
use time::OffsetDateTime;

use crate::stand::{INFO, METIS, NETWORK, POOL, STRANGER, contracts, metis};

pub const GWEI: u64 = 1_000_000_000;
/// The account of the key that is judged.
pub const OWNER: Address = address!("00000000000000000000000000000000000000b1");

pub fn preset_policy() -> Policy {
    Policy::parse(&preset::metis(&contracts())).unwrap()
}

pub fn lock(amount: U256) -> lockWithRewardRecipientCall {
    let pubkey = Bytes::from(vec![7; 64]);
    lockWithRewardRecipientCall { signer: STRANGER, rewardRecipient: STRANGER, amount, signerPubkey: pubkey }
}

/// The nine operations and the approval of the first, as they are sent: target, calldata, whose, bridged.
pub fn needed() -> Vec<(Address, Vec<u8>, Role, bool)> {
    let id = U256::from(17);
    let pubkey = Bytes::from(vec![7; 64]);
    vec![
        (METIS, approveCall { spender: INFO, value: metis(20_000) }.abi_encode(), Role::Owner, false),
        (POOL, lock(metis(20_000)).abi_encode(), Role::Owner, false),
        (POOL, relockCall { seqId: id, amount: metis(1), lockReward: true }.abi_encode(), Role::Owner, false),
        (POOL, withdrawCall { seqId: id, amount: metis(1) }.abi_encode(), Role::Owner, false),
        (POOL, withdrawRewardsCall { seqId: id, l2Gas: 0 }.abi_encode(), Role::Owner, true),
        (
            POOL,
            setSequencerRewardRecipientCall { seqId: id, recipient: STRANGER }.abi_encode(),
            Role::Owner,
            false,
        ),
        (POOL, setSequencerOwnerCall { seqId: id, newOwner: STRANGER }.abi_encode(), Role::Owner, false),
        (POOL, updateSignerCall { seqId: id, signerPubkey: pubkey }.abi_encode(), Role::Sequencer, false),
        (POOL, unlockCall { seqId: id, l2Gas: 0 }.abi_encode(), Role::Owner, true),
        (POOL, unlockClaimCall { seqId: id, l2Gas: 0 }.abi_encode(), Role::Owner, true),
    ]
}

pub fn decode(to: Address, data: &[u8]) -> Result<Call, keys::policy::call::Unknown> {
    Call::decode(to, data, &contracts()[NETWORK])
}

/// A request within every bound of the preset.
pub fn asked<'a>(call: &'a Call, role: Role, labels: &'a Labels) -> Request<'a> {
    Request {
        caller: "lifecycle",
        key: KeyFacts { id: "id", name: "alpha", role, labels },
        account: OWNER,
        now: OffsetDateTime::UNIX_EPOCH,
        subject: Subject::Call(Sent {
            network: NETWORK,
            call,
            value: U256::ZERO,
            gas_limit: 500_000,
            max_fee_per_gas: U256::from(20 * GWEI),
            signer_key: None,
        }),
    }
}

/// The same request, sent otherwise.
pub fn sent<'a>(request: &Request<'a>, change: impl FnOnce(&mut Sent<'a>)) -> Request<'a> {
    let mut request = request.clone();
    match &mut request.subject {
        Subject::Call(sent) => change(sent),
        other => panic!("no call: {other:?}"),
    }
    request
}

pub fn denial(policy: &Policy, request: &Request<'_>) -> Denial {
    match policy.judge(request) {
        Verdict::Denied(denial) => denial,
        allowed => panic!("allowed: {allowed:?}"),
    }
}

#[test]
fn the_preset_allows_what_the_operations_need_to_the_role_that_needs_it_only() {
    let policy = preset_policy();
    let labels = Labels::new();
    for (to, data, needed_by, bridged) in needed() {
        let call = decode(to, &data).unwrap();
        let request = asked(&call, needed_by, &labels);
        assert!(matches!(policy.judge(&request), Verdict::Allowed { .. }), "{call}");
        let request = sent(&request, |sent| sent.value = U256::from(200_000 * GWEI));
        assert_eq!(matches!(policy.judge(&request), Verdict::Allowed { .. }), bridged, "value with {call}");

        let other = if needed_by == Role::Owner { Role::Sequencer } else { Role::Owner };
        denial(&policy, &asked(&call, other, &labels));
    }
}

#[test]
fn each_bound_of_the_preset_holds_to_the_wei() {
    let policy = preset_policy();
    let labels = Labels::new();
    let amount_max = metis(100_000);
    let at_bound = decode(POOL, &lock(amount_max).abi_encode()).unwrap();
    let above = decode(POOL, &lock(amount_max + U256::ONE).abi_encode()).unwrap();
    assert!(matches!(policy.judge(&asked(&at_bound, Role::Owner, &labels)), Verdict::Allowed { .. }));
    let Denial { rule, field, bound, value } = denial(&policy, &asked(&above, Role::Owner, &labels));
    assert_eq!((rule.as_deref(), field), (Some("owner-lock"), "amount_wei"));
    assert_eq!((bound, value), (amount_max.to_string(), (amount_max + U256::ONE).to_string()));

    let claim = Call::WithdrawRewards { seq_id: U256::ONE, l2_gas: 0 };
    let base = asked(&claim, Role::Owner, &labels);
    let value = |value: u64| sent(&base, |sent| sent.value = U256::from(value));
    let fee = |fee: u64, gas_limit: u64| {
        sent(&base, |sent| (sent.max_fee_per_gas, sent.gas_limit) = (U256::from(fee), gas_limit))
    };
    let table = [
        (value(10_000_000 * GWEI), value(10_000_000 * GWEI + 1), "value_wei"),
        (fee(500 * GWEI, 600_000), fee(500 * GWEI + 1, 21_000), "max_fee_per_gas_wei"),
        (fee(500 * GWEI, 600_000), fee(500 * GWEI, 600_001), "max_total_fee_wei"),
    ];
    for (within, beyond, field) in table {
        assert!(matches!(policy.judge(&within), Verdict::Allowed { .. }), "{field}");
        assert_eq!(denial(&policy, &beyond).field, field);
    }
    assert_eq!(denial(&policy, &Request { caller: "gateway", ..base.clone() }).field, "caller");
    assert_eq!(denial(&policy, &sent(&base, |sent| sent.network = "mainnet")).field, "network");
}

#[test]
fn an_allowance_goes_to_locking_info_and_nobody_else() {
    let call = decode(METIS, &approveCall { spender: POOL, value: metis(1) }.abi_encode()).unwrap();
    let denied = denial(&preset_policy(), &asked(&call, Role::Owner, &Labels::new()));
    assert_eq!((denied.field, denied.bound), ("spender", INFO.to_string()));
}

#[test]
fn a_sequencer_key_only_updates_the_signer_even_if_a_rule_says_more() {
    let toml = preset::metis(&contracts()).replace("role = \"owner\"", "role = \"sequencer\"");
    let call = Call::Withdraw { seq_id: U256::ONE, amount: U256::ONE };
    assert_eq!(
        denial(&Policy::parse(&toml).unwrap(), &asked(&call, Role::Sequencer, &Labels::new())).field,
        "function"
    );
}

#[test]
fn a_rule_that_denies_wins_wherever_it_stands() {
    let deny = "[[rule]]\nname = \"NAME\"\neffect = \"deny\"\n[rule.keys]\nlabels = { frozen = \"yes\" }\n";
    let labels = Labels::from([("frozen".to_owned(), "yes".to_owned())]);
    let call = Call::Withdraw { seq_id: U256::ONE, amount: U256::ONE };
    for name in ["aaa", "zzz"] {
        let toml = format!("{}\n{}", preset::metis(&contracts()), deny.replace("NAME", name));
        let policy = Policy::parse(&toml).unwrap();
        assert_eq!(denial(&policy, &asked(&call, Role::Owner, &labels)).rule.as_deref(), Some(name));
        assert!(matches!(policy.judge(&asked(&call, Role::Owner, &Labels::new())), Verdict::Allowed { .. }));
    }
}

#[test]
fn recipients_and_new_owners_can_be_kept_to_a_list() {
    let list = format!("recipients = [\"{INFO}\"]\nnew_owners = [\"{INFO}\"]\nname = \"owner-settings\"");
    let toml = preset::metis(&contracts()).replace("name = \"owner-settings\"", &list);
    let policy = Policy::parse(&toml).unwrap();
    let id = U256::ONE;
    let table = [
        (Call::SetSequencerRewardRecipient { seq_id: id, recipient: STRANGER }, "recipient"),
        (Call::SetSequencerOwner { seq_id: id, owner: STRANGER }, "new_owner"),
    ];
    for (call, field) in table {
        assert_eq!(denial(&policy, &asked(&call, Role::Owner, &Labels::new())).field, field);
    }
    let listed = Call::SetSequencerOwner { seq_id: id, owner: INFO };
    assert!(matches!(policy.judge(&asked(&listed, Role::Owner, &Labels::new())), Verdict::Allowed { .. }));
}

#[test]
fn calldata_must_be_exactly_what_a_known_function_encodes_to() {
    for (to, data, _, _) in needed() {
        let call = decode(to, &data).unwrap();
        let trailing = [data.as_slice(), &[0]].concat();
        let word = [data.as_slice(), &[0; 32]].concat();
        let cut = &data[..data.len() - 1];
        let mut selector = data.clone();
        selector[0] ^= 0xff;
        for changed in [&trailing, &word, cut, &selector, &[], &data[..3], &data[..4]] {
            assert!(decode(to, changed).is_err(), "{call}: {}", hex::encode(changed));
        }
        let elsewhere = if to == POOL { METIS } else { POOL };
        for target in [elsewhere, INFO, STRANGER] {
            assert!(decode(target, &data).is_err(), "{call} at {target}");
        }
    }
    // Dirty padding: a bool of 2, an address with high bytes, a uint32 with high bytes.
    let relock = relockCall { seqId: U256::ONE, amount: U256::ONE, lockReward: true }.abi_encode();
    let approve = approveCall { spender: INFO, value: U256::ONE }.abi_encode();
    let unlock = unlockCall { seqId: U256::ONE, l2Gas: 1 }.abi_encode();
    for (to, mut data, at, byte) in
        [(POOL, relock, 4 + 95, 2), (METIS, approve, 4, 1), (POOL, unlock, 4 + 32, 1)]
    {
        data[at] = byte;
        assert!(decode(to, &data).is_err(), "{}", hex::encode(data));
    }
    // The offset of the bytes may point anywhere for a lenient decoder.
    let mut shifted = lock(metis(1)).abi_encode();
    shifted[4 + 127] = 0xa0;
    shifted.splice(4 + 128..4 + 128, [0; 32]);
    assert!(decode(POOL, &shifted).is_err());
}

#[test]
fn documents_that_say_too_little_or_too_much_are_refused_with_the_place() {
    let head = "format = 1\n[contracts.devnet]\nchain_id = 1\nlocking_pool = \"0x00000000000000000000000000000000000000a1\"\n\
        locking_info = \"0x00000000000000000000000000000000000000a2\"\nmetis = \"0x00000000000000000000000000000000000000a3\"\n";
    let rule = "[[rule]]\nname = \"r\"\nnetworks = [\"devnet\"]\nfunctions = [\"approve\"]\nmax_fee_per_gas_wei = \"1\"\nmax_total_fee_wei = \"1\"\nkeys = { role = \"owner\" }\n";
    let whole = format!("{head}{rule}");
    Policy::parse(&whole).unwrap();
    let table = [
        (whole.replace("format = 1", "format = 3"), "format 3"),
        (whole.replace("role = \"owner\"", ""), "names its keys"),
        (whole.replace("networks = [\"devnet\"]\n", ""), "names its networks"),
        (whole.replace("functions = [\"approve\"]\n", ""), "names its functions"),
        (whole.replace("[\"devnet\"]", "[\"mainnet\"]"), "mainnet"),
        (whole.replace("max_total_fee_wei = \"1\"", ""), "max_total_fee_wei"),
        (whole.replace("max_total_fee_wei = \"1\"", "max_total_fee_wei = \"-1\""), "max_total_fee_wei"),
        (whole.replace("approve", "transfer"), "line"),
        (whole.replace("networks", "netwroks"), "netwroks"),
        (whole.replace("name = \"r\"", ""), "needs a name"),
        (format!("{whole}{rule}"), "same name"),
        (whole.replace("name = \"r\"", "name = \"r\"\neffect = \"deny\""), "no bounds"),
        (format!("{whole}#{}", "x".repeat(300_000)), "bytes"),
    ];
    for (toml, words) in table {
        let invalid = Policy::parse(&toml).unwrap_err().to_string();
        assert!(invalid.contains(words), "{words}: {invalid}");
    }
}

#[test]
fn a_preset_without_networks_is_a_policy_that_allows_nothing() {
    let policy = Policy::parse(&preset::metis(&BTreeMap::new())).unwrap();
    assert_eq!(denial(&policy, &asked(&Call::Cancel, Role::Owner, &Labels::new())).field, "network");
}

proptest! {
    #[test]
    fn no_document_makes_the_parser_panic(text in ".{0,300}", value in "[-0-9a-zA-Z\"\\[\\]{}. ]{0,40}") {
        let _ = Policy::parse(&text);
        let _ = Policy::parse(&preset::metis(&contracts()).replace("\"500000000000\"", &value));
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(which in 0_usize..10, at in any::<prop::sample::Index>(), byte: u8) {
        let (to, mut data, _, _) = needed().swap_remove(which);
        let at = at.index(data.len());
        data[at] = byte;
        // Either refused, or another value of the same canonical form: no two texts mean one call.
        if let Ok(call) = decode(to, &data) {
            let original = decode(to, &needed()[which].1).unwrap();
            prop_assert_eq!(call == original, data == needed()[which].1);
        }
    }

    #[test]
    fn no_calldata_makes_the_decoder_panic(mut data in prop::collection::vec(any::<u8>(), 0..400), which in 0_usize..10) {
        let _ = decode(POOL, &data);
        let selector = needed()[which].1[..4].to_vec();
        data.splice(..4.min(data.len()), selector);
        let _ = decode(needed()[which].0, &data);
    }
}

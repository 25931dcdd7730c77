//! What rules can say: each bound, in words and at its edge, and that order never matters.

use alloy_primitives::{Address, U256, keccak256};
use alloy_sol_types::SolCall;
use keys::db::key::{Labels, Role};
use keys::policy::call::{
    Unknown, approveCall, lockWithRewardRecipientCall, relockCall, unlockCall, updateSignerCall,
};
use keys::policy::document::TypedData;
use keys::policy::{Call, Denial, Function, KeyFacts, Policy, Request, Subject, Verdict, preset};
use proptest::prelude::*;
use proptest::sample::subsequence;
use time::macros::datetime;

use crate::policy::{OWNER, asked, decode, denial, needed, preset_policy, sent};
use crate::stand::{CHAIN_ID, INFO, METIS, NETWORK, POOL, STRANGER, contracts, document, metis, rule};

fn policy(head: &str, rules: &str) -> Policy {
    Policy::parse(&document(head, rules)).unwrap()
}

fn invalid(head: &str, rules: &str) -> String {
    Policy::parse(&document(head, rules)).unwrap_err().to_string()
}

fn allows(policy: &Policy, request: &Request<'_>) -> bool {
    matches!(policy.judge(request), Verdict::Allowed { .. })
}

fn refused_in(policy: &Policy, call: &Call) -> Option<&'static str> {
    match policy.judge(&asked(call, Role::Owner, &Labels::new())) {
        Verdict::Allowed { .. } => None,
        Verdict::Denied(Denial { field, .. }) => Some(field),
    }
}

fn withdraw(seq_id: u64, amount: u64) -> Call {
    Call::Withdraw { seq_id: U256::from(seq_id), amount: U256::from(amount) }
}

#[test]
fn amounts_and_sequencers_have_bounds_on_both_sides() {
    let lines = "amount_wei_min = \"5\"\namount_wei_max = \"9\"\nsequencers = [\"17\", \"18\"]";
    let policy = policy("", &rule("r", "\"withdraw\"", lines));
    let table = [
        (withdraw(17, 4), Some("amount_wei")),
        (withdraw(17, 5), None),
        (withdraw(18, 9), None),
        (withdraw(18, 10), Some("amount_wei")),
        (withdraw(19, 5), Some("sequencer")),
    ];
    for (call, field) in table {
        assert_eq!(refused_in(&policy, &call), field, "{call}");
    }
}

#[test]
fn rewards_go_only_where_they_are_registered() {
    let registered = format!(
        "[[registered]]\nnetwork = \"{NETWORK}\"\nsequencer = \"17\"\nrecipient = \"{INFO}\"\n\
         [[registered]]\nnetwork = \"{NETWORK}\"\nowner = \"{OWNER}\"\nsequencer = \"18\"\nrecipient = \"{METIS}\"\n\
         [[registered]]\nnetwork = \"{NETWORK}\"\nowner = \"{STRANGER}\"\nrecipient = \"{STRANGER}\"\n"
    );
    let functions = "\"setSequencerRewardRecipient\", \"lockWithRewardRecipient\"";
    let rules = rule("r", functions, "recipient_registered = true");
    let by_sequencer = policy("", &format!("{registered}{rules}"));
    let set =
        |seq_id: u64, recipient| Call::SetSequencerRewardRecipient { seq_id: U256::from(seq_id), recipient };
    let lock = |recipient| Call::LockWithRewardRecipient {
        signer: STRANGER,
        recipient,
        amount: U256::ONE,
        pubkey: vec![7; 64].into(),
    };
    let table = [
        (set(17, INFO), true),
        (set(17, METIS), false),
        (set(18, METIS), true),
        (set(18, INFO), false),
        (set(19, INFO), false),
        // A registration of somebody else's sequencer says nothing about this owner.
        (set(17, STRANGER), false),
        // A lock makes a new sequencer: only what is registered for the owner alone speaks of it.
        (lock(METIS), false),
        (lock(INFO), false),
    ];
    for (call, allowed) in table {
        assert_eq!(refused_in(&by_sequencer, &call).is_none(), allowed, "{call}");
    }
    let by_owner = registered.replace(&STRANGER.to_string(), &OWNER.to_string());
    let by_owner = policy("", &format!("{by_owner}{rules}"));
    assert_eq!(refused_in(&by_owner, &lock(OWNER)), None);
    let Denial { field, bound, value, .. } =
        denial(&by_owner, &asked(&lock(STRANGER), Role::Owner, &Labels::new()));
    assert_eq!((field, bound, value), ("recipient_registered", OWNER.to_string(), STRANGER.to_string()));
}

#[test]
fn a_signer_can_be_kept_to_keys_of_this_installation() {
    let pubkey = vec![7; 64];
    let signer = Address::from_word(keccak256(&pubkey));
    let lock = |signer| Call::LockWithRewardRecipient {
        signer,
        recipient: STRANGER,
        amount: U256::ONE,
        pubkey: pubkey.clone().into(),
    };
    let lines = "signer_keys = { role = \"sequencer\", labels = { site = \"one\" } }";
    let policy = policy("", &rule("r", "\"lockWithRewardRecipient\"", lines));
    assert!(policy.asks_signer_keys());
    let (labels, here, elsewhere) = (
        Labels::new(),
        Labels::from([("site".to_owned(), "one".to_owned())]),
        Labels::from([("site".to_owned(), "two".to_owned())]),
    );
    let key = |role, labels| Some(KeyFacts { id: "n", name: "node", role, labels });
    let table = [
        (None, signer, false),
        (key(Role::Sequencer, &here), signer, true),
        (key(Role::Sequencer, &elsewhere), signer, false),
        (key(Role::Owner, &here), signer, false),
        // The call names another address than the key in it has.
        (key(Role::Sequencer, &here), STRANGER, false),
    ];
    for (key, signer, allowed) in table {
        let call = lock(signer);
        let request = sent(&asked(&call, Role::Owner, &labels), |sent| sent.signer_key = key);
        assert_eq!(allows(&policy, &request), allowed, "{key:?} {signer}");
    }
}

#[test]
fn gas_has_a_ceiling_of_its_own() {
    let policy = policy("", &rule("r", "\"withdraw\"", "gas_limit_max = 400000"));
    let (call, labels) = (withdraw(1, 1), Labels::new());
    let request = asked(&call, Role::Owner, &labels);
    assert_eq!(denial(&policy, &request).field, "gas_limit");
    assert!(allows(&policy, &sent(&request, |sent| sent.gas_limit = 400_000)));
}

#[test]
fn rules_speak_at_their_hours_in_utc() {
    let hours =
        "hours = [{ days = [\"mon\", \"fri\"], from = \"08:00\", to = \"17:30\" }, { days = [\"sun\"] }]";
    let open = policy("", &rule("r", "\"withdraw\"", hours));
    let shut = policy(
        "",
        &format!("{}[[rule]]\nname = \"night\"\neffect = \"deny\"\n{hours}\n", rule("r", "\"withdraw\"", "")),
    );
    let (call, labels) = (withdraw(1, 1), Labels::new());
    let table = [
        (datetime!(2026-11-23 07:59:59 UTC), false),
        (datetime!(2026-11-23 08:00 UTC), true),
        (datetime!(2026-11-23 17:29:59 UTC), true),
        (datetime!(2026-11-23 17:30 UTC), false),
        (datetime!(2026-11-24 12:00 UTC), false),
        (datetime!(2026-11-27 12:00 UTC), true),
        (datetime!(2026-11-22 23:59:59 UTC), true),
        // The same moment as 08:30 UTC on that Monday.
        (datetime!(2026-11-23 06:30 -2), true),
    ];
    for (now, speaks) in table {
        let request = Request { now, ..asked(&call, Role::Owner, &labels) };
        assert_eq!(allows(&open, &request), speaks, "{now}");
        assert_eq!(allows(&shut, &request), !speaks, "{now}, denied");
    }
    for wrong in ["from = \"24:01\"", "from = \"8:00\"", "from = \"10:00\", to = \"10:00\"", "to = \"noon\""]
    {
        let rules = rule("r", "\"withdraw\"", &format!("hours = [{{ {wrong} }}]"));
        assert!(invalid("", &rules).contains("time of day"), "{wrong}");
    }
}

#[test]
fn a_small_amount_goes_alone_and_a_large_one_with_approvals() {
    let small = rule("small", "\"relock\"", "amount_wei_max = \"10\"\nmetis_24h_wei_max = \"10\"");
    let large = rule("large", "\"relock\"", "approvals = 2");
    let worse = rule("worse", "\"relock\"", "approvals = 3\nmetis_24h_wei_max = \"5\"");
    let policy = policy("", &[small, large, worse].concat());
    let relock =
        |amount: u64| Call::Relock { seq_id: U256::ONE, amount: U256::from(amount), with_reward: false };
    let (ten, eleven, labels) = (relock(10), relock(11), Labels::new());
    let (first, others) = policy.allowances(&asked(&ten, Role::Owner, &labels)).unwrap();
    let others: Vec<_> = others.iter().map(|way| (way.rule.as_str(), way.approvals)).collect();
    assert_eq!(
        (first.rule.as_str(), first.approvals, first.windows.metis_24h_max),
        ("small", 0, Some(U256::from(10)))
    );
    assert_eq!(others, [("large", 2)], "what asks for more and gives less is no way");
    let (first, others) = policy.allowances(&asked(&eleven, Role::Owner, &labels)).unwrap();
    assert_eq!((first.rule.as_str(), first.approvals, others.len()), ("large", 2, 0));
}

#[test]
fn texts_and_typed_data_need_rules_of_their_own_and_an_owner_key() {
    let data = |chain_id, primary_type: &str| TypedData {
        chain_id,
        verifying_contract: METIS,
        primary_type: primary_type.to_owned(),
    };
    let rules = format!(
        "[[rule]]\nname = \"texts\"\nmessages = [\"Metis sequencer\"]\nkeys = {{ role = \"owner\" }}\n\
         [[rule]]\nname = \"orders\"\nkeys = {{ role = \"owner\" }}\n\
         typed_data = [{{ chain_id = {CHAIN_ID}, verifying_contract = \"{METIS}\", primary_type = \"Order\" }}]\n"
    );
    let allowing = policy("", &rules);
    let labels = Labels::new();
    let call = withdraw(1, 1);
    let request = |role, subject| Request { subject, ..Request { ..asked(&call, role, &labels) } };
    let (order, permit, elsewhere) = (data(CHAIN_ID, "Order"), data(CHAIN_ID, "Permit"), data(1, "Order"));
    let typed = |data| Subject::TypedData { network: Some(NETWORK), data };
    let table = [
        (Subject::Message("Metis sequencer 17 is ours"), true, "message"),
        (Subject::Message("I owe you"), false, "message"),
        (typed(&order), true, "typed_data"),
        (typed(&permit), false, "typed_data"),
        (typed(&elsewhere), false, "typed_data"),
    ];
    for (subject, allowed, field) in table {
        let verdict = allowing.judge(&request(Role::Owner, subject.clone()));
        match verdict {
            Verdict::Allowed { .. } => assert!(allowed, "{subject:?}"),
            Verdict::Denied(denial) => assert_eq!((allowed, denial.field), (false, field)),
        }
        assert!(!allows(&allowing, &request(Role::Sequencer, subject.clone())), "a sequencer key signs none");
        assert!(!allows(&preset_policy(), &request(Role::Owner, subject.clone())), "the preset allows none");
        let denied = policy(
            "",
            &format!("{rules}[[rule]]\nname = \"x\"\neffect = \"deny\"\nnetworks = [\"{NETWORK}\"]\n"),
        );
        assert!(
            !allows(&denied, &request(Role::Owner, subject)),
            "what has no network may be of the denied one"
        );
    }
}

#[test]
fn documents_of_format_1_still_parse_and_cannot_say_what_is_newer() {
    let newer = [
        "amount_wei_min = \"1\"",
        "sequencers = [\"1\"]",
        "recipient_registered = true",
        "signer_keys = {}",
        "gas_limit_max = 1",
        "eth_24h_wei_max = \"1\"",
        "approvals = 1",
        "hours = [{}]",
    ];
    for line in newer {
        let whole = document("", &rule("r", "\"withdraw\"", line));
        Policy::parse(&whole).unwrap();
        let old = whole.replace("format = 2", "format = 1");
        assert!(Policy::parse(&old).unwrap_err().to_string().contains("format = 2"), "{line}");
    }
    Policy::parse(&document("", &rule("r", "\"withdraw\"", "")).replace("format = 2", "format = 1")).unwrap();
}

#[test]
fn what_contradicts_itself_is_no_policy() {
    let withdraw = |lines: &str| rule("r", "\"withdraw\"", lines);
    let registered = |lines: &str| format!("[[registered]]\nnetwork = \"{NETWORK}\"\n{lines}\n");
    let message = |line: &str| {
        format!("[[rule]]\nname = \"m\"\nmessages = [\"x\"]\n{line}\nkeys = {{ role = \"owner\" }}\n")
    };
    let table = [
        (String::new(), withdraw("amount_wei_min = \"2\"\namount_wei_max = \"1\""), "above"),
        (String::new(), withdraw("approvals = 17"), "approvals"),
        (String::new(), withdraw("sequencers = [\"x\"]"), "sequencer"),
        (String::new(), withdraw("eth_24h_wei_max = \"1e3\""), "eth_24h_wei_max"),
        (String::new(), withdraw("messages = [\"x\"]"), "rules of their own"),
        (String::new(), message("networks = [\"devnet\"]"), "have no networks"),
        (String::new(), message("amount_wei_max = \"1\""), "no amounts"),
        (
            String::new(),
            registered("recipient = \"0x00000000000000000000000000000000000000a1\""),
            "sequencer or an owner",
        ),
        (String::new(), registered("sequencer = \"1\"\nrecipient = \"nobody\""), "recipient"),
        ("quorum = { thaw = 17 }".to_owned(), String::new(), "thaw"),
    ];
    for (head, rules, words) in table {
        let found = invalid(&head, &rules);
        assert!(found.contains(words), "{words}: {found}");
    }
}

#[test]
fn what_is_wrong_with_calldata_is_named() {
    let relock = relockCall { seqId: U256::ONE, amount: U256::ONE, lockReward: true }.abi_encode();
    let approve = approveCall { spender: INFO, value: U256::ONE }.abi_encode();
    let unlock = unlockCall { seqId: U256::ONE, l2Gas: 1 }.abi_encode();
    let pubkey = |bytes: usize| vec![7; bytes].into();
    let rotate = |bytes| updateSignerCall { seqId: U256::ONE, signerPubkey: pubkey(bytes) }.abi_encode();
    let lock = lockWithRewardRecipientCall {
        signer: STRANGER,
        rewardRecipient: STRANGER,
        amount: metis(1),
        signerPubkey: pubkey(64),
    }
    .abi_encode();
    let with = |data: &[u8], at: usize, byte: u8| {
        let mut data = data.to_vec();
        data[at] = byte;
        data
    };
    let argument = |function, argument| Unknown::Argument { function, argument };
    let long = |data: &[u8], more: usize| [data, &vec![0; more]].concat();
    let table = [
        (METIS, with(&approve, 4, 1), argument("approve", "spender")),
        (POOL, with(&relock, 4 + 95, 2), argument("relock", "lockReward")),
        (POOL, with(&relock, 4 + 64, 1), argument("relock", "lockReward")),
        (POOL, with(&unlock, 4 + 32, 1), argument("unlock", "l2Gas")),
        (POOL, with(&rotate(64), 4 + 63, 0x60), argument("updateSigner", "signerPubkey")),
        (POOL, with(&rotate(64), 4 + 64, 0xff), argument("updateSigner", "signerPubkey")),
        (POOL, rotate(63), argument("updateSigner", "signerPubkey")),
        (POOL, rotate(65), argument("updateSigner", "signerPubkey")),
        (POOL, with(&lock, 4 + 32, 1), argument("lockWithRewardRecipient", "rewardRecipient")),
        (POOL, long(&relock, 32), Unknown::Trailing { function: "relock", bytes: 32 }),
        (POOL, long(&relock, 1), Unknown::Trailing { function: "relock", bytes: 1 }),
        (POOL, long(&lock, 32), Unknown::Trailing { function: "lockWithRewardRecipient", bytes: 32 }),
        (POOL, relock[..99].to_vec(), Unknown::TooShort { function: "relock", bytes: 99, least: 100 }),
        (POOL, relock[..4].to_vec(), Unknown::TooShort { function: "relock", bytes: 4, least: 100 }),
        (POOL, vec![0xac, 0x96, 0x50, 0xd8, 0, 0], Unknown::Wrapping("ac9650d8".to_owned())),
        (POOL, vec![1, 2, 3], Unknown::NoSelector),
        (POOL, vec![1, 2, 3, 4], Unknown::Selector("01020304".to_owned())),
        (POOL, approve.clone(), Unknown::Selector(hex::encode(approveCall::SELECTOR))),
        (STRANGER, relock.clone(), Unknown::Target(STRANGER)),
    ];
    for (to, data, expected) in table {
        assert_eq!(decode(to, &data), Err(expected), "{}", hex::encode(data));
    }
}

#[test]
fn the_preset_allows_the_ten_calls_and_a_cancel_and_no_other_function_there_is() {
    // Every function of LockingPool and of the token that changes anything (P 1.3, 1.4), and what proxies have.
    let others = [
        "lockFor(address,address,uint256,bytes)",
        "forceUnlock(uint256,uint32)",
        "batchSubmitRewards(uint256,address,uint256[],uint256[],bytes)",
        "batchSubmitRewards(uint256,address,address[],uint256[],bytes)",
        "setWhitelist(address,bool)",
        "setPause(bool)",
        "updateMpc(address)",
        "updateWithdrawDelayTimeValue(uint256)",
        "updateBlockReward(uint256)",
        "setSignerUpdateThrottle(uint256)",
        "transferOwnership(address)",
        "renounceOwnership()",
        "initialize(address)",
        "upgradeTo(address)",
        "upgradeToAndCall(address,bytes)",
        "transfer(address,uint256)",
        "transferFrom(address,address,uint256)",
        "increaseAllowance(address,uint256)",
        "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)",
    ];
    let known: Vec<[u8; 4]> = needed().iter().map(|(_, data, ..)| data[..4].try_into().unwrap()).collect();
    for signature in others {
        let selector: [u8; 4] = keccak256(signature)[..4].try_into().unwrap();
        assert!(!known.contains(&selector), "{signature}");
        for to in [POOL, METIS, INFO] {
            let data = [selector.as_slice(), &[0; 224]].concat();
            decode(to, &data).unwrap_err();
        }
    }
    let policy = preset_policy();
    let labels = Labels::new();
    let mut allowed: Vec<(Function, Role)> = Vec::new();
    let calls = needed().into_iter().map(|(to, data, ..)| decode(to, &data).unwrap()).chain([Call::Cancel]);
    for call in calls {
        for role in [Role::Owner, Role::Sequencer] {
            if allows(&policy, &asked(&call, role, &labels)) {
                allowed.push((call.function(), role));
            }
        }
    }
    use Function::*;
    let mut expected: Vec<_> = [
        Approve,
        LockWithRewardRecipient,
        Relock,
        Withdraw,
        WithdrawRewards,
        SetSequencerRewardRecipient,
        SetSequencerOwner,
        Unlock,
        UnlockClaim,
        Cancel,
    ]
    .map(|function| (function, Role::Owner))
    .into();
    expected.extend([(UpdateSigner, Role::Sequencer), (Cancel, Role::Sequencer)]);
    expected.sort();
    allowed.sort();
    assert_eq!(allowed, expected);
}

/// Each operation as lifecycle sends it, from the builders that it uses.
#[test]
fn the_preset_allows_each_operation_as_lifecycle_builds_it_to_its_role_only() {
    use chain::calldata;
    use domain::amount::Metis;
    use domain::ids::SequencerId;
    let (id, amount) = (SequencerId::from(17), Metis::whole(20_000));
    let node = domain::pubkey::PublicKey::from_hex(
        "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8",
    )
    .unwrap();
    let owner = Role::Owner;
    let operations = [
        ("lock, first step", METIS, calldata::approve(INFO, amount), owner, false),
        ("lock", POOL, calldata::lock(&node, STRANGER, amount), owner, false),
        ("increase", POOL, calldata::increase(id, amount, false), owner, false),
        ("increase by rewards", POOL, calldata::increase(id, Metis::ZERO, true), owner, false),
        ("withdraw", POOL, calldata::withdraw(id, amount), owner, false),
        ("claim", POOL, calldata::claim(id, 0), owner, true),
        ("set recipient", POOL, calldata::set_recipient(id, STRANGER), owner, false),
        ("set owner", POOL, calldata::set_owner(id, STRANGER), owner, false),
        ("rotate signer", POOL, calldata::rotate_signer(id, &node), Role::Sequencer, false),
        ("unlock", POOL, calldata::unlock(id, 0), owner, true),
        ("withdraw final", POOL, calldata::withdraw_final(id, 0), owner, true),
    ];
    let policy = preset_policy();
    let labels = Labels::new();
    for (name, to, data, needed_by, bridges) in operations {
        let call = decode(to, &data).unwrap();
        for role in [Role::Owner, Role::Sequencer] {
            let request = asked(&call, role, &labels);
            assert_eq!(allows(&policy, &request), role == needed_by, "{name} by {role:?}");
            let paid = sent(&request, |sent| sent.value = U256::from(200_000_000_000_000_u64));
            assert_eq!(allows(&policy, &paid), role == needed_by && bridges, "{name} with value by {role:?}");
        }
    }
}

/// Rules that overlap in every way: callers, labels, amounts, windows, approvals, denials.
fn pool_of_rules() -> Vec<String> {
    let deny = |name: &str, lines: &str| format!("[[rule]]\nname = \"{name}\"\neffect = \"deny\"\n{lines}\n");
    vec![
        rule("a", "\"withdraw\", \"relock\"", "amount_wei_max = \"10\"\nmetis_24h_wei_max = \"50\""),
        rule("b", "\"withdraw\"", "approvals = 1"),
        rule("c", "\"relock\"", "callers = [\"lifecycle\"]\namount_wei_min = \"5\"\neth_24h_wei_max = \"7\""),
        rule("d", "\"relock\", \"withdraw\"", "sequencers = [\"1\"]\napprovals = 2"),
        rule("e", "\"withdraw\"", "callers = [\"other\"]"),
        deny("f", "functions = [\"withdraw\"]\ncallers = [\"other\"]"),
        deny("g", "keys = { labels = { site = \"two\" } }"),
        deny("h", "functions = [\"relock\"]\nhours = [{ days = [\"sat\"] }]"),
    ]
}

prop_compose! {
    fn world()(
        rules in subsequence(pool_of_rules(), 0..=8),
        shuffled in Just(pool_of_rules()).prop_shuffle(),
        relock: bool, seq_id in 0_u64..3, amount in 0_u64..20, other: bool, two: bool,
    ) -> (Vec<String>, Vec<String>, Call, &'static str, Labels) {
        let shuffled = shuffled.into_iter().filter(|rule| rules.contains(rule)).collect();
        let (seq_id, amount) = (U256::from(seq_id), U256::from(amount));
        let call = if relock {
            Call::Relock { seq_id, amount, with_reward: false }
        } else {
            Call::Withdraw { seq_id, amount }
        };
        let site = if two { "two" } else { "one" };
        let labels = Labels::from([("site".to_owned(), site.to_owned())]);
        (rules, shuffled, call, if other { "other" } else { "lifecycle" }, labels)
    }
}

proptest! {
    #[test]
    fn order_never_matters_and_a_denial_never_allows((rules, shuffled, call, caller, labels) in world()) {
        let request = Request { caller, ..asked(&call, Role::Owner, &labels) };
        let (one, other) = (policy("", &rules.concat()), policy("", &shuffled.concat()));
        prop_assert_eq!(one.allowances(&request), other.allowances(&request));
        prop_assert_eq!(one.nearest(&request, 9), other.nearest(&request, 9));

        // One more rule that denies allows nothing new; one more rule that allows refuses nothing new, unless by denial.
        for more in pool_of_rules().into_iter().filter(|more| !rules.contains(more)) {
            let longer = policy("", &format!("{}{more}", rules.concat()));
            let (before, after) = (allows(&one, &request), allows(&longer, &request));
            if more.contains("deny") {
                prop_assert!(before || !after);
            } else {
                prop_assert!(!before || after);
            }
        }
        // Allowed means that a rule allows by itself and no rule denies by itself.
        let alone = |rule: &String| policy("", rule);
        let some = rules.iter().any(|rule| allows(&alone(rule), &request));
        let denied = rules.iter().any(|rule| alone(rule).denying(&request).next().is_some());
        prop_assert_eq!(allows(&one, &request), some && !denied);
    }

    #[test]
    fn every_call_encodes_decodes_and_encodes_again(
        words in prop::array::uniform4(prop::array::uniform32(any::<u8>())), gas: u32, flag: bool, which in 0_usize..10,
    ) {
        let [a, b, c, d] = words.map(U256::from_be_bytes::<32>);
        let address = |word: U256| Address::from_word(word.into());
        let key: alloy_primitives::Bytes = [c.to_be_bytes::<32>(), d.to_be_bytes::<32>()].concat().into();
        use keys::policy::call::*;
        let (to, data) = match which {
            0 => (METIS, approveCall { spender: address(a), value: b }.abi_encode()),
            1 => (POOL, lockWithRewardRecipientCall { signer: address(a), rewardRecipient: address(b), amount: c, signerPubkey: key }.abi_encode()),
            2 => (POOL, relockCall { seqId: a, amount: b, lockReward: flag }.abi_encode()),
            3 => (POOL, withdrawCall { seqId: a, amount: b }.abi_encode()),
            4 => (POOL, withdrawRewardsCall { seqId: a, l2Gas: gas }.abi_encode()),
            5 => (POOL, unlockCall { seqId: a, l2Gas: gas }.abi_encode()),
            6 => (POOL, unlockClaimCall { seqId: a, l2Gas: gas }.abi_encode()),
            7 => (POOL, updateSignerCall { seqId: a, signerPubkey: key }.abi_encode()),
            8 => (POOL, setSequencerRewardRecipientCall { seqId: a, recipient: address(b) }.abi_encode()),
            _ => (POOL, setSequencerOwnerCall { seqId: a, newOwner: address(b) }.abi_encode()),
        };
        let call = decode(to, &data).unwrap();
        prop_assert_eq!(encoded(&call), data);
    }

    #[test]
    fn calldata_is_either_refused_or_the_one_encoding_of_its_call(
        which in 0_usize..10, edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in 0_usize..40, more in 0_usize..40,
    ) {
        let (to, mut data, ..) = needed().swap_remove(which);
        for (at, byte) in edits {
            let at = at.index(data.len());
            data[at] = byte;
        }
        data.truncate(data.len() - cut.min(data.len()));
        data.extend(vec![0; more]);
        if let Ok(call) = decode(to, &data) {
            prop_assert_eq!(encoded(&call), data);
        }
    }
}

/// The one encoding of a call, from its parts.
fn encoded(call: &Call) -> Vec<u8> {
    use keys::policy::call::*;
    match call.clone() {
        Call::Approve { spender, amount } => approveCall { spender, value: amount }.abi_encode(),
        Call::LockWithRewardRecipient { signer, recipient, amount, pubkey } => {
            lockWithRewardRecipientCall { signer, rewardRecipient: recipient, amount, signerPubkey: pubkey }
                .abi_encode()
        }
        Call::Relock { seq_id, amount, with_reward } => {
            relockCall { seqId: seq_id, amount, lockReward: with_reward }.abi_encode()
        }
        Call::Withdraw { seq_id, amount } => withdrawCall { seqId: seq_id, amount }.abi_encode(),
        Call::WithdrawRewards { seq_id, l2_gas } => {
            withdrawRewardsCall { seqId: seq_id, l2Gas: l2_gas }.abi_encode()
        }
        Call::Unlock { seq_id, l2_gas } => unlockCall { seqId: seq_id, l2Gas: l2_gas }.abi_encode(),
        Call::UnlockClaim { seq_id, l2_gas } => unlockClaimCall { seqId: seq_id, l2Gas: l2_gas }.abi_encode(),
        Call::UpdateSigner { seq_id, pubkey } => {
            updateSignerCall { seqId: seq_id, signerPubkey: pubkey }.abi_encode()
        }
        Call::SetSequencerRewardRecipient { seq_id, recipient } => {
            setSequencerRewardRecipientCall { seqId: seq_id, recipient }.abi_encode()
        }
        Call::SetSequencerOwner { seq_id, owner } => {
            setSequencerOwnerCall { seqId: seq_id, newOwner: owner }.abi_encode()
        }
        Call::Cancel => Vec::new(),
    }
}

#[test]
fn the_preset_is_what_it_says_of_its_contracts() {
    assert_eq!(preset_policy().contracts, contracts());
    assert!(preset::metis(&contracts()).contains("eth_24h_wei_max"));
}

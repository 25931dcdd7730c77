//! TestPolicy, ExplainPolicy, GetBlastRadius.

use alloy_primitives::U256;
use api::keys::v1::{
    ExplainPolicyRequest, GetBlastRadiusRequest, KeyRole, KeyState, Reach, SetKeyStateRequest,
    TestPolicyRequest,
};
use keys::policy::call::{approveCall, relockCall, setSequencerOwnerCall, withdrawCall};

use crate::stand::{
    INFO, METIS, NETWORK, POOL, STRANGER, Stand, document, metis, refusal, request, rule, set_rules,
};

fn relock(amount: u64) -> relockCall {
    relockCall { seqId: U256::from(17), amount: metis(amount), lockReward: false }
}

fn withdraw(amount: u64) -> withdrawCall {
    withdrawCall { seqId: U256::from(17), amount: metis(amount) }
}

#[tokio::test]
async fn a_draft_is_tested_against_what_was_really_asked() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    stand.sign(request(&key, POOL, &relock(4), 0)).await.unwrap();
    stand.sign(request(&key, POOL, &relock(4), 0)).await.unwrap();
    stand.sign(request(&key, POOL, &relock(4), 1)).await.unwrap();
    stand.sign(request(&key, POOL, &withdraw(9), 2)).await.unwrap();
    stand
        .sign(request(&key, METIS, &approveCall { spender: INFO, value: metis(200_000) }, 3))
        .await
        .unwrap_err();
    // Bad input never was a transaction.
    let mut broken = request(&key, POOL, &relock(1), 4);
    broken.transaction.as_mut().unwrap().nonce = None;
    stand.sign(broken).await.unwrap_err();

    let window = format!("metis_24h_wei_max = \"{}\"", metis(7));
    let rules = [
        rule("lock", "\"relock\"", &window),
        rule("out", "\"withdraw\"", "approvals = 1"),
        rule("allow", "\"approve\"", ""),
    ];
    let ask = |last| TestPolicyRequest { toml: document("", &rules.concat()), last };
    let answer = stand.operator.clone().test_policy(ask(0)).await.unwrap().into_inner();
    let counts =
        (answer.examined, answer.skipped, answer.newly_allowed, answer.newly_refused, answer.other_approvals);
    assert_eq!(counts, (5, 1, 1, 1, 1), "{answer:#?}");
    assert_eq!(answer.policy_version, 1);
    let told: Vec<_> = answer
        .changes
        .iter()
        .map(|change| {
            let (before, after) = (change.before.as_ref().unwrap(), change.after.as_ref().unwrap());
            (
                before.rule.as_str(),
                before.allowed,
                after.rule.as_str(),
                after.allowed,
                after.field.as_str(),
                after.approvals,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            // The first four METIS and their repetition fit, the next four do not.
            ("owner-lock", true, "lock", false, "metis_24h_wei", 0),
            ("owner-withdraw", true, "out", true, "", 1),
            ("owner-lock", false, "allow", true, "", 0),
        ]
    );
    assert!(answer.changes[0].intent.contains("4 METIS") && answer.difference.contains("rule lock added"));
    let last = stand.operator.clone().test_policy(ask(1)).await.unwrap().into_inner();
    assert_eq!((last.examined, last.newly_allowed), (1, 1), "the last one only");
    let many = refusal(&stand.operator.clone().test_policy(ask(10_001)).await.unwrap_err());
    assert_eq!((many.reason.as_str(), many.fields[0].0.as_str()), ("INVALID_ARGUMENT", "last"));
    let broken = TestPolicyRequest { toml: "format = 7".to_owned(), last: 0 };
    assert_eq!(
        refusal(&stand.operator.clone().test_policy(broken).await.unwrap_err()).reason,
        "POLICY_INVALID"
    );
}

#[tokio::test]
async fn a_transaction_is_explained_by_the_rule_that_decides_and_the_nearest_misses() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    let explain = |call: &relockCall, toml: String| {
        let asked = request(&key, POOL, call, 0);
        ExplainPolicyRequest {
            key_id: key.id.clone(),
            network: NETWORK.to_owned(),
            transaction: asked.transaction,
            intent: asked.intent,
            caller: String::new(),
            toml,
        }
    };
    let mut alice = stand.operator.clone();
    let yes = alice.explain_policy(explain(&relock(5), String::new())).await.unwrap().into_inner();
    let verdict = yes.verdict.unwrap();
    assert_eq!((verdict.allowed, verdict.rule.as_str(), yes.policy_version), (true, "owner-lock", 1));
    assert!(yes.words.contains("5 METIS") && yes.key_state == i32::from(KeyState::Enabled));
    assert_eq!(yes.allowing[0].metis_24h_wei_max, metis(200_000).to_string());

    let no = alice.explain_policy(explain(&relock(100_001), String::new())).await.unwrap().into_inner();
    let verdict = no.verdict.unwrap();
    assert_eq!((verdict.allowed, verdict.field.as_str()), (false, "amount_wei"));
    let nearest: Vec<_> = no.nearest.iter().map(|miss| (miss.rule.as_str(), miss.field.as_str())).collect();
    assert_eq!(nearest[..2], [("owner-lock", "amount_wei"), ("owner-bridge", "function")]);
    assert_eq!(nearest.last(), Some(&("sequencer-signer", "role")));

    let deny = "[[rule]]\nname = \"no locks\"\neffect = \"deny\"\nfunctions = [\"relock\"]\n";
    let draft = document("", &format!("{}{deny}", rule("lock", "\"relock\"", "approvals = 2")));
    let denied = alice.explain_policy(explain(&relock(5), draft)).await.unwrap().into_inner();
    assert_eq!((denied.denying, denied.policy_version), (vec!["no locks".to_owned()], 0));
    assert_eq!(denied.verdict.unwrap().rule, "no locks");
    let records = stand
        .operator
        .clone()
        .list_audit_records(api::keys::v1::ListAuditRecordsRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(records.records.len(), 2, "the policy and the key; explaining leaves no record");
}

fn sums(reach: &Option<Reach>) -> (String, String, bool) {
    let reach = reach.clone().unwrap();
    let show = |wei: String, unbounded: bool| if unbounded { "all".to_owned() } else { wei };
    (
        show(reach.metis_wei, reach.metis_unbounded),
        show(reach.eth_wei, reach.eth_unbounded),
        reach.can_give_away,
    )
}

#[tokio::test]
async fn the_blast_radius_adds_up_what_each_identity_and_key_could_move() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let (alpha, beta) =
        (stand.create("alpha", KeyRole::Owner).await, stand.create("beta", KeyRole::Owner).await);
    stand.create("node", KeyRole::Sequencer).await;
    let mut alice = stand.operator.clone();
    let radius = alice.get_blast_radius(GetBlastRadiusRequest::default()).await.unwrap().into_inner();
    let eth = 5_000_000_000_000_000_000_u64;
    let [lifecycle] = radius.identities.as_slice() else { panic!("{radius:?}") };
    let expected = (metis(400_000).to_string(), (U256::from(eth) * U256::from(3)).to_string(), true);
    assert_eq!((lifecycle.identity.as_str(), sums(&lifecycle.alone)), ("lifecycle", expected));
    let node = radius.keys.iter().find(|key| key.name == "node").unwrap();
    assert_eq!(sums(&node.alone), ("0".to_owned(), eth.to_string(), false));

    let disable =
        SetKeyStateRequest { id: beta.id.clone(), state: KeyState::Disabled.into(), reason: "x".to_owned() };
    alice.set_key_state(disable).await.unwrap();
    let lines = |metis_max: u64| {
        format!("callers = [\"a\"]\nmetis_24h_wei_max = \"{metis_max}\"\neth_24h_wei_max = \"3\"")
    };
    let rules = [
        rule("small", "\"relock\"", &lines(5)),
        rule("more", "\"relock\"", &format!("{}\napprovals = 1", lines(7))),
        rule("open", "\"relock\"", "callers = [\"b\"]"),
        rule("away", "\"setSequencerOwner\"", "callers = [\"a\"]\neth_24h_wei_max = \"3\""),
        "[[rule]]\nname = \"x\"\neffect = \"deny\"\nfunctions = [\"setSequencerOwner\"]\ncallers = [\"a\"]\n"
            .to_owned(),
    ];
    let draft = GetBlastRadiusRequest { toml: document("", &rules.concat()) };
    let radius = alice.get_blast_radius(draft).await.unwrap().into_inner();
    let told: Vec<_> = radius
        .identities
        .iter()
        .map(|one| (one.identity.as_str(), sums(&one.alone), sums(&one.approved)))
        .collect();
    let of = |metis: &str, eth: &str, away| (metis.to_owned(), eth.to_owned(), away);
    assert_eq!(
        told,
        [
            ("a", of("5", "3", false), of("7", "3", false)),
            ("b", of("all", "all", false), of("all", "all", false)),
        ],
        "only alpha is enabled, and what is denied at all hours does not count"
    );
    let own = radius.keys.iter().find(|key| key.key_id == alpha.id).unwrap();
    assert_eq!(sums(&own.alone), of("all", "all", true), "somebody else than a might ask");

    // What could be given away is bounded once owners are on a list.
    let listed = format!("callers = [\"a\"]\nnew_owners = [\"{STRANGER}\"]");
    set_rules(&stand, "", &rule("away", "\"setSequencerOwner\"", &listed)).await;
    let radius = alice.get_blast_radius(GetBlastRadiusRequest::default()).await.unwrap().into_inner();
    assert_eq!((radius.policy_version, sums(&radius.identities[0].alone).2), (2, false));
    let call = setSequencerOwnerCall { seqId: U256::ONE, newOwner: INFO };
    assert_eq!(stand.sign(request(&alpha, POOL, &call, 0)).await.unwrap_err().reason, "POLICY_DENIED");
}

//! Approvals: by others, of exactly one intent, for a while, and for one nonce.

use alloy_primitives::U256;
use alloy_sol_types::SolCall;
use api::keys::v1::approve_intent_request::Intent;
use api::keys::v1::{
    Approval, ApproveIntentRequest, AuditBody, GetPolicyRequest, Key, KeyRole, ListApprovalsRequest,
    ListAuditRecordsRequest, MessageIntent, PolicyIntent, RevokeApprovalRequest, SetPolicyRequest,
    SignMessageRequest, SignTransactionRequest, SignTransactionsRequest, SigningIntent, TransactionIntent,
    sign_transaction_result::Outcome,
};
use keys::policy::call::{relockCall, unlockCall, withdrawCall};
use keys::policy::intent;
use proptest::prelude::*;
use prost::Message;
use sea_orm::ConnectionTrait;

use crate::stand::{
    CHAIN_ID, Client, NETWORK, POOL, Stand, address_of, metis, refusal, request, rule, set_rules, with_fees,
};

fn withdraw(amount: u64) -> withdrawCall {
    withdrawCall { seqId: U256::from(17), amount: metis(amount) }
}

fn transaction(key: &Key, call: &impl SolCall, value_wei_max: &str) -> Intent {
    Intent::Transaction(TransactionIntent {
        key_id: key.id.clone(),
        network: NETWORK.to_owned(),
        to: POOL.to_string(),
        value_wei_max: value_wei_max.to_owned(),
        data: format!("0x{}", hex::encode(call.abi_encode())),
    })
}

pub async fn approve(client: &Client, intent: Intent) -> Approval {
    let asked = ApproveIntentRequest { intent: Some(intent), ..ApproveIntentRequest::default() };
    client.clone().approve_intent(asked).await.unwrap().into_inner().approval.unwrap()
}

fn reason(answer: Result<impl Sized, runtime::errors::Decoded>) -> String {
    answer.map(drop).unwrap_err().reason
}

async fn stand_with_rule(db: &testkit::TestDb, approvals: u32) -> (Stand, Key) {
    let stand = Stand::start(db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    let lines = format!("approvals = {approvals}\nvalue_wei_max = \"1000\"");
    set_rules(&stand, "", &rule("large", "\"withdraw\", \"unlock\"", &lines)).await;
    (stand, key)
}

#[tokio::test]
async fn distinct_others_must_approve_exactly_this() {
    let db = testkit::database().await;
    let (stand, key) = stand_with_rule(&db, 2).await;
    let asked = request(&key, POOL, &withdraw(5), 0);
    let refused = stand.sign(asked.clone()).await.unwrap_err();
    assert_eq!((refused.reason.as_str(), refused.metadata["given"].as_str()), ("APPROVALS_MISSING", "0"));

    let given = approve(&stand.operator, transaction(&key, &withdraw(5), "0")).await;
    assert_eq!(given.intent_digest, refused.metadata["intent_digest"], "the digest that the refusal named");
    assert!(given.words.contains("withdraw 5 METIS") && given.words.contains("0 wei"), "{}", given.words);
    // The same identity twice is one.
    approve(&stand.operator, transaction(&key, &withdraw(5), "0")).await;
    // Others approve something else: another amount, another highest value.
    approve(&stand.colleague, transaction(&key, &withdraw(6), "0")).await;
    approve(&stand.colleague, transaction(&key, &withdraw(5), "1")).await;
    assert_eq!(stand.sign(asked.clone()).await.unwrap_err().metadata["given"], "1");

    approve(&stand.colleague, transaction(&key, &withdraw(5), "0")).await;
    let signed = stand.sign(asked.clone()).await.unwrap();
    assert_eq!(signed.rule, "large, policy 2");
    assert_eq!(reason(stand.sign(request(&key, POOL, &withdraw(6), 1)).await), "APPROVALS_MISSING");
}

#[tokio::test]
async fn approvals_end_by_time_and_by_being_taken_back() {
    let db = testkit::database().await;
    let (stand, key) = stand_with_rule(&db, 1).await;
    let asked = request(&key, POOL, &withdraw(5), 0);
    let first = approve(&stand.operator, transaction(&key, &withdraw(5), "0")).await;
    let revoke = RevokeApprovalRequest { id: first.id.clone() };
    let after =
        stand.colleague.clone().revoke_approval(revoke.clone()).await.unwrap().into_inner().approval.unwrap();
    assert!(after.revoke_time.is_some());
    stand.operator.clone().revoke_approval(revoke).await.unwrap();
    assert_eq!(reason(stand.sign(asked.clone()).await), "APPROVALS_MISSING");

    approve(&stand.operator, transaction(&key, &withdraw(5), "0")).await;
    let admin = db.admin().await;
    let age = "UPDATE keys.approval SET approved_at = approved_at - interval '2 days', expires_at = expires_at - interval '2 days'
                WHERE revoked_at IS NULL";
    admin.execute_unprepared(age).await.unwrap();
    assert_eq!(reason(stand.sign(asked.clone()).await), "APPROVALS_MISSING");

    let unknown = RevokeApprovalRequest { id: "nothing".to_owned() };
    let unknown = stand.operator.clone().revoke_approval(unknown).await.unwrap_err();
    assert_eq!(refusal(&unknown).reason, "APPROVAL_NOT_FOUND");
    let list = |digest: &str, token: &str| ListApprovalsRequest {
        page_size: 1,
        page_token: token.to_owned(),
        intent_digest: digest.to_owned(),
    };
    let page =
        stand.operator.clone().list_approvals(list(&first.intent_digest, "")).await.unwrap().into_inner();
    let rest = list(&first.intent_digest, &page.next_page_token);
    let rest = stand.operator.clone().list_approvals(rest).await.unwrap().into_inner();
    assert_eq!((page.approvals.len(), rest.approvals.len(), rest.next_page_token.as_str()), (1, 1, ""));
    let none = list(&format!("0x{}", "11".repeat(32)), "");
    assert!(stand.operator.clone().list_approvals(none).await.unwrap().into_inner().approvals.is_empty());
}

/// The same with fees of so many gwei, in place of what was signed.
fn bumped(key: &Key, nonce: u64, gwei: u64) -> SignTransactionRequest {
    let asked = request(key, POOL, &withdraw(5), nonce);
    with_fees(asked, gwei * 1_000_000_000, gwei * 1_000_000_000, SigningIntent::Replace)
}

#[tokio::test]
async fn an_approval_is_good_for_one_nonce_and_for_its_higher_fees_for_ever() {
    let db = testkit::database().await;
    let (stand, key) = stand_with_rule(&db, 1).await;
    let first = approve(&stand.operator, transaction(&key, &withdraw(5), "0")).await;
    stand.sign(request(&key, POOL, &withdraw(5), 0)).await.unwrap();
    assert_eq!(reason(stand.sign(request(&key, POOL, &withdraw(5), 1)).await), "APPROVALS_MISSING");

    let age = "UPDATE keys.approval SET approved_at = approved_at - interval '9 days', expires_at = expires_at - interval '9 days'";
    db.admin().await.execute_unprepared(age).await.unwrap();
    stand.sign(bumped(&key, 0, 100)).await.unwrap();
    assert_eq!(reason(stand.sign(request(&key, POOL, &withdraw(5), 1)).await), "APPROVALS_MISSING");

    approve(&stand.operator, transaction(&key, &withdraw(5), "0")).await;
    stand.sign(request(&key, POOL, &withdraw(5), 1)).await.unwrap();
    stand.sign(bumped(&key, 0, 200)).await.unwrap();
    stand.operator.clone().revoke_approval(RevokeApprovalRequest { id: first.id }).await.unwrap();
    assert_eq!(reason(stand.sign(bumped(&key, 0, 300)).await), "APPROVALS_MISSING", "taken back");
    stand.sign(bumped(&key, 1, 300)).await.unwrap();
}

#[tokio::test]
async fn an_approval_is_good_for_one_nonce_within_a_batch_too() {
    let db = testkit::database().await;
    let (stand, key) = stand_with_rule(&db, 1).await;
    let signed = |requests: Vec<SignTransactionRequest>| {
        let mut client = stand.lifecycle.clone();
        async move {
            let answer = client.sign_transactions(SignTransactionsRequest { requests }).await.unwrap();
            let results = answer.into_inner().results.into_iter();
            results.map(|result| matches!(result.outcome, Some(Outcome::Signed(_)))).collect::<Vec<_>>()
        }
    };
    let fresh = |nonce| request(&key, POOL, &withdraw(5), nonce);
    approve(&stand.operator, transaction(&key, &withdraw(5), "0")).await;
    assert_eq!(signed(vec![fresh(0), fresh(1), fresh(0)]).await, [true, false, true]);
    approve(&stand.operator, transaction(&key, &withdraw(5), "0")).await;
    assert_eq!(signed(vec![fresh(1), bumped(&key, 0, 100), fresh(2)]).await, [true, true, false]);
}

#[tokio::test]
async fn a_refusal_means_that_no_rule_allows_and_is_the_only_record() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    let small = rule("small", "\"relock\"", &format!("metis_24h_wei_max = \"{}\"", metis(10)));
    let large = rule("large", "\"relock\"", "approvals = 1");
    set_rules(&stand, "", &format!("{small}{large}")).await;
    let relock = relockCall { seqId: U256::from(17), amount: metis(6), lockReward: false };
    let asked = |nonce| request(&key, POOL, &relock, nonce);
    assert_eq!(stand.sign(asked(0)).await.unwrap().rule, "small, policy 2");
    let refused = stand.sign(asked(1)).await.unwrap_err();
    assert_eq!((refused.reason.as_str(), refused.metadata["rule"].as_str()), ("APPROVALS_MISSING", "large"));
    approve(&stand.operator, transaction(&key, &relock, "0")).await;
    assert_eq!(stand.sign(asked(1)).await.unwrap().rule, "large, policy 2");
    // What went out by the one counts in the window of the other.
    assert_eq!(reason(stand.sign(asked(2)).await), "APPROVALS_MISSING");
    let records = ListAuditRecordsRequest { page_size: 500, page_token: String::new() };
    let records = stand.operator.clone().list_audit_records(records).await.unwrap().into_inner().records;
    let signing = records.iter().filter(|record| record.action == "SignTransaction");
    let verdicts: Vec<_> = signing.map(|record| (record.verdict.as_str(), record.rule.as_str())).collect();
    assert_eq!(
        verdicts,
        [
            ("ALLOWED", "small"),
            ("REFUSED", "APPROVALS_MISSING"),
            ("ALLOWED", "large"),
            ("REFUSED", "APPROVALS_MISSING")
        ]
    );
}

#[tokio::test]
async fn a_fee_quoted_later_stays_within_what_was_approved() {
    let db = testkit::database().await;
    let (stand, key) = stand_with_rule(&db, 1).await;
    let unlock = unlockCall { seqId: U256::from(17), l2Gas: 0 };
    approve(&stand.operator, transaction(&key, &unlock, "900")).await;
    let with = |value: &str, max: &str| {
        let mut asked = request(&key, POOL, &unlock, 0);
        asked.transaction.as_mut().unwrap().value_wei = value.to_owned();
        SignTransactionRequest { approved_value_wei_max: max.to_owned(), ..asked }
    };
    assert_eq!(reason(stand.sign(with("700", "")).await), "APPROVALS_MISSING", "approved was another value");
    assert_eq!(reason(stand.sign(with("700", "1000")).await), "APPROVALS_MISSING");
    let beyond = stand.sign(with("901", "900")).await.unwrap_err();
    assert_eq!(
        (beyond.reason.as_str(), beyond.fields[0].0.as_str()),
        ("INVALID_ARGUMENT", "transaction.value_wei")
    );
    stand.sign(with("700", "900")).await.unwrap();
}

#[tokio::test]
async fn an_approval_says_what_it_would_be_and_refuses_what_it_cannot_mean() {
    let db = testkit::database().await;
    let (stand, key) = stand_with_rule(&db, 1).await;
    let base = ApproveIntentRequest {
        intent: Some(transaction(&key, &withdraw(5), "0")),
        validate_only: true,
        ..ApproveIntentRequest::default()
    };
    let mut alice = stand.operator.clone();
    let shown = alice.approve_intent(base.clone()).await.unwrap().into_inner();
    let digest = shown.approval.unwrap().intent_digest;
    assert_eq!(shown.approvers, 0, "nothing was approved");
    assert_eq!(reason(stand.sign(request(&key, POOL, &withdraw(5), 0)).await), "APPROVALS_MISSING");

    let mut unknown_call = transaction(&key, &withdraw(5), "0");
    if let Intent::Transaction(transaction) = &mut unknown_call {
        transaction.data.push_str("00");
    }
    let other = format!("0x{}", "22".repeat(32));
    let table = [
        (ApproveIntentRequest { intent: None, ..base.clone() }, "FIELD_REQUIRED", "intent"),
        (
            ApproveIntentRequest { intent: Some(unknown_call), ..base.clone() },
            "CALLDATA_UNKNOWN",
            "transaction.data",
        ),
        (
            ApproveIntentRequest { requested_by: "operator:alice".to_owned(), ..base.clone() },
            "INVALID_ARGUMENT",
            "requested_by",
        ),
        (ApproveIntentRequest { valid_secs: 604_801, ..base.clone() }, "INVALID_ARGUMENT", "valid_secs"),
        (
            ApproveIntentRequest { expected_digest: other, ..base.clone() },
            "INVALID_ARGUMENT",
            "expected_digest",
        ),
    ];
    for (asked, reason, field) in table {
        let refused = refusal(&alice.approve_intent(asked).await.unwrap_err());
        assert_eq!((refused.reason.as_str(), refused.fields[0].0.as_str()), (reason, field));
    }
    let exact = ApproveIntentRequest {
        expected_digest: digest.clone(),
        requested_by: "operator:bob".to_owned(),
        validate_only: false,
        ..base
    };
    let given = alice.approve_intent(exact).await.unwrap().into_inner();
    assert_eq!((given.approvers, given.approval.unwrap().requested_by.as_str()), (1, "operator:bob"));
    assert!(stand.gateway.clone().approve_intent(ApproveIntentRequest::default()).await.is_err());
    // What was signed carries the digest, so that use is on record.
    stand.sign(request(&key, POOL, &withdraw(5), 0)).await.unwrap();
    let records = ListAuditRecordsRequest { page_size: 500, page_token: String::new() };
    let records = alice.list_audit_records(records).await.unwrap().into_inner().records;
    let signed = records.iter().rfind(|record| record.action == "SignTransaction").unwrap();
    let signed = AuditBody::decode(signed.body.as_ref()).unwrap().transaction.unwrap();
    assert_eq!(format!("0x{}", hex::encode(signed.intent_digest)), digest);
    assert!(
        records
            .iter()
            .any(|record| record.action == "ApproveIntent" && record.intent.contains("withdraw 5 METIS"))
    );
}

#[tokio::test]
async fn messages_wait_for_approvals_too() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    let texts = "[[rule]]\nname = \"texts\"\nmessages = [\"\"]\napprovals = 1\nkeys = { role = \"owner\" }\n";
    set_rules(&stand, "", texts).await;
    let text = "Metis sequencer 17 is ours".to_owned();
    let asked =
        SignMessageRequest { key_id: key.id.clone(), message: text.clone(), ..SignMessageRequest::default() };
    let mut alice = stand.operator.clone();
    let refused = refusal(&alice.sign_message(asked.clone()).await.unwrap_err());
    let told = [refused.reason.as_str(), &refused.metadata["approvals"], &refused.metadata["given"]];
    assert_eq!(told, ["APPROVALS_MISSING", "1", "0"]);
    let intent = || Intent::Message(MessageIntent { key_id: key.id.clone(), message: text.clone() });
    approve(&stand.operator, intent()).await;
    let own = refusal(&alice.sign_message(asked.clone()).await.unwrap_err());
    assert_eq!(own.reason, "APPROVALS_MISSING", "nobody approves what they ask for");
    let given = approve(&stand.colleague, intent()).await;
    assert_eq!(given.intent_digest, refused.metadata["intent_digest"]);
    let first = alice.sign_message(asked.clone()).await.unwrap().into_inner();
    assert_eq!(alice.sign_message(asked).await.unwrap().into_inner().signature, first.signature);
    let list = ListApprovalsRequest { intent_digest: given.intent_digest, ..ListApprovalsRequest::default() };
    let used = alice.list_approvals(list).await.unwrap().into_inner().approvals;
    let of_bob = used.iter().find(|approval| approval.approver == "operator:bob").unwrap();
    assert_eq!(of_bob.used_audit_sequence, first.audit_sequence, "the first use is on record");
}

#[tokio::test]
async fn a_policy_can_ask_for_others_before_it_is_replaced_and_the_record_tells_the_difference() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let head = "quorum = { set_policy = 1 }";
    set_rules(&stand, head, &rule("large", "\"withdraw\"", "")).await;
    let mut alice = stand.operator.clone();
    let in_force = alice.get_policy(GetPolicyRequest {}).await.unwrap().into_inner().policy.unwrap();
    let toml =
        in_force.toml.replace("\"withdraw\"", "\"relock\"").replace("set_policy = 1", "set_policy = 0");
    let set = SetPolicyRequest { toml: toml.clone(), expected_version: 2, validate_only: false };
    alice.set_policy(SetPolicyRequest { validate_only: true, ..set.clone() }).await.unwrap();
    assert_eq!(refusal(&alice.set_policy(set.clone()).await.unwrap_err()).reason, "APPROVALS_MISSING");
    approve(&stand.operator, Intent::Policy(PolicyIntent { toml: toml.clone(), expected_version: 2 })).await;
    assert_eq!(refusal(&alice.set_policy(set.clone()).await.unwrap_err()).reason, "APPROVALS_MISSING");
    let given = approve(&stand.colleague, Intent::Policy(PolicyIntent { toml, expected_version: 2 })).await;
    let differences = ["rule large: functions [\"withdraw\"] to [\"relock\"]", "set_policy 1 to 0"];
    for difference in differences {
        assert!(given.words.contains(difference), "{}", given.words);
    }
    let answer = alice.set_policy(set).await.unwrap().into_inner();
    assert_eq!(answer.policy.unwrap().version, 3);
    let records = ListAuditRecordsRequest { page_size: 500, page_token: String::new() };
    let records = alice.list_audit_records(records).await.unwrap().into_inner().records;
    let last = records.last().unwrap();
    assert!(differences.iter().all(|difference| last.intent.contains(difference)), "{}", last.intent);
}

proptest! {
    #[test]
    fn each_part_of_an_intent_is_in_its_digest(
        value: u64, data in prop::collection::vec(any::<u8>(), 0..40), other in 0_usize..6, network in "[a-z]{1,9}",
    ) {
        let (account, contract) = (POOL, crate::stand::METIS);
        let value = U256::from(value);
        let digest = intent::digest(&network, CHAIN_ID, account, contract, value, &data);
        let longer = [data.as_slice(), &[0]].concat();
        let changed = match other {
            0 => intent::digest(&format!("{network}x"), CHAIN_ID, account, contract, value, &data),
            1 => intent::digest(&network, CHAIN_ID + 1, account, contract, value, &data),
            2 => intent::digest(&network, CHAIN_ID, contract, contract, value, &data),
            3 => intent::digest(&network, CHAIN_ID, account, account, value, &data),
            4 => intent::digest(&network, CHAIN_ID, account, contract, value + U256::ONE, &data),
            _ => intent::digest(&network, CHAIN_ID, account, contract, value, &longer),
        };
        prop_assert_ne!(digest, changed);
    }
}

#[tokio::test]
async fn approvals_are_kept_as_they_were_given() {
    let db = testkit::database().await;
    let (stand, key) = stand_with_rule(&db, 1).await;
    approve(&stand.operator, transaction(&key, &withdraw(5), "0")).await;
    assert_ne!(address_of(&key), POOL);
    let own = db.connect("keys").await;
    for sql in [
        "UPDATE keys.approval SET approver = 'x'",
        "DELETE FROM keys.approval",
        "DELETE FROM keys.frozen_label",
    ] {
        let refused = own.execute_unprepared(sql).await.unwrap_err();
        assert_eq!(store::sqlstate(&refused).as_deref(), Some("42501"), "{sql}");
    }
}

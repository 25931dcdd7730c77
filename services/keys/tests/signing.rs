//! SignTransaction from end to end: what is signed, what is refused, and what the refusal says.

use alloy_consensus::{Signed, Transaction, TxEip1559};
use alloy_primitives::U256;
use alloy_sol_types::SolCall;
use api::keys::v1::{
    GetPolicyRequest, KeyRole, KeyState, SetKeyStateRequest, SetPolicyRequest, SignTransactionRequest,
    SigningIntent,
};
use api::types::v1::UnsignedTransaction;
use keys::policy::call::{approveCall, relockCall, updateSignerCall, withdrawCall, withdrawRewardsCall};
use sea_orm::ConnectionTrait;

use crate::stand::{INFO, METIS, NETWORK, POOL, STRANGER, Stand, address_of, metis, refusal, request};

fn approve(amount: U256) -> approveCall {
    approveCall { spender: INFO, value: amount }
}

fn relock(amount: u64) -> relockCall {
    relockCall { seqId: U256::from(17), amount: metis(amount), lockReward: false }
}

fn changed(
    base: &SignTransactionRequest,
    change: impl FnOnce(&mut UnsignedTransaction),
) -> SignTransactionRequest {
    let mut request = base.clone();
    change(request.transaction.as_mut().unwrap());
    request
}

#[tokio::test]
async fn what_is_signed_is_what_was_asked_by_the_key_that_was_asked() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    let asked = request(&key, METIS, &approve(metis(20_000)), 5);
    let answer = stand.sign(asked).await.unwrap();

    let signed = Signed::<TxEip1559>::eip2718_decode(&mut answer.raw_transaction.as_ref()).unwrap();
    assert_eq!(signed.recover_signer().unwrap(), address_of(&key));
    assert_eq!(signed.signature().normalize_s(), None, "s is low");
    assert_eq!(signed.hash().to_string(), answer.transaction_hash);
    let transaction = signed.tx();
    assert_eq!((transaction.chain_id, transaction.nonce, transaction.gas_limit), (31337, 5, 500_000));
    assert_eq!(
        (transaction.max_fee_per_gas, transaction.max_priority_fee_per_gas),
        (20_000_000_000, 1_000_000_000)
    );
    assert_eq!((transaction.to(), transaction.value()), (Some(METIS), U256::ZERO));
    assert_eq!(transaction.input.as_ref(), approve(metis(20_000)).abi_encode());
    assert!(transaction.access_list.is_empty());
    assert!(
        answer.intent_words.contains("20000 METIS") && answer.intent_words.contains(NETWORK),
        "{}",
        answer.intent_words
    );
    assert_eq!(answer.rule, "owner-lock, policy 1");
}

#[tokio::test]
async fn a_refusal_names_the_rule_the_field_the_bound_and_the_value() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    let claim = request(&key, POOL, &withdrawRewardsCall { seqId: U256::ONE, l2Gas: 0 }, 0);
    let beyond = changed(&claim, |transaction| transaction.value_wei = "10000000000000001".to_owned());
    let refused = stand.sign(beyond).await.unwrap_err();
    assert_eq!(refused.reason, "POLICY_DENIED");
    let facts = ["rule", "field", "bound", "value"].map(|fact| refused.metadata[fact].as_str());
    assert_eq!(facts, ["owner-bridge", "value_wei", "10000000000000000", "10000000000000001"]);
    stand
        .sign(changed(&claim, |transaction| transaction.value_wei = "10000000000000000".to_owned()))
        .await
        .unwrap();
}

#[tokio::test]
async fn nothing_outside_of_chain_contracts_and_functions_is_signed() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let owner = stand.create("alpha", KeyRole::Owner).await;
    let node = stand.create("alpha-node", KeyRole::Sequencer).await;
    let good = request(&owner, METIS, &approve(metis(1)), 0);
    let spender = request(&owner, METIS, &approveCall { spender: STRANGER, value: metis(1) }, 0);
    let rotate = updateSignerCall { seqId: U256::ONE, signerPubkey: vec![7; 64].into() };
    let table = [
        (changed(&good, |t| t.chain_id = 1), "POLICY_DENIED"),
        (SignTransactionRequest { network: "mainnet".to_owned(), ..good.clone() }, "POLICY_DENIED"),
        (changed(&good, |t| t.to = STRANGER.to_string()), "CALLDATA_UNKNOWN"),
        (changed(&good, |t| t.data.push_str("00")), "CALLDATA_UNKNOWN"),
        (changed(&good, |t| t.data = "0x12345678".to_owned()), "CALLDATA_UNKNOWN"),
        (changed(&good, |t| t.data = String::new()), "CALLDATA_UNKNOWN"),
        (changed(&good, |t| t.value_wei = "1".to_owned()), "POLICY_DENIED"),
        (spender, "POLICY_DENIED"),
        (request(&owner, POOL, &rotate, 0), "POLICY_DENIED"),
        (request(&node, METIS, &approve(metis(1)), 0), "POLICY_DENIED"),
        (SignTransactionRequest { intent: SigningIntent::Cancel.into(), ..good.clone() }, "CALLDATA_UNKNOWN"),
    ];
    for (asked, reason) in table {
        let words = format!("{asked:?}");
        assert_eq!(stand.sign(asked).await.unwrap_err().reason, reason, "{words}");
    }
    stand.sign(good).await.unwrap();
    stand.sign(request(&node, POOL, &rotate, 0)).await.unwrap();
}

#[tokio::test]
async fn a_malformed_transaction_is_refused_with_the_field() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    let good = request(&key, METIS, &approve(metis(1)), 0);
    let table = [
        (changed(&good, |t| t.from = STRANGER.to_string()), "KEY_ADDRESS_MISMATCH", "transaction.from"),
        (changed(&good, |t| t.to = String::new()), "ADDRESS_MALFORMED", "transaction.to"),
        (changed(&good, |t| t.nonce = None), "FIELD_REQUIRED", "transaction.nonce"),
        (changed(&good, |t| t.nonce = Some(u64::MAX)), "INVALID_ARGUMENT", "transaction.nonce"),
        (changed(&good, |t| t.value_wei = "-1".to_owned()), "AMOUNT_NEGATIVE", "transaction.value_wei"),
        (changed(&good, |t| t.gas_limit = 0), "INVALID_ARGUMENT", "transaction.gas_limit"),
        (
            changed(&good, |t| t.max_fee_per_gas_wei = "1".to_owned()),
            "INVALID_ARGUMENT",
            "transaction.max_priority_fee_per_gas_wei",
        ),
        (
            changed(&good, |t| t.max_fee_per_gas_wei = "9".repeat(40)),
            "AMOUNT_TOO_LARGE",
            "transaction.max_fee_per_gas_wei",
        ),
        (changed(&good, |t| t.data = "0xzz".to_owned()), "CALLDATA_UNKNOWN", "transaction.data"),
        (
            changed(&good, |t| t.data = format!("0x{}", "00".repeat(5000))),
            "CALLDATA_UNKNOWN",
            "transaction.data",
        ),
        (SignTransactionRequest { transaction: None, ..good.clone() }, "FIELD_REQUIRED", "transaction"),
        (SignTransactionRequest { intent: 9, ..good.clone() }, "ENUM_UNSPECIFIED", "intent"),
        (SignTransactionRequest { key_id: "x".to_owned(), ..good.clone() }, "KEY_NOT_FOUND", "key_id"),
    ];
    for (asked, reason, field) in table {
        let refused = stand.sign(asked).await.unwrap_err();
        assert_eq!((refused.reason.as_str(), refused.fields[0].0.as_str()), (reason, field));
    }
}

#[tokio::test]
async fn a_frozen_key_signs_nothing_not_even_what_it_signed_before() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    let asked = request(&key, METIS, &approve(metis(1)), 0);
    let before = stand.sign(asked.clone()).await.unwrap();
    let set = |state: KeyState| SetKeyStateRequest {
        id: key.id.clone(),
        state: state.into(),
        reason: "test".to_owned(),
    };
    // From frozen back to enabled needs a second person, see `freeze`.
    for state in [KeyState::Disabled, KeyState::Frozen] {
        stand.operator.clone().set_key_state(set(state)).await.unwrap();
        assert_eq!(stand.sign(asked.clone()).await.unwrap_err().reason, "KEY_NOT_ENABLED");
    }
    crate::freeze::approve_thaw(&stand, &key).await;
    stand.operator.clone().set_key_state(set(KeyState::Enabled)).await.unwrap();
    assert_eq!(stand.sign(asked).await.unwrap().raw_transaction, before.raw_transaction);
}

#[tokio::test]
async fn metis_of_a_day_is_bounded_and_a_repetition_is_not_charged_again() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    let first = request(&key, POOL, &relock(100_000), 0);
    for _ in 0..3 {
        stand.sign(first.clone()).await.unwrap();
    }
    stand.sign(request(&key, POOL, &relock(99_999), 1)).await.unwrap();
    let refused = stand.sign(request(&key, POOL, &relock(2), 2)).await.unwrap_err();
    assert_eq!(
        (refused.reason.as_str(), refused.metadata["field"].as_str()),
        ("POLICY_DENIED", "metis_24h_wei")
    );
    assert_eq!(refused.metadata["used"], metis(199_999).to_string());
    stand.sign(request(&key, POOL, &relock(1), 2)).await.unwrap();
    // Another account has a window of its own, and what moves no METIS out is not counted.
    let other = stand.create("beta", KeyRole::Owner).await;
    stand.sign(request(&other, POOL, &relock(100_000), 0)).await.unwrap();
    stand.sign(request(&key, POOL, &withdrawCall { seqId: U256::ONE, amount: metis(5) }, 3)).await.unwrap();
}

#[tokio::test]
async fn what_went_out_more_than_24_hours_ago_counts_no_more() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    stand.sign(request(&key, POOL, &relock(100_000), 0)).await.unwrap();
    stand.sign(request(&key, POOL, &relock(100_000), 1)).await.unwrap();
    let next = request(&key, POOL, &relock(100_000), 2);
    assert_eq!(stand.sign(next.clone()).await.unwrap_err().metadata["used"], metis(200_000).to_string());
    // The clock of the database cannot be set; what it wrote can, by the administrator.
    let admin = db.admin().await;
    let age = |nonce, age| {
        format!(
            "UPDATE keys.signed_form SET window_at = clock_timestamp() - interval '{age}' WHERE nonce = {nonce}"
        )
    };
    admin.execute_unprepared(&age(0, "23 hours 59 minutes")).await.unwrap();
    assert_eq!(stand.sign(next.clone()).await.unwrap_err().metadata["used"], metis(200_000).to_string());
    admin.execute_unprepared(&age(0, "24 hours 1 second")).await.unwrap();
    stand.sign(next).await.unwrap();
    let over = stand.sign(request(&key, POOL, &relock(1), 3)).await.unwrap_err();
    assert_eq!(over.metadata["used"], metis(200_000).to_string(), "the second and the third");
}

#[tokio::test]
async fn a_policy_is_replaced_as_a_whole_and_every_replica_notices() {
    let db = testkit::database().await;
    let (one, two) = (Stand::start(&db).await, Stand::start(&db).await);
    let key = one.create("alpha", KeyRole::Owner).await;
    let asked = request(&key, METIS, &approve(metis(1)), 0);
    two.sign(asked.clone()).await.unwrap();

    let policy =
        one.operator.clone().get_policy(GetPolicyRequest {}).await.unwrap().into_inner().policy.unwrap();
    assert_eq!((policy.version, policy.set_by.as_str()), (1, "preset:metis"));
    let set =
        |toml: String, expected_version| SetPolicyRequest { toml, expected_version, validate_only: false };
    let broken = set("format = 1\nrule = 3".to_owned(), 1);
    assert_eq!(refusal(&one.operator.clone().set_policy(broken).await.unwrap_err()).reason, "POLICY_INVALID");
    let narrower = policy.toml.replace("\"approve\"", "\"withdraw\"");
    let answer =
        one.operator.clone().set_policy(set(narrower, 1)).await.unwrap().into_inner().policy.unwrap();
    assert_eq!((answer.version, answer.set_by.as_str()), (2, "operator:alice"));
    let second = one.operator.clone().set_policy(set(policy.toml, 1)).await.unwrap_err();
    assert_eq!(refusal(&second).reason, "POLICY_CONFLICT");

    let refused = two.sign(changed(&asked, |t| t.nonce = Some(1))).await.unwrap_err();
    assert_eq!(
        (refused.reason.as_str(), refused.metadata["policy_version"].as_str()),
        ("POLICY_DENIED", "2")
    );
    two.stop().await;
    let restarted = Stand::start(&db).await;
    let kept = restarted
        .operator
        .clone()
        .get_policy(GetPolicyRequest {})
        .await
        .unwrap()
        .into_inner()
        .policy
        .unwrap();
    assert_eq!(kept.version, 2, "a preset never replaces what an operator set");
}

#[tokio::test]
async fn without_the_database_nothing_is_signed_and_the_answer_says_to_retry() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    let asked = request(&key, METIS, &approve(metis(1)), 0);
    stand.sign(asked.clone()).await.unwrap();
    // The database goes away with all connections; the key and the policy are still in memory.
    drop(db);
    let refused = stand.sign(asked).await.unwrap_err();
    assert_eq!(refused.reason, "DATABASE_UNAVAILABLE");
}

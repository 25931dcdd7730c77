//! The conflict guard: one intent for one (chain, account, nonce), whoever asks, however often.

use std::collections::BTreeSet;

use alloy_primitives::U256;
use api::keys::v1::{Key, KeyRole, SignTransactionRequest, SigningIntent};
use keys::policy::call::{approveCall, withdrawCall};

use crate::stand::{INFO, METIS, POOL, Stand, address_of, metis, request, with_fees};

const GWEI: u64 = 1_000_000_000;

fn approve(key: &Key, amount: u64, nonce: u64) -> SignTransactionRequest {
    request(key, METIS, &approveCall { spender: INFO, value: metis(amount) }, nonce)
}

fn cancel(key: &Key, nonce: u64, max: u64, priority: u64) -> SignTransactionRequest {
    let mut request = with_fees(approve(key, 1, nonce), max, priority, SigningIntent::Cancel);
    let transaction = request.transaction.as_mut().unwrap();
    transaction.to = address_of(key).to_string();
    transaction.data = String::new();
    transaction.gas_limit = 21_000;
    request
}

#[tokio::test]
async fn of_conflicting_payloads_for_one_nonce_exactly_one_is_ever_signed() {
    let db = testkit::database().await;
    let (one, two) = (Stand::start(&db).await, Stand::start(&db).await);
    let key = one.create("alpha", KeyRole::Owner).await;
    let calls = (0..32_u64).map(|number| {
        let mut client = if number % 2 == 0 { one.lifecycle.clone() } else { two.lifecycle.clone() };
        let asked = approve(&key, 1 + number % 8, 7);
        tokio::spawn(
            async move { client.sign_transaction(asked).await.ok().map(|answer| answer.into_inner()) },
        )
    });
    let mut signed = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        signed.extend(call.await.unwrap());
    }
    let distinct: BTreeSet<_> = signed.iter().map(|answer| answer.raw_transaction.clone()).collect();
    assert_eq!(distinct.len(), 1, "one digest wins");
    assert_eq!(signed.len(), 4, "and each that asked for it got it");
}

#[tokio::test]
async fn the_same_payload_gets_the_same_signature_again() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    let first = stand.sign(approve(&key, 1, 0)).await.unwrap();
    stand.stop().await;
    let restarted = Stand::start(&db).await;
    let again = restarted.sign(approve(&key, 1, 0)).await.unwrap();
    assert_eq!(first.raw_transaction, again.raw_transaction);
    assert!(again.audit_sequence > first.audit_sequence, "each decision has its own record");
}

#[tokio::test]
async fn a_replacement_keeps_the_call_and_raises_both_fees() {
    use SigningIntent::{New, Replace};
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    let call = approve(&key, 1, 0);
    let fees = |max, priority, intent| with_fees(call.clone(), max * GWEI, priority * GWEI, intent);
    assert_eq!(
        stand.sign(fees(20, 1, Replace)).await.unwrap_err().reason,
        "NONCE_CONFLICT",
        "nothing to replace"
    );
    let first = stand.sign(fees(20, 1, New)).await.unwrap();

    let higher_gas = {
        let mut request = fees(40, 4, Replace);
        request.transaction.as_mut().unwrap().gas_limit += 1;
        request
    };
    let lower_gas = {
        let mut request = fees(50, 5, Replace);
        request.transaction.as_mut().unwrap().gas_limit -= 1;
        request
    };
    let other_call = with_fees(approve(&key, 2, 0), 60 * GWEI, 6 * GWEI, Replace);
    let table = [
        (fees(21, 2, New), false, "other fees are a replacement, and must be called so"),
        (fees(21, 1, Replace), false, "the tip must rise"),
        (fees(20, 2, Replace), false, "the ceiling must rise"),
        (fees(19, 2, Replace), false, "the ceiling must not fall"),
        (other_call, false, "another call is no replacement"),
        (fees(30, 3, Replace), true, "both higher"),
        (fees(25, 2, Replace), false, "below what was signed since"),
        (fees(600, 4, Replace), false, "above the ceiling of the policy"),
        (higher_gas, true, "the gas limit may rise"),
        (lower_gas, false, "the gas limit must not fall"),
    ];
    for (asked, allowed, why) in table {
        assert_eq!(stand.sign(asked).await.is_ok(), allowed, "{why}");
    }
    let repeated = stand.sign(fees(20, 1, New)).await.unwrap();
    assert_eq!(
        repeated.raw_transaction, first.raw_transaction,
        "what was signed once may be asked for again"
    );
}

#[tokio::test]
async fn after_a_cancel_only_the_cancel_may_be_raised() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    let call = approve(&key, 1, 0);
    stand.sign(call.clone()).await.unwrap();
    let low = stand.sign(cancel(&key, 0, 20 * GWEI, GWEI)).await.unwrap_err();
    assert_eq!(
        (low.reason.as_str(), low.metadata["held_max_fee_per_gas_wei"].as_str()),
        ("NONCE_CONFLICT", "20000000000")
    );
    stand.sign(cancel(&key, 0, 30 * GWEI, 2 * GWEI)).await.unwrap();

    let bumped = with_fees(call, 40 * GWEI, 3 * GWEI, SigningIntent::Replace);
    assert_eq!(stand.sign(bumped).await.unwrap_err().reason, "NONCE_CONFLICT", "the call is over");
    stand.sign(cancel(&key, 0, 50 * GWEI, 4 * GWEI)).await.unwrap();
    // A nonce without a payload can be filled by a cancel, and then holds it.
    stand.sign(cancel(&key, 1, 30 * GWEI, 2 * GWEI)).await.unwrap();
    assert_eq!(stand.sign(approve(&key, 1, 1)).await.unwrap_err().reason, "NONCE_CONFLICT");
}

#[tokio::test]
async fn nonces_and_accounts_do_not_disturb_each_other() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let (alpha, beta) =
        (stand.create("alpha", KeyRole::Owner).await, stand.create("beta", KeyRole::Owner).await);
    let withdraw = withdrawCall { seqId: U256::ONE, amount: metis(1) };
    for asked in
        [approve(&alpha, 1, 0), request(&alpha, POOL, &withdraw, 1), request(&beta, POOL, &withdraw, 0)]
    {
        stand.sign(asked).await.unwrap();
    }
}

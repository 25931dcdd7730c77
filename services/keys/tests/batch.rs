//! SignTransactions: many at once, each with the result that it would have had alone.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alloy_primitives::U256;
use api::keys::v1::{
    Key, KeyRole, SignTransactionRequest, SignTransactionResponse, SignTransactionsRequest, SigningIntent,
    sign_transaction_result::Outcome,
};
use keys::policy::call::{approveCall, relockCall};
use runtime::errors::Decoded;
use sea_orm::ConnectionTrait;
use testkit::wait_until;
use tonic::{Code, Status};

use crate::stand::{INFO, METIS, POOL, Stand, lift_eth_windows, metis, refusal, request, with_fees};

const GWEI: u64 = 1_000_000_000;

fn approve(key: &Key, amount: u64, nonce: u64) -> SignTransactionRequest {
    request(key, METIS, &approveCall { spender: INFO, value: metis(amount) }, nonce)
}

async fn sign_all(
    stand: &Stand,
    requests: Vec<SignTransactionRequest>,
) -> Vec<Result<SignTransactionResponse, Decoded>> {
    let asked = SignTransactionsRequest { requests };
    let answer = stand.lifecycle.clone().sign_transactions(asked).await.unwrap().into_inner();
    answer
        .results
        .into_iter()
        .map(|result| match result.outcome.unwrap() {
            Outcome::Signed(signed) => Ok(signed),
            Outcome::Refused(details) => Err(refusal(&Status::with_details(Code::Unknown, "", details))),
        })
        .collect()
}

#[tokio::test]
async fn each_of_256_has_its_own_result_in_its_place() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let (alpha, beta) =
        (stand.create("alpha", KeyRole::Owner).await, stand.create("beta", KeyRole::Owner).await);
    let mut requests: Vec<_> =
        (0..256).map(|number| approve(if number % 2 == 0 { &alpha } else { &beta }, 1, number)).collect();
    requests[10].transaction.as_mut().unwrap().to = POOL.to_string();
    requests[20].transaction = None;
    requests[30].key_id = "nobody".to_owned();
    let results = sign_all(&stand, requests.clone()).await;
    assert_eq!(results.len(), 256);
    for (place, result) in results.iter().enumerate() {
        let reason = result.as_ref().err().map(|refused| refused.reason.as_str());
        let expected = match place {
            10 => Some("CALLDATA_UNKNOWN"),
            20 => Some("FIELD_REQUIRED"),
            30 => Some("KEY_NOT_FOUND"),
            _ => None,
        };
        assert_eq!(reason, expected, "request {place}");
    }
    let alone = stand.sign(requests[77].clone()).await.unwrap();
    assert_eq!(alone.raw_transaction, results[77].as_ref().unwrap().raw_transaction);
    let sequences: BTreeSet<u64> = results.iter().flatten().map(|signed| signed.audit_sequence).collect();
    assert_eq!(sequences.len(), 253, "each has a record of its own");
}

#[tokio::test]
async fn requests_for_one_nonce_are_decided_in_their_order() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    let fees =
        |nonce, gwei, intent| with_fees(approve(&key, 1, nonce), gwei * GWEI, gwei * GWEI / 10, intent);
    let results = sign_all(
        &stand,
        vec![
            fees(0, 20, SigningIntent::New),
            fees(0, 30, SigningIntent::Replace),
            fees(0, 25, SigningIntent::Replace),
            approve(&key, 2, 0),
            fees(0, 40, SigningIntent::Replace),
            fees(1, 40, SigningIntent::Replace),
            fees(0, 30, SigningIntent::Replace),
        ],
    )
    .await;
    let allowed: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(allowed, [true, true, false, false, true, false, true], "the last is a repetition");
}

#[tokio::test]
async fn a_window_is_kept_within_a_batch_too() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let (alpha, beta) =
        (stand.create("alpha", KeyRole::Owner).await, stand.create("beta", KeyRole::Owner).await);
    let relock = |key: &Key, amount: u64, nonce: u64| {
        let call = relockCall { seqId: U256::from(17), amount: metis(amount), lockReward: false };
        request(key, POOL, &call, nonce)
    };
    let results = sign_all(
        &stand,
        vec![
            relock(&alpha, 100_000, 0),
            relock(&alpha, 99_999, 1),
            relock(&alpha, 2, 2),
            relock(&beta, 100_000, 0),
            relock(&alpha, 1, 3),
            relock(&alpha, 1, 4),
        ],
    )
    .await;
    let allowed: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(allowed, [true, true, false, true, true, false]);
    let full = results[2].as_ref().unwrap_err();
    assert_eq!(full.metadata["used"], metis(199_999).to_string());
}

#[tokio::test]
async fn a_batch_of_none_or_too_many_is_refused_as_a_whole() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    for count in [0, 257] {
        let requests = (0..count).map(|nonce| approve(&key, 1, nonce)).collect();
        let asked = SignTransactionsRequest { requests };
        let refused = stand.lifecycle.clone().sign_transactions(asked).await.unwrap_err();
        assert_eq!(refusal(&refused).fields[0].0, "requests");
    }
    stand.sign(approve(&key, 9, 0)).await.unwrap();
}

#[tokio::test]
async fn a_decision_reads_no_more_of_an_account_that_has_signed_much() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    lift_eth_windows(&stand).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    // Young tables have no statistics, as in a new installation.
    for batch in 0..2 {
        let results = sign_all(&stand, (0..256).map(|n| approve(&key, 1, batch * 256 + n)).collect()).await;
        assert!(results.iter().all(Result::is_ok));
    }
    let admin = db.admin().await;
    let sql = "SELECT idx_scan, idx_tup_read FROM pg_stat_user_indexes
                WHERE schemaname = 'keys' AND indexrelname = 'signed_form_window'";
    let (scans, read, nonce) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(512));
    // A session tells what it has read at most once a second, when a statement of it ends.
    wait_until("the session has told what it has read", Duration::from_secs(20), || async {
        stand.sign(approve(&key, 1, nonce.fetch_add(1, Ordering::SeqCst))).await.unwrap();
        let row = admin.query_one_raw(store::statement(sql, [])).await.unwrap().unwrap();
        let count = |name| u64::try_from(row.try_get::<i64>("", name).unwrap()).unwrap();
        scans.store(count("idx_scan"), Ordering::SeqCst);
        read.store(count("idx_tup_read"), Ordering::SeqCst);
        scans.load(Ordering::SeqCst) > 512
    })
    .await;
    let [scans, read] = [scans, read].map(AtomicU64::into_inner);
    assert!(read <= scans, "{read} forms were read in {scans} look-ups, each of which needs one at most");
}

//! More than can be decided: refused at once, while health and operators are answered.

use std::time::Duration;

use api::keys::v1::get_key_request::Selector;
use api::keys::v1::{
    GetKeyRequest, GetPolicyRequest, Key, KeyRole, ListKeysRequest, SignMessageRequest,
    SignTransactionRequest,
};
use keys::policy::call::approveCall;
use sea_orm::{ConnectionTrait, TransactionTrait};
use testkit::wait_until;
use tonic::Request;

use crate::stand::{INFO, METIS, Stand, metis, refusal, request};

const SOON: Duration = Duration::from_secs(10);
/// Places of the queue of calls: what `decisions` gives to signing.
const PLACES: u64 = 192;
const TOO_MANY: u64 = 20;

fn approve(key: &Key, nonce: u64) -> SignTransactionRequest {
    request(key, METIS, &approveCall { spender: INFO, value: metis(1) }, nonce)
}

#[tokio::test]
async fn a_full_queue_refuses_with_a_time_to_retry_and_starves_nobody_else() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    stand.sign(approve(&key, 0)).await.unwrap();
    // Whoever holds the end of the chain holds up all decisions.
    let admin = db.admin().await;
    let holder = admin.begin().await.unwrap();
    holder.execute_unprepared("SELECT 1 FROM keys.audit_head FOR UPDATE").await.unwrap();
    let calls: Vec<_> = (1..=PLACES + TOO_MANY)
        .map(|nonce| {
            let (mut client, asked) = (stand.lifecycle.clone(), approve(&key, nonce));
            tokio::spawn(async move { client.sign_transaction(asked).await.map_err(|s| refusal(&s)) })
        })
        .collect();
    let answered = || calls.iter().filter(|call| call.is_finished()).count() as u64;
    wait_until("no place is left", SOON, || async { answered() == TOO_MANY }).await;
    let refused = stand.sign(approve(&key, 1_000)).await.unwrap_err();
    assert_eq!(refused.code, tonic::Code::ResourceExhausted);
    assert!(refused.retry_after.is_some_and(|delay| delay > Duration::ZERO));
    // Reads of operators find their places, and nothing that was refused has left a trace.
    let mut operator = stand.operator.clone();
    operator.get_policy(GetPolicyRequest {}).await.unwrap();
    operator.list_keys(ListKeysRequest::default()).await.unwrap();
    holder.rollback().await.unwrap();
    let mut signed = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(_) => signed += 1,
            Err(refused) => assert_eq!(refused.reason, "OVERLOADED"),
        }
    }
    assert_eq!(signed, PLACES, "held up, then signed");
    let sql = "SELECT count(*) AS n FROM keys.nonce_guard WHERE nonce = 1000";
    let row = admin.query_one_raw(store::statement(sql, [])).await.unwrap().unwrap();
    assert_eq!(row.try_get::<i64>("", "n").unwrap(), 0);
}

#[tokio::test]
async fn messages_take_no_more_places_than_transactions() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    let admin = db.admin().await;
    let holder = admin.begin().await.unwrap();
    holder.execute_unprepared("SELECT 1 FROM keys.audit_head FOR UPDATE").await.unwrap();
    let asked =
        SignMessageRequest { key_id: key.id, message: "hello".to_owned(), ..SignMessageRequest::default() };
    let calls: Vec<_> = (0..PLACES + TOO_MANY)
        .map(|_| {
            let (mut client, asked) = (stand.lifecycle.clone(), asked.clone());
            tokio::spawn(async move { client.sign_message(asked).await.map_err(|s| refusal(&s).reason) })
        })
        .collect();
    let answered = || calls.iter().filter(|call| call.is_finished()).count() as u64;
    wait_until("no place is left", SOON, || async { answered() == TOO_MANY }).await;
    stand.operator.clone().get_policy(GetPolicyRequest {}).await.unwrap();
    holder.rollback().await.unwrap();
    let mut decided = 0;
    for call in calls {
        match call.await.unwrap().unwrap_err().as_str() {
            // No rule of the preset speaks of messages.
            "POLICY_DENIED" => decided += 1,
            reason => assert_eq!(reason, "OVERLOADED"),
        }
    }
    assert_eq!(decided, PLACES, "held up, then decided");
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_decided() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    stand.sign(approve(&key, 0)).await.unwrap();
    let admin = db.admin().await;
    let holder = admin.begin().await.unwrap();
    holder.execute_unprepared("SELECT 1 FROM keys.audit_head FOR UPDATE").await.unwrap();
    let (mut client, asked) = (stand.lifecycle.clone(), approve(&key, 1));
    let first = tokio::spawn(async move { client.sign_transaction(asked).await });
    // The loops of the service may wait for the same lock.
    let blocked = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
                      AND query LIKE '%decide_batch%'";
    wait_until("the first is being decided", SOON, || async {
        let row = admin.query_one_raw(store::statement(blocked, [])).await.unwrap().unwrap();
        row.try_get::<i64>("", "n").unwrap() > 0
    })
    .await;
    let mut late = Request::new(approve(&key, 2));
    late.set_timeout(Duration::from_millis(200));
    let refused = stand.lifecycle.clone().sign_transaction(late).await.unwrap_err();
    assert_eq!(refusal(&refused).reason, "DEADLINE");
    // The caller gave up by its own clock, and the service learns of that a moment later. Another call of the same
    // connection is answered after it: the end of the first went before it, and everything here takes turns on one thread.
    let get = GetKeyRequest { selector: Some(Selector::Id(key.id.clone())) };
    stand.lifecycle.clone().get_key(get).await.unwrap();
    holder.rollback().await.unwrap();
    first.await.unwrap().unwrap();
    stand.sign(approve(&key, 3)).await.unwrap();
    let sql = "SELECT array_agg(nonce ORDER BY nonce)::text AS n FROM keys.nonce_guard";
    let row = admin.query_one_raw(store::statement(sql, [])).await.unwrap().unwrap();
    assert_eq!(row.try_get::<String>("", "n").unwrap(), "{0,1,3}");
}

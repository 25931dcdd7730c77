//! Pools of scripted providers: who is asked, how often, and who is not believed.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use chain::pool::{At, EndpointConfig, EndpointId, EndpointStatus, Identity, Pool, PoolOptions};
use chain::rpc::{BlockId, Header, LogFilter, LogRefusal, RpcError, call};
use futures::StreamExt;
use futures::future::join_all;
use futures::stream::BoxStream;
use serde_json::json;
use testkit::wait_until;

use crate::provider::{Mood, Provider, hash};
use crate::world::CHAIN;

const DEADLINE: Duration = Duration::from_secs(10);

fn config(provider: &Provider) -> EndpointConfig {
    provider.url().parse().expect("a URL")
}

async fn pool(providers: &[&Provider], options: PoolOptions) -> Pool {
    let endpoints = providers.iter().map(|provider| config(provider)).collect();
    Pool::connect(CHAIN, endpoints, options).await.expect("all are of our chain")
}

/// Two providers of which the first is asked first, because the second is slower.
async fn fast_and_slow() -> (Provider, Provider, Pool) {
    let fast = Provider::start(Mood { head: 10, ..Mood::default() }).await;
    let slow = Provider::start(Mood { head: 10, delay: Duration::from_millis(60), ..Mood::default() }).await;
    let pool = pool(&[&fast, &slow], PoolOptions::default()).await;
    (fast, slow, pool)
}

fn ids(pool: &Pool) -> Vec<EndpointId> {
    pool.status().into_iter().map(|one| one.id).collect()
}

fn first(pool: &Pool) -> EndpointStatus {
    pool.status().swap_remove(0)
}

async fn told(pool: &Pool) -> EndpointId {
    pool.ask_told(call::chain_id()).await.expect("one answers").1
}

fn logs() -> chain::rpc::Call<Vec<chain::rpc::Log>> {
    call::logs_of_range(0, 10, &LogFilter::default())
}

#[tokio::test]
async fn an_answer_comes_with_its_endpoint_and_a_second_opinion_from_another() {
    let (_fast, slow, pool) = fast_and_slow().await;
    let ids = ids(&pool);
    assert_eq!((pool.len(), pool.name(ids[1])), (2, slow.url().as_str()));
    assert_eq!(told(&pool).await, ids[0]);
    let besides =
        async |last: &[EndpointId]| pool.ask_besides(last, call::chain_id()).await.expect("an answer").1;
    assert_eq!(besides(&[ids[0]]).await, ids[1]);
    assert_eq!(besides(&ids).await, ids[0], "there is no other");
}

#[tokio::test]
async fn every_endpoint_that_is_not_shut_out_is_asked_at_once() {
    let (fast, _slow, pool) = fast_and_slow().await;
    let ids = ids(&pool);
    fast.mood().status = Some((500, 0));
    let answers = pool.ask_each(call::header(BlockId::Latest)).await;
    let found: Vec<_> = answers.iter().map(|(id, answer)| (*id, answer.is_ok())).collect();
    assert_eq!(found, [(ids[0], false), (ids[1], true)]);
    pool.shut_out(ids[0], At { number: 10, hash: hash(0, 10) });
    assert_eq!(pool.ask_each(call::chain_id()).await.len(), 1);
}

#[tokio::test]
async fn a_head_does_not_wait_for_an_endpoint_that_has_become_slow() {
    let (fast, _slow, pool) = fast_and_slow().await;
    fast.mood().delay = DEADLINE;
    let start = Instant::now();
    let head = pool.ask_hedged(call::header(BlockId::Latest)).await.expect("the other one answers");
    assert_eq!(head.map(|head| head.number), Some(10));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let status = pool.status();
    assert!(status[0].latency > Some(Duration::ZERO) && !status[0].rests, "{status:?}");
    fast.mood().delay = Duration::ZERO;
    fast.mood().status = Some((500, 0));
    let head = pool.ask_hedged(call::header(BlockId::Latest)).await.expect("it fails over, too");
    assert_eq!(head.map(|head| head.number), Some(10));
}

#[tokio::test]
async fn a_budget_is_kept_and_spilled_to_another_endpoint() {
    let (limited, open) = (Provider::start(Mood::default()).await, Provider::start(Mood::default()).await);
    let per_second = NonZeroU32::new(20);
    let with_budget = EndpointConfig { requests_per_second: per_second, ..config(&limited) };
    let alone = Pool::new(CHAIN, vec![with_budget.clone()], PoolOptions::default()).expect("a pool");
    let start = Instant::now();
    // With the question for the chain 40 calls, of which 20 go at once.
    alone.ask(call::headers(0..39)).await.expect("an answer");
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    assert_eq!(limited.requests(), 3, "no batch is larger than the burst");
    let status = first(&alone);
    assert_eq!((status.requests, status.calls), (3, 40));
    assert!(status.tokens.is_some_and(|left| left < 20));

    let impatient = call::chain_id().within(Duration::from_millis(1));
    let spent = alone.ask(impatient).await.expect_err("there is no token within so short a time");
    assert!(matches!(spent, RpcError::Budget { .. }), "{spent:?}");

    let both =
        Pool::connect(CHAIN, vec![with_budget, config(&open)], PoolOptions::default()).await.expect("a pool");
    let start = Instant::now();
    join_all((0..60).map(|_| both.ask(call::chain_id()))).await.into_iter().for_each(|one| {
        one.expect("an answer");
    });
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(open.calls("eth_chainId") > 20);
}

#[tokio::test]
async fn after_a_failure_one_question_tries_the_endpoint_and_the_others_go_elsewhere() {
    let (fast, slow, pool) = fast_and_slow().await;
    let ids = ids(&pool);
    fast.mood().status = Some((503, 0));
    assert_eq!(told(&pool).await, ids[1]);
    assert!(first(&pool).rests && first(&pool).failures == 1);
    fast.mood().status = None;
    fast.mood().delay = Duration::from_millis(300);
    slow.mood().delay = Duration::ZERO;
    wait_until("the rest is over", DEADLINE, async || !first(&pool).rests).await;
    let before = fast.requests();
    let all =
        join_all((0..8).map(|_| pool.ask_told(call::balance(Default::default(), BlockId::Latest)))).await;
    let by_fast = all.into_iter().filter(|one| one.as_ref().is_ok_and(|(_, by)| *by == ids[0])).count();
    assert_eq!((by_fast, fast.requests() - before), (1, 2), "the question, after the one for the chain");
}

#[tokio::test]
async fn a_tired_endpoint_rests_and_a_question_that_is_too_large_comes_back_at_once() {
    let (fast, slow, pool) = fast_and_slow().await;
    slow.mood().logs = json!([]);
    fast.mood().status = Some((413, 0));
    let error = pool.ask(logs()).await.expect_err("ask for less");
    assert_eq!(error.log_refusal(), Some(LogRefusal::Bytes));
    assert_eq!((slow.calls("eth_getLogs"), first(&pool).rests), (0, false));

    fast.mood().status = None;
    fast.mood().logs = json!({ "code": -32614, "message": "eth_getLogs is limited to a 10,000 range" });
    let error = pool.ask(logs()).await.expect_err("ask for less");
    assert_eq!(error.log_refusal(), Some(LogRefusal::Range { blocks_max: Some(10_000), suggested: None }));

    fast.mood().status = Some((429, 60));
    assert_eq!(pool.ask(logs()).await.expect("the other one answers"), []);
    let status = first(&pool);
    assert!(status.rests, "{status:?}");
}

#[tokio::test]
async fn a_hint_is_not_lost_when_the_others_cannot_be_reached() {
    let (fast, slow, pool) = fast_and_slow().await;
    fast.mood().status = Some((504, 0));
    slow.mood().status = Some((500, 0));
    let error = pool.ask(logs()).await.expect_err("no one answers");
    assert_eq!(error.log_refusal(), Some(LogRefusal::Slow));
}

#[tokio::test]
async fn a_distrusted_endpoint_is_asked_only_when_there_is_no_other() {
    let (_fast, slow, pool) = fast_and_slow().await;
    let ids = ids(&pool);
    pool.distrust(ids[0], "it left out logs");
    assert_eq!(told(&pool).await, ids[1]);
    slow.mood().status = Some((500, 0));
    assert_eq!(told(&pool).await, ids[0]);
    let status = first(&pool);
    assert!(status.distrusted && status.distrusts == 1 && !status.fork);
}

#[tokio::test]
async fn an_endpoint_on_a_fork_is_shut_out_until_it_has_our_block() {
    let (fast, slow) = (Provider::start(Mood { head: 10, fork: 1, ..Mood::default() }).await, {
        let delay = Duration::from_millis(60);
        Provider::start(Mood { head: 10, delay, ..Mood::default() }).await
    });
    let options = PoolOptions { fork_pause: Duration::from_millis(100), ..PoolOptions::default() };
    let pool = pool(&[&fast, &slow], options).await;
    let ids = ids(&pool);
    pool.shut_out(ids[0], At { number: 9, hash: hash(0, 9) });
    assert_eq!(first(&pool).identity, Identity::Fork { number: 9 });
    let asked = fast.calls("eth_getBlockByNumber");
    wait_until("it had to prove itself", DEADLINE, async || {
        assert_eq!(told(&pool).await, ids[1], "it still has another block");
        fast.calls("eth_getBlockByNumber") > asked
    })
    .await;
    assert!(first(&pool).fork);

    fast.mood().fork = 0;
    wait_until("it is back", DEADLINE, async || told(&pool).await == ids[0]).await;
    assert_eq!(first(&pool).identity, Identity::Ours);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_answers_are_read_aside_and_whole() {
    let log = |number: u64| {
        json!({
            "address": format!("0x{}", "11".repeat(20)), "topics": [hash(1, number), hash(2, number)],
            "data": format!("0x{}", "ab".repeat(64)), "blockNumber": format!("{number:#x}"),
            "blockHash": hash(3, number), "transactionHash": hash(4, number), "transactionIndex": 0,
            "logIndex": "0x7", "blockTimestamp": "0x65", "removed": false, "somethingElse": { "a": [1, null] },
        })
    };
    let provider = Provider::start(Mood { logs: (0..5_000).map(log).collect(), ..Mood::default() }).await;
    let pool = pool(&[&provider], PoolOptions::default()).await;
    let answers = join_all([pool.ask(logs()), pool.ask(logs())]).await;
    for found in answers {
        let found = found.expect("logs");
        assert_eq!(found.len(), 5_000);
        let last = &found[4_999];
        assert_eq!((last.block_number, last.block_timestamp, last.log_index), (4_999, Some(0x65), 7));
        assert_eq!(*last.topics, [hash(1, 4_999), hash(2, 4_999)]);
        assert_eq!((last.data.len(), last.block_hash), (64, hash(3, 4_999)));
    }
    let mut five = log(1);
    five["topics"] = json!([hash(1, 1), hash(1, 2), hash(1, 3), hash(1, 4), hash(1, 5)]);
    provider.mood().logs = json!([five]);
    let error = pool.ask(logs()).await.expect_err("no log has five topics");
    assert!(matches!(error, RpcError::Malformed { .. }), "{error:?}");
}

async fn next(heads: &mut BoxStream<'static, Header>) -> u64 {
    tokio::time::timeout(DEADLINE, heads.next()).await.expect("in time").expect("heads never end").number
}

/// A pool that is too slow at polling to find a head by it before the deadline.
fn by_announcement(endpoints: Vec<EndpointConfig>, quiet_max: Duration) -> Pool {
    let options = PoolOptions { poll_every: DEADLINE * 2, quiet_max, ..PoolOptions::default() };
    Pool::new(CHAIN, endpoints, options).expect("a pool")
}

fn announcing(provider: &Provider) -> EndpointConfig {
    EndpointConfig { ws: provider.ws_url().parse().ok(), ..config(provider) }
}

#[tokio::test]
async fn any_endpoint_may_announce_heads_and_a_lost_subscription_misses_none() {
    let (mute, speaking) =
        (Provider::start(Mood::default()).await, Provider::start(Mood { head: 1, ..Mood::default() }).await);
    mute.mood().status = Some((500, 0));
    let pool = by_announcement(vec![config(&mute), announcing(&speaking)], DEADLINE);
    let mut heads = pool.heads();
    assert_eq!(next(&mut heads).await, 1);
    let (found, ()) = tokio::join!(next(&mut heads), async {
        wait_until("it is subscribed", DEADLINE, async || speaking.listeners() == 1).await;
        speaking.mine();
    });
    assert_eq!(found, 2);

    speaking.mood().silent = true;
    speaking.mine();
    speaking.cut();
    assert_eq!(next(&mut heads).await, 3, "what came in between is looked for");
    speaking.mood().silent = false;
    wait_until("there is no listener", DEADLINE, async || speaking.listeners() == 0).await;
}

#[tokio::test]
async fn a_lost_subscription_is_renewed() {
    let provider = Provider::start(Mood::default()).await;
    let options = PoolOptions { poll_every: Duration::from_millis(50), ..PoolOptions::default() };
    let mut heads = Pool::new(CHAIN, vec![announcing(&provider)], options).expect("a pool").heads();
    let reading = tokio::spawn(async move { while heads.next().await.is_some() {} });
    for _ in 0..2 {
        wait_until("it is subscribed", DEADLINE, async || provider.listeners() == 1).await;
        provider.cut();
        wait_until("it is cut", DEADLINE, async || provider.listeners() == 0).await;
    }
    reading.abort();
}

#[tokio::test]
async fn a_subscription_that_falls_silent_is_replaced_by_that_of_another_endpoint() {
    let (one, two) = (Provider::start(Mood::default()).await, Provider::start(Mood::default()).await);
    let options = PoolOptions {
        poll_every: Duration::from_millis(50),
        quiet_max: Duration::from_millis(200),
        ..PoolOptions::default()
    };
    let pool = Pool::new(CHAIN, vec![announcing(&one), announcing(&two)], options).expect("a pool");
    let mut heads = pool.heads();
    let reading = tokio::spawn(async move { while heads.next().await.is_some() {} });
    wait_until("the first is listened to", DEADLINE, async || one.listeners() == 1).await;
    for provider in [&one, &two] {
        provider.mood().silent = true;
    }
    // More than one block: the first may be seen by the look that follows every new subscription.
    wait_until("the second is listened to", DEADLINE, async || {
        one.mine();
        two.mine();
        two.listeners() == 1
    })
    .await;
    assert_eq!(one.listeners(), 0);
    reading.abort();
}

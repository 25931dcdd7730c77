//! Transitions over WebSocket: live, resumed, undone, bounded, and ended cleanly.

use runtime::errors::Refusal;
use serde_json::{Value, json};
use testkit::wait_until;

use crate::fakes::SEQUENCER;
use crate::world::{self, DEADLINE, Socket, World};

const SUBSCRIBE: &str = "sequencer_subscribeTransitions";
const UNSUBSCRIBE: &str = "sequencer_unsubscribeTransitions";

async fn subscribe(socket: &mut Socket, params: Value) -> String {
    let answer = socket.call(SUBSCRIBE, params).await;
    assert!(answer["result"].is_string(), "no subscription: {answer}");
    answer["result"].as_str().unwrap_or_default().to_owned()
}

/// The cursor of the next notification, which must be of this subscription.
async fn cursor(socket: &mut Socket, subscription: &str) -> String {
    let message = socket.receive().await;
    assert_eq!(message["method"], "sequencer_transition", "{message}");
    assert_eq!(message["params"]["subscription"], subscription, "{message}");
    assert!(message["params"]["result"]["cursor"].is_string(), "no cursor: {message}");
    message["params"]["result"]["cursor"].as_str().unwrap_or_default().to_owned()
}

async fn until_watched(world: &World, streams: usize) {
    wait_until("the streams are as many as they should be", DEADLINE, || async {
        world.neighbours.watchers() == streams
    })
    .await;
}

#[tokio::test]
async fn a_change_reaches_every_subscriber_over_one_stream() {
    let world = world::start().await;
    let (mut one, mut other) = (world.socket().await, world.socket().await);
    let first = subscribe(&mut one, json!({ "network": "devnet" })).await;
    let second = subscribe(&mut other, json!({ "network": "devnet" })).await;
    assert_ne!(first, second);
    assert_eq!(world.neighbours.watchers(), 1, "one stream is shared");
    world.neighbours.happen(false);
    for (socket, subscription) in [(&mut one, &first), (&mut other, &second)] {
        let message = socket.receive().await;
        assert_eq!(message["params"]["subscription"], **subscription);
        let result = &message["params"]["result"];
        assert_eq!((&result["cursor"], &result["kind"]), (&json!("1"), &json!("transition")));
        assert_eq!(
            (&result["transition"]["to"], &result["sequencer"]["id"]),
            (&json!("ACTIVE"), &json!(SEQUENCER))
        );
        assert!(message.get("id").is_none(), "a notification has no id");
    }
}

#[tokio::test]
async fn a_change_taken_back_is_told_as_such() {
    let world = world::start().await;
    let mut socket = world.socket().await;
    subscribe(&mut socket, json!({})).await;
    world.neighbours.happen(false);
    world.neighbours.happen(true);
    let kinds = [socket.receive().await, socket.receive().await]
        .map(|message| message["params"]["result"]["kind"].clone());
    assert_eq!(kinds, [json!("transition"), json!("undone")]);
}

#[tokio::test]
async fn a_subscriber_resumes_at_its_cursor_and_then_shares_the_stream() {
    let world = world::start().await;
    for _ in 0..5 {
        world.neighbours.happen(false);
    }
    let mut socket = world.socket().await;
    let subscription = subscribe(&mut socket, json!({ "network": "devnet", "fromCursor": "2" })).await;
    for expected in ["3", "4", "5"] {
        assert_eq!(cursor(&mut socket, &subscription).await, expected);
    }
    for expected in ["6", "7", "8"] {
        world.neighbours.happen(false);
        assert_eq!(cursor(&mut socket, &subscription).await, expected, "each exactly once");
    }
    until_watched(&world, 1).await;
}

#[tokio::test]
async fn reconnects_with_the_last_cursor_lose_nothing_and_repeat_nothing() {
    let world = world::start().await;
    let mut last = "0".to_owned();
    let mut seen = Vec::new();
    for round in 0..20 {
        world.neighbours.happen(false);
        let mut socket = world.socket().await;
        let subscription = subscribe(&mut socket, json!({ "network": "devnet", "fromCursor": last })).await;
        world.neighbours.happen(round % 2 == 0);
        for _ in 0..2 {
            last = cursor(&mut socket, &subscription).await;
            seen.push(last.clone());
        }
    }
    let expected: Vec<String> = (1..=40).map(|cursor| cursor.to_string()).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_broken_stream_is_resumed_without_the_subscribers_noticing() {
    let world = world::start().await;
    let mut socket = world.socket().await;
    let subscription = subscribe(&mut socket, json!({ "network": "devnet" })).await;
    world.neighbours.happen(false);
    assert_eq!(cursor(&mut socket, &subscription).await, "1");
    world.neighbours.break_streams();
    world.neighbours.happen(false);
    assert_eq!(cursor(&mut socket, &subscription).await, "2");
}

#[tokio::test]
async fn a_stream_that_broke_before_it_had_a_cursor_asks_for_a_resync() {
    let world = world::start().await;
    let mut socket = world.socket().await;
    let subscription = subscribe(&mut socket, json!({ "network": "devnet" })).await;
    until_watched(&world, 1).await;
    world.neighbours.break_streams();
    let message = socket.receive().await;
    assert_eq!(message["params"]["subscription"], subscription);
    assert_eq!(message["params"]["error"]["data"]["reason"], "RESYNC_REQUIRED", "{message}");
    subscribe(&mut socket, json!({ "network": "devnet" })).await;
}

#[tokio::test]
async fn unsubscribing_ends_one_subscription_and_the_stream_that_nobody_follows() {
    let world = world::start().await;
    let mut socket = world.socket().await;
    let subscription = subscribe(&mut socket, json!({ "network": "devnet" })).await;
    let mut stranger = world.socket().await;
    assert_eq!(stranger.call(UNSUBSCRIBE, json!({ "subscription": subscription })).await["result"], false);
    assert_eq!(socket.call(UNSUBSCRIBE, json!([subscription])).await["result"], true);
    assert_eq!(socket.call(UNSUBSCRIBE, json!({ "subscription": subscription })).await["result"], false);
    until_watched(&world, 0).await;
    world.neighbours.happen(false);
    let answer = socket.call("chain_networks", json!({})).await;
    assert!(answer["result"].is_object(), "nothing came in between: {answer}");
}

#[tokio::test]
async fn a_socket_that_goes_away_takes_its_subscriptions_along() {
    let world = world::start().await;
    let mut socket = world.socket().await;
    subscribe(&mut socket, json!({ "network": "devnet" })).await;
    drop(socket);
    until_watched(&world, 0).await;
}

#[tokio::test]
async fn a_connection_has_at_most_32_subscriptions() {
    let world = world::start().await;
    let mut socket = world.socket().await;
    let mut last = String::new();
    for _ in 0..32 {
        last = subscribe(&mut socket, json!({ "network": "devnet" })).await;
    }
    let refused = socket.call(SUBSCRIBE, json!({})).await;
    assert_eq!(refused["error"]["data"]["reason"], "SUBSCRIPTIONS_EXHAUSTED");
    assert_eq!(socket.call(UNSUBSCRIBE, json!([last])).await["result"], true);
    subscribe(&mut socket, json!({ "network": "devnet" })).await;
}

#[tokio::test]
async fn a_refusal_of_lifecycle_is_the_answer_to_the_subscription() {
    let world = world::start().await;
    let mut socket = world.socket().await;
    let refusal =
        Refusal::new(&api::reasons::CURSOR_MALFORMED, "no such cursor").field("after_cursor", "unknown");
    world.neighbours.refuse(Some(refusal.status()));
    let refused = socket.call(SUBSCRIBE, json!({ "fromCursor": "x" })).await;
    let error = &refused["error"];
    assert_eq!(
        (&error["code"], &error["data"]["fields"][0]["field"]),
        (&json!(-32602), &json!("fromCursor")),
        "{refused}"
    );
    world.neighbours.refuse(None);
    let refused = socket.call(SUBSCRIBE, json!({ "cursor": "x" })).await;
    assert_eq!(refused["error"]["data"]["fields"][0]["field"], "cursor");
    subscribe(&mut socket, json!({})).await;
}

#[tokio::test]
async fn subscriptions_need_a_socket() {
    let world = world::start().await;
    for (method, params) in [(SUBSCRIBE, json!({})), (UNSUBSCRIBE, json!(["x"]))] {
        let reply = world.call(method, params).await;
        assert_eq!((&reply.json["error"]["code"], reply.status), (&json!(-32004), 200), "{method}");
    }
}

#[tokio::test]
async fn a_reader_that_stops_reading_is_told_that_it_lagged() {
    let world = world::start().await;
    let mut socket = world.socket().await;
    let subscription = subscribe(&mut socket, json!({ "network": "devnet" })).await;
    // Far more than the buffers of the kernel, the socket and the feed together.
    for _ in 0..60_000 {
        world.neighbours.happen(false);
    }
    let mut expected = 0_u64;
    let error = loop {
        let message = socket.receive().await;
        assert_eq!(message["params"]["subscription"], subscription, "{message}");
        let Some(cursor) = message["params"]["result"]["cursor"].as_str() else { break message };
        expected += 1;
        assert_eq!(cursor, expected.to_string(), "without a hole up to the end");
    };
    assert_eq!(error["params"]["error"]["data"]["reason"], "SUBSCRIBER_LAGGED", "{error}");
    assert!(expected < 60_000);
    let resumed = subscribe(&mut socket, json!({ "network": "devnet", "fromCursor": "59999" })).await;
    assert_eq!(cursor(&mut socket, &resumed).await, "60000");
}

#[tokio::test]
async fn draining_closes_sockets_and_opens_no_new_ones() {
    let world = world::start().await;
    let mut socket = world.socket().await;
    subscribe(&mut socket, json!({ "network": "devnet" })).await;
    world.shutdown.drain();
    assert_eq!(socket.receive().await, json!({ "closed": 1001 }));
    until_watched(&world, 0).await;
    assert_eq!(world.socket_with(&[]).await.err(), Some(503));
    assert_eq!(world.call("chain_networks", json!({})).await.status, 200, "requests are still answered");
    let ready = world.http.get(format!("{}readyz", world.url())).send().await.expect("an answer");
    assert_eq!(ready.status(), 503);
}

#[tokio::test]
async fn subscribers_who_have_missed_nothing_need_no_stream_of_their_own() {
    let world = world::start().await;
    world.neighbours.announce_cursors();
    world.neighbours.happen(false);
    let mut first = world.socket().await;
    subscribe(&mut first, json!({ "network": "devnet" })).await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        let mut socket = world.socket().await;
        for _ in 0..32 {
            subscribe(&mut socket, json!({ "network": "devnet", "fromCursor": "1" })).await;
        }
        sockets.push(socket);
    }
    until_watched(&world, 1).await;
    world.neighbours.break_streams();
    world.neighbours.happen(false);
    for socket in &mut sockets {
        for _ in 0..32 {
            assert_eq!(socket.receive().await["params"]["result"]["cursor"], "2", "to each of the 96 once");
        }
    }
}

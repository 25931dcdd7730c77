//! The error contract: the registry's code and reason, our names of fields, and nothing of what is behind.

use runtime::errors::{Refusal, generic};
use serde_json::{Value, json};
use std::time::Duration;
use tonic::Status;

use crate::fakes::SEQUENCER;
use crate::world;

#[tokio::test]
async fn every_reason_of_the_registry_arrives_with_its_code() {
    let world =
        world::start_with(gateway::Config { address_units_burst: 100_000, ..Default::default() }).await;
    // These make the client behind us ask again, which is another test's subject; one of each code is enough.
    let mut unavailable_seen = false;
    for reason in api::reasons::all() {
        if reason.grpc == tonic::Code::Unavailable && std::mem::replace(&mut unavailable_seen, true) {
            continue;
        }
        world.neighbours.refuse(Some(Refusal::new(reason, "words").meta("seq_id", 7).status()));
        let reply = world.call("sequencer_list", json!({ "network": "devnet" })).await;
        let error = &reply.json["error"];
        assert_eq!(
            (&error["code"], &error["message"]),
            (&json!(reason.jsonrpc), &json!("words")),
            "{}",
            reason.name
        );
        let data = &error["data"];
        assert_eq!(data["reason"], reason.name);
        assert_eq!(data["domain"], "metis.sequencer");
        assert_eq!(data["retryable"], reason.retryable);
        assert_eq!(data["metadata"]["seqId"], "7");
        assert_eq!(reply.status, 200, "what a method answers is an answer: {}", reason.name);
    }
}

#[tokio::test]
async fn bad_input_is_named_as_the_caller_named_it_and_keeps_its_delay() {
    let world = world::start().await;
    let refusal = Refusal::new(&api::reasons::AMOUNT_NEGATIVE, "lock.amount_wei: amounts are not negative")
        .field("lock.amount_wei", "amounts are not negative")
        .retry_after(Duration::from_millis(250));
    world.neighbours.refuse(Some(refusal.status()));
    let params = json!({ "sequencer": SEQUENCER, "operation": { "kind": "lock", "amountWei": "-1" } });
    let reply = world.call("sequencer_preflight", params).await;
    let data = &reply.json["error"]["data"];
    let fields = json!([{ "field": "operation.amountWei", "description": "amounts are not negative" }]);
    assert_eq!((&data["fields"], &data["retryAfterMs"]), (&fields, &json!(250)));
    assert!(world.neighbours.asked("preflight_operation").expect("asked").contains(r#"amount_wei: "-1""#));
}

#[tokio::test]
async fn the_request_id_stands_in_the_header_and_in_the_error() {
    let world = world::start().await;
    let body = world::request("chain_head", &json!({ "network": "nowhere" })).to_string();
    let reply = world::reply(world.post(body.clone()).header("x-request-id", "mine-1")).await;
    assert_eq!(reply.headers["x-request-id"], "mine-1");
    let data = &reply.json["error"]["data"];
    assert_eq!((&data["requestId"], &data["reason"]), (&json!("mine-1"), &json!("NETWORK_NOT_FOUND")));
    let reply = world::reply(world.post(body).header("x-request-id", "not ours\"")).await;
    let id = reply.headers["x-request-id"].to_str().expect("text").to_owned();
    assert_eq!(reply.json["error"]["data"]["requestId"], id);
    assert_eq!(id.len(), 36);
}

#[tokio::test]
async fn nothing_of_what_is_behind_leaks() {
    let world = world::start().await;
    let secret = "postgres://seq_lifecycle:hunter2@10.0.0.1/db SELECT http://10.0.0.1:8545";
    let statuses = [Status::internal(secret), Status::unknown(secret), Status::data_loss(secret)];
    for status in statuses {
        world.neighbours.refuse(Some(status));
        let text = world.call("sequencer_list", json!({ "network": "devnet" })).await.json.to_string();
        assert!(
            text.contains("INTERNAL") && !text.contains("hunter2") && !text.contains("10.0.0.1"),
            "{text}"
        );
    }
    world.neighbours.refuse(None);
    for (method, params) in [
        ("chain_networks", json!({})),
        ("node_list", json!({ "network": "devnet" })),
        ("node_get", json!({ "id": "n" })),
    ] {
        let text = world.call(method, params).await.json.to_string();
        assert!(text.contains("devnet") && !text.contains("hunter2") && !text.contains("10.0.0."), "{text}");
    }
}

#[tokio::test]
async fn one_neighbour_away_degrades_only_what_needs_it() {
    let world = world::start().await;
    world.neighbours.refuse(Some(Refusal::new(&generic::NOT_FOUND, "gone").status()));
    assert_eq!(
        world.call("sequencer_list", json!({ "network": "devnet" })).await.json["error"]["code"],
        -32001
    );
    assert_ne!(world.call("rpc.discover", json!({})).await.json["result"], Value::Null);
    let ready = world.http.get(format!("{}readyz", world.url())).send().await.expect("an answer");
    assert_eq!(ready.status(), 200);
}

//! What methods give, and what reaches the services behind.

use serde_json::{Value, json};

use crate::fakes::{HASH, OPERATION, SEQUENCER};
use crate::world;

/// Good params for every method that is called by request.
fn calls() -> Vec<(&'static str, Value)> {
    let lock = json!({ "kind": "lock", "amountWei": "20000000000000000000000" });
    let request_id = "0192f3a0-0000-7000-8000-0000000000ff";
    vec![
        ("rpc.discover", json!({})),
        ("chain_networks", json!({})),
        ("chain_head", json!({ "network": "devnet" })),
        ("chain_parameters", json!({ "network": "devnet" })),
        ("chain_events", json!({ "network": "devnet", "fromBlock": "0x10", "kinds": ["Locked"] })),
        ("chain_epochs", json!({ "network": "devnet" })),
        ("sequencer_list", json!({ "network": "devnet", "phase": "ACTIVE", "pageSize": 7 })),
        ("sequencer_get", json!({ "network": "devnet", "name": "alpha" })),
        ("sequencer_history", json!({ "sequencer": SEQUENCER })),
        ("sequencer_operation", json!({ "id": OPERATION })),
        ("sequencer_operations", json!({ "network": "devnet", "state": "MINED" })),
        ("sequencer_listing", json!({ "sequencer": SEQUENCER })),
        ("sequencer_preflight", json!({ "sequencer": SEQUENCER, "operation": lock })),
        ("sequencer_prepare", json!({ "sequencer": SEQUENCER, "operation": lock })),
        ("sequencer_submit", json!({ "operationId": OPERATION, "rawTransaction": "0x02ab" })),
        (
            "sequencer_register",
            json!({ "requestId": request_id, "network": "devnet", "name": "alpha", "ownerAddress": "0x01", "signerPubkey": "ab" }),
        ),
        ("sequencer_execute", json!({ "requestId": request_id, "sequencer": SEQUENCER, "operation": lock })),
        ("sequencer_cancel", json!({ "id": OPERATION, "reason": "changed my mind" })),
        ("rewards_balance", json!({ "network": "devnet", "sequencerId": "1" })),
        ("rewards_balances", json!({ "network": "devnet" })),
        ("rewards_entries", json!({ "network": "devnet", "kind": "CLAIM" })),
        ("rewards_rate", json!({ "network": "devnet", "from": "2026-01-01T00:00:00Z" })),
        ("rewards_summary", json!({ "network": "devnet" })),
        ("node_list", json!({ "network": "devnet" })),
        ("node_get", json!({ "network": "devnet", "signer": "0x01" })),
    ]
}

/// Whether a value is as a schema of the document says; knows the words that we use.
fn fits(value: &Value, schema: &Value, document: &Value) -> bool {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.trim_start_matches("#/components/schemas/");
        return fits(value, &document["components"]["schemas"][name], document);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        return choices.iter().any(|choice| fits(value, choice, document));
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.contains(value);
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let kinds = &schema["type"];
    if kinds != kind && !kinds.as_array().is_some_and(|kinds| kinds.contains(&json!(kind))) {
        return false;
    }
    match value {
        Value::String(text) => schema["pattern"].is_null() || text.starts_with("0x"),
        Value::Array(items) => items.iter().all(|item| fits(item, &schema["items"], document)),
        Value::Object(members) => {
            let required = schema["required"].as_array().into_iter().flatten();
            let complete = required.filter_map(Value::as_str).all(|name| members.contains_key(name));
            let Some(properties) = schema["properties"].as_object() else { return complete };
            let described = members.iter().all(|(name, member)| match properties.get(name) {
                Some(schema) => fits(member, schema, document),
                None => schema["required"] == json!(["kind"]),
            });
            complete && described
        }
        _ => true,
    }
}

#[tokio::test]
async fn every_method_gives_what_the_document_says_and_rests_on_a_block() {
    let world = world::start().await;
    let key = world.key(&["prepare", "operate"]).await;
    let document = world.call("rpc.discover", json!({})).await.json["result"].clone();
    let calls = calls();
    let subscriptions = 2;
    assert_eq!(calls.len() + subscriptions, api::methods::JSONRPC.len(), "a method is not called here");
    for (method, params) in calls {
        let reply = world.call_as(&key, method, params).await;
        let result = &reply.json["result"];
        let described =
            document["methods"].as_array().into_iter().flatten().find(|one| one["name"] == method);
        let schema = &described.expect("described")["result"]["schema"];
        assert!(fits(result, schema, &document), "{method}: {} is not {schema}", reply.json);
        let mutation = ["sequencer_submit", "sequencer_register", "sequencer_execute", "sequencer_cancel"];
        if !mutation.contains(&method) && method != "rpc.discover" {
            let as_of =
                if method == "chain_networks" { &result["networks"][0]["asOf"] } else { &result["asOf"] };
            assert_eq!(
                (&as_of["block"], &as_of["hash"]),
                (&json!("0x10"), &json!(HASH)),
                "{method}: {result}"
            );
        }
    }
}

#[tokio::test]
async fn prepare_gives_a_wallet_all_it_needs() {
    let world = world::start().await;
    let key = world.key(&["prepare"]).await;
    let operation =
        json!({ "kind": "lock", "amountWei": "0x43c33c1937564800000", "rewardRecipient": "0xabc" });
    let params = json!({ "sequencer": SEQUENCER, "operation": operation });
    let reply = world.call_as(&key, "sequencer_prepare", params).await;
    let result = &reply.json["result"];
    assert_eq!(result["operationId"], OPERATION);
    assert_eq!(result["chainId"], "0x7a69");
    assert_eq!(result["expiresAt"], "2023-11-14T22:23:20Z");
    assert_eq!(result["words"], "lock 20000 METIS");
    assert_eq!(result["calls"][1]["words"], "lock in words");
    assert_eq!(result["checks"][0]["verdict"], "PASS");
    let transaction = json!({ "chainId": "0x7a69", "from": "0x01", "to": "0x02", "value": "0x0", "data": "0xabcd", "gas": "0x186a0" });
    assert_eq!(result["sendTransaction"][0], transaction);
    let send_calls = json!({
        "version": "2.0.0", "chainId": "0x7a69", "from": "0x01", "atomicRequired": false,
        "calls": [
            { "to": "0x02", "value": "0x0", "data": "0xabcd" },
            { "to": "0x03", "value": "0x0", "data": "0xabcd" },
        ],
    });
    assert_eq!(result["sendCalls"], send_calls);
    let asked = world.neighbours.asked("create_operation").expect("asked");
    for part in ["mode: Prepared", r#"amount_wei: "20000000000000000000000""#, r#"reward_recipient: "0xabc""#]
    {
        assert!(asked.contains(part), "{asked}");
    }
}

#[tokio::test]
async fn what_was_asked_reaches_the_service_behind() {
    let world = world::start().await;
    let key = world.key(&["prepare", "operate"]).await;
    for (method, params) in calls() {
        world.call_as(&key, method, params).await;
    }
    let parts = [
        ("list_events", r#"kinds: ["Locked"], from_block: 16"#),
        ("list_sequencers", "phase: Active"),
        ("list_sequencers", "page_size: 7"),
        ("list_operations", "state: Mined"),
        ("list_entries", "kind: Claim"),
        ("get_rate", "seconds: 1767225600"),
        ("register_sequencer", r#"owner: Some(OwnerAddress("0x01"))"#),
        ("create_operation", "mode: Managed"),
        ("cancel_operation", r#"reason: "changed my mind""#),
        ("submit_transaction", r#"RawTransaction(b"\x02\xab")"#),
        ("get_node", r#"signer: "0x01""#),
    ];
    for (method, part) in parts {
        let asked = world.neighbours.asked(method).expect(method);
        assert!(asked.contains(part), "{method}: {asked}");
    }
}

#[tokio::test]
async fn a_wrong_param_is_named() {
    let world = world::start().await;
    let key = world.key(&["prepare", "operate"]).await;
    let claim = json!({ "kind": "claim" });
    let cases = [
        ("chain_head", json!({}), "network", "FIELD_REQUIRED"),
        ("chain_head", json!({ "network": null }), "network", "FIELD_REQUIRED"),
        ("chain_head", json!({ "netwrok": "devnet" }), "netwrok", "INVALID_ARGUMENT"),
        ("chain_events", json!({ "network": "devnet", "layer": "L3" }), "layer", "INVALID_ARGUMENT"),
        ("chain_events", json!({ "network": "devnet", "fromBlock": -1 }), "fromBlock", "INVALID_ARGUMENT"),
        ("chain_events", json!({ "network": "devnet", "fromBlock": "16" }), "fromBlock", "INVALID_ARGUMENT"),
        ("chain_events", json!({ "network": "devnet", "kinds": "Locked" }), "kinds", "INVALID_ARGUMENT"),
        ("sequencer_list", json!({ "network": "devnet", "pageSize": 1.5 }), "pageSize", "INVALID_ARGUMENT"),
        ("sequencer_list", json!({ "network": "devnet", "phase": "active" }), "phase", "INVALID_ARGUMENT"),
        (
            "sequencer_list",
            json!({ "network": "devnet", "labels": { "a": 1 } }),
            "labels",
            "INVALID_ARGUMENT",
        ),
        ("sequencer_get", json!({ "network": "devnet" }), "id", "FIELD_REQUIRED"),
        ("sequencer_get", json!({ "id": "a", "name": "b" }), "name", "INVALID_ARGUMENT"),
        ("rewards_rate", json!({ "network": "devnet", "from": "yesterday" }), "from", "INVALID_ARGUMENT"),
        ("sequencer_execute", json!({ "sequencer": "a", "operation": claim }), "requestId", "FIELD_REQUIRED"),
        ("sequencer_submit", json!({ "operationId": "a" }), "rawTransaction", "FIELD_REQUIRED"),
        (
            "sequencer_submit",
            json!({ "operationId": "a", "rawTransaction": "02" }),
            "rawTransaction",
            "TRANSACTION_MALFORMED",
        ),
        (
            "sequencer_prepare",
            json!({ "sequencer": "a", "operation": { "kind": "withdraw", "amountWei": 1.5 } }),
            "operation.amountWei",
            "AMOUNT_MALFORMED",
        ),
        (
            "sequencer_prepare",
            json!({ "sequencer": "a", "operation": { "kind": "withdraw", "amountWei": format!("0x1{}", "0".repeat(64)) } }),
            "operation.amountWei",
            "AMOUNT_TOO_LARGE",
        ),
        (
            "sequencer_register",
            json!({ "requestId": "a", "network": "a", "name": "a", "ownerKeyId": "a", "signerKeyId": "a", "listing": { "nme": "a" } }),
            "listing.nme",
            "INVALID_ARGUMENT",
        ),
    ];
    for (method, params, field, reason) in cases {
        let reply = world.call_as(&key, method, params.clone()).await;
        let error = &reply.json["error"];
        assert_eq!(error["code"], -32602, "{method} {params}: {}", reply.json);
        assert_eq!(
            (&error["data"]["fields"][0]["field"], &error["data"]["reason"]),
            (&json!(field), &json!(reason)),
            "{method} {params}"
        );
    }
    assert_eq!(world.neighbours.asked("create_operation"), None, "bad input changes nothing");
}

#[tokio::test]
async fn the_trace_and_the_deadline_of_a_call_go_on_to_the_service_behind() {
    let quiet = runtime::telemetry::TelemetryConfig { log_filter: "off".to_owned(), ..Default::default() };
    let _telemetry = runtime::telemetry::init("gateway-test", &quiet).expect("telemetry");
    let world = world::start().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let body = world::request("sequencer_list", &json!({ "network": "devnet" })).to_string();
    let request = world.post(body).header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"));
    assert_eq!(world::reply(request).await.status, 200);
    let header = |name| world.neighbours.header("list_sequencers", name).unwrap_or_default();
    assert_eq!(header("traceparent").split('-').nth(1), Some(trace));
    let micros: u64 =
        header("grpc-timeout").trim_end_matches('u').parse().expect("a timeout in microseconds");
    assert!(micros < 2_000_000 && micros > 1_000_000, "a read has 2 s, less what was used: {micros}");
}

//! Keys against methods: every cell of the matrix comes from the method table.

use std::time::Duration;

use runtime::methods::Access;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use crate::world::{self, Reply};
use crate::{fakes, world::World};

fn reason(reply: &Reply) -> &Value {
    &reply.json["error"]["data"]["reason"]
}

const CREDENTIAL_REASONS: &[&str] =
    &["CREDENTIAL_MISSING", "CREDENTIAL_INVALID", "CREDENTIAL_EXPIRED", "SCOPE_MISSING", "PERMISSION_DENIED"];

fn generous() -> gateway::Config {
    gateway::Config { address_units_burst: 100_000, ..gateway::Config::default() }
}

#[tokio::test]
async fn every_method_admits_exactly_the_keys_of_its_row() {
    let world = world::start_with(generous()).await;
    let scopes = ["read", "prepare", "operate", "approve", "admin"];
    let mut keys = Vec::new();
    for scope in scopes {
        keys.push((scope, world.key(&[scope]).await));
    }
    for row in api::methods::JSONRPC {
        let anonymous = world.call(row.name, json!({})).await;
        let wanted = match row.access {
            Access::Scope(scope) => Some(scope),
            _ => None,
        };
        let turned_down = CREDENTIAL_REASONS.iter().any(|name| reason(&anonymous) == name);
        assert_eq!(turned_down, wanted.is_some(), "{}: {}", row.name, anonymous.json);
        if turned_down {
            assert_eq!(
                (reason(&anonymous), anonymous.status),
                (&json!("CREDENTIAL_MISSING"), 401),
                "{}",
                row.name
            );
            assert_eq!(anonymous.json["error"]["code"], 4100);
        }
        for (scope, key) in &keys {
            let reply = world.call_as(key, row.name, json!({})).await;
            let allowed = wanted.is_none_or(|wanted| wanted == *scope);
            assert_eq!(
                reason(&reply) != "SCOPE_MISSING",
                allowed,
                "{} with {scope}: {}",
                row.name,
                reply.json
            );
            if !allowed {
                assert_eq!((reply.status, &reply.json["error"]["code"]), (403, &json!(4100)), "{}", row.name);
            }
        }
    }
}

#[tokio::test]
async fn a_socket_has_the_rights_of_the_key_of_its_handshake() {
    let world = world::start_with(generous()).await;
    let key = world.key(&["operate"]).await;
    let mut with_key = world.socket_with(&[("x-api-key", &key)]).await.expect("open");
    let mut without = world.socket().await;
    for row in api::methods::JSONRPC {
        let answer = without.call(row.name, json!({})).await;
        let denied = answer["error"]["data"]["reason"] == "CREDENTIAL_MISSING";
        assert_eq!(denied, matches!(row.access, Access::Scope(_)), "{}: {answer}", row.name);
        let answer = with_key.call(row.name, json!({})).await;
        let denied = answer["error"]["data"]["reason"] == "SCOPE_MISSING";
        assert_eq!(denied, row.access == Access::Scope("prepare"), "{}: {answer}", row.name);
        if answer["result"].is_string() {
            with_key.call("sequencer_unsubscribeTransitions", json!([answer["result"]])).await;
        }
    }
}

#[tokio::test]
async fn a_key_that_is_wrong_expired_or_revoked_is_refused_even_for_public_methods() {
    let world = world::start().await;
    let good = world.key(&["read"]).await;
    let (id, secret) = good.rsplit_once('_').expect("our form");
    let other: String = secret.chars().rev().collect();
    let expired = world.key(&["read"]).await;
    let revoked = world.key(&["read"]).await;
    let set = |column: &str, key: &str| {
        let id = key.split('_').nth(1).expect("our form").to_owned();
        format!(
            "UPDATE gateway.api_key SET created_at = now() - interval '2 days', {column} = now() - interval '1 day' WHERE id = '{id}'"
        )
    };
    world.database.execute_unprepared(&set("expires_at", &expired)).await.expect("updated");
    world.database.execute_unprepared(&set("revoked_at", &revoked)).await.expect("updated");
    let cases = [
        (format!("{id}_{other}"), "CREDENTIAL_INVALID"),
        ("msk_0000000000000000_".to_owned() + secret, "CREDENTIAL_INVALID"),
        ("nonsense".to_owned(), "CREDENTIAL_INVALID"),
        (expired, "CREDENTIAL_EXPIRED"),
        (revoked, "CREDENTIAL_INVALID"),
    ];
    for (key, expected) in cases {
        let reply = world.call_as(&key, "chain_networks", json!({})).await;
        assert_eq!((reason(&reply), reply.status), (&json!(expected), 401), "{expected}");
        assert_eq!(reply.headers["www-authenticate"], "Bearer");
        assert!(!reply.json.to_string().contains(secret));
    }
    assert_eq!(world.call_as(&good, "chain_networks", json!({})).await.status, 200);
}

#[tokio::test]
async fn a_batch_cannot_do_more_than_its_items() {
    let config =
        gateway::Config { address_units_per_second: 1, address_units_burst: 10, ..Default::default() };
    let world = world::start_with(config).await;
    let item = |id: u32, method: &str| json!({ "jsonrpc": "2.0", "id": id, "method": method });
    let batch: Vec<Value> =
        (0..12).map(|id| item(id, "chain_networks")).chain([item(12, "sequencer_prepare")]).collect();
    let reply = world.raw(Value::Array(batch).to_string()).await;
    let answers = reply.json.as_array().expect("an array");
    let served = answers.iter().filter(|answer| answer["result"].is_object()).count();
    let limited = answers.iter().filter(|answer| answer["error"]["data"]["reason"] == "RATE_LIMITED").count();
    assert_eq!((served, limited), (10, 3), "{}", reply.json);
    assert!(
        answers
            .iter()
            .all(|answer| answer["error"].is_null() || answer["error"]["data"]["retryAfterMs"].is_u64())
    );
    let single = world.call("chain_networks", json!({})).await;
    assert_eq!((single.status, reason(&single)), (429, &json!("RATE_LIMITED")));
    assert!(single.headers.contains_key("retry-after"));
    let key = world.key(&["read"]).await;
    assert_eq!(
        world.call_as(&key, "chain_networks", json!({})).await.status,
        200,
        "a key has a quota of its own"
    );
}

async fn limited_key(world: &World, labels: &str) -> String {
    let key = world.key(&["operate", "prepare"]).await;
    let id = key.split('_').nth(1).expect("our form");
    let sql = format!("UPDATE gateway.api_key SET label_selector = '{labels}' WHERE id = '{id}'");
    world.database.execute_unprepared(&sql).await.expect("updated");
    key
}

#[tokio::test]
async fn a_key_limited_by_labels_reaches_only_sequencers_that_have_them() {
    let world = world::start().await;
    let (ours, theirs) =
        (limited_key(&world, r#"{"team":"a"}"#).await, limited_key(&world, r#"{"team":"b"}"#).await);
    let request_id = "0192f3a0-0000-7000-8000-0000000000ff";
    let claim = json!({ "kind": "claim" });
    let register = json!({ "requestId": request_id, "network": "devnet", "name": "x", "ownerKeyId": "k", "signerKeyId": "s", "labels": { "team": "a" } });
    let calls = [
        (
            "sequencer_execute",
            json!({ "requestId": request_id, "sequencer": fakes::SEQUENCER, "operation": claim }),
        ),
        ("sequencer_prepare", json!({ "sequencer": fakes::SEQUENCER, "operation": claim })),
        ("sequencer_cancel", json!({ "id": fakes::OPERATION })),
        ("sequencer_submit", json!({ "operationId": fakes::OPERATION, "transactionHash": fakes::HASH })),
        ("sequencer_register", register),
    ];
    for (method, params) in calls {
        let reply = world.call_as(&ours, method, params.clone()).await;
        assert!(reply.json["result"].is_object(), "{method}: {}", reply.json);
        let reply = world.call_as(&theirs, method, params).await;
        assert_eq!(reason(&reply), "PERMISSION_DENIED", "{method}: {}", reply.json);
    }
}

#[tokio::test]
async fn keys_are_minted_only_with_scopes_a_name_and_an_end() {
    let world = world::start().await;
    let hour = Duration::from_secs(3600);
    let cases: [(&str, &[&str], Duration); 5] = [
        ("", &["read"], hour),
        ("a", &[], hour),
        ("a", &["root"], hour),
        ("a", &["read"], Duration::ZERO),
        ("a", &["read"], hour * 24 * 400),
    ];
    for (name, scopes, ttl) in cases {
        assert!(
            gateway::mint_key(&world.database, name, scopes, ttl).await.is_err(),
            "{name} {scopes:?} {ttl:?}"
        );
    }
}

//! The envelope of JSON-RPC 2.0, case by case.

use serde_json::{Value, json};

use crate::world;

/// What must come back.
enum Expect {
    /// A result with this id.
    Result(&'static str),
    /// An error with this id and code.
    Error(&'static str, i32),
    /// No body, status 204.
    Nothing,
}
use Expect::{Error, Nothing, Result};

const CASES: &[(&str, Expect)] = &[
    // ids
    (r#"{"jsonrpc":"2.0","id":1,"method":"chain_networks"}"#, Result("1")),
    (r#"{"jsonrpc":"2.0","id":0,"method":"chain_networks"}"#, Result("0")),
    (r#"{"jsonrpc":"2.0","id":-1,"method":"chain_networks"}"#, Result("-1")),
    (r#"{"jsonrpc":"2.0","id":"a","method":"chain_networks"}"#, Result("\"a\"")),
    (r#"{"jsonrpc":"2.0","id":"","method":"chain_networks"}"#, Result("\"\"")),
    (r#"{"jsonrpc":"2.0","id":"\u00e9\"","method":"chain_networks"}"#, Result(r#""é\"""#)),
    (r#"{"jsonrpc":"2.0","id":null,"method":"chain_networks"}"#, Result("null")),
    (r#"{"jsonrpc":"2.0","id":9007199254740991,"method":"chain_networks"}"#, Result("9007199254740991")),
    (r#"{"jsonrpc":"2.0","id":9007199254740992,"method":"chain_networks"}"#, Error("null", -32600)),
    (r#"{"jsonrpc":"2.0","id":-9007199254740992,"method":"chain_networks"}"#, Error("null", -32600)),
    (r#"{"jsonrpc":"2.0","id":99999999999999999999999999,"method":"chain_networks"}"#, Error("null", -32600)),
    (r#"{"jsonrpc":"2.0","id":1e400,"method":"chain_networks"}"#, Error("null", -32600)),
    (r#"{"jsonrpc":"2.0","id":1.5,"method":"chain_networks"}"#, Error("null", -32600)),
    (r#"{"jsonrpc":"2.0","id":1.0,"method":"chain_networks"}"#, Error("null", -32600)),
    (r#"{"jsonrpc":"2.0","id":1e1,"method":"chain_networks"}"#, Error("null", -32600)),
    (r#"{"jsonrpc":"2.0","id":-0,"method":"chain_networks"}"#, Error("null", -32600)),
    (r#"{"jsonrpc":"2.0","id":true,"method":"chain_networks"}"#, Error("null", -32600)),
    (r#"{"jsonrpc":"2.0","id":false,"method":"chain_networks"}"#, Error("null", -32600)),
    (r#"{"jsonrpc":"2.0","id":{},"method":"chain_networks"}"#, Error("null", -32600)),
    (r#"{"jsonrpc":"2.0","id":[],"method":"chain_networks"}"#, Error("null", -32600)),
    (r#"{"jsonrpc":"2.0","id":[1],"method":"chain_networks"}"#, Error("null", -32600)),
    (r#"{"jsonrpc":"2.0","id":"\ud800","method":"chain_networks"}"#, Error("null", -32600)),
    // members
    (r#"{"id":1,"method":"chain_networks"}"#, Error("1", -32600)),
    (r#"{"jsonrpc":"1.0","id":1,"method":"chain_networks"}"#, Error("1", -32600)),
    (r#"{"jsonrpc":2.0,"id":1,"method":"chain_networks"}"#, Error("1", -32600)),
    (r#"{"jsonrpc":"2.0","id":1}"#, Error("1", -32600)),
    (r#"{"jsonrpc":"2.0","id":1,"method":1}"#, Error("1", -32600)),
    (r#"{"jsonrpc":"2.0","id":1,"method":""}"#, Error("1", -32600)),
    (r#"{"jsonrpc":"2.0","id":1,"method":null}"#, Error("1", -32600)),
    (r#"{"jsonrpc":"2.0","id":1,"method":"chain_networks","extra":true}"#, Result("1")),
    // duplicate keys
    (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"chain_networks"}"#, Error("null", -32600)),
    (r#"{"jsonrpc":"2.0","id":1,"\u0069d":1,"method":"chain_networks"}"#, Error("null", -32600)),
    (r#"{"jsonrpc":"2.0","id":1,"method":"chain_networks","method":"x"}"#, Error("null", -32600)),
    (r#"{"jsonrpc":"2.0","id":1,"x":1,"x":1,"method":"chain_networks"}"#, Error("null", -32600)),
    // params
    (r#"{"jsonrpc":"2.0","id":1,"method":"chain_networks","params":{}}"#, Result("1")),
    (r#"{"jsonrpc":"2.0","id":1,"method":"chain_networks","params":[]}"#, Result("1")),
    (r#"{"jsonrpc":"2.0","id":1,"method":"chain_networks","params":[{}]}"#, Result("1")),
    (r#"{"jsonrpc":"2.0","id":1,"method":"chain_head","params":["devnet"]}"#, Result("1")),
    (r#"{"jsonrpc":"2.0","id":1,"method":"chain_networks","params":null}"#, Error("1", -32600)),
    (r#"{"jsonrpc":"2.0","id":1,"method":"chain_networks","params":"x"}"#, Error("1", -32600)),
    (r#"{"jsonrpc":"2.0","id":1,"method":"chain_networks","params":1}"#, Error("1", -32600)),
    (r#"{"jsonrpc":"2.0","id":1,"method":"chain_networks","params":true}"#, Error("1", -32600)),
    (r#"{"jsonrpc":"2.0","id":1,"method":"chain_networks","params":[1,2]}"#, Error("1", -32602)),
    (r#"{"jsonrpc":"2.0","id":1,"method":"chain_networks","params":{"x":1}}"#, Error("1", -32602)),
    (r#"{"jsonrpc":"2.0","id":1,"method":"chain_head","params":{"network":1}}"#, Error("1", -32602)),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"chain_head","params":{"network":"a","network":"b"}}"#,
        Error("1", -32602),
    ),
    (r#"{"jsonrpc":"2.0","id":1,"method":"chain_head","params":{"network":1e400}}"#, Error("1", -32602)),
    // methods
    (r#"{"jsonrpc":"2.0","id":1,"method":"chain_nothing"}"#, Error("1", -32601)),
    (r#"{"jsonrpc":"2.0","id":1,"method":"rpc.nothing"}"#, Error("1", -32601)),
    // notifications
    (r#"{"jsonrpc":"2.0","method":"chain_networks"}"#, Nothing),
    (r#"{"jsonrpc":"2.0","method":"chain_nothing"}"#, Nothing),
    (r#"{"jsonrpc":"2.0","method":"chain_head","params":{"network":1}}"#, Nothing),
    (r#"{"jsonrpc":"2.0","method":"sequencer_subscribeTransitions"}"#, Nothing),
    (r#"[{"jsonrpc":"2.0","method":"chain_networks"},{"jsonrpc":"2.0","method":"chain_networks"}]"#, Nothing),
    // not a request at all
    ("", Error("null", -32700)),
    ("{", Error("null", -32700)),
    (r#"{"jsonrpc":"2.0","id":1,"method":"chain_networks"} x"#, Error("null", -32700)),
    (r#"{"jsonrpc":"2.0","id":01,"method":"chain_networks"}"#, Error("null", -32700)),
    (r#"{'jsonrpc':"2.0"}"#, Error("null", -32700)),
    ("null", Error("null", -32600)),
    ("1", Error("null", -32600)),
    (r#""text""#, Error("null", -32600)),
    ("{}", Error("null", -32600)),
    ("[]", Error("null", -32600)),
];

/// A small checker of its own: every response object is one, and nothing answers `null`.
fn is_response(value: &Value) -> bool {
    let Some(members) = value.as_object() else { return false };
    let body = usize::from(members.contains_key("result")) + usize::from(members.contains_key("error"));
    let error = &value["error"];
    members.len() == 3
        && body == 1
        && value["jsonrpc"] == "2.0"
        && members.contains_key("id")
        && (error.is_null()
            || (error["code"].is_i64()
                && error["message"].is_string()
                && error["data"]["reason"].is_string()))
}

#[tokio::test]
async fn every_envelope_gets_the_answer_of_the_standard() {
    let world = world::start().await;
    for (body, expected) in CASES {
        let reply = world.raw(*body).await;
        let json = &reply.json;
        match expected {
            Result(id) => {
                assert!(is_response(json) && json["error"].is_null(), "{body}: {json}");
                assert_eq!(json["id"].to_string(), *id, "{body}");
                assert_eq!(reply.status, 200, "{body}");
            }
            Error(id, code) => {
                assert!(is_response(json), "{body}: {json}");
                assert_eq!(
                    (json["id"].to_string().as_str(), &json["error"]["code"]),
                    (*id, &json!(code)),
                    "{body}"
                );
                assert_eq!(reply.status, if *code == -32700 { 400 } else { 200 }, "{body}");
            }
            Nothing => assert_eq!((reply.status, json), (204, &Value::Null), "{body}"),
        }
    }
}

#[tokio::test]
async fn a_socket_answers_like_a_post_and_survives_every_case() {
    let world = world::start().await;
    let mut socket = world.socket().await;
    for (body, expected) in CASES {
        socket.send(*body).await;
        let (id, code) = match expected {
            Result(id) => (*id, None),
            Error(id, code) => (*id, Some(*code)),
            Nothing => continue,
        };
        let answer = socket.receive().await;
        assert!(is_response(&answer), "{body}: {answer}");
        assert_eq!(answer["id"].to_string(), id, "{body}");
        assert_eq!(answer["error"]["code"].as_i64(), code.map(i64::from), "{body}");
    }
}

#[tokio::test]
async fn one_bad_item_does_not_spoil_a_batch() {
    let world = world::start().await;
    let body = r#"[
        {"jsonrpc":"2.0","id":"a","method":"chain_networks"},
        1, [], {},
        {"jsonrpc":"2.0","method":"chain_networks"},
        {"jsonrpc":"2.0","id":true,"method":"chain_networks"},
        {"jsonrpc":"2.0","id":2,"id":2,"method":"chain_networks"},
        {"jsonrpc":"2.0","id":7,"method":"nothing"},
        {"jsonrpc":"2.0","id":8,"method":"sequencer_cancel","params":{"id":"x"}}
    ]"#;
    let reply = world.raw(body).await;
    assert_eq!(reply.status, 200);
    let answers = reply.json.as_array().expect("an array");
    assert!(answers.iter().all(is_response), "{}", reply.json);
    let codes: Vec<(Value, Option<i64>)> =
        answers.iter().map(|answer| (answer["id"].clone(), answer["error"]["code"].as_i64())).collect();
    let expected = vec![
        (json!("a"), None),
        (Value::Null, Some(-32600)),
        (Value::Null, Some(-32600)),
        (Value::Null, Some(-32600)),
        (Value::Null, Some(-32600)),
        (Value::Null, Some(-32600)),
        (json!(7), Some(-32601)),
        (json!(8), Some(4100)),
    ];
    assert_eq!(codes, expected);
}

#[tokio::test]
async fn a_batch_of_fifty_is_answered_and_one_of_fifty_one_refused_as_a_whole() {
    let world = world::start().await;
    let batch = |items: usize| {
        let item = r#"{"jsonrpc":"2.0","id":1,"method":"chain_networks"}"#;
        format!("[{}]", vec![item; items].join(","))
    };
    assert_eq!(world.raw(batch(50)).await.json.as_array().map(Vec::len), Some(50));
    let refused = world.raw(batch(51)).await;
    assert_eq!((refused.status, &refused.json["error"]["data"]["reason"]), (413, &json!("BATCH_TOO_LARGE")));
}

#[tokio::test]
async fn a_body_of_256_kib_is_read_and_one_byte_more_is_refused() {
    let world = world::start().await;
    let padded = |length: usize| {
        let head = r#"{"jsonrpc":"2.0","id":1,"method":"chain_networks","pad":""#;
        format!("{head}{}\"}}", "x".repeat(length - head.len() - 2))
    };
    assert_eq!(world.raw(padded(256 * 1024)).await.status, 200);
    let refused = world.raw(padded(256 * 1024 + 1)).await;
    assert_eq!(
        (refused.status, &refused.json["error"]["data"]["reason"]),
        (413, &json!("REQUEST_TOO_LARGE"))
    );
    assert!(is_response(&refused.json));
}

#[tokio::test]
async fn deep_params_are_refused_and_hurt_nobody() {
    let world = world::start().await;
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"chain_head","params":{{"network":{deep}}}}}"#);
    let reply = world.raw(body).await;
    assert!(is_response(&reply.json) && reply.json["error"]["code"].is_i64(), "{}", reply.json);
    assert_eq!(world.call("chain_networks", json!({})).await.status, 200);
}

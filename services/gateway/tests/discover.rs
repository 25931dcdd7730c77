//! `rpc.discover` against the method table, and against the committed document.

use std::collections::BTreeSet;
use std::path::Path;

use runtime::methods::Access;
use serde_json::{Value, json};

use crate::world;

/// Set to write the document instead of comparing it.
const UPDATE: &str = "UPDATE_OPENRPC";

#[tokio::test]
async fn the_document_lists_exactly_the_methods_of_the_table() {
    let world = world::start().await;
    let document = world.call("rpc.discover", json!({})).await.json["result"].clone();
    assert_eq!(document["openrpc"], "1.2.6");
    let methods = document["methods"].as_array().expect("methods");
    let described: BTreeSet<&str> = methods.iter().filter_map(|method| method["name"].as_str()).collect();
    let rows: BTreeSet<&str> = api::methods::JSONRPC.iter().map(|row| row.name).collect();
    assert_eq!(described, rows);
    assert_eq!(methods.len(), rows.len());
    for method in methods {
        let row = api::methods::jsonrpc().get(method["name"].as_str().expect("text")).expect("a row");
        let scope = match row.access {
            Access::Scope(scope) => json!(scope),
            _ => Value::Null,
        };
        assert_eq!(method["x-access"]["scope"], scope, "{}", row.name);
    }
}

#[tokio::test]
async fn every_reference_leads_somewhere() {
    let world = world::start().await;
    let document = world.call("rpc.discover", json!({})).await.json["result"].clone();
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        let name = reference.trim_start_matches("#/components/schemas/");
        assert!(document["components"]["schemas"][name].is_object(), "{reference}");
    }
}

#[tokio::test]
async fn the_committed_document_is_current() {
    let world = world::start().await;
    let document = world.call("rpc.discover", json!({})).await.json["result"].clone();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openrpc.json");
    let text = serde_json::to_string_pretty(&document).expect("JSON") + "\n";
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &text).expect("written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text,
        "openrpc.json is out of date: run the tests with {UPDATE}=1 and look at the difference"
    );
}

//! l2geth's JSON-RPC, and Tendermint's on the same path: reads are passed on to L2.

use axum::{Json, extract::State, response::IntoResponse, response::Response};
use serde_json::{Value, json};

use super::{View, themis};
use crate::Error;

/// L2 blocks that a lagging node is behind.
const LAG: u64 = 500;
/// Requests in one batch.
const BATCH_MAX: usize = 100;
/// What is passed on: it reads, and the node knows no better than the chain.
const READS: [&str; 4] = ["eth_get", "eth_call", "eth_chainId", "eth_estimateGas"];
const METHOD_NOT_FOUND: i64 = -32601;
const SERVER_ERROR: i64 = -32000;

pub(super) async fn json_rpc(State(view): State<View>, Json(asked): Json<Value>) -> Response {
    let answer = match asked {
        Value::Array(batch) => {
            let mut answers = Vec::with_capacity(batch.len().min(BATCH_MAX));
            for request in batch.into_iter().take(BATCH_MAX) {
                answers.push(one(&view, request).await);
            }
            Value::Array(answers)
        }
        request => one(&view, request).await,
    };
    Json(answer).into_response()
}

async fn one(view: &View, request: Value) -> Value {
    let id = request["id"].clone();
    let method = request["method"].as_str().unwrap_or_default().to_owned();
    match result(view, &method, request).await {
        Ok(Some(result)) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Ok(None) => {
            let message = format!("the method {method} does not exist/is not available");
            json!({ "jsonrpc": "2.0", "id": id, "error": { "code": METHOD_NOT_FOUND, "message": message } })
        }
        Err(error) => {
            let error = json!({ "code": SERVER_ERROR, "message": error.to_string() });
            json!({ "jsonrpc": "2.0", "id": id, "error": error })
        }
    }
}

async fn result(view: &View, method: &str, mut request: Value) -> Result<Option<Value>, Error> {
    let lag = if view.lags() { LAG } else { 0 };
    let l2 = &view.simulator.0.l2.link;
    let result = match method {
        "status" => themis::status_of(view),
        "net_info" => themis::net_info_of(view),
        "rollup_getInfo" => rollup(view, lag).await?,
        "rollup_checkIsSeqWorking" => json!(!view.lags()),
        "eth_blockNumber" => json!(hex(l2.head().await?.number.saturating_sub(lag))),
        "net_peerCount" => json!("0x2"),
        "net_version" => json!(view.simulator.0.l2.chain_id.to_string()),
        "web3_clientVersion" => json!("Geth/v0.3.9-devnet/linux-amd64/go1.21"),
        "eth_syncing" => json!(false),
        read if READS.iter().any(|prefix| read.starts_with(prefix)) => {
            if lag > 0 && read == "eth_getBlockByNumber" && request["params"][0] == "latest" {
                request["params"][0] = json!(hex(l2.head().await?.number.saturating_sub(lag)));
            }
            l2.rpc(method, request["params"].take()).await?
        }
        _ => return Ok(None),
    };
    Ok(Some(result))
}

async fn rollup(view: &View, lag: u64) -> Result<Value, Error> {
    let (l1, l2) = (view.simulator.0.l1.link.head().await?, view.simulator.0.l2.link.head().await?);
    let index = l2.number.saturating_sub(lag);
    Ok(json!({
        "mode": "sequencer",
        "syncing": view.lags(),
        "ethContext": {
            "blockNumber": l1.number.saturating_sub(view.simulator.0.config.confirmations),
            "timestamp": l1.timestamp,
        },
        "rollupContext": { "index": index, "queueIndex": 0, "verifiedIndex": 0 },
    }))
}

fn hex(number: u64) -> String {
    format!("{number:#x}")
}

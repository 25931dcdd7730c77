//! An endpoint whose pool takes no nonce before the one below it, as those of Nethermind and Besu do when it is too far; anvil's
//! takes any.

use std::net::SocketAddr;
use std::sync::Arc;

use alloy_consensus::transaction::SignerRecoverable;
use alloy_consensus::{Transaction, TxEnvelope};
use alloy_eips::Decodable2718;
use alloy_primitives::{Bytes, U64};
use axum::extract::State;
use axum::{Json, Router};
use serde_json::{Value, json};
use testkit::contracts::Link;
use tokio::net::TcpListener;

/// The endpoint.
#[derive(Debug)]
pub struct Strict {
    address: SocketAddr,
}

impl Strict {
    /// In front of the chain of this link, on loopback.
    pub async fn start(link: Link) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(Arc::new(link));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn answer(State(link): State<Arc<Link>>, Json(body): Json<Value>) -> Json<Value> {
    let Some(calls) = body.as_array() else { return Json(one(&link, &body).await) };
    let mut answers = Vec::new();
    for call in calls {
        answers.push(one(&link, call).await);
    }
    Json(answers.into())
}

async fn one(link: &Link, call: &Value) -> Value {
    if call["method"] == "eth_sendRawTransaction" && is_too_high(link, call).await {
        let error = json!({ "code": -32000, "message": "nonce too high" });
        return json!({ "jsonrpc": "2.0", "id": call["id"], "error": error });
    }
    link.forward(call).await.unwrap()
}

async fn is_too_high(link: &Link, call: &Value) -> bool {
    let raw: Bytes = call["params"][0].as_str().unwrap().parse().unwrap();
    let signed = TxEnvelope::decode_2718_exact(&raw).unwrap();
    let sender = signed.recover_signer().unwrap();
    let next: U64 = link.rpc("eth_getTransactionCount", json!([sender, "pending"])).await.unwrap();
    signed.nonce() > next.to::<u64>()
}

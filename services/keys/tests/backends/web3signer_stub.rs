//! A Web3Signer as far as our backend sees it: `/upcheck`, the list of public keys, and signatures of whatever bytes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use alloy_primitives::keccak256;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use domain::pubkey::PublicKey;
use k256::ecdsa::SigningKey;
use serde_json::Value;
use tokio::net::TcpListener;

#[derive(Clone, Default)]
struct Keys(Arc<Mutex<BTreeMap<String, SigningKey>>>);

pub struct Stub {
    pub address: SocketAddr,
    keys: Keys,
}

impl Stub {
    pub async fn start() -> Self {
        let keys = Keys::default();
        let router = Router::new()
            .route("/upcheck", get(|| async { "OK" }))
            .route("/api/v1/eth1/publicKeys", get(public_keys))
            .route("/api/v1/eth1/sign/{identifier}", post(sign))
            .with_state(keys.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, keys }
    }

    /// Adds a key and gives its identifier.
    pub fn add(&self, secret: [u8; 32]) -> String {
        let key = SigningKey::from_slice(&secret).unwrap();
        let identifier = PublicKey::from(k256::PublicKey::from(key.verifying_key())).listing();
        self.keys.0.lock().unwrap().insert(identifier.clone(), key);
        identifier
    }

    /// From now on signs for this identifier with another key.
    pub fn betray(&self, identifier: &str, secret: [u8; 32]) {
        self.keys.0.lock().unwrap().insert(identifier.to_owned(), SigningKey::from_slice(&secret).unwrap());
    }
}

async fn public_keys(State(keys): State<Keys>) -> Json<Vec<String>> {
    Json(keys.0.lock().unwrap().keys().cloned().collect())
}

async fn sign(
    State(keys): State<Keys>,
    Path(identifier): Path<String>,
    Json(body): Json<Value>,
) -> Result<String, StatusCode> {
    let keys = keys.0.lock().unwrap();
    let key = keys.get(&identifier).ok_or(StatusCode::NOT_FOUND)?;
    let data =
        body["data"].as_str().and_then(|data| data.strip_prefix("0x")).ok_or(StatusCode::BAD_REQUEST)?;
    let data = hex::decode(data).map_err(|_| StatusCode::BAD_REQUEST)?;
    let (signature, recovery) = key.sign_prehash_recoverable(keccak256(data).as_slice()).unwrap();
    Ok(format!("0x{}{:02x}", hex::encode(signature.to_bytes()), 27 + recovery.to_byte()))
}

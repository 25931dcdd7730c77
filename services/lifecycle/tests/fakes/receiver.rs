//! An endpoint of webhooks: keeps what it got and answers what the test says. Signatures are verified here without the
//! code that makes them: HMAC by its definition (RFC 2104), over SHA-256.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};
use testkit::wait_for;
use tokio::net::TcpListener;

use crate::world::DEADLINE;

const BLOCK: usize = 64;

/// A message as it came.
#[derive(Debug, Clone)]
pub struct Got {
    pub id: String,
    pub timestamp: String,
    pub signatures: Vec<String>,
    pub body: String,
    pub json: Value,
}

impl Got {
    /// Whether one of the signatures is made with this secret.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let signed = format!("{}.{}.{}", self.id, self.timestamp, self.body);
        self.signatures.contains(&format!("v1,{}", STANDARD.encode(hmac(&key, signed.as_bytes()))))
    }

    pub fn kind(&self) -> &str {
        self.json["type"].as_str().unwrap()
    }

    pub fn cursor(&self) -> u64 {
        self.json["cursor"].as_str().unwrap().parse().unwrap()
    }
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    assert!(key.len() <= BLOCK, "secrets of the scheme are shorter");
    let pad = |byte: u8| -> Vec<u8> {
        (0..BLOCK).map(|index| key.get(index).copied().unwrap_or(0) ^ byte).collect()
    };
    let inner = Sha256::digest([pad(0x36), message.to_vec()].concat());
    Sha256::digest([pad(0x5c), inner.to_vec()].concat()).to_vec()
}

/// What it answers.
#[derive(Debug, Clone)]
pub enum Say {
    Status(u16, Vec<(&'static str, String)>),
    /// Nothing, for as long as the test runs.
    Nothing,
}

#[derive(Debug)]
struct Shared {
    got: Mutex<Vec<Got>>,
    say: Mutex<Say>,
}

/// The endpoint.
#[derive(Debug, Clone)]
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Receiver {
    /// Listening on loopback, answering 204.
    pub async fn start() -> Self {
        let shared = Arc::new(Shared { got: Mutex::default(), say: Mutex::new(Say::Status(204, vec![])) });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(take).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub fn say(&self, say: Say) {
        *self.shared.say.lock().unwrap() = say;
    }

    pub fn status(&self, code: u16) {
        self.say(Say::Status(code, vec![]));
    }

    pub fn got(&self) -> Vec<Got> {
        self.shared.got.lock().unwrap().clone()
    }

    /// Waits for a message.
    pub async fn until(&self, what: &str, wanted: impl Fn(&Got) -> bool) -> Got {
        wait_for(what, DEADLINE, || async { self.got().into_iter().find(|got| wanted(got)) }).await
    }
}

async fn take(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, HeaderMap) {
    let header = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
    let got = Got {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signatures: header("webhook-signature").split(' ').map(str::to_owned).collect(),
        json: serde_json::from_str(&body).unwrap(),
        body,
    };
    shared.got.lock().unwrap().push(got);
    let say = shared.say.lock().unwrap().clone();
    match say {
        Say::Status(code, extra) => {
            let headers = extra
                .into_iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap()));
            (StatusCode::from_u16(code).unwrap(), headers.collect())
        }
        Say::Nothing => std::future::pending().await,
    }
}

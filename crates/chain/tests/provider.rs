//! A provider of a scripted chain: HTTP and WebSocket, as slow, tired and wrong as a test wants it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use alloy_primitives::B256;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::world::CHAIN;

/// How it behaves, to be changed at any time.
#[derive(Debug, Clone, Default)]
pub struct Mood {
    /// Before each answer.
    pub delay: Duration,
    /// HTTP status instead of an answer, with seconds for `Retry-After`.
    pub status: Option<(u16, u64)>,
    /// Height of its newest block.
    pub head: u64,
    /// Another fork has other hashes.
    pub fork: u8,
    /// What it answers to `eth_getLogs`; an object is an error.
    pub logs: Value,
    /// Heads are not announced.
    pub silent: bool,
}

#[derive(Debug)]
struct Shared {
    mood: Mutex<Mood>,
    /// HTTP requests, and calls by method.
    requests: Mutex<u64>,
    calls: Mutex<BTreeMap<String, u64>>,
    heads: broadcast::Sender<Option<Value>>,
}

pub struct Provider {
    shared: Arc<Shared>,
    port: u16,
    ws_port: u16,
    _serving: JoinSet<()>,
}

/// The hash of a block of a fork.
pub fn hash(fork: u8, number: u64) -> B256 {
    let mut hash = B256::repeat_byte(fork);
    hash[24..].copy_from_slice(&number.to_be_bytes());
    hash
}

fn header(fork: u8, number: u64) -> Value {
    json!({
        "number": format!("{number:#x}"), "hash": hash(fork, number), "timestamp": "0x1",
        "parentHash": hash(fork, number.saturating_sub(1)),
    })
}

impl Provider {
    pub async fn start(mood: Mood) -> Self {
        let (heads, _) = broadcast::channel(16);
        let shared = Arc::new(Shared {
            mood: Mutex::new(mood),
            requests: Mutex::default(),
            calls: Mutex::default(),
            heads,
        });
        let listen = async || TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let (http, ws) = (listen().await, listen().await);
        let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
        let (http_port, ws_port) = (port(&http), port(&ws));
        let mut serving = JoinSet::new();
        let of_http = shared.clone();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = http.accept().await {
                connections.spawn(serve(stream, of_http.clone()));
            }
        });
        let of_ws = shared.clone();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = ws.accept().await {
                connections.spawn(announce(stream, of_ws.clone()));
            }
        });
        Self { shared, port: http_port, ws_port, _serving: serving }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn ws_url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.ws_port)
    }

    pub fn mood(&self) -> MutexGuard<'_, Mood> {
        self.shared.mood.lock().expect("no test panics with it")
    }

    pub fn requests(&self) -> u64 {
        *self.shared.requests.lock().expect("no test panics with it")
    }

    pub fn calls(&self, method: &str) -> u64 {
        self.shared.calls.lock().expect("no test panics with it").get(method).copied().unwrap_or(0)
    }

    /// Number of open WebSockets.
    pub fn listeners(&self) -> usize {
        self.shared.heads.receiver_count()
    }

    /// Adds a block and announces it.
    pub fn mine(&self) {
        let mood = {
            let mut mood = self.mood();
            mood.head += 1;
            mood.clone()
        };
        if !mood.silent {
            let _ = self.shared.heads.send(Some(header(mood.fork, mood.head)));
        }
    }

    /// Closes all WebSockets.
    pub fn cut(&self) {
        let _ = self.shared.heads.send(None);
    }
}

impl Shared {
    fn answer(&self, call: &Value) -> Value {
        let mood = self.mood.lock().expect("no test panics with it").clone();
        let method = call["method"].as_str().expect("a method");
        *self.calls.lock().expect("no test panics with it").entry(method.to_owned()).or_default() += 1;
        let result = match method {
            "eth_chainId" => json!(format!("{CHAIN:#x}")),
            "eth_getBlockByNumber" => {
                let asked = call["params"][0].as_str().expect("a block");
                let number = asked.strip_prefix("0x").map(|hex| u64::from_str_radix(hex, 16).expect("hex"));
                let number = number.unwrap_or(mood.head);
                if number <= mood.head { header(mood.fork, number) } else { Value::Null }
            }
            "eth_getLogs" => mood.logs,
            _ => json!("0x1"),
        };
        match result {
            Value::Object(error) if error.contains_key("code") => json!({ "id": call["id"], "error": error }),
            result => json!({ "jsonrpc": "2.0", "id": call["id"], "result": result }),
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut stream = BufReader::new(stream);
    while let Some(asked) = request(&mut stream).await {
        *shared.requests.lock().expect("no test panics with it") += 1;
        let mood = shared.mood.lock().expect("no test panics with it").clone();
        // Nothing comes in the meantime.
        let _ = timeout(mood.delay, std::future::pending::<()>()).await;
        let answer = match &asked {
            Value::Array(calls) => calls.iter().map(|call| shared.answer(call)).collect(),
            call => shared.answer(call),
        };
        let (status, retry_after) = mood.status.unwrap_or((200, 0));
        let body = if status == 200 { answer.to_string() } else { String::new() };
        let head = format!(
            "HTTP/1.1 {status} Said\r\nContent-Length: {}\r\nRetry-After: {retry_after}\r\n\r\n",
            body.len()
        );
        if stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await.is_err() {
            return;
        }
    }
}

/// The next request on a connection; none when there are no more.
async fn request(stream: &mut BufReader<TcpStream>) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    serde_json::from_slice(&body).ok()
}

async fn announce(stream: TcpStream, shared: Arc<Shared>) {
    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
    let mut heads = None;
    loop {
        let announced = async {
            match &mut heads {
                None => std::future::pending().await,
                Some(heads) => broadcast::Receiver::recv(heads).await.ok().flatten(),
            }
        };
        let text = tokio::select! {
            said = socket.next() => {
                let Some(Ok(Message::Text(said))) = said else { return };
                let call: Value = serde_json::from_str(&said).expect("JSON");
                if call["method"] == "eth_subscribe" {
                    heads = Some(shared.heads.subscribe());
                }
                shared.answer(&call)
            }
            head = announced => {
                let Some(head) = head else { return };
                json!({ "method": "eth_subscription", "params": { "subscription": "0x1", "result": head } })
            }
        };
        if socket.send(Message::text(text.to_string())).await.is_err() {
            return;
        }
    }
}

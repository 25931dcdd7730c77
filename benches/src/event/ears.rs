//! Two who listen: a subscriber of the gateway, and a program that listens to the node itself.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use dev::stack::Access;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use testkit::contracts::L1;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Far beyond the target.
const HEARD_MAX: Duration = Duration::from_secs(30);

/// A WebSocket that speaks JSON-RPC.
struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn open(url: &str, method: &str, params: Value) -> Result<Self> {
        let (stream, _) = connect_async(url).await.with_context(|| format!("connecting to {url}"))?;
        let mut socket = Self(stream);
        let answer = socket.call(method, params).await?;
        ensure!(answer["result"].is_string(), "{method} was refused: {answer}");
        Ok(socket)
    }

    async fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        self.0.send(Message::text(call.to_string())).await?;
        loop {
            // Notifications that come in between are of blocks that nobody waits for.
            let message = self.next().await?;
            if message["id"] == 1 {
                return Ok(message);
            }
        }
    }

    async fn next(&mut self) -> Result<Value> {
        loop {
            let message =
                tokio::time::timeout(HEARD_MAX, self.0.next()).await.context("nothing was heard")?;
            match message.context("the socket has ended")?? {
                Message::Text(text) => return Ok(serde_json::from_str(&text)?),
                Message::Close(reason) => bail!("the socket was closed: {reason:?}"),
                _ => {}
            }
        }
    }
}

/// A subscriber of the gateway.
pub struct Subscriber(Socket);

impl Subscriber {
    /// Subscribes to all transitions of the network.
    pub async fn open(access: &Access) -> Result<Self> {
        let params = json!({ "network": access.network });
        Ok(Self(Socket::open(&access.gateway_ws, "sequencer_subscribeTransitions", params).await?))
    }

    /// When it has heard that the sequencer has come to a phase.
    pub async fn until(&mut self, phase: &str) -> Result<Instant> {
        loop {
            let message = self.0.next().await?;
            let heard = Instant::now();
            if message["params"]["result"]["transition"]["to"] == phase {
                return Ok(heard);
            }
        }
    }
}

/// A program that listens to the node itself.
pub struct Bare {
    socket: Socket,
    filter: Value,
}

impl Bare {
    /// Subscribes to new heads.
    pub async fn open(l1: &L1) -> Result<Self> {
        let url = l1.link.url().replacen("http", "ws", 1);
        let socket = Socket::open(&url, "eth_subscribe", json!(["newHeads"])).await?;
        Ok(Self { socket, filter: json!([l1.locking_pool, l1.locking_info]) })
    }

    /// When it has the log of the next block that has one.
    pub async fn until_event(&mut self) -> Result<Instant> {
        loop {
            let message = self.socket.next().await?;
            let Some(hash) = message["params"]["result"]["hash"].as_str() else { continue };
            let filter = json!([{ "blockHash": hash, "address": self.filter }]);
            let answer = self.socket.call("eth_getLogs", filter).await?;
            if answer["result"].as_array().is_some_and(|logs| !logs.is_empty()) {
                return Ok(Instant::now());
            }
        }
    }
}

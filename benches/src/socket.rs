//! A WebSocket that speaks JSON-RPC.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Far beyond every target.
const HEARD_MAX: Duration = Duration::from_secs(30);

/// A WebSocket that speaks JSON-RPC.
pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// Connects and subscribes.
    ///
    /// # Errors
    /// When the other side refuses.
    pub async fn open(url: &str, method: &str, params: Value) -> Result<Self> {
        let (stream, _) = connect_async(url).await.with_context(|| format!("connecting to {url}"))?;
        let mut socket = Self(stream);
        let answer = socket.call(method, params).await?;
        ensure!(answer["result"].is_string(), "{method} was refused: {answer}");
        Ok(socket)
    }

    /// Calls a method and gives the whole answer.
    ///
    /// # Errors
    /// When none comes.
    pub async fn call(&mut self, method: &str, params: Value) -> Result<Value> {
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

    /// The next message.
    ///
    /// # Errors
    /// When none comes for long, or the other side is gone.
    pub async fn next(&mut self) -> Result<Value> {
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

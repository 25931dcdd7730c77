//! New heads over a WebSocket. The connection is upgraded from an ordinary request of the HTTP
//! client, so that TLS, roots and limits are the same for both.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use reqwest::{StatusCode, Upgraded, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::endpoint::{EndpointUrl, client};
use super::types::{Header, Quantity};

/// Bytes of one message: a header has less than 2 KiB.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Time for the handshake and for each of the first answers.
const OPENING: Duration = Duration::from_secs(10);

/// Why there is no subscription.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SubscribeError {
    #[error("reaching the WebSocket")]
    Reach(#[source] reqwest::Error),
    #[error("the server answered the upgrade with HTTP status {0}")]
    Status(u16),
    #[error("the server's handshake is not that of a WebSocket")]
    Handshake,
    #[error("speaking over the WebSocket")]
    Speak(#[source] WsError),
    #[error("no answer within {OPENING:?}")]
    Timeout,
    #[error("the WebSocket serves chain {found}, not {expected}")]
    WrongChain { expected: u64, found: u64 },
    #[error("the node refused the subscription or answered it in words that are not the protocol's")]
    Refused,
}

/// An open `newHeads` subscription.
#[derive(Debug)]
pub(crate) struct Subscription {
    socket: WebSocketStream<Upgraded>,
}

#[derive(Deserialize)]
struct Notification {
    params: NotificationParams,
}

#[derive(Deserialize)]
struct NotificationParams {
    result: Header,
}

impl Subscription {
    /// Connects, checks the chain and subscribes.
    pub(crate) async fn open(url: &EndpointUrl, chain_id: u64) -> Result<Self, SubscribeError> {
        let opening = async {
            let mut socket = connect(url).await?;
            let found = request(&mut socket, "eth_chainId", json!([])).await?;
            let found: Quantity = serde_json::from_value(found).map_err(|_| SubscribeError::Refused)?;
            if found.0 != chain_id {
                return Err(SubscribeError::WrongChain { expected: chain_id, found: found.0 });
            }
            request(&mut socket, "eth_subscribe", json!(["newHeads"])).await?;
            Ok(Self { socket })
        };
        timeout(OPENING, opening).await.map_err(|_| SubscribeError::Timeout)?
    }

    /// The next head; none when the connection is over or has become useless.
    pub(crate) async fn next(&mut self) -> Option<Header> {
        loop {
            match self.socket.next().await?.ok()? {
                Message::Text(text) => {
                    let notification: Notification = serde_json::from_str(text.as_str()).ok()?;
                    return Some(notification.params.result);
                }
                Message::Close(_) => return None,
                // Pings are answered by the library.
                _ => {}
            }
        }
    }
}

async fn connect(url: &EndpointUrl) -> Result<WebSocketStream<Upgraded>, SubscribeError> {
    let reach = |error: reqwest::Error| SubscribeError::Reach(error.without_url());
    let key = generate_key();
    let request = client()
        .map_err(reach)?
        .get(url.as_http())
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, &key);
    let response = request.send().await.map_err(reach)?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(SubscribeError::Status(response.status().as_u16()));
    }
    let accepted = response.headers().get(header::SEC_WEBSOCKET_ACCEPT).map(|value| value.as_bytes());
    if accepted != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
        return Err(SubscribeError::Handshake);
    }
    let upgraded = response.upgrade().await.map_err(reach)?;
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX));
    Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await)
}

/// Asks over the socket before any subscription runs: the next text is the answer.
async fn request(
    socket: &mut WebSocketStream<Upgraded>,
    method: &str,
    params: Value,
) -> Result<Value, SubscribeError> {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    socket.send(Message::text(body.to_string())).await.map_err(SubscribeError::Speak)?;
    while let Some(message) = socket.next().await {
        if let Message::Text(text) = message.map_err(SubscribeError::Speak)? {
            let mut answer: Value =
                serde_json::from_str(text.as_str()).map_err(|_| SubscribeError::Refused)?;
            return answer.get_mut("result").map(Value::take).ok_or(SubscribeError::Refused);
        }
    }
    Err(SubscribeError::Refused)
}

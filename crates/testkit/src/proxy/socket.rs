//! WebSockets: text both ways, with the faults of calls and of announcements. A batch on a
//! WebSocket is passed on as it is: nobody we stand in front of sends one.

use std::collections::HashMap;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header},
};
use futures::{SinkExt, StreamExt};
use hyper::{
    body::Incoming,
    upgrade::{self, Upgraded},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{
        Error as WsError, Message,
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};

use super::{
    Luck, Shared,
    exchange::{Question, View},
    fate::{Fate, asked},
    faults::{Faults, Lie},
    rewrite,
    serve::Place,
    upstream::ANSWER_BYTES_MAX,
};

/// Questions without an answer on one WebSocket, where a node is mute; beyond it answers are not changed.
const OPEN_MAX: usize = 10_000;

fn config() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(ANSWER_BYTES_MAX)).max_frame_size(Some(ANSWER_BYTES_MAX))
}

pub(super) fn is_wanted(request: &Request<Incoming>) -> bool {
    let upgrade = request.headers().get(header::UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|name| name.eq_ignore_ascii_case("websocket"))
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn accepted(request: &HeaderMap) -> Option<Response<Body>> {
    let key = request.get(header::SEC_WEBSOCKET_KEY)?;
    let mut response = status(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()).parse().ok()?);
    Some(response)
}

/// Answers the request for a WebSocket, and lets it run beside.
pub(super) async fn open(place: Place, request: Request<Incoming>) -> Response<Body> {
    place.shared.counts().sockets += 1;
    if place.shared.faults().ws_refuse {
        place.shared.tally("ws_refuse", 1);
        return status(StatusCode::SERVICE_UNAVAILABLE);
    }
    let Some(response) = accepted(request.headers()) else { return status(StatusCode::BAD_REQUEST) };
    let connected = connect_async_with_config(place.shared.upstream.ws_url(), Some(config()), true).await;
    let Ok((node, _)) = connected else { return status(StatusCode::BAD_GATEWAY) };
    tokio::spawn(async move {
        let mut cuts = place.cuts.clone();
        let running = async {
            let upgraded = TokioIo::new(upgrade::on(request).await.ok()?);
            let client = WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config())).await;
            let socket = Socket { shared: &place.shared, client, node, open: HashMap::new() };
            socket.run().await.ok()
        };
        tokio::select! {
            // How it ended is for the client to find out.
            _ = running => {}
            _ = cuts.changed() => {}
        }
    });
    response
}

struct Socket<'a> {
    shared: &'a Shared,
    client: WebSocketStream<TokioIo<Upgraded>>,
    node: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Questions that were touched by a fault, by their id.
    open: HashMap<String, (Question, Luck)>,
}

impl Socket<'_> {
    async fn run(mut self) -> Result<(), WsError> {
        loop {
            // Pings are answered by the library, on both sides.
            tokio::select! {
                message = self.client.next() => match message.transpose()? {
                    Some(Message::Text(text)) => self.pass_on(text.as_str()).await?,
                    Some(Message::Close(_)) | None => return Ok(()),
                    Some(_) => {}
                },
                message = self.node.next() => match message.transpose()? {
                    Some(Message::Text(text)) => self.pass_back(text.as_str()).await?,
                    Some(Message::Close(_)) | None => return Ok(()),
                    Some(_) => {}
                },
            }
        }
    }

    async fn pass_on(&mut self, text: &str) -> Result<(), WsError> {
        let asked = asked(text.as_bytes());
        self.shared.count_calls(&asked);
        let [one] = asked.as_slice() else { return self.node.send(Message::text(text)).await };
        let mut luck = self.shared.socket_luck(&asked);
        let fate = Fate::of(&one.method, &luck.faults, luck.lag.is_some(), &mut luck.rng);
        let call: Option<Value> = serde_json::from_str(text).ok().filter(Value::is_object);
        let Some(call) = call.filter(|_| fate.is_touched) else {
            return self.node.send(Message::text(text)).await;
        };
        let mut question = Question::new(call, fate);
        let faults = luck.faults.clone();
        if let Err(refusal) = View::new(self.shared, &faults, luck.lag).prepare(&mut question).await {
            return self.client.send(Message::text(question.refused(refusal).to_string())).await;
        }
        let call = question.call.to_string();
        if self.open.len() >= OPEN_MAX {
            self.open.clear();
        }
        self.open.insert(question.call["id"].to_string(), (question, luck));
        self.node.send(Message::text(call)).await
    }

    async fn pass_back(&mut self, text: &str) -> Result<(), WsError> {
        let faults = self.shared.faults();
        if self.open.is_empty() && !touches_announcements(&faults) {
            return self.client.send(Message::text(text)).await;
        }
        let Ok(mut said) = serde_json::from_str::<Value>(text) else {
            return self.client.send(Message::text(text)).await;
        };
        if said.get("method").is_some() {
            if self.announce(&faults, &mut said) {
                self.client.send(Message::text(said.to_string())).await?;
            }
            return Ok(());
        }
        if let Some((question, luck)) = self.open.remove(&said["id"].to_string()) {
            let view = View::new(self.shared, &luck.faults, luck.lag);
            if let Err(refusal) = view.rewrite(&question, &mut said) {
                said = question.refused(refusal);
            }
        }
        self.client.send(Message::text(said.to_string())).await
    }

    /// Changes what the node says unasked, or withholds it.
    fn announce(&self, faults: &Faults, said: &mut Value) -> bool {
        let is_head = said["params"]["result"].get("parentHash").is_some();
        if faults.ws_silent && is_head {
            self.shared.tally("ws_silent", 1);
            return false;
        }
        if faults.stale.is_some() && !faults.alternate_stale {
            self.shared.tally("stale", 1);
            return false;
        }
        if let Some(Lie::ForkAbove(above)) = faults.lie
            && rewrite::fork(said, above)
        {
            self.shared.tally("fork_above", 1);
        }
        if faults.strip_block_timestamp && rewrite::strip_timestamps(said) {
            self.shared.tally("strip_block_timestamp", 1);
        }
        true
    }
}

fn touches_announcements(faults: &Faults) -> bool {
    faults.ws_silent || faults.stale.is_some() || faults.lie.is_some() || faults.strip_block_timestamp
}

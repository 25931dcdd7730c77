//! One WebSocket: messages in, answers and notifications out, each within bounds. A client that does not read
//! stalls itself only; one that says nothing at all is let go.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::ws::{CloseFrame, Message as Frame, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{FromRequestParts, Request};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use runtime::errors::{Refusal, generic};
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use super::{Edge, Place, body, peer_of, post};
use crate::dispatch::{Answer, Notifications, Sender, Socket};
use crate::envelope::{self, Id, Message};
use crate::limits::{
    BODY_BYTES_MAX, PING_INTERVAL, SOCKET_CALLS_MAX, SOCKET_IDLE_MAX, SOCKET_QUEUE, SOCKET_WRITE_WAIT,
};
use crate::metrics;

/// Opens a socket.
pub async fn open(edge: Arc<Edge>, request: Request, request_id: &Arc<str>) -> Response {
    if edge.shutdown.is_draining() {
        let fault = Refusal::new(&generic::DRAINING, "this replica is shutting down").into();
        return body::refused(&fault, request_id);
    }
    let peer = peer_of(&request);
    let (mut parts, _) = request.into_parts();
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let number = edge.sockets.fetch_add(1, Ordering::Relaxed) + 1;
    let connection = Connection {
        edge: Arc::clone(&edge),
        place: parts.extensions.remove::<Place>(),
        headers: parts.headers,
        peer,
        socket: Arc::new(Socket::new(number)),
    };
    upgrade
        .max_message_size(BODY_BYTES_MAX)
        .max_frame_size(BODY_BYTES_MAX)
        .on_upgrade(|stream| connection.run(stream))
}

/// One open socket. The headers of its handshake are its credential for every call: a key that ends, ends here too.
#[derive(Debug, Clone)]
struct Connection {
    edge: Arc<Edge>,
    headers: HeaderMap,
    peer: std::net::IpAddr,
    socket: Arc<Socket>,
    /// Kept as long as the socket is open.
    #[expect(dead_code, reason = "held, not read")]
    place: Option<Place>,
}

impl Connection {
    async fn run(self, stream: WebSocket) {
        let _open = metrics::OpenSocket::count();
        let shutdown = self.edge.shutdown.clone();
        let (write, read) = stream.split();
        let (queue, waiting) = mpsc::channel(SOCKET_QUEUE);
        let (heard, last_heard) = tokio::sync::watch::channel(Instant::now());
        let reading = self.read(read, queue, heard);
        // Whichever side ends first ends the other; what it started notices that its queue is gone.
        tokio::select! {
            () = reading => {}
            () = write_all(write, waiting, last_heard, shutdown.draining()) => {}
        }
    }

    async fn read(
        &self,
        mut stream: SplitStream<WebSocket>,
        queue: mpsc::Sender<Frame>,
        heard: tokio::sync::watch::Sender<Instant>,
    ) {
        let room = Arc::new(Semaphore::new(SOCKET_CALLS_MAX));
        while let Some(Ok(frame)) = stream.next().await {
            heard.send_replace(Instant::now());
            let bytes = match frame {
                Frame::Text(text) => bytes::Bytes::from(text),
                Frame::Binary(bytes) => bytes,
                // Axum answers pings itself.
                Frame::Ping(_) | Frame::Pong(_) => continue,
                Frame::Close(_) => return,
            };
            // Closed never; waiting here leaves further messages unread.
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            let (connection, queue) = (self.clone(), queue.clone());
            tokio::spawn(async move {
                connection.answer(&bytes, &queue).await;
                drop(place);
            });
        }
    }

    /// Answers one message; what its subscriptions send follows the answer.
    async fn answer(&self, bytes: &[u8], queue: &mpsc::Sender<Frame>) {
        let request_id: Arc<str> = uuid::Uuid::now_v7().to_string().into();
        let message = match envelope::read(bytes) {
            Ok(message) => message,
            Err(fault) => {
                let Answer { body, .. } = Answer::fault(None, &fault, &request_id);
                return send(queue, envelope::response(&Id::null(), &body)).await;
            }
        };
        let sender = Sender {
            peer: self.peer,
            credential: self.edge.keys.check(&self.headers).await,
            request_id,
            socket: Some(Arc::clone(&self.socket)),
        };
        match message {
            Message::One(call) => {
                let Answer { id, body, notifications, .. } = post::one(&self.edge, call, &sender).await;
                let Some(id) = id else { return };
                send(queue, envelope::response(&id, &body)).await;
                notifications.into_iter().for_each(|notifications| follow(notifications, queue.clone()));
            }
            Message::Batch(calls) => {
                let (mut answers, mut following) = (Vec::new(), Vec::new());
                for (id, body, notifications) in post::batch(&self.edge, calls, &sender).await {
                    answers.push((id, body));
                    following.extend(notifications);
                }
                if let Some(text) = body::batch_text(&answers) {
                    send(queue, text).await;
                }
                following.into_iter().for_each(|notifications| follow(notifications, queue.clone()));
            }
        }
    }
}

/// Carries the notifications of one subscription to the socket, until either ends.
fn follow(mut notifications: Notifications, queue: mpsc::Sender<Frame>) {
    tokio::spawn(async move {
        loop {
            let next: Option<Box<RawValue>> = tokio::select! {
                next = notifications.recv() => next,
                // Without this a quiet subscription would outlive its socket.
                () = queue.closed() => None,
            };
            let Some(json) = next else { return };
            let text: Box<str> = json.into();
            if queue.send(Frame::Text(text.into_string().into())).await.is_err() {
                return;
            }
        }
    });
}

/// Queues a message; if the socket is gone, there is nobody to tell.
async fn send(queue: &mpsc::Sender<Frame>, text: String) {
    let _ = queue.send(Frame::Text(text.into())).await;
}

/// Writes what is queued and pings in between, until the client is gone or the process drains.
async fn write_all(
    mut stream: SplitSink<WebSocket, Frame>,
    mut waiting: mpsc::Receiver<Frame>,
    last_heard: tokio::sync::watch::Receiver<Instant>,
    draining: impl Future<Output = ()>,
) {
    let mut draining = std::pin::pin!(draining);
    let mut pings = tokio::time::interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
    let last = loop {
        let frame = tokio::select! {
            frame = waiting.recv() => match frame {
                Some(frame) => frame,
                None => break closing(close_code::NORMAL, ""),
            },
            _ = pings.tick() => {
                if last_heard.borrow().elapsed() > SOCKET_IDLE_MAX {
                    break closing(close_code::POLICY, "nothing was heard");
                }
                Frame::Ping(bytes::Bytes::new())
            }
            () = &mut draining => break closing(close_code::AWAY, "shutting down"),
        };
        match tokio::time::timeout(SOCKET_WRITE_WAIT, stream.send(frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    };
    // Best effort: the other side may be gone.
    let _ = tokio::time::timeout(SOCKET_WRITE_WAIT, stream.send(last)).await;
}

fn closing(code: u16, reason: &'static str) -> Frame {
    Frame::Close(Some(CloseFrame { code, reason: reason.into() }))
}

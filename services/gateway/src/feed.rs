//! Changes of phase as they happen: one stream from lifecycle for each network, shared by all who follow it.
//!
//! A stream that breaks is resumed at its cursor. If it broke before it had one, nobody can say what was missed:
//! its followers are told so (`Item::Gap`) instead of being left with a hole.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use api::lifecycle::v1::{WatchTransitionsRequest, WatchTransitionsResponse};
use runtime::errors::{Refusal, generic};
use runtime::shutdown::Shutdown;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, broadcast};
use tonic::{Status, Streaming};

use crate::fault::Fault;
use crate::limits::{CATCH_UPS_MAX, FEED_BUFFER, OPEN_WAIT, REOPEN_PAUSE_MAX, REOPEN_PAUSE_MIN};
use crate::neighbours::Lifecycle;
use crate::wire;

/// One change, rendered once for all who follow.
#[derive(Debug)]
pub struct Change {
    /// Position after it.
    pub cursor: String,
    /// What subscribers get.
    pub json: Box<RawValue>,
}

/// What followers receive.
#[derive(Debug, Clone)]
pub enum Item {
    /// A change.
    Change(Arc<Change>),
    /// Changes may have been missed.
    Gap,
}

/// The shared streams, by network; the empty name stands for all networks.
#[derive(Debug)]
pub struct Feeds {
    lifecycle: Lifecycle,
    shutdown: Shutdown,
    open: Mutex<HashMap<String, Arc<Feed>>>,
    catch_ups: Arc<Semaphore>,
}

/// One shared stream.
#[derive(Debug)]
struct Feed {
    sender: broadcast::Sender<Item>,
    /// Position of the last message; empty before the first. Locked while that message is sent, so that a follower
    /// sees each change either in the cursor it begins at or among what it receives.
    cursor: std::sync::Mutex<String>,
}

/// A place in a shared stream.
#[derive(Debug)]
pub struct Following {
    /// What comes from now on.
    pub changes: broadcast::Receiver<Item>,
    /// Position at which it begins; empty if not known.
    pub cursor: String,
}

/// A stream of one follower's own, from its cursor on.
#[derive(Debug)]
pub struct CatchUp {
    stream: Streaming<WatchTransitionsResponse>,
    _place: OwnedSemaphorePermit,
}

impl Feeds {
    /// No streams yet.
    pub fn new(lifecycle: Lifecycle, shutdown: Shutdown) -> Arc<Self> {
        let catch_ups = Arc::new(Semaphore::new(CATCH_UPS_MAX));
        Arc::new(Self { lifecycle, shutdown, open: Mutex::default(), catch_ups })
    }

    /// Follows a network from now on.
    ///
    /// # Errors
    /// When lifecycle does not know the network or cannot be reached.
    pub async fn follow(self: &Arc<Self>, network: &str) -> Result<Following, Fault> {
        if let Some(feed) = self.open.lock().await.get(network) {
            return Ok(feed.follow());
        }
        // Not under the lock: a lifecycle that hangs must not make followers of other networks wait.
        let stream = self.stream(network, "").await?;
        let feed = Arc::new(Feed {
            sender: broadcast::Sender::new(FEED_BUFFER),
            cursor: std::sync::Mutex::default(),
        });
        let following = match self.open.lock().await.entry(network.to_owned()) {
            // Somebody was faster; that stream began earlier than ours.
            Entry::Occupied(entry) => return Ok(entry.get().follow()),
            Entry::Vacant(entry) => entry.insert(Arc::clone(&feed)).follow(),
        };
        let pump = Pump { feeds: Arc::clone(self), network: network.to_owned(), feed };
        self.shutdown.spawn("transition feed", pump.run(stream));
        Ok(following)
    }

    /// A stream of one's own from a cursor on.
    ///
    /// # Errors
    /// When the cursor is not one of lifecycle's, or too many are catching up already.
    pub async fn catch_up(&self, network: &str, cursor: &str) -> Result<CatchUp, Fault> {
        let busy = |_| {
            Fault::from(
                Refusal::new(&generic::OVERLOADED, "too many subscribers are catching up")
                    .retry_after(OPEN_WAIT),
            )
        };
        let place = Arc::clone(&self.catch_ups).try_acquire_owned().map_err(busy)?;
        Ok(CatchUp { stream: self.stream(network, cursor).await?, _place: place })
    }

    async fn stream(&self, network: &str, after: &str) -> Result<Streaming<WatchTransitionsResponse>, Fault> {
        let request = WatchTransitionsRequest { network: network.to_owned(), after_cursor: after.to_owned() };
        let mut lifecycle = self.lifecycle.clone();
        match tokio::time::timeout(OPEN_WAIT, lifecycle.watch_transitions(request)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(Fault::from(status).rename_fields(|field| match field {
                "afterCursor" => "fromCursor".to_owned(),
                other => other.to_owned(),
            })),
            Err(_) => Err(Refusal::new(&generic::DEADLINE, "lifecycle does not answer").into()),
        }
    }

    /// Takes the stream of a network away, unless somebody follows it again.
    async fn close_if_alone(&self, network: &str) -> bool {
        match self.open.lock().await.entry(network.to_owned()) {
            Entry::Occupied(entry) if entry.get().sender.receiver_count() > 0 => false,
            Entry::Occupied(entry) => {
                entry.remove();
                true
            }
            Entry::Vacant(_) => true,
        }
    }

    /// Whether streams end because the process does.
    pub fn is_draining(&self) -> bool {
        self.shutdown.is_draining()
    }

    async fn close(&self, network: &str) {
        self.open.lock().await.remove(network);
    }
}

impl Feed {
    fn follow(&self) -> Following {
        let cursor = self.cursor();
        Following { changes: self.sender.subscribe(), cursor: cursor.clone() }
    }

    fn tell(&self, message: &WatchTransitionsResponse) {
        let change = change(message);
        let mut cursor = self.cursor();
        cursor.clone_from(&message.cursor);
        if let Some(change) = change {
            // Fails only if nobody follows, which the pump sees by itself.
            let _ = self.sender.send(Item::Change(Arc::new(change)));
        }
    }

    fn cursor(&self) -> std::sync::MutexGuard<'_, String> {
        // A text is whole even if whoever held the lock panicked.
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CatchUp {
    /// The next change with its cursor; a message without a change only tells the cursor.
    pub async fn next(&mut self) -> Result<(String, Option<Change>), Fault> {
        match self.stream.message().await {
            Ok(Some(message)) => Ok((message.cursor.clone(), change(&message))),
            Ok(None) => Err(ended()),
            Err(status) => Err(status.into()),
        }
    }
}

fn ended() -> Fault {
    Refusal::new(&generic::PEER_UNAVAILABLE, "lifecycle ended the stream")
        .retry_after(REOPEN_PAUSE_MIN)
        .into()
}

fn change(message: &WatchTransitionsResponse) -> Option<Change> {
    let WatchTransitionsResponse { cursor, transition, sequencer } = message;
    let transition = transition.as_ref()?;
    let shown = json!({
        "cursor": cursor,
        "kind": if transition.undone { "undone" } else { "transition" },
        "transition": wire::json(transition),
        "sequencer": sequencer.as_ref().map(wire::json),
    });
    let json = serde_json::value::to_raw_value(&shown).expect("a JSON value is JSON");
    Some(Change { cursor: cursor.clone(), json })
}

/// Carries one stream to its followers.
struct Pump {
    feeds: Arc<Feeds>,
    network: String,
    feed: Arc<Feed>,
}

/// Why a stream is not read any further.
enum Ended {
    /// It broke, or lifecycle ended it.
    Broken,
    /// Nobody follows.
    Alone,
    /// The process drains.
    Draining,
}

impl Pump {
    /// Runs until nobody follows or the process drains. Running it twice for one network would only cost a stream.
    async fn run(self, first: Streaming<WatchTransitionsResponse>) {
        let mut stream = first;
        loop {
            match self.carry(&mut stream).await {
                Ended::Broken => {}
                Ended::Alone if !self.feeds.close_if_alone(&self.network).await => continue,
                Ended::Alone => return,
                Ended::Draining => return self.feeds.close(&self.network).await,
            }
            let cursor = self.feed.cursor().clone();
            if cursor.is_empty() {
                // Without a cursor there is nothing to resume.
                let _ = self.feed.sender.send(Item::Gap);
                return self.feeds.close(&self.network).await;
            }
            match self.reopen(&cursor).await {
                Some(again) => stream = again,
                None => return self.feeds.close(&self.network).await,
            }
        }
    }

    async fn carry(&self, stream: &mut Streaming<WatchTransitionsResponse>) -> Ended {
        let draining = self.feeds.shutdown.draining();
        let mut draining = std::pin::pin!(draining);
        loop {
            let message = tokio::select! {
                message = stream.message() => message,
                () = self.feed.sender.closed() => return Ended::Alone,
                () = &mut draining => return Ended::Draining,
            };
            match message {
                Ok(Some(message)) => self.feed.tell(&message),
                Ok(None) => return Ended::Broken,
                Err(status) => {
                    log_break(&self.network, &status);
                    return Ended::Broken;
                }
            }
        }
    }

    /// The stream again from the last cursor; `None` when there is nobody left to open it for.
    async fn reopen(&self, cursor: &str) -> Option<Streaming<WatchTransitionsResponse>> {
        let mut pause: Duration = REOPEN_PAUSE_MIN;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.feeds.shutdown.draining() => return None,
                () = self.feed.sender.closed() => return None,
            }
            match self.feeds.stream(&self.network, cursor).await {
                Ok(stream) => return Some(stream),
                Err(fault) if fault.retryable => pause = (pause * 2).min(REOPEN_PAUSE_MAX),
                Err(_) => {
                    let _ = self.feed.sender.send(Item::Gap);
                    return None;
                }
            }
        }
    }
}

fn log_break(network: &str, status: &Status) {
    tracing::warn!(network, "the stream of transitions broke: {}", status.message());
}

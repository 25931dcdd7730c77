//! `sequencer_subscribeTransitions`: changes of phase as notifications `sequencer_transition`, at least once and
//! resumable. A subscriber with a cursor first gets a stream of its own, until it stands where the shared one does.

use std::sync::Arc;

use api::reasons::{RESYNC_REQUIRED, SUBSCRIBER_LAGGED};
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::core::SubscriptionError;
use jsonrpsee::core::server::{
    PendingSubscriptionSink, RpcModule, SubscriptionCloseResponse, SubscriptionSink,
};
use runtime::errors::Refusal;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::{Caller, Context, Endpoint, Schema, Shape};
use crate::args::{Args, Kind, Param, optional, required};
use crate::fault::Fault;
use crate::feed::{CatchUp, Feeds, Following, Item};
use crate::metrics;

/// Opens a subscription.
pub const SUBSCRIBE: &str = "sequencer_subscribeTransitions";
/// Ends one.
pub const UNSUBSCRIBE: &str = "sequencer_unsubscribeTransitions";
/// Method of the notifications.
const NOTIFICATION: &str = "sequencer_transition";

const PARAMS: &[Param] = &[
    optional("network", Kind::Text, "Only of this network; all if left out."),
    optional("fromCursor", Kind::Text, "Cursor of the last notification seen; from now on if left out."),
];

/// Params of the method that ends a subscription.
pub const UNSUBSCRIBE_PARAMS: &[Param] =
    &[required("subscription", Kind::Text, "Id that the subscription was opened with.")];

pub const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        name: SUBSCRIBE,
        about: "WebSocket only. Notifies sequencer_transition with {subscription, result: {cursor, kind, transition, \
                sequencer}} for every change of phase; kind is transition, or undone for one that a reorganisation \
                took back. At least once: after a reconnect give the last cursor. {subscription, error} ends it.",
        params: PARAMS,
        result: Shape::Value(Schema::Text),
        handler: None,
    },
    Endpoint {
        name: UNSUBSCRIBE,
        about: "Ends a subscription of this connection; false if there is none with this id.",
        params: UNSUBSCRIBE_PARAMS,
        result: Shape::Value(Schema::Flag),
        handler: None,
    },
];

/// Registers both methods.
///
/// # Errors
/// When a name is taken.
pub fn register(module: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    module.register_subscription(
        SUBSCRIBE,
        NOTIFICATION,
        UNSUBSCRIBE,
        |params, pending, context, extensions| async move {
            let caller = super::caller(&extensions);
            match subscribe(params.as_str(), pending, &context, &caller).await {
                Ok(()) => SubscriptionCloseResponse::None,
                Err(fault) => {
                    metrics::subscription_ended(&fault.reason);
                    let error = serde_json::value::to_raw_value(&fault.object(&caller.request_id));
                    error.map_or(SubscriptionCloseResponse::None, |error| {
                        SubscriptionCloseResponse::NotifErr(SubscriptionError::from_json(error))
                    })
                }
            }
        },
    )?;
    Ok(())
}

/// Runs one subscription. An error is told to the subscriber and is the last thing it hears.
async fn subscribe(
    params: Option<&str>,
    pending: PendingSubscriptionSink,
    context: &Arc<Context>,
    caller: &Caller,
) -> Result<(), Fault> {
    let started = async {
        let args = Args::read(params, PARAMS)?;
        let (network, cursor) = (args.text("network"), args.text("fromCursor"));
        // The shared stream first: what happens while the own one opens is then in both.
        let Following { changes, cursor: passed } = context.feeds.follow(&network).await?;
        let past = match cursor.as_str() {
            "" => None,
            cursor if cursor == passed => None,
            cursor => Some(context.feeds.catch_up(&network, cursor).await?),
        };
        Ok::<_, Fault>(Follower { live: changes, past, delivered: cursor, passed })
    };
    let follower = match started.await {
        Ok(follower) => follower,
        Err(fault) => {
            pending.reject(fault.to_jsonrpsee(&caller.request_id)).await;
            return Ok(());
        }
    };
    // Fails only if the connection is gone.
    let Ok(sink) = pending.accept().await else { return Ok(()) };
    let _open = metrics::OpenSubscription::count();
    follower.deliver(&sink, &context.feeds).await
}

/// Where one subscriber stands between its own stream and the shared one.
struct Follower {
    live: Receiver<Item>,
    past: Option<CatchUp>,
    /// Cursor of the last change that the subscriber was sent.
    delivered: String,
    /// Where the shared stream stood when it was joined, and then the last of its changes that was passed over.
    passed: String,
}

impl Follower {
    async fn deliver(mut self, sink: &SubscriptionSink, feeds: &Feeds) -> Result<(), Fault> {
        loop {
            let item = tokio::select! {
                // Its own stream first, so that a shared change is known before it is passed over.
                biased;
                () = sink.closed() => return Ok(()),
                item = of_past(&mut self.past) => {
                    let (cursor, change) = item?;
                    self.delivered = cursor;
                    self.join_if_level();
                    change.map(Arc::new)
                }
                item = self.live.recv() => match item {
                    Ok(Item::Change(change)) if self.past.is_some() => {
                        self.passed.clone_from(&change.cursor);
                        self.join_if_level();
                        None
                    }
                    Ok(Item::Change(change)) => Some(change),
                    // Its own stream has what was missed here.
                    Ok(Item::Gap) | Err(RecvError::Lagged(_)) if self.past.is_some() => None,
                    Ok(Item::Gap) => return Err(gap()),
                    Err(RecvError::Lagged(missed)) => return Err(lagged(missed)),
                    // The socket says goodbye itself.
                    Err(RecvError::Closed) if feeds.is_draining() => return Ok(()),
                    Err(RecvError::Closed) => return Err(gap()),
                },
            };
            // Waits while the socket is slow; meanwhile the shared buffer counts what is missed.
            if let Some(change) = item
                && sink.send(change.json.clone()).await.is_err()
            {
                return Ok(());
            }
        }
    }

    /// Leaves the own stream once both have come to the same change.
    fn join_if_level(&mut self) {
        if self.delivered == self.passed {
            self.past = None;
        }
    }
}

async fn of_past(past: &mut Option<CatchUp>) -> Result<(String, Option<crate::feed::Change>), Fault> {
    match past {
        Some(past) => past.next().await,
        None => std::future::pending().await,
    }
}

fn gap() -> Fault {
    Refusal::new(&RESYNC_REQUIRED, "the stream has a gap: changes may have been missed").into()
}

fn lagged(missed: u64) -> Fault {
    Refusal::new(&SUBSCRIBER_LAGGED, format!("the subscriber is {missed} changes behind and was dropped"))
        .meta("missed", missed)
        .into()
}

//! One call, whichever way it came: looked up, paid for, authorised, timed, made. Each item of a batch goes through
//! all of it by itself, so that a batch can do no more than its items.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use api::reasons::{SUBSCRIPTIONS_EXHAUSTED, TRANSPORT_UNSUPPORTED};
use futures::future::{BoxFuture, FutureExt};
use jsonrpsee::core::id_providers::RandomStringIdProvider;
use jsonrpsee::core::server::{
    BoundedSubscriptions, ConnectionId, Extensions, MethodCallback, MethodResponse, MethodSink, Methods,
    SubscriptionState,
};
use jsonrpsee::types::{Id as EngineId, Params};
use runtime::budget;
use runtime::errors::{Refusal, generic, internal};
use runtime::methods::{Audit, Method, Table};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tracing::Instrument;

use crate::access::{self, Credential};
use crate::args::Args;
use crate::envelope::{Body, Call, Id};
use crate::fault::Fault;
use crate::limits::{
    RESPONSE_BYTES_MAX, SUBSCRIPTION_ID_CHARS, SUBSCRIPTION_QUEUE, SUBSCRIPTIONS_PER_SOCKET_MAX,
};
use crate::methods::Caller;
use crate::methods::transitions::{SUBSCRIBE, UNSUBSCRIBE, UNSUBSCRIBE_PARAMS};
use crate::metrics;
use crate::quota::Quotas;

/// The engine with everything that stands before it.
#[derive(Debug)]
pub struct Dispatch {
    /// The methods.
    pub methods: Methods,
    /// Their rows.
    pub table: Table,
    /// What callers may spend.
    pub quotas: Quotas,
}

/// Who sent a request, and how.
#[derive(Debug, Clone)]
pub struct Sender {
    /// Address of the connection.
    pub peer: IpAddr,
    /// What identifies the sender.
    pub credential: Credential,
    /// Id of the request.
    pub request_id: Arc<str>,
    /// The socket, if it came over one.
    pub socket: Option<Arc<Socket>>,
}

/// What subscriptions belong to.
#[derive(Debug)]
pub struct Socket {
    id: ConnectionId,
    subscriptions: BoundedSubscriptions,
}

impl Socket {
    /// A socket without subscriptions; the number tells it from all others.
    pub fn new(number: usize) -> Self {
        Self {
            id: ConnectionId(number),
            subscriptions: BoundedSubscriptions::new(SUBSCRIPTIONS_PER_SOCKET_MAX),
        }
    }
}

/// The notifications of a subscription that was just opened; its answer must be sent before them.
pub type Notifications = mpsc::Receiver<Box<RawValue>>;

/// The answer to one call.
#[derive(Debug)]
pub struct Answer {
    /// Id to answer with; a notification has none and gets no answer.
    pub id: Option<Id>,
    /// HTTP status, if this is the whole request.
    pub http: u16,
    /// When to come back, for the header.
    pub retry_after_secs: Option<u64>,
    /// Result or error object.
    pub body: Body,
    /// What follows.
    pub notifications: Option<Notifications>,
}

impl Answer {
    /// An answer that is a fault.
    pub fn fault(id: Option<Id>, fault: &Fault, request_id: &str) -> Self {
        let object =
            serde_json::value::to_raw_value(&fault.object(request_id)).expect("a JSON value is JSON");
        let retry_after_secs =
            fault.retry_after.map(|delay| delay.as_secs() + u64::from(delay.subsec_nanos() > 0));
        Self { id, http: fault.http, retry_after_secs, body: Err(object), notifications: None }
    }
}

/// A method that panicked; its own message stays in the log of the panic.
#[derive(Debug, thiserror::Error)]
#[error("the method {0} panicked")]
struct Panicked(&'static str);

/// An answer of the engine that is not one.
#[derive(Debug, thiserror::Error)]
#[error("the answer of {method} cannot be read")]
struct Unreadable {
    method: &'static str,
    #[source]
    source: serde_json::Error,
}

/// What the engine made of a call: the result or the error object, and what follows.
type Outcome = Result<(Body, Option<Notifications>), Fault>;

impl Dispatch {
    /// Makes one call.
    pub async fn call(&self, call: Call, sender: &Sender) -> Answer {
        let began = Instant::now();
        let Call { id, method: name, params } = call;
        let row = self.table.get(&name);
        let known = row.map_or(metrics::UNKNOWN, |row| row.name);
        let transport = if sender.socket.is_some() { "ws" } else { "http" };
        let span = tracing::info_span!(
            "jsonrpc",
            otel.name = known,
            service = "gateway",
            rpc.system = "jsonrpc",
            rpc.method = known,
            request.id = %sender.request_id,
            transport,
        );
        let is_notification = id.is_none();
        let outcome =
            self.admitted(row, &name, params.as_deref(), sender, is_notification).instrument(span).await;
        let answer = match outcome {
            Ok((body, notifications)) => {
                Answer { id, http: 200, retry_after_secs: None, body, notifications }
            }
            Err(fault) => Answer::fault(id, &fault, &sender.request_id),
        };
        let code = code(&answer.body);
        if let Some(row) = row.filter(|row| row.audit == Audit::Mutation) {
            let key = sender.credential.key_id();
            tracing::info!(key, code, request.id = %sender.request_id, "{} was asked for by key {key}", row.name);
        }
        metrics::call(known, transport, code, began.elapsed());
        answer
    }

    async fn admitted(
        &self,
        row: Option<&'static Method>,
        name: &str,
        params: Option<&RawValue>,
        sender: &Sender,
        is_notification: bool,
    ) -> Outcome {
        // Names that do not exist cost as well, or guessing would be free.
        self.quotas.spend(&sender.credential, sender.peer, row.map_or(1, |row| row.cost))?;
        let callback = self.methods.method(name);
        let (Some(row), Some(callback)) = (row, callback) else {
            // The name is theirs, and may be anything: it is not repeated.
            return Err(Refusal::new(&generic::METHOD_NOT_FOUND, "there is no such method here").into());
        };
        access::authorise(row, &sender.credential)?;
        if is_notification && matches!(callback, MethodCallback::Subscription(_)) {
            // Nobody would learn its id, so nobody could end it.
            return Err(
                Refusal::new(&TRANSPORT_UNSUPPORTED, "a subscription needs a request with an id").into()
            );
        }
        let work = AssertUnwindSafe(self.engine(row, callback, params, sender)).catch_unwind();
        let done = match row.deadline.limit() {
            None => work.await,
            Some(limit) => {
                let until = tokio::time::Instant::now() + limit;
                tokio::time::timeout_at(until, budget::within(until, work)).await.map_err(|_| {
                    Refusal::new(&generic::DEADLINE, "the time allowed for the method has run out")
                })?
            }
        };
        let (body, notifications) = done.map_err(|_| internal(&Panicked(row.name)))??;
        if body.as_ref().map_or_else(|error| error.get().len(), |result| result.get().len())
            > RESPONSE_BYTES_MAX
        {
            return Err(too_large());
        }
        Ok((body, notifications))
    }

    /// Hands the call to jsonrpsee. Ids stay with us: it knows fewer kinds of them.
    async fn engine(
        &self,
        row: &'static Method,
        callback: &MethodCallback,
        params: Option<&RawValue>,
        sender: &Sender,
    ) -> Outcome {
        let principal = match &sender.credential {
            Credential::Key(principal) => Some(principal.clone()),
            Credential::None | Credential::Bad(_) => None,
        };
        let mut extensions = Extensions::new();
        extensions.insert(Caller { request_id: Arc::clone(&sender.request_id), principal });
        let given = Params::new(params.map(RawValue::get)).into_owned();
        let connection = sender.socket.as_ref().map_or(ConnectionId(0), |socket| socket.id);
        let response = match callback {
            MethodCallback::Sync(call) => call(EngineId::Null, given, usize::MAX, extensions),
            MethodCallback::Async(call) => {
                call(EngineId::Null, given, connection, usize::MAX, extensions).await
            }
            MethodCallback::Subscription(call) => {
                let socket = sender.socket.as_ref().ok_or_else(|| over_http(SUBSCRIBE))?;
                let permit = socket.subscriptions.acquire().ok_or_else(exhausted)?;
                let (queue, mut notifications) = mpsc::channel(SUBSCRIPTION_QUEUE);
                let ids = RandomStringIdProvider::new(SUBSCRIPTION_ID_CHARS);
                let state =
                    SubscriptionState { conn_id: connection, id_provider: &ids, subscription_permit: permit };
                let opening: BoxFuture<'_, MethodResponse> =
                    call(EngineId::Null, given, MethodSink::new(queue), state, extensions);
                let response = opening.await;
                // The first message is the answer itself, which we send in our own way.
                let _ = notifications.recv().await;
                return read(row, &response.to_json())
                    .map(|body| (body, response.is_success().then_some(notifications)));
            }
            MethodCallback::Unsubscription(call) => {
                if sender.socket.is_none() {
                    return Err(over_http(UNSUBSCRIBE));
                }
                let id = Args::read(params.map(RawValue::get), UNSUBSCRIBE_PARAMS)?.text("subscription");
                let by_position = json!([id]).to_string();
                call(
                    EngineId::Null,
                    Params::new(Some(&by_position)).into_owned(),
                    connection,
                    usize::MAX,
                    extensions,
                )
            }
        };
        read(row, &response.to_json()).map(|body| (body, None))
    }
}

/// Takes the engine's answer out of its envelope.
fn read(row: &'static Method, json: &RawValue) -> Result<Body, Fault> {
    #[derive(Deserialize)]
    struct Response<'a> {
        #[serde(borrow)]
        result: Option<&'a RawValue>,
        #[serde(borrow)]
        error: Option<&'a RawValue>,
    }
    let Response { result, error } = serde_json::from_str(json.get())
        .map_err(|source| internal(&Unreadable { method: row.name, source }))?;
    Ok(match (result, error) {
        (_, Some(error)) => Err(error.to_owned()),
        (Some(result), None) => Ok(result.to_owned()),
        (None, None) => Ok(RawValue::NULL.to_owned()),
    })
}

/// Code of an error object, 0 for a result.
fn code(body: &Body) -> i32 {
    #[derive(Deserialize)]
    struct Coded {
        code: i32,
    }
    match body {
        Ok(_) => 0,
        Err(error) => {
            serde_json::from_str::<Coded>(error.get()).map_or(generic::INTERNAL.jsonrpc, |error| error.code)
        }
    }
}

/// More than may be answered at once.
pub fn too_large() -> Fault {
    Refusal::new(&generic::RESPONSE_TOO_LARGE, "the answer is too large")
        .meta("bytesMax", RESPONSE_BYTES_MAX)
        .into()
}

fn over_http(method: &str) -> Fault {
    Refusal::new(&TRANSPORT_UNSUPPORTED, format!("{method} needs a WebSocket")).into()
}

fn exhausted() -> Fault {
    Refusal::new(&SUBSCRIPTIONS_EXHAUSTED, "the connection has all the subscriptions it may have")
        .meta("subscriptionsMax", SUBSCRIPTIONS_PER_SOCKET_MAX)
        .into()
}

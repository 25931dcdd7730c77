//! The way of one call through the server: the same steps in the same order for every method.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, Status};
use tower::Service;
use tracing::{Instrument, Span};

use super::body::{Capped, Open, Watched};
use super::call::{Call, Instruments};
use super::{BUILT_IN_ROWS, BULK_CALLS_MAX, BULK_QUEUE_MAX, CALLS_MAX, HEALTH_NAME, STREAMS_MAX, status};
use crate::budget;
use crate::errors::{Refusal, failure, generic};
use crate::identity::Identity;
use crate::methods::{Deadline, Method, Table};
use crate::trace_headers::continue_trace;

/// The label of everything that is not in the table, so that random names make one series.
const UNKNOWN: &str = "unknown";

/// When a caller whose call was shed may come back; calls in flight last about this long.
const SHED_RETRY: Duration = Duration::from_millis(500);

/// Who is on the other end of a connection, and when its streams must end.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub identity: Identity,
    pub ending: CancellationToken,
}

/// The server behind the handshake; clones share everything.
#[derive(Clone)]
pub(super) struct Edge {
    routes: Routes,
    shared: Arc<Shared>,
}

struct Shared {
    service: String,
    table: Table,
    built_in: Table,
    instruments: Arc<Instruments>,
    calls: Arc<Semaphore>,
    bulk_queue: Arc<Semaphore>,
    bulk_turns: Semaphore,
    streams: Arc<Semaphore>,
}

/// A call that may begin.
struct Admission {
    method: &'static Method,
    until: Option<Instant>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Edge {
    pub fn new(service: String, table: Table, routes: Routes) -> Self {
        let shared = Shared {
            instruments: Arc::new(Instruments::new(service.clone())),
            service,
            table,
            built_in: Table::new(&BUILT_IN_ROWS),
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
            bulk_queue: Arc::new(Semaphore::new(BULK_QUEUE_MAX)),
            bulk_turns: Semaphore::new(BULK_CALLS_MAX),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        };
        Self { routes, shared: Arc::new(shared) }
    }

    /// Answers one call. Nothing that can go wrong in it reaches the connection.
    pub async fn handle(self, request: Request<Incoming>, caller: Caller) -> Response<Body> {
        let method = self.shared.method(request.uri().path());
        let call = Call::begin(&self.shared.instruments, method.map_or(UNKNOWN, |row| row.name));
        let span = self.shared.span(method, &caller.identity, request.headers());
        self.answer(request, method, caller, call).instrument(span).await
    }

    async fn answer(
        mut self,
        mut request: Request<Incoming>,
        method: Option<&'static Method>,
        caller: Caller,
        call: Call,
    ) -> Response<Body> {
        let admitted = self.shared.admit(method, &caller.identity, request.headers());
        let Admission { method, until, permit } = match admitted {
            Ok(admission) => admission,
            Err(refusal) => return only_status(call, refusal.status()),
        };
        request.extensions_mut().insert(caller.identity);
        let request = request.map(|incoming| Body::new(Capped::new(incoming, method.deadline)));
        let shared = Arc::clone(&self.shared);
        let work = async {
            let _turn = shared.turn(method).await;
            self.routes.call(request).await
        };
        let work = AssertUnwindSafe(work).catch_unwind();
        let done = match until {
            Some(until) => match tokio::time::timeout_at(until, budget::within(until, work)).await {
                Ok(done) => done,
                Err(_) => return only_status(call, status::deadline()),
            },
            None => work.await,
        };
        let response = match done {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(_) => return only_status(call, failure(&format!("{} panicked", method.name))),
        };
        if let Some(status) = Status::from_header_map(response.headers()) {
            return only_status(call, status::corrected(status, method.deadline));
        }
        let ending = (method.deadline == Deadline::Stream).then_some(caller.ending);
        let open = Open { call, span: Span::current(), permit };
        response.map(|body| Body::new(Watched::new(body, method.deadline, open, until, ending)))
    }
}

impl Shared {
    fn method(&self, path: &str) -> Option<&'static Method> {
        self.table.get(path).or_else(|| self.built_in.get(path))
    }

    fn span(&self, method: Option<&'static Method>, identity: &Identity, headers: &HeaderMap) -> Span {
        let name = method.map_or(UNKNOWN, |row| row.name);
        let span = tracing::info_span!(
            "rpc",
            otel.name = name,
            otel.kind = "server",
            service = self.service,
            rpc.system = "grpc",
            rpc.method = name,
            identity = %identity,
            rpc.grpc.status_code = tracing::field::Empty,
        );
        continue_trace(&span, headers);
        span
    }

    fn admit(
        &self,
        method: Option<&'static Method>,
        identity: &Identity,
        headers: &HeaderMap,
    ) -> Result<Admission, Refusal> {
        let Some(method) = method else {
            return Err(Refusal::new(&generic::METHOD_NOT_FOUND, "there is no such method here"));
        };
        if !method.access.admits(identity.as_str()) {
            self.instruments.deny(method.name);
            tracing::warn!(identity = %identity, "{identity} may not call {}", method.name);
            let text = format!("{identity} may not call {}", method.name);
            return Err(Refusal::new(&generic::PERMISSION_DENIED, text)
                .meta("identity", identity)
                .meta("method", method.name));
        }
        let asked = budget::of_headers(headers);
        let allowed = match (method.deadline.limit(), asked) {
            (Some(limit), Some(asked)) => Some(limit.min(asked)),
            (limit, asked) => limit.or(asked),
        };
        if allowed.is_some_and(|allowed| allowed.is_zero()) {
            return Err(Refusal::new(&generic::DEADLINE, "the request arrived after its deadline"));
        }
        let until = allowed.and_then(|allowed| Instant::now().checked_add(allowed));
        Ok(Admission { method, until, permit: self.permit(method)? })
    }

    /// The turn of a bulk call, which waits for it within its deadline; others need none.
    async fn turn(&self, method: &Method) -> Option<SemaphorePermit<'_>> {
        match method.deadline {
            Deadline::Bulk => self.bulk_turns.acquire().await.ok(),
            Deadline::Read | Deadline::Write | Deadline::Stream => None,
        }
    }

    /// A place among the calls in flight. Health is asked when we are busy, and must be answered then.
    fn permit(&self, method: &Method) -> Result<Option<OwnedSemaphorePermit>, Refusal> {
        if method.name.strip_prefix('/').is_some_and(|name| name.starts_with(HEALTH_NAME)) {
            return Ok(None);
        }
        let places = match method.deadline {
            Deadline::Read | Deadline::Write => &self.calls,
            Deadline::Bulk => &self.bulk_queue,
            Deadline::Stream => &self.streams,
        };
        match Arc::clone(places).try_acquire_owned() {
            Ok(permit) => Ok(Some(permit)),
            Err(_) => Err(Refusal::new(&generic::OVERLOADED, "this replica has all the work it takes")
                .retry_after(SHED_RETRY)),
        }
    }
}

/// An answer that is a status and nothing else.
fn only_status(call: Call, status: Status) -> Response<Body> {
    Span::current().record("rpc.grpc.status_code", super::call::name(status.code()));
    if status.code() != Code::Ok {
        tracing::debug!("answered {:?}: {}", status.code(), status.message());
    }
    call.finish(status.code());
    status.into_http()
}

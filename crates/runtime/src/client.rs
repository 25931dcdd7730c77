//! Calls to another service of ours: mutual TLS, a trace and a shrinking deadline on each call, and
//! retries only where the method table says that they are harmless.

mod retry;

use std::convert::Infallible;
use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};
use tower::{Service, ServiceExt};
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::budget;
use crate::errors::{Refusal, generic, refusal_of};
use crate::methods::{Deadline, Table};
use crate::tls::Tls;
use crate::trace_headers::Sent;

/// How long a connection may take to be made; on a local network it takes milliseconds.
const CONNECT_WAIT: Duration = Duration::from_secs(2);

/// Pings on silent connections, and how long an answer may take. Servers cut clients that ping more
/// often than every 10 s.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_WAIT: Duration = Duration::from_secs(20);

/// When to ask again for a peer that cannot be reached.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(1);

/// A service of ours as a tower service: `XClient::new(peer)`. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Peer {
    channel: Channel,
    service: Arc<str>,
    methods: Arc<Table>,
    retries: Arc<retry::Budget>,
}

/// The service `peer_service` at `target` (`host:port`). Connects when first used, and again after
/// each loss, with the certificates of that moment.
///
/// Without `Peer::with_methods` nothing is retried and only the deadline at hand is passed on.
pub fn channel(target: impl Display, peer_service: &str, tls: Arc<Tls>) -> Peer {
    let service: Arc<str> = peer_service.into();
    let (target, name): (Arc<str>, _) = (target.to_string().into(), Arc::clone(&service));
    let connector = tower::service_fn(move |_: Uri| {
        let (target, name, tls) = (Arc::clone(&target), Arc::clone(&name), Arc::clone(&tls));
        async move { connect(&target, &name, &tls).await.map(TokioIo::new) }
    });
    // The address is the business of the connector; the URI only satisfies HTTP.
    let channel = Endpoint::from_static("http://peer")
        .connect_timeout(CONNECT_WAIT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_WAIT)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(connector);
    Peer { channel, service, methods: Arc::default(), retries: Arc::default() }
}

impl Peer {
    /// The same peer with the method table, which says what may be retried and how long calls take.
    #[must_use]
    pub fn with_methods(mut self, methods: Table) -> Self {
        self.methods = Arc::new(methods);
        self
    }

    async fn send(self, request: Request<Body>) -> Response<Body> {
        let method = self.methods.get(request.uri().path());
        let Ok(until) = self.until(method.and_then(|row| row.deadline.limit()), &request) else {
            return deadline().into_http();
        };
        let repeatable = method.is_some_and(|row| row.idempotent && row.deadline != Deadline::Stream);
        let answer = if repeatable {
            self.send_until_answered(request, until).await
        } else {
            self.attempt(request, until).await
        };
        answer.unwrap_or_else(Status::into_http)
    }

    /// When this call must be answered: the least of what the request says, what is left for the work
    /// in hand minus our share, and the class of the method.
    fn until(&self, limit: Option<Duration>, request: &Request<Body>) -> Result<Option<Instant>, ()> {
        let now = Instant::now();
        let mut allowed = limit;
        for more in [
            budget::of_headers(request.headers()),
            budget::remaining().map(|left| left.saturating_sub(budget::HOP_SHAVE)),
        ]
        .into_iter()
        .flatten()
        {
            allowed = Some(allowed.map_or(more, |least| least.min(more)));
        }
        match allowed {
            Some(left) if left.is_zero() => Err(()),
            Some(left) => Ok(now.checked_add(left)),
            None => Ok(None),
        }
    }

    async fn send_until_answered(
        &self,
        request: Request<Body>,
        until: Option<Instant>,
    ) -> Result<Response<Body>, Status> {
        let (parts, body) = request.into_parts();
        let body: Bytes = body.collect().await?.to_bytes();
        let mut tries = retry::Tries::default();
        let mut before = None;
        loop {
            let request = Request::from_parts(parts.clone(), Body::new(Full::new(body.clone())));
            let answer = self.attempt(request, until).await;
            if let Some(before) = before.filter(|_| status_in(&answer, Code::DeadlineExceeded).is_some()) {
                // Why it was away says more than that it has not come back in time.
                return before;
            }
            let Some(status) = status_in(&answer, Code::Unavailable) else {
                self.retries.succeeded();
                return answer;
            };
            self.retries.failed();
            let pushed_back = refusal_of(&status).and_then(|refusal| refusal.retry_after);
            let Some(wait) = tries.next(pushed_back).filter(|_| self.retries.allows()) else {
                return answer;
            };
            if until.is_some_and(|until| Instant::now() + wait >= until) {
                return answer;
            }
            tracing::debug!(peer = %self.service, "{} is unavailable, asking again", self.service);
            tokio::time::sleep(wait).await;
            before = Some(answer);
        }
    }

    async fn attempt(
        &self,
        mut request: Request<Body>,
        until: Option<Instant>,
    ) -> Result<Response<Body>, Status> {
        if let Some(until) = until {
            let left = until.saturating_duration_since(Instant::now());
            request.headers_mut().insert(budget::GRPC_TIMEOUT, budget::to_header(left));
        }
        let context = Span::current().context();
        opentelemetry::global::get_text_map_propagator(|w3c| {
            w3c.inject_context(&context, &mut Sent(request.headers_mut()));
        });
        let mut channel = self.channel.clone();
        let call = async move { channel.ready().await?.call(request).await };
        let answer = match until {
            Some(until) => tokio::time::timeout_at(until, call).await.map_err(|_| deadline())?,
            None => call.await,
        };
        match answer {
            Ok(response) => {
                let service = Arc::clone(&self.service);
                let broken = move |_| unreachable(&service);
                Ok(response.map(|body| Body::new(body.map_err(broken))))
            }
            Err(error) if timed_out(&error) => Err(deadline()),
            Err(error) => {
                let cause = crate::report(&error);
                tracing::warn!(peer = %self.service, "{} cannot be reached: {cause}", self.service);
                Err(unreachable(&self.service))
            }
        }
    }
}

impl Service<Request<Body>> for Peer {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Generated clients answer UNKNOWN when a service is not ready; what is wrong is said by `call`.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let span = tracing::info_span!(
            "call",
            otel.name = request.uri().path(),
            otel.kind = "client",
            rpc.system = "grpc",
            peer = %self.service,
        );
        let peer = self.clone();
        Box::pin(async move { Ok(peer.send(request).await) }.instrument(span))
    }
}

/// Why a connection was not made; tonic keeps it as the source of its own error.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("our own certificates")]
    Tls(#[from] crate::tls::Error),
    #[error("the name of the service")]
    Name(#[from] rustls_pki_types::InvalidDnsNameError),
    #[error("connecting")]
    Connect(#[from] std::io::Error),
}

async fn connect(target: &str, service: &str, tls: &Tls) -> Result<TlsStream<TcpStream>, ConnectError> {
    let config = tls.client_config(service)?;
    let name = ServerName::try_from(service.to_owned())?;
    // By name, so that each connection sees what DNS says now.
    let stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
}

/// The status of an answer, if it has this code.
fn status_in(answer: &Result<Response<Body>, Status>, code: Code) -> Option<Status> {
    let status = match answer {
        Ok(response) => Status::from_header_map(response.headers())?,
        Err(status) => status.clone(),
    };
    (status.code() == code).then_some(status)
}

/// Whether tonic itself gave up, by the header that we set.
fn timed_out(error: &tonic::transport::Error) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if cause.is::<tonic::TimeoutExpired>() {
            return true;
        }
        source = cause.source();
    }
    false
}

fn deadline() -> Status {
    Refusal::new(&generic::DEADLINE, "the time allowed for the request has run out").status()
}

fn unreachable(service: &str) -> Status {
    Refusal::new(&generic::PEER_UNAVAILABLE, format!("the {service} service cannot be reached"))
        .meta("peer", service)
        .retry_after(UNAVAILABLE_RETRY)
        .status()
}

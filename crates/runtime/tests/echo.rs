//! A tiny service made by hand: text in, text out; the text says what to do.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt;
use http::uri::PathAndQuery;
use runtime::client::{Peer, channel};
use runtime::errors::{Refusal, generic};
use runtime::health::Health;
use runtime::methods::{Access, Audit, Deadline, Method, Table};
use runtime::server::{GrpcServer, identity};
use runtime::shutdown::Shutdown;
use runtime::tls::Tls;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::pki::Authority;

pub const SAY: &str = "/test.Echo/Say";
pub const ASK: &str = "/test.Echo/Ask";
pub const SECRET: &str = "/test.Echo/Secret";
pub const WATCH: &str = "/test.Echo/Watch";
pub const STORE: &str = "/test.Echo/Store";

const fn row(name: &'static str, access: Access, deadline: Deadline, idempotent: bool) -> Method {
    Method { name, access, cost: 1, deadline, idempotent, audit: Audit::None }
}

static ROWS: [Method; 5] = [
    row(SAY, Access::Public, Deadline::Write, false),
    row(ASK, Access::Public, Deadline::Write, true),
    row(SECRET, Access::Identities(&["lifecycle"]), Deadline::Read, false),
    row(WATCH, Access::Public, Deadline::Stream, false),
    row(STORE, Access::Public, Deadline::Bulk, false),
];

pub fn table() -> Table {
    Table::new(&ROWS)
}

#[derive(Clone, Default)]
pub struct Echo {
    /// Calls that have reached the service.
    pub calls: Arc<AtomicUsize>,
    pub next: Option<Peer>,
}

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl Echo {
    async fn answer(self, request: Request<String>) -> Result<Response<String>, Status> {
        let calls = self.calls.fetch_add(1, Ordering::SeqCst);
        let text = match request.get_ref().as_str() {
            "identity" => identity(&request).0,
            "budget" => runtime::budget::remaining().unwrap_or_default().as_micros().to_string(),
            "lost" if calls == 0 => {
                return Err(Refusal::new(&generic::DATABASE_UNAVAILABLE, "it is away").status());
            }
            "hang" | "lost" => std::future::pending().await,
            "panic" => panic!("on purpose"),
            "leak" => return Err(Status::internal("password=hunter2")),
            "large" => "x".repeat(runtime::server::RESPONSE_BYTES_MAX - 4),
            "flaky" if calls < 2 => {
                return Err(Refusal::new(&generic::DATABASE_UNAVAILABLE, "not yet").status());
            }
            text => match (text.strip_prefix("relay "), self.next) {
                (Some(inner), Some(next)) => call(next, SAY, inner).await?,
                _ => text.to_owned(),
            },
        };
        Ok(Response::new(text))
    }
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<String, String>::default());
            if request.uri().path() == WATCH {
                let watch = tower::service_fn(|request: Request<String>| async move {
                    let first = futures::stream::iter([Ok::<_, Status>(request.into_inner())]);
                    Ok::<_, Status>(Response::new(first.chain(futures::stream::pending())))
                });
                return Ok(grpc.server_streaming(watch, request).await);
            }
            let unary = tower::service_fn(move |request| echo.clone().answer(request));
            Ok(grpc.unary(unary, request).await)
        })
    }
}

/// A running server; it stops when the test drops it.
pub struct Running {
    pub address: SocketAddr,
    pub shutdown: Shutdown,
    pub health: Health,
    pub echo: Echo,
    pub served: tokio::task::JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.stop();
    }
}

pub async fn serve(service: &'static str, tls: Arc<Tls>, next: Option<Peer>) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (shutdown, health) = (Shutdown::new(), Health::new());
    let echo = Echo { calls: Arc::default(), next };
    let server = GrpcServer::builder(service, listener, tls, table(), health.clone()).add(echo.clone(), &[]);
    let stop = shutdown.clone();
    let served = tokio::spawn(async move { server.serve(stop).await.expect("a good server") });
    Running { address, shutdown, health, echo, served }
}

/// A server of the service `keys` and a peer that calls it as `caller`.
pub async fn pair(caller: &str) -> (Running, Peer) {
    let authority = Authority::new();
    let running = serve("keys", authority.tls("keys"), None).await;
    let peer = channel(running.address, "keys", authority.tls(caller)).with_methods(table());
    (running, peer)
}

pub async fn call(peer: Peer, path: &'static str, text: &str) -> Result<String, Status> {
    send(peer, path, Request::new(text.to_owned())).await
}

pub async fn call_within(
    peer: Peer,
    path: &'static str,
    text: &str,
    timeout: Duration,
) -> Result<String, Status> {
    let mut request = Request::new(text.to_owned());
    request.set_timeout(timeout);
    send(peer, path, request).await
}

async fn send(peer: Peer, path: &'static str, request: Request<String>) -> Result<String, Status> {
    let mut grpc = tonic::client::Grpc::new(peer)
        .max_decoding_message_size(usize::MAX)
        .max_encoding_message_size(usize::MAX);
    grpc.ready().await.expect("a peer is always ready");
    let codec = ProstCodec::<String, String>::default();
    grpc.unary(request, PathAndQuery::from_static(path), codec).await.map(Response::into_inner)
}

pub async fn watch(peer: Peer, text: &str) -> Result<tonic::Streaming<String>, Status> {
    let mut grpc = tonic::client::Grpc::new(peer);
    grpc.ready().await.expect("a peer is always ready");
    let codec = ProstCodec::<String, String>::default();
    let request = Request::new(text.to_owned());
    grpc.server_streaming(request, PathAndQuery::from_static(WATCH), codec).await.map(Response::into_inner)
}

/// Looks again and again until it is true, for at most ten seconds.
pub async fn wait_until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    const LOOK_EVERY: Duration = Duration::from_millis(10);
    let looking = async {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        while !holds().await {
            looks.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), looking).await.unwrap_or_else(|_| panic!("never: {what}"));
}

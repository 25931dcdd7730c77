//! Connections: handshake, identity, age. What happens on them is the work of `edge`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::edge::{Caller, Edge};
use crate::identity;
use crate::shutdown::{STOP_WAIT, Shutdown};
use crate::tls::Tls;

/// Connections at once; more wait in the backlog of the kernel.
const CONNECTIONS_MAX: usize = 1024;

/// A peer that does not finish its handshake by then is broken or hostile.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);

/// How long to wait when the system refuses to accept (no file descriptors, mostly).
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Pings on silent connections, and how long an answer may take.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_WAIT: Duration = Duration::from_secs(20);

/// Old connections are closed so that clients spread over replicas and see new certificates;
/// a tenth more or less keeps them from coming back all at once.
const CONNECTION_AGE: Duration = Duration::from_secs(30 * 60);
const CONNECTION_AGE_JITTER: f64 = 0.1;

/// How long streams may stay on a connection that is too old.
const CONNECTION_GRACE: Duration = Duration::from_secs(60);

/// Streams of one connection at once.
const STREAMS_PER_CONNECTION_MAX: u32 = 256;

/// Headers of one call; ours are a trace context and a deadline.
const HEADER_BYTES_MAX: u32 = 16 * 1024;

/// Accepts until the stop, then waits for the connections to end.
pub(super) async fn run(listener: TcpListener, tls: Arc<Tls>, edge: Edge, shutdown: &Shutdown) {
    let connections = TaskTracker::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    tokio::select! {
        () = accept(&listener, &tls, &edge, shutdown, &connections, &room) => {}
        () = shutdown.stopped() => {}
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(STOP_WAIT, connections.wait()).await.is_err() {
        tracing::warn!("{} connections did not end in time and are cut", connections.len());
    }
}

async fn accept(
    listener: &TcpListener,
    tls: &Arc<Tls>,
    edge: &Edge,
    shutdown: &Shutdown,
    connections: &TaskTracker,
    room: &Arc<Semaphore>,
) {
    // The semaphore is never closed, so this loop ends only by being dropped.
    while let Ok(place) = Arc::clone(room).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (tls, edge, shutdown) = (Arc::clone(tls), edge.clone(), shutdown.clone());
                connections.spawn(async move { connection(stream, &tls, edge, &shutdown, place).await });
            }
            Err(error) => {
                tracing::warn!("a connection was not accepted: {error}");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    tls: &Tls,
    edge: Edge,
    shutdown: &Shutdown,
    _place: OwnedSemaphorePermit,
) {
    // Without it small answers wait for the acknowledgement of earlier ones.
    let _ = stream.set_nodelay(true);
    let handshake = TlsAcceptor::from(tls.server_config()).accept(stream);
    let stream = match tokio::time::timeout(HANDSHAKE_WAIT, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!("a TLS handshake failed: {error}"),
        Err(_) => return tracing::debug!("a TLS handshake took too long"),
    };
    let caller = match caller(&stream, tls) {
        Ok(caller) => caller,
        Err(error) => return tracing::warn!("a client with a valid certificate is nobody: {error}"),
    };
    serve(stream, caller, edge, shutdown).await;
}

fn caller(stream: &TlsStream<TcpStream>, tls: &Tls) -> Result<Caller, identity::Error> {
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let leaf = certificates.first().ok_or(identity::Error::Unreadable)?;
    let identity = identity::of_certificate(leaf, tls.trust_domain())?;
    Ok(Caller { identity, ending: CancellationToken::new() })
}

async fn serve(stream: TlsStream<TcpStream>, caller: Caller, edge: Edge, shutdown: &Shutdown) {
    let ending = caller.ending.clone();
    let service = service_fn(move |request| {
        let (edge, caller) = (edge.clone(), caller.clone());
        async move { Ok::<_, Infallible>(edge.handle(request, caller).await) }
    });
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_WAIT)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        // A client that gives up all of its calls at once is not an attack.
        .max_pending_accept_reset_streams(STREAMS_PER_CONNECTION_MAX as usize)
        .max_header_list_size(HEADER_BYTES_MAX);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let end = async {
        let mut stopped = std::pin::pin!(shutdown.stopped());
        tokio::select! {
            () = tokio::time::sleep(age()) => {}
            () = &mut stopped => return false,
        }
        true
    };
    tokio::select! {
        result = &mut connection => return log_end(result),
        aged = end => {
            connection.as_mut().graceful_shutdown();
            if !aged {
                ending.cancel();
            }
        }
    }
    let grace = async {
        tokio::select! {
            () = tokio::time::sleep(CONNECTION_GRACE) => {}
            () = shutdown.stopped() => {}
        }
        // Streams end with a status of ours, after which the connection has nothing left to do.
        ending.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = &mut connection => log_end(result),
        () = grace => {}
    }
}

fn log_end(result: Result<(), hyper::Error>) {
    if let Err(error) = result {
        tracing::debug!("a connection broke: {}", crate::report(&error));
    }
}

fn age() -> Duration {
    CONNECTION_AGE.mul_f64(1.0 + CONNECTION_AGE_JITTER * (rand::random::<f64>() * 2.0 - 1.0))
}

//! Connections of the public port: bounded in number, in the time their headers may take, and in the time they may
//! outlive the stop.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use runtime::shutdown::{STOP_WAIT, Shutdown};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

use super::{Peer, Place};
use crate::limits::{ACCEPT_BACKOFF, CONNECTIONS_MAX, READ_WAIT};

/// Serves until the stop, then until the connections have ended.
pub async fn serve(listener: TcpListener, router: Router, shutdown: &Shutdown) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    tokio::select! {
        () = accept(&listener, &router, shutdown, &room) => {}
        () = shutdown.stopped() => {}
    }
    drop(listener);
    // All places are free again when all connections have ended.
    let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
    if tokio::time::timeout(STOP_WAIT, room.acquire_many(all)).await.is_err() {
        tracing::warn!("some connections did not end in time and are cut");
    }
}

async fn accept(listener: &TcpListener, router: &Router, shutdown: &Shutdown, room: &Arc<Semaphore>) {
    // The semaphore is never closed, so this loop ends only by being dropped.
    while let Ok(place) = Arc::clone(room).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, address)) => {
                tokio::spawn(connection(stream, Peer(address), router.clone(), shutdown.clone(), place));
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
    peer: Peer,
    router: Router,
    shutdown: Shutdown,
    place: OwnedSemaphorePermit,
) {
    // Without it small answers wait for the acknowledgement of earlier ones.
    let _ = stream.set_nodelay(true);
    // Shared with every request: an upgraded socket keeps the place when its HTTP part has ended.
    let place = Place(Arc::new(place));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (router, place) = (router.clone(), place.clone());
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(place);
        async move {
            let response = router.oneshot(request).await;
            Ok::<_, Infallible>(response.unwrap_or_else(|never| match never {}))
        }
    });
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_WAIT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut http = std::pin::pin!(http);
    let mut stopped = std::pin::pin!(shutdown.stopped());
    let mut stopping = false;
    loop {
        tokio::select! {
            result = &mut http => {
                if let Err(error) = result {
                    tracing::debug!("a connection broke: {}", runtime::report(&error));
                }
                return;
            }
            () = &mut stopped, if !stopping => {
                stopping = true;
                http.as_mut().graceful_shutdown();
            }
        }
    }
}

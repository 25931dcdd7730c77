//! The port: connections, HTTP requests, and the faults of the way between.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes, to_bytes},
    http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header},
};
use futures::stream;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rand::{RngExt, rngs::StdRng};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};

use super::{
    Luck, Shared,
    exchange::{View, exchange},
    fate::{Fate, asked},
    faults::Faults,
    socket,
    upstream::{ANSWER_BYTES_MAX, UpstreamError},
};

/// Far more than a client under test opens, and within what a test machine has of open files.
const CONNECTIONS_MAX: usize = 8_192;
/// A batch of 10,000 calls has 2 MB.
const REQUEST_BYTES_MAX: usize = 16 << 20;
/// When the machine is out of sockets, another moment may have one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is dropped")]
struct Dropped;

/// What a connection has of the proxy.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) shared: Arc<Shared>,
    pub(super) cuts: watch::Receiver<()>,
    // One of `CONNECTIONS_MAX`, for as long as anything of the connection lives.
    _permit: Arc<OwnedSemaphorePermit>,
}

pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>, mut cuts: watch::Receiver<()>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = places.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            cut = cuts.changed() => match cut {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let mut cuts = cuts.clone();
        // A cut is for connections that were there.
        cuts.mark_unchanged();
        tokio::spawn(connection(stream, Place { shared: shared.clone(), cuts, _permit: Arc::new(permit) }));
    }
}

async fn connection(stream: TcpStream, place: Place) {
    // Without it answers wait for acknowledgements; a socket that cannot do it still works.
    let _ = stream.set_nodelay(true);
    let mut cuts = place.cuts.clone();
    let service = service_fn(|request| serve(place.clone(), request));
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::select! {
        // How it ended is for the client to find out.
        _ = served => {}
        _ = cuts.changed() => {}
    }
}

async fn serve(place: Place, request: Request<Incoming>) -> Result<Response<Body>, Dropped> {
    if socket::is_wanted(&request) {
        return Ok(socket::open(place, request).await);
    }
    let shared = &place.shared;
    let body = to_bytes(Body::new(request.into_body()), REQUEST_BYTES_MAX).await.map_err(|_| Dropped)?;
    let Luck { faults, mut rng, lag } = {
        let asked = asked(&body);
        shared.counts().http += 1;
        shared.count_calls(&asked);
        shared.luck(&asked)
    };
    let way = Way::draw(&faults, &mut rng);
    if !way.wait.is_zero() {
        tokio::time::sleep(way.wait).await;
    }
    for fault in way.tallied {
        shared.tally(fault, 1);
    }
    match way.end {
        End::Dropped => return Err(Dropped),
        End::Status(status, headers) => {
            let mut response = Response::new(Body::empty());
            (*response.status_mut(), *response.headers_mut()) = (status, headers);
            return Ok(response);
        }
        End::Cut | End::Whole => {}
    }
    let answer = answer(shared, &faults, lag, &mut rng, body).await;
    let response = answer.unwrap_or_else(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    });
    if matches!(way.end, End::Cut) { cut(response).await } else { Ok(response) }
}

/// The answer of the node, as it comes or, if a fault touches one of its calls, changed.
async fn answer(
    shared: &Shared,
    faults: &Faults,
    lag: Option<u64>,
    rng: &mut StdRng,
    body: Bytes,
) -> Result<Response<Body>, UpstreamError> {
    let fates: Vec<Fate> =
        asked(&body).iter().map(|one| Fate::of(&one.method, faults, lag.is_some(), rng)).collect();
    let is_touched = fates.iter().any(|fate| fate.is_touched) || (faults.reorder && fates.len() > 1);
    let (head, body) = if is_touched {
        if lag.is_some() {
            shared.tally("stale", 1);
        }
        let view = View::new(shared, faults, lag);
        let (head, body) = exchange(view, fates, &body, rng).await?.into_parts();
        (head, Body::from(body))
    } else {
        let (head, body) = shared.upstream.forward(body).await?.into_parts();
        (head, Body::new(body))
    };
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    // Other headers are about the connection with the node, or about bytes that may have changed.
    let kind = head.headers.get(header::CONTENT_TYPE).cloned();
    let kind = kind.unwrap_or(HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// What happens on the way, whatever the node says.
struct Way {
    wait: Duration,
    end: End,
    tallied: Vec<&'static str>,
}

enum End {
    Whole,
    Cut,
    Dropped,
    Status(StatusCode, HeaderMap),
}

impl Way {
    fn draw(faults: &Faults, rng: &mut StdRng) -> Self {
        let jitter = faults.jitter.mul_f64(rng.random_range(0.0..1.0));
        let stall = faults.stall.filter(|stall| stall.chance.draw(rng));
        let is_dropped = faults.drop.draw(rng);
        let is_cut = faults.cut.draw(rng);
        let drawn: Vec<_> = faults.http_status.iter().filter(|fault| fault.chance.draw(rng)).collect();
        let (end, name) = match drawn.first() {
            _ if is_dropped => (End::Dropped, Some("drop")),
            Some(fault) => {
                let pause = fault.retry_after_secs.map(|secs| (header::RETRY_AFTER, HeaderValue::from(secs)));
                let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                (End::Status(status, pause.into_iter().collect()), Some("http_status"))
            }
            None if is_cut => (End::Cut, Some("cut")),
            None => (End::Whole, None),
        };
        let wait = faults.delay + jitter + stall.map_or(Duration::ZERO, |stall| stall.duration);
        Self { wait, end, tallied: stall.map(|_| "stall").into_iter().chain(name).collect() }
    }
}

/// Half of the bytes that the headers promise.
async fn cut(response: Response<Body>) -> Result<Response<Body>, Dropped> {
    let (mut head, body) = response.into_parts();
    let whole = to_bytes(body, ANSWER_BYTES_MAX).await.map_err(|_| Dropped)?;
    let half = whole.slice(..whole.len() / 2);
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len()));
    let parts = stream::unfold(Some(half), |half| async {
        match half {
            Some(half) => Some((Ok(half), None)),
            None => {
                // What was sent before goes out first.
                tokio::task::yield_now().await;
                Some((Err(Dropped), None))
            }
        }
    });
    Ok(Response::from_parts(head, Body::from_stream(parts)))
}

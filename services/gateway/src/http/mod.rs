//! The public port: which hosts, origins, paths and HTTP methods are served, before any JSON is read.

mod accept;
mod body;
mod post;
mod socket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use api::reasons::{HOST_NOT_ALLOWED, HTTP_METHOD_NOT_ALLOWED, ORIGIN_NOT_ALLOWED, PATH_NOT_FOUND};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use runtime::errors::Refusal;
use runtime::health::Health;
use runtime::shutdown::Shutdown;
use serde_json::{Map, Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::access::Keys;
use crate::dispatch::Dispatch;
use crate::limits::{CORS_MAX_AGE, REQUEST_ID_BYTES_MAX};

pub use accept::serve;

/// The id of a request, theirs or ours, in both directions.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What every request needs.
#[derive(Debug)]
pub struct Edge {
    /// The methods.
    pub dispatch: Dispatch,
    /// The keys.
    pub keys: Keys,
    /// Host names served.
    pub hosts: Vec<String>,
    /// Origins that may call from a browser.
    pub origins: Vec<HeaderValue>,
    /// Health of the process.
    pub health: Health,
    /// Its end.
    pub shutdown: Shutdown,
    /// Numbers for sockets.
    pub sockets: AtomicUsize,
}

/// The address at the other end; `accept` puts it into every request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// A place among the connections; whoever holds it is one.
#[derive(Debug, Clone)]
pub struct Place(#[expect(dead_code, reason = "held, not read")] pub Arc<OwnedSemaphorePermit>);

/// The id of one request.
#[derive(Debug, Clone)]
pub struct RequestId(pub Arc<str>);

/// All routes of the public port.
pub fn router(edge: Arc<Edge>) -> Router {
    let rpc = Router::new()
        .route("/", any(entry))
        .route("/rpc", any(entry))
        .fallback(no_path)
        .layer(middleware::from_fn_with_state(Arc::clone(&edge), admit));
    let probes = Router::new().route("/livez", get(|| async { "ok\n" })).route("/readyz", get(ready));
    // Outermost first: even a refusal has its id and its CORS headers.
    probes.merge(rpc).layer(cors(&edge.origins)).layer(middleware::from_fn(identify)).with_state(edge)
}

/// Gives the request its id and the answer the headers that all answers have.
async fn identify(mut request: Request, next: Next) -> Response {
    let id: Arc<str> =
        taken_over(request.headers()).unwrap_or_else(|| uuid::Uuid::now_v7().to_string()).into();
    request.extensions_mut().insert(RequestId(Arc::clone(&id)));
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The caller's own id, if it can stand in a log line.
fn taken_over(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(REQUEST_ID)?.to_str().ok()?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (!text.is_empty() && text.len() <= REQUEST_ID_BYTES_MAX && text.chars().all(allowed))
        .then(|| text.to_owned())
}

/// Lets through what is meant for us.
async fn admit(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    if serves(&edge.hosts, request.headers(), request.uri()) {
        return next.run(request).await;
    }
    body::refused(&Refusal::new(&HOST_NOT_ALLOWED, "this host is not served here").into(), &id_of(&request))
}

/// Whether the one Host header (and the authority of an absolute URI) names a host of ours.
fn serves(hosts: &[String], headers: &HeaderMap, uri: &Uri) -> bool {
    let mut named = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (named.next(), named.next()) else { return false };
    let listed = |authority: &str| {
        let name = without_port(authority).to_ascii_lowercase();
        hosts.iter().any(|host| host.eq_ignore_ascii_case(&name))
    };
    host.to_str().is_ok_and(listed) && uri.authority().is_none_or(|authority| listed(authority.as_str()))
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => authority,
    }
}

/// Whether a page of this origin may open a socket: CORS does not guard those. Programs send no origin.
fn origin_admitted(edge: &Edge, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    // A page that we served ourselves.
    let own =
        origin.to_str().ok().and_then(|origin| origin.split_once("://")).is_some_and(|(_, at)| at == host);
    own || edge.origins.contains(origin)
}

fn cors(origins: &[HeaderValue]) -> CorsLayer {
    if origins.is_empty() {
        // Sends no header at all: pages of others can read nothing.
        return CorsLayer::new();
    }
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.iter().cloned()))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::CONTENT_TYPE,
            header::AUTHORIZATION,
            REQUEST_ID,
            HeaderName::from_static("x-api-key"),
            HeaderName::from_static("traceparent"),
        ])
        .expose_headers([REQUEST_ID, header::RETRY_AFTER])
        .max_age(CORS_MAX_AGE)
}

/// JSON-RPC: POST is a request, GET with an upgrade a socket, all else a mistake.
async fn entry(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    let id = id_of(&request);
    if request.method() == Method::POST {
        return post::answer(&edge, request, &id).await;
    }
    let upgrades = request.method() == Method::GET && request.headers().contains_key(header::UPGRADE);
    if !upgrades {
        let fault =
            Refusal::new(&HTTP_METHOD_NOT_ALLOWED, "JSON-RPC needs POST, or GET for a WebSocket").into();
        let mut response = body::refused(&fault, &id);
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
        return response;
    }
    if !origin_admitted(&edge, request.headers()) {
        let fault =
            Refusal::new(&ORIGIN_NOT_ALLOWED, "pages of this origin may not open sockets here").into();
        return body::refused(&fault, &id);
    }
    socket::open(edge, request, &id).await
}

async fn no_path(request: Request) -> Response {
    body::refused(&Refusal::new(&PATH_NOT_FOUND, "nothing is served at this path").into(), &id_of(&request))
}

/// Readiness for load balancers. Why a check fails is told on the admin port only.
async fn ready(State(edge): State<Arc<Edge>>) -> Response {
    let snapshot = edge.health.snapshot();
    let draining = snapshot.draining || edge.shutdown.is_draining();
    let ready = snapshot.ready && !draining;
    let checks: Map<String, Value> =
        snapshot.checks.into_iter().map(|(name, result)| (name, json!(result.is_ok()))).collect();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready, "draining": draining, "checks": checks }))).into_response()
}

fn id_of(request: &Request) -> Arc<str> {
    request.extensions().get::<RequestId>().map_or_else(|| "".into(), |RequestId(id)| Arc::clone(id))
}

fn peer_of(request: &Request) -> std::net::IpAddr {
    let unknown = std::net::Ipv4Addr::UNSPECIFIED.into();
    request.extensions().get::<Peer>().map_or(unknown, |Peer(address)| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_host_header_with_a_name_of_ours_is_served() {
        let hosts = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
        let cases: [(&[&str], bool); 9] = [
            (&["localhost"], true),
            (&["LocalHost:7100"], true),
            (&["[::1]:7100"], true),
            (&["[::1]"], true),
            (&["evil.example"], false),
            (&["localhost.evil.example"], false),
            (&["localhost@evil.example"], false),
            (&["localhost", "evil.example"], false),
            (&[], false),
        ];
        for (given, served) in cases {
            let mut headers = HeaderMap::new();
            for host in given {
                headers.append(header::HOST, host.parse().expect("a header"));
            }
            assert_eq!(serves(&hosts, &headers, &Uri::from_static("/")), served, "{given:?}");
        }
    }

    #[test]
    fn a_request_id_is_taken_over_only_if_it_is_harmless() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(text.as_bytes()).expect("a header"));
            taken_over(&headers)
        };
        assert_eq!(of("abc-1.2_3").as_deref(), Some("abc-1.2_3"));
        for text in ["", "a b", "é", "a=\"b\"", &"a".repeat(129)] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}

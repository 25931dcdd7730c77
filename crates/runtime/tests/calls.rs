use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use runtime::client::channel;
use runtime::errors::refusal_of;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::{Code, Status};

use crate::echo::{ASK, SAY, SECRET, call, call_within, pair, serve, table, watch};
use crate::pki::Authority;

fn reason(status: &Status) -> String {
    refusal_of(status).unwrap_or_else(|| panic!("no ErrorInfo in {status:?}")).reason
}

#[tokio::test]
async fn a_caller_is_known_by_its_certificate() {
    let (_server, peer) = pair("operator/alice").await;
    assert_eq!(call(peer, SAY, "identity").await.expect("an answer"), "operator:alice");
}

#[tokio::test]
async fn a_method_without_a_row_does_not_exist() {
    let (server, peer) = pair("lifecycle").await;
    for path in ["/test.Echo/Other", "/other.Service/Say"] {
        let status = call(peer.clone(), path, "x").await.expect_err("no such method");
        assert_eq!(status.code(), Code::Unimplemented);
        assert_eq!(reason(&status), "METHOD_NOT_FOUND");
    }
    assert_eq!(server.echo.calls.load(Ordering::SeqCst), 0, "it was not even routed");
}

#[tokio::test]
async fn an_identity_that_is_not_listed_is_denied() {
    let authority = Authority::new();
    let server = serve("keys", authority.tls("keys"), None).await;
    let gateway = channel(server.address, "keys", authority.tls("gateway"));
    let status = call(gateway, SECRET, "x").await.expect_err("not for the gateway");
    assert_eq!(status.code(), Code::PermissionDenied);
    let refusal = refusal_of(&status).expect("details");
    assert_eq!(refusal.reason, "PERMISSION_DENIED");
    assert_eq!(refusal.metadata["identity"], "gateway");
    assert_eq!(server.echo.calls.load(Ordering::SeqCst), 0);

    let lifecycle = channel(server.address, "keys", authority.tls("lifecycle"));
    assert_eq!(call(lifecycle, SECRET, "x").await.expect("it is listed"), "x");
}

#[tokio::test]
async fn a_client_hears_a_deadline_as_such() {
    let (_server, peer) = pair("lifecycle").await;
    let status =
        call_within(peer, SAY, "hang", Duration::from_millis(50)).await.expect_err("it takes for ever");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(reason(&status), "DEADLINE");
}

/// Without tonic on the client side, whose own time-out would hide what the server says.
#[tokio::test]
async fn a_server_says_deadline_exceeded_to_any_client() {
    let authority = Authority::new();
    let server = serve("keys", authority.tls("keys"), None).await;
    let config = authority.tls("foreign").client_config("keys").expect("good certificates");
    let stream = TcpStream::connect(server.address).await.expect("connected");
    let name = ServerName::try_from("keys").expect("a name");
    let stream = TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream).await.expect("TLS");
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("HTTP/2");
    tokio::spawn(connection);
    let frame = Bytes::from_static(b"\0\0\0\0\x06\x0a\x04hang");
    let request = http::Request::post(format!("http://keys{SAY}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "50m")
        .body(Full::new(frame))
        .expect("a request");
    let response = client.send_request(request).await.expect("an answer");
    let status = Status::from_header_map(response.headers()).expect("a status");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(reason(&status), "DEADLINE");
    assert!(response.into_body().collect().await.expect("a body").to_bytes().is_empty());
}

#[tokio::test]
async fn the_budget_shrinks_on_every_hop() {
    let authority = Authority::new();
    let last = serve("keys", authority.tls("keys"), None).await;
    let next = channel(last.address, "keys", authority.tls("lifecycle"));
    let first = serve("lifecycle", authority.tls("lifecycle"), Some(next)).await;
    let peer = channel(first.address, "lifecycle", authority.tls("gateway"));
    let left: u64 = call_within(peer, SAY, "relay budget", Duration::from_secs(5))
        .await
        .expect("an answer")
        .parse()
        .expect("micros");
    let left = Duration::from_micros(left);
    let most = Duration::from_secs(5) - runtime::budget::HOP_SHAVE;
    assert!(left <= most && left > Duration::from_secs(1), "{left:?}");
}

#[tokio::test]
async fn a_failure_leaves_the_process_only_as_an_id() {
    let (_server, peer) = pair("lifecycle").await;
    for text in ["leak", "panic"] {
        let status = call(peer.clone(), SAY, text).await.expect_err("it fails");
        assert_eq!(status.code(), Code::Internal);
        assert!(!format!("{status:?}").contains("hunter2"));
        let id = refusal_of(&status).expect("details").metadata["error_id"].clone();
        assert!(status.message().contains(&id));
    }
    assert_eq!(call(peer, SAY, "still here").await.expect("the server lives"), "still here");
}

#[tokio::test]
async fn only_idempotent_methods_are_tried_again() {
    let (server, peer) = pair("lifecycle").await;
    let status = call(peer.clone(), SAY, "flaky").await.expect_err("not repeated");
    assert_eq!(reason(&status), "DATABASE_UNAVAILABLE");
    server.echo.calls.store(0, Ordering::SeqCst);
    assert_eq!(call(peer, ASK, "flaky").await.expect("the third attempt"), "flaky");
    assert_eq!(server.echo.calls.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn when_time_runs_out_while_trying_again_the_first_answer_counts() {
    let (server, peer) = pair("lifecycle").await;
    let status = call_within(peer, ASK, "lost", Duration::from_millis(500)).await.expect_err("it is lost");
    assert_eq!(reason(&status), "DATABASE_UNAVAILABLE");
    assert_eq!(server.echo.calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_peer_that_is_away_is_named_without_its_address() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let peer = channel(address, "keys", Authority::new().tls("lifecycle"));
    let status = call(peer, SAY, "x").await.expect_err("nobody listens");
    assert_eq!(status.code(), Code::Unavailable);
    let refusal = refusal_of(&status).expect("details");
    assert_eq!((refusal.reason.as_str(), refusal.metadata["peer"].as_str()), ("PEER_UNAVAILABLE", "keys"));
    assert!(refusal.retry_after.is_some());
    assert!(!format!("{status:?}").contains(&address.port().to_string()));
}

#[tokio::test]
async fn a_stop_ends_streams_with_a_reason_and_lets_calls_finish() {
    let (mut server, peer) = pair("lifecycle").await;
    let mut stream = watch(peer.clone(), "first").await.expect("a stream");
    assert_eq!(stream.message().await.expect("a message"), Some("first".to_owned()));
    server.shutdown.stop();
    let status = stream.message().await.expect_err("the stream ends");
    assert_eq!(reason(&status), "DRAINING");
    let served = std::mem::replace(&mut server.served, tokio::spawn(async {}));
    tokio::time::timeout(Duration::from_secs(10), served).await.expect("in time").expect("no panic");
    let status = call(peer, SAY, "x").await.expect_err("nobody listens");
    assert_eq!(reason(&status), "PEER_UNAVAILABLE");
}

#[test]
fn the_table_of_the_test_service_is_good() {
    assert_eq!(table().check(), Ok(()));
}

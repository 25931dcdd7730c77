use std::sync::atomic::Ordering;
use std::time::Duration;

use runtime::client::channel;
use runtime::errors::refusal_of;
use runtime::server::{BULK_CALLS_MAX, BULK_QUEUE_MAX, CALLS_MAX, REQUEST_BYTES_MAX};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::echo::{SAY, STORE, call, call_within, pair, serve, table, wait_until};
use crate::pki::Authority;

fn code_and_reason(status: &Status) -> (Code, String) {
    (status.code(), refusal_of(status).unwrap_or_else(|| panic!("no ErrorInfo in {status:?}")).reason)
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused_as_such() {
    let (server, peer) = pair("lifecycle").await;
    // One byte of tag and three of length stand before the text.
    let fits = "x".repeat(REQUEST_BYTES_MAX - 4);
    assert_eq!(call(peer.clone(), SAY, &fits).await.expect("it fits").len(), fits.len());
    let over = "x".repeat(REQUEST_BYTES_MAX - 3);
    let status = call(peer, SAY, &over).await.map(|text| text.len()).expect_err("one byte too many");
    assert_eq!(code_and_reason(&status), (Code::ResourceExhausted, "REQUEST_TOO_LARGE".to_owned()));
    assert_eq!(server.echo.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_refused_as_such() {
    let (_server, peer) = pair("lifecycle").await;
    let status = call(peer, SAY, "large").await.map(|text| text.len()).expect_err("one byte too many");
    assert_eq!(code_and_reason(&status), (Code::ResourceExhausted, "RESPONSE_TOO_LARGE".to_owned()));
}

#[tokio::test]
async fn a_busy_server_sheds_calls_but_answers_for_its_health() {
    let authority = Authority::new();
    let server = serve("keys", authority.tls("keys"), None).await;
    // Two connections, because one has room for exactly as many calls as the server.
    let busy = channel(server.address, "keys", authority.tls("lifecycle"));
    let other = channel(server.address, "keys", authority.tls("gateway")).with_methods(table());
    for _ in 0..CALLS_MAX {
        tokio::spawn(call(busy.clone(), SAY, "hang"));
    }
    let calls = server.echo.calls.clone();
    wait_until("all calls hang", async || calls.load(Ordering::SeqCst) == CALLS_MAX).await;

    let status = call(other.clone(), SAY, "x").await.expect_err("one call too many");
    assert_eq!(code_and_reason(&status), (Code::ResourceExhausted, "OVERLOADED".to_owned()));
    assert!(refusal_of(&status).expect("details").retry_after.is_some());
    let health = HealthClient::new(other).check(HealthCheckRequest { service: String::new() }).await;
    assert_eq!(health.expect("exempt").into_inner().status(), ServingStatus::Serving);
}

#[tokio::test]
async fn calls_with_archives_wait_for_their_turn_and_hold_up_no_others() {
    let (server, peer) = pair("lifecycle").await;
    let hang = |_| tokio::spawn(call(peer.clone(), STORE, "hang"));
    let busy: Vec<_> = (0..BULK_CALLS_MAX).map(hang).collect();
    let calls = server.echo.calls.clone();
    wait_until("every turn is taken", async || calls.load(Ordering::SeqCst) == BULK_CALLS_MAX).await;
    let waits = tokio::spawn(call(peer.clone(), STORE, "after"));
    assert_eq!(call(peer.clone(), SAY, "beside").await.expect("another class"), "beside");
    assert_eq!(calls.load(Ordering::SeqCst), BULK_CALLS_MAX + 1, "the one that waits has not begun");
    busy.iter().for_each(|one| one.abort());
    assert_eq!(waits.await.expect("no panic").expect("its turn has come"), "after");

    let before = calls.load(Ordering::SeqCst);
    let _queue: Vec<_> = (0..BULK_QUEUE_MAX).map(hang).collect();
    let begun = || calls.load(Ordering::SeqCst) - before;
    wait_until("every turn is taken again", async || begun() == BULK_CALLS_MAX).await;
    wait_until("the queue is full", async || {
        let refused = call_within(peer.clone(), STORE, "x", Duration::from_millis(100)).await;
        refused.is_err_and(|status| code_and_reason(&status).1 == "OVERLOADED")
    })
    .await;
    assert_eq!(begun(), BULK_CALLS_MAX, "none of those that wait has begun");
}

#[tokio::test]
async fn grpc_health_follows_our_checks() {
    let (server, peer) = pair("lifecycle").await;
    let mut health = HealthClient::new(peer);
    let mut status_is = async |name: &str, wanted: ServingStatus| {
        let request = HealthCheckRequest { service: name.to_owned() };
        health.check(request).await.is_ok_and(|answer| answer.into_inner().status() == wanted)
    };
    let check = server.health.check("postgres");
    wait_until("not serving", async || status_is("test.Echo", ServingStatus::NotServing).await).await;
    check.ok();
    wait_until("serving", async || status_is("test.Echo", ServingStatus::Serving).await).await;
    server.shutdown.drain();
    wait_until("drained", async || status_is("", ServingStatus::NotServing).await).await;
}

#[tokio::test]
async fn reflection_lists_what_is_served() {
    let (_server, peer) = pair("operator/alice").await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let requests = tokio_stream::iter([request]);
    let answer = ServerReflectionClient::new(peer).server_reflection_info(requests).await;
    let message = answer.expect("allowed").into_inner().message().await.expect("an answer");
    let Some(MessageResponse::ListServicesResponse(list)) = message.and_then(|m| m.message_response) else {
        panic!("not a list");
    };
    let mut names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(names, ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "test.Echo"]);
}

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use runtime::admin;
use runtime::health::Health;
use runtime::shutdown::Shutdown;
use tokio::net::TcpListener;

use crate::echo::wait_until;

pub async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let client: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let uri = format!("http://{address}{path}").parse().expect("a URI");
    let response = client.get(uri).await.expect("an answer");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("text"))
}

pub async fn serve(health: &Health, shutdown: &Shutdown) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(admin::serve(listener, health.clone(), shutdown.clone()));
    address
}

#[tokio::test]
async fn readiness_names_the_check_that_fails() {
    let (health, shutdown) = (Health::new(), Shutdown::new());
    let postgres = health.check("postgres");
    let address = serve(&health, &shutdown).await;
    postgres.fail("connection refused");
    let (status, body) = get(address, "/readyz").await;
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(status, 503);
    assert_eq!(body["checks"]["postgres"]["reason"], "connection refused");
    assert_eq!(get(address, "/livez").await.0, 200, "liveness never looks at dependencies");
    postgres.ok();
    assert_eq!(get(address, "/readyz").await.0, 200);
}

#[tokio::test]
async fn draining_makes_a_process_not_ready_while_it_still_answers() {
    let (health, shutdown) = (Health::new(), Shutdown::new());
    let address = serve(&health, &shutdown).await;
    assert_eq!(get(address, "/readyz").await.0, 200);
    shutdown.drain();
    wait_until("not ready", async || get(address, "/readyz").await.0 == 503).await;
    let body: serde_json::Value = serde_json::from_str(&get(address, "/readyz").await.1).expect("JSON");
    assert_eq!(body["draining"], true);
    assert_eq!(get(address, "/livez").await.0, 200);
}

//! One gateway with its neighbours, its database and a client of each kind.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::indexer::v1::indexer_service_server::IndexerServiceServer;
use api::indexer::v1::nodes_service_server::NodesServiceServer;
use api::lifecycle::v1::lifecycle_service_server::LifecycleServiceServer;
use api::rewards::v1::rewards_service_server::RewardsServiceServer;
use futures::{SinkExt, StreamExt};
use gateway::{Config, Ports};
use runtime::client::{Peer, channel};
use runtime::health::Health;
use runtime::server::GrpcServer;
use runtime::shutdown::Shutdown;
use runtime::tls::{Tls, TlsConfig};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Pki, TestDb};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::fakes::{Fake, Neighbourhood};

pub const DEADLINE: Duration = Duration::from_secs(10);
const TRUST_DOMAIN: &str = "metis.test";

pub struct World {
    pub address: SocketAddr,
    pub neighbours: Arc<Neighbourhood>,
    pub shutdown: Shutdown,
    pub http: reqwest::Client,
    pub database: sea_orm::DatabaseConnection,
    _test_db: TestDb,
    _files: TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.stop();
    }
}

/// The status, the headers and the body of an answer; null for no body.
pub struct Reply {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub json: Value,
}

pub async fn start() -> World {
    start_with(Config::default()).await
}

pub async fn start_with(config: Config) -> World {
    runtime::install_crypto_provider();
    let files = TempDir::new().expect("a directory");
    let pki = Pki::new(files.path(), TRUST_DOMAIN).expect("an authority");
    let tls = |name: &str| {
        let identity = pki.identity(name).expect("a certificate");
        let trust_domain = TRUST_DOMAIN.to_owned();
        Tls::load(&TlsConfig { cert: identity.certificate, key: identity.key, ca: pki.ca(), trust_domain })
            .expect("good certificates")
    };
    let (neighbours, shutdown) = (Neighbourhood::new(), Shutdown::new());
    let own = tls("gateway");
    let mut peers = Vec::new();
    for service in ["indexer", "lifecycle", "rewards"] {
        peers.push(neighbour(service, &neighbours, tls(service), &own, &shutdown).await);
    }
    let rewards = peers.pop().expect("three");
    let lifecycle = peers.pop().expect("three");
    let indexer = peers.pop().expect("three");
    let test_db = testkit::database().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let database = test_db.connect("gateway").await;
    let ports =
        Ports { listener, database: database.clone(), health: Health::new(), indexer, lifecycle, rewards };
    let service = gateway::build(config, ports).await.expect("a good configuration");
    let until = shutdown.clone();
    tokio::spawn(async move { service.run(until).await.expect("it serves") });
    let http = reqwest::Client::builder().build().expect("a client");
    World { address, neighbours, shutdown, http, database, _test_db: test_db, _files: files }
}

async fn neighbour(
    service: &'static str,
    neighbours: &Arc<Neighbourhood>,
    tls: Arc<Tls>,
    own: &Arc<Tls>,
    shutdown: &Shutdown,
) -> Peer {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let fake = Fake(Arc::clone(neighbours));
    let server = GrpcServer::builder(service, listener, tls, api::methods::grpc(), Health::new());
    let server = match service {
        "indexer" => server
            .add(IndexerServiceServer::new(fake.clone()), api::DESCRIPTORS)
            .add(NodesServiceServer::new(fake), api::DESCRIPTORS),
        "lifecycle" => server.add(LifecycleServiceServer::new(fake), api::DESCRIPTORS),
        _ => server.add(RewardsServiceServer::new(fake), api::DESCRIPTORS),
    };
    let until = shutdown.clone();
    tokio::spawn(async move { server.serve(until).await.expect("a good server") });
    channel(address, service, Arc::clone(own)).with_methods(api::methods::grpc())
}

impl World {
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// A key with these scopes.
    pub async fn key(&self, scopes: &[&str]) -> String {
        gateway::mint_key(&self.database, "test", scopes, Duration::from_secs(3600)).await.expect("a key")
    }

    pub fn post(&self, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        self.http.post(self.url()).header("content-type", "application/json").body(body)
    }

    /// Sends a body as it is.
    pub async fn raw(&self, body: impl Into<reqwest::Body>) -> Reply {
        reply(self.post(body)).await
    }

    /// Calls a method without a key.
    pub async fn call(&self, method: &str, params: Value) -> Reply {
        self.raw(request(method, &params).to_string()).await
    }

    /// Calls a method with a key.
    pub async fn call_as(&self, key: &str, method: &str, params: Value) -> Reply {
        reply(self.post(request(method, &params).to_string()).bearer_auth(key)).await
    }

    /// Opens a WebSocket.
    pub async fn socket(&self) -> Socket {
        self.socket_with(&[]).await.expect("an open socket")
    }

    /// Opens a WebSocket with more headers; the HTTP status if it is turned down.
    pub async fn socket_with(&self, headers: &[(&'static str, &str)]) -> Result<Socket, u16> {
        let mut request = format!("ws://{}/", self.address).into_client_request().expect("a request");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a header"));
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((stream, _)) => Ok(Socket { stream, next: 0 }),
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => unreachable!("the gateway always answers HTTP: {error}"),
        }
    }
}

pub fn request(method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

pub async fn reply(request: reqwest::RequestBuilder) -> Reply {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.expect("a body");
    let json = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("JSON") };
    Reply { status, headers, json }
}

pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next: u64,
}

impl Socket {
    pub async fn send(&mut self, text: impl Into<String>) {
        self.stream.send(Message::text(text.into())).await.expect("sent");
    }

    /// The next message; a close frame as `{"closed": code}`.
    pub async fn receive(&mut self) -> Value {
        loop {
            let next = tokio::time::timeout(DEADLINE, self.stream.next()).await.expect("a message in time");
            match next {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).expect("JSON"),
                Some(Ok(Message::Close(frame))) => {
                    return json!({ "closed": frame.map(|frame| u16::from(frame.code)) });
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return json!({ "closed": null }),
            }
        }
    }

    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let request = json!({ "jsonrpc": "2.0", "id": self.next, "method": method, "params": params });
        self.send(request.to_string()).await;
        self.receive().await
    }
}

//! A stub of a transit engine, written for these tests from the public HTTP API of Vault: it is not
//! Vault. `POST /v1/transit/encrypt|decrypt/{key}` with a token; what it encrypts, it keeps.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::serve::Listener;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keys::crypto::kek::TransitConfig;
use runtime::config::Secret;
use serde_json::{Value, json};
use testkit::Pki;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

pub const TOKEN: &str = "hvs.canary-token-41c7";
/// Of the server: without it nothing is found.
pub const NAMESPACE: &str = "ops/sequencers";

/// What it was asked to encrypt, by the text it gave for it.
type Kept = Arc<Mutex<HashMap<String, String>>>;

/// The stub; stopped when dropped, what it keeps stays with its clones.
pub struct Engine {
    pub address: std::net::SocketAddr,
    kept: Kept,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Engine {
    pub async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), Kept::default()).await
    }

    /// The same behind TLS, with a certificate of this authority.
    pub async fn start_encrypted(pki: &Pki) -> (Self, TransitConfig) {
        let identity = pki.identity("vault").unwrap();
        let chain: Vec<_> =
            CertificateDer::pem_file_iter(&identity.certificate).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
        let tls = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, kept) = (tcp.local_addr().unwrap(), Kept::default());
        let service = router(&kept);
        let listener = Encrypted { tcp, acceptor: TlsAcceptor::from(Arc::new(tls)) };
        let task = tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
        let engine = Self { address, kept, task };
        let url = format!("https://{address}");
        let config = TransitConfig { url, ca: Some(pki.ca()), ..engine.config() };
        (engine, config)
    }

    /// Stops it, and gives what starts it again at the same place with what it kept.
    pub async fn stop(self) -> impl AsyncFnOnce() -> Self {
        let (address, kept) = (self.address, Arc::clone(&self.kept));
        drop(self);
        async move || Self::on(TcpListener::bind(address).await.unwrap(), kept).await
    }

    async fn on(listener: TcpListener, kept: Kept) -> Self {
        let address = listener.local_addr().unwrap();
        let router = router(&kept);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, kept, task }
    }

    pub fn config(&self) -> TransitConfig {
        TransitConfig {
            url: format!("http://{}", self.address),
            key: "sequencer".to_owned(),
            mount: "transit".to_owned(),
            token: Secret::new(TOKEN.to_owned()),
            namespace: Some(NAMESPACE.to_owned()),
            ca: None,
        }
    }
}

fn router(kept: &Kept) -> Router {
    Router::new().route("/v1/transit/{step}/{key}", post(answer)).with_state(Arc::clone(kept))
}

struct Encrypted {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Encrypted {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, from) = self.tcp.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

async fn answer(
    State(kept): State<Kept>,
    Path((step, key)): Path<(String, String)>,
    headers: HeaderMap,
    Json(asked): Json<Value>,
) -> Result<Json<Value>, StatusCode> {
    let token = headers.get("x-vault-token").and_then(|token| token.to_str().ok());
    if token != Some(TOKEN) || key != "sequencer" {
        return Err(StatusCode::FORBIDDEN);
    }
    // A request of a listener that guards against forged ones needs the mark of a client.
    let named = |header: &str| headers.get(header).and_then(|value| value.to_str().ok());
    if named("x-vault-namespace") != Some(NAMESPACE) || named("x-vault-request") != Some("true") {
        return Err(StatusCode::NOT_FOUND);
    }
    let text = |field: &str| asked[field].as_str().map(str::to_owned).ok_or(StatusCode::BAD_REQUEST);
    let mut kept = kept.lock().unwrap();
    let data = match step.as_str() {
        "encrypt" => {
            let plaintext = text("plaintext")?;
            STANDARD.decode(&plaintext).map_err(|_| StatusCode::BAD_REQUEST)?;
            let ciphertext = format!("vault:v1:{}", STANDARD.encode(rand::random::<[u8; 60]>()));
            kept.insert(ciphertext.clone(), plaintext);
            json!({ "ciphertext": ciphertext })
        }
        "decrypt" => json!({ "plaintext": kept.get(&text("ciphertext")?).ok_or(StatusCode::BAD_REQUEST)? }),
        _ => return Err(StatusCode::NOT_FOUND),
    };
    // The envelope of every answer.
    Ok(Json(json!({
        "request_id": "8375227a-4a9f-a108-0b89-84c448419e80", "lease_id": "", "renewable": false, "lease_duration": 0,
        "data": data, "wrap_info": null, "warnings": null, "auth": null
    })))
}

//! A Web3Signer of Consensys: it holds the keys, we hold their identifiers. It hashes for itself, so it is sent the
//! bytes; keys are made and removed there, by its own files and vaults.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use domain::pubkey::PublicKey;
use http_body_util::Full;
use hyper::{Request, StatusCode, Uri, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::settings;
use super::{Backend, Error, Held, Numbers, Payload, Place, Unusable, Wanted, der, http, reference_of};
use crate::db::key::Key;

/// See the module.
#[derive(Debug)]
pub struct Web3signer {
    name: String,
    base: String,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    #[error("the URL is neither https nor on loopback")]
    Url,
    #[error("https needs `ca`")]
    CaMissing,
    #[error("cert and key go together")]
    HalfIdentity,
    #[error("reading {path}")]
    Pem {
        path: PathBuf,
        #[source]
        source: pem::Error,
    },
    #[error("reading the key of the certificate")]
    Secret(#[source] runtime::config::Error),
    #[error("the key of the certificate is no PEM")]
    Key(#[source] pem::Error),
    #[error("setting up TLS")]
    Tls(#[from] rustls::Error),
}

/// The answer is not one of success.
#[derive(Debug, thiserror::Error)]
#[error("it answered {0}")]
struct Answered(StatusCode);

impl Web3signer {
    /// Takes the settings; nothing is asked yet.
    pub fn open(name: &str, settings: &settings::Web3signer) -> Result<Self, Unfit> {
        let uri: Uri = settings.url.parse().map_err(|_| Unfit::Url)?;
        match (uri.scheme_str(), uri.host()) {
            (Some("https"), Some(_)) if settings.ca.is_none() => return Err(Unfit::CaMissing),
            (Some("https"), Some(_)) | (Some("http"), Some("127.0.0.1" | "localhost" | "[::1]")) => {}
            _ => return Err(Unfit::Url),
        }
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(settings)?)
            .https_or_http()
            .enable_http1()
            .build();
        let base = settings.url.trim_end_matches('/').to_owned();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { name: name.to_owned(), base, client })
    }

    async fn get(&self, path: &str) -> Result<Bytes, Error> {
        let request = Request::get(format!("{}{path}", self.base)).body(Full::default());
        let (status, body) = http::ask(&self.client, request.map_err(Error::away)?).await?;
        if status == StatusCode::OK { Ok(body) } else { Err(error(status, path)) }
    }
}

#[async_trait]
impl Backend for Web3signer {
    fn kind(&self) -> &'static str {
        "web3signer"
    }

    async fn generate(&self, _: &Wanted<'_>) -> Result<Held, Error> {
        Err(Error::Unsupported { kind: self.kind(), what: "make keys: make it there and attach it" })
    }

    async fn find(&self, reference: &str) -> Result<Held, Error> {
        let unknown = || Error::UnknownKey(reference.to_owned());
        let wanted = PublicKey::from_hex(reference).map_err(|_| unknown())?;
        let body = self.get("/api/v1/eth1/publicKeys").await?;
        let keys: Vec<String> =
            serde_json::from_slice(&body).map_err(|_| Unusable::Field("the list of public keys"))?;
        // As it is written there; the path of a signature takes that and nothing else.
        let identifier = keys
            .into_iter()
            .find(|key| PublicKey::from_hex(key).is_ok_and(|key| key == wanted))
            .ok_or_else(unknown)?;
        let place = Place::Remote { backend: self.name.clone(), reference: identifier };
        Ok(Held { public_key: wanted, place })
    }

    async fn sign(&self, key: &Key, payload: &Payload) -> Result<Numbers, Error> {
        let reference = reference_of(key)?;
        let body =
            serde_json::json!({ "data": format!("0x{}", hex::encode(payload.preimage())) }).to_string();
        let request = Request::post(format!("{}/api/v1/eth1/sign/{reference}", self.base))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body))
            .map_err(Error::away)?;
        let (status, body) = http::ask(&self.client, request).await?;
        if status != StatusCode::OK {
            return Err(error(status, reference));
        }
        let text = std::str::from_utf8(&body).map_err(|_| Unusable::Signature)?.trim().trim_matches('"');
        let mut bytes = [0; 65];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes)
            .map_err(|_| Unusable::Signature)?;
        // The last byte is the parity; it is found anew for all backends.
        Ok(der::signature_of_64(&bytes[..64])?)
    }

    async fn health(&self) -> Result<(), Error> {
        self.get("/upcheck").await.map(drop)
    }
}

fn error(status: StatusCode, about: &str) -> Error {
    match status {
        StatusCode::NOT_FOUND => Error::UnknownKey(about.to_owned()),
        StatusCode::TOO_MANY_REQUESTS => Error::Throttled(Answered(status).into()),
        status if status.is_server_error() => Error::Away(Answered(status).into()),
        status => Error::Refused(Answered(status).into()),
    }
}

fn tls(settings: &settings::Web3signer) -> Result<ClientConfig, Unfit> {
    let settings::Web3signer { url: _, ca, cert, key, limits: _ } = settings;
    let mut roots = RootCertStore::empty();
    for certificate in ca.as_ref().map(chain).transpose()?.unwrap_or_default() {
        roots.add(certificate)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    match (cert, key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(cert), Some(key)) => {
            let pem = key.expose().map_err(Unfit::Secret)?;
            let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(Unfit::Key)?;
            Ok(builder.with_client_auth_cert(chain(cert)?, key)?)
        }
        _ => Err(Unfit::HalfIdentity),
    }
}

fn chain(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, Unfit> {
    let unreadable = |source| Unfit::Pem { path: path.clone(), source };
    CertificateDer::pem_file_iter(path).map_err(unreadable)?.collect::<Result<_, _>>().map_err(unreadable)
}

//! A random key-encryption key, stored encrypted by a transit engine: Vault, OpenBao, or what speaks
//! their `POST /v1/{mount}/encrypt|decrypt/{key}`. The engine is asked at start and at a rotation,
//! never for a signature.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use runtime::config::Secret;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{KeyEncryptionKey, Unusable};

/// Beyond it the engine counts as away; the start goes on sealed and tries again.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// A wrapped key has 90 characters.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Where the engine is and who we are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransitConfig {
    /// For example `https://vault.internal:8200`; plain http only to this machine (an agent).
    pub url: String,
    /// Name of the key in the engine.
    pub key: String,
    /// Path of the engine.
    #[serde(default = "mount")]
    pub mount: String,
    /// Token with the right to encrypt and decrypt with that key; read anew each time, so an agent may renew it.
    pub token: Secret,
    /// Namespace, where the server has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// PEM file with the authorities to trust, instead of those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

fn mount() -> String {
    "transit".to_owned()
}

/// Why the engine gave nothing. Its answers are never repeated: they may hold what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0} is no https address of an engine")]
    Url(String),
    #[error("names of engine and key have letters, digits, - _ and . only")]
    Name,
    #[error("the token or the namespace of the transit engine cannot stand in a header")]
    Header,
    #[error("reading the authorities of the transit engine from {0}")]
    Authorities(PathBuf),
    #[error("reading the token of the transit engine")]
    Token(#[source] runtime::config::Error),
    #[error("the transit engine at {url} cannot be reached")]
    Away {
        url: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the transit engine at {0} gave no answer for {seconds} s", seconds = ANSWER_MAX.as_secs())]
    Late(String),
    #[error("the transit engine at {url} answered {step} with status {status}")]
    Status { url: String, step: &'static str, status: u16 },
    #[error("the transit engine at {url} answered {step} with something else than a result")]
    Answer { url: String, step: &'static str },
}

#[derive(Deserialize)]
struct Answer {
    data: Results,
}

#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
struct Results {
    #[serde(default)]
    ciphertext: String,
    #[serde(default)]
    plaintext: String,
}

/// Has the key encrypted.
pub async fn wrap(config: &TransitConfig, kek: &KeyEncryptionKey) -> Result<Vec<u8>, Unusable> {
    let plaintext = Zeroizing::new(STANDARD.encode(kek.expose()));
    let results = ask(config, "encrypt", &json!({ "plaintext": plaintext.as_str() })).await?;
    if results.ciphertext.is_empty() {
        return Err(Error::Answer { url: config.url.clone(), step: "encrypt" }.into());
    }
    Ok(results.ciphertext.as_bytes().to_vec())
}

/// Has the key decrypted.
pub async fn unwrap(config: &TransitConfig, wrapped: &[u8]) -> Result<KeyEncryptionKey, Unusable> {
    let ciphertext = std::str::from_utf8(wrapped).map_err(|_| Unusable::Foreign)?;
    let results = ask(config, "decrypt", &json!({ "ciphertext": ciphertext })).await?;
    let bytes = Zeroizing::new(STANDARD.decode(&results.plaintext).map_err(|_| Unusable::Foreign)?);
    KeyEncryptionKey::from_slice(&bytes).ok_or(Unusable::Foreign)
}

async fn ask(config: &TransitConfig, step: &'static str, body: &serde_json::Value) -> Result<Results, Error> {
    let url = &config.url;
    match tokio::time::timeout(ANSWER_MAX, exchange(config, step, body)).await {
        Ok(answered) => answered,
        Err(_) => Err(Error::Late(url.clone())),
    }
}

async fn exchange(
    config: &TransitConfig,
    step: &'static str,
    body: &serde_json::Value,
) -> Result<Results, Error> {
    let TransitConfig { url, key, mount, token, namespace, ca } = config;
    let target = endpoint(url, mount, step, key)?;
    let token = token.expose().map_err(Error::Token)?;
    let mut request = Request::post(target)
        .header("content-type", "application/json")
        .header("x-vault-request", "true")
        .header("x-vault-token", token.as_str());
    if let Some(namespace) = namespace {
        request = request.header("x-vault-namespace", namespace);
    }
    let request = request.body(Full::from(body.to_string())).map_err(|_| Error::Header)?;
    // A redirect would carry the token elsewhere; this client follows none.
    let answer = client(ca.as_deref())?
        .request(request)
        .await
        .map_err(|source| Error::Away { url: url.clone(), source: source.into() })?;
    if !answer.status().is_success() {
        return Err(Error::Status { url: url.clone(), step, status: answer.status().as_u16() });
    }
    let broken = || Error::Answer { url: url.clone(), step };
    let text = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(|_| broken())?;
    let Answer { data } = serde_json::from_slice(&text.to_bytes()).map_err(|_| broken())?;
    Ok(data)
}

fn client(ca: Option<&Path>) -> Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>, Error> {
    let mut roots = RootCertStore::empty();
    match ca {
        None => {
            // What of the system's store cannot be read is not trusted.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(path) => {
            let broken = || Error::Authorities(path.to_owned());
            for certificate in CertificateDer::pem_file_iter(path).map_err(|_| broken())? {
                roots.add(certificate.map_err(|_| broken())?).map_err(|_| broken())?;
            }
        }
    }
    let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

/// The address of one method; the key crosses the network in it, so it must be encrypted or stay here.
fn endpoint(url: &str, mount: &str, step: &str, key: &str) -> Result<Uri, Error> {
    let refused = || Error::Url(url.to_owned());
    let base: Uri = url.parse().map_err(|_| refused())?;
    let host = base.host().ok_or_else(refused)?;
    let here = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let encrypted = base.scheme_str() == Some("https");
    let authority = base.authority().ok_or_else(refused)?;
    if !(encrypted || (base.scheme_str() == Some("http") && here)) || authority.as_str().contains('@') {
        return Err(refused());
    }
    let is_plain = |part: &str| {
        !part.is_empty()
            && part != ".."
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    if !is_plain(key) || !mount.split('/').all(is_plain) {
        return Err(Error::Name);
    }
    let scheme = if encrypted { "https" } else { "http" };
    let prefix = base.path().trim_end_matches('/');
    format!("{scheme}://{authority}{prefix}/v1/{mount}/{step}/{key}").parse().map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_crosses_the_network_encrypted_or_not_at_all() {
        let target = |url: &str| endpoint(url, "transit", "encrypt", "seq").map(|url| url.to_string()).ok();
        let of_vault = "https://vault.internal:8200/v1/transit/encrypt/seq";
        assert_eq!(target("https://vault.internal:8200").as_deref(), Some(of_vault));
        assert_eq!(target("https://vault.internal:8200/").as_deref(), Some(of_vault));
        let of_agent = "http://127.0.0.1:8100/v1/transit/encrypt/seq";
        assert_eq!(target("http://127.0.0.1:8100").as_deref(), Some(of_agent));
        assert!(target("http://[::1]:8100").is_some());
        let refused =
            ["http://vault.internal:8200", "vault", "ftp://localhost", "https://me:secret@vault.internal"];
        for url in refused {
            assert_eq!(target(url), None, "{url}");
        }
        assert_eq!(endpoint("https://v", "a/b", "decrypt", "k").unwrap().path(), "/v1/a/b/decrypt/k");
        for (mount, key) in
            [("transit", "../../sys/seal"), ("..", "k"), ("a//b", "k"), ("a", ""), ("a", "k?x")]
        {
            assert!(
                matches!(endpoint("https://v", mount, "decrypt", key), Err(Error::Name)),
                "{mount} {key}"
            );
        }
    }
}

//! A random key-encryption key, stored encrypted by a transit engine: Vault, OpenBao, or what speaks
//! their `POST /v1/{mount}/encrypt|decrypt/{key}`. The engine is asked at start and at a rotation,
//! never for a signature.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Certificate, Client, Url, redirect};
use runtime::config::Secret;
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
    #[error("reading the authorities of the transit engine from {0}")]
    Authorities(PathBuf),
    #[error("reading the token of the transit engine")]
    Token(#[source] runtime::config::Error),
    #[error("the transit engine at {url} cannot be reached")]
    Away {
        url: String,
        #[source]
        source: reqwest::Error,
    },
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
    let TransitConfig { url, key, mount, token, namespace, ca } = config;
    let target = endpoint(url, mount, step, key)?;
    let token = token.expose().map_err(Error::Token)?;
    let away = |source: reqwest::Error| Error::Away { url: url.clone(), source: source.without_url() };
    let body = Zeroizing::new(body.to_string());
    let mut request = client(ca.as_deref())?
        .post(target)
        .header("content-type", "application/json")
        .header("x-vault-request", "true")
        .header("x-vault-token", token.as_str())
        .body(body.as_bytes().to_vec());
    if let Some(namespace) = namespace {
        request = request.header("x-vault-namespace", namespace);
    }
    let mut answer = request.send().await.map_err(away)?;
    if !answer.status().is_success() {
        return Err(Error::Status { url: url.clone(), step, status: answer.status().as_u16() });
    }
    let mut text = Zeroizing::new(Vec::with_capacity(ANSWER_BYTES_MAX));
    while let Some(chunk) = answer.chunk().await.map_err(away)? {
        if text.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(Error::Answer { url: url.clone(), step });
        }
        text.extend_from_slice(&chunk);
    }
    let Answer { data } =
        serde_json::from_slice(&text).map_err(|_| Error::Answer { url: url.clone(), step })?;
    Ok(data)
}

fn client(ca: Option<&Path>) -> Result<Client, Error> {
    // A redirect would carry the token elsewhere.
    let mut builder = Client::builder().timeout(ANSWER_MAX).redirect(redirect::Policy::none()).no_proxy();
    if let Some(path) = ca {
        let broken = || Error::Authorities(path.to_owned());
        let pem = std::fs::read(path).map_err(|_| broken())?;
        builder = builder.tls_certs_only(Certificate::from_pem_bundle(&pem).map_err(|_| broken())?);
    }
    builder.build().map_err(|source| Error::Away { url: "its client".to_owned(), source })
}

/// The address of one method; the key crosses the network in it, so it must be encrypted or stay here.
fn endpoint(url: &str, mount: &str, step: &str, key: &str) -> Result<Url, Error> {
    let refused = || Error::Url(url.to_owned());
    let mut target = Url::parse(url).map_err(|_| refused())?;
    let host = target.host_str().ok_or_else(refused)?;
    let here = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if !(target.scheme() == "https" || (target.scheme() == "http" && here))
        || !target.username().is_empty()
        || target.password().is_some()
    {
        return Err(refused());
    }
    target
        .path_segments_mut()
        .map_err(|()| refused())?
        .pop_if_empty()
        .push("v1")
        .extend(mount.split('/'))
        .extend([step, key]);
    Ok(target)
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
        let sneaky = endpoint("https://v", "a/b", "decrypt", "../../sys/seal").unwrap();
        assert_eq!(sneaky.path(), "/v1/a/b/decrypt/..%2F..%2Fsys%2Fseal");
    }
}

//! Mutual TLS between our processes: certificates from files that may change while we run, and peers
//! known by their SPIFFE id instead of their DNS name.

mod verify;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::identity::{self, Identity};

/// How often the files are looked at; certificates are rotated hours before they expire.
pub const RELOAD_INTERVAL: Duration = Duration::from_secs(5);

/// gRPC needs HTTP/2, and says so in the handshake.
const ALPN: &[u8] = b"h2";

/// Where the certificates of a process are. PEM files; the chain begins with the leaf.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TlsConfig {
    /// The certificate chain of this process.
    pub cert: PathBuf,
    /// The private key of its leaf.
    pub key: PathBuf,
    /// The authorities that peers are signed by.
    pub ca: PathBuf,
    /// The `<trust-domain>` of `spiffe://<trust-domain>/<service>`.
    pub trust_domain: String,
}

/// The certificates in use, replaced as a whole when the files change.
pub struct Tls {
    config: TlsConfig,
    current: ArcSwap<Loaded>,
}

/// One consistent set of certificates.
struct Loaded {
    server: Arc<ServerConfig>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
    identity: Identity,
    /// Of the bytes of all files. File times are not compared: they can be equal for different bytes.
    digest: [u8; 32],
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("reading {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path} is not a PEM file of the expected kind")]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// A file without any certificate.
    #[error("{path} has no certificate")]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// An authority that cannot be one.
    #[error("the authorities in {path} cannot be used")]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// Client certificates could not be verified with these authorities.
    #[error("setting up the verification of client certificates")]
    ClientVerifier(#[source] rustls::server::VerifierBuilderError),
    /// The chain and the key do not belong together, or are of an unknown kind.
    #[error("the certificate in {cert} cannot be used with its key")]
    Pair {
        /// The certificate file.
        cert: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// Our own certificate names nobody.
    #[error("the certificate in {cert} is not an identity of ours")]
    Identity {
        /// The certificate file.
        cert: PathBuf,
        /// Why.
        #[source]
        source: identity::Error,
    },
}

/// Installs the one TLS provider of the process. Harmless twice; the first thing that `main` does.
pub fn install_crypto_provider() {
    // An error means that one is installed, and nothing of ours installs another one.
    let _ = aws_lc_rs::default_provider().install_default();
}

impl Tls {
    /// Reads the certificates; inside a Tokio runtime it also follows their changes.
    ///
    /// # Errors
    /// When the files do not make a consistent set.
    pub fn load(config: &TlsConfig) -> Result<Arc<Self>, Error> {
        let files = Files::read(config)?;
        let current = ArcSwap::from_pointee(files.load(config)?);
        let tls = Arc::new(Self { config: config.clone(), current });
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(follow(Arc::downgrade(&tls)));
        }
        Ok(tls)
    }

    /// Looks at the files now, and takes the new certificates if they changed; says whether they did.
    ///
    /// # Errors
    /// When the files do not make a consistent set; the certificates in use stay.
    pub fn reload(&self) -> Result<bool, Error> {
        let files = Files::read(&self.config)?;
        if files.digest() == self.current.load().digest {
            return Ok(false);
        }
        self.current.store(Arc::new(files.load(&self.config)?));
        Ok(true)
    }

    /// Who we are.
    pub fn identity(&self) -> Identity {
        self.current.load().identity.clone()
    }

    /// The trust domain of this process and its peers.
    pub fn trust_domain(&self) -> &str {
        &self.config.trust_domain
    }

    /// The settings for the next connection that we accept; clients must show a certificate.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().server)
    }

    /// The settings for the next connection to the service `peer`; a server that is not
    /// `spiffe://<trust-domain>/<peer>` is refused.
    ///
    /// # Errors
    /// When our own certificate cannot be used.
    pub fn client_config(&self, peer: &str) -> Result<ClientConfig, Error> {
        let loaded = self.current.load();
        let verifier = verify::Spiffe::new(
            Arc::clone(&loaded.roots),
            self.config.trust_domain.clone(),
            Identity(peer.to_owned()),
        );
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|source| Error::Pair { cert: self.config.cert.clone(), source })?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(loaded.chain.clone(), loaded.key.clone_key())
            .map_err(|source| Error::Pair { cert: self.config.cert.clone(), source })?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(config)
    }
}

/// Without the key, whatever the libraries below decide to print of it.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Reloads until nobody uses the certificates any more.
async fn follow(tls: Weak<Tls>) {
    let mut failing = false;
    loop {
        tokio::time::sleep(RELOAD_INTERVAL).await;
        let Some(tls) = tls.upgrade() else { return };
        let cert = tls.config.cert.display().to_string();
        // The files are small, but they may be on a network volume that hangs.
        match tokio::task::spawn_blocking(move || tls.reload()).await {
            Ok(Ok(true)) => tracing::info!("new certificates from {cert} are in use"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) if !failing => {
                failing = true;
                let cause = crate::report(&error);
                tracing::warn!("the changed certificates are not taken, the old ones stay: {cause}");
                continue;
            }
            Ok(Err(_)) => continue,
            Err(_) => return,
        }
        failing = false;
    }
}

struct Files {
    cert: Vec<u8>,
    key: zeroize::Zeroizing<Vec<u8>>,
    ca: Vec<u8>,
}

impl Files {
    fn read(config: &TlsConfig) -> Result<Self, Error> {
        let read =
            |path: &Path| std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source });
        Ok(Self { cert: read(&config.cert)?, key: read(&config.key)?.into(), ca: read(&config.ca)? })
    }

    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for file in [&self.cert, &*self.key, &self.ca] {
            hash.update((file.len() as u64).to_be_bytes());
            hash.update(file);
        }
        hash.finalize().into()
    }

    fn load(&self, config: &TlsConfig) -> Result<Loaded, Error> {
        let chain = certificates(&self.cert, &config.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|source| Error::Pem { path: config.key.clone(), source })?;
        let mut roots = RootCertStore::empty();
        for authority in certificates(&self.ca, &config.ca)? {
            roots.add(authority).map_err(|source| Error::Authority { path: config.ca.clone(), source })?;
        }
        let roots = Arc::new(roots);
        let identity = identity::of_certificate(&chain[0], &config.trust_domain)
            .map_err(|source| Error::Identity { cert: config.cert.clone(), source })?;
        let server = server(&chain, &key, &roots, config)?;
        Ok(Loaded { server: Arc::new(server), chain, key, roots, identity, digest: self.digest() })
    }
}

fn server(
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
    roots: &Arc<RootCertStore>,
    config: &TlsConfig,
) -> Result<ServerConfig, Error> {
    let pair = |source| Error::Pair { cert: config.cert.clone(), source };
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider())
        .build()
        .map_err(Error::ClientVerifier)?;
    let mut server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain.to_vec(), key.clone_key())
        .map_err(pair)?;
    server.alpn_protocols = vec![ALPN.to_vec()];
    Ok(server)
}

/// Never empty.
fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| Error::Pem { path: path.to_owned(), source })?;
    if found.is_empty() { Err(Error::NoCertificate { path: path.to_owned() }) } else { Ok(found) }
}

fn provider() -> Arc<CryptoProvider> {
    // The installed one if there is one, so that a process has a single provider.
    CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()))
}

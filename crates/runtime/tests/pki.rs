//! A throw-away authority. It and its leaves have distinct names, because OpenSSL takes a leaf with
//! the name of its authority for self-signed.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use runtime::tls::{Tls, TlsConfig};
use tempfile::TempDir;

pub const TRUST_DOMAIN: &str = "metis.test";

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// The files of one process; they live as long as this.
pub struct Files {
    pub directory: TempDir,
    pub config: TlsConfig,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        params.distinguished_name.push(DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Writes a fresh certificate for this SPIFFE id.
    pub fn write(&self, directory: &Path, uri: &str) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        params.distinguished_name.push(DnType::CommonName, "test leaf");
        params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ASCII"))];
        let leaf = params.signed_by(&key, &self.issuer).expect("a certificate");
        std::fs::write(directory.join("cert.pem"), leaf.pem()).expect("written");
        std::fs::write(directory.join("key.pem"), key.serialize_pem()).expect("written");
        std::fs::write(directory.join("ca.pem"), &self.pem).expect("written");
    }

    pub fn files(&self, identity: &str) -> Files {
        self.files_in(TRUST_DOMAIN, identity)
    }

    pub fn files_in(&self, trust_domain: &str, identity: &str) -> Files {
        let directory = TempDir::new().expect("a directory");
        self.write(directory.path(), &format!("spiffe://{trust_domain}/{identity}"));
        let path = |name: &str| directory.path().join(name);
        let config = TlsConfig {
            cert: path("cert.pem"),
            key: path("key.pem"),
            ca: path("ca.pem"),
            trust_domain: trust_domain.to_owned(),
        };
        Files { directory, config }
    }

    pub fn tls(&self, identity: &str) -> Arc<Tls> {
        Tls::load(&self.files(identity).config).expect("good certificates")
    }
}

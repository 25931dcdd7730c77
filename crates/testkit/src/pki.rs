//! A throw-away certificate authority: for tests and for `dev`, where there is mTLS as well.
//!
//! The authority's key is never written down, so no one can use it after this process.

use std::{
    fs::{self, File},
    io::Write,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, SanType, string::Ia5String,
};

use crate::Error;

const AUTHORITY: &str = "Metis sequencer throw-away CA";

/// A certificate authority and the folder with its certificates.
#[derive(Debug)]
pub struct Pki {
    dir: PathBuf,
    trust_domain: String,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// Files of one identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `spiffe://<trust-domain>/<name>`.
    pub uri: String,
    /// Its certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM; readable for us only.
    pub key: PathBuf,
}

impl Pki {
    /// Makes an authority for `trust_domain` whose files are in `dir`.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn new(dir: impl Into<PathBuf>, trust_domain: &str) -> Result<Self, Error> {
        let dir = dir.into();
        fs::create_dir_all(&dir).map_err(Error::file("creating", &dir))?;
        let failed = |source| Error::Certificate { name: AUTHORITY.to_owned(), source };
        let mut params = CertificateParams::default();
        params.distinguished_name = named(AUTHORITY);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(failed)?;
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(failed)?;
        let pki = Self { dir, trust_domain: trust_domain.to_owned(), issuer };
        write(&pki.ca(), &pki.issuer.pem())?;
        Ok(pki)
    }

    /// Certificate of the authority, PEM.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// Makes a certificate that says `spiffe://<trust-domain>/<name>`, for a server on loopback and
    /// for a client.
    ///
    /// # Errors
    /// When the name has other than ASCII characters or the folder cannot be written.
    pub fn identity(&self, name: &str) -> Result<Identity, Error> {
        let failed = |source| Error::Certificate { name: name.to_owned(), source };
        let uri = format!("spiffe://{}/{name}", self.trust_domain);
        let ascii = |text: &str| Ia5String::try_from(text).map_err(failed);
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.subject_alt_names = vec![
            SanType::URI(ascii(&uri)?),
            SanType::DnsName(ascii("localhost")?),
            SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;

        // Names of people have a slash; file names must not.
        let file = name.replace('/', "-");
        let identity = Identity {
            uri,
            certificate: self.dir.join(format!("{file}.pem")),
            key: self.dir.join(format!("{file}.key")),
        };
        write(&identity.certificate, &certificate.pem())?;
        write(&identity.key, &key.serialize_pem())?;
        Ok(identity)
    }
}

/// Authority and leaf must not have the same name, or verifiers take the leaf for self-signed.
fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let write = || {
        // A file that is there keeps its mode when it is written, hence a new one.
        let _ = fs::remove_file(path);
        File::options().create_new(true).write(true).mode(0o600).open(path)?.write_all(text.as_bytes())
    };
    write().map_err(Error::file("writing", path))
}

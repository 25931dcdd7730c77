//! Who is calling: the SPIFFE id in the client certificate, shortened to what the tables name.

use std::fmt;

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The name of a caller that showed no certificate.
pub const ANONYMOUS: &str = "anonymous";

/// A caller: the path of its SPIFFE id with `/` as `:`, such as `lifecycle` or `operator:alice`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity(pub String);

impl Identity {
    /// The caller that showed no certificate.
    pub fn anonymous() -> Self {
        Self(ANONYMOUS.to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a certificate names nobody that we know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are not a certificate.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// SPIFFE wants exactly one URI.
    #[error("the certificate has {0} URI names, it must have exactly one")]
    UriCount(usize),
    /// The URI is of someone else.
    #[error("the certificate is not of the trust domain {0}")]
    OtherTrustDomain(String),
    /// The path is empty or has an empty segment.
    #[error("the SPIFFE id of the certificate has no proper path")]
    Path,
}

/// Reads the identity from a certificate.
///
/// # Errors
/// When the certificate is not an X.509-SVID of `trust_domain`.
pub fn of_certificate(certificate: &CertificateDer<'_>, trust_domain: &str) -> Result<Identity, Error> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| Error::Unreadable)?;
    let names = parsed.subject_alternative_name().map_err(|_| Error::Unreadable)?;
    let uris: Vec<&str> = names
        .iter()
        .flat_map(|extension| extension.value.general_names.iter())
        .filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None })
        .collect();
    let [uri] = uris.as_slice() else { return Err(Error::UriCount(uris.len())) };
    of_spiffe_id(uri, trust_domain)
}

fn of_spiffe_id(uri: &str, trust_domain: &str) -> Result<Identity, Error> {
    let other = || Error::OtherTrustDomain(trust_domain.to_owned());
    let rest = uri.strip_prefix("spiffe://").ok_or_else(other)?;
    let (domain, path) = rest.split_once('/').ok_or(Error::Path)?;
    if domain != trust_domain {
        return Err(other());
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/');
    if path.split('/').any(str::is_empty) || !path.chars().all(allowed) {
        return Err(Error::Path);
    }
    Ok(Identity(path.replace('/', ":")))
}

/// The identity of the caller of a request; anonymous if the transport gave none.
pub fn identity<T>(request: &tonic::Request<T>) -> Identity {
    request.extensions().get::<Identity>().cloned().unwrap_or_else(Identity::anonymous)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spiffe_id_becomes_the_name_in_the_tables() {
        let name = |uri: &str| of_spiffe_id(uri, "metis.test").map(|identity| identity.0);
        let foreign = Err(Error::OtherTrustDomain("metis.test".to_owned()));
        let cases = [
            ("spiffe://metis.test/lifecycle", Ok("lifecycle".to_owned())),
            ("spiffe://metis.test/operator/alice", Ok("operator:alice".to_owned())),
            ("spiffe://metis.test/operator:alice", Ok("operator:alice".to_owned())),
            ("spiffe://metis.test.evil/lifecycle", foreign.clone()),
            ("spiffe://evil/lifecycle", foreign.clone()),
            ("https://metis.test/lifecycle", foreign),
            ("spiffe://metis.test", Err(Error::Path)),
            ("spiffe://metis.test/", Err(Error::Path)),
            ("spiffe://metis.test//lifecycle", Err(Error::Path)),
            ("spiffe://metis.test/life*", Err(Error::Path)),
        ];
        for (uri, expected) in cases {
            assert_eq!(name(uri), expected, "{uri}");
        }
    }
}

use std::{os::unix::fs::PermissionsExt, sync::Arc};

use rustls::{RootCertStore, crypto::aws_lc_rs, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject};
use testkit::Pki;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

#[test]
fn identities_are_signed_by_the_authority_and_carry_their_uri() {
    let dir = tempfile::tempdir().expect("a folder");
    let pki = Pki::new(dir.path(), "dev.metis").expect("an authority");
    let identity = pki.identity("operator/alice").expect("a certificate");
    assert_eq!(identity.uri, "spiffe://dev.metis/operator/alice");

    let authority = CertificateDer::from_pem_file(pki.ca()).expect("a certificate");
    let certificate = CertificateDer::from_pem_file(&identity.certificate).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).expect("an authority");
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let verified = verifier.expect("a verifier").verify_client_cert(&certificate, &[], UnixTime::now());
    verified.expect("signed by the authority, for a client");

    let (_, authority) = parse_x509_certificate(&authority).expect("a certificate");
    let (_, leaf) = parse_x509_certificate(&certificate).expect("a certificate");
    assert_ne!(leaf.subject(), authority.subject());
    let names = leaf.subject_alternative_name().expect("well-formed").expect("there");
    assert!(names.value.general_names.contains(&GeneralName::URI(&identity.uri)));

    let mode = std::fs::metadata(&identity.key).expect("a file").permissions().mode();
    assert_eq!(mode & 0o077, 0, "the key is for us only");
}

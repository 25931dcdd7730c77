use std::net::SocketAddr;
use std::sync::Arc;

use runtime::client::channel;
use runtime::errors::refusal_of;
use runtime::tls::{Error, Tls};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::echo::{SAY, call, serve};
use crate::pki::{Authority, TRUST_DOMAIN};

/// The certificate that a server shows to the next connection.
async fn shown(address: SocketAddr, tls: &Tls, peer: &str) -> Vec<u8> {
    let config = Arc::new(tls.client_config(peer).expect("good certificates"));
    let stream = TcpStream::connect(address).await.expect("connected");
    let name = ServerName::try_from("any").expect("a name");
    let stream = TlsConnector::from(config).connect(name, stream).await.expect("trusted");
    stream.get_ref().1.peer_certificates().expect("shown")[0].to_vec()
}

#[tokio::test]
async fn new_certificates_are_used_without_a_restart() {
    let authority = Authority::new();
    let files = authority.files("keys");
    let tls = Tls::load(&files.config).expect("good certificates");
    let server = serve("keys", Arc::clone(&tls), None).await;
    let client = authority.tls("lifecycle");
    let peer = channel(server.address, "keys", Arc::clone(&client));
    let before = shown(server.address, &client, "keys").await;
    assert_eq!(call(peer.clone(), SAY, "before").await.expect("an answer"), "before");

    assert!(!tls.reload().expect("unchanged"), "the same bytes are no change");
    authority.write(files.directory.path(), &format!("spiffe://{TRUST_DOMAIN}/keys"));
    assert!(tls.reload().expect("good certificates"));

    assert_ne!(shown(server.address, &client, "keys").await, before);
    assert_eq!(call(peer, SAY, "after").await.expect("the old connection lives on"), "after");
}

#[tokio::test]
async fn certificates_change_all_or_nothing() {
    let authority = Authority::new();
    let files = authority.files("keys");
    let tls = Tls::load(&files.config).expect("good certificates");
    let server = serve("keys", Arc::clone(&tls), None).await;
    let client = authority.tls("lifecycle");
    let before = shown(server.address, &client, "keys").await;

    // The certificate is already new, its key is still on its way.
    let next = authority.files("keys");
    std::fs::copy(&next.config.cert, &files.config.cert).expect("copied");
    assert!(matches!(tls.reload(), Err(Error::Pair { .. })));
    assert_eq!(shown(server.address, &client, "keys").await, before, "the old pair stays");

    std::fs::copy(&next.config.key, &files.config.key).expect("copied");
    assert!(tls.reload().expect("now they match"));
    assert_ne!(shown(server.address, &client, "keys").await, before);
}

#[tokio::test]
async fn a_server_that_is_another_service_is_not_talked_to() {
    let authority = Authority::new();
    let server = serve("indexer", authority.tls("indexer"), None).await;
    let peer = channel(server.address, "keys", authority.tls("lifecycle"));
    let status = call(peer, SAY, "x").await.expect_err("not the keys service");
    assert_eq!(refusal_of(&status).expect("details").reason, "PEER_UNAVAILABLE");
}

#[tokio::test]
async fn strangers_are_turned_away_in_the_handshake() {
    let authority = Authority::new();
    let server = serve("keys", authority.tls("keys"), None).await;
    // Trusts our authority, but its own certificate is from another one.
    let stranger = Authority::new().files("lifecycle");
    std::fs::copy(&authority.files("x").config.ca, &stranger.config.ca).expect("copied");
    let peer = channel(server.address, "keys", Tls::load(&stranger.config).expect("consistent"));
    call(peer, SAY, "x").await.expect_err("not of our authority");

    // Of our authority, but with an identity of another trust domain.
    let foreign = authority.files_in("other.test", "lifecycle");
    let mut config = foreign.config.clone();
    config.trust_domain = TRUST_DOMAIN.to_owned();
    assert!(matches!(Tls::load(&config), Err(Error::Identity { .. })), "it cannot pose as ours");
    let peer = channel(server.address, "keys", Tls::load(&foreign.config).expect("consistent"));
    call(peer, SAY, "x").await.expect_err("not of our trust domain");
    assert_eq!(server.echo.calls.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[test]
fn missing_and_broken_files_are_named() {
    let files = Authority::new().files("keys");
    std::fs::write(&files.config.ca, "not PEM").expect("written");
    let error = Tls::load(&files.config).expect_err("no authority");
    assert!(error.to_string().contains("ca.pem"), "{error}");
    std::fs::remove_file(&files.config.key).expect("removed");
    let error = Tls::load(&files.config).expect_err("no key");
    assert!(matches!(error, Error::Read { .. }) && error.to_string().contains("key.pem"), "{error}");
}

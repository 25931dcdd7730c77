//! The backend for Web3Signer on a stub.

use keys::backend::{Error, Settings, Unusable, Wanted, proof, settings};
use keys::db::key::Role;

use super::contract;
use super::gate::Gate;
use super::web3signer_stub::Stub;

pub fn settings(address: std::net::SocketAddr) -> Settings {
    Settings::Web3signer(settings::Web3signer {
        url: format!("http://{address}/"),
        ca: None,
        cert: None,
        key: None,
        limits: contract::limits(),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_in_a_web3signer_hold_the_contract_and_an_outage() {
    let stub = Stub::start().await;
    let identifier = stub.add([5; 32]);
    let gate = Gate::before(stub.address).await;
    let backend = contract::open(settings(gate.address)).await;
    // Found however it is written, kept as it is written there.
    let found = backend.find(&identifier.to_uppercase().replace("0X", "0x")).await.unwrap();
    assert_eq!(found.place.reference(), Some(identifier.as_str()));
    let key = contract::key(&contract::fresh(), found);
    let unknown = format!("0x{}", "11".repeat(64));
    contract::holds(backend.clone(), &key, &unknown).await;
    contract::survives(backend.as_ref(), &key, &gate).await;

    let wanted = Wanted { key_id: "a", name: "a", role: Role::Owner };
    assert!(matches!(backend.generate(&wanted).await, Err(Error::Unsupported { .. })));
}

#[tokio::test]
async fn a_signature_of_another_key_is_found_out() {
    let stub = Stub::start().await;
    let identifier = stub.add([5; 32]);
    let backend = contract::open(settings(stub.address)).await;
    let key = contract::key(&contract::fresh(), backend.find(&identifier).await.unwrap());
    stub.betray(&identifier, [6; 32]);
    let payload = contract::random_payload();
    let numbers = backend.sign(&key, &payload).await.unwrap();
    let unfaithful = proof::signature(numbers, payload.digest(), key.address).unwrap_err();
    assert_eq!(unfaithful, Unusable::Unfaithful(key.address));
}

#[tokio::test]
async fn a_silent_server_is_slow_and_no_more_wait_than_may() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = settings(silent.local_addr().unwrap());
    let Settings::Web3signer(inner) = &mut settings else { unreachable!() };
    inner.limits.timeout_ms = std::num::NonZeroU32::new(300);
    inner.limits.concurrent = std::num::NonZeroU32::new(1);
    let backend = contract::open(settings).await;
    let waiting = (0..40).map(|_| {
        let backend = backend.clone();
        tokio::spawn(async move { backend.health().await.unwrap_err() })
    });
    let (mut slow, mut busy) = (0, 0);
    for done in futures::future::join_all(waiting).await {
        match done.unwrap() {
            Error::Slow(_) => slow += 1,
            Error::Busy => busy += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((slow, busy), (17, 23), "one asks, sixteen wait, the others are told at once");
}

#[tokio::test]
async fn the_rate_stays_below_its_bound() {
    let stub = Stub::start().await;
    let mut settings = settings(stub.address);
    let Settings::Web3signer(inner) = &mut settings else { unreachable!() };
    inner.limits.per_second = std::num::NonZeroU32::new(20);
    let backend = contract::open(settings).await;
    let begun = std::time::Instant::now();
    for _ in 0..40 {
        backend.health().await.unwrap();
    }
    // Twenty at once, the others twenty a second.
    assert!(begun.elapsed() > std::time::Duration::from_millis(900), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn plain_http_is_for_loopback_only() {
    use keys::backend::web3signer::Web3signer;
    let of = |url: &str| settings::Web3signer {
        url: url.to_owned(),
        ca: None,
        cert: None,
        key: None,
        limits: contract::limits(),
    };
    for url in ["http://signer.example:9000", "ftp://127.0.0.1", "signer", "https://signer.example:9000"] {
        assert!(Web3signer::open("w", &of(url)).is_err(), "{url}");
    }
    assert!(Web3signer::open("w", &of("http://127.0.0.1:9000")).is_ok());
}

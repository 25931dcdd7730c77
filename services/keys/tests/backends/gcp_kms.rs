//! The backend for Google's KMS on a stub over gRPC.

use keys::backend::gcp_kms::GcpKms;
use keys::backend::{Error, Settings, Unusable, settings};
use runtime::config::Secret;

use super::contract;
use super::gate::Gate;
use super::gcp_stub::{RING, Spoil, Stub, TOKEN};

fn settings(address: std::net::SocketAddr, token: &str) -> settings::GcpKms {
    settings::GcpKms {
        key_ring: RING.to_owned(),
        token: Some(Secret::new(token.to_owned())),
        ca: None,
        endpoint: Some(format!("http://{address}")),
        limits: contract::limits(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_at_google_hold_the_contract_and_an_outage() {
    let stub = Stub::start().await;
    let gate = Gate::before(stub.address).await;
    let backend = contract::open(Settings::GcpKms(settings(gate.address, TOKEN))).await;
    let key = contract::generate(backend.as_ref()).await;
    let reference = key.place.reference().unwrap();
    assert!(reference.starts_with(&format!("{RING}/cryptoKeys/metis-")), "{reference}");
    assert!(reference.ends_with("/cryptoKeyVersions/1"));
    let unknown = format!("{RING}/cryptoKeys/none/cryptoKeyVersions/1");
    contract::holds(backend.clone(), &key, &unknown).await;
    contract::survives(backend.as_ref(), &key, &gate).await;
    assert!(!format!("{backend:?}").contains(TOKEN));
}

#[tokio::test]
async fn an_answer_that_changed_on_the_way_is_refused() {
    let stub = Stub::start().await;
    let backend = contract::open(Settings::GcpKms(settings(stub.address, TOKEN))).await;
    let key = contract::generate(backend.as_ref()).await;
    for (spoil, found) in [
        (Spoil::Checksum, Unusable::Checksum),
        (Spoil::Name, Unusable::OtherKey(format!("{}0", key.place.reference().unwrap()))),
        (Spoil::Der, Unusable::Signature),
    ] {
        stub.spoil(Some(spoil));
        let refused = backend.sign(&key, &contract::random_payload()).await.unwrap_err();
        assert!(matches!(&refused, Error::Unusable(unusable) if *unusable == found), "{refused:?}");
    }
    stub.spoil(None);
    contract::sign(backend.as_ref(), &key, &contract::random_payload()).await.unwrap();
}

#[tokio::test]
async fn a_wrong_token_is_a_refusal_and_does_not_appear_in_it() {
    let stub = Stub::start().await;
    let backend = contract::open(Settings::GcpKms(settings(stub.address, "canary-wrong"))).await;
    let refused = backend.health().await.unwrap_err();
    assert!(matches!(refused, Error::Refused(_)), "{refused:?}");
    assert!(!format!("{refused:?} {}", runtime::report(&refused)).contains("canary"));
}

#[tokio::test]
async fn settings_that_cannot_be_meant_are_refused() {
    let address = ([127, 0, 0, 1], 1).into();
    let good = settings(address, TOKEN);
    let plain = settings::GcpKms { endpoint: Some("http://kms.example".to_owned()), ..good.clone() };
    let ring = settings::GcpKms { key_ring: "r".to_owned(), ..good.clone() };
    for settings in [plain, ring] {
        assert!(GcpKms::open("g", &settings).is_err());
    }
    assert!(GcpKms::open("g", &good).is_ok());
}

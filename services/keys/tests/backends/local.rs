//! The backend that is always there.

use std::sync::Arc;

use keys::backend::{Backend, Error};

use super::contract;

#[tokio::test]
async fn local_keys_hold_the_contract() {
    let backend: Arc<dyn Backend> = Arc::new(contract::local(0xab));
    let key = contract::generate(backend.as_ref()).await;
    contract::holds(Arc::clone(&backend), &key, "").await;
    assert!(matches!(backend.find("x").await, Err(Error::Unsupported { .. })));
    assert!(!format!("{backend:?}").contains("171"), "{backend:?}");
}

#[tokio::test]
async fn a_local_key_signs_a_payload_always_the_same_way() {
    let backend = contract::local(1);
    let (key, payload) = (contract::generate(&backend).await, contract::random_payload());
    assert_eq!(backend.sign(&key, &payload).await.unwrap(), backend.sign(&key, &payload).await.unwrap());
}

#[tokio::test]
async fn an_envelope_under_another_key_gives_no_signature() {
    let key = contract::generate(&contract::local(1)).await;
    let other = contract::local(2);
    let failed = other.sign(&key, &contract::random_payload()).await.unwrap_err();
    assert!(matches!(failed, Error::Envelope(_)) && !failed.passes());
}

//! What every backend must do. Each test of a kind brings its own world and calls these.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use keys::backend::{Backend, Backends, Error, Held, Local, Payload, Place, Settings, Wanted, proof};
use keys::crypto::kek::Sources;
use keys::crypto::{KeyEncryptionKey, Ring};
use keys::db::key::{Key, Role, State};
use keys::metrics::Metrics;
use rand::RngExt;
use time::OffsetDateTime;

pub const NAME: &str = "tested";
/// How long a caller may wait to learn that a backend is down: the deadline of the tests and a margin.
const QUICKLY: Duration = Duration::from_secs(4);

/// A backend as the service makes it, with its bounds.
pub async fn open(settings: Settings) -> Arc<dyn Backend> {
    runtime::install_crypto_provider();
    let local = local(7);
    let configured = BTreeMap::from([(NAME.to_owned(), settings)]);
    let backends = Backends::open(local, &configured, &Metrics::new()).await.unwrap();
    Arc::clone(backends.named(NAME).unwrap())
}

/// Local keys under a first key-encryption key of this byte.
pub fn local(byte: u8) -> Local {
    let ring = Ring::new(Sources::default());
    ring.add(1, KeyEncryptionKey::from_bytes(&[byte; 32]));
    Local::new(Arc::new(ring))
}

/// Some key id, as the service gives them out.
pub fn fresh() -> String {
    uuid::Uuid::now_v7().to_string()
}

pub async fn generate(backend: &dyn Backend) -> Key {
    let id = fresh();
    let wanted = Wanted { key_id: &id, name: "tested", role: Role::Owner };
    key(&id, backend.generate(&wanted).await.unwrap())
}

/// The row of a key.
pub fn key(id: &str, held: Held) -> Key {
    Key {
        id: id.to_owned(),
        name: "tested".to_owned(),
        role: Role::Owner,
        state: State::Enabled,
        place: held.place,
        address: held.public_key.address(),
        public_key: held.public_key,
        labels: BTreeMap::new(),
        created_at: OffsetDateTime::now_utc(),
        backup_proven_at: None,
    }
}

pub fn random_payload() -> Payload {
    let mut bytes = vec![0; 1 + usize::from(rand::rng().random::<u8>())];
    rand::rng().fill(&mut bytes[..]);
    Payload::new(bytes)
}

/// Signs and proves.
pub async fn sign(backend: &dyn Backend, key: &Key, payload: &Payload) -> Result<(), Error> {
    let numbers = backend.sign(key, payload).await?;
    let signature = proof::signature(numbers, payload.digest(), key.address)?;
    assert_eq!(signature.normalize_s(), None, "s is low");
    assert_eq!(signature.recover_address_from_prehash(payload.digest()).unwrap(), key.address);
    Ok(())
}

/// Everything but what happens when it is down.
pub async fn holds(backend: Arc<dyn Backend>, held: &Key, unknown: &str) {
    backend.health().await.unwrap();
    for _ in 0..200 {
        sign(backend.as_ref(), held, &random_payload()).await.unwrap();
    }
    let at_once = (0..64).map(|_| {
        let (backend, held) = (Arc::clone(&backend), held.clone());
        tokio::spawn(async move { sign(backend.as_ref(), &held, &random_payload()).await })
    });
    for done in join_all(at_once).await {
        done.unwrap().unwrap();
    }
    if let Some(reference) = held.place.reference() {
        let found = backend.find(reference).await.unwrap();
        assert_eq!((found.public_key, &found.place), (held.public_key, &held.place));
        knows_only_its_own(backend.as_ref(), held, unknown).await;
    }
}

async fn knows_only_its_own(backend: &dyn Backend, held: &Key, unknown: &str) {
    assert!(matches!(backend.find(unknown).await, Err(Error::UnknownKey(_))), "find");
    let place = Place::Remote { backend: NAME.to_owned(), reference: unknown.to_owned() };
    let stranger = Key { place, ..held.clone() };
    let refused = backend.sign(&stranger, &random_payload()).await.unwrap_err();
    assert!(matches!(refused, Error::UnknownKey(_)), "sign: {refused:?}");
    assert!(!refused.passes());
}

/// Down: an error that passes, soon. Up again: signs, without a restart.
pub async fn survives(backend: &dyn Backend, held: &Key, gate: &super::gate::Gate) {
    gate.close();
    let begun = Instant::now();
    let away = backend.sign(held, &random_payload()).await.unwrap_err();
    assert!(away.passes(), "{away:?}");
    assert!(begun.elapsed() < QUICKLY, "{:?}", begun.elapsed());
    assert!(backend.health().await.is_err());
    gate.open();
    testkit::wait_until("the backend signs again", Duration::from_secs(20), || async {
        sign(backend, held, &random_payload()).await.is_ok()
    })
    .await;
    backend.health().await.unwrap();
}

/// Limits that do not slow a test.
pub fn limits() -> keys::backend::settings::Limits {
    keys::backend::settings::Limits {
        timeout_ms: std::num::NonZeroU32::new(3_000),
        concurrent: None,
        per_second: std::num::NonZeroU32::new(100_000),
    }
}

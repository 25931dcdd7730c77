//! Where the key-encryption key may come from, and what happens when it does not come.

use std::time::Duration;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use api::keys::v1::{CreateKeyRequest, GetKeyRequest, KeyRole, RotateKekRequest, get_key_request::Selector};
use keys::Config;
use keys::config::Previous;
use keys::crypto::kek::{AgeConfig, TransitConfig};
use keys::policy::call::approveCall;
use runtime::config::Secret;
use testkit::{Pki, wait_until};
use tonic::Code;

use crate::stand::{INFO, KEK, METIS, Stand, config, metis, refusal, request};
use crate::transit::Engine;

/// A sealed service tries again after 1, 2, 4 seconds.
const RETRIED: Duration = Duration::from_secs(30);

fn age(identity: &Identity) -> AgeConfig {
    // As age-keygen writes it.
    let text = format!(
        "# created: today\n# public key: {}\n{}\n",
        identity.to_public(),
        identity.to_string().expose_secret()
    );
    AgeConfig { identity: Secret::new(text) }
}

fn by_age(identity: &Identity) -> Config {
    Config { kek_age: Some(age(identity)), ..Config::default() }
}

fn by_transit(transit: TransitConfig) -> Config {
    Config { kek_transit: Some(transit), ..Config::default() }
}

fn reason(stand: &Stand) -> String {
    stand.health.snapshot().checks["keys.unsealed"].clone().unwrap_err()
}

async fn signs(stand: &Stand, key: &api::keys::v1::Key, nonce: u64) {
    let call = approveCall { spender: INFO, value: metis(1) };
    stand.sign(request(key, METIS, &call, nonce)).await.unwrap();
}

#[tokio::test]
async fn an_age_identity_opens_what_was_made_for_it_and_another_does_not() {
    let db = testkit::database().await;
    let (identity, other) = (Identity::generate(), Identity::generate());
    let first = Stand::with(&db, by_age(&identity)).await;
    let key = first.create("alpha", KeyRole::Owner).await;
    first.stop().await;
    let second = Stand::with(&db, by_age(&identity)).await;
    signs(&second, &key, 0).await;
    second.stop().await;

    let stranger = Stand::with(&db, by_age(&other)).await;
    assert!(
        reason(&stranger).contains("not the one this installation was made with"),
        "{}",
        reason(&stranger)
    );
    let no_identity = AgeConfig { identity: Secret::new("# only a comment".to_owned()) };
    let empty = Stand::with(&db, Config { kek_age: Some(no_identity), ..Config::default() }).await;
    assert!(reason(&empty).contains("AGE-SECRET-KEY-1"), "{}", reason(&empty));
}

#[tokio::test]
async fn a_transit_engine_that_is_away_seals_the_service_until_it_is_back() {
    let db = testkit::database().await;
    let engine = Engine::start().await;
    let transit = engine.config();
    let first = Stand::with(&db, by_transit(transit.clone())).await;
    let key = first.create("alpha", KeyRole::Owner).await;
    first.stop().await;

    let back = engine.stop().await;
    let second = Stand::with(&db, by_transit(transit.clone())).await;
    assert!(reason(&second).contains("cannot be reached"), "{}", reason(&second));
    let get = GetKeyRequest { selector: Some(Selector::Id(key.id.clone())) };
    let status = second.operator.clone().get_key(get).await.unwrap_err();
    assert_eq!((status.code(), refusal(&status).reason.as_str()), (Code::Unavailable, "SEALED"));

    let _engine = back().await;
    wait_until("it opens by itself", RETRIED, || async { second.health.is_ready() }).await;
    signs(&second, &key, 0).await;

    let unknown = TransitConfig { token: Secret::new("hvs.other".to_owned()), ..transit.clone() };
    assert!(reason(&Stand::with(&db, by_transit(unknown)).await).contains("403"));
    let plain = TransitConfig { url: "http://vault.example:8200".to_owned(), ..transit };
    assert!(reason(&Stand::with(&db, by_transit(plain)).await).contains("no https address"));
}

#[tokio::test]
async fn a_transit_engine_is_believed_only_by_its_own_authority() {
    runtime::install_crypto_provider();
    let db = testkit::database().await;
    let folder = tempfile::tempdir().unwrap();
    let (ours, other) = (folder.path().join("ours"), folder.path().join("other"));
    let (pki, stranger) = (Pki::new(ours, "vault.test").unwrap(), Pki::new(other, "vault.test").unwrap());
    let (_engine, transit) = Engine::start_encrypted(&pki).await;
    let stand = Stand::with(&db, by_transit(transit.clone())).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    signs(&stand, &key, 0).await;
    stand.stop().await;
    for ca in [Some(stranger.ca()), None] {
        let stand = Stand::with(&db, by_transit(TransitConfig { ca, ..transit.clone() })).await;
        assert!(reason(&stand).contains("cannot be reached"), "{}", reason(&stand));
    }
}

#[tokio::test]
async fn an_installation_that_cannot_be_made_is_sealed_and_made_later() {
    let db = testkit::database().await;
    let engine = Engine::start().await;
    let transit = engine.config();
    let back = engine.stop().await;
    let stand = Stand::with(&db, by_transit(transit)).await;
    let create = CreateKeyRequest { name: "alpha".to_owned(), ..CreateKeyRequest::default() };
    let refused = refusal(&stand.operator.clone().create_key(create).await.unwrap_err());
    assert_eq!(refused.reason, "SEALED");
    let _engine = back().await;
    wait_until("it opens by itself", RETRIED, || async { stand.health.is_ready() }).await;
    stand.create("alpha", KeyRole::Owner).await;
}

#[tokio::test]
async fn keys_move_from_one_kind_of_source_to_the_next() {
    let db = testkit::database().await;
    let engine = Engine::start().await;
    let identity = Identity::generate();
    let file = || Previous { key: Some(Secret::new(KEK.to_owned())), ..Previous::default() };
    let of_age = || Previous { age: Some(age(&identity)), ..Previous::default() };
    let steps = [
        (Config { kek_previous: Some(file()), ..by_age(&identity) }, "AGE"),
        (Config { kek_previous: Some(of_age()), ..by_transit(engine.config()) }, "TRANSIT"),
        (by_transit(engine.config()), "TRANSIT"),
    ];
    let first = Stand::with(&db, config()).await;
    let key = first.create("alpha", KeyRole::Owner).await;
    first.stop().await;
    for (generation, (config, source)) in (1..).zip(steps) {
        let stand = Stand::with(&db, config).await;
        let request = RotateKekRequest { from_generation: generation, validate_only: false };
        let answer = stand.operator.clone().rotate_kek(request).await.unwrap().into_inner();
        assert_eq!(
            (answer.generation, answer.remaining, answer.source.as_str()),
            (generation + 1, 0, source)
        );
        signs(&stand, &key, u64::from(generation)).await;
        stand.stop().await;
    }
    let last = Stand::with(&db, by_transit(engine.config())).await;
    signs(&last, &key, 9).await;
}

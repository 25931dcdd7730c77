//! The PKCS#11 backend on SoftHSM2.

use std::path::PathBuf;

use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use keys::backend::pkcs11::load;
use keys::backend::{Error, Settings, settings};
use runtime::config::Secret;

use super::contract;

/// A PIN, and so a canary.
pub const PIN: &str = "73910264";

/// The library, and a new token in it.
pub struct Hsm {
    pub module: PathBuf,
    pub token: String,
    slot: Slot,
}

impl Hsm {
    pub fn new() -> Self {
        let module = testkit::softhsm::set_up(|module| drop(load(module).unwrap())).unwrap();
        let library = load(&module).unwrap();
        // The module takes one new token at a time.
        static MAKING: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _making = MAKING.lock().unwrap();
        let token = format!("t-{}", &uuid::Uuid::new_v4().simple().to_string()[..16]);
        let free = |slot: &Slot| !library.get_token_info(*slot).unwrap().token_initialized();
        let slot = library.get_all_slots().unwrap().into_iter().find(free).unwrap();
        library.init_token(slot, &AuthPin::from("so-pin-1"), &token).unwrap();
        let named = |slot: &Slot| library.get_token_info(*slot).unwrap().label() == token;
        let slot = library.get_slots_with_initialized_token().unwrap().into_iter().find(named).unwrap();
        let session = library.open_rw_session(slot).unwrap();
        session.login(UserType::So, Some(&AuthPin::from("so-pin-1"))).unwrap();
        session.init_pin(&AuthPin::from(PIN)).unwrap();
        drop(session);
        Self { module, token, slot }
    }

    pub fn settings(&self) -> settings::Pkcs11 {
        settings::Pkcs11 {
            module: self.module.clone(),
            token: self.token.clone(),
            pin: Secret::new(PIN.to_owned()),
            limits: contract::limits(),
        }
    }

    /// Logs the whole process out of the token, as the loss of its connection does.
    fn lose_the_login(&self) {
        self.session().logout().unwrap();
    }

    /// How many private keys are in the token.
    pub fn private_keys(&self) -> usize {
        self.session().find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)]).unwrap().len()
    }

    fn session(&self) -> Session {
        load(&self.module).unwrap().open_rw_session(self.slot).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_in_a_hardware_module_hold_the_contract() {
    let hsm = Hsm::new();
    let backend = contract::open(Settings::Pkcs11(hsm.settings())).await;
    let key = contract::generate(backend.as_ref()).await;
    contract::holds(backend, &key, &"ab".repeat(16)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_made_inside_and_cannot_be_read_or_wrapped() {
    let hsm = Hsm::new();
    let backend = contract::open(Settings::Pkcs11(hsm.settings())).await;
    let key = contract::generate(backend.as_ref()).await;

    let id = hex::decode(key.place.reference().unwrap()).unwrap();
    let session = hsm.session();
    let template = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Id(id)];
    let private = session.find_objects(&template).unwrap()[0];
    let wanted = [
        AttributeType::Sensitive,
        AttributeType::AlwaysSensitive,
        AttributeType::Extractable,
        AttributeType::NeverExtractable,
        AttributeType::Local,
    ];
    let said = session.get_attributes(private, &wanted).unwrap();
    let expected = [
        Attribute::Sensitive(true),
        Attribute::AlwaysSensitive(true),
        Attribute::Extractable(false),
        Attribute::NeverExtractable(true),
        Attribute::Local(true),
    ];
    assert_eq!(said, expected);
    let value = session.get_attributes(private, &[AttributeType::Value]);
    assert!(value.is_err() || value.is_ok_and(|given| given.is_empty()), "the secret is not given out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_login_is_made_again() {
    let hsm = Hsm::new();
    let backend = contract::open(Settings::Pkcs11(hsm.settings())).await;
    let key = contract::generate(backend.as_ref()).await;
    for _ in 0..3 {
        hsm.lose_the_login();
        contract::sign(backend.as_ref(), &key, &contract::random_payload()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_or_token_that_is_missing_is_away_until_it_comes() {
    let hsm = Hsm::new();
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("module.so");
    let settings = settings::Pkcs11 { module: module.clone(), ..hsm.settings() };
    let backend = contract::open(Settings::Pkcs11(settings)).await;
    let away = backend.health().await.unwrap_err();
    assert!(matches!(away, Error::Away(_)), "{away:?}");

    std::os::unix::fs::symlink(&hsm.module, &module).unwrap();
    let key = contract::generate(backend.as_ref()).await;
    contract::sign(backend.as_ref(), &key, &contract::random_payload()).await.unwrap();

    let settings = settings::Pkcs11 { token: "nowhere".to_owned(), ..hsm.settings() };
    let away = contract::open(Settings::Pkcs11(settings)).await.health().await.unwrap_err();
    assert!(matches!(away, Error::Away(_)), "{away:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_pin_is_tried_once_so_that_the_token_does_not_lock() {
    let hsm = Hsm::new();
    let settings = settings::Pkcs11 { pin: Secret::new("00000000".to_owned()), ..hsm.settings() };
    let backend = contract::open(Settings::Pkcs11(settings)).await;
    for _ in 0..5 {
        let refused = backend.health().await.unwrap_err();
        assert!(matches!(refused, Error::Refused(_)) && !refused.passes(), "{refused:?}");
        assert!(!format!("{refused:?} {backend:?}").contains("00000000"));
    }
    let token = load(&hsm.module).unwrap().get_token_info(hsm.slot).unwrap();
    assert!(!token.user_pin_locked() && !token.user_pin_final_try());
    contract::open(Settings::Pkcs11(hsm.settings())).await.health().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_is_printed() {
    let backend = contract::open(Settings::Pkcs11(Hsm::new().settings())).await;
    backend.health().await.unwrap();
    assert!(!format!("{backend:?}").contains(PIN), "{backend:?}");
}

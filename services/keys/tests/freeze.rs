//! Freezes: one call, at once, everywhere, over restarts; and not lifted by one alone.

use std::collections::BTreeMap;
use std::time::Duration;

use api::keys::v1::approve_intent_request::Intent;
use api::keys::v1::thaw_intent::Target;
use api::keys::v1::{
    CreateKeyRequest, FreezeLabelRequest, Key, KeyRole, KeyState, Label, ListFrozenLabelsRequest,
    SetKeyStateRequest, ThawIntent, ThawLabelRequest,
};
use keys::policy::call::approveCall;
use sea_orm::{ConnectionTrait, TransactionTrait};
use testkit::wait_until;

use crate::approvals::approve;
use crate::stand::{Client, INFO, METIS, Stand, metis, refusal, request, set_rules};

pub async fn approve_thaw(stand: &Stand, key: &Key) {
    approve(&stand.colleague, Intent::Thaw(ThawIntent { target: Some(Target::KeyId(key.id.clone())) })).await;
}

const DEADLINE: Duration = Duration::from_secs(30);

fn site(value: &str) -> Option<Label> {
    Some(Label { name: "site".to_owned(), value: value.to_owned() })
}

fn freeze(value: &str) -> FreezeLabelRequest {
    FreezeLabelRequest { label: site(value), reason: "incident 7".to_owned() }
}

fn thaw(value: &str) -> ThawLabelRequest {
    ThawLabelRequest { label: site(value), reason: "it was a drill".to_owned() }
}

async fn create(stand: &Stand, name: &str, labels: &[(&str, &str)]) -> Key {
    let labels: BTreeMap<_, _> = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let request = CreateKeyRequest {
        request_id: uuid::Uuid::now_v7().to_string(),
        name: name.to_owned(),
        role: KeyRole::Owner.into(),
        labels,
        ..CreateKeyRequest::default()
    };
    stand.operator.clone().create_key(request).await.unwrap().into_inner().key.unwrap()
}

async fn set_state(client: &Client, key: &Key, state: KeyState) -> Result<KeyState, String> {
    let set = SetKeyStateRequest { id: key.id.clone(), state: state.into(), reason: "test".to_owned() };
    match client.clone().set_key_state(set).await {
        Ok(answer) => Ok(answer.into_inner().key.unwrap().state()),
        Err(status) => Err(refusal(&status).reason),
    }
}

async fn signs(stand: &Stand, key: &Key, nonce: u64) -> Result<(), String> {
    let asked = request(key, METIS, &approveCall { spender: INFO, value: metis(1) }, nonce);
    stand.sign(asked).await.map(drop).map_err(|refused| refused.reason)
}

#[tokio::test]
async fn a_label_freezes_all_its_keys_in_every_replica_over_restarts_and_those_that_come_later() {
    let db = testkit::database().await;
    let (one, two) = (Stand::start(&db).await, Stand::start(&db).await);
    let alpha = create(&one, "alpha", &[("site", "one")]).await;
    let beta = create(&one, "beta", &[("site", "two")]).await;
    signs(&two, &alpha, 0).await.unwrap();
    let frozen = one.operator.clone().freeze_label(freeze("one")).await.unwrap().into_inner();
    assert_eq!(frozen.keys, 1);
    assert_eq!(
        signs(&two, &alpha, 0).await,
        Err("KEY_NOT_ENABLED".to_owned()),
        "not even what was signed before"
    );
    signs(&two, &beta, 0).await.unwrap();
    let again = one.operator.clone().freeze_label(freeze("one")).await.unwrap_err();
    assert_eq!(refusal(&again).reason, "LABEL_FROZEN");
    one.stop().await;
    two.stop().await;

    let stand = Stand::start(&db).await;
    assert_eq!(signs(&stand, &alpha, 1).await, Err("KEY_NOT_ENABLED".to_owned()));
    let late = create(&stand, "late", &[("site", "one")]).await;
    assert_eq!(late.state(), KeyState::Frozen);
    assert_eq!(signs(&stand, &late, 0).await, Err("KEY_NOT_ENABLED".to_owned()));
    let list =
        stand.operator.clone().list_frozen_labels(ListFrozenLabelsRequest {}).await.unwrap().into_inner();
    let [label] = list.labels.as_slice() else { panic!("{list:?}") };
    assert_eq!(
        (label.label.clone(), label.frozen_by.as_str(), label.reason.as_str()),
        (site("one"), "operator:alice", "incident 7")
    );
}

#[tokio::test]
async fn a_freeze_is_lifted_by_two_and_each_freeze_needs_its_own_round() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let alpha = create(&stand, "alpha", &[("site", "one"), ("tier", "a")]).await;
    let beta = create(&stand, "beta", &[("site", "one")]).await;
    let mut alice = stand.operator.clone();
    let nothing = alice.thaw_label(thaw("one")).await.unwrap_err();
    assert_eq!(refusal(&nothing).reason, "LABEL_NOT_FROZEN");
    alice.freeze_label(freeze("one")).await.unwrap();
    set_state(&stand.operator, &beta, KeyState::Frozen).await.unwrap();
    let target = || Intent::Thaw(ThawIntent { target: site("one").map(Target::Label) });
    assert_eq!(refusal(&alice.thaw_label(thaw("one")).await.unwrap_err()).reason, "APPROVALS_MISSING");
    approve(&stand.operator, target()).await;
    assert_eq!(refusal(&alice.thaw_label(thaw("one")).await.unwrap_err()).reason, "APPROVALS_MISSING");
    approve(&stand.colleague, target()).await;
    assert_eq!(alice.thaw_label(thaw("one")).await.unwrap().into_inner().keys, 2);
    signs(&stand, &alpha, 0).await.unwrap();
    assert_eq!(signs(&stand, &beta, 0).await, Err("KEY_NOT_ENABLED".to_owned()), "frozen by itself");

    alice.freeze_label(freeze("one")).await.unwrap();
    assert_eq!(refusal(&alice.thaw_label(thaw("one")).await.unwrap_err()).reason, "APPROVALS_MISSING");
}

#[tokio::test]
async fn the_freeze_of_a_key_is_lifted_by_two_and_not_over_that_of_its_label() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let alpha = create(&stand, "alpha", &[("site", "one")]).await;
    let (alice, missing) = (stand.operator.clone(), Err("APPROVALS_MISSING".to_owned()));
    set_state(&alice, &alpha, KeyState::Frozen).await.unwrap();
    for state in [KeyState::Enabled, KeyState::Disabled] {
        assert_eq!(set_state(&alice, &alpha, state).await, missing);
    }
    approve_thaw(&stand, &alpha).await;
    assert_eq!(set_state(&stand.colleague, &alpha, KeyState::Enabled).await, missing, "not by the approver");
    assert_eq!(set_state(&alice, &alpha, KeyState::Enabled).await, Ok(KeyState::Enabled));
    signs(&stand, &alpha, 0).await.unwrap();
    set_state(&alice, &alpha, KeyState::Frozen).await.unwrap();
    assert_eq!(set_state(&alice, &alpha, KeyState::Enabled).await, missing, "an approval is used once");

    alice.clone().freeze_label(freeze("one")).await.unwrap();
    approve_thaw(&stand, &alpha).await;
    assert_eq!(
        set_state(&alice, &alpha, KeyState::Enabled).await,
        Ok(KeyState::Frozen),
        "its label is frozen"
    );
    // Where the policy asks for nobody else, one is enough.
    set_rules(&stand, "quorum = { thaw = 0 }", "").await;
    alice.clone().thaw_label(thaw("one")).await.unwrap();
    assert_eq!(set_state(&alice, &alpha, KeyState::Disabled).await, Ok(KeyState::Disabled));
}

#[tokio::test]
async fn who_approves_while_a_key_is_not_frozen_has_not_approved_the_end_of_a_later_freeze() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let alpha = create(&stand, "alpha", &[]).await;
    approve_thaw(&stand, &alpha).await;
    set_state(&stand.operator, &alpha, KeyState::Frozen).await.unwrap();
    let missing = Err("APPROVALS_MISSING".to_owned());
    assert_eq!(set_state(&stand.operator, &alpha, KeyState::Enabled).await, missing);
    // Frozen again while it is frozen: that is the same freeze.
    approve_thaw(&stand, &alpha).await;
    set_state(&stand.operator, &alpha, KeyState::Frozen).await.unwrap();
    assert_eq!(set_state(&stand.operator, &alpha, KeyState::Enabled).await, Ok(KeyState::Enabled));
}

#[tokio::test]
async fn a_freeze_under_way_is_not_undone_by_who_saw_the_key_not_frozen() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let alpha = create(&stand, "alpha", &[]).await;
    let admin = db.admin().await;
    // Whoever wants to write a record waits, with all that was done before it not yet to be seen.
    let held = admin.begin().await.unwrap();
    held.execute_unprepared("SELECT 1 FROM keys.audit_head FOR UPDATE").await.unwrap();
    let waits = |what: &str| {
        let (admin, what) = (&admin, format!("%{what}%"));
        let sql = "SELECT count(*) AS n FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE $1";
        move || {
            let asked = store::statement(sql, [what.clone().into()]);
            async move {
                let row = admin.query_one_raw(asked).await.unwrap().unwrap();
                row.try_get::<i64>("", "n").unwrap() > 0
            }
        }
    };
    let (alice, bob, key) = (stand.operator.clone(), stand.colleague.clone(), alpha.clone());
    let freezing = tokio::spawn(async move { set_state(&alice, &key, KeyState::Frozen).await });
    wait_until("the freeze waits", DEADLINE, waits("append_audit")).await;
    let key = alpha.clone();
    let enabling = tokio::spawn(async move { set_state(&bob, &key, KeyState::Enabled).await });
    wait_until("who enables it waits", DEADLINE, waits("_state")).await;
    held.commit().await.unwrap();
    assert_eq!(freezing.await.unwrap(), Ok(KeyState::Frozen));
    assert_eq!(enabling.await.unwrap(), Err("APPROVALS_MISSING".to_owned()));
    assert_eq!(signs(&stand, &alpha, 0).await, Err("KEY_NOT_ENABLED".to_owned()));
}

#[tokio::test]
async fn keys_made_while_a_label_is_being_frozen_do_not_slip_through() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let labels = [("site", "one")];
    let made = futures_of(&stand, &labels);
    let (frozen, keys) =
        tokio::join!(async { stand.operator.clone().freeze_label(freeze("one")).await }, made);
    frozen.unwrap();
    for (nonce, key) in keys.iter().enumerate() {
        let nonce = u64::try_from(nonce).unwrap();
        assert_eq!(signs(&stand, key, nonce).await, Err("KEY_NOT_ENABLED".to_owned()), "{}", key.name);
    }
}

async fn futures_of(stand: &Stand, labels: &[(&str, &str)]) -> Vec<Key> {
    let names: Vec<String> = (0..8).map(|n| format!("key-{n}")).collect();
    let mut keys = Vec::new();
    for pair in names.chunks(2) {
        let [one, other] = pair else { panic!("eight is even") };
        let (one, other) = tokio::join!(create(stand, one, labels), create(stand, other, labels));
        keys.extend([one, other]);
    }
    keys
}

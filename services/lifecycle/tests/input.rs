//! Bad input gets a typed answer that names the field, and changes nothing.

use alloy_primitives::hex;
use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::register_sequencer_request::{Owner, Signer};
use api::lifecycle::v1::*;
use domain::amount::Metis;
use runtime::errors::refusal_of;
use testkit::contracts::node_key;

use crate::world::{NETWORK, World, lock, managed, registration, request_id};

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_operation_is_refused_by_field_and_nothing_is_stored() {
    let mut world = World::start().await;
    let id = world.whitelisted("alpha").await.id;
    let amount =
        |wei: &str| Parameters::Lock(LockParameters { amount_wei: wei.to_owned(), ..Default::default() });
    let too_large = "115792089237316195423570985008687907853269984665640564039457584007913129639936";
    let below = Metis::whole(19_999).wei_string();
    let above = Metis::whole(100_001).wei_string();
    let cases = [
        (managed(&id, amount("0")), "AMOUNT_ZERO", "lock.amount_wei"),
        (managed(&id, amount("-5")), "AMOUNT_NEGATIVE", "lock.amount_wei"),
        (managed(&id, amount("1.5")), "AMOUNT_FRACTIONAL_WEI", "lock.amount_wei"),
        (managed(&id, amount(too_large)), "AMOUNT_TOO_LARGE", "lock.amount_wei"),
        (managed(&id, amount(&below)), "AMOUNT_BELOW_MINIMUM", "lock.amount_wei"),
        (managed(&id, amount(&above)), "AMOUNT_ABOVE_MAXIMUM", "lock.amount_wei"),
        (CreateOperationRequest { mode: 0, ..managed(&id, lock(20_000)) }, "ENUM_UNSPECIFIED", "mode"),
        (
            CreateOperationRequest { request_id: "1".to_owned(), ..managed(&id, lock(20_000)) },
            "REQUEST_ID_MALFORMED",
            "request_id",
        ),
        (managed("nobody", lock(20_000)), "ID_MALFORMED", "sequencer"),
        (
            CreateOperationRequest { parameters: None, ..managed(&id, lock(20_000)) },
            "FIELD_REQUIRED",
            "parameters",
        ),
    ];
    for (request, reason, field) in cases {
        let status = world.client.create_operation(request).await.unwrap_err();
        let refused = refusal_of(&status).expect("typed");
        assert_eq!((refused.reason.as_str(), refused.fields[0].0.as_str()), (reason, field));
    }
    let list = ListOperationsRequest { network: NETWORK.to_owned(), ..Default::default() };
    assert!(world.client.list_operations(list).await.unwrap().into_inner().operations.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_registration_is_refused_by_field() {
    let mut world = World::start().await;
    world.register("alpha").await;
    let external = |owner: &str, pubkey: &str| RegisterSequencerRequest {
        owner: Some(Owner::OwnerAddress(owner.to_owned())),
        signer: Some(Signer::SignerPubkey(pubkey.to_owned())),
        ..registration("beta")
    };
    let good_owner = "0x7591940125cC0344a65D60319d1ADcD463B2D4c3";
    let good_key = node_key("beta").listing();
    let prefixed = format!("0x05{}", &good_key[2..]);
    let off_curve = format!("0x{}", hex::encode([7_u8; 64]));
    let cases = [
        (
            external("0x7591940125cC0344a65D60319d1ADcD463B2D4C3", &good_key),
            "ADDRESS_CHECKSUM",
            "owner_address",
        ),
        (external(good_owner, &prefixed), "PUBKEY_PREFIX", "signer_pubkey"),
        (external(good_owner, &off_curve), "PUBKEY_NOT_ON_CURVE", "signer_pubkey"),
        (external(good_owner, "0x12"), "PUBKEY_MALFORMED", "signer_pubkey"),
        (
            RegisterSequencerRequest { network: "nowhere".to_owned(), ..external(good_owner, &good_key) },
            "NETWORK_NOT_FOUND",
            "network",
        ),
        (
            RegisterSequencerRequest { name: "Beta!".to_owned(), ..external(good_owner, &good_key) },
            "NAME_MALFORMED",
            "name",
        ),
        (
            RegisterSequencerRequest { name: "alpha".to_owned(), ..external(good_owner, &good_key) },
            "NAME_TAKEN",
            "name",
        ),
        (
            RegisterSequencerRequest {
                request_id: request_id(),
                name: "gamma".to_owned(),
                ..registration("alpha")
            },
            "SIGNER_TAKEN",
            "signer",
        ),
    ];
    for (request, reason, field) in cases {
        let status = world.client.register_sequencer(request).await.unwrap_err();
        let refused = refusal_of(&status).unwrap_or_else(|| panic!("{reason}: {status}"));
        assert_eq!((refused.reason.as_str(), refused.fields[0].0.as_str()), (reason, field));
    }
    let stored = world.client.register_sequencer(external(good_owner, &good_key)).await.unwrap().into_inner();
    assert_eq!(stored.sequencer.unwrap().phase(), Phase::Registered);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_with_an_old_etag_is_a_conflict() {
    let mut world = World::start().await;
    let sequencer = world.register("alpha").await;
    let update = |etag: &str, name: &str| UpdateSequencerRequest {
        id: sequencer.id.clone(),
        etag: etag.to_owned(),
        name: name.to_owned(),
        ..Default::default()
    };
    let renamed = world.client.update_sequencer(update(&sequencer.etag, "omega")).await.unwrap().into_inner();
    assert_eq!(renamed.sequencer.unwrap().name, "omega");
    let status = world.client.update_sequencer(update(&sequencer.etag, "psi")).await.unwrap_err();
    assert_eq!(refusal_of(&status).unwrap().reason, "ETAG_MISMATCH");
    assert_eq!(world.sequencer(&sequencer.id).await.name, "omega");
}

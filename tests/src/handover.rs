//! The three operations that change who a sequencer belongs to, signed by keys of ours under the shipped policy:
//! recipient, signer and owner, compared with the contract.

use age::secrecy::ExposeSecret;
use alloy_primitives::Address;
use anyhow::{Context, Result};
use api::keys::v1::{BackupKeysRequest, CreateKeyRequest, KeyRole, VerifyBackupRequest};
use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::{
    OperationState, Phase, RotateSignerParameters, SetOwnerParameters, SetRecipientParameters,
    rotate_signer_parameters,
};
use dev::announce::{Announce, Audience};
use dev::clients::{Clients, request_id};
use dev::stack::{Options, Services, World};
use domain::amount::{Eth, Metis};
use testkit::contracts::account;

use crate::stage::{ask, candidate, lock, managed, until_seen, until_state};

/// A key of ours with a proven backup: id and address.
async fn key(clients: &Clients, name: &str, role: KeyRole) -> Result<(String, Address)> {
    let request = CreateKeyRequest {
        request_id: request_id(),
        name: name.to_owned(),
        role: role.into(),
        ..CreateKeyRequest::default()
    };
    let mut keys = clients.keys.clone();
    let key = keys.create_key(request).await?.into_inner().key.context("the key")?;
    let identity = age::x25519::Identity::generate();
    let recipients = vec![identity.to_public().to_string()];
    let backup = BackupKeysRequest { key_ids: vec![key.id.clone()], recipients, labels: [].into() };
    let archive = keys.backup_keys(backup).await?.into_inner().archive;
    let identity = identity.to_string().expose_secret().to_owned();
    keys.verify_backup(VerifyBackupRequest { archive, identity }).await?;
    Ok((key.id, key.public_key.context("its public side")?.address.parse()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn recipient_signer_and_owner_change_hands() -> Result<()> {
    let announce = Announce::to(Audience::Nobody);
    let mut world = World::start(&Options::to_travel(), &announce).await?;
    let services = Services::start(&mut world, &announce).await?;
    let clients = Clients::of(world.access())?;
    let (network, l1) = (world.simulator(), world.simulator().l1());
    let mut alpha = candidate(&world, &clients, "alpha").await?;
    let locked = ask(&clients, lock(&alpha.id, 20_000)).await?;
    until_state(&clients, &locked.id, OperationState::Confirmed).await;
    until_seen(&mut alpha.operator, "alpha is active", |seen| seen.phase() == Phase::Active).await;
    let id = l1.sequencer_of(alpha.accounts.owner).await?.context("it is locked")?;

    let recipient = account("another recipient");
    let asked = Parameters::SetRecipient(SetRecipientParameters { recipient: recipient.to_string() });
    let done = ask(&clients, managed(&alpha.id, asked)).await?;
    until_state(&clients, &done.id, OperationState::Confirmed).await;
    assert_eq!(l1.record(id).await?.context("the record")?.reward_recipient, Some(recipient));

    // A signer may change once in a batch, and pays for it itself.
    network.run_batch_for(alpha.accounts.signer).await?;
    network.fund(alpha.accounts.signer, Metis::ZERO, Eth::whole(1)).await?;
    let (key_id, new_signer) = key(&clients, "alpha-signer-2", KeyRole::Sequencer).await?;
    let new = rotate_signer_parameters::NewSigner::KeyId(key_id);
    let asked = Parameters::RotateSigner(RotateSignerParameters { new_signer: Some(new) });
    let done = ask(&clients, managed(&alpha.id, asked)).await?;
    until_state(&clients, &done.id, OperationState::Confirmed).await;
    assert_eq!(l1.record(id).await?.context("the record")?.signer, new_signer);

    let (_, new_owner) = key(&clients, "alpha-owner-2", KeyRole::Owner).await?;
    network.fund(new_owner, Metis::ZERO, Eth::whole(1)).await?;
    l1.whitelist(new_owner, true).await?;
    let asked = Parameters::SetOwner(SetOwnerParameters { new_owner: new_owner.to_string() });
    let done = ask(&clients, managed(&alpha.id, asked)).await?;
    until_state(&clients, &done.id, OperationState::Confirmed).await;
    assert_eq!(l1.record(id).await?.context("the record")?.owner, new_owner);
    let owner = |seen: &api::lifecycle::v1::Sequencer| {
        seen.owner.as_ref().is_some_and(|owner| owner.address == new_owner.to_string())
    };
    until_seen(&mut alpha.operator, "the register follows the owner", owner).await;

    // The new owner is a key of ours too: it can act at once.
    let asked = Parameters::SetRecipient(SetRecipientParameters { recipient: new_owner.to_string() });
    let done = ask(&clients, managed(&alpha.id, asked)).await?;
    until_state(&clients, &done.id, OperationState::Confirmed).await;
    assert_eq!(l1.record(id).await?.context("the record")?.reward_recipient, Some(new_owner));

    services.stop().await?;
    world.stop().await
}

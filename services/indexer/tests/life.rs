//! Whole lives, indexed to the wei.

use api::indexer::v1 as wire;
use api::indexer::v1::chain_event::Event;
use domain::amount::Metis;
use testkit::contracts::{Variant, account, node_key};

use crate::world::{NETWORK, World, names, recipient};

/// Both lives, and most of what the owner of the contracts can do.
async fn play(world: &World) {
    let l1 = &world.l1;
    let ida = world.busy("ida").await;
    l1.set_reward_per_block(Metis::wei(900_000_000_000_000)).await.expect("rate");
    let max = world.busy("max").await;
    l1.set_owner(account("max"), max, {
        l1.whitelist(account("heir"), true).await.expect("whitelisted");
        account("heir")
    })
    .await
    .expect("handed over");
    l1.set_exit_delay(60).await.expect("delay");
    l1.set_signer_throttle(3).await.expect("throttle");
    l1.set_limits(Metis::whole(10_000), Metis::whole(150_000)).await.expect("limits");
    world.leave("ida", ida, node_key("ida next").address()).await;
    l1.whitelist(account("ida"), false).await.expect("taken off");
    l1.set_pause(true).await.expect("paused");
}

#[tokio::test]
async fn a_life_is_backfilled_to_the_wei() {
    // Nearly everything is final, so it comes in ranges; the last blocks come one by one.
    let world = World::with_slots(1).await;
    play(&world).await;
    let indexer = world.start().await;
    indexer.agrees(&world).await;

    let request = wire::ReadContractRecordsRequest { network: NETWORK.to_owned(), ..Default::default() };
    let on_chain = indexer.indexer.clone().read_contract_records(request).await.expect("read").into_inner();
    let request =
        wire::ListSequencerRecordsRequest { network: NETWORK.to_owned(), page_size: 1, ..Default::default() };
    let first =
        indexer.indexer.clone().list_sequencer_records(request.clone()).await.expect("listed").into_inner();
    let request = wire::ListSequencerRecordsRequest { page_token: first.next_page_token, ..request };
    let second = indexer.indexer.clone().list_sequencer_records(request).await.expect("listed").into_inner();
    assert_eq!([first.records, second.records].concat(), on_chain.records);

    let request = wire::GetChainParametersRequest { network: NETWORK.to_owned(), at_block: 0 };
    let found = indexer.indexer.clone().get_chain_parameters(request).await.expect("parameters").into_inner();
    let parameters = found.parameters.expect("an answer has parameters");
    assert_eq!((parameters.active_count, parameters.exiting_count, parameters.paused), (1, 0, true));
    assert_eq!(parameters.max_lock_wei, Metis::whole(150_000).wei_string());
    assert_eq!(parameters.exit_delay_seconds, 60);
    indexer.stop().await.expect("it stops");
}

#[tokio::test]
async fn events_say_what_the_logs_do_not() {
    let world = World::new().await;
    let indexer = world.start().await;
    let id = world.busy("ida").await;
    indexer.agrees(&world).await;

    let only = |kind: &str| wire::ListEventsRequest { kinds: vec![kind.to_owned()], ..Default::default() };
    let rewards = Metis::wei(761_000_000_000_000 * 1_000);
    let from_reward: Vec<String> = indexer
        .events(only("Relocked"))
        .await
        .into_iter()
        .map(|event| match event.event {
            Some(Event::Relocked(relocked)) => relocked.from_reward_wei,
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(from_reward, [rewards.wei_string(), "0".to_owned()]);

    let batches = indexer.events(only("DistributeReward")).await;
    assert_eq!(batches.len(), 4);
    for event in &batches {
        let Some(Event::DistributeReward(batch)) = &event.event else { panic!("{event:?}") };
        assert_eq!(batch.method(), wire::CreditMethod::Calldata);
        assert_eq!(batch.credits.len(), 1, "a signer that is listed twice is one sequencer");
        assert_eq!(
            (&batch.credits[0].sequencer_id, &batch.credits[0].amount_wei),
            (&id.to_string(), &batch.amount_wei)
        );
        assert_eq!(event.transaction_from, world.l1.mpc.to_checksum(None));
    }

    let life = wire::ListEventsRequest { sequencer_id: id.to_string(), ..Default::default() };
    let expected = [
        "Locked",
        "SequencerOwnerChanged",
        "SequencerRewardRecipientChanged",
        "Relocked",
        "LockUpdate",
        "Relocked",
        "LockUpdate",
        "Withdraw",
        "LockUpdate",
        "ClaimRewards",
        "SignerChange",
        "SequencerRewardRecipientChanged",
    ];
    assert_eq!(names(&indexer.events(life).await), expected);
    indexer.stop().await.expect("it stops");
}

#[tokio::test]
async fn records_are_found_by_owner_and_by_any_signer() {
    let world = World::new().await;
    let id = world.busy("ida").await;
    let indexer = world.start().await;
    indexer.caught_up(&world).await;
    use wire::get_sequencer_record_request::Selector;
    let selectors = [
        Selector::Owner(account("ida").to_string()),
        Selector::Signer(node_key("ida").address().to_string()),
        Selector::Signer(node_key("ida next").address().to_string()),
    ];
    for selector in selectors {
        let request =
            wire::GetSequencerRecordRequest { network: NETWORK.to_owned(), selector: Some(selector.clone()) };
        let found = indexer.indexer.clone().get_sequencer_record(request).await.expect("found").into_inner();
        assert_eq!(found.record.expect("a record").sequencer_id, id.to_string(), "{selector:?}");
        let as_of = found.as_of.and_then(|as_of| as_of.block).expect("an answer says what it rests on");
        assert_eq!(as_of.number, world.l1.link.head().await.expect("anvil answers").number);
    }
    let request =
        wire::GetWhitelistEntryRequest { network: NETWORK.to_owned(), owner: account("ida").to_string() };
    let entry = indexer.indexer.clone().get_whitelist_entry(request).await.expect("found").into_inner();
    assert!(entry.whitelisted && entry.since.is_some());
    assert_ne!(indexer.record(id).await.reward_recipient, recipient("ida").to_string(), "it was changed");
    indexer.stop().await.expect("it stops");
}

#[tokio::test]
async fn epochs_are_listed_with_their_respans() {
    let world = World::new().await;
    let indexer = world.start().await;
    let (l2, first, second) = (&world.l2, account("first"), account("second"));
    l2.commit_epoch(first).await.expect("committed");
    l2.link.mine(3).await.expect("mined");
    l2.recommit_epoch(second).await.expect("recommitted");
    indexer.caught_up(&world).await;

    let request = wire::ListEpochsRequest { network: NETWORK.to_owned(), ..Default::default() };
    let found = indexer.indexer.clone().list_epochs(request).await.expect("listed").into_inner();
    let current = l2.current_epoch().await.expect("the chain answers");
    assert_eq!(found.epochs.len() as u64, current.number.0 + 1);
    for epoch in &found.epochs {
        let number = domain::ids::EpochId(epoch.epoch_id);
        let on_chain = l2.epoch(number).await.expect("the chain answers").expect("there");
        assert_eq!(
            (epoch.start_block, epoch.end_block, &epoch.signer),
            (on_chain.start_block.0, on_chain.end_block.0, &on_chain.signer.to_string())
        );
    }
    assert!(found.epochs[0].respanned);
    let respan = indexer
        .events(wire::ListEventsRequest { kinds: vec!["ReCommitEpoch".to_owned()], ..Default::default() });
    let Some(Event::ReCommitEpoch(respan)) = respan.await.remove(0).event else { panic!("no re-span") };
    assert_ne!(respan.displaced_signer, "");
    indexer.stop().await.expect("it stops");
}

#[tokio::test]
async fn an_upgrade_is_seen_and_a_private_pool_is_of_the_declared_variant() {
    let world = World::new().await;
    let indexer = world.start().await;
    indexer.caught_up(&world).await;
    world.l1.upgrade(Variant::Mainnet).await.expect("upgraded");
    indexer.caught_up(&world).await;
    let upgrades = wire::ListEventsRequest { kinds: vec!["Upgraded".to_owned()], ..Default::default() };
    assert!(!indexer.events(upgrades).await.is_empty());
    testkit::wait_until("the variant is known", crate::world::DEADLINE, || async {
        let networks = indexer.indexer.clone().list_networks(wire::ListNetworksRequest {}).await;
        networks.is_ok_and(|networks| networks.into_inner().networks[0].variant == "main")
    })
    .await;
    indexer.stop().await.expect("it stops");
}

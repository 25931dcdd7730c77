//! The register follows the chain: every sequencer seen there, with every state and its cause.

use api::lifecycle::v1::*;
use domain::amount::{Eth, Metis};
use runtime::errors::refusal_of;
use testkit::contracts::node_key;
use testkit::{wait_for, wait_until};

use crate::world::{DEADLINE, NETWORK, World, address, owner_name};

async fn observed(world: &World, signer: &str) -> Sequencer {
    wait_for("the observed sequencer is listed", DEADLINE, || async {
        let request = ListSequencersRequest { network: NETWORK.to_owned(), ..Default::default() };
        let page = world.client.clone().list_sequencers(request).await.expect("a page").into_inner();
        let wanted = address(signer).to_string();
        page.sequencers.into_iter().find(|one| one.signer.as_ref().is_some_and(|is| is.address == wanted))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_on_chain_is_known_through_its_whole_life() {
    let world = World::start().await;
    let owner = address("stranger-owner");
    world.l1.fund(owner, Metis::whole(50_000), Eth::whole(10)).await.unwrap();
    world.l1.whitelist(owner, true).await.unwrap();
    world.l1.lock(owner, &node_key("stranger"), owner, Metis::whole(20_000)).await.unwrap();
    let sequencer = observed(&world, "stranger").await;
    assert!(!sequencer.managed);
    assert_eq!(sequencer.owner.unwrap().address, owner.to_string());
    assert_eq!(sequencer.locked_wei, Metis::whole(20_000).wei_string());

    let locked_at = world.l1.link.head().await.unwrap().number;
    world.l1.link.mine(1).await.unwrap();
    wait_until("the block after the lock is applied", DEADLINE, || async {
        let as_of = world.sequencer(&sequencer.id).await.as_of.unwrap();
        as_of.block.is_some_and(|block| block.number > locked_at)
    })
    .await;
    world.indexer.node(address("stranger"), true, true);
    world.until_phase(&sequencer.id, Phase::Active).await;
    let id = world.l1.sequencer_of(owner).await.unwrap().unwrap();
    world.l1.unlock(owner, id).await.unwrap();
    world.until_phase(&sequencer.id, Phase::Exiting).await;
    world.l1.link.advance_time(21 * 86_400 + 1).await.unwrap();
    world.until_phase(&sequencer.id, Phase::Withdrawable).await;
    world.l1.unlock_claim(owner, id).await.unwrap();
    let gone = world.until_phase(&sequencer.id, Phase::Withdrawn).await;
    assert_eq!(gone.locked_wei, "0");

    let history = world.transitions(&sequencer.id, true).await;
    let road: Vec<Phase> = history.iter().map(Transition::to).collect();
    use Phase::{Active, Exiting, Locked, Withdrawable, Withdrawn};
    assert_eq!(road, [Locked, Active, Exiting, Withdrawable, Withdrawn]);
    assert_eq!(history[0].cause, "Locked 20000 METIS");
    assert!(history[0].log.is_some() && history[1].log.is_none());
    assert_eq!(history[0].block.as_ref().unwrap().number, locked_at);
    let request =
        ListTransitionsRequest { sequencer: sequencer.id.clone(), at_block: locked_at, ..Default::default() };
    let then = world.client.clone().list_transitions(request).await.unwrap().into_inner().transitions;
    assert_eq!(then.last().map(Transition::to), Some(Locked), "the state at the block of the lock");

    let then = at(&world, &sequencer.id, locked_at).await.unwrap();
    let (shown, because) = (then.sequencer.unwrap(), then.because.unwrap());
    assert_eq!((shown.phase(), shown.locked_wei), (Locked, Metis::whole(20_000).wei_string()));
    assert_eq!((because.to(), because.cause.as_str()), (Locked, "Locked 20000 METIS"));
    let now = at(&world, &sequencer.id, 0).await.unwrap().sequencer.unwrap();
    assert_eq!((now.phase(), now.locked_wei.as_str()), (Withdrawn, "0"));
    let before = refusal_of(&at(&world, &sequencer.id, locked_at - 1).await.unwrap_err()).unwrap();
    assert_eq!(before.reason, "SEQUENCER_NOT_FOUND", "nobody knew it before its lock");
    let later = refusal_of(&at(&world, &sequencer.id, locked_at + 1_000_000).await.unwrap_err()).unwrap();
    assert_eq!(later.reason, "BLOCK_NOT_APPLIED");
}

async fn at(world: &World, sequencer: &str, at_block: u64) -> Result<GetSequencerAtResponse, tonic::Status> {
    let request = GetSequencerAtRequest { sequencer: sequencer.to_owned(), at_block };
    Ok(world.client.clone().get_sequencer_at(request).await?.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_exit_keeps_its_time_and_the_owner_may_begin_a_second_life() {
    let mut world = World::start().await;
    let first = world.whitelisted("alpha").await.id;
    let owner = address(&owner_name("alpha"));
    world.l1.lock(owner, &node_key("alpha"), owner, Metis::whole(20_000)).await.unwrap();
    world.until_phase(&first, Phase::Locked).await;
    let id = world.l1.sequencer_of(owner).await.unwrap().unwrap();
    // Governance throws it out: neither pause nor whitelist matter.
    world.l1.whitelist(owner, false).await.unwrap();
    world.l1.set_pause(true).await.unwrap();
    world.l1.force_unlock(id).await.unwrap();
    let exiting = world.until_phase(&first, Phase::Exiting).await;
    world.l1.set_exit_delay(60).await.unwrap();
    let later = world.l1.link.advance_time(120).await.unwrap().number;
    let applied = || async { at(&world, &first, later).await.is_ok() };
    wait_until("the service has seen that time has passed", DEADLINE, applied).await;
    let still = world.sequencer(&first).await;
    assert_eq!(still.phase(), Phase::Exiting);
    assert_eq!(still.withdrawable_time, exiting.withdrawable_time, "the delay of others is not its own");
    world.l1.set_pause(false).await.unwrap();
    world.l1.whitelist(owner, true).await.unwrap();
    world.l1.link.advance_time(21 * 86_400).await.unwrap();
    world.until_phase(&first, Phase::Withdrawable).await;
    world.l1.unlock_claim(owner, id).await.unwrap();
    world.until_phase(&first, Phase::Withdrawn).await;

    world.l1.lock(owner, &node_key("beta"), owner, Metis::whole(20_000)).await.unwrap();
    let second = observed(&world, "beta").await;
    assert_ne!(second.id, first, "another life");
    world.until_phase(&second.id, Phase::Locked).await;
    world.until_phase(&first, Phase::Withdrawn).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_resumes_after_a_cursor_and_misses_nothing() {
    let mut world = World::start().await;
    let mut watch = world
        .client
        .watch_transitions(WatchTransitionsRequest { network: NETWORK.to_owned(), ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    let here = watch.message().await.unwrap().unwrap();
    assert!(here.transition.is_none() && !here.cursor.is_empty(), "a cursor before anything happened");
    let sequencer = world.whitelisted("alpha").await;
    let first = watch.message().await.unwrap().unwrap();
    assert_eq!(first.transition.as_ref().unwrap().to(), Phase::Registered);
    assert_eq!(first.sequencer.unwrap().id, sequencer.id);
    drop(watch);
    let request = WatchTransitionsRequest { network: NETWORK.to_owned(), after_cursor: first.cursor };
    let mut again = world.client.watch_transitions(request).await.unwrap().into_inner();
    let second = again.message().await.unwrap().unwrap();
    assert_eq!(second.transition.unwrap().to(), Phase::Whitelisted);
}

//! Chains that change, processes that stop.

use api::indexer::v1 as wire;
use domain::amount::Metis;
use testkit::contracts::account;
use testkit::{wait_for, wait_until};

use crate::world::{DEADLINE, NETWORK, World};

#[tokio::test]
async fn a_reorganisation_is_taken_back_exactly() {
    let world = World::new().await;
    let indexer = world.start().await;
    let ida = world.busy("ida").await;
    indexer.agrees(&world).await;
    for depth in [1, 3, 9] {
        world.l1.link.reorg(depth, &[]).await.expect("reorganised");
        indexer.agrees(&world).await;
    }
    world.l1.relock(account("ida"), ida, Metis::whole(1), false).await.expect("relocked");
    indexer.agrees(&world).await;
    indexer.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_reorganisation_below_finalized_is_taken_back_too() {
    let world = World::with_slots(1).await;
    let indexer = world.start().await;
    world.lock("ida", 20_000).await;
    let id = world.lock("max", 30_000).await;
    indexer.agrees(&world).await;
    let head = world.l1.link.head().await.expect("anvil answers").number;
    let source = indexer.source(NETWORK, 0).await.expect("it is served");
    assert!(source.finalized > head - 5, "the reorganisation goes below it");

    world.l1.link.reorg(5, &[]).await.expect("reorganised");
    indexer.agrees(&world).await;
    let request = wire::GetSequencerRecordRequest {
        network: NETWORK.to_owned(),
        selector: Some(wire::get_sequencer_record_request::Selector::SequencerId(id.to_string())),
    };
    let gone = indexer.indexer.clone().get_sequencer_record(request).await.expect_err("it never was");
    assert_eq!(gone.code(), tonic::Code::NotFound);
    indexer.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_chain_that_gets_shorter_is_followed() {
    let world = World::new().await;
    let indexer = world.start().await;
    world.lock("ida", 20_000).await;
    indexer.agrees(&world).await;
    let _: serde_json::Value =
        world.l1.link.rpc("anvil_rollback", serde_json::json!([2])).await.expect("rolled back");
    indexer.agrees(&world).await;
    world.lock("max", 20_000).await;
    indexer.agrees(&world).await;
    indexer.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_chain_that_changed_while_we_were_away_is_found_out() {
    let world = World::new().await;
    let first = world.start().await;
    world.busy("ida").await;
    first.agrees(&world).await;
    first.stop().await.expect("it stops");
    world.l1.link.reorg(7, &[]).await.expect("reorganised");
    world.lock("max", 20_000).await;
    let second = world.start().await;
    second.agrees(&world).await;
    second.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_kill_in_the_middle_leaves_no_gap_and_no_double() {
    let world = World::with_slots(1).await;
    let driver = async {
        world.busy("ida").await;
        world.busy("max").await;
    };
    let kills = async {
        let mut before = None;
        for _ in 0..2 {
            let killed = world.start().await;
            before = wait_for("a block was indexed", DEADLINE, || async {
                let indexed = killed.source(NETWORK, 0).await.and_then(|source| source.indexed);
                (indexed.is_some() && indexed != before).then_some(indexed)
            })
            .await;
            killed.kill().await;
            // Something is left to do for the next one, whose lease must first expire.
            world.l1.link.mine(1).await.expect("mined");
        }
    };
    tokio::join!(driver, kills);
    let indexer = world.start().await;
    indexer.agrees(&world).await;
    let all = indexer.events(wire::ListEventsRequest::default()).await;
    let places: std::collections::BTreeSet<_> = all
        .iter()
        .filter_map(|event| event.at.as_ref())
        .map(|at| (at.layer, at.block.as_ref().map(|block| block.number), at.log_index))
        .collect();
    assert_eq!(places.len(), all.len());
    indexer.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_second_network_shows_nothing_of_the_first() {
    let (first, second) = (World::new().await, World::new().await);
    let networks =
        [(NETWORK.to_owned(), first.network.clone()), ("other".to_owned(), second.network.clone())];
    let indexer = first.start_with(networks.into()).await;
    first.lock("ida", 20_000).await;
    indexer.agrees(&first).await;
    wait_until("the other network is indexed", DEADLINE, || async {
        let source = indexer.source("other", 0).await;
        source.is_some_and(|source| source.indexed.is_some_and(|indexed| indexed.number == source.latest))
    })
    .await;
    let request = wire::ListSequencerRecordsRequest { network: "other".to_owned(), ..Default::default() };
    let other = indexer.indexer.clone().list_sequencer_records(request).await.expect("listed").into_inner();
    assert_eq!(other.records, []);
    indexer.stop().await.expect("it stops");
}

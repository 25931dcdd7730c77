//! The state as of a block, who produces and who missed a turn, and digests.

use api::indexer::v1 as wire;
use api::indexer::v1::export_state_response::Piece;
use api::types::v1::Layer;
use runtime::errors::refusal_of;
use testkit::contracts::{account, node_key};
use testkit::wait_for;
use tonic::Status;

use crate::world::{DEADLINE, NETWORK, Running, World};

fn reason(status: &Status) -> String {
    refusal_of(status).expect("a refusal of ours").reason
}

async fn export(indexer: &Running, at_block: u64, at_l2_block: u64) -> Result<Vec<Piece>, Status> {
    let request = wire::ExportStateRequest { network: NETWORK.to_owned(), at_block, at_l2_block };
    let mut pieces = indexer.indexer.clone().export_state(request).await?.into_inner();
    let mut all = Vec::new();
    while let Some(piece) = pieces.message().await? {
        all.extend(piece.piece);
    }
    Ok(all)
}

async fn parameters(indexer: &Running, at_block: u64) -> wire::GetChainParametersResponse {
    let request = wire::GetChainParametersRequest { network: NETWORK.to_owned(), at_block };
    indexer.indexer.clone().get_chain_parameters(request).await.expect("parameters").into_inner()
}

/// The blocks that an export rests on.
fn heights(pieces: &[Piece]) -> (u64, u64) {
    let Some(Piece::Header(wire::StateHeader { l1, l2, .. })) = pieces.first() else {
        unreachable!("{pieces:?}")
    };
    let number = |as_of: &Option<api::types::v1::AsOf>| {
        as_of.as_ref().and_then(|as_of| as_of.block.as_ref()).expect("a block").number
    };
    (number(l1), number(l2))
}

fn place(piece: &Piece) -> u8 {
    match piece {
        Piece::Header(_) => 0,
        Piece::Parameters(_) => 1,
        Piece::Whitelist(_) => 2,
        Piece::Record(_) => 3,
        Piece::Batch(_) => 4,
        Piece::Epoch(_) => 5,
    }
}

#[tokio::test]
async fn the_state_as_of_a_block_stays_what_it_was() {
    let world = World::new().await;
    let indexer = world.start().await;
    world.busy("ida").await;
    world.l2.commit_epoch(account("first")).await.expect("committed");
    indexer.agrees(&world).await;
    let then = export(&indexer, 0, 0).await.expect("exported");
    let (l1, l2) = heights(&then);
    assert!(then.is_sorted_by_key(place), "pieces come in the order of the fields");
    let counts: Vec<usize> =
        (0..6).map(|kind| then.iter().filter(|piece| place(piece) == kind).count()).collect();
    assert_eq!(counts, [1, 1, 1, 1, 4, 2]);
    let before = parameters(&indexer, 0).await.parameters.expect("an answer has parameters");
    assert!(then.contains(&Piece::Parameters(before.clone())));

    world.busy("max").await;
    world.l1.whitelist(account("ida"), false).await.expect("taken off");
    world.l2.link.mine(3).await.expect("mined");
    world.l2.recommit_epoch(account("second")).await.expect("recommitted");
    indexer.agrees(&world).await;
    let again = export(&indexer, l1, l2).await.expect("exported");
    assert_eq!(again[1..], then[1..]);
    assert_eq!(heights(&again), (l1, l2));
    assert_ne!(export(&indexer, 0, 0).await.expect("exported")[1..], then[1..]);
    let found = parameters(&indexer, l1).await;
    let as_of = found.as_of.and_then(|as_of| as_of.block).expect("an answer says what it rests on");
    assert_eq!((found.parameters, as_of.number), (Some(before), l1));
    indexer.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_state_that_is_not_indexed_is_refused() {
    let world = World::new().await;
    let mut network = world.network.clone();
    network.l1.start_block = Some(2);
    network.l2 = Default::default();
    let indexer = world.start_with([(NETWORK.to_owned(), network)].into()).await;
    wait_for("something is indexed", DEADLINE, || async { export(&indexer, 0, 0).await.ok() }).await;
    let cases = [("INDEX_BEHIND", 1_000_000, 0), ("BLOCK_BELOW_START", 1, 0), ("LAYER_NOT_FOLLOWED", 0, 1)];
    for (expected, at_block, at_l2_block) in cases {
        let refused = export(&indexer, at_block, at_l2_block).await.expect_err(expected);
        assert_eq!(reason(&refused), expected);
    }
    indexer.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_respan_leaves_missed_turns_and_another_producer() {
    let world = World::new().await;
    let id = world.lock("ida", 20_000).await;
    let indexer = world.start().await;
    let (l2, ida) = (&world.l2, node_key("ida").address());
    l2.commit_epoch(ida).await.expect("committed");
    l2.link.mine(3).await.expect("mined");
    l2.recommit_epoch(account("second")).await.expect("recommitted");
    indexer.caught_up(&world).await;

    let list = |signer: String, page_token: String| {
        let network = NETWORK.to_owned();
        let request = wire::ListMissedTurnsRequest { network, signer, page_size: 1, page_token };
        let mut client = indexer.indexer.clone();
        async move { client.list_missed_turns(request).await.expect("listed").into_inner() }
    };
    let newest = list(String::new(), String::new()).await;
    let older = list(String::new(), newest.next_page_token.clone()).await;
    let turns = [newest.turns, older.turns].concat();
    let told = |turn: &wire::MissedTurn| (turn.signer.clone(), turn.epoch_id, turn.overwritten);
    let expected = [(ida.to_string(), 1, true), (l2.genesis.to_string(), 0, false)];
    assert_eq!(turns.iter().map(told).collect::<Vec<_>>(), expected);
    assert_eq!((turns[0].blocks_lost, &turns[0].sequencer_id), (l2.epoch_blocks, &id.to_string()));
    assert_eq!(turns[1].sequencer_id, "");
    assert!(turns.iter().all(|turn| turn.by == account("second").to_string() && turn.at.is_some()));
    let of_ida = list(ida.to_string(), String::new()).await;
    assert_eq!(of_ida.turns, turns[..1]);

    let producer = |block: u64| {
        let request = wire::GetProducerRequest { network: NETWORK.to_owned(), block };
        let mut client = indexer.indexer.clone();
        async move { client.get_producer(request).await.map(tonic::Response::into_inner) }
    };
    let signer = |found: wire::GetProducerResponse| found.epoch.expect("an epoch").signer;
    assert_eq!(signer(producer(0).await.expect("found")), account("second").to_string());
    assert_eq!(signer(producer(l2.start_block).await.expect("found")), l2.genesis.to_string());
    assert_eq!(reason(&producer(1_000_000).await.expect_err("nobody yet")), "EPOCH_NOT_FOUND");
    indexer.stop().await.expect("it stops");
}

#[tokio::test]
async fn digests_are_the_same_again_after_a_new_start() {
    let world = World::with_slots(1).await;
    world.busy("ida").await;
    let indexer = world.start().await;
    let digest = |indexer: &Running, at_block: u64| {
        let layer = Layer::L1.into();
        let request = wire::GetDigestRequest { network: NETWORK.to_owned(), layer, at_block };
        let mut client = indexer.indexer.clone();
        async move { client.get_digest(request).await.map(tonic::Response::into_inner) }
    };
    indexer.caught_up(&world).await;
    let last = wait_for("digests stand", DEADLINE, || async {
        digest(&indexer, 0).await.ok().filter(|found| found.block.is_some())
    })
    .await;
    let block = last.block.clone().expect("filtered");
    let before = digest(&indexer, block.number - 1).await.expect("an earlier one");
    assert!(before.digest != last.digest && before.block.is_some_and(|before| before.number < block.number));
    let behind = digest(&indexer, 1_000_000).await.expect_err("not final yet");
    assert_eq!(reason(&behind), "INDEX_BEHIND");
    indexer.stop().await.expect("it stops");

    let indexer = world.start().await;
    indexer.caught_up(&world).await;
    assert_eq!(digest(&indexer, block.number).await.expect("the same").digest, last.digest);
    indexer.stop().await.expect("it stops");
}

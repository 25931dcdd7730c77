//! Each condition that is not a state, raised by its fact and lowered with it.

use alloy_primitives::{Address, U256};
use api::indexer::v1::{MissedTurn, SequencerRecord};
use api::types::v1::{BlockRef, LogRef};
use domain::amount::{Eth, Metis};
use domain::network::Variant;
use prost_types::Timestamp;
use sea_orm::{ConnectionTrait, DatabaseBackend, Statement};
use testkit::contracts::node_key;
use testkit::wait_until;

use crate::world::{DEADLINE, World, address, owner_name, quick};

/// Waits until exactly these flags stand, each with a reason.
async fn until_flags(world: &World, id: &str, expected: &[&str]) {
    wait_until(&format!("the flags are {expected:?}"), DEADLINE, || async {
        let flags = world.sequencer(id).await.flags;
        assert!(flags.iter().all(|flag| !flag.reason.is_empty() && flag.since.is_some()));
        flags.iter().map(|flag| flag.name.as_str()).collect::<Vec<_>>() == expected
    })
    .await;
}

/// A sequencer that earns, with nothing to worry about; the BFT rule applies.
async fn earning(world: &mut World) -> (String, Address, Address) {
    let id = world.whitelisted("alpha").await.id;
    let (owner, signer) = (address(&owner_name("alpha")), address("alpha"));
    world.indexer.node(signer, true, true);
    world.l1.lock(owner, &node_key("alpha"), Address::ZERO, Metis::whole(20_000)).await.unwrap();
    until_flags(world, &id, &["NO_RECIPIENT"]).await;
    let seq_id = world.l1.sequencer_of(owner).await.unwrap().unwrap();
    world.l1.set_recipient(owner, seq_id, owner).await.unwrap();
    until_flags(world, &id, &[]).await;
    (id, owner, signer)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_contract_says_is_raised_and_lowered() {
    let mut world = World::of_variant(quick(), Variant::Mainnet).await;
    let (id, owner, _) = earning(&mut world).await;
    world.l1.whitelist(owner, false).await.unwrap();
    until_flags(&world, &id, &["DEWHITELISTED"]).await;
    world.l1.whitelist(owner, true).await.unwrap();
    until_flags(&world, &id, &[]).await;

    world.indexer.parameters(|parameters| parameters.paused = true);
    until_flags(&world, &id, &["PAUSED"]).await;
    world.indexer.parameters(|parameters| (parameters.paused, parameters.active_count) = (false, 2));
    until_flags(&world, &id, &["EXIT_BLOCKED"]).await;
    world.indexer.parameters(|parameters| parameters.active_count = 3);
    until_flags(&world, &id, &[]).await;

    // maxLock falls below what is locked, while the position stands.
    let record = SequencerRecord {
        sequencer_id: world.sequencer(&id).await.sequencer_id,
        reward_wei: "0".to_owned(),
        ..Default::default()
    };
    world.indexer.records(vec![record]);
    world.indexer.parameters(|set| set.max_lock_wei = Metis::whole(19_999).wei_string());
    until_flags(&world, &id, &["CAP_EXCEEDED"]).await;
    world.indexer.parameters(|set| set.max_lock_wei = Metis::whole(20_000).wei_string());
    until_flags(&world, &id, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nodes_keys_and_accounts_say_is_raised_and_lowered() {
    let mut world = World::start().await;
    let (id, owner, signer) = earning(&mut world).await;
    world.indexer.node(signer, false, true);
    until_flags(&world, &id, &["NODE_NOT_READY"]).await;
    world.indexer.node(signer, true, true);
    world.keys.backup_proven("alpha", false);
    until_flags(&world, &id, &["BACKUP_UNPROVEN"]).await;
    world.keys.backup_proven("alpha", true);
    world.l1.link.set_balance(owner, U256::from(1)).await.unwrap();
    until_flags(&world, &id, &["LOW_ETH"]).await;
    let why = || async { world.sequencer(&id).await.flags.remove(0).reason };
    assert!(why().await.starts_with("the owner has "), "{}", why().await);
    world.l1.link.set_balance(owner, Eth::whole(10).0).await.unwrap();
    until_flags(&world, &id, &[]).await;
    // A rotation is sent by the signer (P 1.3).
    world.l1.link.set_balance(signer, U256::from(1)).await.unwrap();
    until_flags(&world, &id, &["LOW_ETH"]).await;
    assert!(why().await.starts_with("the signer has "), "{}", why().await);
    world.l1.link.set_balance(signer, Eth::whole(10).0).await.unwrap();
    until_flags(&world, &id, &[]).await;

    let turn = |seconds| MissedTurn {
        signer: signer.to_string(),
        epoch_id: 7,
        blocks_lost: 12,
        at: Some(LogRef {
            block: Some(BlockRef { time: Some(Timestamp { seconds, nanos: 0 }), ..Default::default() }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let now = i64::try_from(world.l1.link.head().await.unwrap().timestamp).unwrap();
    world.indexer.missed_turns(vec![turn(now - 60), turn(now - 200_000)]);
    until_flags(&world, &id, &["MISSED_TURN"]).await;
    world.indexer.missed_turns(vec![turn(now - 200_000)]);
    until_flags(&world, &id, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn themis_may_be_behind_for_a_while_and_never_ahead() {
    let mut world = World::start().await;
    let (id, owner, signer) = earning(&mut world).await;
    let seq_id = world.l1.sequencer_of(owner).await.unwrap().unwrap();
    world.indexer.validator_nonce(signer, 5);
    until_flags(&world, &id, &["NONCE_DRIFT"]).await;
    world.indexer.validator_nonce(signer, 1);
    until_flags(&world, &id, &[]).await;

    world.l1.relock(owner, seq_id, Metis::whole(1), false).await.unwrap();
    world.l1.link.mine(60).await.unwrap();
    until_flags(&world, &id, &["NONCE_DRIFT"]).await;
    world.indexer.validator_nonce(signer, 2);
    until_flags(&world, &id, &[]).await;
}

/// How many alerts were told to be over.
async fn cleared(world: &World) -> i64 {
    let sql = "SELECT count(*) FROM lifecycle.notification WHERE type = 'alert.cleared'";
    let statement = Statement::from_string(DatabaseBackend::Postgres, sql);
    let row = world.db.admin().await.query_one_raw(statement).await;
    row.unwrap().unwrap().try_get_by_index(0).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn neighbours_that_are_away_take_no_flag_with_them() {
    let mut world = World::of_variant(quick(), Variant::Mainnet).await;
    let (id, owner, signer) = earning(&mut world).await;
    let now = i64::try_from(world.l1.link.head().await.unwrap().timestamp).unwrap();
    let time = Some(Timestamp { seconds: now, nanos: 0 });
    let at = LogRef { block: Some(BlockRef { time, ..Default::default() }), ..Default::default() };
    world.indexer.missed_turns(vec![MissedTurn {
        signer: signer.to_string(),
        at: Some(at),
        ..Default::default()
    }]);
    world.indexer.node(signer, false, true);
    world.indexer.validator_nonce(signer, 5);
    world.keys.backup_proven("alpha", false);
    world.l1.link.set_balance(owner, U256::from(1)).await.unwrap();
    world.indexer.records(vec![SequencerRecord {
        sequencer_id: world.sequencer(&id).await.sequencer_id,
        reward_wei: Metis::whole(1).wei_string(),
        ..Default::default()
    }]);
    world.indexer.parameters(|set| {
        (set.paused, set.active_count, set.max_lock_wei) = (true, 2, Metis::whole(20_000).wei_string());
    });
    let all = [
        "BACKUP_UNPROVEN",
        "CAP_EXCEEDED",
        "EXIT_BLOCKED",
        "LOW_ETH",
        "MISSED_TURN",
        "NODE_NOT_READY",
        "NONCE_DRIFT",
        "PAUSED",
    ];
    until_flags(&world, &id, &all).await;
    let (before, over) = (world.sequencer(&id).await.flags, cleared(&world).await);

    world.indexer.away(true);
    world.keys.away(true);
    // What the chain itself says is still looked at: so looks are made.
    world.l1.whitelist(owner, false).await.unwrap();
    let with_it = [&all[..2], &["DEWHITELISTED"][..], &all[2..]].concat();
    until_flags(&world, &id, &with_it).await;
    let mut during = world.sequencer(&id).await.flags;
    during.retain(|flag| flag.name != "DEWHITELISTED");
    assert_eq!(during, before, "with their reasons and the times since which they stand");
    assert_eq!(cleared(&world).await, over, "nobody is told that it is over");

    world.indexer.parameters(|set| (set.paused, set.active_count) = (false, 10));
    world.keys.backup_proven("alpha", true);
    world.indexer.away(false);
    world.keys.away(false);
    let left = ["CAP_EXCEEDED", "DEWHITELISTED", "LOW_ETH", "MISSED_TURN", "NODE_NOT_READY", "NONCE_DRIFT"];
    until_flags(&world, &id, &left).await;
}

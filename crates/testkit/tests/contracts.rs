use std::time::{Duration, Instant};

use alloy_primitives::Address;
use domain::amount::{Eth, Metis};
use domain::ids::SequencerId;
use domain::preflight::Status;
use testkit::Anvil;
use testkit::anvil::Options;
use testkit::contracts::{self, L1, L1Options, L2Options, Variant, account, deploy_l1, deploy_l2, node_key};

const ID: SequencerId = SequencerId(1);

async fn l1(options: Options, contracts: L1Options) -> (Anvil, L1) {
    let anvil = Anvil::start(options).await.expect("a chain");
    let l1 = deploy_l1(&anvil, contracts).await.expect("the contracts");
    (anvil, l1)
}

async fn locked(l1: &L1, name: &str) -> Address {
    let owner = account(name);
    l1.whitelist(owner, true).await.expect("whitelisted");
    l1.fund(owner, Metis::whole(50_000), Eth::whole(1)).await.expect("funded");
    let recipient = account("somebody on L2");
    l1.lock(owner, &node_key(name), recipient, Metis::whole(20_000)).await.expect("locked");
    owner
}

#[tokio::test]
async fn a_whole_life_is_played_without_keys() {
    let (_anvil, l1) = l1(Options::default(), L1Options::default()).await;
    let owner = locked(&l1, "alice").await;
    let signer = node_key("alice").address();
    l1.submit_batch(&[(signer, 100)]).await.expect("a batch");
    let record = l1.record(ID).await.expect("an answer").expect("a record");
    assert_eq!((record.owner, record.signer, record.status), (owner, signer, Status::Active));
    assert_eq!(record.reward, Metis::wei(761_000_000_000_000 * 100));

    l1.claim(owner, ID).await.expect("claimed");
    l1.relock(owner, ID, Metis::whole(5_000), false).await.expect("more");
    l1.withdraw(owner, ID, Metis::whole(1_000)).await.expect("less");
    l1.unlock(owner, ID).await.expect("exiting");
    l1.unlock_claim(owner, ID).await.expect_err("21 days have not passed");
    l1.link.advance_time(21 * 86_400).await.expect("they pass");
    l1.unlock_claim(owner, ID).await.expect("out");
    assert_eq!(l1.metis_of(owner).await.expect("an answer"), Metis::whole(50_000));
    assert_eq!(l1.sequencer_of(owner).await.expect("an answer"), None);
}

#[tokio::test]
async fn a_chain_with_its_own_rhythm_is_not_waited_for() {
    let options = Options { block_time: Some(3_600.0), ..Options::default() };
    let anvil = Anvil::start(options).await.expect("a chain");
    let start = Instant::now();
    let l1 = deploy_l1(&anvil, L1Options::default()).await.expect("the contracts");
    let took = start.elapsed();
    locked(&l1, "bob").await;
    assert!(l1.record(ID).await.expect("an answer").is_some());
    assert!(took < Duration::from_secs(5), "the deployment took {took:?}");
}

#[tokio::test]
async fn an_act_that_reverts_says_why() {
    let (_anvil, l1) =
        l1(Options::default(), L1Options { variant: Variant::Mainnet, ..Default::default() }).await;
    let owner = locked(&l1, "carol").await;
    let refused = l1.unlock(owner, ID).await.expect_err("the only sequencer may not leave mainnet");
    assert!(refused.to_string().contains("BFT restriction"), "{refused}");
    l1.upgrade(Variant::Main).await.expect("other rules");
    l1.unlock(owner, ID).await.expect("and now it may");
}

#[tokio::test]
async fn a_reorg_takes_a_lock_away() {
    let (_anvil, l1) = l1(Options::default(), L1Options::default()).await;
    locked(&l1, "dave").await;
    l1.link.reorg(1, &[]).await.expect("another chain");
    assert_eq!(l1.record(ID).await.expect("an answer"), None);
}

#[tokio::test]
async fn epochs_follow_each_other_and_are_taken_away() {
    let options = Options {
        chain_id: Some(contracts::L2_CHAIN_ID),
        hardfork: Some("berlin".to_owned()),
        ..Options::default()
    };
    let anvil = Anvil::start(options).await.expect("a chain");
    let l2 = deploy_l2(&anvil, L2Options::default()).await.expect("the contract");
    let first = l2.current_epoch().await.expect("epoch 0");
    assert_eq!((first.signer, first.end_block.0 - first.start_block.0 + 1), (l2.genesis, l2.epoch_blocks));
    l2.commit_epoch(account("alice")).await.expect("epoch 1");
    let one = l2.current_epoch().await.expect("epoch 1");
    assert_eq!((one.signer, one.start_block), (account("alice"), first.end_block.next()));

    l2.recommit_epoch(account("bob")).await.expect("epoch 1 is taken before it began");
    let taken = l2.current_epoch().await.expect("epoch 1");
    assert_eq!((taken.number, taken.signer), (one.number, account("bob")));
    l2.link.mine(3).await.expect("blocks");
    l2.recommit_epoch(account("carol")).await.expect("the rest of it is taken");
    let two = l2.current_epoch().await.expect("epoch 2");
    assert_eq!((two.number.0, two.signer), (2, account("carol")));
}

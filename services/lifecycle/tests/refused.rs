//! What endpoints refuse for good, and for now.

use api::lifecycle::v1::*;
use domain::amount::Metis;
use testkit::proxy::Faults;

use crate::lanes::until_waits;
use crate::world::{World, address, lock, owner_name, quick, saying};

/// A service behind two endpoints that both say this of every transaction, with a lock under way.
async fn refused_by_both(message: &str) -> (World, Vec<testkit::Proxy>, Operation) {
    let (mut world, pools) = World::behind(quick(), 2).await;
    let sequencer = world.whitelisted("alpha").await;
    world.l1.approve(address(&owner_name("alpha")), Metis::whole(20_000)).await.unwrap();
    pools.iter().for_each(|pool| pool.set(saying(message)));
    let operation = world.ask(&sequencer.id, lock(20_000)).await;
    (world, pools, operation)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_every_endpoint_refuses_for_what_it_is_fails_with_its_nonce_spent_on_nothing() {
    let (mut world, pools, operation) = refused_by_both("exceeds block gas limit").await;
    let refused = until_waits(&world, &operation.id, "TRANSACTION_REFUSED").await;
    assert_eq!(refused.state(), OperationState::Signing, "what is signed could still be mined");
    assert!(refused.reason.contains("exceeds block gas limit"), "{}", refused.reason);
    pools.iter().for_each(|pool| pool.set(Faults::default()));
    let failed = world.until_state(&operation.id, OperationState::Failed).await;
    assert_eq!(failed.reason_code, "TRANSACTION_REFUSED");
    assert!(failed.reason.contains("exceeds block gas limit"), "{}", failed.reason);
    assert_eq!(failed.transactions[0].mined_form, "CANCEL");
    assert_eq!(world.keys.nonces_signed(), 1, "the same nonce");
    let owner = address(&owner_name("alpha"));
    assert_eq!(world.l1.sequencer_of(owner).await.unwrap(), None, "it had no effect");
    // The next one is not held up.
    world.done(&operation.sequencer, lock(20_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_endpoint_that_takes_it_outweighs_a_refusal() {
    let (mut world, pools) = World::behind(quick(), 2).await;
    let sequencer = world.whitelisted("alpha").await;
    pools[0].set(saying("exceeds block gas limit"));
    let done = world.done(&sequencer.id, lock(20_000)).await;
    assert!(done.transactions.iter().all(|one| one.mined_form == "CALL"), "{:?}", done.transactions);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_eth_at_the_broadcast_waits_and_goes_on_by_itself() {
    let (world, pools, operation) = refused_by_both("insufficient funds for gas * price + value").await;
    let waits = until_waits(&world, &operation.id, "ETH_TOO_LOW").await;
    assert_eq!(waits.state(), OperationState::Signing);
    assert!(waits.reason.contains("needs up to"), "{}", waits.reason);
    pools.iter().for_each(|pool| pool.set(Faults::default()));
    world.until_state(&operation.id, OperationState::Confirmed).await;
}

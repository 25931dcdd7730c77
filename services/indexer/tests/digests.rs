//! The digest chain: the same for everyone who indexed the same chain, however they came to it.

use api::indexer::v1 as wire;
use api::types::v1::Layer;
use testkit::wait_for;

use crate::world::{DEADLINE, NETWORK, Running, World};

async fn digest(running: &Running, layer: Layer, at_block: u64) -> wire::GetDigestResponse {
    let request = wire::GetDigestRequest { network: NETWORK.to_owned(), layer: layer.into(), at_block };
    running.indexer.clone().get_digest(request).await.expect("answered").into_inner()
}

#[tokio::test]
async fn an_index_that_lived_through_reorganisations_has_the_digest_of_a_fresh_one() {
    let mut world = World::with_slots(1).await;
    let live = world.start().await;
    let id = world.busy("ida").await;
    live.agrees(&world).await;
    // Deeper than final, and then once more with another block in between.
    world.l1.link.reorg(6, &[]).await.expect("reorganised");
    live.agrees(&world).await;
    world.lock("max", 30_000).await;
    world.l1.link.reorg(1, &[]).await.expect("reorganised");
    world.lock("tom", 20_000).await;
    let head = world.l1.link.mine(5).await.expect("mined").number;
    live.agrees(&world).await;
    let final_at = head - 2;
    let ours = wait_for("final blocks have digests", DEADLINE, || async {
        Some(digest(&live, Layer::L1, 0).await).filter(|found| found.at_block >= final_at)
    })
    .await;
    assert!(
        ours.block.is_some() && !ours.digest.trim_start_matches(['0', 'x']).is_empty(),
        "{ours:?} of {id}"
    );

    let other = world.fresh_database().await;
    let fresh = world.start().await;
    fresh.agrees(&world).await;
    for at in [ours.at_block, ours.block.as_ref().map_or(0, |block| block.number)] {
        let theirs = wait_for("the other has it too", DEADLINE, || async {
            Some(digest(&fresh, Layer::L1, at).await).filter(|found| found.block.is_some())
        })
        .await;
        assert_eq!((&theirs.block, &theirs.digest), (&ours.block, &ours.digest), "at {at}");
    }
    let before = digest(&fresh, Layer::L1, ours.block.as_ref().map_or(0, |block| block.number) - 1).await;
    assert_ne!(before.digest, ours.digest, "every block with events changes it");
    fresh.stop().await.expect("it stops");
    drop(other);
    live.stop().await.expect("it stops");
}

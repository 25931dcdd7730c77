//! Who may write.

use std::time::Duration;

use indexer::db::{Layer, checkpoint};
use indexer::reconcile::commit::{self, CommitError, Note};
use indexer::reconcile::encode::encode;
use indexer::reconcile::plan::Plan;
use indexer::source::Source;
use store::Holder;
use store::lease::{self, Claim, FenceError, Lease};
use testkit::wait_until;

use crate::world::{DEADLINE, NETWORK, World};

fn source(world: &World) -> Source {
    let spec = world.network.spec(NETWORK).expect("complete");
    let pool = world.network.l1_pool(&spec).expect("a pool");
    Source {
        network: NETWORK.to_owned(),
        layer: Layer::L1,
        declared: world.network.variant,
        spec,
        pool,
        care: Default::default(),
    }
}

#[tokio::test]
async fn a_leader_that_was_overtaken_writes_nothing() {
    let world = World::new().await;
    let db = world.db.connect("indexer").await;
    let source = source(&world);
    checkpoint::open(&db, NETWORK, Layer::L1, 1, 0).await.expect("a checkpoint");
    let [old, new] = ["old", "new"].map(Holder::new);
    let claim = |holder: &Holder| Claim {
        schema: "indexer",
        name: source.lease(),
        holder: holder.clone(),
        ttl: Duration::from_millis(1),
    };
    let held = lease::acquire(&db, &claim(&old)).await.expect("asked").expect("free");
    wait_until("it expires and is taken over", DEADLINE, || async {
        lease::acquire(&db, &claim(&new)).await.expect("asked").is_some()
    })
    .await;

    let before = checkpoint::of(&db, NETWORK, Layer::L1).await.expect("read");
    let refused = commit::note(&db, &source, held, Note::Problem("I am back")).await;
    assert!(matches!(refused, Err(CommitError::Fence(FenceError::Fenced { .. }))), "{refused:?}");
    let plan = Plan {
        tip: Some(checkpoint::Tip {
            number: 7,
            hash: Default::default(),
            time: time::OffsetDateTime::UNIX_EPOCH,
        }),
        ..Default::default()
    };
    let seen = checkpoint::Seen::default();
    let encoded = encode(NETWORK, Layer::L1, &plan, -1);
    let refused = commit::extend(&db, &source, held, encoded, seen).await;
    assert!(matches!(refused, Err(CommitError::Fence(FenceError::Fenced { .. }))), "{refused:?}");
    assert_eq!(checkpoint::of(&db, NETWORK, Layer::L1).await.expect("read"), before);
    let never = Lease { epoch: 99 };
    assert!(commit::note(&db, &source, never, Note::Problem("I never was")).await.is_err());
}

#[tokio::test]
async fn a_second_replica_takes_over_when_the_first_is_gone() {
    let world = World::new().await;
    let (first, second) = (world.start().await, world.start().await);
    world.lock("ida", 20_000).await;
    second.agrees(&world).await;
    first.stop().await.expect("it stops");
    world.lock("max", 20_000).await;
    second.agrees(&world).await;
    second.stop().await.expect("it stops");
}

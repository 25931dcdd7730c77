//! The stream of events, as a consumer uses it: apply, keep the cursor, come back.

use std::collections::BTreeMap;

use api::indexer::v1 as wire;
use api::indexer::v1::stream_events_response::Message;
use api::types::v1 as types;
use testkit::contracts::account;
use tokio::time::timeout;
use tonic::Streaming;

use crate::world::{DEADLINE, NETWORK, Running, World};

/// What a consumer keeps: events by place, and its cursor.
#[derive(Default, Debug, Clone)]
struct Consumer {
    events: BTreeMap<(i32, u64, u32), wire::ChainEvent>,
    heads: BTreeMap<i32, String>,
    cursor: String,
    reverts: u32,
    commits: u32,
}

impl Consumer {
    async fn connect(&self, indexer: &Running) -> Streaming<wire::StreamEventsResponse> {
        let request =
            wire::StreamEventsRequest { network: NETWORK.to_owned(), after_cursor: self.cursor.clone() };
        indexer.indexer.clone().stream_events(request).await.expect("a stream").into_inner()
    }

    async fn next(&mut self, stream: &mut Streaming<wire::StreamEventsResponse>) {
        let message = timeout(DEADLINE, stream.message()).await.expect("in time").expect("no error");
        self.apply(message.expect("it does not end"));
    }

    fn apply(&mut self, message: wire::StreamEventsResponse) {
        self.cursor = message.cursor;
        match message.message.expect("a message says something") {
            Message::Revert(revert) => {
                self.reverts += 1;
                let to = revert.to.expect("a revert says where to").number;
                self.events.retain(|(layer, number, _), _| *layer != revert.layer || *number <= to);
                self.heads.remove(&revert.layer);
            }
            Message::Commit(commit) => {
                self.commits += 1;
                for block in commit.blocks {
                    let at = block.block.expect("a block has a place");
                    for event in block.events {
                        let index = event.at.as_ref().expect("an event has a place").log_index;
                        let before = self.events.insert((commit.layer, at.number, index), event);
                        assert_eq!(before, None, "told twice");
                    }
                }
            }
            Message::NodeChange(_) => {}
            Message::Head(head) => {
                self.heads.insert(head.layer, head.latest.expect("a head has a block").hash);
            }
        }
    }

    /// Reads until it was told of the present heads of both chains.
    async fn follow(&mut self, world: &World, stream: &mut Streaming<wire::StreamEventsResponse>) {
        loop {
            let l1 = world.l1.link.head().await.expect("anvil answers").hash.to_string();
            let l2 = world.l2.link.head().await.expect("anvil answers").hash.to_string();
            if self.heads.values().cloned().collect::<Vec<_>>() == [l1, l2] {
                return;
            }
            self.next(stream).await;
        }
    }

    async fn knows_all(&self, indexer: &Running) {
        let all = indexer.events(wire::ListEventsRequest::default()).await;
        assert_eq!(self.events.values().cloned().collect::<Vec<_>>(), all);
    }
}

#[tokio::test]
async fn a_consumer_replays_and_then_lives() {
    let world = World::new().await;
    world.busy("ida").await;
    let indexer = world.start().await;
    let mut consumer = Consumer::default();
    let mut stream = consumer.connect(&indexer).await;
    consumer.follow(&world, &mut stream).await;
    consumer.knows_all(&indexer).await;

    world.lock("max", 20_000).await;
    world.l2.commit_epoch(account("max")).await.expect("committed");
    consumer.follow(&world, &mut stream).await;
    consumer.knows_all(&indexer).await;

    world.l1.link.mine(1).await.expect("an empty block");
    let commits = consumer.commits;
    consumer.follow(&world, &mut stream).await;
    assert_eq!(consumer.commits, commits, "an empty block is only a head");
    indexer.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_live_consumer_is_told_of_a_reorganisation() {
    let world = World::new().await;
    let indexer = world.start().await;
    world.busy("ida").await;
    let mut consumer = Consumer::default();
    let mut stream = consumer.connect(&indexer).await;
    consumer.follow(&world, &mut stream).await;
    world.l1.link.reorg(6, &[]).await.expect("reorganised");
    consumer.follow(&world, &mut stream).await;
    assert_eq!(consumer.reverts, 1);
    consumer.knows_all(&indexer).await;
    indexer.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_cursor_on_a_dead_block_is_reverted_first() {
    let world = World::new().await;
    let indexer = world.start().await;
    world.busy("ida").await;
    indexer.caught_up(&world).await;
    let mut consumer = Consumer::default();
    let mut stream = consumer.connect(&indexer).await;
    consumer.follow(&world, &mut stream).await;
    drop(stream);

    // Two reorganisations while it is away, the second deeper than the first.
    world.l1.link.reorg(2, &[]).await.expect("reorganised");
    world.lock("max", 20_000).await;
    indexer.caught_up(&world).await;
    world.l1.link.reorg(12, &[]).await.expect("reorganised");
    world.l1.link.mine(3).await.expect("mined");
    indexer.caught_up(&world).await;

    let mut stream = consumer.connect(&indexer).await;
    consumer.next(&mut stream).await;
    assert_eq!(consumer.reverts, 1, "the revert comes first");
    consumer.follow(&world, &mut stream).await;
    consumer.knows_all(&indexer).await;
    indexer.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_restart_of_the_indexer_is_invisible_to_a_cursor() {
    let world = World::new().await;
    let first = world.start().await;
    world.lock("ida", 20_000).await;
    let mut consumer = Consumer::default();
    let mut stream = consumer.connect(&first).await;
    consumer.follow(&world, &mut stream).await;
    drop(stream);
    first.stop().await.expect("it stops");
    world.lock("max", 20_000).await;
    let second = world.start().await;
    let mut stream = consumer.connect(&second).await;
    consumer.follow(&world, &mut stream).await;
    assert_eq!(consumer.reverts, 0);
    consumer.knows_all(&second).await;
    second.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_cursor_that_these_tables_never_saw_begins_anew() {
    let (world, other) = (World::new().await, World::new().await);
    other.lock("ida", 20_000).await;
    let foreign = other.start().await;
    let mut consumer = Consumer::default();
    let mut stream = consumer.connect(&foreign).await;
    consumer.follow(&other, &mut stream).await;
    drop(stream);
    foreign.stop().await.expect("it stops");

    let indexer = world.start().await;
    world.lock("max", 20_000).await;
    indexer.caught_up(&world).await;
    let mut stream = consumer.connect(&indexer).await;
    consumer.follow(&world, &mut stream).await;
    consumer.knows_all(&indexer).await;
    indexer.stop().await.expect("it stops");
}

/// Consumers at once: hundreds, over one connection.
const CONSUMERS: usize = 240;

#[tokio::test]
async fn hundreds_of_consumers_at_different_cursors_are_told_everything_and_a_slow_one_holds_nobody() {
    let world = World::new().await;
    world.busy("ida").await;
    let indexer = world.start().await;
    let mut first = Consumer::default();
    let mut stream = first.connect(&indexer).await;
    let mut standing = vec![first.clone()];
    // Cursors after every message so far: the beginning, the middle and the head.
    while first.heads.len() < 2 {
        first.next(&mut stream).await;
        standing.push(first.clone());
    }
    // Never read: what it was sent stays in its connection, and what it was not sent is not made.
    let asleep = Consumer::default().connect(&indexer).await;
    let mut consumers = Vec::new();
    for consumer in standing.iter().cycle().take(CONSUMERS) {
        let stream = consumer.connect(&indexer).await;
        consumers.push((consumer.clone(), stream));
    }
    world.lock("max", 20_000).await;
    world.l1.link.reorg(1, &[]).await.expect("reorganised");
    world.lock("tom", 20_000).await;
    indexer.agrees(&world).await;
    let all = indexer.events(wire::ListEventsRequest::default()).await;
    for (consumer, stream) in &mut consumers {
        consumer.follow(&world, stream).await;
        assert_eq!(consumer.events.values().cloned().collect::<Vec<_>>(), all);
    }
    drop(asleep);
    indexer.stop().await.expect("it stops");
}

#[tokio::test]
async fn pages_stay_right_while_new_blocks_arrive() {
    let world = World::new().await;
    world.busy("ida").await;
    let indexer = world.start().await;
    indexer.agrees(&world).await;
    let known = indexer.events(wire::ListEventsRequest::default()).await;
    let mut listed = Vec::new();
    let mut page_token = String::new();
    for name in ["max", "tom", "eva"] {
        let network = NETWORK.to_owned();
        let request = wire::ListEventsRequest { network, page_size: 9, page_token, ..Default::default() };
        let page = indexer.indexer.clone().list_events(request).await.expect("a page").into_inner();
        listed.extend(page.events);
        page_token = page.next_page_token;
        world.lock(name, 20_000).await;
        indexer.agrees(&world).await;
    }
    assert_eq!(listed.len(), 27, "full pages");
    let l1: Vec<_> = known
        .into_iter()
        .filter(|event| event.at.as_ref().is_some_and(|at| at.layer() == types::Layer::L1))
        .collect();
    assert_eq!(listed, l1[..27], "nothing twice, nothing left out");
    indexer.stop().await.expect("it stops");
}

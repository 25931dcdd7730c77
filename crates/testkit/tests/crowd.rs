//! A chain of a crowd has what it says.

use alloy_primitives::B256;
use chain::rpc::{LogFilter, call};
use testkit::crowd::{Crowd, Plan};

#[tokio::test]
async fn a_crowd_makes_the_same_long_chain_each_time() {
    let (first, second) = tokio::join!(hashes(), hashes());
    assert_eq!(first, second);
    let events = first.len();
    assert!((7_500..=8_500).contains(&events), "about 20 events in each of 400 blocks, not {events}");
}

/// What a node gives in one answer, far below the most bytes that the client takes.
const BLOCKS_AT_ONCE: u64 = 100;

async fn hashes() -> Vec<(B256, u64)> {
    let crowd = Crowd::make(Plan::dense(8_000, 20)).await.expect("a chain");
    let filter = LogFilter { addresses: vec![crowd.l1.locking_pool, crowd.l1.locking_info], topics: vec![] };
    let head = crowd.head().await.expect("a head").number;
    let mut hashes = Vec::new();
    for from in (0..=head).step_by(BLOCKS_AT_ONCE as usize) {
        let range = call::logs_of_range(from, from + BLOCKS_AT_ONCE - 1, &filter);
        let logs = crowd.l1.link.ask("the logs", range).await.expect("logs");
        hashes.extend(logs.iter().map(|log| (log.transaction_hash, log.log_index)));
    }
    hashes
}

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

async fn hashes() -> Vec<(B256, u64)> {
    let crowd = Crowd::make(Plan::dense(8_000, 20)).await.expect("a chain");
    let filter = LogFilter { addresses: vec![crowd.l1.locking_pool, crowd.l1.locking_info], topics: vec![] };
    let logs = crowd.l1.link.ask("the logs", call::logs_of_range(0, 1_000, &filter)).await.expect("logs");
    logs.iter().map(|log| (log.transaction_hash, log.log_index)).collect()
}

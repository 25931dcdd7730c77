//! How fast the index is, and that it is exact: the figures `index.*`.
//!
//! `seqd indexer` runs as a process of its own on a chain of [`testkit::crowd`] and a Postgres that writes durably.
//! Each figure of a backfill stands beside the [`limit`] of the same run, and none is given unless every row of the
//! index equals what [`oracle`] finds on the chain block by block.

mod backfill;
mod faults;
mod limit;
mod live;
mod oracle;
mod peers;
mod run;
mod sparse;
mod world;

pub use testkit::free_port;
pub use world::WORLD;

use crate::Measure;

/// Every figure, those of one chain after each other: making a chain takes a while.
pub const BENCHES: [(&str, Measure); 18] = [
    ("index.backfill_100k", || Box::pin(backfill::hundred_thousand())),
    ("index.cpu_s_100k", || Box::pin(backfill::cpu())),
    ("index.requests", || Box::pin(backfill::requests())),
    ("index.peer.sqd", || Box::pin(peers::sqd())),
    ("index.peer.ponder", || Box::pin(peers::ponder())),
    ("index.truncated_1", || Box::pin(faults::truncated_1())),
    ("index.truncated_20", || Box::pin(faults::truncated_20())),
    ("index.chaos", || Box::pin(faults::chaos())),
    ("index.backfill_1m", || Box::pin(backfill::million())),
    ("index.rss_mb", || Box::pin(backfill::rss())),
    ("index.growth", || Box::pin(backfill::growth())),
    ("index.resume_s", || Box::pin(backfill::resume())),
    ("index.sparse_s", || Box::pin(sparse::near())),
    ("index.sparse_50ms_s", || Box::pin(sparse::far())),
    ("index.head_ms", || Box::pin(live::head())),
    ("index.stream_p99_ms", || Box::pin(live::stream())),
    ("index.reorg_20_ms", || Box::pin(live::reorg_20())),
    ("index.reorg_1000_s", || Box::pin(live::reorg_1000())),
];

/// The middle one.
fn median(values: &[f64]) -> f64 {
    crate::report::quantile(&mut values.to_vec(), 0.5)
}

//! How fast lifecycle takes in operations and carries them out: the figures `ops.*`.
//!
//! `seqd keys`, `seqd indexer` and `seqd lifecycle` run as processes of their own on a Postgres that writes durably, an
//! anvil with a block in each second and our contracts. They are asked over loopback gRPC with mutual TLS, and share the
//! machine with the chain, the database and the client that measures.

mod fleet;
mod intake;
mod latency;
mod list;
mod members;
mod restart;
mod stage;
mod world;

pub use world::WORLD;

use crate::Measure;

/// The figures of operations.
pub const BENCHES: [(&str, Measure); 6] = [
    ("ops.list_10k_ms", || Box::pin(list::ten_thousand())),
    ("ops.intake_100_accounts", || Box::pin(intake::hundred_accounts())),
    ("ops.intake_one_account", || Box::pin(intake::one_account())),
    ("ops.to_broadcast_ms", || Box::pin(latency::to_broadcast())),
    ("ops.restart_1000_s", || Box::pin(restart::thousand())),
    ("ops.fleet_1000", || Box::pin(fleet::thousand())),
];

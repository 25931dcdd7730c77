//! How fast the keys service signs, beside what no signer on this machine could beat: the figures `keys.*`.
//!
//! `seqd keys` runs as a process of its own on a Postgres that writes durably; it is asked over loopback gRPC with mutual
//! TLS, with policy, guard and audit on. No figure is given unless every signature recovers to its key and the
//! audit chain is whole.

mod batch;
mod clients;
mod limit;
mod overload;
mod peers;
mod policy;
mod round_trips;
mod world;

pub use world::WORLD;

use crate::Measure;

/// The figures of signing.
pub const BENCHES: [(&str, Measure); 7] = [
    ("keys.sign_one_client_ms", || Box::pin(clients::one())),
    ("keys.sign_20_clients", || Box::pin(clients::twenty())),
    ("keys.sign_batch256", || Box::pin(batch::of_256())),
    ("keys.round_trips", || Box::pin(round_trips::counted())),
    ("keys.overload_refusal_ms", || Box::pin(overload::refusal())),
    ("keys.peer.aztec", || Box::pin(peers::aztec())),
    ("keys.policy_500_rules_ms", || Box::pin(policy::five_hundred_rules())),
];

//! The lifecycle service as a black box: real Postgres, real anvil with the contracts, real gRPC with mTLS. The two
//! neighbours are small fakes and are named so; the whole system with the real ones is in the journeys.
#![allow(
    clippy::unwrap_used,
    reason = "the lint exempts only functions marked as tests, not what they share"
)]

mod approvals;
mod bounds;
mod crashes;
mod fakes;
mod faults;
mod flags;
mod fleets;
mod gaps;
mod history;
mod hold;
mod input;
mod lanes;
mod listing;
mod operations;
mod preflight;
mod prepared;
mod refused;
mod reorg;
mod reverts;
mod schedules;
mod terms;
mod wallets;
mod webhooks;
mod world;

//! The keys service as a black box: real gRPC with certificates, real Postgres.

// Clippy's exception for tests knows test functions only, not what they share.
#![allow(clippy::unwrap_used, clippy::panic)]

mod approvals;
mod audit;
mod backends;
mod backups;
mod batch;
mod decisions;
mod durable;
mod exports;
mod freeze;
mod fuzz;
mod guard;
mod guard_attack;
mod heads;
mod keys;
mod malformed;
mod messages;
mod overload;
mod policy;
mod policy_tools;
mod restores;
mod rotation;
mod round_trips;
mod rules;
mod secrecy;
mod signing;
mod sources;
mod stand;
mod transit;
mod unproven;

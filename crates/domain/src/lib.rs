//! The rules of a Metis sequencer's life: amounts, identities, phases, limits, rewards and epochs.
//!
//! Pure: no I/O, no clock, no async. Whoever asks brings the facts and the time; what is decided
//! here is the same for every service. Facts about the contracts are in `protocol.md` ("P 1.10").
#![deny(missing_docs)]

pub mod address;
pub mod amount;
pub mod approval;
pub mod epoch;
pub mod exit;
pub mod fee;
pub mod flag;
pub mod fleet;
pub mod ids;
pub mod life;
pub mod listing;
pub mod network;
pub mod operation;
pub mod phase;
pub mod preflight;
pub mod pubkey;
pub mod revert;
pub mod reward;
pub mod schedule;

//! What a key may sign. A document (TOML) becomes typed rules; a call is decoded exactly; then the
//! rules are asked. Deny by default; allowed if a rule allows and none denies, in whatever order.
//!
//! The state of keys, the conflict guard, approvals and the counting of windows belong to the database
//! (`db::decision`).

pub mod call;
mod calldata;
pub mod difference;
pub mod document;
pub mod evaluate;
mod field;
pub mod hours;
pub mod intent;
pub mod judgement;
pub mod preset;
pub mod reach;
pub mod replay;
mod text;

pub use call::{Call, Function};
pub use document::{Contracts, Invalid, Policy, Windows};
pub use evaluate::{Allowance, Denial, KeyFacts, Request, Sent, Subject, Verdict};

//! What a key may sign. A document (TOML) becomes typed rules; a call is decoded exactly; then the
//! rules are asked. Deny by default; allowed if a rule allows and none denies, in whatever order.
//!
//! The state of keys, the conflict guard and the counting of windows belong to the database
//! (`db::decision`).

pub mod call;
pub mod document;
pub mod evaluate;
pub mod preset;

pub use call::{Call, Function};
pub use document::{Contracts, Invalid, Policy};
pub use evaluate::{Denial, Request, Verdict};

//! Prepared operations outside of our services: as a file that a cold machine checks and signs, as the parameters of a
//! wallet, as a batch of a Safe.
//!
//! Pure: no network, no clock. It stands apart from lifecycle because `seqctl` checks and signs offline and must not pull
//! in the service and its chains; and because what a cold machine trusts should be small enough to be read in one
//! sitting. Preparing and sending belong to lifecycle.

#![deny(missing_docs)]

mod call;
mod check;
mod file;
mod safe;
mod sign;
mod wallet;

pub use call::{Contracts, Meaning, Unread};
pub use check::{Refused, describe};
pub use file::{Bundle, Call, FORMAT, SIGNED_FORMAT, Signed, Subject};
pub use safe::safe_batch;
pub use sign::{SignError, sign};
pub use wallet::wallet_calls;

#[cfg(test)]
mod tests;

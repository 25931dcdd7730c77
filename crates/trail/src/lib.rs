//! The audit trail of the keys service, as whoever checks it needs it: how records are chained, what a
//! signed head says, the file of an export, and its verification.
//!
//! Pure: bytes in, a report out. It stands apart from the keys service because `seqctl` verifies offline and
//! must not pull in the service, its database and its cryptography; and because what checks the service
//! should be small enough to be read in one sitting. Writing records and signing heads belong to `keys`.

#![deny(missing_docs)]

mod chain;
mod damage;
mod diagnose;
mod export;
mod head;
mod lines;
mod verify;

pub use chain::{Head, link};
pub use damage::{Damage, Kind, Place};
pub use export::{End, HEADER, Record};
pub use head::{BadHead, Heads, SignedHead, SigningKey, VerifyingKey, public_key};
pub use verify::{Report, Trusted, Unfit, verify};

/// The action of the record that tells that the database was found behind its published head; its digest
/// is the hash of that head. Written by `keys`, understood by [`verify`].
pub const RESTORED: &str = "FoundRestored";

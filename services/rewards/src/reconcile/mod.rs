//! Loops that bring the ledger in line with the chain: one file each.

pub mod compare;
pub mod follow;
pub mod networks;

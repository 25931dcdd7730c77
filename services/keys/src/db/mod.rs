//! Rows and queries, one file for each table.

pub mod approval;
pub mod audit;
pub mod decision;
pub mod drill;
pub mod frozen_label;
pub mod head;
pub mod kek;
pub mod key;
pub mod message;
pub mod policy;
pub mod restoration;
pub mod signature;

/// Postgres has no text with a NUL in it, and fails over the question; nothing is found by such a text.
fn is_storable(text: &str) -> bool {
    !text.contains('\0')
}

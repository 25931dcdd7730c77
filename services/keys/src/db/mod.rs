//! Rows and queries, one file for each table.

pub mod audit;
pub mod decision;
pub mod head;
pub mod kek;
pub mod key;
pub mod policy;
pub mod restoration;

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

//! Nodes of operators: where they may be, how they are asked, what the answers mean, and what of it has changed.

pub mod client;
pub mod gauges;
pub mod probe;
pub mod report;
pub mod settled;
pub mod standing;
pub mod url;
pub mod verdict;
pub mod watch;

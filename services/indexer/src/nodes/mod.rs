//! Nodes of operators: where they are, how they are asked, and what the answers mean.

pub mod probe;
pub mod url;
pub mod verdict;

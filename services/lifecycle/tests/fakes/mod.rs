//! Stand-ins for the neighbours, as small as their contracts allow.

pub mod indexer;
pub mod keys;
pub mod receiver;
pub mod strict;
pub mod wallet;

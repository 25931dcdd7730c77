//! The loops: each looks at the tables and brings the world, or the tables, in line. Running one twice changes
//! nothing.

pub mod advance;
mod agree;
pub mod backfill;
pub mod care;
pub mod chain;
pub mod commit;
pub mod compare;
mod contract;
pub mod credits;
pub mod drift;
pub mod encode;
pub mod fetch;
pub mod follow;
mod history;
pub mod nodes;
pub mod plan;
pub mod range;
pub mod ready;
pub mod recheck;
mod retreat;
mod writer;

//! The loops: each looks at the tables and brings the world, or the tables, in line. Running one twice changes
//! nothing.

pub mod advance;
pub mod chain;
pub mod commit;
pub mod compare;
pub mod drift;
pub mod fetch;
pub mod follow;
pub mod nodes;
pub mod plan;
pub mod range;
pub mod ready;

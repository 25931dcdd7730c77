//! Approvals: which rules ask for them, who gave them, and to exactly what. What is approved is decided by
//! `domain::approval`; when the operation then goes on is the agenda's business.

pub mod config;
pub mod decide;
pub mod state;

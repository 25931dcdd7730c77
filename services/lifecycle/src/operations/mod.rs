//! One file for each verb: load, let `domain` decide, store. The nine operations share one plan.

pub mod batch;
pub mod cancel;
pub mod create;
pub mod export;
pub mod facts;
pub mod intake;
pub mod listing;
pub mod once;
pub mod origin;
pub mod plan;
pub mod postcondition;
pub mod preflight;
pub mod register;
pub mod speed_up;
pub mod subject;
pub mod submit;
pub mod terms;
pub mod update;
pub mod view;
pub mod waits;
pub mod webhooks;

#[cfg(test)]
mod tests;

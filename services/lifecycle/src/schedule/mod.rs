//! Schedules: what is to be done again and again, or once when the chain allows it. `domain::schedule` decides a look
//! from facts of one block; a look that wants something asks for an ordinary operation, whose request id is made from
//! schedule and look, so that a look made twice has one effect. Goes by chain time.

pub mod change;
pub mod look;
pub mod rule;
pub mod view;

//! Preflight against the contract.

mod walk;

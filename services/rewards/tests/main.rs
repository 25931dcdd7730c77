//! The rewards service as a black box: real Postgres, real gRPC with mTLS, a fake indexer.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed, and says where")]

mod fake_indexer;
mod ledger;

//! The rewards service as a black box: real Postgres, real gRPC with mTLS, a fake indexer.

mod fake_indexer;
mod ledger;

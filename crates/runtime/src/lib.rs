//! What every process of ours needs, and nothing that is particular to Metis: configuration, errors,
//! the method table, mutual TLS and identity, the gRPC server and client stacks, health, the admin
//! port, shutdown in two phases, and telemetry.
#![deny(missing_docs)]

pub mod admin;
pub mod budget;
pub mod client;
pub mod config;
pub mod errors;
pub mod health;
pub mod idempotency;
pub mod identity;
pub mod methods;
pub mod page;
pub mod server;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
mod trace_headers;

pub use errors::report;
pub use tls::install_crypto_provider;
pub use trace_headers::continue_trace;

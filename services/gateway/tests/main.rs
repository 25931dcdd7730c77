//! The gateway as its callers meet it: real HTTP and WebSockets, real Postgres, real mTLS to fake neighbours.

mod access;
mod discover;
mod edge;
mod envelope;
mod errors;
mod fakes;
mod methods;
mod subscriptions;
mod world;

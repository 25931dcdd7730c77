//! Secrets in memory and at rest: the key itself, its envelope, and the key that wraps all envelopes.

pub mod aead;
pub mod envelope;
pub mod kek;
pub mod seal;
pub mod secret;

pub use envelope::Envelope;
pub use kek::KeyEncryptionKey;
pub use secret::SecretKey;

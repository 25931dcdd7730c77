//! Secrets in memory and at rest: the key itself, its envelope, and the keys that wrap all envelopes.

pub mod aead;
pub mod envelope;
pub mod kek;
pub mod memory;
pub mod pinned;
pub mod ring;
pub mod seal;
pub mod secret;

pub use envelope::Envelope;
pub use kek::KeyEncryptionKey;
pub use pinned::Pinned;
pub use ring::Ring;
pub use secret::SecretKey;

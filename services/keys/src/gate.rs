//! Whether keys can be used: sealed with a reason until the installation opens, then open for good.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use crate::keyring::Keyring;

/// See the module.
#[derive(Debug)]
pub struct Gate {
    keyring: OnceLock<Arc<Keyring>>,
    reason: RwLock<String>,
}

impl Gate {
    /// Sealed for this reason.
    pub fn sealed(reason: &str) -> Self {
        Self { keyring: OnceLock::new(), reason: RwLock::new(reason.to_owned()) }
    }

    /// The open installation, or why it is sealed.
    pub fn keyring(&self) -> Result<&Arc<Keyring>, String> {
        let reason = || self.reason.read().unwrap_or_else(PoisonError::into_inner).clone();
        self.keyring.get().ok_or_else(reason)
    }

    /// Opens; a second time changes nothing.
    pub fn open(&self, keyring: Keyring) {
        let _ = self.keyring.set(Arc::new(keyring));
    }

    /// Another reason by now.
    pub fn still_sealed(&self, reason: &str) {
        reason.clone_into(&mut self.reason.write().unwrap_or_else(PoisonError::into_inner));
    }
}

//! What the figures of a group run in: made for the first of them, kept for the others, gone at the end.

use anyhow::Result;
use tokio::sync::{Mutex, MutexGuard};

/// A world, if one was made.
pub struct Kept<W>(Mutex<Option<W>>);

impl<W> Kept<W> {
    pub const fn none() -> Self {
        Self(Mutex::const_new(None))
    }

    /// The world, started if there is none; nobody else measures while it is held.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn held<F>(&self, start: impl FnOnce() -> F) -> Result<MutexGuard<'_, Option<W>>>
    where
        F: Future<Output = Result<W>>,
    {
        let mut world = self.0.lock().await;
        if world.is_none() {
            *world = Some(start().await?);
        }
        Ok(world)
    }

    /// Stops everything that was started.
    pub async fn close(&self) {
        drop(self.0.lock().await.take());
    }
}

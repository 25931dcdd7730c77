//! Thirty-two secret bytes on a page of their own: kept out of swap where the limit allows it, and
//! wiped before the page is given back.
//!
//! A lock holds for a page, not for bytes, and does not count how often it was taken: two secrets on
//! one page would be unlocked by the first that is dropped.

use std::fmt;
use std::ops::{Deref, DerefMut};

use region::LockGuard;
use zeroize::Zeroize;

/// The page of x86-64 and of most arm64 kernels. Where pages are larger a neighbour may unlock too early.
const PAGE_BYTES: usize = 4096;
const SECRET_BYTES: usize = 32;

#[repr(align(4096))]
struct Page([u8; PAGE_BYTES]);

/// See the module.
pub struct Pinned {
    // Dropped before the page is freed; by then the bytes are wiped.
    locked: Option<LockGuard>,
    page: Box<Page>,
}

impl Pinned {
    /// Thirty-two zeros, to be filled in place.
    pub fn zeroed() -> Self {
        let page = Box::new(Page([0; PAGE_BYTES]));
        let locked = region::lock(page.0.as_ptr(), SECRET_BYTES).ok();
        Self { locked, page }
    }

    /// A copy of these bytes; the caller wipes its own.
    pub fn of(bytes: &[u8; SECRET_BYTES]) -> Self {
        let mut pinned = Self::zeroed();
        pinned.copy_from_slice(bytes);
        pinned
    }

    /// Whether the operating system keeps the page out of swap.
    pub fn is_locked(&self) -> bool {
        self.locked.is_some()
    }
}

impl Deref for Pinned {
    type Target = [u8; SECRET_BYTES];

    fn deref(&self) -> &Self::Target {
        self.page.0.first_chunk().expect("a page is larger than a secret")
    }
}

impl DerefMut for Pinned {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.page.0.first_chunk_mut().expect("a page is larger than a secret")
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.deref_mut().zeroize();
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pinned(<redacted>)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_secrets_never_share_a_page_and_are_not_printed() {
        let (one, other) = (Pinned::of(&[0x5e; 32]), Pinned::of(&[7; 32]));
        assert_eq!((one.as_ptr().align_offset(PAGE_BYTES), other.as_ptr().align_offset(PAGE_BYTES)), (0, 0));
        assert_ne!(one.as_ptr(), other.as_ptr());
        assert_eq!((*one, *other), ([0x5e; 32], [7; 32]));
        assert_eq!(format!("{one:?}"), "Pinned(<redacted>)");
    }
}

//! The heap while sessions run: it keeps what they free.
//!
//! A session's buffers come and go many times a millisecond. To give each back to the kernel and to ask for it again would
//! take longer than to fill it; a hub on which nothing but tunnels wait is the smaller for doing so.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How much free memory is kept while a session runs, in bytes.
const KEPT: libc::c_int = 1 << 20;
/// How much is kept otherwise: what the heap begins with.
const USUAL: libc::c_int = 128 << 10;

static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// As long as one of these lives, the heap keeps what is freed.
#[derive(Debug)]
pub(crate) struct Kept(());

impl Kept {
    /// A session begins. Should another end in the same moment, this one is slower, and nothing else.
    pub(crate) fn begin() -> Self {
        if RUNNING.fetch_add(1, Ordering::AcqRel) == 0 {
            keep(KEPT);
        }
        Self(())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if RUNNING.fetch_sub(1, Ordering::AcqRel) == 1 {
            keep(USUAL);
        }
    }
}

fn keep(bytes: libc::c_int) {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a number of the allocator, under its own lock.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, bytes);
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = bytes;
}

//! The program `demarc`.

use std::process::ExitCode;

fn main() -> ExitCode {
    small_heap();
    demarc::cli::main()
}

/// Keeps the heap of an idle daemon small: one arena, and free memory goes back early. The default is made for
/// programs with many busy threads.
fn small_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the calls only set numbers of the allocator, before any thread runs.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 << 10);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10);
    }
}

//! The vendor's end of Demarc: parses the command line and does what it says.

use std::process::ExitCode;

use clap::Parser;
use demarc_hub::{cli, config::ConfigError, pages::Pages};

#[global_allocator]
static MEMORY: Pages = Pages::new();

/// The exit code for a bad configuration.
const BAD_CONFIG: u8 = 64;

/// How much free memory of the heap is kept, in bytes.
const KEPT: libc::c_int = 1 << 20;

fn main() -> ExitCode {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a number of the allocator. A session's buffers come and go many times a millisecond: to give each back to
    // the kernel and to ask for it again would take longer than to fill it.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
    match cli::run(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demarc-hub: {}", words(&error));
            if error.is::<ConfigError>() { ExitCode::from(BAD_CONFIG) } else { ExitCode::FAILURE }
        }
    }
}

/// An error with its causes. Some errors of ours name their cause already.
fn words(error: &anyhow::Error) -> String {
    let mut words = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !words.contains(&cause) {
            words = words + ": " + &cause;
        }
    }
    words
}

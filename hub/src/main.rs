//! The vendor's end of Demarc: parses the command line and does what it says.

use std::process::ExitCode;

use clap::Parser;
use demarc_hub::{cli, config::ConfigError, pages::Pages};

#[global_allocator]
static MEMORY: Pages = Pages::new();

/// The exit code for a bad configuration.
const BAD_CONFIG: u8 = 64;

fn main() -> ExitCode {
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

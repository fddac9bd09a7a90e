//! The program `demarc`.

use std::process::ExitCode;

fn main() -> ExitCode {
    demarc::cli::main()
}

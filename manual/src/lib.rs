//! Manual pages and completions of a program, made of the command line that it itself goes by.

use std::{fs, io, path::Path};

use clap::Command;
use clap_complete::{Shell, generate_to};

/// The shells, and the directory of each.
const SHELLS: [(Shell, &str); 3] = [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")];

/// Writes a page for the program and each of its commands into the directory, and the completions into
/// `completions/bash`, `completions/zsh` and `completions/fish` below it. Commands that nobody types have neither.
///
/// # Errors
/// When a file cannot be written.
pub fn write(command: Command, directory: &Path) -> io::Result<()> {
    let command = without_help(command);
    let name = command.get_name().to_owned();
    let mut typed = without_hidden(&command);
    for (shell, place) in SHELLS {
        let place = directory.join("completions").join(place);
        fs::create_dir_all(&place)?;
        let written = generate_to(shell, &mut typed, &name, &place)?;
        // Where bash looks for completions, they are called like the program.
        if shell == Shell::Bash {
            fs::rename(written, place.join(&name))?;
        }
    }
    clap_mangen::generate_to(command, directory)
}

/// Each command has `--help`: a page for `help` before each of them as well would say nothing.
fn without_help(command: Command) -> Command {
    command.disable_help_subcommand(true).mut_subcommands(without_help)
}

/// The completions offer hidden commands as well, so they are made of a command that has none.
fn without_hidden(command: &Command) -> Command {
    // This runs once, and clap wants names that live as long as the program.
    let lasting = |text: &str| -> &'static str { text.to_owned().leak() };
    let mut shown = Command::new(lasting(command.get_name()))
        .disable_help_subcommand(true)
        .args(command.get_arguments().cloned())
        .subcommands(command.get_subcommands().filter(|one| !one.is_hide_set()).cloned());
    if let Some(version) = command.get_version() {
        shown = shown.version(lasting(version));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_is_written_nowhere() {
        let command = Command::new("tool")
            .about("Does things.")
            .subcommand(Command::new("seen").about("Is typed."))
            .subcommand(Command::new("inner").hide(true).about("Is not."));
        let directory = tempfile::tempdir().unwrap();
        write(command, directory.path()).unwrap();
        let page = |name: &str| fs::read_to_string(directory.path().join(name));
        assert!(page("tool.1").unwrap().contains("Does things.") && page("tool-seen.1").is_ok());
        assert!(page("tool-inner.1").is_err() && page("tool-help.1").is_err());
        for completions in ["bash/tool", "zsh/_tool", "fish/tool.fish"] {
            let text = page(&format!("completions/{completions}")).unwrap();
            assert!(text.contains("seen") && !text.contains("Is not."), "{text}");
        }
    }
}

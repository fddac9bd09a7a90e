//! `demarc web`: the way into the owner's pages.

use std::{
    io::{self, BufRead, IsTerminal},
    process::ExitCode,
};

use anyhow::bail;
use clap::{Args, Subcommand};

use crate::{
    control::{Answer, Request, client},
    settings::load::Loaded,
    state::StateDir,
    web::password,
};

/// Arguments of `demarc web`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  demarc web\n  demarc web password < file")]
pub struct WebArgs {
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<WebCommand>,
}

#[derive(Debug, Subcommand)]
enum WebCommand {
    /// Prints a link that lets one browser in, once, within five minutes; this is what happens when nothing is named.
    Link,
    /// Reads a password and prints its hash, for web.password in the config file.
    #[command(after_help = "Example: demarc web password < password.txt")]
    Password,
}

impl WebArgs {
    /// Whether no config file is needed: a hash is asked for before there can be a good one.
    pub fn needs_no_config(&self) -> bool {
        matches!(self.command, Some(WebCommand::Password))
    }
}

/// Prints a link.
///
/// # Errors
/// When no daemon runs, or it has no pages.
pub fn run(args: &WebArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    link(args.json, loaded)?;
    Ok(ExitCode::SUCCESS)
}

fn link(json: bool, loaded: &Loaded) -> anyhow::Result<()> {
    let state = StateDir::new(&loaded.settings.state_dir);
    match client::ask(&state.control_socket(), Request::WebLink)? {
        Answer::WebLink { url, seconds } if json => {
            println!("{}", serde_json::json!({ "url": url, "seconds": seconds }));
        }
        Answer::WebLink { url, .. } => {
            println!("{url}");
            eprintln!("This link lets one browser in, once, within five minutes.");
            if url.starts_with("http://127.0.0.1:") || url.starts_with("http://[::1]:") {
                let port =
                    url.split('/').nth(2).and_then(|host| host.rsplit_once(':')).map_or("8427", |(_, port)| port);
                eprintln!("From another machine: ssh -L {port}:127.0.0.1:{port} THIS-MACHINE, and open it there.");
            }
        }
        Answer::Refused { reason } => bail!("{reason}"),
        _ => bail!("the running demarc gives another answer"),
    }
    Ok(())
}

/// Reads a password and prints its hash.
///
/// # Errors
/// When it is too short.
pub fn hash() -> anyhow::Result<ExitCode> {
    if io::stdin().is_terminal() {
        eprintln!("Type the password; it is shown while you type:");
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let hash = password::hash(line.trim_end_matches(['\r', '\n'])).map_err(anyhow::Error::msg)?;
    println!("password = \"{hash}\"");
    eprintln!("Put this line into [web] of the config file.");
    Ok(ExitCode::SUCCESS)
}

//! The command line: one file a command.

mod connect;
mod grants;
mod init;
mod serve;
mod show;
mod sites;
mod support_ca;
mod token;

pub use self::support_ca::SupportCa;

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use demarc_proto::{SiteId, support::GrantId};
use tokio::runtime::Builder;

use crate::{
    config::{Config, ConfigError, parse_duration},
    store::Store,
    support,
};

/// The vendor's end of Demarc: takes tunnels, stores aggregated reports, signs receipts.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, max_term_width = 100)]
pub struct Cli {
    /// The settings file that `init` wrote.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/demarc/hub.toml")]
    pub config: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes a new hub: settings, authority, keys, database. Overwrites nothing.
    ///
    /// Example: demarc-hub init --dir /srv/hub --listen 0.0.0.0:443 --address hub.example.com:443
    Init {
        /// The directory to make it in.
        #[arg(long)]
        dir: PathBuf,
        /// Where it will listen, such as 0.0.0.0:443.
        #[arg(long)]
        listen: SocketAddr,
        /// What sites will connect to, host:port; the listening address where absent.
        #[arg(long)]
        address: Option<String>,
    },
    /// Runs the hub until it is told to stop (SIGTERM or Ctrl-C).
    ///
    /// Example: demarc-hub --config /srv/hub/hub.toml serve
    Serve,
    /// Prints a one-time token with which a site enrolls, a line for each site. Works while the hub runs.
    ///
    /// A site that is enrolled already can enroll again, from a new machine for example; its earlier key is shut
    /// out then. Example: demarc-hub --config /srv/hub/hub.toml token site-one --valid 3d
    Token {
        /// The sites: a-z, 0-9 and dashes.
        #[arg(required = true, value_name = "SITE")]
        sites: Vec<SiteId>,
        /// How long the token is good: a number with s, m, h or d.
        #[arg(long, default_value = "24h", value_parser = parse_duration)]
        valid: Duration,
    },
    /// Lists the sites, with when each was last seen.
    ///
    /// Example: demarc-hub --config /srv/hub/hub.toml sites --json
    Sites {
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows the reports of a site.
    ///
    /// Example: demarc-hub --config /srv/hub/hub.toml show site-one
    Show {
        /// The site.
        site: SiteId,
        /// Prints JSON, each report exactly as it was received.
        #[arg(long)]
        json: bool,
    },
    /// Connects standard input and output to a session at a site: for `ProxyCommand` of ssh.
    ///
    /// The hub must run here, and the site must have a live grant. Example, in ~/.ssh/config:
    /// ProxyCommand demarc-hub connect --fdpass %h, with ProxyUseFdpass yes
    Connect {
        /// The site.
        site: SiteId,
        /// Under this grant; the newest where absent.
        #[arg(long, value_name = "ID", conflicts_with = "certificate")]
        grant: Option<GrantId>,
        /// Under the grant that this certificate is for: your ssh's CertificateFile.
        #[arg(long, value_name = "FILE")]
        certificate: Option<PathBuf>,
        /// Hands the connection to ssh and ends, instead of copying: for `ProxyUseFdpass yes`.
        #[arg(long)]
        fdpass: bool,
        /// The hub's socket; support.sock in its data directory where absent.
        #[arg(long, value_name = "FILE")]
        socket: Option<PathBuf>,
    },
    /// Lists the live grants that sites told this hub of, or exports one for the support authority.
    ///
    /// Example: demarc-hub grants site-one --export 0123456789abcdef > grant.json
    Grants {
        /// The site; all where absent.
        site: Option<SiteId>,
        /// Prints JSON.
        #[arg(long, conflicts_with = "export")]
        json: bool,
        /// Prints this grant and its signature as JSON, for `demarc-hub support-ca sign`.
        #[arg(long, value_name = "ID")]
        export: Option<GrantId>,
        /// Writes FILE and FILE.sig instead, for `ssh-keygen -Y verify`.
        #[arg(long, value_name = "FILE", requires = "export")]
        to: Option<PathBuf>,
        /// The hub's socket; support.sock in its data directory where absent.
        #[arg(long, value_name = "FILE")]
        socket: Option<PathBuf>,
    },
    /// The support authority, which lives apart from the hub: certifies host keys of sites and keys of engineers.
    #[command(subcommand)]
    SupportCa(SupportCa),
    /// Writes the manual pages and the completions of shells. Whoever builds a package runs this.
    #[command(hide = true)]
    Man {
        /// The directory to write them into.
        directory: PathBuf,
    },
}

/// Does what the command line says.
///
/// # Errors
/// A [`crate::config::ConfigError`] when the settings are at fault, anything else with words for the operator.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    // It holds nothing that others may not read.
    if let Command::Man { directory } = &cli.command {
        return demarc_manual::write(Cli::command(), directory)
            .with_context(|| format!("the manual cannot be written into {}", directory.display()));
    }
    // What any command writes, the database and its companions too, is its owner's alone unless said otherwise.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let load = || Config::load(&cli.config);
    match cli.command {
        Command::Init { dir, listen, address } => waiting(init::run(&dir, listen, address.as_deref()))?,
        Command::Serve => serve::run(&load()?),
        Command::Token { sites, valid } => {
            let config = load()?;
            waiting(token::run(&config, sites, valid))?
        }
        Command::Sites { json } => {
            let config = load()?;
            waiting(sites::run(&config, json))?
        }
        Command::Show { site, json } => {
            let config = load()?;
            waiting(show::run(&config, &site, json))?
        }
        Command::Connect { site, grant, certificate, fdpass, socket } => {
            let under = match (grant, certificate) {
                (Some(grant), _) => connect::Under::Grant(grant),
                (None, Some(file)) => connect::Under::Certificate(file),
                (None, None) => connect::Under::Newest,
            };
            connect::run(&socket_of(socket, load)?, &site, &under, fdpass)
        }
        Command::SupportCa(command) => support_ca::run(command),
        Command::Man { .. } => unreachable!("done above"),
        Command::Grants { site, json, export, to, socket } => {
            let wanted = match export {
                Some(grant) => grants::Wanted::One(grant, to),
                None if json => grants::Wanted::Json,
                None => grants::Wanted::Table,
            };
            grants::run(&socket_of(socket, load)?, site, wanted)
        }
    }
}

/// Where the hub listens for commands. Who names it needs no settings, and may not be allowed to read them.
fn socket_of(socket: Option<PathBuf>, load: impl Fn() -> Result<Config, ConfigError>) -> Result<PathBuf, ConfigError> {
    match socket {
        Some(socket) => Ok(socket),
        None => Ok(support::path_in(&load()?.data_dir)),
    }
}

/// Runs a command that waits for little: one thread is enough.
fn waiting<T>(command: impl Future<Output = T>) -> io::Result<T> {
    Ok(Builder::new_current_thread().enable_all().build()?.block_on(command))
}

/// Opens the database of a hub that `init` has made: a mistyped path must not make a second one.
async fn existing_store(config: &Config) -> anyhow::Result<Store> {
    let path = Store::path_in(&config.data_dir);
    anyhow::ensure!(path.exists(), "there is no database at {}; `demarc-hub init` makes one", path.display());
    Ok(Store::open(&config.data_dir).await?)
}

/// Prints to standard output. A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// A moment as people read it, to the second, in UTC.
fn moment(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(|| "?".to_owned(), |moment| moment.to_string())
}

/// A table without decoration, wide enough for what is in it.
fn table(head: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(head);
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    table
}

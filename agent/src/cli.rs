//! The command line: one file a command below this one.

pub mod backup;
pub mod doctor;
pub mod enroll;
pub mod health;
pub mod import;
pub mod man;
pub mod preview;
pub mod recordings;
pub mod report;
pub mod role;
pub mod run;
pub mod sent;
pub mod setup;
pub mod sources;
pub mod stats;
pub mod status;
pub mod support;
mod switch;
pub mod tunnel;
pub mod web;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::SystemTime,
};

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::{
    confine::{
        self,
        layout::{self, Ground},
    },
    settings::{
        Settings,
        edit::EditError,
        load::{self, DEFAULT_CONFIG, LoadError},
    },
    state::StateDir,
};

/// The exit code for a config file or an environment that cannot be used.
const EXIT_BAD_CONFIG: u8 = 64;

/// The on-premise agent of a phone system: it counts calls, keeps content local, and shows everything that leaves.
#[derive(Debug, Parser)]
#[command(
    name = "demarc",
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 64 bad config.\n\nExample: demarc --config /etc/demarc/demarc.toml status"
)]
struct Cli {
    /// Reads the settings from this file.
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    // What has no comment here is described where its arguments are, at more length.
    Setup(setup::SetupArgs),
    /// Connects this site to a vendor, by a one-time token.
    Enroll(enroll::EnrollArgs),
    /// Runs the daemon in the foreground until it is told to end.
    Run(run::RunArgs),
    Import(import::ImportArgs),
    /// Prints how many calls there were, how long people talked and how long callers waited.
    Report(report::ReportArgs),
    Sources(sources::SourcesArgs),
    /// Counts call recordings, and removes old ones. No process of demarc can open one.
    Recordings(recordings::RecordingsArgs),
    /// Shows on one screen how everything is.
    Status(status::StatusArgs),
    /// Checks everything, and proves the confinement by trying to break it.
    Doctor(doctor::DoctorArgs),
    /// Switches the upload of aggregated statistics on or off.
    Stats(stats::StatsArgs),
    /// Shows how the machine is, and switches reports of it to the vendor on or off.
    Health(health::HealthArgs),
    /// Backs up the phone system's configuration, encrypted to a key that you alone hold, and restores it.
    Backup(backup::BackupArgs),
    /// Switches the connection to the vendor on or off.
    Tunnel(tunnel::TunnelArgs),
    /// Lets the vendor's support in for a time, watches it, and shows it out.
    Support(support::SupportArgs),
    /// Lets a browser in to the owner's pages.
    Web(web::WebArgs),
    /// Shows and checks the ledger of everything that left.
    Sent(sent::SentArgs),
    /// Takes one role of the daemon. The supervisor starts this; nobody types it.
    #[command(hide = true)]
    Role(role::RoleArgs),
    /// Counts the newest records for the preview that `demarc setup` shows. It starts this; nobody types it.
    #[command(hide = true)]
    SetupSample(setup::SampleArgs),
    /// Writes the manual pages and the completions of shells. Whoever builds a package runs this.
    #[command(hide = true)]
    Man(man::ManArgs),
}

/// Arguments of the commands that only read.
#[derive(Debug, Args)]
struct ReadArgs {
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Reads the command line, does what it says, and returns the exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            let bad_config = error.downcast_ref::<LoadError>().is_some()
                || matches!(error.downcast_ref::<EditError>(), Some(EditError::Load(_)));
            if bad_config { ExitCode::from(EXIT_BAD_CONFIG) } else { ExitCode::FAILURE }
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    // A role gets what it needs from the supervisor, and is not able to read the config file.
    if let Command::Role(args) = &cli.command {
        return role::run(args);
    }
    match &cli.command {
        // It is told everything on its standard input.
        Command::SetupSample(_) => return setup::run_sample().map(|()| ExitCode::SUCCESS),
        Command::Man(args) => return man::run(args, Cli::command()).map(|()| ExitCode::SUCCESS),
        _ => {}
    }
    if let Command::Web(args) = &cli.command
        && args.needs_no_config()
    {
        return web::hash();
    }
    let loaded = match (load::load(&cli.config), &cli.command) {
        (Ok(loaded), _) => loaded,
        (Err(error), Command::Status(args)) => return status::run_despite(args, &cli.config, error),
        // What is there to be read is asked before there is a config file.
        (Err(LoadError::Missing { .. }), Command::Sources(args)) => {
            return sources::run(args, &Settings::default()).map(|()| ExitCode::SUCCESS);
        }
        (Err(LoadError::Missing { .. }), Command::Setup(args)) => return setup::run(args, &cli.config, None),
        (Err(error), _) => return Err(error.into()),
    };
    match &cli.command {
        Command::Setup(args) => setup::run(args, &cli.config, Some(&loaded)),
        Command::Enroll(args) => {
            StateDir::new(&loaded.settings.state_dir).become_owner()?;
            enroll::run(args, &loaded.settings)
        }
        Command::Run(args) => run::run(args, &cli.config, loaded),
        Command::Import(args) => import::run(args, &loaded.settings).map(|()| ExitCode::SUCCESS),
        Command::Report(args) => report::run(args, &loaded.settings).map(|()| ExitCode::SUCCESS),
        Command::Sources(args) => sources::run(args, &loaded.settings).map(|()| ExitCode::SUCCESS),
        Command::Status(args) => status::run(args, &cli.config, &loaded),
        Command::Doctor(args) => doctor::run(args, &cli.config, &loaded),
        Command::Stats(args) => stats::run(args, &cli.config, &loaded),
        Command::Health(args) => health::run(args, &cli.config, &loaded),
        Command::Backup(args) => backup::run(args, &cli.config, &loaded),
        Command::Tunnel(args) => tunnel::run(args, &cli.config, &loaded),
        Command::Recordings(args) => recordings::run(args, &cli.config, &loaded),
        Command::Support(args) => support::run(args, &loaded),
        Command::Web(args) => web::run(args, &loaded),
        Command::Sent(args) => {
            confine_command(&loaded.settings)?;
            sent::run(args, &loaded.settings)
        }
        Command::Role(_) | Command::SetupSample(_) | Command::Man(_) => unreachable!("handled above"),
    }
}

/// Makes a short-lived command go on as the owner of the state directory, able to open nothing but that directory; the
/// files that it was given must be open by then. A kernel that cannot enforce this does not keep an owner from asking
/// how things are.
fn confine_command(settings: &Settings) -> anyhow::Result<()> {
    StateDir::new(&settings.state_dir).become_owner()?;
    let ground = Ground::of_the_kernel()?;
    confine::enter(&layout::command(&ground, settings))?;
    Ok(())
}

/// Lets `demarc status | head` end like any other program when `head` has seen enough. To be called when all that is
/// left to do is printing: a socket that breaks would end the program, too.
fn end_quietly_with_the_reader() {
    // SAFETY: no handler is installed; the default action is restored before anything is written.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// The clock, in seconds since 1970 in UTC.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Writes an error and its causes in one line.
fn complain(error: &anyhow::Error) {
    let mut line = String::from("demarc: ");
    let mut last = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        // A cause that the sentence before has quoted already is not said twice.
        if last.ends_with(&text) {
            continue;
        }
        if !last.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&text);
        last = text;
    }
    let _ = writeln!(io::stderr(), "{}", line.replace('\n', " "));
}

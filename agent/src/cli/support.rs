//! `demarc support`: lets the vendor's support in, watches it, and shows it out.

mod allow;
mod list;
mod play;
mod trust;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::bail;
use clap::{Args, Subcommand};
use demarc_proto::support::{GrantId, Label, Scope};

use crate::{
    control::{Answer, Request, client},
    settings::{load::Loaded, parse_duration},
    state::StateDir,
    support::SessionId,
};

/// Arguments of `demarc support`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  demarc support allow --for 2h --scope shell --ticket T-17\n  demarc support watch\n  demarc support end"
)]
pub struct SupportArgs {
    #[command(subcommand)]
    command: SupportCommand,
}

#[derive(Debug, Subcommand)]
enum SupportCommand {
    /// Lets the vendor's support in, for a time and for one purpose.
    #[command(after_help = "Example: demarc support allow --for 2h --scope shell --ticket T-17 --engineer ada")]
    Allow {
        /// For how long: a number with s, m, h or d.
        #[arg(long = "for", value_name = "TIME", value_parser = duration)]
        lasts: Duration,
        /// diagnose: a menu of commands that only read. shell: a confined shell. files: transfer to and from an empty
        /// directory. forward=PORT: connections to one port of this machine, such as the PBX's web page.
        #[arg(long, default_value = "diagnose")]
        scope: Scope,
        /// The vendor's ticket; the vendor reads it.
        #[arg(long)]
        ticket: Option<Label>,
        /// Only this engineer: the name in the certificate that the support desk makes; the vendor reads it.
        #[arg(long)]
        engineer: Option<Label>,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Lists the grants that are live and every session that ever was.
    List {
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows a session that runs, as the engineer sees it, until it is over.
    Watch {
        /// The session; the one that runs where it is the only one.
        session: Option<SessionId>,
    },
    /// Ends a grant and its sessions at once; without a name, all of them.
    End {
        /// The grant.
        grant: Option<GrantId>,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Plays the recording of a session. It is an asciicast: other players play it, too.
    Replay {
        /// The session.
        session: SessionId,
        /// So many times as fast.
        #[arg(long, default_value_t = 1.0)]
        speed: f64,
        /// Pauses are cut to so many seconds.
        #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
        idle: f64,
        /// Prints what happened, without waiting and without control characters.
        #[arg(long)]
        text: bool,
    },
    /// Checks the recordings against the ledger; all of them where none is named.
    Verify {
        /// The sessions.
        sessions: Vec<SessionId>,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Prints this site's SSH host key, which the vendor's support desk certifies.
    Key,
    /// Takes the host certificate that the support desk made, by which an engineer knows this site.
    HostCertificate {
        /// The file.
        file: PathBuf,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    let good = parse_duration(text).filter(|duration| !duration.is_zero());
    good.ok_or_else(|| "a time is a number with s, m, h or d, such as 2h".to_owned())
}

/// Does what was asked.
///
/// # Errors
/// When the daemon does not run or refuses, or a recording cannot be read.
pub fn run(args: &SupportArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let settings = &loaded.settings;
    let state = StateDir::new(&settings.state_dir);
    if let SupportCommand::HostCertificate { file } = &args.command {
        return trust::install(file, settings).map(|()| ExitCode::SUCCESS);
    }
    super::confine_command(settings)?;
    match &args.command {
        SupportCommand::Allow { lasts, scope, ticket, engineer, json } => {
            let request = Request::Allow {
                seconds: lasts.as_secs(),
                scope: *scope,
                ticket: ticket.clone(),
                engineer: engineer.clone(),
            };
            allow::run(&state, request, *json)?;
        }
        SupportCommand::List { json } => list::run(&state, *json)?,
        SupportCommand::End { grant, json } => end(&state, *grant, *json)?,
        SupportCommand::Watch { session } => play::watch(&state, *session)?,
        SupportCommand::Replay { session, speed, idle, text } => {
            if !(speed.is_finite() && *speed > 0.0 && idle.is_finite() && *idle >= 0.0) {
                bail!("--speed must be more than 0, and --idle 0 or more");
            }
            play::replay(&state, *session, *speed, *idle, *text)?;
        }
        SupportCommand::Verify { sessions, json } => return list::verify(&state, sessions, *json),
        SupportCommand::Key => trust::key(&state)?,
        SupportCommand::HostCertificate { .. } => unreachable!("handled above"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks the running daemon.
fn ask(state: &StateDir, request: Request) -> anyhow::Result<Answer> {
    match client::ask(&state.control_socket(), request) {
        Ok(Answer::Refused { reason }) => bail!("{reason}"),
        Ok(answer) => Ok(answer),
        Err(client::AskError::NotRunning) => bail!("demarc is not running, so nobody can be let in, and nobody is"),
        Err(error) => Err(error.into()),
    }
}

fn end(state: &StateDir, grant: Option<GrantId>, json: bool) -> anyhow::Result<()> {
    let Answer::Ended { grants, sessions } = ask(state, Request::End { grant })? else {
        bail!("the running demarc gives another answer");
    };
    super::end_quietly_with_the_reader();
    if json {
        println!("{}", serde_json::json!({ "grants": grants, "sessions": sessions }));
    } else if grants.is_empty() && sessions.is_empty() {
        println!("There is no live grant: nobody can get in.");
    } else {
        let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let (grants, sessions) = (count(grants.len(), "grant"), count(sessions.len(), "running session"));
        println!("Ended: {grants}, {sessions}. What they did: `demarc support list`.");
    }
    Ok(())
}

/// A time as people say it: `1h 05m`, `12m 30s`, `9s`.
fn spoken(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h {minutes:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spoken() {
        assert_eq!([0, 61, 3600, 90_061].map(spoken), ["0s", "1m 01s", "1h 00m", "25h 01m"]);
        assert!(duration("2h").is_ok() && duration("0s").is_err() && duration("2").is_err());
    }
}

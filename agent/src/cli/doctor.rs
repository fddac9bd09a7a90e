//! `demarc doctor`: checks everything, and proves the confinement by trying to break it.

mod checks;
mod manager;
mod proofs;

use std::{path::Path, process::ExitCode};

use clap::Args;
use comfy_table::{Table, presets};
use serde::Serialize;

use crate::{confine::layout::Ground, settings::load::Loaded, state::StateDir};

/// Arguments of `demarc doctor`.
#[derive(Debug, Args)]
#[command(
    after_help = "For each process of the daemon it starts a child that confines itself in the same way and then tries \
                  to open recordings and call records, to reach the network, and to break out. Nothing is sent: the \
                  kernel has to refuse first. The exit code is 1 when something succeeds that must fail.\n\n\
                  Example: demarc doctor --json"
)]
pub struct DoctorArgs {
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Everything that was found.
#[derive(Debug, Serialize)]
struct Findings {
    good: bool,
    checks: Vec<Check>,
    proofs: Vec<Proof>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    what: &'static str,
    state: State,
    detail: String,
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Good,
    Warning,
    Bad,
}

/// One attempt of a confined process.
#[derive(Debug, Serialize)]
struct Proof {
    role: &'static str,
    /// What it tried.
    tried: String,
    /// Whether it should have been allowed.
    expected: Expected,
    /// What the kernel said.
    kernel: String,
    /// Whether that is as it should be; absent when the attempt showed nothing.
    holds: Option<bool>,
}

/// What should come of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Expected {
    Allowed,
    Refused,
}

/// Checks everything.
///
/// # Errors
/// When the checks themselves cannot be made.
pub fn run(args: &DoctorArgs, config: &Path, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let state = StateDir::new(&loaded.settings.state_dir);
    // As the daemon's user: what root can read tells nothing about what the daemon can.
    state.become_owner()?;
    let config = std::path::absolute(config)?;
    let ground = Ground::survey(&loaded.settings, &config)?;
    let checks = checks::all(loaded, &state, &ground);
    let proofs = proofs::all(loaded, &config, &state, &ground)?;
    let good =
        checks.iter().all(|check| check.state != State::Bad) && proofs.iter().all(|one| one.holds != Some(false));
    let findings = Findings { good, checks, proofs };
    super::end_quietly_with_the_reader();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        print(&findings);
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(findings: &Findings) {
    for check in &findings.checks {
        let mark = match check.state {
            State::Good => "ok  ",
            State::Warning => "note",
            State::Bad => "BAD ",
        };
        println!("{mark}  {:<14}{}", check.what, check.detail);
    }
    println!("\nWhat confined processes tried here, and what the kernel said:\n");
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["process", "tried", "should be", "kernel", ""]);
    for proof in &findings.proofs {
        let expected = match proof.expected {
            Expected::Allowed => "allowed",
            Expected::Refused => "refused",
        };
        let verdict = match proof.holds {
            Some(true) => "",
            Some(false) => "FAILS",
            None => "shows nothing",
        };
        table.add_row([proof.role, &proof.tried, expected, &proof.kernel, verdict]);
    }
    println!("{}\n", table.trim_fmt());
    let bad = findings.checks.iter().filter(|check| check.state == State::Bad).count();
    let broken = findings.proofs.iter().filter(|proof| proof.holds == Some(false)).count();
    match (bad, broken) {
        (0, 0) => println!("All is well: {} attempts to do what must not be done were refused.", refused(findings)),
        (bad, 0) => println!("The confinement holds. Checks that are bad: {bad}."),
        (_, broken) => {
            println!("THE CONFINEMENT DOES NOT HOLD here: attempts with another outcome than they must have: {broken}.")
        }
    }
}

fn refused(findings: &Findings) -> usize {
    let good = |proof: &&Proof| proof.expected == Expected::Refused && proof.holds == Some(true);
    findings.proofs.iter().filter(good).count()
}

//! `demarc health`: how the machine is, and whether the vendor learns it.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    ReadArgs, now,
    status::Clock,
    switch::{must_be_off, turn},
};
use crate::{
    control::{Answer, Request, client},
    gate::{Consent, Verdict},
    health::{self, HealthStatus, gauge, report},
    settings::{Settings, edit::Switch, load::Loaded},
    state::{Site, StateDir},
    supervisor::derive,
};
use demarc_proto::{HealthReport, health::HEALTH_SCHEMA};

/// Arguments of `demarc health`.
#[derive(Debug, Args)]
#[command(after_help = "Example: demarc health preview")]
pub struct HealthArgs {
    #[command(subcommand)]
    command: HealthCommand,
}

#[derive(Debug, Subcommand)]
enum HealthCommand {
    /// Lets reports of the machine's health leave from now on: sets health.upload in the config file.
    On,
    /// Stops them at once: when this returns, not one further byte of them leaves.
    Off,
    /// Prints the next health report's exact bytes, and whether they would leave.
    Preview(ReadArgs),
    /// Shows how the machine is, and what is wrong.
    Show(ReadArgs),
}

/// What `preview --json` prints.
#[derive(Debug, Serialize)]
struct Preview<'a> {
    /// Why the report would not be sent now; absent when it would.
    withheld: Option<String>,
    /// The report.
    report: &'a HealthReport,
}

/// Does what was asked.
///
/// # Errors
/// When the config file cannot be changed, or the running daemon does not follow.
pub fn run(args: &HealthArgs, config: &Path, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    match &args.command {
        HealthCommand::On => switch(config, loaded, true)?,
        HealthCommand::Off => switch(config, loaded, false)?,
        HealthCommand::Preview(read) => preview(loaded, read.json)?,
        HealthCommand::Show(read) => show(&loaded.settings, read.json)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn switch(config: &Path, loaded: &Loaded, on: bool) -> anyhow::Result<()> {
    let turned = turn(config, loaded, Switch::Health, on)?;
    let decided = turned.uploads(loaded, Switch::Health, on).health;
    if !on {
        must_be_off(Switch::Health, &decided)?;
    }
    match on {
        true if !decided.on => {
            println!("health.upload is true in the config file now, but {} keeps reports off.", decided.decided_by);
        }
        true => {
            println!("Health reports are on.");
            println!(
                "Each is entered in the ledger first (`demarc sent`); `demarc health preview` shows the next one."
            );
        }
        false => {
            println!("Health reports are off: none leaves.");
            println!("Measuring, alerts and the page of health go on; statistics and the tunnel stay as they are.");
        }
    }
    turned.print_remarks(&loaded.settings);
    Ok(())
}

/// What the running daemon measured last; where none runs, or it has not measured yet, what this command measures.
fn measured(settings: &Settings) -> anyhow::Result<HealthStatus> {
    let state = StateDir::new(&settings.state_dir);
    match client::ask(&state.control_socket(), Request::Status) {
        Ok(Answer::Status(status)) => {
            if let Some(health) = status.collected.and_then(|collected| collected.health) {
                return Ok(health);
            }
        }
        Ok(_) | Err(client::AskError::NotRunning) => {}
        Err(error) => return Err(error.into()),
    }
    let mut gauge = gauge::Gauge::new(&settings.state_dir, &settings.recordings.paths, gauge::sensors());
    Ok(HealthStatus { sample: gauge.measure(now()), alerts: Vec::new() })
}

fn show(settings: &Settings, json: bool) -> anyhow::Result<()> {
    let measured = measured(settings)?;
    super::end_quietly_with_the_reader();
    if json {
        println!("{}", serde_json::to_string(&measured)?);
        return Ok(());
    }
    let clock = Clock::system();
    health::lines(&measured, |at| clock.show(at)).iter().for_each(|line| println!("{line}"));
    Ok(())
}

/// Prints the exact bytes on standard output, and what is to be said of them on standard error.
fn preview(loaded: &Loaded, json: bool) -> anyhow::Result<()> {
    let settings = &loaded.settings;
    let measured = measured(settings)?;
    let report = report::build(&measured.sample, &measured.alerts);
    let consent = Consent {
        upload: derive::health_upload(loaded, std::env::var_os("DO_NOT_TRACK").as_deref()).on,
        enrolled: Site::load(&StateDir::new(&settings.state_dir))?.map(|site| (site.site, site.enrolled)),
        grace: settings.stats.grace,
        accepted_schema: settings.health.schema,
    };
    let withheld = match consent.verdict_on(HEALTH_SCHEMA, now()) {
        Verdict::Open { .. } => None,
        Verdict::Withheld(reason) => Some(reason.of_health()),
    };
    if json {
        println!("{}", serde_json::to_string(&Preview { withheld, report: &report })?);
        return Ok(());
    }
    let (payload, mut words) = (report.to_payload(), io::stderr());
    writeln!(words, "As the machine is now, these {} bytes would be for the vendor:", payload.len())?;
    io::stdout().write_all(&payload)?;
    io::stdout().flush()?;
    writeln!(words)?;
    if let Some(reason) = withheld {
        writeln!(words, "They would not leave: {reason}.")?;
    }
    Ok(())
}

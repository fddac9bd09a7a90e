//! `demarc status`: one screen about everything.

mod lines;

pub(super) use lines::Clock;

use std::{collections::BTreeMap, path::Path, process::ExitCode};

use clap::Args;
use serde::Serialize;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use crate::{
    control::{Answer, Request, Status, client},
    settings::{
        Settings,
        load::{self, LoadError, Loaded},
    },
    state::StateDir,
    supervisor::derive,
};

/// Arguments of `demarc status`.
#[derive(Debug, Args)]
#[command(
    after_help = "It works while demarc is not running too, and then shows what the files tell.\n\nExample: demarc status --json"
)]
pub struct StatusArgs {
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Everything that is shown.
#[derive(Debug, Serialize)]
struct Overview {
    running: bool,
    /// Why the daemon could not be asked.
    trouble: Option<String>,
    /// What the daemon says.
    daemon: Option<Status>,
    /// What the files say, where the daemon does not run.
    files: Option<Files>,
    /// Memory of each process in bytes.
    memory: BTreeMap<&'static str, u64>,
    /// Free bytes where the state directory lies.
    disk_free: Option<u64>,
    state_dir: std::path::PathBuf,
}

/// What the files tell of a daemon that is not running.
#[derive(Debug, Serialize)]
struct Files {
    site: Option<String>,
    hub: Option<String>,
    tunnel: bool,
    upload: bool,
    upload_decided_by: String,
    health_upload: bool,
    health_upload_decided_by: String,
    outbox: Option<usize>,
    notices: Vec<String>,
}

/// Shows how things are.
///
/// # Errors
/// When the output cannot be written as JSON.
pub fn run(args: &StatusArgs, config: &Path, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    super::confine_command(&loaded.settings)?;
    let mut overview = overview(&loaded.settings);
    if overview.daemon.is_none() {
        overview.files = Some(files(loaded, &StateDir::new(&loaded.settings.state_dir)));
    }
    show(args, config, &overview)
}

/// Shows how things are while the config file cannot be used: the daemon, if it runs, knows why and goes on.
///
/// # Errors
/// When no daemon runs: the error of the config file is then all that there is to say.
pub fn run_despite(args: &StatusArgs, config: &Path, error: LoadError) -> anyhow::Result<ExitCode> {
    let Some(state_dir) = load::state_dir_despite_errors(config) else { return Err(error.into()) };
    let settings = Settings { state_dir, ..Settings::default() };
    if !StateDir::new(&settings.state_dir).control_socket().exists() {
        return Err(error.into());
    }
    super::confine_command(&settings)?;
    let overview = overview(&settings);
    if overview.daemon.is_none() {
        return Err(error.into());
    }
    show(args, config, &overview)
}

fn show(args: &StatusArgs, config: &Path, overview: &Overview) -> anyhow::Result<ExitCode> {
    super::end_quietly_with_the_reader();
    if args.json {
        println!("{}", serde_json::to_string_pretty(overview)?);
    } else {
        print!("{}", lines::screen(overview, config, &lines::Clock::system()));
    }
    Ok(ExitCode::SUCCESS)
}

fn overview(settings: &Settings) -> Overview {
    let state = StateDir::new(&settings.state_dir);
    let (daemon, trouble) = match client::ask(&state.control_socket(), Request::Status) {
        Ok(Answer::Status(status)) => (Some(*status), None),
        Ok(Answer::Refused { reason }) => (None, Some(reason)),
        Ok(_) => (None, Some("the running demarc gives another answer".to_owned())),
        Err(client::AskError::NotRunning) => (None, None),
        Err(error) => (None, Some(error.to_string())),
    };
    let memory = daemon.as_ref().map(memory).unwrap_or_default();
    let disk = rustix::fs::statvfs(state.root()).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    Overview {
        running: daemon.is_some() || trouble.is_some(),
        trouble,
        daemon,
        files: None,
        memory,
        disk_free: disk,
        state_dir: state.root().to_owned(),
    }
}

fn files(loaded: &Loaded, state: &StateDir) -> Files {
    let site = derive::read_site(&state.site_file());
    let mut notices = load::warnings(&loaded.settings);
    notices.extend(site.as_ref().err().cloned());
    let site = site.ok().flatten();
    let uploads = derive::uploads(loaded, std::env::var_os("DO_NOT_TRACK").as_deref());
    let outbox = std::fs::read_dir(state.outbox()).ok().map(|entries| {
        entries.flatten().filter(|entry| entry.path().extension().is_some_and(|extension| extension == "json")).count()
    });
    Files {
        hub: loaded.settings.tunnel.hub.clone().or_else(|| site.as_ref().map(|site| site.hub.clone())),
        site: site.map(|site| site.site.to_string()),
        tunnel: loaded.settings.tunnel.enabled,
        upload: uploads.stats.on,
        upload_decided_by: uploads.stats.decided_by,
        health_upload: uploads.health.on,
        health_upload_decided_by: uploads.health.decided_by,
        outbox,
        notices,
    }
}

/// The resident memory of each process; pages that they share count in each.
fn memory(status: &Status) -> BTreeMap<&'static str, u64> {
    let roles = [("supervisor", &status.supervisor), ("collector", &status.collector), ("link", &status.link)];
    let pids: Vec<Pid> = roles.iter().filter_map(|(_, role)| role.pid.map(Pid::from_u32)).collect();
    // Figures that cannot be had are left out.
    let Ok(mut system) = System::new() else { return BTreeMap::new() };
    system.refresh_processes_specifics(
        ProcessesToUpdate::Some(&pids),
        true,
        ProcessRefreshKind::nothing().with_memory(),
    );
    let of = |pid: u32| system.process(Pid::from_u32(pid)).map(sysinfo::Process::memory);
    roles.iter().filter_map(|(name, role)| Some((*name, of(role.pid?)?))).collect()
}

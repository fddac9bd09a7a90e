//! `demarc backup`: the phone system's configuration, encrypted to a key that its owner holds.

mod job;
mod key;
mod restore;

use std::{path::Path, path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use demarc_proto::backup::{BackupName, KeptBackup};
use serde::Serialize;

use super::ReadArgs;
use super::status::Clock;
use crate::{
    backup::{self, BackupStatus, Order, Outcome},
    control::{Answer, Reloaded, Request, Status, Wait, client},
    recordings::size,
    settings::{
        edit,
        load::{self, Loaded},
    },
    setup::{
        reach::Reach,
        service::{self, Restart},
    },
    state::StateDir,
};

/// Arguments of `demarc backup`.
#[derive(Debug, Args)]
#[command(
    after_help = "Backups are off until there is a key and you say on.\n\nExamples:\n  demarc backup key > backup-key.txt\n  \
                  demarc backup on\n  demarc backup now\n  demarc backup restore latest --key backup-key.txt --to /root/restored"
)]
pub struct BackupArgs {
    #[command(subcommand)]
    command: BackupCommand,
}

#[derive(Debug, Subcommand)]
enum BackupCommand {
    /// Makes the key, prints it once, and sets backup.recipient in the config file. The key itself is stored nowhere: whoever
    /// loses it loses the backups.
    Key(key::KeyArgs),
    /// Has backups made and kept at the hub from now on: sets backup.enabled in the config file. As root it also lets demarc
    /// read what is to be backed up, and restarts it where it must be; it says what it did, and what is left to do.
    On,
    /// Stops them at once: when this returns, not one further byte of a backup leaves.
    Off,
    /// Makes a backup now, and has the hub keep it.
    Now(ReadArgs),
    /// Lists the backups on this machine and at the hub.
    List(ReadArgs),
    /// Opens a backup with the key, and writes what it holds below a directory; nothing of the phone system is touched.
    Restore(restore::RestoreArgs),
}

/// What `list --json` prints.
#[derive(Debug, Serialize)]
struct Listed {
    /// On this machine.
    local: Vec<KeptBackup>,
    /// At the hub, if it could be asked.
    hub: Option<Vec<KeptBackup>>,
    /// Why it could not.
    hub_trouble: Option<String>,
}

/// Does what was asked.
///
/// # Errors
/// When it cannot be done.
pub fn run(args: &BackupArgs, config: &Path, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    match &args.command {
        BackupCommand::Key(args) => key::run(args, config, loaded)?,
        BackupCommand::On => switch(config, loaded, true)?,
        BackupCommand::Off => switch(config, loaded, false)?,
        BackupCommand::Now(args) => return now(loaded, args.json),
        BackupCommand::List(args) => return list(loaded, args.json),
        BackupCommand::Restore(args) => return restore::run(args, loaded),
    }
    Ok(ExitCode::SUCCESS)
}

/// Turns the switch, and says what came of it.
fn switch(config: &Path, loaded: &Loaded, on: bool) -> anyhow::Result<()> {
    edit::set_key(config, "backup", "enabled", on.into())?;
    if let Some(variable) = loaded.overridden_by("backup.enabled") {
        follow(loaded)?;
        anyhow::bail!("the config file was changed, but {variable} in the environment overrules it");
    }
    if !on {
        follow(loaded)?;
        println!("Backups are off: none is made, and nothing of one leaves. Those at the hub stay there.");
        return Ok(());
    }
    let loaded = &load::load(config)?;
    let reach = Reach::of(&loaded.settings, service::unit_of(config).as_deref());
    let mut left = if rustix::process::geteuid().is_root() {
        reach.open(&mut |words| println!("{words}"))
    } else {
        let as_root = |what: String| format!("as root: {what}");
        reach.plan().into_iter().map(as_root).chain(reach.left.clone()).collect()
    };
    let Some(reloaded) = follow(loaded)? else {
        println!("Backups are on in the config file. demarc is not running; this counts from its next start.");
        return print_left(&left);
    };
    let waits: Vec<&Wait> = reloaded.waits.iter().filter(|wait| wait.section == "backup").collect();
    let state = StateDir::new(&loaded.settings.state_dir);
    let needs_restart = !waits.is_empty() || !reach.hidden.is_empty();
    let restart = if needs_restart { Some(service::restart(config, &state)?) } else { None };
    if let Some(Restart::Left(why)) = restart {
        println!("Backups are on in the config file, and demarc cannot make a whole one yet.");
        waits.iter().for_each(|wait| println!("{}", wait.words));
        left.insert(0, format!("restart demarc ({why}): {}", service::restart_line(config)));
    } else {
        if restart.is_some() {
            println!("demarc was restarted: a running one cannot be given more rights. No call is lost by that.");
        }
        println!("Backups are on: `demarc backup now` makes the first one.");
    }
    if let Some(status) = status(loaded) {
        let paths: Vec<String> = status.paths.iter().map(|path| path.display().to_string()).collect();
        println!("They cover {}.", if paths.is_empty() { "nothing".to_owned() } else { paths.join(", ") });
        status.troubles.iter().for_each(|trouble| println!("{trouble}"));
    }
    if let Some(why) = &reloaded.link_absent {
        println!("They stay on this machine as long as there is no tunnel: {why}.");
    }
    print_left(&left)
}

fn print_left(left: &[String]) -> anyhow::Result<()> {
    if !left.is_empty() {
        println!("Left for you to do:");
        left.iter().for_each(|what| println!("  - {what}"));
    }
    Ok(())
}

/// Makes the running daemon read the config file; what it answers, if one runs.
fn follow(loaded: &Loaded) -> anyhow::Result<Option<Reloaded>> {
    let state = StateDir::new(&loaded.settings.state_dir);
    match client::ask(&state.control_socket(), Request::Reload) {
        Ok(Answer::Reloaded(reloaded)) => match reloaded.error {
            Some(error) => {
                anyhow::bail!("the config file was changed, but the running demarc does not take it: {error}")
            }
            None => Ok(Some(reloaded)),
        },
        Err(client::AskError::NotRunning) => Ok(None),
        Err(error) => Err(error.into()),
        Ok(_) => anyhow::bail!("the config file was changed, but the running demarc gives another answer"),
    }
}

fn status(loaded: &Loaded) -> Option<BackupStatus> {
    Some(daemon(loaded)?.backup)
}

/// What the running daemon says of itself.
fn daemon(loaded: &Loaded) -> Option<Box<Status>> {
    let state = StateDir::new(&loaded.settings.state_dir);
    match client::ask(&state.control_socket(), Request::Status) {
        Ok(Answer::Status(status)) => Some(status),
        _ => None,
    }
}

fn now(loaded: &Loaded, json: bool) -> anyhow::Result<ExitCode> {
    let outcome = job::run(loaded, Order::Now)?;
    if json {
        println!("{}", serde_json::to_string(&outcome)?);
    }
    let Outcome { packed: Some(packed), at_hub, .. } = outcome else { anyhow::bail!("no backup was made") };
    if !json {
        println!("{}: {} files, {}; {} encrypted.", packed.name, packed.files, size(packed.bytes), size(packed.size));
        packed.skipped.iter().for_each(|skipped| println!("Left out: {skipped}"));
        let more = packed.skipped_count.saturating_sub(packed.skipped.len() as u64);
        if more > 0 {
            println!("Left out: {more} more");
        }
        packed.closed.iter().for_each(|path| println!("{}", backup::closed_words(path)));
        let waits = daemon(loaded).map(|daemon| daemon.waits).unwrap_or_default();
        waits.iter().filter(|wait| wait.section == "backup").for_each(|wait| println!("{}", wait.words));
    }
    match at_hub {
        Some(Ok(())) => {
            if !json {
                println!("The hub keeps it. Nobody there can read it: `demarc sent` has what left.");
            }
            Ok(ExitCode::SUCCESS)
        }
        Some(Err(why)) => anyhow::bail!("the backup is on this machine and not at the hub: {why}"),
        None => Ok(ExitCode::SUCCESS),
    }
}

fn list(loaded: &Loaded, json: bool) -> anyhow::Result<ExitCode> {
    let state = StateDir::new(&loaded.settings.state_dir);
    state.become_owner()?;
    let local: Vec<KeptBackup> =
        backup::local(&state).into_iter().map(|(name, bytes)| KeptBackup { name, bytes, sha256: None }).collect();
    let (hub, hub_trouble) = match job::run(loaded, Order::List) {
        Ok(outcome) => (outcome.listed, None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    super::end_quietly_with_the_reader();
    if json {
        println!("{}", serde_json::to_string(&Listed { local, hub, hub_trouble })?);
        return Ok(ExitCode::SUCCESS);
    }
    let clock = Clock::system();
    let mut names: Vec<&BackupName> = local.iter().chain(hub.iter().flatten()).map(|kept| &kept.name).collect();
    names.sort_by(|one, other| other.cmp(one));
    names.dedup();
    for name in &names {
        let find = |list: &[KeptBackup]| list.iter().find(|kept| kept.name == **name).map(|kept| kept.bytes);
        let (here, there) = (find(&local), hub.as_deref().and_then(find));
        let place = match (here, there, &hub) {
            (Some(_), Some(_), _) => "here and at the hub",
            (Some(_), None, Some(_)) => "here alone",
            (Some(_), None, None) => "here",
            (None, ..) => "at the hub",
        };
        let made = backup::moment(name).map_or_else(String::new, |moment| clock.show(moment));
        println!("{name}  {made}  {:>9}  {place}", size(here.or(there).unwrap_or(0)));
    }
    if names.is_empty() {
        println!("There is no backup.");
    }
    if let Some(trouble) = hub_trouble {
        println!("The hub could not be asked: {trouble}");
    }
    Ok(ExitCode::SUCCESS)
}

/// How backups stand, line by line: nothing where they are off and there never was one.
pub(super) fn lines(status: &BackupStatus, clock: &Clock) -> Vec<String> {
    let when = |name: &BackupName| backup::moment(name).map_or_else(|| name.to_string(), |moment| clock.show(moment));
    let mut lines = Vec::new();
    if status.enabled {
        let paths: Vec<String> = status.paths.iter().map(|path| path.display().to_string()).collect();
        let next =
            status.next.map_or_else(|| "by command alone".to_owned(), |next| format!("next {}", clock.show(next)));
        lines
            .push(format!("on, {next}; of {}", if paths.is_empty() { "nothing".to_owned() } else { paths.join(", ") }));
    } else if status.last.is_some() || status.at_hub.is_some() {
        lines.push("off".to_owned());
    }
    if status.last.is_some() || status.at_hub.is_some() {
        let part = |name: &Option<BackupName>| name.as_ref().map_or_else(|| "none".to_owned(), when);
        lines.push(format!("newest here {}, newest at the hub {}", part(&status.last), part(&status.at_hub)));
    }
    lines.extend(status.troubles.iter().cloned());
    lines
}

/// Which backup is meant.
#[derive(Clone, Debug)]
enum Which {
    Latest,
    Named(BackupName),
    /// A file, wherever it lies.
    File(PathBuf),
}

fn which(text: &str) -> Result<Which, String> {
    if text == "latest" {
        return Ok(Which::Latest);
    }
    match text.parse().ok().or_else(|| BackupName::of_file(text)) {
        Some(name) => Ok(Which::Named(name)),
        None if Path::new(text).is_file() => Ok(Which::File(text.into())),
        None => Err("name a backup as `demarc backup list` does, or latest, or a file".to_owned()),
    }
}

//! `demarc backup restore`: a backup is opened with its key, below one directory.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::Args;

use super::{Which, job, which};
use crate::{
    backup::{
        self, Order,
        age::Identity,
        restore::{self, Item},
    },
    recordings::size,
    settings::load::Loaded,
    state::StateDir,
};

/// No file with a key is longer.
const MOST_KEY: u64 = 16 * 1024;

/// Arguments of `demarc backup restore`.
#[derive(Debug, Args)]
#[command(after_help = "Example: demarc backup restore latest --key backup-key.txt --to /root/restored")]
pub(super) struct RestoreArgs {
    /// A name from `demarc backup list`, or latest, or a file with a backup.
    #[arg(value_name = "NAME", value_parser = which)]
    which: Which,
    /// The file with the key; - reads it from standard input.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Where to: a directory that is empty or not there yet.
    #[arg(long, value_name = "DIR", required_unless_present = "list")]
    to: Option<PathBuf>,
    /// Writes nothing, and lists what the backup holds.
    #[arg(long)]
    list: bool,
}

pub(super) fn run(args: &RestoreArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let identity = read_key(args)?;
    let (file, shown) = find(args, loaded)?;
    match &args.to {
        Some(directory) if !args.list => {
            let items = restore::restore(file, &identity, directory)?;
            let files = items.iter().filter_map(|item| item.bytes);
            let directory = directory.display();
            println!("{} files ({}) of {shown} are below {directory}.", files.clone().count(), size(files.sum()));
            println!(
                "Nothing of the phone system was touched. Look at what came out, and then put it in its place, such as"
            );
            for place in places(&items) {
                println!("  cp -a {directory}/{place} /{place}", place = place.display());
            }
            if !rustix::process::geteuid().is_root() {
                println!("Owners were not restored, since this was not run as root.");
            }
        }
        _ => {
            let items = restore::list(file, &identity)?;
            super::super::end_quietly_with_the_reader();
            for item in items {
                match (&item.bytes, &item.link) {
                    (Some(bytes), _) => println!("{bytes:>10}  /{}", item.path.display()),
                    (None, Some(target)) => {
                        println!("{:>10}  /{} -> {}", "link", item.path.display(), target.display())
                    }
                    (None, None) => println!("{:>10}  /{}/", "", item.path.display()),
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The paths that were backed up, as `cp` takes them: of a directory, what is in it.
fn places(items: &[Item]) -> Vec<PathBuf> {
    let mut tops: Vec<&Item> = Vec::new();
    for item in items {
        // What lies below follows what it lies in.
        let is_below = tops.last().is_some_and(|top| item.path.starts_with(&top.path));
        if !is_below && item.path.parent().is_some_and(|above| above != Path::new("")) {
            tops.push(item);
        }
    }
    let is_directory = |item: &Item| item.bytes.is_none() && item.link.is_none();
    let as_typed = |item: &&Item| if is_directory(item) { item.path.join(".") } else { item.path.clone() };
    tops.iter().map(as_typed).collect()
}

fn read_key(args: &RestoreArgs) -> anyhow::Result<Identity> {
    let mut text = String::new();
    let shown = args.key.display();
    if args.key.as_os_str() == "-" {
        io::stdin().take(MOST_KEY).read_to_string(&mut text)?;
    } else {
        let file = File::open(&args.key).with_context(|| format!("the key {shown} cannot be read"))?;
        file.take(MOST_KEY).read_to_string(&mut text).with_context(|| format!("the key {shown} cannot be read"))?;
    }
    Identity::parse(&text)
        .with_context(|| format!("{shown} holds no key to backups (a line AGE-SECRET-KEY-1…), or a mistyped one"))
}

/// The backup, open, and its name: on this machine, or fetched from the hub by the daemon.
fn find(args: &RestoreArgs, loaded: &Loaded) -> anyhow::Result<(File, String)> {
    let state = StateDir::new(&loaded.settings.state_dir);
    let local = backup::local(&state);
    let name = match &args.which {
        Which::File(path) => {
            let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
            return Ok((file, path.display().to_string()));
        }
        Which::Named(name) => name.clone(),
        Which::Latest => match local.first() {
            Some((name, _)) => name.clone(),
            None => {
                let listed = job::run(loaded, Order::List).context("there is no backup on this machine")?.listed;
                let newest = listed.unwrap_or_default().into_iter().map(|kept| kept.name).max();
                newest.context("there is no backup on this machine, and none at the hub")?
            }
        },
    };
    let cannot = |path: &Path| format!("{} cannot be read", path.display());
    if local.iter().any(|(known, _)| *known == name) {
        let path = state.backups().join(name.file());
        let file = File::open(&path).with_context(|| cannot(&path))?;
        return Ok((file, name.to_string()));
    }
    let Some(path) = job::run(loaded, Order::Fetch { name: name.clone() })?.fetched else {
        bail!("the hub did not give the backup");
    };
    let file = File::open(&path).with_context(|| cannot(&path))?;
    // It is open, and of no use to anybody else.
    let _ = std::fs::remove_file(&path);
    Ok((file, name.to_string()))
}

//! The first report's preview, counted by a child that can open nothing but the records and a directory that is thrown away.

use std::{
    env, fs,
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

use anyhow::Context;
use clap::Args;

use crate::{
    settings::Settings,
    setup::sample::{Records, Sample},
    state::StateDir,
};

/// The user that root becomes to read records; it owns nothing anywhere.
const NOBODY: u32 = 65_534;

/// Arguments of the command that the child runs.
#[derive(Debug, Args)]
pub struct SampleArgs {}

/// Counts, in a child. That it fails is no reason to give up.
pub(super) fn take(settings: &Settings) -> Sample {
    ask_child(settings).unwrap_or_else(|error| Sample {
        why: Some(format!("the records could not be counted here ({error:#})")),
        ..Sample::default()
    })
}

fn ask_child(settings: &Settings) -> anyhow::Result<Sample> {
    let room = tempfile::Builder::new().prefix("demarc-setup-").tempdir()?;
    // The child gives up root, and has to get to its directory in here.
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o711))?;
    let settings = Settings { state_dir: room.path().join("state"), ..settings.clone() };
    let mut child = Command::new(env::current_exe()?)
        .arg("setup-sample")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().context("the child has no input")?;
    input.write_all(serde_json::to_string(&settings)?.as_bytes())?;
    drop(input);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        anyhow::bail!("{}", String::from_utf8_lossy(&output.stderr).trim().trim_start_matches("demarc: "));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What the child does: reads settings from standard input, counts, and prints what came of it.
///
/// # Errors
/// When the records cannot be read, or the store cannot be written.
pub fn run() -> anyhow::Result<()> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let settings: Settings = serde_json::from_str(&text)?;
    let sample = match Records::open(&settings) {
        Err(sample) => *sample,
        Ok(records) => {
            let state = StateDir::new(&settings.state_dir);
            fs::create_dir_all(state.root())?;
            if rustix::process::geteuid().is_root() {
                std::os::unix::fs::chown(state.root(), Some(NOBODY), Some(NOBODY))?;
            }
            // The records are what callers have sent: who reads them is nobody, and opens nothing else from here on.
            state.become_owner()?;
            state.create()?;
            super::super::confine_command(&settings)?;
            records.count(&settings, super::super::now())?
        }
    };
    writeln!(io::stdout(), "{}", serde_json::to_string(&sample)?)?;
    Ok(())
}

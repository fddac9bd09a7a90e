//! `demarc role`: what the supervisor starts; nobody types it.

use std::{os::unix::net::UnixStream, process::ExitCode};

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::{
    backup::archivist,
    collector,
    confine::{self, Profile, prove},
    health::messenger,
    ipc::{
        CONNECTION_FD, EXIT_NOT_CONFINED, FromCollector, FromLink, FromSession, RECORDING_FD, ROLE_FD, SESSION_FD,
        WEB_FD,
        channel::{self, Channel},
        descriptors::Taker,
        web::FromWeb,
    },
    link,
    local_report::ReportZone,
    log, memory,
    pbx::zone::Zone,
    recordings::keeper,
    session, web,
};

/// Arguments of `demarc role`.
#[derive(Debug, Args)]
pub struct RoleArgs {
    /// The role to take.
    pub role: Role,
}

/// The roles that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Reads call records, keeps the store, builds reports. Has no network.
    Collector,
    /// Speaks to the hub. Cannot read call records.
    Link,
    /// Serves the owner's pages.
    Web,
    /// Speaks SSH with a support engineer, and records it.
    Session,
    /// Counts recordings and removes old ones, and ends. Cannot open one.
    Keeper,
    /// Tells the owner's program of an alert, and ends.
    Messenger,
    /// Makes a backup of the phone system's configuration, and ends. Has no network.
    Archivist,
    /// Confines itself as it is told to, and tries to break out: for `demarc doctor`.
    Prove,
}

/// Takes the role: gets its profile, confines itself for good, and only then starts a runtime and reads anything.
///
/// # Errors
/// When the program was not started by the supervisor, or the role cannot go on.
pub fn run(args: &RoleArgs) -> anyhow::Result<ExitCode> {
    let (name, short) = match args.role {
        Role::Collector => ("collector", "demarc-collect"),
        Role::Link => ("link", "demarc-link"),
        Role::Web => ("web", "demarc-web"),
        Role::Session => ("session", "demarc-session"),
        Role::Keeper => ("keeper", "demarc-keeper"),
        Role::Messenger => ("messenger", "demarc-alert"),
        Role::Archivist => ("archivist", "demarc-archive"),
        Role::Prove => ("prove", "demarc-prove"),
    };
    let mut socket: UnixStream =
        channel::inherited(ROLE_FD).context("a role is started by `demarc run`, not by hand")?.into();
    confine::name_process(short);
    if args.role == Role::Prove {
        prove::serve(&mut socket)?;
        return Ok(ExitCode::SUCCESS);
    }
    log::start(name);
    // The zone lies in a file that a confined role cannot open.
    let machine_zone = Zone::load(None).unwrap_or_else(|error| {
        tracing::warn!("{error}; times of call records count as UTC");
        Zone::utc()
    });
    let profile: Profile = channel::recv_blocking(&mut socket)?;
    let confined = match confine::enter(&profile) {
        Ok(confined) => confined,
        Err(error) => {
            tracing::error!("{:#}", anyhow::Error::from(error));
            return Ok(ExitCode::from(EXIT_NOT_CONFINED));
        }
    };
    match args.role {
        Role::Keeper => return keeper::serve(&mut socket, &profile, confined),
        Role::Messenger => return messenger::serve(&mut socket, confined),
        Role::Archivist => return archivist::serve(&mut socket, confined),
        _ => {}
    }
    match args.role {
        Role::Collector => channel::send_blocking(&mut socket, &FromCollector::Ready(confined))?,
        Role::Web => channel::send_blocking(&mut socket, &FromWeb::Ready(confined))?,
        Role::Session => channel::send_blocking(&mut socket, &FromSession::Ready(confined))?,
        _ => channel::send_blocking(&mut socket, &FromLink::Ready(confined))?,
    }
    let descriptors = match args.role {
        Role::Collector => channel::inherited(CONNECTION_FD).ok(),
        Role::Link => channel::inherited(SESSION_FD).ok(),
        _ => None,
    };
    let taker = descriptors.map(Taker::new);
    if matches!(args.role, Role::Link | Role::Session) {
        memory::keep_buffers();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended: anyhow::Result<ExitCode> = runtime.block_on(async {
        tokio::spawn(memory::stay_small());
        match args.role {
            Role::Collector => Ok(collector::run(Channel::new(socket)?, taker, machine_zone).await?.exit_code()),
            Role::Web => {
                let listener = channel::inherited(WEB_FD).context("the listening socket is missing")?;
                web::run(Channel::new(socket)?, listener, ReportZone::local()).await?;
                Ok(ExitCode::SUCCESS)
            }
            Role::Session => {
                let ssh = channel::inherited(SESSION_FD).context("the session's socket is missing")?.into();
                let recording = channel::inherited_file(RECORDING_FD).context("the recording is missing")?;
                session::run(Channel::new(socket)?, ssh, recording).await?;
                Ok(ExitCode::SUCCESS)
            }
            _ => {
                link::run(Channel::new(socket)?, taker).await;
                Ok(ExitCode::SUCCESS)
            }
        }
    });
    // A task that still waits for the disk or for a name server must not hold up the end.
    runtime.shutdown_background();
    Ok(ended.unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        ExitCode::FAILURE
    }))
}

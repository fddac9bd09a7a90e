//! The owner's pages: a role of its own, which reads figures and the ledger, takes connections at one socket that it is given,
//! and asks the supervisor for everything that changes something.
//!
//! It runs while somebody looks, and writes nothing.

mod app;
mod assets;
mod clock;
mod desk;
mod form;
mod guard;
mod layout;
mod ledger;
mod pages;
pub mod password;
mod reader;
mod server;

use std::{os::fd::OwnedFd, sync::Arc};

use anyhow::Context;

use self::{app::App, desk::Desk, reader::Reader};
use crate::{
    ipc::{
        channel::WebChannel,
        web::{FromWeb, ToWeb},
    },
    local_report::ReportZone,
    state::StateDir,
};

/// Serves pages at the listening socket until the supervisor says stop, or is gone.
///
/// # Errors
/// When the socket cannot be used.
pub async fn run(channel: WebChannel, listener: OwnedFd, zone: ReportZone) -> anyhow::Result<()> {
    let (sender, mut receiver) = channel.split();
    let settings = loop {
        match receiver.recv().await? {
            Some(ToWeb::Settings(settings)) => break *settings,
            Some(ToWeb::Stop) | None => return Ok(()),
            Some(ToWeb::Reply { .. }) => {}
        }
    };
    let desk = Desk::new(sender);
    let reader = Reader::new(StateDir::new(&settings.state_dir));
    let app = Arc::new(App::new(settings, desk, reader, zone));
    let serving = server::serve(Arc::clone(&app), listener).context("the pages cannot be served")?;
    tokio::pin!(serving);
    loop {
        tokio::select! {
            message = receiver.recv() => match message? {
                Some(ToWeb::Settings(settings)) => app.take(*settings),
                Some(ToWeb::Reply { number, reply }) => app.desk.answered(number, *reply),
                Some(ToWeb::Stop) | None => return Ok(()),
            },
            idle = &mut serving => {
                idle?;
                break;
            }
            () = app.reader.outdated() => break,
        }
    }
    app.desk.say(FromWeb::Idle);
    // The supervisor answers with a stop, and starts another process for the next browser.
    while !matches!(receiver.recv().await?, Some(ToWeb::Stop) | None) {}
    Ok(())
}

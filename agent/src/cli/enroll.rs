//! `demarc enroll`: connects this site to a vendor, by the one-time token that the vendor gave out.

use std::{
    io::{self, Read},
    process::ExitCode,
};

use anyhow::Context;
use clap::Args;
use demarc_proto::token::EnrollmentToken;

use crate::{
    control::{
        Answer, Request,
        client::{self, AskError},
    },
    gate::{entry::Draft, ledger::Ledger},
    link::{
        enroll::{EnrollOptions, enroll},
        now, proxy,
    },
    settings::Settings,
    state::{Site, StateDir},
};

/// A token is some 400 characters; nobody means to hand over more than this.
const MAX_TOKEN: u64 = 16 * 1024;

/// Arguments of `demarc enroll`.
#[derive(Debug, Args)]
#[command(
    after_help = "The token holds a secret that is good once. With - it is read from standard input, so that it stands \
                  neither in the shell's history nor in the list of processes.\n\nExample: demarc enroll - < token.txt"
)]
pub struct EnrollArgs {
    /// The token that the vendor gave out (demarc1.…), or - to read it from standard input.
    #[arg(value_name = "TOKEN", allow_hyphen_values = true)]
    token: String,
    /// Gives up the enrollment that there is, and makes a new one.
    #[arg(long)]
    again: bool,
}

/// Enrolls this site.
///
/// # Errors
/// When the token is no good, the hub cannot be reached or is another, or the state directory cannot be written.
pub fn run(args: &EnrollArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let token: EnrollmentToken = read_token(&args.token)?.parse()?;
    let state = StateDir::new(&settings.state_dir);
    let hub = settings.tunnel.hub.as_deref().unwrap_or(&token.hub);
    let proxy = proxy::choose(settings.tunnel.proxy.as_ref(), hub, |name| std::env::var(name).ok());
    let options = EnrollOptions { hub: Some(hub), proxy: proxy.as_ref(), again: args.again };
    let mut enter = |payload: &str| -> anyhow::Result<()> {
        Ledger::open(&state)?.append(now(), Draft::enroll(token.site.clone(), payload))?;
        Ok(())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(enroll(&token, &state, options, &mut enter));
    // A look-up of a name that hangs must not hold up the end.
    runtime.shutdown_background();
    let site = result.context("not enrolled")?;
    report(&site, settings);
    tell_daemon(&state);
    Ok(ExitCode::SUCCESS)
}

fn read_token(argument: &str) -> anyhow::Result<String> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut text = String::new();
    io::stdin().take(MAX_TOKEN).read_to_string(&mut text).context("cannot read the token from standard input")?;
    Ok(text)
}

/// Says what is so from now on.
fn report(site: &Site, settings: &Settings) {
    println!("Enrolled as {} at {}.", site.site, site.hub);
    if !settings.tunnel.enabled {
        println!("The tunnel is off (tunnel.enabled): nothing connects before `demarc tunnel on`.");
    }
    if settings.stats.upload {
        println!("The next report, byte for byte: demarc stats preview. No reports at all: demarc stats off.");
    }
}

/// Has the running daemon take the enrollment up at once; it would find it by itself a little later.
fn tell_daemon(state: &StateDir) {
    match client::ask(&state.control_socket(), Request::Reload) {
        Ok(Answer::Reloaded(reloaded)) => match reloaded.link_absent {
            Some(why) => println!("No connection yet: {why}."),
            None => println!("The running daemon is connecting; demarc status shows how it goes."),
        },
        Err(AskError::NotRunning) => println!("demarc is not running yet; it connects once it is started."),
        Ok(_) | Err(_) => println!("The running daemon did not answer; it takes the enrollment up by itself."),
    }
}

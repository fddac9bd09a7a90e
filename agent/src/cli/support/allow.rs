//! `demarc support allow`: opens the door, and says what to tell the vendor.

use anyhow::bail;

use super::{ask, spoken};
use crate::{
    control::{Answer, Request},
    state::StateDir,
};

pub(super) fn run(state: &StateDir, request: Request, json: bool) -> anyhow::Result<()> {
    let Answer::Granted(live) = ask(state, request)? else { bail!("the running demarc gives another answer") };
    let status = match ask(state, Request::Support)? {
        Answer::Support(status) => Some(status),
        _ => None,
    };
    super::super::end_quietly_with_the_reader();
    if json {
        println!("{}", serde_json::to_string(&live)?);
        return Ok(());
    }
    let grant = &live.grant;
    println!("Support may come in for {}: grant {}, scope {}.", spoken(live.seconds_left), grant.id, grant.scope);
    println!("Every session is recorded here before anybody sees it, and cannot open a recording or a voicemail.");
    println!();
    println!("  demarc support watch                 see what they see");
    println!("  demarc support end {}  end it now", grant.id);
    if let Some(problem) = status.and_then(|status| status.host_certificate) {
        println!();
        println!("An engineer cannot check yet that he speaks with this machine: {problem}.");
    }
    Ok(())
}

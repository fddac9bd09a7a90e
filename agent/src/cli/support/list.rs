//! `demarc support list` and `verify`: who was here, and whether the recordings are what was shown.

use std::{io, process::ExitCode};

use comfy_table::{Table, presets};
use serde::Serialize;

use super::spoken;
use crate::{
    control::{Answer, LiveGrant, LiveSession, Request, SupportStatus, client},
    gate::entry::LineHash,
    state::StateDir,
    support::{
        SessionId,
        cast::{self, CastError},
        past::{self, Past},
    },
};

#[derive(Serialize)]
struct Listed {
    closed: Option<String>,
    host_certificate: Option<String>,
    grants: Vec<LiveGrant>,
    running: Vec<LiveSession>,
    sessions: Vec<Past>,
}

pub(super) fn run(state: &StateDir, json: bool) -> anyhow::Result<()> {
    let status = match client::ask(&state.control_socket(), Request::Support) {
        Ok(Answer::Support(status)) => Some(*status),
        _ => None,
    };
    let sessions = past::sessions(state)?;
    super::super::end_quietly_with_the_reader();
    if json {
        let SupportStatus { closed, host_certificate, grants, sessions: running, .. } = status.unwrap_or_else(|| {
            SupportStatus { closed: Some("demarc is not running".to_owned()), ..SupportStatus::default() }
        });
        let listed = Listed { closed, host_certificate, grants, running, sessions };
        println!("{}", serde_json::to_string_pretty(&listed)?);
        return Ok(());
    }
    match &status {
        None => println!("demarc is not running: nobody can get in."),
        Some(status) => show_live(status),
    }
    if sessions.is_empty() {
        println!("There never was a session.");
        return Ok(());
    }
    println!();
    let mut table = table(&["session", "began", "scope", "engineer", "took", "commands", "out", "in", "ended"]);
    for past in &sessions {
        let report = past.report.as_ref();
        let of = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
        let ended = match past.end {
            Some(end) => end.in_words().to_owned(),
            None if is_running(status.as_ref(), past.session) => "runs".to_owned(),
            None => "its end is not in the ledger".to_owned(),
        };
        table.add_row([
            past.session.to_string(),
            past.began.clone(),
            past.scope.map_or_else(String::new, |scope| scope.to_string()),
            report.and_then(|report| report.engineer.clone()).unwrap_or_default(),
            report.map_or_else(String::new, |report| spoken(report.seconds)),
            of(report.map(|report| report.commands.len() as u64)),
            of(report.map(|report| report.bytes_out)),
            of(report.map(|report| report.bytes_in)),
            ended,
        ]);
    }
    println!("{}", table.trim_fmt());
    println!("\n`demarc support replay SESSION` plays one, `demarc support verify` checks them all.");
    Ok(())
}

fn is_running(status: Option<&SupportStatus>, session: SessionId) -> bool {
    status.is_some_and(|status| status.sessions.iter().any(|live| live.session == session))
}

fn show_live(status: &SupportStatus) {
    if let Some(closed) = &status.closed {
        println!("Nobody can be let in: {closed}.");
    } else if status.grants.is_empty() {
        println!("No grant is live: nobody can get in.");
    }
    if !status.grants.is_empty() {
        let mut table = table(&["grant", "scope", "time left", "sessions", "ticket", "engineer", "hub knows"]);
        for live in &status.grants {
            let label = |label: &Option<demarc_proto::support::Label>| {
                label.as_ref().map_or_else(String::new, ToString::to_string)
            };
            table.add_row([
                live.grant.id.to_string(),
                live.grant.scope.to_string(),
                spoken(live.seconds_left),
                live.sessions.to_string(),
                label(&live.grant.ticket),
                label(&live.grant.engineer),
                if live.announced { "yes" } else { "not yet" }.to_owned(),
            ]);
        }
        println!("{}", table.trim_fmt());
    }
    if let Some(problem) = &status.host_certificate
        && status.closed.is_none()
    {
        println!("An engineer cannot check yet that he speaks with this machine: {problem}.");
    }
}

fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// What the check of one recording came to.
#[derive(Serialize)]
struct Checked {
    session: SessionId,
    good: bool,
    events: u64,
    words: String,
}

pub(super) fn verify(state: &StateDir, wanted: &[SessionId], json: bool) -> anyhow::Result<ExitCode> {
    let past = past::sessions(state)?;
    for session in wanted {
        if !past.iter().any(|past| past.session == *session) {
            anyhow::bail!("there was no session {session}");
        }
    }
    let asked = past.iter().filter(|past| wanted.is_empty() || wanted.contains(&past.session));
    let checked: Vec<Checked> = asked.map(|past| check(state, past)).collect();
    super::super::end_quietly_with_the_reader();
    if json {
        println!("{}", serde_json::to_string_pretty(&checked)?);
    } else if checked.is_empty() {
        println!("There never was a session.");
    } else {
        for one in &checked {
            println!("{}  {}", one.session, one.words);
        }
    }
    Ok(if checked.iter().all(|one| one.good) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check(state: &StateDir, past: &Past) -> Checked {
    let path = cast::path(state, past.session);
    let nothing = past.head == Some(LineHash::GENESIS);
    let (good, events, words) = match (cast::verify(&path), past.head) {
        (Ok(found), Some(head)) if found.head == head && found.torn == 0 => {
            (true, found.events, format!("good: {} events, as the ledger says", found.events))
        }
        (Ok(found), Some(head)) if found.head == head => {
            let torn = found.torn;
            (
                true,
                found.events,
                format!("good: {} events, and {torn} bytes at its end that were never shown", found.events),
            )
        }
        (Ok(found), Some(_)) => (false, found.events, "CHANGED: it does not end as the ledger says".to_owned()),
        (Ok(found), None) => {
            (true, found.events, format!("good so far: {} events; its end is not in the ledger", found.events))
        }
        (Err(CastError::Unreadable(error)), _) if nothing && error.kind() == io::ErrorKind::NotFound => {
            (true, 0, "good: it never came to a session".to_owned())
        }
        (Err(CastError::Unreadable(error)), _) if error.kind() == io::ErrorKind::NotFound => {
            (false, 0, format!("GONE: there is no {}", path.display()))
        }
        (Err(error), _) => (false, 0, format!("BROKEN: {error}")),
    };
    Checked { session: past.session, good, events, words }
}

//! `demarc-hub grants`: what the customers allow right now, as far as their sites told this hub.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use demarc_proto::{
    SiteId,
    support::{Grant, GrantId, GrantMessage},
};
use serde::Serialize;
use ssh_key::{HashAlg, PublicKey};

use super::{connect::ask, moment, print, table};
use crate::{
    clock, keys,
    support::{Ask, Said},
};

/// In which form.
pub(super) enum Wanted {
    /// For people.
    Table,
    /// For scripts.
    Json,
    /// That grant and its signature: as JSON on standard output, or as two files.
    One(GrantId, Option<PathBuf>),
}

/// One grant as JSON; times are RFC 3339.
#[derive(Serialize)]
struct Line {
    site: SiteId,
    grant: GrantId,
    scope: String,
    issued: String,
    until: String,
    seconds_left: u64,
    ticket: Option<String>,
    engineer: Option<String>,
    host_key: String,
}

pub(super) fn run(socket: &Path, site: Option<SiteId>, wanted: Wanted) -> anyhow::Result<()> {
    let (Said::Grants(messages), _) = ask(socket, &Ask::Grants { grants: site.clone() })? else {
        bail!("the hub answered something else than grants");
    };
    match wanted {
        Wanted::One(grant, to) => export(&messages, grant, to.as_deref()),
        Wanted::Json => {
            print(&(serde_json::to_string(&serde_json::json!({ "grants": lines(&messages) }))? + "\n"))?;
            Ok(())
        }
        Wanted::Table => {
            print(&as_table(site.as_ref(), lines(&messages)))?;
            Ok(())
        }
    }
}

fn lines(messages: &[GrantMessage]) -> Vec<Line> {
    let grants = messages.iter().filter_map(|message| Grant::from_body(&message.grant).ok());
    let now = clock::now();
    let mut lines: Vec<_> = grants.map(|grant| line(grant, now)).collect();
    lines.sort_by(|one, other| (&one.site, &other.issued).cmp(&(&other.site, &one.issued)));
    lines
}

fn line(grant: Grant, now: u64) -> Line {
    let key = PublicKey::from_openssh(&grant.host_key);
    Line {
        grant: grant.id,
        scope: grant.scope.to_string(),
        issued: moment(grant.issued),
        until: moment(grant.until),
        seconds_left: grant.until.saturating_sub(now),
        ticket: grant.ticket.map(String::from),
        engineer: grant.engineer.map(String::from),
        host_key: key.map(|key| key.fingerprint(HashAlg::Sha256).to_string()).unwrap_or_default(),
        site: grant.site,
    }
}

fn as_table(site: Option<&SiteId>, lines: Vec<Line>) -> String {
    if lines.is_empty() {
        let none = match site {
            Some(site) => format!("{site} is connected and has no live grant."),
            None => "No site that is connected has a live grant.".to_owned(),
        };
        return format!("{none} A customer makes one with `demarc support allow`.\n");
    }
    let mut rows = table(&["site", "grant", "scope", "left", "ticket", "engineer", "host key"]);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for line in lines {
        rows.add_row([
            line.site.to_string(),
            line.grant.to_string(),
            line.scope,
            left(line.seconds_left),
            or_dash(line.ticket),
            or_dash(line.engineer),
            line.host_key,
        ]);
    }
    format!("{rows}\n")
}

/// How long something lasts, in the two largest units.
fn left(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0 => "over".to_owned(),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min"),
        3600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

fn export(messages: &[GrantMessage], wanted: GrantId, to: Option<&Path>) -> anyhow::Result<()> {
    let is_wanted = |message: &&GrantMessage| Grant::from_body(&message.grant).is_ok_and(|grant| grant.id == wanted);
    let message = messages
        .iter()
        .find(is_wanted)
        .with_context(|| format!("no live grant {wanted} is known here; `demarc-hub grants` lists those that are"))?;
    match to {
        None => print(&(serde_json::to_string(message)? + "\n"))?,
        Some(file) => {
            let mut signature = file.as_os_str().to_owned();
            signature.push(".sig");
            keys::write_new(file, &message.grant, 0o644)?;
            keys::write_new(Path::new(&signature), &message.signature, 0o644)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_short_and_true() {
        for (seconds, words) in [
            (0, "over"),
            (59, "59 s"),
            (60, "1 min"),
            (7199, "1 h 59 min"),
            (86_400, "1 d 0 h"),
            (7 * 86_400 - 1, "6 d 23 h"),
        ] {
            assert_eq!(left(seconds), words);
        }
    }
}

//! Entries of the ledger, and what its check came to, in words.

use demarc_proto::ReportId;

use super::{
    entry::{About, BackupStep, Switch, utc},
    verify::Verified,
};

impl About {
    /// What an entry is about, for people.
    pub fn in_words(&self) -> String {
        let short = |report: &ReportId| report.to_string()[..8].to_owned();
        let on = |on: bool| if on { "on" } else { "off" };
        match self {
            About::Report { report, window } => {
                format!("{} from {} for {}", short(report), utc(window.start), length(window.seconds))
            }
            About::Receipt { report } | About::Withdrawn { report } => short(report),
            About::Refused { report, reason } => {
                format!("{} because of {}", short(report), serde_json::json!(reason).as_str().unwrap_or_default())
            }
            About::Hello {} | About::Renew {} | About::Fetch {} => String::new(),
            About::Enroll { site } => site.to_string(),
            About::Consent { switch, from, to, by } => {
                let switch = match switch {
                    Switch::Upload => "uploads",
                    Switch::Tunnel => "tunnel",
                    Switch::Health => "health reports",
                };
                let by = serde_json::json!(by);
                format!("{switch} from {} to {} by {}", on(*from), on(*to), by.as_str().unwrap_or_default())
            }
            About::Grant { grant, scope, until } => {
                format!("{grant} for {scope} until {}", utc(*until))
            }
            About::GrantEnded { grant, end } => format!("{grant}: {}", end.in_words()),
            About::SessionBegan { session } => session.to_string(),
            About::Backup { step, name } => {
                let step = match step {
                    BackupStep::Keep => "to the hub, encrypted",
                    BackupStep::List => "asked which there are",
                    BackupStep::Fetch => "asked back",
                    BackupStep::Remove => "removed at the hub",
                };
                name.as_ref().map_or_else(|| step.to_owned(), |name| format!("{name} {step}"))
            }
            About::Health { at } => format!("measured {}", utc(*at)),
            About::Session { session, end, head } => format!("{session}: {}; recording {head}", end.in_words()),
        }
    }
}

impl Verified {
    /// What the check came to, for people. `enrolled` says whether the hub's key is known.
    pub fn in_words(&self, enrolled: bool) -> String {
        let count = |number: u64, noun: &str| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
        let reports = count(self.reports, "report");
        let mut text = match self.entries {
            1 => format!("The ledger is whole: 1 entry, {reports}, "),
            entries => format!("The ledger is whole: {entries} entries, {reports}, "),
        };
        text += &format!("{} good.", count(self.receipts, "receipt"));
        if self.unchecked > 0 {
            let receipts = count(self.unchecked, "receipt");
            text += &match enrolled {
                true => {
                    format!(" {receipts} from before the last enrollment could not be checked against today's hub.")
                }
                false => {
                    format!(
                        " {receipts} could not be checked: this site is not enrolled, so the hub's key is not known."
                    )
                }
            };
        }
        if self.torn > 0 {
            text += &format!(
                " At its end are {} bytes of an entry that a power loss cut short; nothing of it left.",
                self.torn
            );
        }
        if let Some(head) = self.head {
            text += &format!("\nIts last hash is {head}: note it elsewhere, and nobody can change the past unseen.");
        }
        text
    }
}

fn length(seconds: u32) -> String {
    demarc_proto::WindowLength::from_seconds(seconds)
        .map_or_else(|_| format!("{seconds}s"), |length| length.to_string())
}

//! `demarc-hub show`: a site's health and reports, as figures or exactly as received.

mod health;

use anyhow::{Context, ensure};
use demarc_proto::{
    Cell, Report, SiteId, WindowLength,
    backup::KeptBackup,
    cell::{Direction, Outcome},
    report::SecondsGroup,
};
use serde::Serialize;

use super::{existing_store, moment, print, table};
use crate::{
    backups::Vault,
    config::Config,
    store::{StoredHealth, StoredReport},
};

pub(super) async fn run(config: &Config, site: &SiteId, json: bool) -> anyhow::Result<()> {
    let store = existing_store(config).await?;
    let known = store.knows(site).await?;
    let reports = store.reports(site).await?;
    let healths = store.health(site).await?;
    store.close().await;
    ensure!(known, "there is no site {site}; `demarc-hub sites` lists those that there are");
    let backups = Vault::new(config).list(site);
    let text = match json {
        true => as_json(site, &healths, &backups, &reports)?,
        false => health::words(&healths)? + &kept(&backups) + &as_table(site, &reports)?,
    };
    print(&text)?;
    Ok(())
}

/// The contract that scripts use: `{"site":…,"health":[{"received":…,"report":{…}}],"backups":[{"name":…,"bytes":…}],"reports":[…]}`. The text is put together by hand, since a JSON library
/// would drop the padding, and then the bytes would not be those of the customer's ledger.
fn as_json(
    site: &SiteId,
    healths: &[StoredHealth],
    backups: &[KeptBackup],
    stored: &[StoredReport],
) -> anyhow::Result<String> {
    let mut health = Vec::new();
    for one in healths {
        health::read(one)?;
        health.push(format!("{{\"received\":{},\"report\":{}}}", one.received, one.payload));
    }
    for stored in stored {
        Report::from_body(&stored.body).context("a stored report is damaged")?;
    }
    let bodies: Vec<&str> = stored.iter().map(|stored| stored.body.as_str()).collect();
    // It stands before the reports, and only where there is any.
    let health = if health.is_empty() { String::new() } else { format!("\"health\":[{}],", health.join(",")) };
    let backups = match backups {
        [] => String::new(),
        backups => format!("\"backups\":{},", serde_json::to_string(backups)?),
    };
    Ok(format!("{{\"site\":\"{site}\",{health}{backups}\"reports\":[{}]}}\n", bodies.join(",")))
}

/// What is kept for a site that nobody here can read, in a line.
fn kept(backups: &[KeptBackup]) -> String {
    let Some(newest) = backups.first() else { return String::new() };
    let bytes: u64 = backups.iter().map(|backup| backup.bytes).sum();
    format!("Encrypted backups: {} of {bytes} bytes, the newest {}.\n\n", backups.len(), newest.name)
}

fn as_table(site: &SiteId, stored: &[StoredReport]) -> anyhow::Result<String> {
    if stored.is_empty() {
        return Ok(format!("No report of {site} has come yet.\n"));
    }
    let mut text = String::new();
    for stored in stored {
        let report = Report::from_body(&stored.body).context("a stored report is damaged")?;
        text.push_str(&one_report(&report, stored));
        text.push('\n');
    }
    Ok(text)
}

fn one_report(report: &Report, stored: &StoredReport) -> String {
    let length = WindowLength::from_seconds(report.window.seconds).map_or_else(|_| "?".to_owned(), |l| l.to_string());
    let mut lines = table(&["", "group", "calls"]);
    let mut add = |name: &str, group: String, calls: u32| {
        lines.add_row([name.to_owned(), group, calls.to_string()]);
    };
    for group in &report.volume {
        let hours = match group.hours {
            hours if hours == report.window.hours() => "whole window".to_owned(),
            hours => format!("hours {}-{}", group.from_hour, group.from_hour + hours),
        };
        add("volume", format!("{hours}: {}", cells(&group.cells)), group.calls);
    }
    for (name, groups) in [("talk", &report.talk), ("wait", &report.wait)] {
        for group in groups {
            add(name, seconds(group), group.calls);
        }
    }
    for group in &report.destination {
        add("destination", words(&group.classes), group.calls);
    }
    for group in &report.quality {
        add("quality", words(&group.bands), group.calls);
    }
    format!(
        "Report {id}, received {received}, {bytes} bytes\n\
         Window {start}, {length}; {calls} calls, groups of at least {floor}; at most {peak} at the same time\n{lines}\n",
        id = report.id,
        received = moment(stored.received),
        bytes = stored.body.len(),
        start = moment(report.window.start),
        calls = report.calls(),
        floor = report.floor,
        peak = report.peak_concurrency,
    )
}

/// The cells of a group, with a direction that is there as a whole named once.
fn cells(cells: &[Cell]) -> String {
    if cells.len() == Cell::COUNT {
        return "all".to_owned();
    }
    let part = |(direction, outcomes): (Direction, Vec<Outcome>)| {
        let outcomes: Vec<&str> = outcomes.iter().map(|outcome| outcome.as_str()).collect();
        format!("{} {}", direction.as_str(), outcomes.join("+")).trim_end().to_owned()
    };
    Cell::by_direction(cells).into_iter().map(part).collect::<Vec<_>>().join(", ")
}

fn seconds(group: &SecondsGroup) -> String {
    match group.to_seconds {
        Some(to) => format!("{} to {to} s", group.from_seconds),
        None => format!("{} s and more", group.from_seconds),
    }
}

/// The words of a closed enum as they stand in the report.
fn words<W: Serialize>(words: &[W]) -> String {
    let texts = words.iter().filter_map(|word| Some(serde_json::to_value(word).ok()?.as_str()?.to_owned()));
    texts.collect::<Vec<_>>().join("+")
}

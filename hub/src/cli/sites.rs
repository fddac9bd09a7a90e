//! `demarc-hub sites`: every site in a line.

use serde::Serialize;

use super::{existing_store, moment, print, table};
use crate::{clock, config::Config, store::SiteRow};

/// One site as JSON; times are RFC 3339.
#[derive(Serialize)]
struct Site {
    site: String,
    enrolled: Option<String>,
    certificate_ends: Option<String>,
    last_seen: Option<String>,
    connected: bool,
    version: Option<String>,
    reports: u64,
    last_report: Option<String>,
}

impl From<SiteRow> for Site {
    fn from(row: SiteRow) -> Self {
        Self {
            site: row.name,
            enrolled: row.enrolled.map(moment),
            certificate_ends: row.certificate_ends.map(moment),
            last_seen: row.last_seen.map(moment),
            connected: row.connected,
            version: row.version,
            reports: row.reports,
            last_report: row.last_report.map(moment),
        }
    }
}

pub(super) async fn run(config: &Config, json: bool) -> anyhow::Result<()> {
    let store = existing_store(config).await?;
    let sites: Vec<Site> = store.sites(clock::now()).await?.into_iter().map(Site::from).collect();
    store.close().await;
    if json {
        print(&(serde_json::to_string(&serde_json::json!({ "sites": sites }))? + "\n"))?;
        return Ok(());
    }
    let mut lines =
        table(&["site", "enrolled", "certificate ends", "last seen", "connected", "version", "reports", "last report"]);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for site in sites {
        lines.add_row([
            site.site,
            or_dash(site.enrolled),
            or_dash(site.certificate_ends),
            or_dash(site.last_seen),
            if site.connected { "yes".to_owned() } else { "no".to_owned() },
            or_dash(site.version),
            site.reports.to_string(),
            or_dash(site.last_report),
        ]);
    }
    print(&format!("{lines}\n"))?;
    Ok(())
}

//! Takes a report in: whose it is, what it says, whether it keeps the floor; stored, then signed for.

use demarc_proto::{
    Receipt, Report, ReportFault, ReportId, SiteId, ToAgent,
    message::{Refused, RefusedReason, ReportMessage},
};
use tracing::{info, warn};

use crate::{
    clock,
    hub::Hub,
    metrics::ReportResult,
    store::{Kept, StoreError},
};

/// Stores a report of that site and signs for it, or says why it never will.
///
/// # Errors
/// When the database fails: then there is no answer, and the site sends the same bytes again later.
pub async fn take(hub: &Hub, site: &SiteId, message: ReportMessage) -> Result<ToAgent, StoreError> {
    let report = match judge(site, &message, hub.min_floor) {
        Ok(report) => report,
        Err(verdict) => {
            hub.metrics.report(match verdict.reason {
                RefusedReason::OtherSite => ReportResult::OtherSite,
                RefusedReason::Schema => ReportResult::Schema,
                RefusedReason::Floor => ReportResult::Floor,
                RefusedReason::Conflict => ReportResult::Conflict,
            });
            warn!(%site, report = ?verdict.report, reason = ?verdict.reason, why = verdict.why, "refused a report");
            return Ok(refused(verdict.report, verdict.reason));
        }
    };
    let now = clock::now();
    match hub.store.keep(site, &report, &message.body, now).await {
        Ok(Kept::Stored { received, again }) => {
            hub.metrics.report(if again { ReportResult::Duplicate } else { ReportResult::Stored });
            info!(%site, report = %report.id, calls = report.calls(), again, "stored a report");
            let receipt = Receipt::sign(&hub.receipt_key, site.clone(), report.id, message.body.as_bytes(), received);
            Ok(ToAgent::Receipt(receipt))
        }
        Ok(Kept::Conflict) => {
            hub.metrics.report(ReportResult::Conflict);
            warn!(%site, report = %report.id, "refused a report: another one with this name and other bytes is stored");
            Ok(refused(Some(report.id), RefusedReason::Conflict))
        }
        Err(error) => {
            hub.metrics.report(ReportResult::Failed);
            Err(error)
        }
    }
}

/// Why a report is refused, with words for the log that repeat nothing of what it holds.
#[derive(Debug)]
struct Verdict {
    report: Option<ReportId>,
    reason: RefusedReason,
    why: String,
}

fn judge(site: &SiteId, message: &ReportMessage, min_floor: u32) -> Result<Report, Verdict> {
    let read = Report::from_body(&message.body);
    let name = read.as_ref().ok().map(|report| report.id);
    if message.site != *site {
        let why = "it names another site than the certificate".to_owned();
        return Err(Verdict { report: name, reason: RefusedReason::OtherSite, why });
    }
    let verdict = |fault: ReportFault| Verdict { report: name, reason: reason(&fault), why: fault.to_string() };
    let report = read.map_err(verdict)?;
    report.check(min_floor).map_err(verdict)?;
    Ok(report)
}

fn reason(fault: &ReportFault) -> RefusedReason {
    match fault {
        ReportFault::FloorTooLow { .. } | ReportFault::BelowFloor { .. } => RefusedReason::Floor,
        ReportFault::TooLong
        | ReportFault::NotAReport { .. }
        | ReportFault::NotCanonical
        | ReportFault::Schema(_)
        | ReportFault::Window
        | ReportFault::NotASplit { .. }
        | ReportFault::Totals { .. } => RefusedReason::Schema,
    }
}

fn refused(report: Option<ReportId>, reason: RefusedReason) -> ToAgent {
    ToAgent::Refused(Refused { report, reason })
}

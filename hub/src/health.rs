//! Takes a health report in, and counts over all connected sites how their machines are.

use std::sync::Arc;

use demarc_proto::{
    HealthReport, ToAgent,
    health::{AlertKind, HealthFault, HealthNoted, PbxState},
};
use tracing::debug;

use crate::{
    clock,
    hub::Hub,
    metrics::{Ended, HealthResult},
    registry::Seat,
};

/// What a connected site said last of its health; it counts in the metrics until the connection ends.
pub struct Vitals {
    hub: Arc<Hub>,
    said: Option<(PbxState, Vec<AlertKind>)>,
}

impl Vitals {
    /// Nothing was said yet.
    pub fn new(hub: &Arc<Hub>) -> Self {
        Self { hub: Arc::clone(hub), said: None }
    }

    fn say(&mut self, said: Option<(PbxState, Vec<AlertKind>)>) {
        let metrics = &self.hub.metrics;
        if let Some((pbx, alerts)) = std::mem::replace(&mut self.said, said) {
            metrics.site_state(pbx, &alerts, -1);
        }
        if let Some((pbx, alerts)) = &self.said {
            metrics.site_state(*pbx, alerts, 1);
        }
    }
}

impl Drop for Vitals {
    fn drop(&mut self) {
        self.say(None);
    }
}

/// Stores a health report of the site that sits there.
///
/// # Errors
/// When it is none that keeps the rules, or the database fails; the tunnel is closed then.
pub async fn take(seat: &Seat, payload: &[u8], vitals: &mut Vitals) -> Result<ToAgent, Ended> {
    let (hub, site) = (seat.hub(), seat.site());
    let judged = HealthReport::from_payload(payload)
        .and_then(|report| Ok((report, std::str::from_utf8(payload).map_err(|_| HealthFault::NotCanonical)?)));
    let (report, text) = judged.map_err(|fault| {
        hub.metrics.health(HealthResult::Refused);
        tracing::warn!(%site, why = %fault, "closing a tunnel: a health report breaks the rules");
        Ended::Garbage
    })?;
    if let Err(error) = hub.store.keep_health(site, text, clock::now()).await {
        hub.metrics.health(HealthResult::Failed);
        tracing::warn!(%site, %error, "a health report could not be stored");
        return Err(Ended::Store);
    }
    hub.metrics.health(HealthResult::Stored);
    debug!(%site, "stored a health report");
    vitals.say(Some((report.pbx, report.alerts)));
    Ok(ToAgent::HealthNoted(HealthNoted { at: report.at }))
}

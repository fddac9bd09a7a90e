//! What the hub counts about itself, in OpenMetrics text.

use std::fmt::{self, Debug, Write};

use demarc_proto::health::{AlertKind, PbxState};
use prometheus_client::{
    encoding::{EncodeLabelValue, LabelValueEncoder, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Every figure.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Tunnels that are up.
    pub tunnels: Gauge,
    /// Connections by how they began.
    pub handshakes: ByResult<Handshake>,
    /// Tunnels by how they ended.
    pub ended: ByResult<Ended>,
    /// Reports by what became of them.
    pub reports: ByResult<ReportResult>,
    /// Health reports by what became of them.
    pub health: ByResult<HealthResult>,
    /// Connected sites by what is wrong there.
    pub site_alerts: Family<[(&'static str, &'static str); 1], Gauge>,
    /// Connected sites by whether their phone system answers.
    pub site_pbx: Family<[(&'static str, &'static str); 1], Gauge>,
    /// Enrollments by what became of them.
    pub enrollments: ByResult<EnrollResult>,
    /// Certificates renewed.
    pub renewals: Counter,
    /// Support sessions that are open.
    pub support_streams: Gauge,
    /// Support sessions that were asked for, by what became of it.
    pub support_requests: ByResult<SupportResult>,
    /// Bytes of support sessions from sites.
    pub support_bytes_in: Counter,
    /// Bytes of support sessions to sites.
    pub support_bytes_out: Counter,
    /// Bytes of messages from sites.
    pub bytes_in: Counter,
    /// Bytes of messages to sites.
    pub bytes_out: Counter,
}

/// A counter for each thing that can become of something.
type ByResult<R> = Family<[(&'static str, Word<R>); 1], Counter>;

/// A variant's name in the form that labels have: `OtherSite` is `other_site`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Word<R>(R);

impl<R: Debug> EncodeLabelValue for Word<R> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        for (place, letter) in format!("{:?}", self.0).char_indices() {
            if place > 0 && letter.is_ascii_uppercase() {
                encoder.write_char('_')?;
            }
            encoder.write_char(letter.to_ascii_lowercase())?;
        }
        Ok(())
    }
}

fn count<R: Clone + Debug + PartialEq + Eq + std::hash::Hash>(family: &ByResult<R>, result: R) {
    family.get_or_create(&[("result", Word(result))]).inc();
}

/// How a connection began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Handshake {
    /// A site's tunnel.
    Tunnel,
    /// A tunnel whose certificate's time is over: it may renew.
    TunnelExpired,
    /// An enrollment.
    Enroll,
    /// HTTP.
    Http,
    /// A site that fetches files.
    Files,
    /// TLS failed: no TLS, a foreign certificate, a wrong version.
    Failed,
    /// It took too long, or made room for others.
    Timeout,
    /// A tunnel without a site's certificate.
    NoCertificate,
    /// A key that a later enrollment replaced, or a site that is not known.
    Revoked,
    /// The database did not answer.
    Store,
    /// The site connects too often.
    Limited,
}

/// How a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    /// The site closed it, or the network did.
    Closed,
    /// A newer connection of the same site took its place.
    Evicted,
    /// No sign of life.
    Silent,
    /// It sent something that is not a message.
    Garbage,
    /// Its certificate's time is over, and it did something else than renew.
    Expired,
    /// The database failed.
    Store,
    /// The hub stops.
    Stopped,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReportResult {
    /// Stored.
    Stored,
    /// Stored before, with the same bytes.
    Duplicate,
    /// It names another site.
    OtherSite,
    /// It is no report of a known schema.
    Schema,
    /// It is below the floor.
    Floor,
    /// Another report has its name.
    Conflict,
    /// The database failed.
    Failed,
}

/// What became of a health report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HealthResult {
    /// Stored.
    Stored,
    /// It is none, or breaks the rules.
    Refused,
    /// The database failed.
    Failed,
}

/// What became of an enrollment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EnrollResult {
    /// The site is enrolled.
    Enrolled,
    /// The site was enrolled before: its earlier key is shut out.
    Replaced,
    /// No such token for that site.
    UnknownToken,
    /// The token was used before.
    UsedToken,
    /// The token's time is over.
    ExpiredToken,
    /// The certificate request is unusable.
    BadRequest,
    /// Not a request at all, or too slow.
    Garbage,
    /// Too many attempts from that address.
    Limited,
    /// The hub itself failed.
    Failed,
}

/// What became of a support session that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SupportResult {
    /// The site let it in.
    Opened,
    /// The site did not: no live grant there, or enough sessions.
    Refused,
    /// No grant is known, and none was named.
    NoGrant,
    /// Too many at the site, or in all.
    Limited,
    /// The site is not connected, or did not answer.
    Unreachable,
    /// The site could not.
    Failed,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("demarc_hub"),
            tunnels: Gauge::default(),
            handshakes: Family::default(),
            ended: Family::default(),
            reports: Family::default(),
            health: Family::default(),
            site_alerts: Family::default(),
            site_pbx: Family::default(),
            enrollments: Family::default(),
            renewals: Counter::default(),
            support_streams: Gauge::default(),
            support_requests: Family::default(),
            support_bytes_in: Counter::default(),
            support_bytes_out: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("tunnels", "Tunnels that are up", metrics.tunnels.clone());
        registry.register("handshakes", "Connections by how they began", metrics.handshakes.clone());
        registry.register("tunnels_ended", "Tunnels by how they ended", metrics.ended.clone());
        registry.register("reports", "Reports by what became of them", metrics.reports.clone());
        registry.register("health_reports", "Health reports by what became of them", metrics.health.clone());
        let sites = "Connected sites that sent a health report, by what is wrong there";
        registry.register("site_alerts", sites, metrics.site_alerts.clone());
        let sites = "Connected sites that sent a health report, by whether their phone system answers";
        registry.register("site_pbx", sites, metrics.site_pbx.clone());
        registry.register("enrollments", "Enrollments by what became of them", metrics.enrollments.clone());
        registry.register("renewals", "Certificates renewed", metrics.renewals.clone());
        registry.register("message_bytes_in", "Bytes of messages from sites", metrics.bytes_in.clone());
        registry.register("message_bytes_out", "Bytes of messages to sites", metrics.bytes_out.clone());
        let support = "Support sessions that are open";
        registry.register("support_streams", support, metrics.support_streams.clone());
        let support = "Support sessions that were asked for, by what became of it";
        registry.register("support_requests", support, metrics.support_requests.clone());
        let support = "Bytes of support sessions from sites";
        registry.register("support_bytes_in", support, metrics.support_bytes_in.clone());
        let support = "Bytes of support sessions to sites";
        registry.register("support_bytes_out", support, metrics.support_bytes_out.clone());
        metrics
    }

    /// Counts the beginning of a connection.
    pub fn handshake(&self, result: Handshake) {
        count(&self.handshakes, result);
    }

    /// Counts the end of a tunnel.
    pub fn tunnel_ended(&self, result: Ended) {
        count(&self.ended, result);
    }

    /// Counts a report.
    pub fn report(&self, result: ReportResult) {
        count(&self.reports, result);
    }

    /// Counts a health report.
    pub fn health(&self, result: HealthResult) {
        count(&self.health, result);
    }

    /// Adds that many connected sites with this phone system and these alerts.
    pub fn site_state(&self, pbx: PbxState, alerts: &[AlertKind], sites: i64) {
        self.site_pbx.get_or_create(&[("pbx", pbx.as_str())]).inc_by(sites);
        for alert in alerts {
            self.site_alerts.get_or_create(&[("alert", alert.as_str())]).inc_by(sites);
        }
    }

    /// Counts an enrollment.
    pub fn enrollment(&self, result: EnrollResult) {
        count(&self.enrollments, result);
    }

    /// Counts a support session that was asked for.
    pub fn support(&self, result: SupportResult) {
        count(&self.support_requests, result);
    }

    /// All figures as OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string cannot fail");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_labels_in_snake_case() {
        let metrics = Metrics::new();
        metrics.report(ReportResult::OtherSite);
        metrics.tunnels.inc();
        let text = metrics.text();
        assert!(text.contains("demarc_hub_reports_total{result=\"other_site\"} 1\n"), "{text}");
        assert!(text.contains("demarc_hub_tunnels 1\n"), "{text}");
    }
}

//! What the hub may say at which point of the conversation: a pure state machine.

use demarc_proto::{
    PROTOCOL, Receipt, ReportId, SiteId, ToAgent,
    bytes64::Bytes64,
    message::{Refused, RefusedReason},
    receipt::body_hash,
    support::GrantId,
};

use super::{
    error::{LinkError, Misbehaviour},
    waiting::WaitingReport,
};

/// The state of one conversation.
#[derive(Debug)]
pub(crate) struct Control {
    site: SiteId,
    receipt_key: Vec<u8>,
    welcomed: bool,
    certificate_asked: bool,
    under_way: Option<UnderWay>,
    /// When the health report under way was measured.
    health: Option<u64>,
    announced: Option<GrantId>,
}

#[derive(Debug)]
struct UnderWay {
    id: ReportId,
    sha256: String,
}

/// A message that was allowed at this point.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The hub greets.
    Welcome {
        /// The hub's clock less ours, in seconds.
        skew: i64,
    },
    /// The report under way is stored.
    Stored(Receipt),
    /// The report under way is refused for good.
    Refused(ReportId, RefusedReason),
    /// The certificate that was asked for; not checked yet.
    Certificate(Vec<Bytes64>),
    /// The hub knows of the grant that it was told of.
    Noted(GrantId),
    /// The hub has the health report that was measured then.
    HealthNoted(u64),
}

impl Control {
    /// A conversation that just begins.
    pub(crate) fn new(site: SiteId, receipt_key: Vec<u8>) -> Self {
        Self {
            site,
            receipt_key,
            welcomed: false,
            certificate_asked: false,
            under_way: None,
            health: None,
            announced: None,
        }
    }

    /// A report is handed to the connection.
    pub(crate) fn report_starts(&mut self, report: &WaitingReport) {
        self.under_way = Some(UnderWay { id: report.id, sha256: body_hash(report.body.as_bytes()) });
    }

    /// A health report, measured then, is handed to the connection.
    pub(crate) fn health_starts(&mut self, at: u64) {
        self.health = Some(at);
    }

    /// Whether a health report was handed to the connection and not answered yet.
    pub(crate) fn health_under_way(&self) -> bool {
        self.health.is_some()
    }

    /// A certificate request is handed to the connection.
    pub(crate) fn certificate_starts(&mut self) {
        self.certificate_asked = true;
    }

    /// A grant, or its end, is handed to the connection.
    pub(crate) fn announcement_starts(&mut self, grant: GrantId) {
        self.announced = Some(grant);
    }

    /// Whether a grant was handed to the connection and not answered yet.
    pub(crate) fn announcement_under_way(&self) -> bool {
        self.announced.is_some()
    }

    /// Whether the hub has greeted.
    pub(crate) fn welcomed(&self) -> bool {
        self.welcomed
    }

    /// Whether a report was handed to the connection and not answered yet.
    pub(crate) fn report_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Whether a certificate request was handed to the connection and not answered yet.
    pub(crate) fn certificate_under_way(&self) -> bool {
        self.certificate_asked
    }

    /// Takes a message at its word only where it is an answer to what was asked. `now` is our clock.
    pub(crate) fn hear(&mut self, message: ToAgent, now: u64) -> Result<Heard, LinkError> {
        match message {
            ToAgent::Welcome(_) if self.welcomed => Err(Misbehaviour::SecondWelcome.into()),
            ToAgent::Welcome(welcome) if welcome.protocol != PROTOCOL => {
                Err(LinkError::OtherProtocol { theirs: welcome.protocol, ours: PROTOCOL })
            }
            ToAgent::Welcome(welcome) => {
                self.welcomed = true;
                Ok(Heard::Welcome { skew: difference(welcome.time, now) })
            }
            _ if !self.welcomed => Err(Misbehaviour::BeforeWelcome.into()),
            ToAgent::Receipt(receipt) => {
                self.check_receipt(&receipt)?;
                self.under_way = None;
                Ok(Heard::Stored(receipt))
            }
            ToAgent::Refused(Refused { report, reason }) => {
                let under_way = self.under_way.take().ok_or(Misbehaviour::NotAsked)?;
                if report.is_some_and(|report| report != under_way.id) {
                    return Err(Misbehaviour::NotAsked.into());
                }
                Ok(Heard::Refused(under_way.id, reason))
            }
            ToAgent::HealthNoted(noted) => match self.health.take() {
                Some(at) if at == noted.at => Ok(Heard::HealthNoted(at)),
                _ => Err(Misbehaviour::NotAsked.into()),
            },
            ToAgent::Certificate(_) if !self.certificate_asked => Err(Misbehaviour::CertificateNotAsked.into()),
            ToAgent::Certificate(certificate) => {
                self.certificate_asked = false;
                Ok(Heard::Certificate(certificate.chain))
            }
            ToAgent::Noted(noted) => match self.announced.take() {
                Some(grant) if grant == noted.grant => Ok(Heard::Noted(grant)),
                _ => Err(Misbehaviour::NotAsked.into()),
            },
        }
    }

    fn check_receipt(&self, receipt: &Receipt) -> Result<(), Misbehaviour> {
        let under_way = self.under_way.as_ref().filter(|report| report.id == receipt.report);
        let under_way = under_way.ok_or(Misbehaviour::NotAsked)?;
        if receipt.verify(&self.receipt_key).is_err() {
            return Err(Misbehaviour::BadSignature);
        }
        let fits = receipt.site == self.site && receipt.sha256 == under_way.sha256;
        if fits { Ok(()) } else { Err(Misbehaviour::OtherBytes) }
    }
}

/// `theirs` less `ours`, held to what the type can say.
fn difference(theirs: u64, ours: u64) -> i64 {
    let size = i64::try_from(theirs.abs_diff(ours)).unwrap_or(i64::MAX);
    if theirs >= ours { size } else { -size }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use demarc_proto::{
        health::HealthNoted,
        message::{Certificate, Welcome},
    };

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn welcome(time: u64) -> ToAgent {
        ToAgent::Welcome(Welcome { protocol: PROTOCOL, time })
    }

    fn what(result: Result<Heard, LinkError>) -> Misbehaviour {
        match result {
            Err(LinkError::Misbehaved { what }) => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_greeting_comes_first_and_once() {
        let key = Ed25519KeyPair::generate().unwrap();
        let site: SiteId = "site-one".parse().unwrap();
        let mut control = Control::new(site.clone(), key.public_key().as_ref().to_vec());
        let early = Receipt::sign(&key, site, ReportId::from_bits([1; 16]), b"x", 1);
        assert_eq!(what(control.hear(ToAgent::Receipt(early), NOW)), Misbehaviour::BeforeWelcome);
        assert_eq!(control.hear(welcome(NOW - 90), NOW).unwrap(), Heard::Welcome { skew: -90 });
        assert_eq!(what(control.hear(welcome(NOW), NOW)), Misbehaviour::SecondWelcome);
        let unasked = ToAgent::Certificate(Certificate { chain: vec![] });
        assert_eq!(what(control.hear(unasked, NOW)), Misbehaviour::CertificateNotAsked);
        let mut control = Control::new("a".parse().unwrap(), vec![]);
        assert_eq!(control.hear(welcome(u64::MAX), 0).unwrap(), Heard::Welcome { skew: i64::MAX });
        let mut control = Control::new("a".parse().unwrap(), vec![]);
        let newer = ToAgent::Welcome(Welcome { protocol: 2, time: NOW });
        assert!(matches!(control.hear(newer, NOW), Err(LinkError::OtherProtocol { theirs: 2, ours: 1 })));
    }

    #[test]
    fn only_the_answer_to_the_report_under_way_counts() {
        let (key, other_key) = (Ed25519KeyPair::generate().unwrap(), Ed25519KeyPair::generate().unwrap());
        let (site, other_site): (SiteId, SiteId) = ("site-one".parse().unwrap(), "site-two".parse().unwrap());
        let [id, other_id] = [1, 2].map(|n| ReportId::from_bits([n; 16]));
        let mut control = Control::new(site.clone(), key.public_key().as_ref().to_vec());
        control.hear(welcome(NOW), NOW).unwrap();
        let report = WaitingReport { id, body: "body".into() };
        control.report_starts(&report);
        let good = Receipt::sign(&key, site.clone(), id, b"body", NOW);
        let bad = [
            (Receipt::sign(&key, site.clone(), other_id, b"body", NOW), Misbehaviour::NotAsked),
            (Receipt::sign(&other_key, site.clone(), id, b"body", NOW), Misbehaviour::BadSignature),
            (Receipt::sign(&key, other_site, id, b"body", NOW), Misbehaviour::OtherBytes),
            (Receipt::sign(&key, site, id, b"Body", NOW), Misbehaviour::OtherBytes),
        ];
        for (receipt, misbehaviour) in bad {
            assert_eq!(what(control.hear(ToAgent::Receipt(receipt), NOW)), misbehaviour);
            assert!(control.report_under_way());
        }
        assert_eq!(control.hear(ToAgent::Receipt(good.clone()), NOW).unwrap(), Heard::Stored(good.clone()));
        assert_eq!(what(control.hear(ToAgent::Receipt(good), NOW)), Misbehaviour::NotAsked);
    }

    #[test]
    fn only_the_health_report_under_way_is_noted() {
        let noted = |at| ToAgent::HealthNoted(HealthNoted { at });
        let mut control = Control::new("site-one".parse().unwrap(), vec![]);
        assert_eq!(what(control.hear(noted(7), NOW)), Misbehaviour::BeforeWelcome);
        control.hear(welcome(NOW), NOW).unwrap();
        assert_eq!(what(control.hear(noted(7), NOW)), Misbehaviour::NotAsked);
        control.health_starts(7);
        assert_eq!(control.hear(noted(7), NOW).unwrap(), Heard::HealthNoted(7));
        assert_eq!(what(control.hear(noted(7), NOW)), Misbehaviour::NotAsked);
        control.health_starts(8);
        assert_eq!(what(control.hear(noted(7), NOW)), Misbehaviour::NotAsked);
    }

    #[test]
    fn a_refusal_is_about_the_report_under_way() {
        let id = ReportId::from_bits([1; 16]);
        let refused = |report| ToAgent::Refused(Refused { report, reason: RefusedReason::Floor });
        let mut control = Control::new("site-one".parse().unwrap(), vec![]);
        control.hear(welcome(NOW), NOW).unwrap();
        assert_eq!(what(control.hear(refused(Some(id)), NOW)), Misbehaviour::NotAsked);
        assert_eq!(what(control.hear(refused(None), NOW)), Misbehaviour::NotAsked);
        for name in [Some(id), None] {
            control.report_starts(&WaitingReport { id, body: "body".into() });
            assert_eq!(control.hear(refused(name), NOW).unwrap(), Heard::Refused(id, RefusedReason::Floor));
        }
        control.report_starts(&WaitingReport { id, body: "body".into() });
        let other = refused(Some(ReportId::from_bits([2; 16])));
        assert_eq!(what(control.hear(other, NOW)), Misbehaviour::NotAsked);
    }
}

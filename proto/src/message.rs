//! The messages of the control stream. Anything that is not one of these is refused.
//!
//! No message to the agent carries a command, a setting or a program: a hub that turned hostile can answer,
//! and can be silent, and that is all.

use serde::{Deserialize, Serialize};

use crate::{
    HealthReport, Receipt, ReportId, SiteId,
    bytes64::Bytes64,
    health::HealthNoted,
    support::{GrantEnded, GrantId, GrantMessage},
};

/// What the agent says. Its JSON form is `{"type":"Hello",…}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum ToHub {
    /// The first message on a control stream.
    Hello(Hello),
    /// A report that passed the gate.
    Report(ReportMessage),
    /// Asks for a new certificate.
    Renew(Renew),
    /// Support may open a session.
    Grant(GrantMessage),
    /// It may not any more.
    GrantEnded(GrantEnded),
    /// How the machine is. Only to a hub that takes it: see [`crate::health::HEALTH_HEADER`].
    Health(HealthReport),
}

/// What the hub says. Its JSON form is `{"type":"Welcome",…}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum ToAgent {
    /// The answer to [`Hello`].
    Welcome(Welcome),
    /// A report is stored for good.
    Receipt(Receipt),
    /// A report is refused for good: the same bytes will never be accepted.
    Refused(Refused),
    /// The answer to [`Renew`].
    Certificate(Certificate),
    /// The answer to a grant and to its end: the hub knows.
    Noted(Noted),
    /// The answer to a health report, and said to nobody else.
    HealthNoted(HealthNoted),
}

/// Who speaks: versions only. It is the same at every connection until the program is upgraded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// [`crate::PROTOCOL`].
    pub protocol: u32,
    /// Version of the agent: major, minor, patch.
    pub version: [u16; 3],
    /// Report schemas that the agent can send.
    pub schemas: Vec<u32>,
}

/// One report, with the bytes that stand in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportMessage {
    /// The site that it is about; must be the one in the agent's certificate.
    pub site: SiteId,
    /// What [`crate::Report::to_body`] wrote, byte for byte.
    pub body: String,
}

/// A certificate request (PKCS #10, RFC 2986) for the key in use; the hub takes only the public key from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renew {
    /// The request in DER.
    pub request: Bytes64,
}

/// The hub's first message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Welcome {
    /// [`crate::PROTOCOL`].
    pub protocol: u32,
    /// The hub's clock, seconds since 1970 in UTC: for measuring skew, never for setting a clock.
    pub time: u64,
}

/// Why a report is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// The report; absent where the bytes did not even name one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ReportId>,
    /// The reason.
    pub reason: RefusedReason,
}

/// The reasons there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusedReason {
    /// The report names another site than the certificate.
    OtherSite,
    /// The bytes are not a report of a known schema.
    Schema,
    /// A group counts fewer calls than the floor, or the floor is too low.
    Floor,
    /// Another report with this name, and other bytes, is stored already.
    Conflict,
}

/// The hub knows of a grant, or of its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noted {
    /// The grant.
    pub grant: GrantId,
}

/// A new certificate for the agent's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The chain in DER, the agent's own first.
    pub chain: Vec<Bytes64>,
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn golden_vectors() {
        let hello = ToHub::Hello(Hello { protocol: 1, version: [0, 1, 0], schemas: vec![1] });
        expect![[r#"{"type":"Hello","protocol":1,"version":[0,1,0],"schemas":[1]}"#]]
            .assert_eq(&serde_json::to_string(&hello).unwrap());
        let report = ToHub::Report(ReportMessage { site: "site-one".parse().unwrap(), body: "{} ".into() });
        expect![[r#"{"type":"Report","site":"site-one","body":"{} "}"#]]
            .assert_eq(&serde_json::to_string(&report).unwrap());
        let refused = ToAgent::Refused(Refused { report: None, reason: RefusedReason::OtherSite });
        expect![[r#"{"type":"Refused","reason":"other_site"}"#]].assert_eq(&serde_json::to_string(&refused).unwrap());
    }

    #[test]
    fn unknown_messages_and_keys_are_refused() {
        for bad in [
            r#"{"type":"Run","command":"id"}"#,
            r#"{"type":"Welcome","protocol":1,"time":1,"command":"id"}"#,
            r#"{"type":"Welcome","protocol":1}"#,
            r#"{"protocol":1,"time":1}"#,
            r#"[]"#,
        ] {
            assert!(serde_json::from_str::<ToAgent>(bad).is_err(), "{bad}");
        }
        assert!(
            serde_json::from_str::<ToHub>(
                r#"{"type":"Hello","protocol":1,"version":[0,1,0],"schemas":[1],"host":"pbx"}"#
            )
            .is_err()
        );
    }
}

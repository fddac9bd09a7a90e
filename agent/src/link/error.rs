//! What can go wrong between this machine and its hub, each in words that say what to do.

use std::{io, time::Duration};

use rustls::{AlertDescription, InvalidMessage, PeerIncompatible};

use super::{identity::IdentityError, proxy::ProxyError};

/// Why there is no connection to the hub, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The address is not one.
    #[error("\"{0}\" is not an address of a hub: write host:port, or [address]:port for IPv6")]
    Address(String),
    /// The resolver knows no address.
    #[error("the name of {peer} was not found: check the name, and this machine's DNS ({detail})")]
    NameNotFound {
        /// The hub or the proxy, with its address.
        peer: String,
        /// The resolver's own words.
        detail: String,
    },
    /// Somebody answered with a refusal.
    #[error("{peer} refused the connection: nothing listens on that port, or a firewall rejects it")]
    Refused {
        /// The hub or the proxy, with its address.
        peer: String,
    },
    /// Nobody answered.
    #[error(
        "{peer} did not answer within {seconds} s: a firewall may drop the connection; \
         it needs outbound TCP to that port, or a proxy (tunnel.proxy)"
    )]
    NoAnswer {
        /// The hub or the proxy, with its address.
        peer: String,
        /// How long was waited.
        seconds: u64,
    },
    /// This machine itself does not let the connection out.
    #[error("this machine does not allow a connection to {peer}: check its firewall and security modules")]
    NotAllowed {
        /// The hub or the proxy, with its address.
        peer: String,
    },
    /// There is no way there.
    #[error("{peer} cannot be reached from this machine: {detail}; check its network")]
    Unreachable {
        /// The hub or the proxy, with its address.
        peer: String,
        /// The system's own words.
        detail: String,
    },
    /// The proxy does not let the connection through.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// Somebody between here and the hub shows a certificate of their own.
    #[error(
        "the connection to {hub} is being intercepted: the certificate presented was issued by {issuer}, not by \
         the hub's own authority. Ask for an exception for this address in the proxy or firewall that inspects TLS; if \
         the vendor put a new hub there instead, enroll again (demarc enroll --again TOKEN)"
    )]
    Intercepted {
        /// The hub's address.
        hub: String,
        /// The common name of the issuer.
        issuer: String,
    },
    /// A hub, but of another authority with the same name.
    #[error(
        "{hub} is not the hub that this site enrolled with: its certificate authority has the same name but another \
         key; if the vendor set the hub up anew, enroll again (demarc enroll --again TOKEN)"
    )]
    OtherAuthority {
        /// The hub's address.
        hub: String,
    },
    /// No certificate of the chain is the one that the token names.
    #[error(
        "{hub} is not the hub that issued the token: its certificate was issued by {issuer}, whose fingerprint is \
         another; check the address with the vendor, and whether a proxy inspects TLS here"
    )]
    OtherFingerprint {
        /// The hub's address.
        hub: String,
        /// The common name of the issuer.
        issuer: String,
    },
    /// The hub's certificate is not good yet, by the clock of this machine.
    #[error(
        "this machine's clock is at least {} behind, by the certificate of {hub}: set the clock (timedatectl), \
         then the connection comes back on its own", span(*seconds)
    )]
    ClockBehind {
        /// The hub's address.
        hub: String,
        /// Between our clock and the certificate's first second.
        seconds: u64,
    },
    /// The hub's certificate is over, by the clock of this machine.
    #[error(
        "the certificate of {hub} ended {} ago, by this machine's clock: if that clock is ahead, set it (timedatectl); \
         if it is right, the vendor must renew the hub's certificate", span(*seconds)
    )]
    HubCertificateEnded {
        /// The hub's address.
        hub: String,
        /// Between the certificate's last second and our clock.
        seconds: u64,
    },
    /// The certificate is for another name.
    #[error(
        "the certificate of {hub} is for another name ({names}): check tunnel.hub, or ask the vendor to add this name \
         to the hub's certificate"
    )]
    OtherName {
        /// The hub's address.
        hub: String,
        /// The names that the certificate is for.
        names: String,
    },
    /// The certificate is broken in another way.
    #[error("the certificate of {hub} is not acceptable ({detail}): tell the vendor")]
    BadCertificate {
        /// The hub's address.
        hub: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Somebody answers there, but no hub.
    #[error("{hub} is not a demarc hub: {detail}; check the address (tunnel.hub)")]
    NotAHub {
        /// The hub's address.
        hub: String,
        /// What shows it.
        detail: &'static str,
    },
    /// The hub does not let this site in.
    #[error(
        "the hub refused this site's certificate ({detail}): if the vendor did not block this site on purpose, \
         enroll again (demarc enroll --again TOKEN)"
    )]
    CertificateRefused {
        /// The hub's reason.
        detail: &'static str,
    },
    /// The connection broke before it was up.
    #[error(
        "the connection to {hub} was cut while it was being set up: a firewall or an inspecting proxy may do this; \
         outbound TLS to that address must pass untouched"
    )]
    CutInHandshake {
        /// The hub's address.
        hub: String,
    },
    /// Nothing came while the connection was being set up.
    #[error(
        "{hub} accepted the connection and then did not answer for {seconds} s: it is overloaded, or something between \
         holds the bytes back"
    )]
    SilentInHandshake {
        /// The hub's address.
        hub: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The hub went away in good order, or its machine did.
    #[error("the hub closed the connection (it restarts, or this site connected a second time); connecting again")]
    Closed,
    /// The hub hung up before it said anything.
    #[error(
        "{hub} knows this site's certificate, but hung up before a word: it restarts or is busy; if this goes on, the \
         vendor has blocked this site, or another machine has enrolled in its name"
    )]
    TurnedAway {
        /// The hub's address.
        hub: String,
    },
    /// The connection broke.
    #[error("the connection to the hub was lost ({detail}); connecting again")]
    Lost {
        /// The system's own words.
        detail: String,
    },
    /// The hub does not answer pings any more.
    #[error("the hub does not answer any more ({missed} pings missed); connecting again")]
    Silent {
        /// How many pings.
        missed: u32,
    },
    /// The hub does not answer a message.
    #[error("the hub did not answer {message} within {seconds} s; connecting again")]
    Unanswered {
        /// Which message.
        message: &'static str,
        /// How long was waited.
        seconds: u64,
    },
    /// The hub did what no hub does.
    #[error("the hub broke the protocol ({what}); nothing was given to it. If this goes on, tell the vendor")]
    Misbehaved {
        /// What it did.
        what: Misbehaviour,
    },
    /// The hub speaks another version.
    #[error(
        "the hub speaks version {theirs} of the protocol, this program version {ours}: one of them needs an upgrade"
    )]
    OtherProtocol {
        /// The hub's version.
        theirs: u32,
        /// Our version.
        ours: u32,
    },
    /// The key or the certificate of this site cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The ledger did not take an entry, so that nothing may be sent.
    #[error(
        "the ledger did not confirm an entry within {seconds} s, so nothing is sent: the collector may be down \
         (demarc status), or its disk full"
    )]
    LedgerSilent {
        /// How long was waited.
        seconds: u64,
    },
}

/// What a hub did that no hub does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misbehaviour {
    /// A frame longer than any message.
    #[error("a frame longer than any message")]
    Oversized,
    /// A frame that is no message.
    #[error("a frame that is not a message")]
    UnknownMessage,
    /// The control stream ended in the middle of a frame, or carried nothing again and again.
    #[error("a control stream that is not made of frames")]
    NotFrames,
    /// More streams than were asked for.
    #[error("a flood of streams")]
    StreamFlood,
    /// HTTP/2 itself was broken.
    #[error("broken HTTP/2")]
    Http2,
    /// Welcome twice.
    #[error("a second greeting")]
    SecondWelcome,
    /// Something else where the greeting belongs.
    #[error("a message before the greeting")]
    BeforeWelcome,
    /// A receipt or refusal for a report that is not under way.
    #[error("an answer about a report that was not under way")]
    NotAsked,
    /// A receipt with a wrong signature.
    #[error("a receipt that the hub's key did not sign")]
    BadSignature,
    /// A receipt for other bytes or another site.
    #[error("a receipt for other bytes than were sent")]
    OtherBytes,
    /// A certificate that nobody asked for.
    #[error("a certificate that was not asked for")]
    CertificateNotAsked,
    /// A certificate for another key or site, of another authority, or with an odd validity.
    #[error("a certificate that does not fit: {0}")]
    Certificate(super::certificate::Unfit),
}

impl From<Misbehaviour> for LinkError {
    fn from(what: Misbehaviour) -> Self {
        Self::Misbehaved { what }
    }
}

impl LinkError {
    /// Whether the hub itself acted against the protocol: such a connection never counts as a good one.
    pub fn is_hostile(&self) -> bool {
        matches!(self, Self::Misbehaved { .. })
    }

    /// Explains a failure of the handshake with the hub.
    pub(crate) fn in_handshake(hub: &str, error: &io::Error) -> Self {
        if let Some(explained) = Self::from_tls(hub, error) {
            return explained;
        }
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted => Self::CutInHandshake { hub: hub.to_owned() },
            _ => Self::Lost { detail: error.kind().to_string() },
        }
    }

    /// Explains a failure of HTTP/2 over the connection.
    pub(crate) fn from_http2(hub: &str, error: &h2::Error) -> Self {
        if let Some(error) = error.get_io() {
            return match Self::from_tls(hub, error) {
                Some(explained) => explained,
                None if error.kind() == io::ErrorKind::UnexpectedEof => Self::Closed,
                None => Self::Lost { detail: error.kind().to_string() },
            };
        }
        if error.is_remote() { Self::Closed } else { Misbehaviour::Http2.into() }
    }

    /// TLS failures travel inside I/O errors; the rest is left to the caller.
    fn from_tls(hub: &str, error: &io::Error) -> Option<Self> {
        let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
        let hub = hub.to_owned();
        let not_a_hub = |detail| Self::NotAHub { hub: hub.clone(), detail };
        Some(match error {
            rustls::Error::AlertReceived(alert) => match alert {
                AlertDescription::NoApplicationProtocol => not_a_hub("it does not know our protocol (ALPN)"),
                AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity => {
                    not_a_hub("it does not speak TLS 1.3")
                }
                AlertDescription::HandshakeFailure => not_a_hub("it has no TLS 1.3 cipher in common with us"),
                AlertDescription::UnrecognisedName => not_a_hub("it does not go by this name"),
                AlertDescription::CertificateExpired => Self::CertificateRefused { detail: "expired" },
                AlertDescription::CertificateRevoked => Self::CertificateRefused { detail: "revoked" },
                AlertDescription::UnknownCA => Self::CertificateRefused { detail: "of another authority" },
                AlertDescription::CertificateRequired => Self::CertificateRefused { detail: "none arrived" },
                AlertDescription::DecryptError
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateUnknown => Self::CertificateRefused { detail: "not acceptable" },
                AlertDescription::AccessDenied => Self::CertificateRefused { detail: "this site has no access" },
                _ => Self::Lost { detail: format!("TLS alert {alert:?}") },
            },
            rustls::Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) => not_a_hub("it does not speak TLS 1.3"),
            rustls::Error::PeerIncompatible(_) => not_a_hub("its TLS does not fit ours"),
            rustls::Error::NoApplicationProtocol => not_a_hub("it does not know our protocol (ALPN)"),
            rustls::Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            ) => not_a_hub("it does not speak TLS"),
            rustls::Error::InvalidMessage(_) | rustls::Error::PeerMisbehaved(_) | rustls::Error::DecryptError => {
                not_a_hub("what it sends is broken TLS")
            }
            rustls::Error::InvalidCertificate(_) => {
                Self::BadCertificate { hub, detail: "its signature does not fit".to_owned() }
            }
            _ => return None,
        })
    }
}

/// A span of time in the largest fitting unit, as people say it.
pub(crate) fn span(seconds: u64) -> String {
    let (number, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7200 => (seconds / 60, "minute"),
        7200..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

/// A clock that is off by more than this is said; less does no harm.
const TOLERATED_SKEW: Duration = Duration::from_secs(300);

/// What to say about a clock that differs from the hub's: `skew` is the hub's less ours, in seconds.
pub(crate) fn skew_in_words(skew: i64) -> Option<String> {
    if skew.unsigned_abs() <= TOLERATED_SKEW.as_secs() {
        return None;
    }
    let side = if skew > 0 { "behind" } else { "ahead of" };
    let off = span(skew.unsigned_abs());
    Some(format!(
        "this machine's clock is {off} {side} the hub's: set it (timedatectl), or call times and report windows are \
         wrong by as much"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_as_people_say_them() {
        let said = [1, 90, 120, 7199, 7200, 86_400, 172_800].map(span);
        assert_eq!(said, ["1 second", "90 seconds", "2 minutes", "119 minutes", "2 hours", "24 hours", "2 days"]);
    }

    #[test]
    fn a_small_skew_is_not_worth_words() {
        assert_eq!(skew_in_words(300), None);
        assert!(skew_in_words(7200).is_some_and(|words| words.contains("2 hours behind the hub's")));
        assert!(skew_in_words(-400).is_some_and(|words| words.contains("6 minutes ahead of the hub's")));
    }
}

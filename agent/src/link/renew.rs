//! The renewal of this site's certificate: when, and which step comes next.

use std::time::Duration;

use tokio::time::Instant;

use super::certificate::Facts;

/// Where the renewal stands, on one connection.
#[derive(Debug)]
pub(crate) enum Renewal {
    /// Nothing is under way; not before this moment.
    Rest(Instant),
    /// The request is being entered in the ledger.
    Recording {
        /// The entry's number.
        number: u64,
        /// The payload of the frame.
        payload: Vec<u8>,
        /// When the ledger's time is over.
        until: Instant,
    },
    /// The hub was asked.
    Asked {
        /// When the hub's time is over.
        until: Instant,
    },
}

/// How urgent a renewal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Not yet.
    None,
    /// Two thirds of the lifetime are over.
    Due,
    /// The certificate is over: the hub takes nothing else on this connection.
    Overdue,
}

impl Renewal {
    /// At the start of a connection.
    pub(crate) fn new() -> Self {
        Self::Rest(Instant::now())
    }

    /// Whether to ask now.
    pub(crate) fn may_start(&self) -> bool {
        matches!(self, Self::Rest(from) if *from <= Instant::now())
    }

    /// When something must have happened.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Rest(_) => None,
            Self::Recording { until, .. } | Self::Asked { until } => Some(*until),
        }
    }

    /// Takes the request out, once the ledger has it.
    pub(crate) fn recorded(&mut self, entry: u64, answer_within: Duration) -> Option<Vec<u8>> {
        match self {
            Self::Recording { number, payload, .. } if *number == entry => {
                let payload = std::mem::take(payload);
                *self = Self::Asked { until: Instant::now() + answer_within };
                Some(payload)
            }
            _ => None,
        }
    }

    /// Rests for a while, after success and failure alike.
    pub(crate) fn rest(&mut self, pause: Duration) {
        *self = Self::Rest(Instant::now() + pause);
    }
}

/// How urgent it is, by the certificate and our clock.
pub(crate) fn need(facts: &Facts, now: u64) -> Need {
    match now {
        _ if now > facts.until => Need::Overdue,
        _ if now >= facts.renew_at() => Need::Due,
        _ => Need::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_thirds_is_due_and_the_end_overdue() {
        let facts = Facts { from: 1000, until: 1900, subject: None, issuer: None, names: vec![], public_key: vec![] };
        let needs = [0, 1599, 1600, 1900, 1901].map(|now| need(&facts, now));
        assert_eq!(needs, [Need::None, Need::None, Need::Due, Need::Due, Need::Overdue]);
    }

    #[test]
    fn the_request_leaves_once_and_only_after_its_own_entry() {
        let within = Duration::from_secs(5);
        let mut renewal = Renewal::new();
        assert!(renewal.may_start());
        renewal = Renewal::Recording { number: 7, payload: vec![1], until: Instant::now() };
        assert!(!renewal.may_start());
        assert_eq!(renewal.recorded(6, within), None);
        assert_eq!(renewal.recorded(7, within), Some(vec![1]));
        assert_eq!(renewal.recorded(7, within), None);
        renewal.rest(within);
        assert!(!renewal.may_start());
    }
}

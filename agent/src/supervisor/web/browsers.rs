//! Who is logged in to the pages. Nothing of it is stored: a restart of the daemon logs everybody out.

use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};

use crate::settings::Secret;

/// A browser that was not seen for so long is logged out,
const RESTS: Duration = Duration::from_secs(12 * 3600);
/// and every one after so long.
const LASTS: Duration = Duration::from_secs(7 * 86_400);
/// The most of either; the oldest makes room.
const MOST: usize = 32;

/// What is compared: the hash tells nothing of the secret, whoever reads it, and comparing it takes no telling time.
type Hash = [u8; 32];

/// Links that were printed, and browsers that came by one.
#[derive(Default)]
pub(super) struct Browsers {
    invitations: Vec<(Hash, Instant)>,
    sessions: Vec<Session>,
}

struct Session {
    hash: Hash,
    began: Instant,
    seen: Instant,
}

impl Browsers {
    /// A key that lets one browser in, once, until that moment.
    pub(super) fn invite(&mut self, until: Instant) -> Secret {
        let key = secret();
        make_room(&mut self.invitations);
        self.invitations.push((hash(&key), until));
        key
    }

    /// Lets a browser in by its key, which lets in nobody after that.
    pub(super) fn enter(&mut self, key: &Secret, now: Instant) -> Option<Secret> {
        self.invitations.retain(|(_, until)| *until > now);
        let known = hash(key);
        let place = self.invitations.iter().position(|(hash, _)| *hash == known)?;
        self.invitations.remove(place);
        Some(self.admit(now))
    }

    /// Lets a browser in: its secret is always a fresh one.
    pub(super) fn admit(&mut self, now: Instant) -> Secret {
        let session = secret();
        make_room(&mut self.sessions);
        self.sessions.push(Session { hash: hash(&session), began: now, seen: now });
        session
    }

    /// Whether that browser is logged in. It counts as seen.
    pub(super) fn knows(&mut self, session: &Secret, now: Instant) -> bool {
        self.sessions.retain(|session| now < session.began + LASTS && now < session.seen + RESTS);
        let known = hash(session);
        let found = self.sessions.iter_mut().find(|session| session.hash == known);
        found.map(|session| session.seen = now).is_some()
    }

    /// Logs a browser out.
    pub(super) fn leave(&mut self, session: &Secret) {
        let known = hash(session);
        self.sessions.retain(|session| session.hash != known);
    }

    /// How many are logged in, or were when somebody looked last.
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }
}

fn make_room<T>(all: &mut Vec<T>) {
    if all.len() >= MOST {
        all.remove(0);
    }
}

fn hash(secret: &Secret) -> Hash {
    Sha256::digest(secret.expose().as_bytes()).into()
}

/// 256 random bits.
fn secret() -> Secret {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).expect("the system always has random numbers");
    Secret::new(BASE64URL_NOPAD.encode(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_lets_in_once_and_not_for_ever() {
        let mut browsers = Browsers::default();
        let now = Instant::now();
        let key = browsers.invite(now + Duration::from_secs(300));
        assert!(browsers.enter(&Secret::new("guessed"), now).is_none());
        let session = browsers.enter(&key, now).unwrap();
        assert_ne!(session, key);
        assert!(browsers.enter(&key, now).is_none());
        assert!(browsers.knows(&session, now) && !browsers.knows(&key, now));
        let late = browsers.invite(now + Duration::from_secs(300));
        assert!(browsers.enter(&late, now + Duration::from_secs(301)).is_none());
        browsers.leave(&session);
        assert!(!browsers.knows(&session, now));
    }

    #[test]
    fn who_is_not_seen_is_logged_out_and_everybody_at_last() {
        let mut browsers = Browsers::default();
        let now = Instant::now();
        let session = browsers.admit(now);
        assert!(browsers.knows(&session, now + RESTS - Duration::from_secs(1)));
        assert!(!browsers.knows(&session, now + RESTS * 2));
        let session = browsers.admit(now);
        let mut moment = now;
        while moment < now + LASTS {
            assert!(browsers.knows(&session, moment));
            moment += RESTS / 2;
        }
        assert!(!browsers.knows(&session, moment));
    }

    #[test]
    fn there_is_room_for_some_only() {
        let mut browsers = Browsers::default();
        let now = Instant::now();
        let first = browsers.admit(now);
        for _ in 0..MOST {
            browsers.admit(now);
        }
        assert_eq!(browsers.len(), MOST);
        assert!(!browsers.knows(&first, now));
    }
}

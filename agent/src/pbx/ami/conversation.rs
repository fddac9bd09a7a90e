//! One connection to the manager interface: what comes in decides what goes out. Neither socket nor clock is here.

use std::time::{Duration, Instant};

use super::{
    Facts, Message, Splitter, Trouble,
    cdr::CdrReader,
    facts::{Registration, RegistrationName, RegistrationState},
    request::{challenge, hear_sound, login, request},
};
use crate::{
    call::{CallKey, Sample, key::text_hash},
    pbx::{record::Entry, zone::Zone},
    settings::Secret,
};

/// How long it may take to be let in.
const ENTRY: Duration = Duration::from_secs(10);
/// How often the state of the PBX is asked for. The answer shows that the other side lives.
const STATUS_EVERY: Duration = Duration::from_secs(5);
/// How long the answer may take. A PBX under load takes its time.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often the registrations are asked for.
const REGISTRATIONS_EVERY: Duration = Duration::from_secs(60);
/// So many calls without any record are no accident.
const CALLS_WITHOUT_RECORD: u64 = 20;
/// The first line of a manager interface is much shorter.
const MAX_BANNER: usize = 128;
/// More registrations than these are not shown.
const MAX_REGISTRATIONS: usize = 200;
/// More letters than these are not shown.
const MAX_SHOWN: usize = 80;

/// Who logs in, and under which name its requests go.
#[derive(Clone, Debug)]
pub struct Login {
    /// The user.
    pub user: String,
    /// Its secret.
    pub secret: Secret,
    /// A random number that marks the answers. Without knowing it, nobody can forge one out of a call's own texts.
    pub nonce: u64,
}

/// A connection from its first byte on.
#[derive(Debug)]
pub struct Conversation {
    login: Login,
    stage: Stage,
    deadline: Instant,
    banner: Vec<u8>,
    splitter: Splitter,
    reader: CdrReader,
    facts: Facts,
    /// When to ask next; nothing while an answer is waited for.
    status_at: Option<Instant>,
    registrations_at: Instant,
    registrations: Vec<Registration>,
    denied: bool,
    records: u64,
    /// How many calls Asterisk had processed when we came.
    processed_before: Option<u64>,
    processed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Banner,
    Challenge,
    Login,
    Up,
}

/// What comes of bytes that were heard.
#[derive(Debug, Default)]
pub struct Heard {
    /// What to say.
    pub say: Vec<u8>,
    /// Call records.
    pub rows: Vec<Entry>,
    /// How calls sound.
    pub samples: Vec<Sample>,
}

/// The questions, by which their answers are known.
const CHALLENGE: &str = "challenge";
const LOGIN: &str = "login";
const SETTINGS: &str = "settings";
const STATUS: &str = "status";
const REGISTRATIONS: &str = "registrations";
const EVENTS: &str = "events";

impl Conversation {
    /// A connection that was made just now, to a PBX whose wall clock is in that zone.
    pub fn new(login: Login, zone: Zone, now: Instant) -> Self {
        Self {
            login,
            stage: Stage::Banner,
            deadline: now + ENTRY,
            banner: Vec::new(),
            splitter: Splitter::default(),
            reader: CdrReader::new(zone),
            facts: Facts::default(),
            status_at: None,
            registrations_at: now,
            registrations: Vec::new(),
            denied: false,
            records: 0,
            processed_before: None,
            processed: 0,
        }
    }

    /// Takes in bytes.
    ///
    /// # Errors
    /// When the connection is no good.
    pub fn take(&mut self, bytes: &[u8], now: Instant) -> Result<Heard, Trouble> {
        let mut heard = Heard::default();
        let bytes = if self.stage == Stage::Banner {
            let Some(rest) = self.greet(bytes, &mut heard)? else { return Ok(heard) };
            self.deadline = now + ENTRY;
            rest
        } else {
            bytes.to_vec()
        };
        let mut messages = Vec::new();
        self.splitter.push(&bytes, &mut |message| messages.push(message));
        self.facts.dropped = self.splitter.dropped();
        for message in messages {
            self.hear(&message, now, &mut heard)?;
        }
        Ok(heard)
    }

    /// What is to be said now, though nothing was heard.
    ///
    /// # Errors
    /// When something was waited for and did not come.
    pub fn due(&mut self, now: Instant) -> Result<Vec<u8>, Trouble> {
        let mut say = Vec::new();
        if self.stage != Stage::Up || self.status_at.is_none() {
            let within = if self.stage == Stage::Up { PATIENCE } else { ENTRY };
            return if self.deadline <= now { Err(Trouble::Silent(within.as_secs())) } else { Ok(say) };
        }
        if self.status_at.is_some_and(|at| at <= now) {
            self.status_at = None;
            self.deadline = now + PATIENCE;
            say.extend(request("CoreStatus", &self.id(STATUS), &[]));
        }
        if self.registrations_at <= now {
            self.registrations_at = now + REGISTRATIONS_EVERY;
            self.registrations.clear();
            say.extend(request("PJSIPShowRegistrationsOutbound", &self.id(REGISTRATIONS), &[]));
        }
        Ok(say)
    }

    /// When [`Conversation::due`] has something to do.
    pub fn next_due(&self) -> Instant {
        match self.status_at {
            Some(at) if self.stage == Stage::Up => at.min(self.registrations_at),
            _ => self.deadline,
        }
    }

    /// How the PBX is.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Whether Asterisk let us in.
    pub fn is_up(&self) -> bool {
        self.stage == Stage::Up
    }

    /// What is wrong although the connection is up, in words.
    pub fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        let user = || self.login.user.clone();
        if self.denied {
            troubles.push(Trouble::NoReporting { user: user() }.to_string());
        }
        let calls = self.processed.saturating_sub(self.processed_before.unwrap_or(self.processed));
        if self.records == 0 && calls >= CALLS_WITHOUT_RECORD + self.facts.active_calls.unwrap_or(0) {
            troubles.push(Trouble::NoRecords { user: user() }.to_string());
        }
        troubles.extend(self.reader.trouble());
        troubles
    }

    /// Waits for the first line; what follows it, once it is there.
    fn greet(&mut self, bytes: &[u8], heard: &mut Heard) -> Result<Option<Vec<u8>>, Trouble> {
        self.banner.extend_from_slice(bytes);
        let first = self.banner.iter().position(|byte| *byte == b'\n');
        let line = &self.banner[..first.unwrap_or(self.banner.len())];
        let expected = b"Asterisk Call Manager/";
        let length = line.len().min(expected.len());
        if line[..length] != expected[..length] || line.len() > MAX_BANNER {
            return Err(Trouble::NotAManager);
        }
        let Some(first) = first else { return Ok(None) };
        if length < expected.len() {
            return Err(Trouble::NotAManager);
        }
        let rest = self.banner.split_off(first + 1);
        self.banner = Vec::new();
        self.stage = Stage::Challenge;
        heard.say.extend(challenge(&self.id(CHALLENGE)));
        Ok(Some(rest))
    }

    fn hear(&mut self, message: &Message, now: Instant, heard: &mut Heard) -> Result<(), Trouble> {
        if let Some(event) = message.get("Event") {
            match event {
                b"Cdr" if self.stage == Stage::Up => {
                    self.records += 1;
                    heard.rows.push(self.reader.read(message));
                }
                b"RTCPSent" | b"RTCPReceived" if self.stage == Stage::Up => heard.samples.extend(sample(message)),
                b"OutboundRegistrationDetail" if self.answers(message, REGISTRATIONS) => self.registration(message),
                b"OutboundRegistrationDetailComplete" if self.answers(message, REGISTRATIONS) => {
                    self.facts.registrations = std::mem::take(&mut self.registrations);
                }
                _ => {}
            }
            return Ok(());
        }
        let good = message.get("Response") == Some(b"Success");
        match self.stage {
            Stage::Challenge if self.answers(message, CHALLENGE) => {
                let given = message.text("Challenge").filter(|given| good && !given.is_empty());
                let given = given.ok_or(Trouble::NoChallenge)?;
                heard.say.extend(login(&self.id(LOGIN), &self.login.user, &self.login.secret, given));
                self.stage = Stage::Login;
                self.deadline = now + ENTRY;
            }
            Stage::Login if self.answers(message, LOGIN) => {
                if !good {
                    return Err(Trouble::LoginRefused { user: self.login.user.clone() });
                }
                self.stage = Stage::Up;
                self.facts.connected = true;
                self.status_at = Some(now);
                self.registrations_at = now;
                heard.say.extend(request("CoreSettings", &self.id(SETTINGS), &[]));
                heard.say.extend(self.due(now)?);
            }
            Stage::Up if self.answers(message, STATUS) => {
                self.status_at = Some(now + STATUS_EVERY);
                self.denied = !good;
                if good {
                    self.state(message);
                }
            }
            Stage::Up if self.answers(message, SETTINGS) && good => {
                self.facts.version = message.text("AsteriskVersion").map(shown);
                if self.facts.version.as_deref().is_some_and(tells_of_sound) {
                    heard.say.extend(hear_sound(&self.id(EVENTS)));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn state(&mut self, message: &Message) {
        let number = |key| message.text(key).and_then(|value| value.parse::<u64>().ok());
        self.facts.active_calls = number("CoreCurrentCalls");
        self.processed = number("CoreProcessedCalls").unwrap_or(0);
        self.processed_before.get_or_insert(self.processed);
        self.facts.up_since = self.moment(message, "CoreStartupDate", "CoreStartupTime");
        self.facts.reloaded = self.moment(message, "CoreReloadDate", "CoreReloadTime");
    }

    fn moment(&mut self, message: &Message, date: &str, time: &str) -> Option<i64> {
        let wall = [message.get(date)?, b" ", message.get(time)?].concat();
        self.reader.moment(&wall)
    }

    fn registration(&mut self, message: &Message) {
        if self.registrations.len() < MAX_REGISTRATIONS {
            let name = RegistrationName(shown(message.text("ObjectName").unwrap_or_default()));
            let state = RegistrationState::parse(message.get("Status").unwrap_or_default());
            self.registrations.push(Registration { name, state });
        }
    }

    fn answers(&self, message: &Message, question: &str) -> bool {
        message.get("ActionID") == Some(self.id(question).as_bytes())
    }

    fn id(&self, question: &str) -> String {
        format!("demarc-{:016x}-{question}", self.login.nonce)
    }
}

/// The first version of Asterisk whose events tell how a stream sounds.
const SOUND_SINCE: u32 = 22;

/// Whether this version of Asterisk tells how calls sound: `22.5.2~dfsg` does.
fn tells_of_sound(version: &str) -> bool {
    let digits = version.find(|letter: char| letter.is_ascii_digit()).map_or("", |at| &version[at..]);
    let major = digits.split(|letter: char| !letter.is_ascii_digit()).next().and_then(|major| major.parse().ok());
    major.is_some_and(|major: u32| major >= SOUND_SINCE)
}

/// What an event about a stream says of its sound. Zero is a score that is not worked out yet.
fn sample(message: &Message) -> Option<Sample> {
    let score: f32 = message.text("MES")?.trim().parse().ok()?;
    let call = message.get("Linkedid").filter(|id| !id.is_empty())?;
    let stream = [message.get("Event")?, message.get("Uniqueid")?].concat();
    let is_told = score > 0.0 && score <= 100.0;
    is_told.then(|| Sample { call: CallKey::of_linkedid(call), stream: text_hash(&stream), score })
}

/// A text of the PBX that can be shown.
fn shown(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(MAX_SHOWN).collect()
}

#[cfg(test)]
mod tests;

//! What the doctor looks at in a manager interface: whether it lets us in, and what it lets us do.

use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use super::{Check, State};
use crate::{
    pbx::ami::{
        Message, Splitter, Trouble,
        request::{challenge, login, request},
        rights,
    },
    settings::{Secret, loopback},
};

/// How long everything may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Logs in as the source does, and asks what may be asked for.
pub(super) fn check(name: &str, address: &str, user: &str, secret: &Secret) -> Vec<Check> {
    let check = |state, detail: String| Check { what: "source", state, detail };
    let commands = Manager::connect(address).and_then(|mut manager| {
        manager.log_in(user, secret)?;
        manager.ask("commands", &request("ListCommands", "commands", &[]))
    });
    let rights = match commands {
        Ok(commands) => rights::of(&commands),
        Err(trouble) => return vec![check(State::Bad, format!("{name}: {trouble}."))],
    };
    let mut checks = Vec::new();
    if !rights.reporting {
        let trouble = Trouble::NoReporting { user: user.to_owned() };
        checks.push(check(State::Warning, format!("{name}: {trouble}.")));
    }
    if !rights.excess.is_empty() {
        let excess: Vec<&str> = rights.excess.iter().map(String::as_str).collect();
        checks.push(check(
            State::Warning,
            format!(
                "{name}: \"{user}\" may do more than demarc needs. Take {} out of its write= in manager.conf: write = \
                 reporting suffices, and whoever learns the secret could use the rest.",
                excess.join(", ")
            ),
        ));
    }
    if checks.is_empty() {
        checks.push(check(State::Good, format!("{name}: \"{user}\" gets in, and may do no more than it needs.")));
    }
    checks
}

struct Manager {
    stream: TcpStream,
    splitter: Splitter,
    heard: VecDeque<Message>,
    until: Instant,
}

impl Manager {
    fn connect(address: &str) -> Result<Self, Trouble> {
        let refused = |why: String| Trouble::NotConnected(why);
        let addresses =
            loopback::addresses(address).ok_or_else(|| refused(format!("{address} is not on this machine")))?;
        let stream = TcpStream::connect(&addresses[..])
            .map_err(|error| refused(format!("{address} cannot be reached: {error}")))?;
        let until = Instant::now() + PATIENCE;
        let mut manager = Self { stream, splitter: Splitter::default(), heard: VecDeque::new(), until };
        manager.greet()?;
        Ok(manager)
    }

    fn greet(&mut self) -> Result<(), Trouble> {
        let mut first = [0; 22];
        self.stream.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
        self.stream.read_exact(&mut first).map_err(|_| Trouble::NotAManager)?;
        if &first != b"Asterisk Call Manager/" {
            return Err(Trouble::NotAManager);
        }
        // The rest of the first line has no key, and so no meaning.
        Ok(())
    }

    fn log_in(&mut self, user: &str, secret: &Secret) -> Result<(), Trouble> {
        let answer = self.ask("challenge", &challenge("challenge"))?;
        let given = answer.text("Challenge").ok_or(Trouble::NoChallenge)?.to_owned();
        let answer = self.ask("login", &login("login", user, secret, &given))?;
        let good = answer.get("Response") == Some(b"Success");
        if good { Ok(()) } else { Err(Trouble::LoginRefused { user: user.to_owned() }) }
    }

    fn ask(&mut self, id: &str, request: &[u8]) -> Result<Message, Trouble> {
        self.stream.write_all(request).map_err(broken)?;
        let mut buffer = [0; 4096];
        loop {
            while let Some(message) = self.heard.pop_front() {
                if message.get("Event").is_none() && message.get("ActionID") == Some(id.as_bytes()) {
                    return Ok(message);
                }
            }
            let left = self.until.saturating_duration_since(Instant::now());
            let silent = || Trouble::Silent(PATIENCE.as_secs());
            if left.is_zero() {
                return Err(silent());
            }
            self.stream.set_read_timeout(Some(left)).map_err(broken)?;
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(Trouble::Closed),
                Ok(read) => self.splitter.push(&buffer[..read], &mut |message| self.heard.push_back(message)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Err(silent()),
                Err(error) => return Err(broken(error)),
            }
        }
    }
}

fn broken(error: std::io::Error) -> Trouble {
    Trouble::Broken(error.to_string())
}

//! `demarc support watch` and `replay`: a session as the engineer saw it.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal, Write},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, bail};

use super::ask;
use crate::{
    control::{Answer, Request},
    state::StateDir,
    support::{
        SessionId,
        cast::{self, Event},
        plain::plain,
    },
};

/// How often a recording that grows is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How often the daemon is asked whether a session still runs.
const ASK_EVERY: u32 = 10;
/// What a terminal is told at the end: attributes, modes and screen as they were.
const RESTORE: &str = "\x1b[0m\x1b[?25h\x1b[?1049l\x1b[?1000l\x1b[?1006l\x1b[?2004l";

fn open(state: &StateDir, session: SessionId) -> anyhow::Result<BufReader<File>> {
    let path = cast::path(state, session);
    let file = File::open(&path).with_context(|| format!("cannot read the recording {}", path.display()))?;
    Ok(BufReader::new(file))
}

pub(super) fn replay(state: &StateDir, session: SessionId, speed: f64, idle: f64, text: bool) -> anyhow::Result<()> {
    let mut lines = open(state, session)?;
    super::super::end_quietly_with_the_reader();
    let mut screen = Screen::new(text);
    let (mut line, mut last) = (String::new(), 0.0);
    while read_line(&mut lines, &mut line)? {
        if let Ok(Event(at, code, data)) = serde_json::from_str(&line) {
            if !text && code != "h" {
                let pause = ((at - last) / speed).clamp(0.0, idle);
                sleep(Duration::from_secs_f64(pause));
                last = at;
            }
            screen.show(at, &code, &data)?;
        }
        line.clear();
    }
    screen.end()
}

pub(super) fn watch(state: &StateDir, session: Option<SessionId>) -> anyhow::Result<()> {
    let running = running(state)?;
    let session = match (session, running.as_slice()) {
        (Some(session), running) if running.contains(&session) => session,
        (Some(session), _) => bail!("session {session} does not run; `demarc support replay {session}` plays it"),
        (None, [only]) => *only,
        (None, []) => bail!("no session runs"),
        (None, several) => {
            let names: Vec<String> = several.iter().map(ToString::to_string).collect();
            bail!("several sessions run; say which: {}", names.join(", "))
        }
    };
    let mut lines = open(state, session)?;
    eprintln!("Watching session {session}. Ctrl-C ends the watching, `demarc support end` the session.");
    let mut screen = Screen::new(!io::stdout().is_terminal());
    let mut line = String::new();
    let (mut looks, mut over) = (0, false);
    loop {
        while read_line(&mut lines, &mut line)? {
            if let Ok(Event(at, code, data)) = serde_json::from_str(&line) {
                screen.show(at, &code, &data)?;
            }
            line.clear();
        }
        if over {
            return screen.end();
        }
        sleep(LOOK);
        looks += 1;
        if looks % ASK_EVERY == 0 {
            // What it wrote last is read once more.
            over = !self::running(state).is_ok_and(|running| running.contains(&session));
        }
    }
}

fn running(state: &StateDir) -> anyhow::Result<Vec<SessionId>> {
    let Answer::Support(status) = ask(state, Request::Support)? else {
        bail!("the running demarc gives another answer");
    };
    Ok(status.sessions.iter().map(|live| live.session).collect())
}

/// Appends to `line`; true once it is whole.
fn read_line(lines: &mut BufReader<File>, line: &mut String) -> io::Result<bool> {
    lines.read_line(line)?;
    Ok(line.ends_with('\n'))
}

/// Where events are shown.
struct Screen {
    text: bool,
    touched: bool,
}

impl Screen {
    fn new(text: bool) -> Self {
        Self { text, touched: false }
    }

    fn show(&mut self, at: f64, code: &str, data: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match code {
            "o" if self.text => write!(out, "{}", plain(data))?,
            "o" => {
                self.touched = true;
                out.write_all(data.as_bytes())?;
            }
            "m" if self.text => writeln!(out, "[{at:.1} s] {}", plain(data))?,
            // In a raw screen a mark would tear the picture: it goes into the title.
            "m" => write!(out, "\x1b]2;demarc: {}\x07", plain(data))?,
            _ => {}
        }
        out.flush()
    }

    fn end(self) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        if self.touched {
            write!(out, "{RESTORE}")?;
        }
        writeln!(out)?;
        Ok(())
    }
}

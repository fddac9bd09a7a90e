//! The log: one line an event on standard error, with the role's name in it and nobody's data. The journal of systemd is
//! told how much each matters, and notes the time itself.

use std::{fmt, io, os::unix::fs::MetadataExt};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

/// Names what is logged, such as `debug` or `info,demarc::link=trace`.
pub const VARIABLE: &str = "DEMARC_LOG";
/// Where systemd names the journal that it has given a process as standard error.
pub const JOURNAL: &str = "JOURNAL_STREAM";

/// Starts the log of this process. What is logged is chosen by [`VARIABLE`]; `info` where that is not set.
pub fn start(process: &'static str) {
    let chosen = std::env::var(VARIABLE).ok();
    let (filter, bad) = match chosen.as_deref().map(str::parse::<Targets>) {
        None => (Targets::new().with_default(LevelFilter::INFO), false),
        Some(Ok(filter)) => (filter, false),
        Some(Err(_)) => (Targets::new().with_default(LevelFilter::INFO), true),
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false)
        .event_format(Lines { process, to_journal: is_journal() });
    // A second start, in a test, changes nothing.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    if bad {
        tracing::warn!("{VARIABLE} is not understood; it is a level, such as \"debug\"");
    }
}

/// Whether standard error is the journal itself, and not a file or a pipe that somebody put in its place.
fn is_journal() -> bool {
    let named = std::env::var(JOURNAL).unwrap_or_default();
    let Some((device, inode)) = named.split_once(':') else { return false };
    let here = std::fs::metadata("/proc/self/fd/2");
    here.is_ok_and(|here| device.parse() == Ok(here.dev()) && inode.parse() == Ok(here.ino()))
}

/// `2026-11-22T09:00:00.123Z INFO link: connected to the hub`, or `<6>link: connected to the hub` for the journal.
struct Lines {
    process: &'static str,
    to_journal: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        if self.to_journal {
            write!(line, "<{}>{}: ", priority(level), self.process)?;
        } else {
            let now = jiff::Timestamp::now();
            write!(line, "{now:.3} {level} {}: ", self.process)?;
        }
        context.field_format().format_fields(line.by_ref(), event)?;
        writeln!(line)
    }
}

/// The number that syslog gives a level.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

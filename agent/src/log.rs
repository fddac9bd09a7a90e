//! The log: one line an event on standard error, with the role's name in it and nobody's data.

use std::{fmt, io};

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

/// Names what is logged, such as `debug` or `info,demarc::link=trace`.
pub const VARIABLE: &str = "DEMARC_LOG";

/// Starts the log of this process. What is logged is chosen by [`VARIABLE`]; `info` where that is not set.
pub fn start(process: &'static str) {
    let chosen = std::env::var(VARIABLE).ok();
    let (filter, bad) = match chosen.as_deref().map(str::parse::<Targets>) {
        None => (Targets::new().with_default(LevelFilter::INFO), false),
        Some(Ok(filter)) => (filter, false),
        Some(Err(_)) => (Targets::new().with_default(LevelFilter::INFO), true),
    };
    let lines =
        tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false).event_format(Lines { process });
    // A second start, in a test, changes nothing.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    if bad {
        tracing::warn!("{VARIABLE} is not understood; it is a level, such as \"debug\"");
    }
}

/// `2026-11-22T09:00:00.123Z INFO link: connected to the hub`
struct Lines {
    process: &'static str,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let now = jiff::Timestamp::now();
        write!(line, "{now:.3} {} {}: ", event.metadata().level(), self.process)?;
        context.field_format().format_fields(line.by_ref(), event)?;
        writeln!(line)
    }
}

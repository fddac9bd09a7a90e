//! FreeSWITCH's `mod_cdr_csv`: rows by the administrator's template, whose quotes are written around values that are not
//! escaped.
//!
//! A caller's name may hold quotes and commas, so that a comma does not tell where a column ends. Most columns have a form
//! that no comma fits in: they are found from both ends, and what is left between them is the text. Where more than one
//! reading fits, the row is refused.

use memchr::{memchr, memchr_iter};

use super::{Site, Variables};
use crate::pbx::{
    columns::{PASSED_OVER, read_rows},
    format::Format,
    leg::{MalformedReason, Row},
    reader::{Memory, Taken},
    scanner::MAX_RECORD,
    split::MAX_COLUMNS,
    wall::DateCache,
    zone::Zone,
};

/// A row may have so many commas inside its texts.
const MAX_EXTRA: usize = 64;

/// Variables that tell whether a leg was bridged.
const OF_BRIDGES: [&str; 6] =
    ["bridge_uuid", "bridge_channel", "bridge_stamp", "bridge_epoch", "bridge_uepoch", "last_app"];

/// The columns of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    columns: Vec<(Box<str>, Form)>,
}

/// What a column can look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Anything.
    Text,
    /// Without commas and quotes.
    Word,
    /// Such as `sofia/internal/1001@pbx.example.com`, or nothing.
    Channel,
    /// `inbound`, `outbound`, or nothing.
    Direction,
    /// `2026-11-22 00:57:20`, or nothing.
    Stamp,
    /// A whole number, or nothing.
    Number,
    /// Such as `NORMAL_CLEARING`.
    Cause,
    /// `550e8400-e29b-41d4-a716-446655440000`, or nothing.
    Id,
}

impl Template {
    /// The template that the settings name.
    ///
    /// # Errors
    /// In words, when a column is no variable, stands twice, or is missing.
    pub fn new<T: AsRef<str>>(columns: &[T]) -> Result<Self, String> {
        if columns.is_empty() || columns.len() > MAX_COLUMNS {
            return Err(format!("allowed are 1 to {MAX_COLUMNS} columns"));
        }
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        };
        for (place, column) in columns.iter().enumerate() {
            let column = column.as_ref();
            if column == PASSED_OVER {
                continue;
            }
            if !is_name(column) {
                return Err(format!(
                    "\"{column}\" is no variable's name: write it without ${{}}, or \"{PASSED_OVER}\" to pass over it"
                ));
            }
            if columns[..place].iter().any(|before| before.as_ref() == column) {
                return Err(format!("the column \"{column}\" stands there twice"));
            }
        }
        let has = |names: &[&str]| columns.iter().any(|column| names.contains(&column.as_ref()));
        for (names, shown) in [
            (&["start_stamp", "start_epoch", "start_uepoch"][..], "\"start_stamp\" or \"start_epoch\""),
            (&["answer_stamp", "answer_epoch", "answer_uepoch"], "\"answer_stamp\" or \"answer_epoch\""),
            (&["end_stamp", "end_epoch", "end_uepoch", "duration"], "\"end_stamp\", \"end_epoch\" or \"duration\""),
            (&["hangup_cause"], "\"hangup_cause\""),
            (
                &["channel_name", "sofia_profile_name", "caller_id_number", "context"],
                "\"channel_name\" (or, for less, \"caller_id_number\" and \"context\")",
            ),
        ] {
            if !has(names) {
                return Err(format!("a column is missing: {shown}"));
            }
        }
        let columns = columns.iter().map(|column| (column.as_ref().into(), form(column.as_ref()))).collect();
        Ok(Self { columns })
    }

    /// Whether a row of it tells if the leg was bridged.
    pub fn tells_of_bridges(&self) -> bool {
        self.columns.iter().any(|(name, _)| OF_BRIDGES.contains(&&**name))
    }

    /// Sets the variables of a row.
    fn read<'a>(&self, line: &'a [u8]) -> Result<Variables<'a>, MalformedReason> {
        let line = statement(line);
        // Where pieces begin and end; a column is one piece, or several with their commas.
        let ends: Vec<usize> = memchr_iter(b',', line).chain([line.len()]).collect();
        let extra = ends.len().checked_sub(self.columns.len()).ok_or(MalformedReason::Columns)?;
        if extra > MAX_EXTRA {
            return Err(MalformedReason::Columns);
        }
        let start_of = |piece: usize| if piece == 0 { 0 } else { ends[piece - 1] + 1 };
        // How many readings there are (none, one, more) in which so many columns take up so many pieces, of which `c + k` with
        // k <= extra are possible after c columns; and how many pieces the last column takes in the reading found.
        let mut readings = vec![0_u8; extra + 1];
        readings[0] = 1;
        let mut widths: Vec<Vec<u8>> = Vec::with_capacity(self.columns.len());
        for (column, (_, form)) in self.columns.iter().enumerate() {
            let mut next = vec![0_u8; extra + 1];
            let mut width = vec![0_u8; extra + 1];
            for before in (0..=extra).filter(|&before| readings[before] > 0) {
                let most = if *form == Form::Text { extra - before } else { 0 };
                for more in 0..=most {
                    let (first, last) = (column + before, column + before + more);
                    if form.fits(&line[start_of(first)..ends[last]]) {
                        let place = &mut next[before + more];
                        *place = place.saturating_add(readings[before]).min(2);
                        width[before + more] = more as u8;
                    }
                }
            }
            readings = next;
            widths.push(width);
        }
        match readings[extra] {
            0 => return Err(MalformedReason::Quoting),
            1 => {}
            _ => return Err(MalformedReason::Ambiguous),
        }
        let mut variables = Variables::default();
        let mut used = extra;
        for (column, (name, _)) in self.columns.iter().enumerate().rev() {
            let more = usize::from(widths[column][used]);
            let piece = &line[start_of(column + used - more)..ends[column + used]];
            variables.set(name, bare(piece));
            used -= more;
        }
        Ok(variables)
    }
}

impl Form {
    /// Whether such a column can stand there. A value stands between two quotes or between none.
    fn fits(self, piece: &[u8]) -> bool {
        let piece = piece.trim_ascii();
        let (first, last) = (piece.first() == Some(&b'"'), piece.last() == Some(&b'"'));
        if first != last || piece == b"\"" {
            return false;
        }
        let value = bare(piece);
        match self {
            Self::Text => true,
            Self::Word => !value.contains(&b'"'),
            Self::Channel => value.is_empty() || (value.contains(&b'/') && !value.contains(&b'"')),
            Self::Direction => matches!(value, b"" | b"inbound" | b"outbound"),
            Self::Stamp => value.is_empty() || is_like(value, b"0000-00-00 00:00:00"),
            Self::Number => value.strip_prefix(b"-").unwrap_or(value).iter().all(u8::is_ascii_digit),
            Self::Cause => value.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_'),
            Self::Id => value.is_empty() || is_like(value, b"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"),
        }
    }
}

/// Whether a value has the form of a pattern, in which `0` stands for a digit and `x` for a hexadecimal one.
fn is_like(value: &[u8], pattern: &[u8]) -> bool {
    value.len() == pattern.len()
        && value.iter().zip(pattern).all(|(byte, pattern)| match pattern {
            b'0' => byte.is_ascii_digit(),
            b'x' => byte.is_ascii_hexdigit(),
            other => byte == other,
        })
}

/// The value between a piece's quotes.
fn bare(piece: &[u8]) -> &[u8] {
    match piece.trim_ascii() {
        [b'"', inner @ .., b'"'] => inner,
        value => value,
    }
}

/// What a template that writes statements of SQL puts into the parentheses; any other line as it is.
fn statement(line: &[u8]) -> &[u8] {
    let line = line.trim_ascii();
    let inner = line.strip_prefix(b"INSERT INTO ").and_then(|rest| Some(&rest[memchr(b'(', rest)? + 1..]));
    match inner {
        Some(inner) => inner.strip_suffix(b";").unwrap_or(inner).trim_ascii_end().strip_suffix(b")").unwrap_or(inner),
        None => line,
    }
}

fn form(name: &str) -> Form {
    let ends = |end: &str| name.ends_with(end);
    match name {
        "caller_id" | "caller_id_name" | "last_arg" | "userfield" | PASSED_OVER => Form::Text,
        "hangup_cause" | "bridge_hangup_cause" => Form::Cause,
        "originator" => Form::Id,
        "duration" | "billsec" => Form::Number,
        "direction" => Form::Direction,
        "channel_name" | "bridge_channel" => Form::Channel,
        _ if ends("_stamp") => Form::Stamp,
        _ if ends("epoch") => Form::Number,
        _ if name == "uuid" || ends("_uuid") || name == "last_bridge_to" => Form::Id,
        "caller_id_number" | "destination_number" | "context" | "accountcode" | "read_codec" | "write_codec"
        | "amaflags" | "last_app" | "sofia_profile_name" | "sip_gateway_name" | "sip_gateway"
        | "sofia_gateway_name" => Form::Word,
        _ => Form::Text,
    }
}

/// Reads rows by a template.
pub struct TemplateReader {
    template: Template,
    site: Site,
    zone: Zone,
    dates: DateCache,
    last_end: Option<i64>,
}

impl TemplateReader {
    /// Reads rows of that template, and times in that zone.
    pub fn new(template: Template, outside: &[String], zone: Zone) -> Self {
        let site = Site { outside: outside.to_vec(), tells_of_bridges: template.tells_of_bridges() };
        Self { template, site, zone, dates: DateCache::default(), last_end: None }
    }

    fn row(&mut self, rest: &[u8], whole: bool, sink: &mut dyn FnMut(Row<'_>)) -> usize {
        let window = &rest[..rest.len().min(MAX_RECORD)];
        let (line, consumed) = match memchr(b'\n', window) {
            Some(at) => (&window[..at], at + 1),
            None if window.len() == MAX_RECORD => {
                sink(Row::Malformed { bytes: window, why: MalformedReason::TooLong });
                return window.len();
            }
            None if whole => (window, window.len()),
            None => return 0,
        };
        let read = self
            .template
            .read(line)
            .and_then(|variables| variables.record(&self.site, &mut self.zone, &mut self.dates, self.last_end));
        match read {
            Ok(record) => {
                self.last_end = Some(record.end);
                sink(Row::Leg(record.leg()));
            }
            Err(why) => sink(Row::Malformed { bytes: line.trim_ascii_end(), why }),
        }
        consumed
    }
}

impl Format for TemplateReader {
    fn read(&mut self, buffer: &[u8], whole: bool, limit: u64, sink: &mut dyn FnMut(Row<'_>)) -> Taken {
        read_rows(buffer, limit, |rest| self.row(rest, whole, sink))
    }

    fn memory(&self) -> Memory {
        Memory { last_end: self.last_end, twice: None }
    }

    fn remember(&mut self, memory: Memory) {
        self.last_end = memory.last_end;
    }

    fn trouble(&self) -> Option<String> {
        None
    }

    fn written_when(&self) -> &'static str {
        "FreeSWITCH makes it with the first call when mod_cdr_csv is loaded"
    }
}

#[cfg(test)]
mod tests;

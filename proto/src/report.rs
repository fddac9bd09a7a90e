//! The report: schema 1, made of integers and closed enums only.

use serde::{Deserialize, Serialize};

use crate::{Cell, ReportFault, ReportId, Window};

/// The body is padded with spaces to a multiple of this many bytes, so that its length says little.
pub const PADDING: usize = 4096;
/// No body may be longer.
pub const MAX_BODY: usize = 192 * 1024;

/// What leaves: aggregated figures of one window. Every table splits the same calls, and every group of it
/// counts at least `floor` of them; no total stands beside its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Always [`crate::SCHEMA`].
    pub schema: u32,
    /// The report's own name; the hub keeps one report per name.
    pub id: ReportId,
    /// The window it is about.
    pub window: Window,
    /// How groups were made safe.
    pub mechanism: Mechanism,
    /// The least number of calls in any group: k.
    pub floor: u32,
    /// Calls by hour band, direction and outcome.
    pub volume: Vec<VolumeGroup>,
    /// Calls by talk time; a call that nobody answered has talk time 0.
    pub talk: Vec<SecondsGroup>,
    /// Calls by waiting time.
    pub wait: Vec<SecondsGroup>,
    /// Calls by class of destination.
    pub destination: Vec<DestinationGroup>,
    /// Calls by quality of sound; empty where the PBX does not measure it.
    pub quality: Vec<QualityGroup>,
    /// The most calls that were up at the same time.
    pub peak_concurrency: u32,
}

/// How groups were made safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mechanism {
    /// Groups below the floor are merged.
    KAnonymous,
}

/// Calls that ended in a band of hours with one of some directions and outcomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeGroup {
    /// First hour of the band, counted from the window's start.
    pub from_hour: u16,
    /// How many hours the band has.
    pub hours: u16,
    /// The directions and outcomes that are counted together.
    pub cells: Vec<Cell>,
    /// How many calls.
    pub calls: u32,
}

/// Calls that lasted, or waited, from `from_seconds` to before `to_seconds` (open where absent).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecondsGroup {
    /// Lower bound, inclusive.
    pub from_seconds: u32,
    /// Upper bound, exclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_seconds: Option<u32>,
    /// How many calls.
    pub calls: u32,
}

/// Where a call went. Never a country, and no class of its own for short numbers: these are mostly emergency
/// calls and helplines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// Inbound and internal calls.
    NotOutbound,
    /// Out, within the country (short numbers too).
    National,
    /// Out, abroad.
    International,
}

impl Destination {
    /// Every class, in order.
    pub const ALL: [Self; 3] = [Self::NotOutbound, Self::National, Self::International];
}

/// Calls to some classes of destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DestinationGroup {
    /// The classes that are counted together.
    pub classes: Vec<Destination>,
    /// How many calls.
    pub calls: u32,
}

/// Bands of the mean opinion score of ITU-T G.107: at least 4.34, 4.03, 3.60, 3.10, below; or not measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// Not measured.
    Unknown,
    /// Below 3.10.
    Poor,
    /// From 3.10.
    Low,
    /// From 3.60.
    Medium,
    /// From 4.03.
    High,
    /// From 4.34.
    Best,
}

impl Quality {
    /// Every band, in order.
    pub const ALL: [Self; 6] = [Self::Unknown, Self::Poor, Self::Low, Self::Medium, Self::High, Self::Best];
}

/// Calls with some qualities of sound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QualityGroup {
    /// The bands that are counted together.
    pub bands: Vec<Quality>,
    /// How many calls.
    pub calls: u32,
}

/// Lower bounds of the talk-time buckets, in seconds. The first holds unanswered calls too.
pub const TALK_BOUNDS: [u32; 8] = [0, 10, 30, 60, 120, 300, 900, 3600];
/// Lower bounds of the waiting-time buckets, in seconds.
pub const WAIT_BOUNDS: [u32; 7] = [0, 5, 10, 20, 30, 60, 120];

impl Report {
    /// The exact bytes that travel: compact JSON, then spaces up to a multiple of [`PADDING`].
    pub fn to_body(&self) -> String {
        let mut body = serde_json::to_string(self).expect("integers and enums always have a JSON form");
        let padded = body.len().next_multiple_of(PADDING);
        body.extend(std::iter::repeat_n(' ', padded - body.len()));
        body
    }

    /// Reads a body back. Only the one way that [`Report::to_body`] writes a report is accepted, so that spaces,
    /// number formats or repeated keys cannot carry anything beside the report.
    ///
    /// # Errors
    /// When the body is no report, or not written in that way. Its figures are not yet checked: see [`Report::check`].
    pub fn from_body(body: &str) -> Result<Self, ReportFault> {
        if body.len() > MAX_BODY {
            return Err(ReportFault::TooLong);
        }
        let report: Self = serde_json::from_str(body).map_err(|error| {
            // The message names the place, not the value: what a peer wrote stays out of logs.
            ReportFault::NotAReport { column: error.column() }
        })?;
        if report.to_body() != body {
            return Err(ReportFault::NotCanonical);
        }
        Ok(report)
    }

    /// How many calls the report counts.
    pub fn calls(&self) -> u64 {
        self.talk.iter().map(|group| u64::from(group.calls)).sum()
    }
}

//! An independent reading of call records: the `csv` crate, plain maps, and the definitions of the design, written
//! for clearness and knowing nothing of the agent's own code.

use std::collections::{BTreeMap, BTreeSet};

use demarc_proto::{Report, report::SecondsGroup};
use jiff::Timestamp;

/// One leg, as a row tells it.
#[derive(Clone, Debug)]
struct Leg {
    uniqueid: Option<String>,
    channel: String,
    dstchannel: String,
    lastapp: String,
    start: i64,
    answer: Option<i64>,
    end: i64,
    disposition: String,
}

/// The figures of one group of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// How many calls.
    pub calls: u64,
    /// How long somebody talked in them.
    pub talk_seconds: i64,
    /// How long callers waited in them.
    pub wait_seconds: i64,
}

/// A table: from the words of a row to its figures.
pub type Table = BTreeMap<Vec<(String, String)>, Figures>;

/// Everything read so far.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    trunks: BTreeSet<String>,
    calls: BTreeMap<String, Vec<Leg>>,
    seen: BTreeSet<(String, u64)>,
    nameless: u64,
    /// Rows understood and counted.
    pub legs: u64,
    /// Rows that are no call record.
    pub malformed: u64,
    /// Rows that were there before, by uniqueid and sequence, and second copies of the account code `Master`.
    pub duplicates: u64,
}

impl Oracle {
    /// A reader for a PBX with these trunks.
    pub fn new(trunks: &[&str]) -> Self {
        Self { trunks: trunks.iter().map(|&name| name.to_owned()).collect(), ..Self::default() }
    }

    /// Reads a file's bytes; the times in it are UTC.
    pub fn read(&mut self, bytes: &[u8]) -> &mut Self {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
        let mut previous = None;
        for record in reader.byte_records() {
            let record = record.unwrap();
            // Master.csv is the file of all rows and that of the account code `Master` too: such rows stand in it twice.
            if &record[0] == b"Master" && previous.as_ref() == Some(&record) {
                previous = None;
                self.duplicates += 1;
                continue;
            }
            previous = Some(record.clone());
            let row: Vec<String> = record.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect();
            self.row(&row);
        }
        self
    }

    fn row(&mut self, row: &[String]) {
        let Some((leg, linkedid, sequence)) = understand(row) else {
            self.malformed += 1;
            return;
        };
        if let (Some(uniqueid), Some(sequence)) = (&leg.uniqueid, sequence)
            && !self.seen.insert((uniqueid.clone(), sequence))
        {
            self.duplicates += 1;
            return;
        }
        let name = linkedid.or_else(|| leg.uniqueid.clone()).unwrap_or_else(|| {
            self.nameless += 1;
            format!("row {}", self.nameless)
        });
        self.legs += 1;
        self.calls.entry(name).or_default().push(leg);
    }

    /// How many calls there are.
    pub fn calls(&self) -> u64 {
        self.calls.len() as u64
    }

    /// The table that `report --by` should print for these words: `hour day direction outcome`.
    pub fn table(&self, by: &str) -> Table {
        let mut table = Table::new();
        for (name, legs) in &self.calls {
            let call = self.judge(name, legs);
            let words = by.split(',').map(|word| {
                let value = match word {
                    "hour" => utc(call.end - call.end.rem_euclid(3600), "%Y-%m-%dT%H:%M:%SZ"),
                    "day" => utc(call.end, "%Y-%m-%d"),
                    "direction" => call.direction.to_owned(),
                    "outcome" => call.outcome.to_owned(),
                    other => panic!("the oracle does not know {other}"),
                };
                (word.to_owned(), value)
            });
            let figures = table.entry(words.collect()).or_default();
            figures.calls += 1;
            figures.talk_seconds += call.talk;
            figures.wait_seconds += call.wait;
        }
        table
    }

    /// Every call on its own.
    pub fn each(&self) -> Vec<Call> {
        self.calls.iter().map(|(name, legs)| self.judge(name, legs)).collect()
    }

    /// Calls from outside by groups of waiting times, as `report --waits --json` should print them.
    pub fn waits(&self) -> serde_json::Value {
        const BOUNDS: [i64; 7] = [0, 5, 10, 20, 30, 60, 120];
        let calls: Vec<Call> = self.each().into_iter().filter(|call| call.direction == "inbound").collect();
        let groups = BOUNDS.iter().enumerate().map(|(place, from)| {
            let to = BOUNDS.get(place + 1);
            let of = |answered: bool| {
                let inside = |wait: i64| wait >= *from && to.is_none_or(|to| wait < *to);
                calls.iter().filter(|call| inside(call.wait) && (call.outcome == "answered") == answered).count()
            };
            serde_json::json!({"from_seconds": from, "to_seconds": to, "answered": of(true), "unanswered": of(false)})
        });
        groups.collect()
    }

    /// Insists that a report counts exactly the calls read so far, in every table.
    pub fn assert_reported(&self, report: &Report) {
        let calls = self.each();
        let counted = |what: &str, claimed: u32, holds: &dyn Fn(&Call) -> bool| {
            let count = calls.iter().filter(|call| holds(call)).count();
            assert_eq!(claimed as usize, count, "{what} in {report:?}");
        };
        assert_eq!(report.calls(), calls.len() as u64, "{report:?}");
        for group in &report.volume {
            let has = |call: &Call| {
                let mut cells = group.cells.iter();
                cells.any(|cell| cell.direction.as_str() == call.direction && cell.outcome.as_str() == call.outcome)
            };
            counted("volume", group.calls, &has);
        }
        let inside = |group: &SecondsGroup, seconds: i64| {
            seconds >= i64::from(group.from_seconds) && group.to_seconds.is_none_or(|to| seconds < i64::from(to))
        };
        for group in &report.talk {
            counted("talk", group.calls, &|call| inside(group, call.talk));
        }
        for group in &report.wait {
            counted("wait", group.calls, &|call| inside(group, call.wait));
        }
        let sums = report.destination.iter().map(|group| u64::from(group.calls)).sum::<u64>();
        assert_eq!(sums, report.calls(), "destination in {report:?}");
    }

    fn judge(&self, name: &str, legs: &[Leg]) -> Call {
        let start = legs.iter().map(|leg| leg.start).min().unwrap();
        let end = legs.iter().map(|leg| leg.end).max().unwrap();
        let answered: Vec<&Leg> = legs.iter().filter(|leg| leg.disposition == "ANSWERED").collect();
        let by_person = |leg: &&&Leg| !leg.dstchannel.is_empty() && !leg.dstchannel.starts_with("Local/");
        let first_person = answered.iter().filter(by_person).map(|leg| leg.answer.unwrap_or(leg.end)).min();

        let outcome = if first_person.is_some() {
            "answered"
        } else if answered.iter().any(|leg| leg.lastapp == "VoiceMail") {
            "voicemail"
        } else if legs.iter().any(|leg| leg.lastapp == "Queue") {
            "abandoned"
        } else if !answered.is_empty() {
            "system"
        } else if legs.iter().any(|leg| leg.disposition == "NO ANSWER" || leg.disposition == "CANCEL") {
            "no_answer"
        } else if legs.iter().any(|leg| leg.disposition == "BUSY") {
            "busy"
        } else {
            "failed"
        };

        // The leg that began the call carries the call's own id; where none does, the earliest stands for it.
        let own = legs.iter().find(|leg| leg.uniqueid.as_deref() == Some(name));
        let first = own.unwrap_or_else(|| legs.iter().min_by_key(|leg| leg.start).unwrap());
        let came_in = self.on_trunk(&first.channel);
        let went_out = legs.iter().any(|leg| self.on_trunk(&leg.dstchannel));
        let direction = match (came_in, went_out) {
            (true, _) => "inbound",
            (false, true) => "outbound",
            (false, false) => "internal",
        };

        let talk = union(answered.iter().filter_map(|leg| Some((leg.answer?, leg.end))).collect());
        Call { legs: legs.len(), end, direction, outcome, talk, wait: first_person.unwrap_or(end) - start }
    }

    fn on_trunk(&self, channel: &str) -> bool {
        let name = channel_name(channel);
        let bare = name.split_once('/').map_or(name, |(_, bare)| bare);
        self.trunks.contains(name) || self.trunks.contains(bare)
    }
}

/// What a call amounts to.
#[derive(Clone, Debug)]
pub struct Call {
    /// How many legs it has.
    pub legs: usize,
    /// The latest end of a leg.
    pub end: i64,
    /// `inbound`, `outbound`, `internal`.
    pub direction: &'static str,
    /// `answered`, `voicemail`, …
    pub outcome: &'static str,
    /// During so many seconds at least one answered leg was up.
    pub talk: i64,
    /// From the first start to the first answer by a person, or to the end.
    pub wait: i64,
}

/// `PJSIP/provider-one-0000002a` is `PJSIP/provider-one`.
fn channel_name(channel: &str) -> &str {
    match channel.rsplit_once('-') {
        Some((name, number)) if number.len() == 8 && number.bytes().all(|b| b.is_ascii_hexdigit()) => name,
        _ => channel,
    }
}

fn understand(row: &[String]) -> Option<(Leg, Option<String>, Option<u64>)> {
    let filled = |place: usize| row.get(place).filter(|text| !text.is_empty()).cloned();
    let (uniqueid, linkedid, sequence) = match row.len() {
        16 => (None, None, None),
        17 => (filled(16).filter(|text| looks_like_an_id(text)), None, None),
        18 => (filled(16), None, None),
        21 => (filled(16), filled(19), row[20].parse().ok()),
        _ => return None,
    };
    let answer = match row[10].as_str() {
        "" => None,
        text => Some(moment(text)?),
    };
    let leg = Leg {
        uniqueid,
        channel: row[5].clone(),
        dstchannel: row[6].clone(),
        lastapp: row[7].clone(),
        start: moment(&row[9])?,
        answer,
        end: moment(&row[11])?,
        disposition: row[14].clone(),
    };
    Some((leg, linkedid, sequence))
}

/// `1795309295.12`, or `pbx-01-1795309295.12` with a system name.
fn looks_like_an_id(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    text.rsplit_once('.').is_some_and(|(seconds, serial)| digits(serial) && digits(seconds.rsplit('-').next().unwrap()))
}

fn moment(text: &str) -> Option<i64> {
    let civil = jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", text).ok()?;
    Some(civil.in_tz("UTC").ok()?.timestamp().as_second())
}

fn utc(seconds: i64, format: &str) -> String {
    Timestamp::from_second(seconds).unwrap().strftime(format).to_string()
}

/// How many seconds lie in at least one of the intervals.
fn union(mut intervals: Vec<(i64, i64)>) -> i64 {
    intervals.sort_unstable();
    let (mut sum, mut covered) = (0, i64::MIN);
    for (from, to) in intervals {
        sum += (to - from.max(covered)).max(0);
        covered = covered.max(to);
    }
    sum
}

/// What `demarc report --json --by …` printed, as a table of the same shape.
pub fn printed(report: &serde_json::Value, by: &str) -> Table {
    let mut table = Table::new();
    for row in report["rows"].as_array().expect("rows") {
        let words = by.split(',').map(|word| (word.to_owned(), text(&row[word]))).collect();
        let number = |key: &str| row[key].as_i64().unwrap_or_else(|| panic!("{key} in {row}"));
        let figures = Figures {
            calls: number("calls") as u64,
            talk_seconds: number("talk_seconds"),
            wait_seconds: number("wait_seconds"),
        };
        assert!(table.insert(words, figures).is_none(), "two rows for the same words: {row}");
    }
    table
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data;

    #[test]
    fn the_oracle_sees_what_a_person_sees_in_a_small_file() {
        let text = concat!(
            r#""","447","1001","x","""A, B"" <447>","PJSIP/provider1-00000001","PJSIP/1001-00000002","Dial","","2026-11-22 01:00:00",,"2026-11-22 01:00:05",5,0,"NO ANSWER","D","1.1","","","1.1",1"#,
            "\n",
            r#""","447","1001","x","a","PJSIP/provider1-00000001","PJSIP/1002-00000003","Dial","","2026-11-22 01:00:00","2026-11-22 01:00:04","2026-11-22 01:00:34",34,30,"ANSWERED","D","1.1","two"#,
            "\n",
            r#"lines","","1.1",2"#,
            "\nnonsense\n",
        );
        let mut oracle = Oracle::new(&data::TRUNKS);
        oracle.read(text.as_bytes()).read(text.as_bytes());
        assert_eq!((oracle.calls(), oracle.legs, oracle.malformed, oracle.duplicates), (1, 2, 2, 2));
        let table = oracle.table("direction,outcome");
        let (words, figures) = table.first_key_value().unwrap();
        assert_eq!((words[0].1.as_str(), words[1].1.as_str()), ("inbound", "answered"));
        assert_eq!(*figures, Figures { calls: 1, talk_seconds: 30, wait_seconds: 4 });
    }

    #[test]
    fn overlapping_legs_are_talked_once() {
        assert_eq!(union(vec![(0, 10), (5, 12), (20, 25)]), 17);
        assert_eq!(union(vec![]), 0);
    }
}

//! Call records as `cdr_csv` writes them, made to order.

use jiff::{Timestamp, tz::TimeZone};

/// Which columns are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The compiled-in 16.
    Plain16,
    /// With uniqueid.
    Uniqueid17,
    /// With userfield.
    Userfield17,
    /// With both.
    Both18,
    /// With peeraccount, linkedid and sequence too.
    New21,
}

impl Layout {
    /// Every layout.
    pub const ALL: [Self; 5] = [Self::Plain16, Self::Uniqueid17, Self::Userfield17, Self::Both18, Self::New21];
}

/// One call record, by the names of its columns.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "Asterisk's own documentation describes its columns")]
pub struct Row {
    pub accountcode: String,
    pub src: String,
    pub dst: String,
    pub dcontext: String,
    pub clid: String,
    pub channel: String,
    pub dstchannel: String,
    pub lastapp: String,
    pub lastdata: String,
    pub start: i64,
    pub answer: Option<i64>,
    pub end: i64,
    pub disposition: &'static str,
    pub uniqueid: String,
    pub userfield: String,
    pub peeraccount: String,
    pub linkedid: String,
    pub sequence: u64,
}

impl Row {
    /// The record's line, with its times in UTC.
    pub fn line(&self, layout: Layout) -> Vec<u8> {
        self.line_in(layout, &TimeZone::UTC)
    }

    /// The record's line, with its times as the clocks on the wall show them in that zone.
    pub fn line_in(&self, layout: Layout, zone: &TimeZone) -> Vec<u8> {
        let wall = |seconds: i64| {
            Timestamp::from_second(seconds).unwrap().to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
        };
        let billsec = self.answer.map_or(0, |answer| self.end - answer);
        let mut fields: Vec<(String, bool)> = vec![
            (self.accountcode.clone(), false),
            (self.src.clone(), false),
            (self.dst.clone(), false),
            (self.dcontext.clone(), false),
            (self.clid.clone(), false),
            (self.channel.clone(), false),
            (self.dstchannel.clone(), false),
            (self.lastapp.clone(), false),
            (self.lastdata.clone(), false),
            (wall(self.start), false),
            self.answer.map_or((String::new(), true), |answer| (wall(answer), false)),
            (wall(self.end), false),
            ((self.end - self.start).to_string(), true),
            (billsec.to_string(), true),
            (self.disposition.to_owned(), false),
            ("DOCUMENTATION".to_owned(), false),
        ];
        if matches!(layout, Layout::Uniqueid17 | Layout::Both18 | Layout::New21) {
            fields.push((self.uniqueid.clone(), false));
        }
        if matches!(layout, Layout::Userfield17 | Layout::Both18 | Layout::New21) {
            fields.push((self.userfield.clone(), false));
        }
        if layout == Layout::New21 {
            fields.push((self.peeraccount.clone(), false));
            fields.push((self.linkedid.clone(), false));
            fields.push((self.sequence.to_string(), true));
        }
        let mut line = Vec::new();
        for (place, (value, bare)) in fields.iter().enumerate() {
            if place > 0 {
                line.push(b',');
            }
            push_field(&mut line, value.as_bytes(), *bare);
        }
        line.push(b'\n');
        line
    }
}

/// Writes one field: bare, or quoted with its quotes doubled.
pub fn push_field(line: &mut Vec<u8>, value: &[u8], bare: bool) {
    if bare {
        line.extend_from_slice(value);
        return;
    }
    line.push(b'"');
    for &byte in value {
        if byte == b'"' {
            line.push(b'"');
        }
        line.push(byte);
    }
    line.push(b'"');
}

/// A small generator of numbers that can be repeated from its seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed from the clock, for tests that print it.
    pub fn fresh_seed() -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        since.as_nanos() as u64 ^ u64::from(std::process::id())
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below the bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }
}

/// Makes calls of every kind; each call has an id of its own.
#[derive(Debug)]
pub struct Caller {
    random: Random,
    serial: u64,
    channel: u64,
}

impl Caller {
    /// Calls that can be repeated from the seed.
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), serial: 0, channel: 0 }
    }

    /// The legs of the next call, which ends at that moment.
    pub fn call(&mut self, end: i64) -> Vec<Row> {
        let talk = 1 + self.random.below(400) as i64;
        let wait = self.random.below(90) as i64;
        let answer = end - talk;
        let start = answer - wait;
        let (near, far) = (self.extension(), self.number());
        let first = self.channels("PJSIP/provider1");
        match self.random.below(8) {
            // In, answered at once or after a while.
            0 | 1 => vec![self.leg(&first, Some(near), "Dial", start, Some(answer), end, "ANSWERED")],
            // Out over the first provider.
            2 => {
                let own = self.channels(&near);
                let mut row =
                    self.leg(&own, Some("PJSIP/provider1".into()), "Dial", start, Some(answer), end, "ANSWERED");
                row.dst = format!("9{far}");
                vec![row]
            }
            // Out, the first provider fails and the second takes it.
            3 => {
                let own = self.channels(&near);
                let failed = self.leg(&own, Some("PJSIP/provider1".into()), "Dial", start, None, start, "FAILED");
                let mut taken =
                    self.again(&failed, Some("PJSIP/provider2".into()), start, Some(answer), end, "ANSWERED");
                taken.dst = format!("9{far}");
                vec![failed, taken]
            }
            // Between two telephones.
            4 => {
                let own = self.channels(&near);
                let other = self.extension();
                vec![self.leg(&own, Some(other), "Dial", start, None, end, "NO ANSWER")]
            }
            // In, to a group of three, of whom one answers.
            5 => {
                let one = self.leg(&first, Some("PJSIP/1001".into()), "Dial", start, None, answer, "NO ANSWER");
                let two = self.again(&one, Some("PJSIP/1002".into()), start, Some(answer), end, "ANSWERED");
                let three = self.again(&one, Some("PJSIP/1007".into()), start, None, answer, "NO ANSWER");
                vec![one, three, two]
            }
            // In, left the queue.
            6 => vec![self.leg(&first, None, "Queue", start, Some(start), end, "ANSWERED")],
            // In, to a mailbox after nobody answered.
            _ => {
                let rung = self.leg(&first, Some(near), "Dial", start, None, answer, "NO ANSWER");
                let mut boxed = self.again(&rung, None, answer, Some(answer), end, "ANSWERED");
                boxed.lastapp = "VoiceMail".into();
                vec![rung, boxed]
            }
        }
    }

    /// A call that comes in over the first provider and is answered.
    pub fn inbound_answered(&mut self, end: i64, wait: i64, talk: i64) -> Row {
        let (near, channel) = (self.extension(), self.channels("PJSIP/provider1"));
        self.leg(&channel, Some(near), "Dial", end - talk - wait, Some(end - talk), end, "ANSWERED")
    }

    fn extension(&mut self) -> String {
        format!("PJSIP/{}", 1001 + self.random.below(9))
    }

    fn number(&mut self) -> String {
        format!("4477009{:05}", self.random.below(100_000))
    }

    fn channels(&mut self, name: &str) -> String {
        self.channel += 1;
        format!("{name}-{:08x}", self.channel)
    }

    #[expect(clippy::too_many_arguments, reason = "the columns of a call record, in their order")]
    fn leg(
        &mut self,
        channel: &str,
        to: Option<String>,
        app: &str,
        start: i64,
        answer: Option<i64>,
        end: i64,
        disposition: &'static str,
    ) -> Row {
        self.serial += 1;
        let uniqueid = format!("{start}.{}", self.serial);
        let dstchannel = to.map_or_else(String::new, |name| self.channels(&name));
        let src = self.number();
        Row {
            accountcode: String::new(),
            clid: format!("\"Caller, {}\" <{src}>", self.serial),
            src,
            dst: "442071230001".into(),
            dcontext: "ext-local".into(),
            channel: channel.to_owned(),
            lastdata: format!("{dstchannel},20"),
            dstchannel,
            lastapp: app.to_owned(),
            start,
            answer,
            end,
            disposition,
            linkedid: uniqueid.clone(),
            uniqueid,
            userfield: String::new(),
            peeraccount: String::new(),
            sequence: self.serial,
        }
    }

    /// Another leg of the same call.
    fn again(
        &mut self,
        first: &Row,
        to: Option<String>,
        start: i64,
        answer: Option<i64>,
        end: i64,
        disposition: &'static str,
    ) -> Row {
        self.serial += 1;
        let dstchannel = to.map_or_else(String::new, |name| self.channels(&name));
        Row {
            lastdata: format!("{dstchannel},20"),
            dstchannel,
            start,
            answer,
            end,
            disposition,
            sequence: self.serial,
            ..first.clone()
        }
    }
}

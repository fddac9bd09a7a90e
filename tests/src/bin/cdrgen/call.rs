//! One call of an office: its legs, and the cell that it belongs in.

use crate::{random::Random, row::Row};

/// What kind of traffic.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mix {
    /// Direct calls, queues, menus, mailboxes, busy lines, failing trunks: 1.2 rows a call.
    Office,
    /// Every call rings a group of three: 3 rows a call.
    RingGroups,
}

impl Mix {
    /// How many rows a thousand calls have, about.
    pub(crate) fn rows_per_thousand_calls(self) -> u64 {
        match self {
            Self::Office => 1240,
            Self::RingGroups => 3000,
        }
    }
}

const NAMES: [&str; 8] =
    ["", "Smith, John", "Jane Doe", "ACME Freight Ltd", "O'Brien & Sons", "WIRELESS CALLER", "Reception", "Dr. Lange"];

/// The call with that number that arrives at that second, with no more legs than there is room for.
pub(crate) fn make(mix: Mix, number: u64, start: u64, room: u64, random: &mut Random) -> (&'static str, Vec<Row>) {
    let mut call = Call { number, start, legs: Vec::with_capacity(3), random };
    let kind = call.random.below(1000);
    let cell = match mix {
        Mix::RingGroups if room >= 3 => call.ring_group(),
        Mix::RingGroups => call.inbound_answered(),
        Mix::Office if room >= 2 => match kind {
            0..240 => call.inbound_answered(),
            240..310 => call.inbound_mailbox(),
            310..420 => call.queue_answered(),
            420..450 => call.queue_abandoned(),
            450..490 => call.menu_only(),
            490..520 => call.inbound_unanswered("BUSY", "inbound.busy"),
            520..560 => call.inbound_unanswered("NO ANSWER", "inbound.no_answer"),
            560..740 => call.outbound("ANSWERED", "outbound.answered"),
            740..800 => call.outbound("NO ANSWER", "outbound.no_answer"),
            800..820 => call.outbound("BUSY", "outbound.busy"),
            820..840 => call.outbound("FAILED", "outbound.failed"),
            840..860 => call.second_trunk(),
            860..950 => call.internal("ANSWERED", "internal.answered"),
            950..990 => call.internal("NO ANSWER", "internal.no_answer"),
            _ => call.echo_test(),
        },
        Mix::Office => call.internal("ANSWERED", "internal.answered"),
    };
    (cell, call.legs)
}

struct Call<'a> {
    number: u64,
    start: u64,
    legs: Vec<Row>,
    random: &'a mut Random,
}

impl Call<'_> {
    fn inbound_answered(&mut self) -> &'static str {
        let (caller, trunk, extension) = (self.outside_number(), self.trunk(), self.extension());
        let (ring, talk) = (self.random.skewed(1, 25), self.random.skewed(2, 1500));
        let mut leg = self.leg("ANSWERED", ring, talk);
        (leg.channel, leg.dstchannel) = (self.channel(&trunk, 0), self.channel(&extension, 1));
        (leg.context, leg.lastapp, leg.lastdata) =
            ("from-did-direct", "Dial", format!("PJSIP/{extension},20,HhTtrM(auto-blkvm)b(func-apply-sipheaders^s^1)"));
        (leg.src, leg.dst, leg.name) = (caller, extension, self.random.one_of(&NAMES));
        self.legs.push(leg);
        "inbound.answered"
    }

    fn inbound_unanswered(&mut self, disposition: &'static str, cell: &'static str) -> &'static str {
        let (caller, trunk, extension) = (self.outside_number(), self.trunk(), self.extension());
        let ring = self.random.skewed(1, 40);
        let mut leg = self.leg(disposition, ring, 0);
        (leg.channel, leg.dstchannel) = (self.channel(&trunk, 0), self.channel(&extension, 1));
        (leg.context, leg.lastapp, leg.lastdata) = ("from-did-direct", "Dial", format!("PJSIP/{extension},20,HhTtr"));
        (leg.src, leg.dst, leg.name) = (caller, extension, self.random.one_of(&NAMES));
        self.legs.push(leg);
        cell
    }

    /// The phone rings, then the mailbox answers: two rows of the same channel.
    fn inbound_mailbox(&mut self) -> &'static str {
        self.inbound_unanswered("NO ANSWER", "inbound.voicemail");
        let talk = self.random.skewed(3, 120);
        let first = &self.legs[0];
        let (start, src, extension, name, channel) =
            (first.end, first.src.clone(), first.dst.clone(), first.name, first.channel.clone());
        let mut leg = self.leg("ANSWERED", 0, talk);
        (leg.start, leg.answer, leg.end) = (start, Some(start), start + talk);
        (leg.context, leg.lastapp, leg.lastdata) = ("macro-vm", "VoiceMail", format!("{extension}@default,su"));
        (leg.src, leg.dst, leg.name, leg.channel) = (src, format!("vmu{extension}"), name, channel);
        self.legs.push(leg);
        "inbound.voicemail"
    }

    /// One agent does not pick up, the next does.
    fn queue_answered(&mut self) -> &'static str {
        let (caller, trunk, name) = (self.outside_number(), self.trunk(), self.random.one_of(&NAMES));
        let (ring, talk) = (self.random.skewed(4, 60), self.random.skewed(10, 1800));
        let channel = self.channel(&trunk, 0);
        for (place, disposition) in ["NO ANSWER", "ANSWERED"].into_iter().enumerate() {
            let agent = self.extension();
            let mut leg = self.leg(disposition, ring, if place == 0 { 0 } else { talk });
            (leg.channel, leg.dstchannel) = (channel.clone(), self.channel(&agent, 1 + place as u64));
            (leg.context, leg.lastapp, leg.lastdata) = ("ext-queues", "Queue", "600,t,,,300,,,,,".into());
            (leg.src, leg.dst, leg.name) = (caller.clone(), "600".into(), name);
            self.legs.push(leg);
        }
        "inbound.answered"
    }

    /// The queue answers, no agent does, the caller hangs up.
    fn queue_abandoned(&mut self) -> &'static str {
        let (caller, trunk) = (self.outside_number(), self.trunk());
        let wait = self.random.skewed(5, 300);
        let mut leg = self.leg("ANSWERED", 0, wait);
        leg.channel = self.channel(&trunk, 0);
        (leg.context, leg.lastapp, leg.lastdata) = ("ext-queues", "Queue", "601,t,,,300,,,,,".into());
        (leg.src, leg.dst, leg.name) = (caller, "601".into(), self.random.one_of(&NAMES));
        self.legs.push(leg);
        "inbound.abandoned"
    }

    fn menu_only(&mut self) -> &'static str {
        let (caller, trunk) = (self.outside_number(), self.trunk());
        let talk = self.random.skewed(1, 40);
        let mut leg = self.leg("ANSWERED", 0, talk);
        leg.channel = self.channel(&trunk, 0);
        (leg.context, leg.lastapp, leg.lastdata) = ("ivr-1", "BackGround", "custom/main-menu".into());
        (leg.src, leg.dst, leg.name) = (caller, "s".into(), self.random.one_of(&NAMES));
        self.legs.push(leg);
        "inbound.system"
    }

    fn outbound(&mut self, disposition: &'static str, cell: &'static str) -> &'static str {
        let (callee, trunk, extension) = (self.outside_number(), self.trunk(), self.extension());
        let ring = self.random.skewed(2, 30);
        let talk = if disposition == "ANSWERED" { self.random.skewed(2, 1800) } else { 0 };
        let mut leg = self.leg(disposition, ring, talk);
        (leg.channel, leg.dstchannel) = (self.channel(&extension, 0), self.channel(&trunk, 1));
        (leg.context, leg.lastapp, leg.lastdata) =
            ("from-internal", "Dial", format!("PJSIP/{callee}@{trunk},300,Tb(func-apply-sipheaders^s^1,(2))"));
        (leg.src, leg.dst, leg.name) = (extension, callee, self.random.one_of(&NAMES));
        self.legs.push(leg);
        cell
    }

    /// The first trunk has no channel left, the second takes the call.
    fn second_trunk(&mut self) -> &'static str {
        self.outbound("CONGESTION", "outbound.failed");
        self.outbound("ANSWERED", "outbound.answered");
        let (channel, src) = (self.legs[0].channel.clone(), self.legs[0].src.clone());
        (self.legs[1].channel, self.legs[1].src) = (channel, src);
        "outbound.answered"
    }

    fn internal(&mut self, disposition: &'static str, cell: &'static str) -> &'static str {
        let (from, to) = (self.extension(), self.extension());
        let ring = self.random.skewed(1, 25);
        let talk = if disposition == "ANSWERED" { self.random.skewed(2, 900) } else { 0 };
        let mut leg = self.leg(disposition, ring, talk);
        (leg.channel, leg.dstchannel) = (self.channel(&from, 0), self.channel(&to, 1));
        (leg.context, leg.lastapp, leg.lastdata) = ("from-internal", "Dial", format!("PJSIP/{to},20,HhTtr"));
        (leg.src, leg.dst, leg.name) = (from, to, self.random.one_of(&NAMES));
        self.legs.push(leg);
        cell
    }

    fn echo_test(&mut self) -> &'static str {
        let from = self.extension();
        let talk = self.random.skewed(2, 60);
        let mut leg = self.leg("ANSWERED", 0, talk);
        leg.channel = self.channel(&from, 0);
        (leg.context, leg.lastapp) = ("from-internal", "Echo");
        (leg.src, leg.dst, leg.name) = (from, "*43".into(), self.random.one_of(&NAMES));
        self.legs.push(leg);
        "internal.system"
    }

    /// Three phones ring; in nine of ten calls one picks up. A row for each phone, all of the caller's channel.
    fn ring_group(&mut self) -> &'static str {
        let (caller, trunk, name) = (self.outside_number(), self.trunk(), self.random.one_of(&NAMES));
        let (ring, talk) = (self.random.skewed(1, 30), self.random.skewed(2, 1500));
        let winner = self.random.below(30) / 9;
        let channel = self.channel(&trunk, 0);
        for place in 0..3 {
            let extension = 201 + (self.number * 3 + place) % 180;
            let mut leg =
                if place == winner { self.leg("ANSWERED", ring, talk) } else { self.leg("NO ANSWER", ring, 0) };
            (leg.channel, leg.dstchannel) = (channel.clone(), self.channel(&extension.to_string(), 1 + place));
            (leg.context, leg.lastapp, leg.lastdata) =
                ("ext-group", "Dial", "PJSIP/201&PJSIP/202&PJSIP/203,20,trM(auto-blkvm)".into());
            (leg.src, leg.dst, leg.name) = (caller.clone(), "620".into(), name);
            self.legs.push(leg);
        }
        if winner < 3 { "inbound.answered" } else { "inbound.no_answer" }
    }

    /// A leg of this call's first channel, with its times and ids set and the rest empty.
    fn leg(&self, disposition: &'static str, ring: u64, talk: u64) -> Row {
        let answer = (disposition == "ANSWERED").then_some(self.start + ring);
        // Channels are numbered from the PBX's start, sequences too; both grow without reuse.
        let uniqueid = format!("{}.{}", self.start, self.number * 4);
        Row {
            end: self.start + ring + talk,
            sequence: self.number * 4 + self.legs.len() as u64,
            start: self.start,
            answer,
            disposition,
            linkedid: uniqueid.clone(),
            uniqueid,
            src: String::new(),
            dst: String::new(),
            context: "",
            name: "",
            channel: String::new(),
            dstchannel: String::new(),
            lastapp: "",
            lastdata: String::new(),
        }
    }

    fn channel(&self, peer: &str, place: u64) -> String {
        format!("PJSIP/{peer}-{:08x}", (self.number * 4 + place) & 0xffff_ffff)
    }

    fn extension(&mut self) -> String {
        (201 + self.random.below(180)).to_string()
    }

    fn trunk(&mut self) -> String {
        self.random.one_of(&["provider1", "provider1", "provider2", "sip-backup"]).to_owned()
    }

    fn outside_number(&mut self) -> String {
        // Ofcom keeps this range for drama: nobody has these numbers.
        format!("44770090{:04}", self.random.below(10_000))
    }
}

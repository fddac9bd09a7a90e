//! The kinds of calls that the laboratory plays, and what each of them is by its nature.

use std::time::Duration;

/// One kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// From outside to an extension that answers.
    Inbound,
    /// From outside into a queue, where one of three members answers.
    QueueAnswered,
    /// From outside into a queue, where nobody answers until the caller gives up.
    QueueAbandoned,
    /// From outside to three telephones at once.
    RingGroup,
    /// From outside to three telephones one after the other: nobody, busy, answered.
    HuntGroup,
    /// From outside to an extension that asks another one (`*2`) and then hands the caller over.
    AttendedTransfer,
    /// From outside to an extension that calls another one on a second line and joins the two (SIP REFER with `Replaces`).
    JoinedTransfer,
    /// From outside to an extension that sends the caller on to another one (SIP REFER).
    BlindTransfer,
    /// From outside to an extension that nobody answers, and then to its voicemail.
    Voicemail,
    /// From outside to a menu, in which the caller chooses nothing.
    Menu,
    /// From outside to an extension that is forwarded to a number outside.
    Forwarded,
    /// From an extension to outside.
    Outbound,
    /// From an extension to outside: the first provider refuses, the second one takes it.
    SecondProvider,
    /// From an extension to outside: both providers refuse.
    Failed,
    /// From outside to an extension that is busy.
    Busy,
    /// From outside to an extension that nobody answers.
    NoAnswer,
    /// From outside to an extension that rings until the caller gives up.
    GivenUp,
    /// From outside to an extension that parks the caller, whom another extension picks up.
    Parked,
    /// From one extension to another.
    Internal,
    /// `Inbound`, with a caller's name that is raw Latin-1 and thus no valid UTF-8. Asterisk 22 mends it.
    Latin1Name,
    /// `Inbound`, with a name that the PBX itself looked up, which is no valid UTF-8 either; which no version mends.
    Latin1Directory,
}

/// What is known about one call before anybody reads a record of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Truth {
    /// `inbound`, `outbound`, `internal`.
    pub direction: &'static str,
    /// `answered`, `voicemail`, …
    pub outcome: &'static str,
    /// How many call records Asterisk writes for it where `cdr.conf` says `unanswered=yes` and `congestion=yes`.
    pub rows: usize,
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    Outside,
    Extension,
}

/// How a call is placed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) caller: Caller,
    pub(super) name: &'static str,
    pub(super) dials: &'static str,
    /// How long the caller stays once somebody or something answered; or, one who gives up, while it rings.
    pub(super) stays: Duration,
    /// Whether the caller hangs up while it rings.
    pub(super) gives_up: bool,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::Inbound,
        Self::QueueAnswered,
        Self::QueueAbandoned,
        Self::RingGroup,
        Self::HuntGroup,
        Self::AttendedTransfer,
        Self::JoinedTransfer,
        Self::BlindTransfer,
        Self::Voicemail,
        Self::Menu,
        Self::Forwarded,
        Self::Outbound,
        Self::SecondProvider,
        Self::Failed,
        Self::Busy,
        Self::NoAnswer,
        Self::GivenUp,
        Self::Parked,
        Self::Internal,
        Self::Latin1Name,
        Self::Latin1Directory,
    ];

    /// What one such call is. The second line of a telephone is a call of its own, before it is joined and after.
    pub fn truths(self) -> Vec<Truth> {
        let question = Truth { direction: "internal", outcome: "answered", rows: 1 };
        let asked = (self == Self::JoinedTransfer).then_some(question);
        std::iter::once(self.truth()).chain(asked).collect()
    }

    fn truth(self) -> Truth {
        let (direction, outcome, rows) = match self {
            Self::Inbound | Self::Latin1Name | Self::Latin1Directory | Self::Forwarded => ("inbound", "answered", 1),
            Self::QueueAnswered | Self::RingGroup | Self::HuntGroup => ("inbound", "answered", 3),
            Self::AttendedTransfer => ("inbound", "answered", 5),
            Self::BlindTransfer | Self::JoinedTransfer => ("inbound", "answered", 2),
            Self::Parked => ("inbound", "answered", 4),
            Self::QueueAbandoned => ("inbound", "abandoned", 1),
            Self::Voicemail => ("inbound", "voicemail", 2),
            Self::Menu => ("inbound", "system", 1),
            Self::Busy => ("inbound", "busy", 2),
            Self::NoAnswer => ("inbound", "no_answer", 2),
            Self::GivenUp => ("inbound", "no_answer", 1),
            Self::Outbound => ("outbound", "answered", 1),
            Self::SecondProvider => ("outbound", "answered", 2),
            Self::Failed => ("outbound", "failed", 3),
            Self::Internal => ("internal", "answered", 1),
        };
        Truth { direction, outcome, rows }
    }

    pub(super) fn plan(self) -> Plan {
        let (caller, dials, stays) = match self {
            Self::Inbound | Self::Latin1Name => (Caller::Outside, "442071230001", 3000),
            Self::QueueAnswered => (Caller::Outside, "442071230002", 3000),
            Self::QueueAbandoned => (Caller::Outside, "442071230003", 2500),
            Self::RingGroup => (Caller::Outside, "442071230004", 2000),
            Self::HuntGroup => (Caller::Outside, "442071230005", 2000),
            Self::Busy => (Caller::Outside, "442071230006", 2000),
            Self::NoAnswer => (Caller::Outside, "442071230007", 2000),
            Self::GivenUp => (Caller::Outside, "442071230016", 1500),
            Self::Voicemail => (Caller::Outside, "442071230008", 3000),
            Self::Menu => (Caller::Outside, "442071230009", 2000),
            Self::Forwarded => (Caller::Outside, "442071230010", 2000),
            Self::Latin1Directory => (Caller::Outside, "442071230014", 2000),
            Self::AttendedTransfer => (Caller::Outside, "442071230011", 7000),
            Self::JoinedTransfer => (Caller::Outside, "442071230017", 9000),
            Self::BlindTransfer => (Caller::Outside, "442071230012", 4000),
            Self::Parked => (Caller::Outside, "442071230013", 6000),
            Self::Outbound => (Caller::Extension, "9447700900101", 3000),
            Self::SecondProvider => (Caller::Extension, "9447700900503", 2000),
            Self::Failed => (Caller::Extension, "9447700900603", 2000),
            Self::Internal => (Caller::Extension, "1002", 2000),
        };
        let name = if self == Self::Latin1Name { "L\u{e9}a Caf\u{e9}" } else { "Jane Doe" };
        Plan { caller, name, dials, stays: Duration::from_millis(stays), gives_up: self == Self::GivenUp }
    }
}

/// Numbers that the first provider refuses end like this, and numbers that every provider refuses.
pub(super) const REFUSED_BY_FIRST: &str = "503";
pub(super) const REFUSED_BY_ALL: &str = "603";

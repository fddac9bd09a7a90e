//! Nothing gets into the outbox but what the gate gave out.

use demarc::{
    call::Call,
    outbox::{Outbox, OutboxError},
    pbx::leg::Leg,
    tally::Tally,
};
use demarc_proto::Report;

pub fn a_report(outbox: &Outbox, report: &Report) -> Result<(), OutboxError> {
    outbox.put(report) //~ E0308
}

pub fn a_body(outbox: &Outbox, report: &Report) -> Result<(), OutboxError> {
    outbox.put(&report.to_body()) //~ E0308
}

pub fn a_tally(outbox: &Outbox, tally: &Tally) -> Result<(), OutboxError> {
    outbox.put(tally) //~ E0308
}

pub fn a_call(outbox: &Outbox, call: &Call) -> Result<(), OutboxError> {
    outbox.put(call) //~ E0308
}

pub fn a_leg(outbox: &Outbox, leg: &Leg<'_>) -> Result<(), OutboxError> {
    outbox.put(leg) //~ E0308
}

//! A report becomes cleared in the gate alone; no other way makes, copies or changes one.

use demarc::gate::{Cleared, Ledger, entry::Draft};
use demarc_proto::Report;

pub fn by_its_function(report: &Report) -> Cleared {
    Cleared::seal(report, report.to_body()) //~ E0624
}

pub fn by_conversion(report: Report) -> Cleared {
    report.into() //~ E0277
}

pub fn by_default() -> Cleared {
    Default::default() //~ E0277
}

pub fn by_copying(cleared: &Cleared) -> Cleared {
    cleared.clone() //~ E0308
}

pub fn with_other_bytes(cleared: &mut Cleared) {
    cleared.body = String::new(); //~ E0616
}

pub fn past_the_gate(report: &Report) -> Draft {
    Draft::report(report, "") //~ E0624
}

pub fn into_the_ledger_by_hand(ledger: &mut Ledger, report: &Report) {
    let _ = ledger.enter_report(0, report, ""); //~ E0624
}

//! A full disk: ledger and outbox stay as they were, and go on when there is room again.
//!
//! A limit on the length of files stands for the disk: a write is cut short in the same way. It holds for the whole
//! process, so that this test has one to itself.

use std::{fs, time::Duration};

use demarc::{
    gate::{
        Consent, Ledger, clear,
        entry::{By, Draft, Kind, Switch},
        verify::verify,
    },
    outbox::Outbox,
    report,
    state::StateDir,
    tally::{Tally, TallyKey},
};
use demarc_proto::{
    Cell, ReportId, Window,
    report::{Destination, Quality},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

fn limit_files_to(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum }).expect("a soft limit can always be set");
}

#[test]
fn a_full_disk_changes_nothing_and_passes() {
    // SAFETY: the signal is ignored, so that no handler runs; the write then fails with an error instead.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let directory = tempfile::tempdir().expect("a directory");
    let state = StateDir::new(directory.path());
    let mut ledger = Ledger::open(&state).expect("a new ledger");
    let outbox = Outbox::open(&state).expect("a new outbox");
    ledger.append(1, Draft::consent(Switch::Upload, false, true, By::Command)).expect("room enough");
    let before = fs::read(state.ledger()).expect("the ledger");

    let consent = Consent {
        upload: true,
        enrolled: Some(("site-one".parse().expect("a site"), 0)),
        grace: Duration::ZERO,
        accepted_schema: 1,
    };
    let key = TallyKey {
        hour: 0,
        cell: Cell::from_index(0).expect("a cell"),
        talk: 1,
        wait: 1,
        destination: Destination::NotOutbound,
        quality: Quality::Unknown,
    };
    let tally = Tally { window: Window { start: 0, seconds: 60 }, calls: [(key, 12)].into(), peak_concurrency: 1 };
    let report = report::build(&tally, ReportId::from_bits([1; 16]), 10).expect("calls enough");

    limit_files_to(Some(before.len() as u64 + 1000));
    let refused = clear(&consent, 2, report.clone(), &mut ledger).expect_err("no room");
    limit_files_to(None);
    let message = refused.to_string();
    assert!(message.contains("cannot write the ledger") && message.contains("it is as it was before"), "{message}");
    assert_eq!(fs::read(state.ledger()).expect("the ledger"), before);

    let cleared = clear(&consent, 3, report, &mut ledger).expect("room again");
    limit_files_to(Some(1000));
    let refused = outbox.put(&cleared).expect_err("no room");
    limit_files_to(None);
    assert!(refused.to_string().starts_with("cannot write a report in the outbox"), "{refused}");
    assert_eq!(fs::read_dir(state.outbox()).expect("the outbox").count(), 0, "nothing half-written stays");

    outbox.put(&cleared).expect("room again");
    let waiting = outbox.list().expect("the outbox");
    assert_eq!(outbox.read(&waiting[0]).expect("the report").as_deref(), Some(cleared.body()));
    let entry = ledger.last(Kind::Report).expect("the ledger").expect("the report's entry");
    assert_eq!(entry.bytes, cleared.body());
    assert_eq!(verify(&state.ledger(), None).expect("whole").entries, 2);
}

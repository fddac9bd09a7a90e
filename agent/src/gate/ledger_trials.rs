//! What the ledger goes through: power loss at any byte, changed bits, other writers, great length.

use std::{fs, path::PathBuf, time::Duration};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use demarc_proto::{
    Cell, Receipt, Report, ReportId, SiteId, Window,
    message::RefusedReason,
    report::{Destination, Quality},
};
use proptest::prelude::*;

use super::{
    Cleared, Consent, Ledger, LedgerError, clear,
    entry::{By, Draft, Entry, Kind, Switch},
    verify::{Broken, Fault, Verified, VerifyError, verify},
};
use crate::{
    ipc::RecordKind,
    state::StateDir,
    tally::{Tally, TallyKey},
};

struct Bench {
    directory: tempfile::TempDir,
    key: Ed25519KeyPair,
}

impl Bench {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), key: Ed25519KeyPair::generate().unwrap() }
    }

    fn state(&self) -> StateDir {
        StateDir::new(self.directory.path())
    }

    fn path(&self) -> PathBuf {
        self.state().ledger()
    }

    fn open(&self) -> Ledger {
        Ledger::open(&self.state()).unwrap()
    }

    fn verify(&self) -> Result<Verified, Broken> {
        match verify(&self.path(), Some(self.key.public_key().as_ref())) {
            Ok(verified) => Ok(verified),
            Err(VerifyError::Broken(broken)) => Err(broken),
            Err(VerifyError::Io(error)) => panic!("{error}"),
        }
    }

    fn receipt(&self, cleared: &Cleared) -> Receipt {
        Receipt::sign(&self.key, site(), cleared.id(), cleared.body().as_bytes(), 9)
    }

    /// Makes the entry that a number stands for.
    fn enter(&self, ledger: &mut Ledger, what: u8, number: u8) {
        let draft = match what {
            0 => return drop(send(ledger, number)),
            1 => {
                let cleared = send(ledger, number);
                Draft::receipt(&self.receipt(&cleared))
            }
            2 => Draft::refused(ReportId::from_bits([number; 16]), RefusedReason::Floor),
            3 => Draft::message(RecordKind::Hello, "{\"type\":\"Hello\",\"é\":\"\n\"}"),
            4 => Draft::enroll(site(), "{}"),
            _ => Draft::consent(Switch::Upload, true, false, By::Command),
        };
        // The clock jumps about; nothing depends on it.
        ledger.append(u64::from(number) * 1_000_003 % 7, draft).unwrap();
    }
}

fn site() -> SiteId {
    "site-one".parse().unwrap()
}

fn report(number: u8) -> Report {
    let cell = Cell::from_index(0).unwrap();
    let key =
        TallyKey { hour: 0, cell, talk: 1, wait: 1, destination: Destination::NotOutbound, quality: Quality::Unknown };
    let window = Window { start: 60 * u64::from(number), seconds: 60 };
    let tally = Tally { window, calls: [(key, 12)].into(), peak_concurrency: 1 };
    crate::report::build(&tally, ReportId::from_bits([number; 16]), 10).unwrap()
}

fn send(ledger: &mut Ledger, number: u8) -> Cleared {
    let consent = Consent { upload: true, enrolled: Some((site(), 0)), grace: Duration::ZERO, accepted_schema: 1 };
    clear(&consent, 5, report(number), ledger).unwrap()
}

#[test]
fn a_line_feed_that_reads_as_zero_was_torn_off() {
    let bench = Bench::new();
    let mut ledger = bench.open();
    bench.enter(&mut ledger, 3, 0);
    bench.enter(&mut ledger, 3, 1);
    let whole = fs::read(bench.path()).unwrap();
    for (end, is_torn) in [(0, true), (b' ', false), (b'x', false)] {
        let mut changed = whole.clone();
        *changed.last_mut().unwrap() = end;
        fs::write(bench.path(), changed).unwrap();
        assert_eq!(bench.verify().is_ok_and(|verified| verified.entries == 1 && verified.torn > 0), is_torn, "{end}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_power_loss_takes_at_most_the_entry_being_written(
        steps in proptest::collection::vec((0u8..6, any::<u8>()), 1..6), cut in any::<prop::sample::Index>(), zeros in any::<bool>(),
    ) {
        let bench = Bench::new();
        let mut ledger = bench.open();
        for (what, number) in steps {
            bench.enter(&mut ledger, what, number);
        }
        let whole = bench.verify().unwrap();
        let bytes = fs::read(bench.path()).unwrap();
        let last = bytes[..bytes.len() - 1].iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        let keep = last + cut.index(bytes.len() - last);
        let mut left = bytes[..keep].to_vec();
        if zeros {
            // Some file systems have the length on disk before the bytes.
            left.resize(bytes.len(), 0);
        }
        fs::write(bench.path(), left).unwrap();

        // Who only reads sees the same entries as who mends it first.
        let before = bench.verify().unwrap();
        let read = bench.open().entries().unwrap().filter(|placed| placed.is_ok()).count() as u64;
        let after = bench.verify().unwrap();
        prop_assert_eq!(after.torn, 0);
        prop_assert_eq!((before.entries, before.head), (after.entries, after.head));
        prop_assert_eq!(read, after.entries);
        prop_assert!(after.entries == whole.entries || after.entries + 1 == whole.entries);
        bench.enter(&mut bench.open(), 5, 1);
        prop_assert_eq!(bench.verify().unwrap().entries, after.entries + 1);
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_bit_anywhere_is_found(
        steps in proptest::collection::vec((0u8..6, any::<u8>()), 1..5), at in any::<prop::sample::Index>(), bit in 0..8,
    ) {
        let bench = Bench::new();
        let mut ledger = bench.open();
        for (what, number) in steps {
            bench.enter(&mut ledger, what, number);
        }
        let mut bytes = fs::read(bench.path()).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        fs::write(bench.path(), &bytes).unwrap();
        let broken = bench.verify().unwrap_err();
        let line = bytes[..at].iter().filter(|&&b| b == b'\n').count() as u64 + 1;
        prop_assert!(broken.seq == line, "{broken}, changed line {line}");
        // And nobody writes on as if nothing had happened.
        let refused = matches!(Ledger::open(&bench.state()), Err(LedgerError::Damaged { .. }));
        prop_assert!(refused);
    }
}

#[test]
fn every_last_byte_can_be_lost_or_changed() {
    let bench = Bench::new();
    let mut ledger = bench.open();
    bench.enter(&mut ledger, 3, 1);
    bench.enter(&mut ledger, 5, 2);
    let bytes = fs::read(bench.path()).unwrap();
    let first = bytes.iter().position(|&b| b == b'\n').unwrap() + 1;
    for keep in first..bytes.len() {
        fs::write(bench.path(), &bytes[..keep]).unwrap();
        let count = bench.open().entries().unwrap().count();
        // An entry that lacks nothing but its line feed is whole.
        assert_eq!(count, if keep == bytes.len() - 1 { 2 } else { 1 }, "{keep}");
        assert_eq!(bench.verify().unwrap().torn, 0);
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1u8 << bit;
            fs::write(bench.path(), &changed).unwrap();
            assert!(bench.verify().is_err(), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn a_space_that_became_a_zero_is_no_power_loss() {
    let bench = Bench::new();
    drop(send(&mut bench.open(), 1));
    let mut bytes = fs::read(bench.path()).unwrap();
    let padding = bytes.iter().rposition(|&b| b == b' ').unwrap();
    bytes[padding] = 0;
    fs::write(bench.path(), &bytes).unwrap();
    assert!(bench.verify().is_err());
    assert!(matches!(Ledger::open(&bench.state()), Err(LedgerError::Damaged { offset: 0, .. })));
}

#[test]
fn entries_cannot_be_left_out_exchanged_or_put_in() {
    let bench = Bench::new();
    let mut ledger = bench.open();
    for number in 0..4 {
        bench.enter(&mut ledger, 5, number);
    }
    let text = fs::read_to_string(bench.path()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let broken = |lines: &[&str]| {
        fs::write(bench.path(), lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        bench.verify().map_err(|broken| (broken.seq, broken.why))
    };
    assert_eq!(broken(&lines[1..]), Err((1, Fault::Number)));
    assert_eq!(broken(&[lines[0], lines[2], lines[3]]), Err((2, Fault::Number)));
    assert_eq!(broken(&[lines[0], lines[2], lines[1], lines[3]]), Err((2, Fault::Number)));
    let (_, forged) =
        Entry::seal(Draft::withdrawn(ReportId::from_bits([1; 16])), 2, 0, super::entry::LineHash::GENESIS);
    assert_eq!(broken(&[lines[0], &forged, lines[2]]), Err((2, Fault::Chain)));
    // The end can be taken away unseen by the chain: the head hash and the hub's receipts are there for that.
    assert_eq!(broken(&lines[..3]).map(|verified| verified.entries), Ok(3));
}

#[test]
fn receipts_count_only_for_what_left_and_by_the_hubs_hand() {
    let bench = Bench::new();
    let mut ledger = bench.open();
    let cleared = send(&mut ledger, 1);
    assert_eq!(ledger.unsettled(), [cleared.id()]);
    ledger.settle(9, Draft::receipt(&bench.receipt(&cleared))).unwrap();
    ledger.settle(9, Draft::receipt(&bench.receipt(&cleared))).unwrap();
    assert_eq!(ledger.unsettled(), []);
    assert_eq!(bench.open().unsettled(), []);
    let whole = bench.verify().unwrap();
    assert_eq!((whole.entries, whole.reports, whole.receipts, whole.unchecked), (2, 1, 1, 0));
    let keyless = verify(&bench.path(), None).unwrap();
    assert_eq!((keyless.receipts, keyless.unchecked), (0, 1));

    let before = fs::read(bench.path()).unwrap();
    let stranger = Ed25519KeyPair::generate().unwrap();
    let other_key = Receipt::sign(&stranger, site(), cleared.id(), cleared.body().as_bytes(), 9);
    let other_body = Receipt::sign(&bench.key, site(), cleared.id(), b"other", 9);
    let other_report = Receipt::sign(&bench.key, site(), ReportId::from_bits([9; 16]), cleared.body().as_bytes(), 9);
    for (receipt, why) in
        [(&other_key, Fault::Signature), (&other_body, Fault::NoSuchReport), (&other_report, Fault::NoSuchReport)]
    {
        fs::write(bench.path(), &before).unwrap();
        let mut ledger = bench.open();
        ledger.append(9, Draft::receipt(receipt)).unwrap();
        bench.enter(&mut ledger, 5, 1);
        let broken = bench.verify().unwrap_err();
        assert_eq!((broken.seq, broken.offset, broken.why), (3, before.len() as u64, why));
    }

    // A site that was enrolled anew keeps the receipts of the hub before.
    fs::write(bench.path(), &before).unwrap();
    let mut ledger = bench.open();
    ledger.append(9, Draft::receipt(&other_key)).unwrap();
    bench.enter(&mut ledger, 4, 1);
    let again = bench.verify().unwrap();
    assert_eq!((again.receipts, again.unchecked), (1, 1));
}

#[test]
fn what_was_said_of_a_report_is_entered_once_each() {
    let bench = Bench::new();
    let mut ledger = bench.open();
    let cleared = send(&mut ledger, 1);
    ledger.settle(9, Draft::withdrawn(cleared.id())).unwrap();
    ledger.settle(9, Draft::withdrawn(cleared.id())).unwrap();
    // It was on its way when it was withdrawn, and did arrive: the owner must be able to read that.
    let mut again = bench.open();
    again.settle(9, Draft::receipt(&bench.receipt(&cleared))).unwrap();
    again.settle(9, Draft::receipt(&bench.receipt(&cleared))).unwrap();
    assert_eq!(bench.verify().map(|whole| (whole.entries, whole.receipts)), Ok((3, 1)));
}

#[test]
fn everybody_can_check_it_with_the_tools_at_hand() {
    let bench = Bench::new();
    let mut ledger = bench.open();
    let cleared = send(&mut ledger, 1);
    bench.enter(&mut ledger, 3, 1);
    let shell = |command: &str| {
        let path = bench.path();
        let output = std::process::Command::new("sh").arg("-c").arg(command).arg("sh").arg(path).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for (line, placed) in (1..).zip(ledger.entries().unwrap()) {
        let hash = shell(&format!("sed -n {line}p \"$1\" | head -c -76 | sha256sum"));
        assert_eq!(hash.split(' ').next().unwrap(), placed.unwrap().entry.hash.to_string());
    }
    let first: serde_json::Value = serde_json::from_str(&shell("sed -n 1p \"$1\"")).unwrap();
    let second: serde_json::Value = serde_json::from_str(&shell("sed -n 2p \"$1\"")).unwrap();
    assert_eq!(second["prev"], first["hash"]);
    assert_eq!(first["bytes"], cleared.body());
}

#[test]
fn two_writers_make_one_chain() {
    let bench = Bench::new();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let state = bench.state();
            std::thread::spawn(move || {
                let mut ledger = Ledger::open(&state).unwrap();
                for _ in 0..25 {
                    ledger.append(1, Draft::consent(Switch::Tunnel, true, false, By::Settings)).unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(bench.verify().unwrap().entries, 100);
}

#[test]
fn the_greeting_is_entered_once_also_when_it_lies_far_back() {
    let bench = Bench::new();
    let mut ledger = bench.open();
    let hello = || Draft::message(RecordKind::Hello, "{\"type\":\"Hello\"}");
    ledger.append_if_new(1, hello()).unwrap();
    ledger.append_if_new(2, hello()).unwrap();
    // Longer than what is read when the ledger is opened.
    let long = "x".repeat(600_000);
    for _ in 0..20 {
        ledger.append(3, Draft::message(RecordKind::Renew, &long)).unwrap();
    }
    let mut again = bench.open();
    again.append_if_new(4, hello()).unwrap();
    assert_eq!(again.last(Kind::Hello).unwrap().map(|entry| entry.seq), Some(1));
    assert_eq!(again.last(Kind::Renew).unwrap().map(|entry| entry.seq), Some(21));
    assert_eq!(again.last(Kind::Receipt).unwrap(), None);
    again.append_if_new(5, Draft::message(RecordKind::Hello, "{\"type\":\"Hello\",\"v\":2}")).unwrap();
    assert_eq!(bench.verify().unwrap().entries, 22);
    let too_long = again.append(5, Draft::message(RecordKind::Renew, &"\u{1}".repeat(300_000)));
    assert!(matches!(too_long, Err(LedgerError::TooLong { .. })));
}

#[test]
fn a_ledger_that_was_moved_aside_or_shortened_is_noticed() {
    let bench = Bench::new();
    let mut ledger = bench.open();
    bench.enter(&mut ledger, 5, 1);
    bench.enter(&mut ledger, 5, 2);
    fs::rename(bench.path(), bench.directory.path().join("aside")).unwrap();
    bench.enter(&mut ledger, 5, 3);
    bench.enter(&mut ledger, 5, 4);
    assert_eq!(bench.verify().unwrap().entries, 2);
    fs::File::options().write(true).open(bench.path()).unwrap().set_len(0).unwrap();
    let shorter = ledger.append(1, Draft::consent(Switch::Tunnel, true, false, By::Command));
    assert!(matches!(shorter, Err(LedgerError::Shortened { .. })));
}

//! `demarc sent`: shows and checks the ledger of everything that left.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;

use crate::{
    gate::{
        entry::{About, Entry, Kind},
        lines::Entries,
        verify::{Verified, VerifyError, verify},
    },
    settings::Settings,
    state::{Site, StateDir},
};

/// Arguments of `demarc sent`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  demarc sent\n  demarc sent show 7 | sha256sum\n  demarc sent verify")]
pub struct SentArgs {
    /// Prints JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<SentCommand>,
}

#[derive(Debug, Subcommand)]
enum SentCommand {
    /// Lists the entries of the ledger, the newest last; this is what happens when nothing is named.
    List,
    /// Prints the exact bytes of one entry, and nothing else, on standard output.
    #[command(after_help = "Example: demarc sent show 3")]
    Show {
        /// The entry's number.
        seq: u64,
    },
    /// Checks the whole chain of the ledger, and every receipt of the hub.
    Verify,
}

/// Does what was asked.
///
/// # Errors
/// When the ledger cannot be read, or there is no such entry.
pub fn run(args: &SentArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let state = StateDir::new(&settings.state_dir);
    let mut out = io::stdout().lock();
    let code = match args.command {
        None | Some(SentCommand::List) => list(&state, args.json, &mut out).map(|()| ExitCode::SUCCESS),
        Some(SentCommand::Show { seq }) => show(&state, seq, args.json, &mut out).map(|()| ExitCode::SUCCESS),
        Some(SentCommand::Verify) => check(&state, args.json, &mut out),
    };
    match code {
        // Whoever read the output has seen enough.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) => {
            Ok(ExitCode::SUCCESS)
        }
        code => code,
    }
}

fn entries(state: &StateDir) -> anyhow::Result<Entries> {
    Entries::open(&state.ledger()).with_context(|| format!("cannot read the ledger {}", state.ledger().display()))
}

fn list(state: &StateDir, as_json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    // Receipts follow their reports, so that they have to be known before the first report is shown. Where the ledger
    // cannot be read on, the list ends too, and says so.
    let mut confirmed = std::collections::HashSet::new();
    for placed in entries(state)?.map_while(Result::ok) {
        if let (Kind::Receipt, Some(report)) = (placed.entry.kind(), placed.entry.about.report()) {
            confirmed.insert(report);
        }
    }
    let receipt_of = |entry: &Entry| match entry.about {
        About::Report { report, .. } => Some(confirmed.contains(&report)),
        _ => None,
    };
    if as_json {
        return list_json(state, receipt_of, out);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["seq", "time", "kind", "bytes", "about", "receipt"]);
    let mut unreadable = None;
    for placed in entries(state)? {
        let entry = match placed {
            Ok(placed) => placed.entry,
            Err(error) => {
                unreadable = Some(error);
                break;
            }
        };
        let receipt = receipt_of(&entry).map_or("", |there| if there { "yes" } else { "no" });
        table.add_row([
            &entry.seq.to_string(),
            &entry.time,
            entry.kind().as_str(),
            &entry.bytes.len().to_string(),
            &entry.about.in_words(),
            receipt,
        ]);
    }
    if table.row_count() == 0 && unreadable.is_none() {
        return Ok(writeln!(out, "Nothing has left: the ledger has no entries.")?);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for column in [0, 3] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    writeln!(out, "{}", table.trim_fmt())?;
    unreadable.map_or(Ok(()), |error| Err(error.into()))
}

/// One entry at a time, so that a long ledger needs no memory.
fn list_json(
    state: &StateDir,
    receipt_of: impl Fn(&Entry) -> Option<bool>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    write!(out, "{{\"entries\":[")?;
    for (place, placed) in entries(state)?.enumerate() {
        let entry = placed?.entry;
        let separator = if place == 0 { "" } else { "," };
        let mut row = header(&entry);
        if let Some(there) = receipt_of(&entry) {
            row["receipt"] = there.into();
        }
        write!(out, "{separator}\n{row}")?;
    }
    Ok(writeln!(out, "\n]}}")?)
}

/// Everything of an entry but its bytes.
fn header(entry: &Entry) -> serde_json::Value {
    let about = serde_json::to_value(&entry.about).unwrap_or_default();
    json!({
        "seq": entry.seq,
        "time": entry.time,
        "kind": entry.kind().as_str(),
        "size": entry.bytes.len(),
        "about": about["about"],
        "prev": entry.prev,
        "hash": entry.hash,
    })
}

fn show(state: &StateDir, seq: u64, as_json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    for placed in entries(state)? {
        let entry = placed?.entry;
        if entry.seq != seq {
            continue;
        }
        if as_json {
            let mut whole = header(&entry);
            whole["bytes"] = entry.bytes.into();
            return Ok(writeln!(out, "{whole}")?);
        }
        let about = entry.about.in_words();
        eprintln!("entry {seq}, {}, {} {about}, {} bytes", entry.time, entry.kind().as_str(), entry.bytes.len());
        return Ok(out.write_all(entry.bytes.as_bytes())?);
    }
    bail!("the ledger has no entry {seq}; `demarc sent list` shows those that it has")
}

fn check(state: &StateDir, as_json: bool, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let site = site(state)?;
    let key = site.as_ref().map(|site| site.receipt_key.0.as_slice());
    match verify(&state.ledger(), key) {
        Ok(verified) if as_json => {
            let Verified { entries, reports, receipts, unchecked, torn, head } = verified;
            writeln!(
                out,
                "{}",
                json!({
                    "whole": true, "entries": entries, "reports": reports, "receipts": receipts,
                    "unchecked_receipts": unchecked, "torn_bytes": torn, "head": head,
                })
            )?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(verified) => {
            writeln!(out, "{}", verified.in_words(key.is_some()))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(VerifyError::Broken(broken)) => {
            match as_json {
                true => writeln!(
                    out,
                    "{}",
                    json!({"whole": false, "seq": broken.seq, "offset": broken.offset, "why": broken.why.to_string()})
                )?,
                false => writeln!(io::stderr(), "{}: {broken}.", state.ledger().display())?,
            }
            Ok(ExitCode::FAILURE)
        }
        Err(VerifyError::Io(error)) => {
            Err(error).with_context(|| format!("cannot read the ledger {}", state.ledger().display()))
        }
    }
}

/// The enrollment, if there is one.
fn site(state: &StateDir) -> anyhow::Result<Option<Site>> {
    let path = state.site_file();
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    serde_json::from_slice(&text).map(Some).with_context(|| format!("cannot understand {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use demarc_proto::{
        Cell, Receipt, ReportId, Window,
        report::{Destination, Quality},
    };
    use expect_test::expect;

    use super::*;
    use crate::{
        gate::{
            Cleared, Consent, Ledger, clear,
            entry::{By, Draft, Switch},
        },
        ipc::RecordKind,
        tally::{Tally, TallyKey},
    };

    /// A ledger with one entry of most kinds; the receipt is signed by nobody that the site knows.
    fn ledger() -> (tempfile::TempDir, StateDir, Cleared) {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::new(directory.path());
        let mut ledger = Ledger::open(&state).unwrap();
        let key = TallyKey {
            hour: 0,
            cell: Cell::from_index(0).unwrap(),
            talk: 1,
            wait: 1,
            destination: Destination::NotOutbound,
            quality: Quality::Unknown,
        };
        let window = Window { start: 1_795_305_600, seconds: 86_400 };
        let tally = Tally { window, calls: [(key, 12)].into(), peak_concurrency: 1 };
        let enrolled = Some(("site-one".parse().unwrap(), 0));
        let consent = Consent { upload: true, enrolled, grace: Duration::ZERO, accepted_schema: 1 };
        let mut send = |number: u8| {
            let report = crate::report::build(&tally, ReportId::from_bits([number; 16]), 10).unwrap();
            clear(&consent, 1_795_338_000, report, &mut ledger).unwrap()
        };
        let (cleared, withdrawn) = (send(0xab), send(0xcd));
        let key = aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap();
        let receipt = Receipt::sign(&key, "site-one".parse().unwrap(), cleared.id(), cleared.body().as_bytes(), 7);
        for draft in [
            Draft::receipt(&receipt),
            Draft::message(RecordKind::Hello, "{}"),
            Draft::consent(Switch::Upload, true, false, By::Command),
            Draft::withdrawn(withdrawn.id()),
        ] {
            ledger.append(1_795_338_060, draft).unwrap();
        }
        (directory, state, cleared)
    }

    fn printed(print: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        print(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_list_is_a_table_with_the_newest_last() {
        let (_directory, state, _) = ledger();
        let receipt_bytes = Entries::open(&state.ledger()).unwrap().nth(2).unwrap().unwrap().entry.bytes.len();
        let text = printed(|out| list(&state, false, out).unwrap()).replace(&receipt_bytes.to_string(), "NNN");
        expect![[r#"
            seq  time                  kind       bytes  about                                      receipt
              1  2026-11-22T09:00:00Z  report      4096  abababab from 2026-11-22T00:00:00Z for 1d  yes
              2  2026-11-22T09:00:00Z  report      4096  cdcdcdcd from 2026-11-22T00:00:00Z for 1d  no
              3  2026-11-22T09:01:00Z  receipt      NNN  abababab
              4  2026-11-22T09:01:00Z  hello          2
              5  2026-11-22T09:01:00Z  consent        0  uploads from on to off by command
              6  2026-11-22T09:01:00Z  withdrawn      0  cdcdcdcd
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn the_list_in_json_has_all_but_the_bytes() {
        let (_directory, state, cleared) = ledger();
        let text = printed(|out| list(&state, true, out).unwrap());
        let list: serde_json::Value = serde_json::from_str(&text).unwrap();
        let entries = list["entries"].as_array().unwrap();
        assert_eq!(entries.len(), 6);
        assert_eq!(entries[0]["about"]["report"], cleared.id().to_string());
        assert_eq!((&entries[0]["receipt"], &entries[1]["receipt"]), (&json!(true), &json!(false)));
        assert_eq!(entries[0]["size"], cleared.body().len());
        assert_eq!(entries[1]["prev"], entries[0]["hash"]);
        assert!(entries.iter().all(|entry| entry.get("bytes").is_none()));
    }

    #[test]
    fn show_prints_the_bytes_and_nothing_else() {
        let (_directory, state, cleared) = ledger();
        assert_eq!(printed(|out| show(&state, 1, false, out).unwrap()), cleared.body());
        let whole: serde_json::Value =
            serde_json::from_str(&printed(|out| show(&state, 1, true, out).unwrap())).unwrap();
        assert_eq!(whole["bytes"], cleared.body());
        let missing = show(&state, 7, false, &mut Vec::new()).unwrap_err().to_string();
        expect!["the ledger has no entry 7; `demarc sent list` shows those that it has"].assert_eq(&missing);
    }

    #[test]
    fn verify_says_what_it_found_and_where_it_breaks() {
        let (_directory, state, _) = ledger();
        let text = printed(|out| assert_eq!(check(&state, false, out).unwrap(), ExitCode::SUCCESS));
        let first_line = text.lines().next().unwrap();
        expect!["The ledger is whole: 6 entries, 2 reports, 0 receipts good. 1 receipt could not be checked: this site is not enrolled, so the hub's key is not known."].assert_eq(first_line);
        let ledger = std::fs::read_to_string(state.ledger()).unwrap();
        std::fs::write(state.ledger(), ledger.replacen("\"off", "\"oof", 1).replacen("hello", "hallo", 1)).unwrap();
        let upto_the_break = printed(|out| assert!(list(&state, false, out).is_err()));
        assert_eq!(upto_the_break.lines().count(), 4, "a heading and three entries: {upto_the_break}");
        let text = printed(|out| assert_eq!(check(&state, true, out).unwrap(), ExitCode::FAILURE));
        let broken: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&broken["whole"], &broken["seq"]), (&json!(false), &json!(4)));
    }

    #[test]
    fn nothing_yet_is_whole_and_empty() {
        let state = StateDir::new("/nonexistent");
        expect![[r#"
            Nothing has left: the ledger has no entries.
        "#]]
        .assert_eq(&printed(|out| list(&state, false, out).unwrap()));
        assert_eq!(printed(|out| list(&state, true, out).unwrap()), "{\"entries\":[\n]}\n");
        expect![[r#"
            The ledger is whole: 0 entries, 0 reports, 0 receipts good.
        "#]]
        .assert_eq(&printed(|out| assert_eq!(check(&state, false, out).unwrap(), ExitCode::SUCCESS)));
    }
}

//! However many threads read a file, in whatever pieces: the figures are those of reading it from one end to the other.

use std::{collections::BTreeMap, fs, path::PathBuf};

use proptest::prelude::*;

use crate::{
    call::{CallRules, Figures},
    import::{self, Input},
    pbx::{Row, RowReader, Zone},
    settings::Pbx,
    state::StateDir,
    store::{RollupRow, Store},
};

const NOW: u64 = 1_795_400_000;

/// Quarter hour, direction and outcome, and names.
type Cell = (i64, usize, [Option<String>; 3]);

/// Everything that the store shows of calls and rows.
#[derive(Debug, PartialEq)]
struct Shown {
    counts: [u64; 5],
    cells: BTreeMap<Cell, [i64; 4]>,
    quarantine: Vec<Vec<u8>>,
}

fn shown(store: &Store) -> Shown {
    let counts = store.counts().unwrap();
    let texts = store.texts().unwrap();
    let mut cells = BTreeMap::<_, Figures>::new();
    let add = |row: RollupRow| {
        let names = [
            texts.trunk(row.trunk).map(|name| name.expose().to_owned()),
            texts.queue(row.queue).map(|name| name.expose().to_owned()),
            texts.extension(row.extension).map(|name| name.expose().to_owned()),
        ];
        cells.entry((row.quarter, row.cell.index(), names)).or_default().add(&row.figures);
    };
    store.rollups(i64::MIN, i64::MAX, add).unwrap();
    cells.retain(|_, figures| !figures.is_zero());
    let amounts = |Figures { calls, legs, talk_seconds, wait_seconds }| [calls, legs, talk_seconds, wait_seconds];
    Shown {
        counts: [counts.calls, counts.legs, counts.rows, counts.malformed, counts.duplicates],
        cells: cells.into_iter().map(|(place, figures)| (place, amounts(figures))).collect(),
        quarantine: store.quarantine(u32::MAX).unwrap().into_iter().map(|row| row.bytes).collect(),
    }
}

fn rules() -> CallRules {
    let trunks = ["provider1", "provider2", "peer"].map(String::from).to_vec();
    CallRules::new(&Pbx { trunks, ..Pbx::default() })
}

fn store(directory: &tempfile::TempDir) -> Store {
    Store::open(&StateDir::new(directory.path().join("state"))).unwrap()
}

/// From one end to the other, in one batch of what is read live.
fn in_sequence(bytes: &[u8], zone: &Zone) -> Shown {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, rules) = (store(&directory), rules());
    let mut batch = store.batch(&rules).unwrap();
    RowReader::new(zone.clone()).read(bytes, true, u64::MAX, &mut |row| match row {
        Row::Leg(leg) => batch.leg(&leg, u64::MAX),
        Row::Repeat => batch.repeat(),
        Row::Malformed { bytes, why } => batch.malformed(bytes, why),
        Row::Queue(_) => unreachable!("a file of calls"),
    });
    batch.commit(NOW).unwrap();
    shown(&store)
}

/// As an import does it; in two, where it was interrupted.
fn by_import(bytes: &[u8], zone: &Zone, interrupted_after: Option<usize>) -> Shown {
    let directory = tempfile::tempdir().unwrap();
    let mut store = store(&directory);
    let path = directory.path().join("old.csv");
    for length in interrupted_after.into_iter().chain([bytes.len()]) {
        fs::write(&path, &bytes[..length]).unwrap();
        let input = Input::open(&path).unwrap();
        import::file(&mut store, input, zone.clone(), &rules(), &|| NOW, &mut |_| {}).unwrap();
    }
    shown(&store)
}

fn data(name: &str) -> Vec<u8> {
    fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/data/pbx").join(name)).unwrap()
}

const FILES: [&str; 5] = [
    "asterisk16/Master.default16.csv",
    "asterisk16/Master.uniqueid18.csv",
    "asterisk22/Master.uniqueid18.csv",
    "asterisk22-options/Master.batch.csv",
    "rotate/files/Master.csv.2",
];

/// 21 columns: calls of three legs that end some rows apart.
fn ring_groups(count: usize) -> Vec<u8> {
    let mut lines = Vec::new();
    for call in 0..count {
        for leg in 0..3 {
            let second = 1_795_310_000 + call as i64 * 20;
            let wall = |second: i64| jiff::Timestamp::from_second(second).unwrap().strftime("%F %T").to_string();
            let (start, end) = (wall(second), wall(second + 30 + leg * 11));
            let (answer, word) =
                if leg == 1 { (format!("\"{end}\""), "ANSWERED") } else { (String::new(), "NO ANSWER") };
            let line = format!(
                "\"\",\"1\",\"620\",\"g\",\"\"\"A, B\"\" <1>\",\"PJSIP/provider1-{call:08x}\",\"PJSIP/20{leg}-{call:08x}\",\
                 \"Dial\",\"x\",\"{start}\",{answer},\"{end}\",30,0,\"{word}\",\"DOCUMENTATION\",\"{second}.{call}\",\"\",\"\",\
                 \"{second}.{call}\",{}\n",
                call * 4 + leg as usize
            );
            lines.push((second + 30 + leg * 11, line));
        }
    }
    lines.sort();
    lines.into_iter().flat_map(|(_, line)| line.into_bytes()).collect()
}

#[test]
fn real_files_amount_to_the_same() {
    for file in FILES.map(data).into_iter().chain([ring_groups(100)]) {
        for zone in [None, Some("America/New_York")] {
            let zone = zone.map_or_else(Zone::utc, |name| Zone::load(Some(name)).unwrap());
            let expected = in_sequence(&file, &zone);
            assert!(expected.counts[0] > 20);
            assert_eq!(by_import(&file, &zone, None), expected);
        }
    }
}

/// What goes wrong with files.
#[derive(Clone, Debug)]
enum Harm {
    /// Bytes are lost: a torn row, and the next one on its line.
    Cut(usize, usize),
    /// Bytes stand twice.
    Double(usize, usize),
    /// Something stands where it should not.
    Insert(usize, &'static [u8]),
    /// A row of the account that is written twice.
    Master(usize),
}

fn harm() -> impl Strategy<Value = Harm> {
    let place = 0..1_000_000_usize;
    prop_oneof![
        (place.clone(), 1..400_usize).prop_map(|(at, length)| Harm::Cut(at, length)),
        (place.clone(), 1..3000_usize).prop_map(|(at, length)| Harm::Double(at, length)),
        (
            place.clone(),
            prop::sample::select(vec![&b"\""[..], b"\n", b"\"\"", b",", b"\r\n", b"\0\0\0", b"x\n\"\",\"1\"", b"\xfc"])
        )
            .prop_map(|(at, what)| Harm::Insert(at, what)),
        place.prop_map(Harm::Master),
    ]
}

fn harmed(file: &[u8], harms: &[Harm]) -> Vec<u8> {
    let mut file = file.to_vec();
    for harm in harms {
        match *harm {
            Harm::Cut(at, length) => {
                let at = at % file.len();
                file.drain(at..(at + length).min(file.len() - 1).max(at));
            }
            Harm::Double(at, length) => {
                let at = at % file.len();
                let again = file[at..(at + length).min(file.len())].to_vec();
                file.splice(at..at, again);
            }
            Harm::Insert(at, what) => {
                let at = at % file.len();
                file.splice(at..at, what.iter().copied());
            }
            Harm::Master(at) => {
                let at = at % file.len();
                let Some(line) = file[at..].iter().position(|&byte| byte == b'\n').map(|line| at + line + 1) else {
                    continue;
                };
                let Some(end) = file[line..].iter().position(|&byte| byte == b'\n').map(|end| line + end + 1) else {
                    continue;
                };
                if !file[line..].starts_with(b"\"\",") {
                    continue;
                }
                let row = [b"\"Master\"", &file[line + 2..end]].concat();
                file.splice(line..end, [&row[..], &row].concat());
            }
        }
    }
    file
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn harmed_files_amount_to_the_same(
        which in 0..FILES.len() + 1,
        from in 0..100_usize,
        harms in prop::collection::vec(harm(), 0..12),
        interruption in prop::option::of(0..100_usize),
        autumn in any::<bool>(),
    ) {
        let whole = FILES.get(which).map_or_else(|| ring_groups(60), |name| data(name));
        // Where the file begins with a row, quotes tell where rows end.
        let from = if harms.is_empty() { 0 } else { from };
        let part = &whole[whole.len() * from / 200..];
        let part = &part[..part.len().min(30_000)];
        let mut file = harmed(part, &harms);
        if autumn {
            // All of it happens in the night in which the clock is put back.
            let text = file.windows(10).enumerate().filter(|(_, text)| *text == b"2026-11-22").map(|(at, _)| at);
            for at in text.collect::<Vec<_>>() {
                file[at..at + 10].copy_from_slice(b"2026-11-01");
            }
        }
        let zone = Zone::load(Some("America/New_York")).unwrap();
        let expected = in_sequence(&file, &zone);
        prop_assert_eq!(&by_import(&file, &zone, None), &expected);
        // An import ends at the file's end of then, also in the middle of a row; so this is about whole rows.
        let mut quotes = 0;
        let is_end_of_row = |byte: &u8| {
            quotes += usize::from(*byte == b'"');
            *byte == b'\n' && quotes % 2 == 0
        };
        let ends: Vec<bool> = file.iter().map(is_end_of_row).collect();
        let lines: Vec<usize> = ends.iter().enumerate().filter(|(_, ends)| **ends).map(|(at, _)| at + 1).collect();
        if harms.is_empty() && let Some(number) = interruption && !lines.is_empty() {
            let stop = lines[lines.len() * number / 100];
            prop_assert_eq!(&by_import(&file, &zone, Some(stop)), &expected);
        }
    }
}

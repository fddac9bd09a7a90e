//! Random interleavings of writing, rotating, reading, stopping and crashing: every row once, in order.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Append(u64),
    /// Half a row; the next append begins with the other half.
    Half,
    Rename,
    RenameAndCreate,
    CopyTruncate,
    /// A program that keeps its file open writes to the one that was renamed last.
    Late(u64),
    Poll(u64),
    /// Polls, and the process ends before the rows are stored.
    Crash(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..6_u64).prop_map(Step::Append),
        1 => Just(Step::Half),
        2 => Just(Step::Rename),
        2 => Just(Step::RenameAndCreate),
        3 => Just(Step::CopyTruncate),
        2 => (1..3_u64).prop_map(Step::Late),
        6 => (1..8_u64).prop_map(Step::Poll),
        2 => (1..8_u64).prop_map(Step::Crash),
        2 => Just(Step::Restart),
    ]
}

struct World {
    bench: Bench,
    dated: bool,
    written: u64,
    half: Option<String>,
    rotations: u64,
    clock: u64,
    tail: Tail,
    stored: Option<Position>,
    delivered: Vec<u64>,
    /// The file that each row was written to.
    files: Vec<u64>,
    file: u64,
    /// The file that was renamed last, while somebody may still write to it.
    renamed: Option<(String, u64)>,
}

impl World {
    fn new(dated: bool) -> Self {
        let bench = Bench::new();
        let tail = bench.tail(None);
        Self {
            bench,
            dated,
            written: 0,
            half: None,
            rotations: 0,
            clock: 0,
            tail,
            stored: None,
            delivered: Vec::new(),
            files: Vec::new(),
            file: 0,
            renamed: None,
        }
    }

    /// Files change at different times, which the kernel's coarse clock would not show here.
    fn touch(&mut self, ending: &str) {
        self.clock += 1;
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000) + Duration::from_millis(self.clock);
        File::options().write(true).open(self.bench.beside(ending)).unwrap().set_modified(time).unwrap();
    }

    fn write(&mut self, text: &str) {
        let mut file = OpenOptions::new().append(true).create(true).open(&self.bench.path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        self.touch("");
    }

    fn finish_half(&mut self) {
        if let Some(rest) = self.half.take() {
            self.write(&rest);
            self.note(1, self.file);
        }
    }

    fn note(&mut self, rows: u64, file: u64) {
        self.written += rows;
        self.files.extend((0..rows).map(|_| file));
    }

    /// Makes room for a file that is rotated away, and says what it is to be called.
    fn rotated(&mut self) -> String {
        self.rotations += 1;
        if self.dated {
            return format!("-{}", 1_795_000_000 + self.rotations);
        }
        for number in (1..self.rotations).rev() {
            let from = format!(".{number}");
            if self.bench.beside(&from).exists() {
                self.bench.rename(&from, &format!(".{}", number + 1));
            }
        }
        ".1".to_owned()
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Append(count) => {
                self.finish_half();
                let text: String = (self.written..self.written + count).map(line).collect();
                self.write(&text);
                self.note(*count, self.file);
            }
            Step::Half => {
                self.finish_half();
                let row = line(self.written);
                let (half, rest) = row.split_at(row.len() / 2);
                self.write(half);
                self.half = Some(rest.to_owned());
            }
            Step::Rename | Step::RenameAndCreate | Step::CopyTruncate => {
                // A row is written in one go; a rotation in the middle of one is none of ours to mend.
                self.finish_half();
                if !self.bench.path.exists() {
                    return;
                }
                let name = self.rotated();
                self.renamed = None;
                self.file += 1;
                if matches!(step, Step::CopyTruncate) {
                    fs::copy(&self.bench.path, self.bench.beside(&name)).unwrap();
                    self.touch(&name);
                    File::options().write(true).open(&self.bench.path).unwrap().set_len(0).unwrap();
                    self.touch("");
                } else {
                    self.bench.rename("", &name);
                    if fs::metadata(self.bench.beside(&name)).unwrap().len() > 0 {
                        self.renamed = Some((name, self.file - 1));
                    }
                    if matches!(step, Step::RenameAndCreate) {
                        File::create(&self.bench.path).unwrap();
                        self.touch("");
                    }
                }
            }
            Step::Late(count) => {
                let Some((name, file)) = self.renamed.clone() else { return };
                self.finish_half();
                let text: String = (self.written..self.written + count).map(line).collect();
                OpenOptions::new()
                    .append(true)
                    .open(self.bench.beside(&name))
                    .unwrap()
                    .write_all(text.as_bytes())
                    .unwrap();
                self.touch(&name);
                self.note(*count, file);
            }
            Step::Poll(rows) => {
                self.set_rows(*rows);
                poll(&mut self.tail, &mut self.delivered).unwrap();
                self.stored = Some(self.tail.position());
            }
            Step::Crash(rows) => {
                self.set_rows(*rows);
                poll(&mut self.tail, &mut Vec::new()).unwrap();
                self.restart();
            }
            Step::Restart => self.restart(),
        }
    }

    fn set_rows(&mut self, rows: u64) {
        self.tail.rows = rows;
    }

    fn restart(&mut self) {
        // The position is stored as text.
        let stored = self.stored.as_ref().map(|position| {
            let text = serde_json::to_string(position).unwrap();
            serde_json::from_str(&text).unwrap()
        });
        self.tail = self.bench.tail(stored);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_row_once_and_in_order(dated in any::<bool>(), steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new(dated);
        // Rows that are rotated away before the first look are for `demarc import`.
        world.take(&Step::Poll(1));
        for step in &steps {
            world.take(step);
        }
        world.finish_half();
        world.set_rows(ROWS);
        for _ in 0..100 {
            if !poll(&mut world.tail, &mut world.delivered).unwrap().more {
                break;
            }
        }
        let mut sorted = world.delivered.clone();
        sorted.sort_unstable();
        prop_assert_eq!(sorted, (0..world.written).collect::<Vec<_>>());
        let late = steps.iter().any(|step| matches!(step, Step::Late(_)));
        for pair in world.delivered.windows(2) {
            let files = [world.files[pair[0] as usize], world.files[pair[1] as usize]];
            prop_assert!(pair[0] < pair[1] || late && files[0] != files[1], "{:?}", world.delivered);
        }
    }
}

//! Files that come, are half written, too long, moved away: each counts once.

use std::{collections::BTreeMap, fs::File, io::Write};

use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;
use crate::pbx::stream::Said;

const A_LEG: &str = include_str!("../../../../../tests/data/pbx/freeswitch/a_leg.cdr.json");

/// A directory, and a store that keeps what is delivered.
struct Bench {
    root: TempDir,
    directory: Directory,
    outlet: Outlet,
    receiver: mpsc::Receiver<(usize, Said)>,
    delivered: BTreeMap<u64, i64>,
    rows: Vec<String>,
}

fn bench() -> Bench {
    let root = tempfile::tempdir().unwrap();
    let (sender, receiver) = mpsc::channel(4);
    Bench {
        directory: directory(&root, &BTreeMap::new()),
        root,
        outlet: Outlet::new(0, sender),
        receiver,
        delivered: BTreeMap::new(),
        rows: Vec::new(),
    }
}

fn directory(root: &TempDir, delivered: &BTreeMap<u64, i64>) -> Directory {
    let site = Site { outside: vec!["external".into()], tells_of_bridges: true };
    let start = Start { delivered: delivered.iter().map(|(name, at)| (*name, *at)).collect(), ..Start::default() };
    Directory::new(root.path().to_owned(), site, Zone::utc(), start)
}

impl Bench {
    fn write(&self, number: u32, text: &str) -> PathBuf {
        let path = self.root.path().join(format!("a_{number}.cdr.json"));
        fs::write(&path, text).unwrap();
        path
    }

    /// One look at the directory; what it delivers is stored. Hands back what it complains of.
    async fn look(&mut self) -> Option<String> {
        let Self { directory, outlet, receiver, delivered, rows, .. } = self;
        let look = directory.look(false, outlet);
        tokio::pin!(look);
        loop {
            tokio::select! {
                trouble = &mut look => return trouble.unwrap(),
                said = receiver.recv() => {
                    let Some((_, Said::Portion(portion))) = said else { panic!("rows are awaited") };
                    for entry in portion.rows.entries {
                        let (name, at) = entry.name.unwrap();
                        assert_eq!(delivered.insert(name, at), None, "one file twice");
                        rows.push(entry.row.map_or_else(|row| row.why.to_string(), |row| row.start.to_string()));
                    }
                    delivered.retain(|_, at| *at >= portion.rows.forget_before);
                    portion.stored.send(()).unwrap();
                }
            }
        }
    }

    fn restart(&mut self) {
        self.directory = directory(&self.root, &self.delivered);
    }
}

#[tokio::test]
async fn each_file_is_read_once_through_restarts() {
    let mut bench = bench();
    for number in 0..300 {
        bench.write(number, A_LEG);
    }
    fs::write(bench.root.path().join("notes.txt"), "x").unwrap();
    assert_eq!(bench.look().await, None);
    assert_eq!(bench.rows.len(), 300);
    bench.restart();
    bench.write(300, A_LEG);
    assert_eq!(bench.look().await, None);
    assert_eq!(bench.look().await, None);
    assert_eq!(bench.rows.len(), 301);
}

#[tokio::test]
async fn names_of_files_that_are_gone_are_forgotten() {
    let mut bench = bench();
    let paths: Vec<_> = (0..8).map(|number| bench.write(number, A_LEG)).collect();
    bench.look().await;
    // As if they had been read yesterday.
    bench.delivered.values_mut().for_each(|at| *at -= 86_400);
    bench.restart();
    bench.write(8, A_LEG);
    bench.look().await;
    assert_eq!((bench.rows.len(), bench.delivered.len()), (9, 9), "they are still there");
    for path in &paths {
        fs::remove_file(path).unwrap();
    }
    bench.look().await;
    assert_eq!((bench.rows.len(), bench.delivered.len(), bench.directory.read.len()), (9, 1, 1));
}

#[tokio::test]
async fn a_file_that_is_being_written_is_read_when_it_is_finished() {
    let mut bench = bench();
    let path = bench.write(1, "");
    bench.look().await;
    let mut file = File::options().append(true).open(&path).unwrap();
    file.write_all(&A_LEG.as_bytes()[..1000]).unwrap();
    bench.look().await;
    assert_eq!(bench.rows.len(), 0);
    assert!(bench.directory.may_have_changed(), "a file is awaited");
    file.write_all(&A_LEG.as_bytes()[1000..]).unwrap();
    bench.look().await;
    assert_eq!(bench.rows, ["1795309040"]);
    // One that is never finished counts as torn after a while.
    bench.write(2, &A_LEG[..1000]);
    bench.look().await;
    for unfinished in bench.directory.unfinished.values_mut() {
        unfinished.since -= UNFINISHED;
    }
    bench.look().await;
    assert_eq!(bench.rows, ["1795309040", "torn"]);
}

#[tokio::test]
async fn what_is_no_leg_is_kept_from_the_figures() {
    let mut bench = bench();
    bench.write(1, &format!("{{\"x\": \"{}\"}}", "y".repeat(LONGEST as usize)));
    bench.look().await;
    bench.write(2, "nonsense");
    bench.look().await;
    bench.look().await;
    assert_eq!(bench.rows, ["too-long", "quoting"]);
    std::os::unix::fs::symlink("a_2.cdr.json", bench.root.path().join("a_3.cdr.json")).unwrap();
    let trouble = bench.look().await.unwrap();
    assert!(trouble.contains("is a symbolic link"), "{trouble}");
    assert_eq!(bench.rows.len(), 2);
}

#[tokio::test]
async fn an_unchanged_directory_is_not_listed_again() {
    let mut bench = bench();
    bench.write(1, A_LEG);
    let long_ago = SystemTime::now() - Duration::from_secs(60);
    File::open(bench.root.path()).unwrap().set_modified(long_ago).unwrap();
    bench.look().await;
    assert!(!bench.directory.may_have_changed());
    bench.write(2, A_LEG);
    assert!(bench.directory.may_have_changed());
    fs::remove_dir_all(bench.root.path()).unwrap();
    assert!(bench.look().await.unwrap().contains("there is no directory"));
}

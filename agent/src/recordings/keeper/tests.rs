//! What the keeper counts, lists and removes in trees laid out for it. It is not confined here.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::*;
use crate::{
    recordings::{
        By, TreeKind, Work,
        files::{Listed, Prunings, read},
        trees::Tree,
    },
    settings::Settings,
};

const DAY: u64 = 86_400;
/// 2026-11-26.
const NOW: u64 = 1_795_680_000;

struct World {
    _root: tempfile::TempDir,
    root: PathBuf,
    settings: Settings,
    trees: Vec<Tree>,
}

impl World {
    fn new(section: &str) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().canonicalize().unwrap();
        let settings = Settings {
            state_dir: root.join("state"),
            recordings: toml::from_str(&section.replace("ROOT", root.to_str().unwrap())).unwrap(),
            ..Settings::default()
        };
        StateDir::new(&settings.state_dir).create().unwrap();
        Self { _root: temporary, root, settings, trees: Vec::new() }
    }

    fn tree(&mut self, name: &str, kind: TreeKind) {
        let path = self.root.join(name);
        fs::create_dir_all(&path).unwrap();
        self.trees.push(Tree { real: path.clone(), path, kind });
    }

    /// A file of so many bytes that was changed so many days ago.
    fn file(&self, path: &str, bytes: u64, days: u64) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = File::create(path).unwrap();
        file.set_len(bytes).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(NOW - days * DAY)).unwrap();
    }

    fn work(&self, work: &Work) -> Outcome {
        let job = Job::new(work, By::Command, &self.settings, self.trees.clone()).unwrap();
        // A process that another test starts in this moment holds the lock, too, until it has become another program.
        loop {
            match super::work(&job, NOW, &mut |_| {}) {
                Err(error) if error.to_string().contains("try again") => std::thread::sleep(Duration::from_millis(20)),
                done => return done.unwrap(),
            }
        }
    }

    fn is_there(&self, path: &str) -> bool {
        fs::symlink_metadata(self.root.join(path)).is_ok()
    }

    fn listed(&self) -> Vec<String> {
        let text = fs::read_to_string(StateDir::new(&self.settings.state_dir).recordings_list()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Listed>(line).unwrap());
        let below = |line: Listed| Path::new(&line.path).strip_prefix(&self.root).unwrap().display().to_string();
        let mut names: Vec<String> = lines.map(below).collect();
        names.sort();
        names
    }
}

const DRY_RUN: Work = Work::DryRun { older_than: None, names: 100 };
const PRUNE: Work = Work::Prune { older_than: None };

#[test]
fn a_tree_is_counted() {
    let mut world = World::new("[holds]\nextensions = [\"1001\"]");
    world.tree("monitor", TreeKind::Calls);
    world.file("monitor/2026/11/25/in-0151-1002-1.wav", 700, 1);
    world.file("monitor/2026/11/20/in-0151-1001-2.wav", 1_400, 6);
    world.file("monitor/2026/11/06/in-0151-1002-3.wav", 3_000, 20);
    world.file("monitor/2026/01/01/notes.txt", 5, 300);
    let outcome = world.work(&Work::Inventory);
    let tree = &outcome.trees[0];
    assert_eq!((tree.files, tree.bytes, tree.held), (4, 5_105, 1));
    assert_eq!((tree.oldest, tree.newest), (Some(NOW - 300 * DAY), Some(NOW - DAY)));
    assert_eq!((tree.bytes_per_day, tree.bytes_per_day_of_month), (300, 170));
    assert!(tree.free_bytes > 0 && tree.full_in_days == Some(tree.free_bytes / 300));
    // Without a confinement it opens, and that is told.
    assert_eq!(tree.cannot_open, Some(false));
    assert_eq!((outcome.due, outcome.last_pruning, outcome.older_than), (Sum::default(), None, None));
    assert_eq!(outcome.troubles.len() + tree.troubles.len(), 0);
}

#[test]
fn what_is_old_is_listed_and_then_removed_and_nothing_else() {
    let mut world = World::new(
        "retention = \"90d\"\n[holds]\nextensions = [\"1001\"]\npaths = [\"ROOT/monitor/case\", \"ROOT/monitor/one.wav\"]",
    );
    world.tree("monitor", TreeKind::Calls);
    let old = ["monitor/2026/in-0151-1002-1.wav", "monitor/old.WAV", "monitor/2026/08/a.gsm"];
    let stays = [
        ("monitor/2026/in-0151-1001-1.wav", 200),
        ("monitor/case/deep/a.wav", 200),
        ("monitor/one.wav", 200),
        ("monitor/young.wav", 89),
        ("monitor/edge.wav", 90),
        ("monitor/database.db", 200),
        ("monitor/noending", 200),
        ("outside/a.wav", 200),
    ];
    old.iter().for_each(|path| world.file(path, 10, 91));
    stays.iter().for_each(|(path, days)| world.file(path, 10, *days));
    symlink(world.root.join("outside/a.wav"), world.root.join("monitor/link.wav")).unwrap();
    symlink(world.root.join("outside"), world.root.join("monitor/link")).unwrap();

    let outcome = world.work(&DRY_RUN);
    let mut expected = old.map(str::to_owned);
    expected.sort();
    assert_eq!(world.listed(), expected);
    assert_eq!((outcome.due, outcome.listed), (Sum { files: 3, bytes: 30 }, 3));
    assert_eq!(outcome.kept_by_holds, Sum { files: 3, bytes: 30 });
    assert_eq!((outcome.removed, outcome.trees[0].files), (Sum::default(), 10));
    assert!(old.iter().all(|path| world.is_there(path)));
    assert_eq!(world.work(&Work::DryRun { older_than: None, names: 1 }).listed, 1);
    assert_eq!(world.work(&Work::DryRun { older_than: Some(150 * DAY), names: 9 }).due.files, 0);

    let outcome = world.work(&PRUNE);
    assert_eq!((outcome.removed, outcome.failed, outcome.changed), (Sum { files: 3, bytes: 30 }, 0, 0));
    assert!(!old.iter().any(|path| world.is_there(path)));
    assert!(stays.iter().all(|(path, _)| world.is_there(path)));
    assert!(world.is_there("monitor/link.wav") && world.is_there("monitor/2026/08"), "links and directories stay");
    assert_eq!((outcome.trees[0].files, outcome.trees[0].held), (7, 3));
    let last = outcome.last_pruning.unwrap();
    assert_eq!((last.began, last.files, last.bytes, last.older_than), (NOW, 3, 30, 90 * DAY));
    assert!(last.ended.is_some());
    let state = StateDir::new(&world.settings.state_dir);
    assert_eq!(read::<Prunings>(&state.prunings()).unwrap().prunings, [last]);
    assert_eq!(world.work(&PRUNE).removed, Sum::default());
}

#[test]
fn many_files_in_one_directory_go_in_batches() {
    let mut world = World::new("retention = \"90d\"");
    world.tree("monitor", TreeKind::Calls);
    (0..9_000).for_each(|number| world.file(&format!("monitor/{number}.wav"), 1, 100));
    world.file("monitor/young.wav", 1, 1);
    assert_eq!(world.work(&PRUNE).removed.files, 9_000);
    assert_eq!(world.work(&Work::Inventory).trees[0].files, 1);
}

#[test]
fn what_changes_while_it_is_looked_at_stays() {
    let mut world = World::new("retention = \"90d\"");
    world.tree("monitor", TreeKind::Calls);
    (0..1_500).for_each(|number| world.file(&format!("monitor/{number}.wav"), 1, 100));
    let written = |number: u64| format!("monitor/{}.wav", number * 100);
    let job = Job::new(&PRUNE, By::Command, &world.settings, world.trees.clone()).unwrap();
    // Between the first look at most of them and the second at any, somebody writes into some.
    let mut told = 0;
    let outcome = super::work(&job, NOW, &mut |_| {
        told += 1;
        (0..15).for_each(|number| fs::write(world.root.join(written(number)), "longer").unwrap());
    })
    .unwrap();
    assert_eq!(told, 1);
    assert!((1..=15).contains(&outcome.changed), "{outcome:?}");
    assert!((0..15).all(|number| world.is_there(&written(number))));
    assert_eq!((outcome.removed.files, outcome.trees[0].files), (1_485, 15));
}

#[test]
fn mailboxes_are_left_alone_unless_the_owner_says_so() {
    let mut world = World::new("retention = \"90d\"");
    world.tree("voicemail", TreeKind::Voicemail);
    world.tree("other", TreeKind::Calls);
    for path in ["voicemail/default/1001/INBOX/msg0000.wav", "other/voicemail/default/1001/Old/msg0000.wav"] {
        world.file(path, 10, 200);
    }
    let outcome = world.work(&PRUNE);
    assert_eq!((outcome.due.files, outcome.trees[0].files, outcome.trees[1].files), (0, 1, 1));
}

#[test]
fn a_message_goes_with_all_its_files_or_stays_with_all_of_them() {
    let mut world = World::new("retention = \"90d\"\nvoicemail = true\n[holds]\nextensions = [\"1002\"]");
    world.tree("voicemail", TreeKind::Voicemail);
    let inbox = "voicemail/default/1001/INBOX";
    let message = |name: &str, days: [u64; 3]| {
        for (ending, days) in ["txt", "wav", "gsm"].iter().zip(days) {
            world.file(&format!("{name}.{ending}"), 10, days);
        }
    };
    message(&format!("{inbox}/msg0000"), [200, 200, 200]);
    message(&format!("{inbox}/msg0001"), [200, 200, 10]);
    message("voicemail/default/1002/INBOX/msg0000", [200, 200, 200]);
    message("voicemail/default/1003/INBOX/msg0000", [200, 200, 200]);
    world.file("voicemail/default/1003/INBOX/.lock", 0, 0);
    for greeting in ["unavail.wav", "busy.wav", "greet.wav"] {
        world.file(&format!("voicemail/default/1001/{greeting}"), 10, 900);
    }
    let outcome = world.work(&PRUNE);
    assert_eq!((outcome.removed.files, outcome.kept_by_holds.files), (3, 3));
    assert!(!world.is_there(&format!("{inbox}/msg0000.txt")) && !world.is_there(&format!("{inbox}/msg0000.gsm")));
    assert!(world.is_there(&format!("{inbox}/msg0001.txt")) && world.is_there("voicemail/default/1001/unavail.wav"));
    // One mailbox was being worked on.
    assert!(world.is_there("voicemail/default/1003/INBOX/msg0000.txt"));
    fs::remove_file(world.root.join("voicemail/default/1003/INBOX/.lock")).unwrap();
    assert_eq!(world.work(&PRUNE).removed.files, 3);
}

#[test]
fn a_tree_in_a_tree_is_counted_once_by_its_own_rules() {
    let mut world = World::new("retention = \"90d\"");
    world.tree("spool", TreeKind::Calls);
    world.tree("spool/boxes", TreeKind::Voicemail);
    world.file("spool/boxes/1001/INBOX/msg0000.wav", 10, 200);
    world.file("spool/a.wav", 10, 200);
    let outcome = world.work(&PRUNE);
    assert_eq!((outcome.removed.files, outcome.trees[0].files, outcome.trees[1].files), (1, 0, 1));
    assert!(world.is_there("spool/boxes/1001/INBOX/msg0000.wav"));
}

#[test]
fn a_tree_that_is_gone_hinders_nobody() {
    let mut world = World::new("retention = \"90d\"");
    world.tree("gone", TreeKind::Calls);
    world.tree("monitor", TreeKind::Calls);
    fs::remove_dir(world.root.join("gone")).unwrap();
    world.file("monitor/a.wav", 10, 200);
    let outcome = world.work(&PRUNE);
    assert_eq!((outcome.removed.files, outcome.trees[0].troubles.len()), (1, 1));
}

#[test]
fn two_keepers_do_not_work_at_a_time() {
    let mut world = World::new("");
    world.tree("monitor", TreeKind::Calls);
    let _desk = Desk::take(&StateDir::new(&world.settings.state_dir)).unwrap().unwrap();
    let job = Job::new(&Work::Inventory, By::Command, &world.settings, world.trees.clone()).unwrap();
    assert!(super::work(&job, NOW, &mut |_| {}).is_err());
}

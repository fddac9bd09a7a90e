//! Recordings are counted and removed without one being opened; what is held, linked or being written survives, and so does
//! everything when the keeper is killed in the middle.

use std::{
    fs::{self, File},
    io::Write,
    mem::MaybeUninit,
    ops::{Deref, DerefMut},
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    },
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant, SystemTime},
};

use demarc_tests::{
    http::Answer,
    machine,
    pages::Pages,
    process, programs,
    site::{LIMIT, Setup, Site},
    wait,
};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use serde_json::Value;
use tempfile::TempDir;

const DAY: u64 = 86_400;
const MANY: u64 = 200_000;
/// How long a job on so many files may take on a busy machine.
const LONG: Duration = Duration::from_secs(300);
/// Somebody without any right of his own.
const NOBODY: u32 = 65_534;

/// A site, and two trees of recordings elsewhere.
struct Place {
    site: Site,
    spool: TempDir,
}

impl Place {
    fn new(rest: &str) -> Self {
        let spool = tempfile::Builder::new().prefix("demarc-spool-").tempdir().unwrap();
        let place = Self { site: Site::new(&Setup::default()), spool };
        for directory in ["monitor/case", "voicemail/default/1002/INBOX", "outside"] {
            fs::create_dir_all(place.path(directory)).unwrap();
        }
        place.configure(rest);
        place
    }

    /// A file or directory beside the trees, or in one.
    fn path(&self, name: &str) -> PathBuf {
        self.spool.path().join(name)
    }

    /// Settings of recordings. What really lies on the machine that the tests run on is held, whatever they do.
    fn configure(&self, rest: &str) {
        let own = [self.path("monitor"), self.path("voicemail")];
        let held = ["/var/spool/asterisk".into(), self.path("monitor/case")];
        let sections = format!(
            "[recordings]\npaths = {own:?}\n{rest}\n[recordings.holds]\nextensions = [\"1001\"]\npaths = {held:?}\n"
        );
        self.site.configure(&Setup { sections, ..Setup::default() });
    }
}

impl Deref for Place {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl DerefMut for Place {
    fn deref_mut(&mut self) -> &mut Site {
        &mut self.site
    }
}

/// A file that was changed last so many days ago, and a little more.
fn file(path: &Path, days: u64) {
    let file = File::create(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(days * DAY + 60)).unwrap();
}

/// So many recordings of half a year in directories like those of FreePBX; every fiftieth is of the extension 1001.
fn fill(site: &Place, files: u64) -> Vec<PathBuf> {
    let directories: Vec<PathBuf> = (0..90)
        .map(|number| site.path(&format!("monitor/2026/{:02}/{:02}", number / 28 + 1, number % 28 + 1)))
        .collect();
    directories.iter().for_each(|directory| fs::create_dir_all(directory).unwrap());
    for number in 0..files {
        let directory = &directories[usize::try_from(number).unwrap() % directories.len()];
        let extension = 1000 + number % 50;
        file(&directory.join(format!("in-0151{number}-{extension}-20260101-101010-1767.{number}.wav")), number % 180);
    }
    directories
}

fn count(directories: &[PathBuf]) -> usize {
    directories.iter().map(|directory| fs::read_dir(directory).unwrap().count()).sum()
}

/// How many of the filled files are older than 90 days and not held, by the rule that made them.
fn due(files: u64) -> u64 {
    (0..files).filter(|number| number % 180 >= 90 && number % 50 != 1).count() as u64
}

fn tree<'a>(status: &'a Value, site: &Place, name: &str) -> &'a Value {
    let path = Value::from(site.path(name).to_str().unwrap());
    let trees = status["trees"].as_array().unwrap_or_else(|| panic!("no trees: {status}"));
    trees.iter().find(|tree| tree["path"] == path).unwrap_or_else(|| panic!("{name} is not there: {status:#}"))
}

/// Runs a command that may take long.
fn run(site: &Place, arguments: &[&str]) -> process::Finished {
    process::run(site.command().args(arguments), LONG)
}

/// Sees every file below some directories that anybody opens.
struct Watch(OwnedFd);

impl Watch {
    fn new<'a>(directories: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        for directory in directories {
            inotify::add_watch(&watch, directory, WatchFlags::OPEN | WatchFlags::ACCESS).unwrap();
        }
        Self(watch)
    }

    /// The files that were opened or read since; that directories are is no secret.
    fn opened(&self) -> Vec<String> {
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut events = inotify::Reader::new(&self.0, &mut buffer);
        let mut opened = Vec::new();
        while let Ok(event) = events.next() {
            assert!(!event.events().contains(ReadFlags::QUEUE_OVERFLOW), "events were lost");
            if !event.events().contains(ReadFlags::ISDIR) {
                opened.push(format!("{:?} {:?}", event.file_name(), event.events()));
            }
        }
        opened
    }
}

#[test]
fn two_hundred_thousand_recordings_are_counted_and_pruned_and_none_is_opened() {
    let mut site = Place::new("");
    let directories = fill(&site, MANY);
    let held = site.path("monitor/case/old.wav");
    let target = site.path("outside/target.wav");
    for path in [&held, &target, &site.path("outside/other.wav"), &site.path("monitor/notes.txt")] {
        file(path, 500);
    }
    symlink(&target, site.path("monitor/link.wav")).unwrap();
    symlink(site.path("outside"), site.path("monitor/link")).unwrap();
    let message = site.path("voicemail/default/1002/INBOX/msg0000.wav");
    file(&message, 500);
    let live = site.path("monitor/2026/01/01/live.wav");
    file(&live, 500);
    let watched =
        [site.path("monitor"), site.path("monitor/case"), site.path("outside"), message.parent().unwrap().into()];
    let watch = Watch::new(directories.iter().skip(1).chain(&watched));
    site.start();

    let began = Instant::now();
    let status = run(&site, &["recordings", "--json"]).json();
    println!("{MANY} recordings were counted in {:?}", began.elapsed());
    let monitor = tree(&status, &site, "monitor");
    // With the one that is written, the one that is held, and the notes; links are none.
    assert_eq!(monitor["files"], MANY + 3);
    assert_eq!(monitor["held"], MANY / 50 + 1);
    if machine::has_landlock() {
        assert_eq!(monitor["cannot_open"], true, "{status:#}");
        assert_eq!(tree(&status, &site, "voicemail")["cannot_open"], true);
    }
    let text = site.run(&["status"]).ok();
    assert!(text.contains("monitor: 200003 files") && text.contains("off"), "{text}");

    let listed = run(&site, &["recordings", "prune", "--dry-run", "--older-than", "90d", "--all", "--json"]).json();
    assert_eq!(listed["due"]["files"], due(MANY) + 1, "and the one that is not written yet");
    assert_eq!(listed["names"].as_array().unwrap().len() as u64, due(MANY) + 1);
    assert_eq!(count(&directories) as u64, MANY + 1);
    let few = run(&site, &["recordings", "prune", "--dry-run", "--older-than", "90d"]).ok();
    assert!(few.contains("more; --all lists them"), "{few}");

    // Asterisk writes while everything else goes.
    let is_over = AtomicBool::new(false);
    let most_memory = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = File::options().append(true).open(&live).unwrap();
            while !is_over.load(Ordering::Relaxed) {
                file.write_all(&[0; 320]).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        wait::until_true(LIMIT, "the first bytes", || fs::metadata(&live).unwrap().len() > 0);
        let memory = scope.spawn(|| {
            let mut most = 0;
            while !is_over.load(Ordering::Relaxed) {
                most = site.role("keeper").and_then(process::resident).unwrap_or(0).max(most);
                std::thread::sleep(Duration::from_millis(20));
            }
            most
        });
        let began = Instant::now();
        let done = run(&site, &["recordings", "prune", "--older-than", "90d", "--yes", "--json"]);
        is_over.store(true, Ordering::Relaxed);
        let done = done.json();
        println!("{} of them were removed in {:?}", done["removed"]["files"], began.elapsed());
        assert_eq!(
            (done["removed"]["files"].as_u64(), done["failed"].as_u64()),
            (Some(due(MANY)), Some(0)),
            "{done:#}"
        );
        memory.join().unwrap()
    });
    println!("the keeper took at most {most_memory} bytes of memory");

    assert_eq!(count(&directories) as u64, MANY - due(MANY) + 1);
    for path in [&held, &target, &live, &message, &site.path("outside/other.wav"), &site.path("monitor/notes.txt")] {
        assert!(path.is_file(), "{}", path.display());
    }
    for link in ["monitor/link.wav", "monitor/link"] {
        assert!(fs::symlink_metadata(site.path(link)).unwrap().is_symlink(), "{link}");
    }
    let is_held = |path: &Path| path.to_str().unwrap().contains("-1001-");
    let names: Vec<PathBuf> = fs::read_dir(&directories[1]).unwrap().map(|entry| entry.unwrap().path()).collect();
    let oldest = SystemTime::now() - Duration::from_secs(91 * DAY);
    let old: Vec<&PathBuf> =
        names.iter().filter(|path| fs::metadata(path).unwrap().modified().unwrap() < oldest).collect();
    assert!(!old.is_empty() && old.iter().all(|path| is_held(path)), "{old:?}");
    assert_eq!(watch.opened(), Vec::<String>::new());
    drop(File::open(&held).unwrap());
    assert_eq!(watch.opened().len(), 1, "the watch would have seen it");
    let kept = &site.status()["kept"];
    assert_eq!((&kept["last_pruning"]["by"], &kept["last_pruning"]["files"]), (&"command".into(), &due(MANY).into()));
    // Names of files hold numbers, which no log has.
    assert!(!site.log().contains("in-0151"), "{}", site.log());
    assert_eq!(site.role("keeper"), None, "it ended with its work");
}

#[test]
fn a_keeper_that_is_killed_harms_nothing_and_the_rest_goes_the_next_time() {
    const FILES: u64 = 60_000;
    let mut site = Place::new("");
    let directories = fill(&site, FILES);
    file(&site.path("monitor/case/old.wav"), 500);
    site.start();
    let mut command = site.command();
    command.args(["recordings", "prune", "--older-than", "90d", "--yes"]);
    let mut command = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait::until_true(LONG, "the first files to go", || count(&directories) as u64 != FILES);
    let keeper = site.role("keeper");
    keeper.into_iter().for_each(|pid| process::signal(pid, libc::SIGKILL));
    let code = command.wait().unwrap().code();
    let left = count(&directories) as u64;
    println!("killed with {} of {} files removed", FILES - left, due(FILES));
    let prunings = || -> Value {
        serde_json::from_slice(&fs::read(site.state().join("recordings/prunings.json")).unwrap()).unwrap()
    };
    if left > FILES - due(FILES) {
        assert_eq!(code, Some(1), "whoever asked is told");
        assert!(prunings()["prunings"][0]["ended"].is_null());
    }
    let done = run(&site, &["recordings", "prune", "--older-than", "90d", "--yes", "--json"]).json();
    assert_eq!(done["removed"]["files"], left - (FILES - due(FILES)));
    assert_eq!(count(&directories) as u64, FILES - due(FILES));
    assert!(site.path("monitor/case/old.wav").is_file());
    assert!(prunings()["prunings"].as_array().unwrap().last().unwrap()["ended"].is_u64());
}

#[test]
fn without_a_daemon_the_command_does_it_and_says_what_it_needs() {
    let site = Place::new("");
    let old = site.path("monitor/old.wav");
    file(&old, 100);
    let watch = Watch::new([&site.path("monitor")]);
    let complaint = site.run(&["recordings", "prune", "--yes"]).fails_with(1);
    assert!(complaint.contains("recordings.retention") && complaint.contains("--older-than"), "{complaint}");
    let complaint = site.run(&["recordings", "prune", "--older-than", "90d"]).fails_with(1);
    assert!(complaint.contains("--yes"), "{complaint}");
    site.run(&["recordings", "prune", "--older-than", "12h", "--yes"]).fails_with(2);
    assert!(old.is_file());
    let text = site.run(&["recordings"]).ok();
    assert!(text.contains("monitor") && text.contains("Kept until somebody removes them"), "{text}");
    let list = site.run(&["recordings", "prune", "--dry-run", "--older-than", "90d"]).ok();
    assert!(list.contains("monitor/old.wav"), "{list}");
    site.configure("retention = \"120d\"");
    site.run(&["recordings", "prune", "--yes"]).ok();
    assert!(old.is_file());
    site.configure("retention = \"90d\"");
    let text = site.run(&["recordings", "prune", "--yes"]).ok();
    assert!(!old.exists() && text.contains("Removed for good: 1 file"), "{text}");
    if machine::has_landlock() {
        assert_eq!(watch.opened(), Vec::<String>::new());
    }
    site.write_config(&site.read_config().replace("\"90d\"", "\"2h\""));
    let complaint = site.run(&["recordings"]).fails_with(64);
    assert!(complaint.contains("recordings.retention: ") && complaint.contains("a day or more"), "{complaint}");
}

/// What the daemon would have noted of a pruning so many hours ago.
fn note_pruning(site: &Place, hours: u64, days: u64) {
    let began = wait::now() - hours * 3600;
    let text = format!(
        "{{\"prunings\":[{{\"began\":{began},\"ended\":{began},\"by\":\"retention\",\"older_than\":{},\"files\":1,\
         \"bytes\":1,\"failed\":0}}]}}",
        days * DAY
    );
    fs::create_dir_all(site.state().join("recordings")).unwrap();
    fs::write(site.state().join("recordings/prunings.json"), text).unwrap();
}

#[test]
fn retention_removes_by_itself_and_a_new_rule_waits() {
    let mut site = Place::new("retention = \"90d\"");
    let (old, young) = (site.path("monitor/old.wav"), site.path("monitor/young.wav"));
    file(&old, 100);
    file(&young, 80);
    note_pruning(&site, 30, 90);
    site.start();
    wait::until_true(LIMIT, "the old recording to go", || !old.exists());
    wait::until_true(LIMIT, "the pruning in the status", || {
        let kept = &site.status()["kept"];
        kept["last_pruning"]["files"] == 1 && kept["next_pruning"].as_u64() > Some(wait::now() + 20 * 3600)
    });
    assert!(young.is_file() && site.run(&["status"]).ok().contains("Removed last, by retention: 1 file"));

    // Mistyped: nothing goes for an hour.
    site.configure("retention = \"9d\"");
    wait::until_true(LIMIT, "the new rule", || site.status()["kept"]["retention"] == 9 * DAY);
    let looked = site.status()["kept"]["looked"].clone();
    run(&site, &["recordings"]).ok();
    let next = site.status()["kept"]["next_pruning"].as_u64().unwrap();
    assert!(next > wait::now() + 3000 && young.is_file(), "{next} {looked}");

    // A hold that cannot be read may be about anything: nothing is removed, not even when asked.
    let good = site.read_config();
    site.write_config(&good.replace("extensions = [", "extension = ["));
    let complaint = site.run(&["recordings", "prune", "--yes"]);
    assert_eq!(complaint.code, Some(64), "{}", complaint.stderr);
    wait::until_true(LIMIT, "the trouble", || !site.status()["config_error"].is_null());
    assert!(site.status()["kept"]["next_pruning"].is_null());
    // A hold that was just written counts.
    site.write_config(&good.replace("extensions = [", "extensions = [\"young\", "));
    let done = run(&site, &["recordings", "prune", "--yes", "--json"]).json();
    assert_eq!((&done["removed"]["files"], &done["kept_by_holds"]["files"]), (&0.into(), &1.into()), "{done:#}");
    site.write_config(&good);
    assert_eq!(run(&site, &["recordings", "prune", "--yes", "--json"]).json()["removed"]["files"], 1);
    assert!(!young.exists());
}

#[test]
fn a_tree_that_came_later_waits_for_a_restart_and_says_so() {
    let mut site = Place::new("");
    file(&site.path("monitor/old.wav"), 100);
    site.start();
    fs::create_dir(site.path("later")).unwrap();
    let later = site.path("later").to_str().unwrap().to_owned();
    site.write_config(&site.read_config().replacen("paths = [", &format!("paths = [{later:?}, "), 1));
    wait::until_true(LIMIT, "the word about it", || {
        !machine::has_landlock() || site.status()["kept"]["troubles"].to_string().contains("restart demarc")
    });
    site.stop();
    site.start();
    let status = run(&site, &["recordings", "--json"]).json();
    assert_eq!(tree(&status, &site, "later")["files"], 0, "{status:#}");
}

#[test]
fn a_user_of_its_own_removes_what_belongs_to_the_pbx_by_one_right() {
    if !machine::is_root() {
        return;
    }
    let mut site = Place::new("");
    let program = site.site.path("demarc");
    machine::copy_program(programs::agent(), &program);
    site.use_program(&program);
    for path in [site.site.path(""), site.site.path("pbx"), site.master(), site.config()] {
        chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    // The trees belong to somebody else.
    let old = site.path("monitor/old.wav");
    file(&old, 100);
    fs::set_permissions(site.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(site.path("monitor"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(fs::metadata(site.path("monitor")).unwrap().uid(), 0);
    let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    site.wrap_in(&user);
    site.start();
    let refused = run(&site, &["recordings", "prune", "--older-than", "90d", "--yes"]);
    assert_eq!((refused.code, old.is_file()), (Some(1), true));
    assert!(refused.stdout.contains("could not be removed"), "{}", refused.stdout);
    site.stop();
    let right = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"];
    site.wrap_in(&[&user[..], &right[..]].concat());
    site.start();
    site.wrap_in(&user);
    run(&site, &["recordings", "prune", "--older-than", "90d", "--yes"]).ok();
    assert!(!old.exists());
}

#[test]
fn the_page_shows_what_would_go_and_removes_it_when_that_is_meant() {
    let mut site = Place::new("");
    site.set_env("DEMARC__WEB__LISTEN", "127.0.0.1:0");
    let directories = fill(&site, 400);
    let before = count(&directories);
    site.start();
    let pages = Pages::enter(&site);
    let page = wait::until(LIMIT, "the first look", || {
        let page = pages.get("/recordings").body;
        page.contains("the kernel refused").then_some(page)
    });
    assert!(page.contains(site.path("monitor").to_str().unwrap()) && page.contains("Nothing is removed"), "{page}");

    // Whoever asks for it is led to the job, and looks again until it is done.
    let result = |answer: Answer, wanted: &str| {
        assert_eq!(answer.status, 303, "{answer:?}");
        let place = answer.header("location").unwrap().to_owned();
        wait::until(LIMIT, wanted, || Some(pages.get(&place).body).filter(|page| page.contains(wanted)))
    };
    let shown = result(pages.post("/recordings/look", "days=90"), "and would go");
    assert!(shown.contains(&format!("{} files", due(400))) && shown.contains("in-0151"), "{shown}");
    assert_eq!(count(&directories), before, "looking removes nothing");
    for nonsense in ["days=", "days=-1", "days=x", "days=99999999999999999999"] {
        assert_eq!(pages.post("/recordings/prune", nonsense).status, 400, "{nonsense}");
    }
    result(pages.post("/recordings/prune", "days=0"), "recordings younger than a day are never removed");
    assert_eq!(pages.ask("POST", "/recordings/prune", &pages.origin(), "days=90").status, 422, "without a token");
    assert_eq!(count(&directories), before);
    let gone = result(pages.post("/recordings/prune", "days=90"), " went, ");
    assert!(gone.contains(&format!("{} files", due(400))), "{gone}");
    assert_eq!(count(&directories) as u64, before as u64 - due(400));
}

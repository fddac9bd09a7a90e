//! From a phone system to a running site by `demarc setup`: from a file, by hand, and again.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use demarc_tests::{
    cdr::{Caller, Layout},
    hub::Hub,
    machine,
    mariadb::MariaDb,
    process::{self, Finished},
    site::{LIMIT, Setup, Site},
    terminal::Terminal,
    wait,
};
use serde_json::Value;

const PJSIP: &str = "[transport]\ntype=transport\n[1001]\ntype=endpoint\nauth=1001\n\
                     [provider1]\ntype=endpoint\noutbound_auth=provider1\n[provider2]\ntype=endpoint\noutbound_auth=provider2\n";

/// A machine with an Asterisk and no demarc yet.
struct Machine {
    site: Site,
    caller: Caller,
}

impl Machine {
    fn new() -> Self {
        let mut site = Site::new(&Setup::default());
        fs::remove_file(site.config()).unwrap();
        // Sites beside each other cannot share a port.
        site.set_env("DEMARC__WEB__LISTEN", "off");
        let machine = Self { site, caller: Caller::new(41) };
        machine.write("etc/asterisk/cdr.conf", "[general]\nenable=yes\nunanswered=yes\n[csv]\nusegmtime=yes\n");
        machine.write("etc/asterisk/pjsip.conf", PJSIP);
        machine.write("var/log/asterisk/cdr-csv/Master.csv", "");
        machine
    }

    fn root(&self) -> PathBuf {
        self.site.path("root")
    }

    fn write(&self, path: &str, text: &str) {
        let place = self.root().join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, text).unwrap();
    }

    /// Calls that ended at that moment.
    fn feed(&mut self, calls: u32, end: u64) {
        use std::io::Write;
        let path = self.root().join("var/log/asterisk/cdr-csv/Master.csv");
        let mut file = fs::File::options().append(true).open(path).unwrap();
        for _ in 0..calls {
            for row in self.caller.call(i64::try_from(end).unwrap()) {
                file.write_all(&row.line(Layout::New21)).unwrap();
            }
        }
    }

    fn answers(&self, text: &str) -> String {
        let file = self.site.path("answers.toml");
        // Where the kernel cannot confine, that is asked as well.
        let confinement = if machine::has_landlock() { "" } else { "confinement = \"best-effort\"\n" };
        fs::write(&file, format!("{confinement}{text}")).unwrap();
        file.display().to_string()
    }

    fn setup(&self, arguments: &[&str]) -> Finished {
        let mut command = self.site.command();
        command.arg("setup").arg("--root").arg(self.root());
        if !self.site.config().exists() {
            command.arg("--state-dir").arg(self.site.state());
        }
        process::run(command.args(arguments), LIMIT)
    }
}

/// Every file below a directory with what is in it, and when it was changed.
fn tree(directory: &Path) -> BTreeMap<PathBuf, (Vec<u8>, i64, u32)> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                open.push(entry.path());
            }
            let content = if metadata.is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() };
            found.insert(entry.path(), (content, metadata.mtime_nsec() ^ metadata.mtime(), metadata.mode()));
        }
    }
    found
}

fn yesterday() -> u64 {
    let now = wait::now();
    now - now % 86_400 - 3 * 3600
}

#[test]
fn a_file_of_answers_becomes_a_site_that_counts_and_is_enrolled() {
    let hub = Hub::start();
    let mut machine = Machine::new();
    machine.feed(60, yesterday());
    let token = hub.token("site-one");
    let answers =
        machine.answers(&format!("stats = true\nhealth = false\nsupport = true\nupdates = false\ntoken = {token:?}\n"));
    let told = machine.setup(&["--answers", &answers, "--json"]).json();
    assert_eq!(
        (&told["written"], &told["site"], &told["service"]),
        (&true.into(), &"site-one".into(), &"by-hand".into())
    );
    assert_eq!((&told["pbx"], &told["enrollment_error"]), (&"Asterisk".into(), &Value::Null));
    assert_eq!(told["trunks"], serde_json::json!(["provider1", "provider2"]));
    // What is shown beforehand is a report as the gate would have cleared it, of yesterday's calls.
    let body: Value = serde_json::from_str(told["sample"]["body"].as_str().unwrap()).unwrap();
    assert_eq!((&told["sample"]["calls"], &body["floor"], &body["schema"]), (&60.into(), &10.into(), &1.into()));
    let counted =
        |table: &str| body[table].as_array().unwrap().iter().map(|group| group["calls"].as_u64().unwrap()).sum::<u64>();
    assert_eq!((counted("volume"), counted("talk")), (60, 60));
    let advice = told["to_do"].to_string();
    assert!(advice.contains("support.authorities"), "{advice}");
    assert!(advice.contains("newcdrcolumns=yes and loguniqueid=yes in the [csv] section of cdr.conf"), "{advice}");

    let config = machine.site.read_config();
    assert_eq!(fs::metadata(machine.site.config()).unwrap().permissions().mode() & 0o777, 0o640);
    let before_start = config.clone();
    for line in [
        "upload = true",
        "mode = \"ask\"",
        "via_tunnel = false",
        "trunks = [\"provider1\", \"provider2\"]",
        "timezone = \"UTC\"",
    ] {
        assert!(config.lines().any(|other| other == line), "{line}: {config}");
    }
    machine.site.start();
    machine.site.wait_for_tunnel();
    machine.site.wait_for_calls(60, "direction,trunk", LIMIT);
    assert!(machine.site.uploads());
    machine.feed(7, wait::now());
    machine.site.wait_for_calls(67, "direction,trunk", LIMIT);

    // Again: what the owner wrote stays, the answers count at once, and nobody enrolls twice.
    let mine = config
        .replace("upload = true", "upload = true   # the board, 3 May")
        .replace("[stats]", "# mine\n[stats]\nfloor = 12");
    machine.site.write_config(&mine);
    let answers = machine.answers("stats = false\nhealth = false\nsupport = true\nupdates = false\n");
    let told = machine.setup(&["--answers", &answers, "--json"]).json();
    assert_eq!(
        (&told["written"], &told["service"], &told["site"]),
        (&true.into(), &"reloaded".into(), &"site-one".into())
    );
    let changed = |line: &&str| !mine.lines().any(|other| other == *line);
    let text = machine.site.read_config();
    assert_eq!(text.lines().filter(changed).collect::<Vec<_>>(), ["upload = false   # the board, 3 May"]);
    assert_eq!(text.lines().count(), mine.lines().count());
    assert!(!machine.site.uploads());
    // And a third time, with nothing new: the file is not touched.
    let before = fs::metadata(machine.site.config()).unwrap().ino();
    assert_eq!(machine.setup(&["--answers", &answers, "--json"]).json()["written"], false);
    assert_eq!(fs::metadata(machine.site.config()).unwrap().ino(), before);
    drop(before_start);
}

#[test]
fn a_dry_run_changes_nothing_and_an_unanswered_question_is_named() {
    let mut machine = Machine::new();
    machine.feed(30, yesterday());
    let all = ["stats = true", "health = true", "support = false", "updates = true", "token = \"none\""];
    // A key of an authority that is none is refused like any other setting.
    let answers = machine.answers(&format!("{}\nauthorities = [\"ssh-ed25519 nonsense\"]\n", all.join("\n")));
    let complaint = machine.setup(&["--answers", &answers]).fails_with(64);
    assert!(complaint.contains("support.authorities"), "{complaint}");
    let answers = machine.answers(&all.join("\n"));
    let before = tree(&machine.site.path("."));
    let shown = machine.setup(&["--answers", &answers, "--dry-run"]).ok();
    for words in ["would be written", "[[pbx.source]]", "mode = \"never\"", "\"volume\":[", "Nothing was changed."] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert_eq!(tree(&machine.site.path(".")), before);

    let file = machine.site.path("answers.toml");
    for left_out in all {
        let key = left_out.split(' ').next().unwrap();
        let text: Vec<&str> = all.into_iter().filter(|line| *line != left_out).collect();
        machine.answers(&text.join("\n"));
        let before = tree(&machine.site.path("."));
        let complaint = machine.setup(&["--answers", file.to_str().unwrap()]).fails_with(1);
        assert!(complaint.contains(&format!("does not answer \"{key}\"")), "{complaint}");
        assert_eq!(tree(&machine.site.path(".")), before, "{key}");
    }
    // A token that is none is refused before anything is written.
    machine.answers(&all.join("\n").replace("none", "demarc1.nonsense"));
    machine.setup(&["--answers", file.to_str().unwrap()]).fails_with(1);
    // Where nobody can be asked, that is said.
    let complaint = machine.setup(&[]).fails_with(1);
    assert!(complaint.contains("standard input is no terminal") && complaint.contains("--answers"), "{complaint}");
    assert!(!machine.site.config().exists());
}

#[test]
fn by_hand_it_takes_few_keys_and_enter_alone_answers_nothing() {
    let began = Instant::now();
    let hub = Hub::start();
    let mut machine = Machine::new();
    machine.feed(40, yesterday());
    let token = hub.token("site-one");
    let mut command = machine.site.command();
    command.arg("setup").arg("--root").arg(machine.root()).arg("--state-dir").arg(machine.site.state());
    let mut terminal = Terminal::start(&mut command);
    terminal.expect("This is an Asterisk.", LIMIT);
    if !machine::has_landlock() {
        terminal.expect("Run all the same?", LIMIT);
        terminal.press('y');
    }
    terminal.expect("1 of 4  Statistics", LIMIT);
    terminal.expect("y = yes, n = no] ", LIMIT);
    // Neither Enter nor any other key is taken for an answer.
    terminal.paste("\r");
    terminal.expect("Enter is no answer here", LIMIT);
    terminal.paste("x \u{1b}Oy\u{1b}[A\r");
    terminal.expect("Enter is no answer here", LIMIT);
    // Nor is a token that was pasted too early.
    terminal.paste(&format!("yn{token}\r"));
    terminal.expect("That was more than one key", LIMIT);
    assert!(!terminal.shown().contains("2 of 4"));
    terminal.press('y');
    for (question, key) in [("2 of 4  Health", 'n'), ("3 of 4  Support", 'y'), ("4 of 4  Updates", 'n')] {
        terminal.expect(question, LIMIT);
        terminal.expect("y = yes, n = no] ", LIMIT);
        terminal.press(key);
    }
    terminal.expect("Token, or Enter for no vendor: ", LIMIT);
    terminal.paste(&token);
    terminal.press('\r');
    terminal.expect("This is what would have left for the 40 calls", LIMIT);
    terminal.expect("\"volume\":[", LIMIT);
    terminal.expect("Write and begin?", LIMIT);
    terminal.expect("q = quit] ", LIMIT);
    assert!(!machine.site.config().exists(), "nothing is written before it is confirmed");
    terminal.press('y');
    terminal.expect("Enrolled as site-one", LIMIT);
    // The last thing is the screen of `demarc status`.
    terminal.expect("Left for you to do:", LIMIT);
    terminal.expect("not running", LIMIT);
    assert!(terminal.ended(LIMIT).success(), "{}", terminal.shown());
    assert!(terminal.keys() < 10, "{} keys", terminal.keys());
    assert!(began.elapsed() < Duration::from_secs(300), "{:?}", began.elapsed());
    println!("{} keys beyond the token, {:?} to the status screen", terminal.keys(), began.elapsed());
    let config = machine.site.read_config();
    assert!(
        config.contains("upload = true") && config.contains("mode = \"ask\"") && config.contains("via_tunnel = false"),
        "{config}"
    );
}

#[test]
fn giving_up_at_any_question_leaves_everything_as_it_was() {
    let mut machine = Machine::new();
    machine.feed(20, yesterday());
    let before = tree(&machine.site.path("."));
    for answered in 0..2 {
        let mut command = machine.site.command();
        command.arg("setup").arg("--root").arg(machine.root());
        let mut terminal = Terminal::start(&mut command);
        if !machine::has_landlock() {
            terminal.expect("Run all the same?", LIMIT);
            terminal.press('y');
        }
        for place in 0..answered {
            terminal.expect(&format!("{} of 4", place + 1), LIMIT);
            terminal.expect("y = yes, n = no] ", LIMIT);
            terminal.press('y');
        }
        terminal.expect(&format!("{} of 4", answered + 1), LIMIT);
        terminal.expect("y = yes, n = no] ", LIMIT);
        terminal.press('\u{3}');
        assert_eq!(terminal.ended(LIMIT).code(), Some(1), "{}", terminal.shown());
        terminal.expect("given up; nothing was changed", LIMIT);
    }
    assert_eq!(tree(&machine.site.path(".")), before);
}

#[test]
fn answers_can_be_changed_until_they_are_confirmed_and_what_is_in_force_is_shown() {
    let machine = Machine::new();
    let answers = machine.answers("stats = true\nhealth = false\nsupport = false\nupdates = false\ntoken = \"none\"\n");
    machine.setup(&["--answers", &answers]).ok();
    let written = machine.site.read_config();
    let mut command = machine.site.command();
    command.arg("setup").arg("--root").arg(machine.root());
    let mut terminal = Terminal::start(&mut command);
    for (round, last) in [('y', 'c'), ('n', 'q')] {
        for (place, now) in ["yes", "no", "no", "no"].into_iter().enumerate() {
            terminal.expect(&format!("{} of 4", place + 1), LIMIT);
            terminal.expect(&format!("now:            {now}"), LIMIT);
            terminal.expect("y = yes, n = no] ", LIMIT);
            terminal.press(round);
        }
        terminal.expect("Token, or Enter for no vendor: ", LIMIT);
        terminal.press('\r');
        let difference = if round == 'y' { "+ via_tunnel = true" } else { "- upload = true" };
        terminal.expect(difference, LIMIT);
        terminal.expect("q = quit] ", LIMIT);
        terminal.press(last);
    }
    terminal.expect("given up; nothing was changed", LIMIT);
    assert_eq!(terminal.ended(LIMIT).code(), Some(1));
    assert_eq!(machine.site.read_config(), written);
}

#[test]
fn a_new_file_belongs_to_whom_its_directory_belongs_to_and_the_state_to_its_owner() {
    if !machine::is_root() {
        return;
    }
    const SOMEBODY: u32 = 54_321;
    let hub = Hub::start();
    let mut machine = Machine::new();
    // As packages leave it: the settings are root's and readable for demarc, the state is demarc's.
    let directory = tempfile::Builder::new().prefix("demarc-root-").tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (etc, state) = (directory.path().join("etc"), directory.path().join("state"));
    for (path, owner) in [(&etc, 0), (&state, SOMEBODY)] {
        fs::create_dir(path).unwrap();
        std::os::unix::fs::chown(path, Some(owner), Some(SOMEBODY)).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o750)).unwrap();
    }
    machine.feed(20, yesterday());
    let token = hub.token("site-one");
    let answers =
        machine.answers(&format!("stats = true\nhealth = false\nsupport = true\nupdates = false\ntoken = {token:?}\n"));
    // Where everybody can reach it.
    let program = directory.path().join("demarc");
    machine::copy_program(demarc_tests::programs::agent(), &program);
    let mut command = std::process::Command::new(program);
    command.arg("--config").arg(etc.join("demarc.toml")).arg("setup").arg("--state-dir").arg(&state);
    command.arg("--root").arg(machine.root()).args(["--answers", &answers, "--json", "--no-start"]);
    let told = process::run(&mut command, LIMIT).json();
    assert_eq!((&told["site"], &told["service"]), (&"site-one".into(), &Value::Null), "{told}");
    let written = fs::metadata(etc.join("demarc.toml")).unwrap();
    assert_eq!((written.uid(), written.gid(), written.mode() & 0o777), (0, SOMEBODY, 0o640));
    for (path, (_, _, _)) in tree(&state) {
        assert_eq!(fs::symlink_metadata(&path).unwrap().uid(), SOMEBODY, "{}", path.display());
    }
    assert!(tree(&state).keys().any(|path| path.ends_with("site.json")));
}

#[test]
fn the_preview_is_counted_by_nobody_and_leaves_nothing() {
    use std::{
        io::Write,
        process::{Command, Stdio},
    };
    let mut machine = Machine::new();
    machine.feed(25, yesterday());
    let room = tempfile::Builder::new().prefix("demarc-room-").tempdir().unwrap();
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let state = room.path().join("state");
    let source = serde_json::json!({"type": "asterisk-csv", "timezone": "UTC",
        "path": machine.root().join("var/log/asterisk/cdr-csv/Master.csv")});
    let settings = serde_json::json!({"state_dir": &state, "pbx": {"trunks": ["provider1"], "source": [source]}});
    let mut child = Command::new(demarc_tests::programs::agent());
    let mut child = child.arg("setup-sample").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(settings.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let sample: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(sample["calls"], 25, "{sample}");
    assert!(!sample["digest"].as_array().unwrap().is_empty());
    let made = tree(&state);
    assert!(made.keys().any(|path| path.ends_with("calls.db")));
    if machine::is_root() {
        assert!(made.keys().all(|path| fs::symlink_metadata(path).unwrap().uid() == 65_534), "{:?}", made.keys());
    }
    // What setup itself makes for it goes away with it.
    let answers = machine.answers("stats = true\nhealth = false\nsupport = false\nupdates = false\ntoken = \"none\"\n");
    let temporary = machine.site.path("tmp");
    fs::create_dir(&temporary).unwrap();
    machine.site.set_env("TMPDIR", temporary.to_str().unwrap());
    fs::set_permissions(machine.site.path("."), fs::Permissions::from_mode(0o711)).unwrap();
    let told = machine.setup(&["--answers", &answers, "--json"]).json();
    assert_eq!(told["sample"]["calls"], 25, "{told}");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
}

#[test]
fn systemd_starts_it_where_it_has_a_unit_for_that_file() {
    let mut machine = Machine::new();
    machine.feed(20, yesterday());
    // A stand-in for systemd: it knows one unit, and runs its line.
    let (bin, pid) = (machine.site.path("bin"), machine.site.path("unit.pid"));
    fs::create_dir(&bin).unwrap();
    let line =
        format!("{} --config {} run", demarc_tests::programs::agent().display(), machine.site.config().display());
    let script = format!(
        "#!/bin/sh\ncase \"$1\" in\ncat) echo 'ExecStart={line}' ;;\nenable) {line} >{log} 2>&1 & echo $! >{pid} ;;\n*) exit 1 ;;\nesac\n",
        log = machine.site.path("unit.log").display(),
        pid = pid.display()
    );
    fs::write(bin.join("systemctl"), script).unwrap();
    fs::set_permissions(bin.join("systemctl"), fs::Permissions::from_mode(0o755)).unwrap();
    machine.site.set_env("PATH", &format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()));
    let answers =
        machine.answers("stats = false\nhealth = false\nsupport = false\nupdates = false\ntoken = \"none\"\n");
    let shown = machine.setup(&["--answers", &answers]);
    let daemon: i32 = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    let calls = machine.site.report("direction")["calls"].clone();
    process::signal(daemon, libc::SIGTERM);
    let shown = shown.ok();
    assert!(shown.contains("There is no report to show: statistics stay here."), "{shown}");
    assert!(shown.contains("demarc is running") || shown.contains("running"), "{shown}");
    assert!(calls.as_u64().is_some());
    wait::until_true(LIMIT, "the daemon to end", || !machine.site.answers());
}

#[test]
fn a_database_user_is_made_that_may_read_call_records_and_nothing_else() {
    let server = MariaDb::with_real_records();
    server.execute("DROP USER demarc@localhost; DROP USER demarc@'127.0.0.1';");
    // As Debian and FreePBX have it: root is let in by the socket.
    let method = if machine::is_root() { "IDENTIFIED VIA unix_socket" } else { "" };
    server.execute(&format!(
        "CREATE OR REPLACE USER root@localhost {method}; GRANT ALL ON *.* TO root@localhost WITH GRANT OPTION;"
    ));
    let mut machine = Machine::new();
    machine
        .write("etc/freepbx.conf", "<?php\n$amp_conf['AMPDBUSER'] = 'freepbxuser';\n$amp_conf['CDRUSEGMT'] = '1';\n");
    fs::create_dir_all(machine.root().join("run/mysqld")).unwrap();
    std::os::unix::fs::symlink(server.socket(), machine.root().join("run/mysqld/mysqld.sock")).unwrap();
    let answers = machine.answers("stats = true\nhealth = false\nsupport = false\nupdates = false\ntoken = \"none\"\n");
    // Without being told to, it only says what root has to type.
    let shown = machine.setup(&["--answers", &answers, "--dry-run"]).ok();
    assert!(
        shown.contains("CREATE USER 'demarc'@'localhost' IDENTIFIED BY '…'") && shown.contains("password = \"***\""),
        "{shown}"
    );
    let told = machine.setup(&["--answers", &answers, "--create-db-user", "--json"]).json();
    assert_eq!(told["pbx"], "FreePBX");
    assert!(!told["to_do"].to_string().contains("CREATE USER"), "{told}");
    assert!(told["sample"]["why"].as_str().unwrap().contains("on a server"), "{told}");
    let grants: Vec<String> = server.query("SHOW GRANTS FOR demarc@localhost").into_iter().flatten().collect();
    assert!(grants.iter().all(|grant| grant.contains("SELECT (") || grant.starts_with("GRANT USAGE")), "{grants:?}");
    assert_eq!(grants.len(), 3, "{grants:?}");
    machine.site.start();
    let records: u64 = server.query("SELECT count(*) FROM asteriskcdrdb.cdr")[0][0].parse().unwrap();
    wait::until_true(LIMIT, "the rows of the database", || {
        machine.site.status()["collected"]["sources"][0]["rows"].as_u64() >= Some(records)
    });
}

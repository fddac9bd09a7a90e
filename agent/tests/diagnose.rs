//! The menu of the scope `diagnose`, under the confinement that its worker has, against a real Asterisk with calls up.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    env,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use demarc::{
    confine::{
        self, Profile,
        layout::{self, Ground},
    },
    ipc::SessionSettings,
    session::diagnose,
    settings::Settings,
};
use demarc_proto::support::Scope;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Names the file with the task of a worker, which this program is started anew for.
const TASK: &str = "DEMARC_TEST_DIAGNOSE";
const MARK: &str = "ANSWERS ";

#[derive(Serialize, Deserialize)]
struct Task {
    profile: Profile,
    settings: SessionSettings,
    lines: Vec<String>,
}

/// Not a test by itself: what a worker does, in a process of its own.
#[test]
fn worker() {
    let Some(task) = env::var_os(TASK) else { return };
    let task: Task = serde_json::from_slice(&fs::read(task).unwrap()).unwrap();
    confine::enter(&task.profile).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answers: Vec<(String, u32)> = runtime.block_on(async {
        let mut answers = Vec::new();
        for line in &task.lines {
            let words: Vec<&str> = line.split(' ').collect();
            let answer = diagnose::run(&words, &task.settings).await;
            answers.push((answer.text, answer.status));
        }
        answers
    });
    println!("\n{MARK}{}", serde_json::to_string(&answers).unwrap());
}

/// A directory with an Asterisk in it, which ends with the test.
struct Lab {
    directory: tempfile::TempDir,
    root: PathBuf,
}

impl Drop for Lab {
    fn drop(&mut self) {
        script(&["stop", self.directory.path().to_str().unwrap()]);
    }
}

impl Lab {
    fn start() -> Self {
        let root = PathBuf::from(script(&["fetch"]).trim());
        let lab = Self { directory: tempfile::tempdir().unwrap(), root };
        script(&["start", lab.directory.path().to_str().unwrap()]);
        lab
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// Asterisk's program as this machine can start it: the packages bring a loader and libraries of their own.
    fn program(&self) -> PathBuf {
        let triplet = fs::read_dir(self.root.join("usr/lib")).unwrap().map(|entry| entry.unwrap().path());
        let libraries = triplet.into_iter().find(|path| path.to_string_lossy().ends_with("-linux-gnu")).unwrap();
        let loader = fs::read_dir(&libraries).unwrap().map(|entry| entry.unwrap().path());
        let loader = loader
            .into_iter()
            .find(|path| path.file_name().unwrap().as_encoded_bytes().starts_with(b"ld-linux"))
            .unwrap();
        let program = self.root.join("usr/sbin/asterisk");
        let text = format!(
            "#!/bin/sh\nexec {} --library-path {} {} \"$@\"\n",
            loader.display(),
            libraries.display(),
            program.display()
        );
        let wrapper = self.root.join("usr/sbin").join(self.directory.path().file_name().unwrap());
        fs::write(&wrapper, text).unwrap();
        fs::set_permissions(&wrapper, Permissions::from_mode(0o755)).unwrap();
        wrapper
    }

    fn ask(&self, program: &Path, lines: &[&str]) -> Vec<(String, u32)> {
        let mut settings: Settings = toml::from_str("").unwrap();
        settings.state_dir = self.at("state");
        settings.support.authorities = vec!["somebody".to_owned()];
        settings.support.asterisk = program.to_owned();
        settings.support.asterisk_conf = Some(self.at("pbx/etc/asterisk.conf"));
        settings.support.logs = vec![self.at("absent"), self.at("pbx/log/full")];
        settings.recordings.paths = vec![self.at("pbx/spool")];
        let voice = self.at("pbx/spool/monitor/a.wav");
        fs::create_dir_all(voice.parent().unwrap()).unwrap();
        fs::write(&voice, "RIFF").unwrap();
        let ground = Ground::survey(&settings, &self.at("demarc.toml")).unwrap();
        let profile = layout::session(&ground, &settings, Scope::Diagnose, &self.at("scratch")).unwrap();
        assert!(profile.forbidden.iter().any(|path| path.ends_with("a.wav")));
        let session = json!({
            "session": "0123456789abcdef-1",
            "grant": {
                "id": "0123456789abcdef", "site": "site1", "scope": "diagnose", "issued": 1, "until": 2, "host_key": "x",
            },
            "ends": 0, "host_key": "x", "host_certificate": null, "authorities": [], "programs": null,
            "confined": { "landlock": null, "seccomp": false, "gaps": [], "refused": 0 },
            "scratch": self.at("scratch"), "shell": "/bin/sh", "asterisk": settings.support.asterisk,
            "asterisk_conf": settings.support.asterisk_conf, "logs": settings.support.logs, "hub": "localhost:443",
        });
        let task = Task {
            profile,
            settings: serde_json::from_value(session).unwrap(),
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        };
        let file = self.at("task");
        fs::write(&file, serde_json::to_vec(&task).unwrap()).unwrap();
        let mut worker = Command::new(env::current_exe().unwrap());
        worker.args(["--exact", "worker", "--nocapture", "--test-threads=1"]).env(TASK, &file).stdin(Stdio::null());
        let output = worker.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let answers = text.lines().find_map(|line| line.strip_prefix(MARK));
        let said = answers.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
        serde_json::from_str(said).unwrap()
    }
}

fn script(arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/lab/asterisk");
    let output = Command::new(script).args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_confined_worker_sees_a_real_asterisk_and_no_numbers() {
    let lab = Lab::start();
    let program = lab.program();
    script(&["call", lab.directory.path().to_str().unwrap(), "queue", "2"]);
    let end = Instant::now() + Duration::from_secs(20);
    let channels = loop {
        let (text, status) = lab.ask(&program, &["channels"]).remove(0);
        assert_eq!(status, 0, "{text}");
        if text.contains("Queue") {
            break text;
        }
        assert!(Instant::now() < end, "{text}");
    };
    assert!(channels.contains("PJSIP/provider1"), "{channels}");
    let lines = [
        "channels --json",
        "registrations",
        "peers",
        "queues",
        "disk",
        "services",
        "log --lines 5",
        "trace-route hub --json",
    ];
    // The lab's Asterisk bears the name of the loader that it runs through; the service is known by its own.
    let named = lab.at("asterisk");
    assert!(Command::new("install").arg("/bin/sleep").arg(&named).status().unwrap().success());
    let mut standing_in = Command::new(&named).arg("600").spawn().unwrap();
    let answers = lab.ask(&program, &lines);
    standing_in.kill().unwrap();
    standing_in.wait().unwrap();
    for (line, (text, status)) in lines.iter().zip(&answers) {
        assert_eq!((*status, text.is_empty()), (0, false), "{line}: {text}");
        for number in ["1007", "442071230002", "447700900001"] {
            assert!(!text.contains(number), "{line}: {text}");
        }
    }
    let [json, registrations, peers, queues, disk, services, log, route] = answers.map_texts();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert!(json["channels"].as_array().is_some_and(|channels| !channels.is_empty()), "{json:#}");
    assert!(registrations.contains("No trunk registers") || registrations.contains("pjsip"), "{registrations}");
    assert!(peers.contains("provider1") && peers.contains("***07"), "{peers}");
    assert!(queues.contains("ringall") && queues.contains("PJSIP/***07"), "{queues}");
    assert!(disk.contains('/') && disk.contains('%'), "{disk}");
    let asterisk = services.lines().find(|line| line.starts_with("asterisk")).unwrap();
    assert!(asterisk.contains(" running") && !asterisk.contains("not running"), "{services}");
    assert!(log.contains("Lines shown: 5"), "{log}");
    let route: Value = serde_json::from_str(&route).unwrap();
    assert_eq!(route["reached"], true, "{route:#}");
    drop(lab);
    let _ = fs::remove_file(program);
}

#[test]
fn an_asterisk_that_is_not_there_is_a_sentence() {
    let root = PathBuf::from(script(&["fetch"]).trim());
    let lab = Lab { directory: tempfile::tempdir().unwrap(), root };
    fs::create_dir_all(lab.at("pbx/etc")).unwrap();
    fs::write(lab.at("pbx/etc/asterisk.conf"), format!("[directories]\nastrundir => {}\n", lab.at("run").display()))
        .unwrap();
    let (text, status) = lab.ask(Path::new("/usr/sbin/no-asterisk"), &["channels"]).remove(0);
    assert!(status == 1 && text.contains("there is no Asterisk"), "{status} {text}");
    let program = lab.program();
    let (text, status) = lab.ask(&program, &["queues"]).remove(0);
    assert!(status == 1 && text.contains("not running"), "{status} {text}");
    let _ = fs::remove_file(program);
    // One that hangs is not waited for.
    let slow = lab.at("slow/bin/asterisk");
    fs::create_dir_all(slow.parent().unwrap()).unwrap();
    fs::write(&slow, "#!/bin/sh\nkill -STOP $$\n").unwrap();
    fs::set_permissions(&slow, Permissions::from_mode(0o755)).unwrap();
    let began = Instant::now();
    let (text, status) = lab.ask(&slow, &["peers"]).remove(0);
    assert!(
        status == 1 && text.contains("did not answer") && began.elapsed() < Duration::from_secs(15),
        "{status} {text}"
    );
}

trait Texts {
    fn map_texts<const COUNT: usize>(self) -> [String; COUNT];
}

impl Texts for Vec<(String, u32)> {
    fn map_texts<const COUNT: usize>(self) -> [String; COUNT] {
        let texts: Vec<String> = self.into_iter().map(|(text, _)| text).collect();
        texts.try_into().unwrap()
    }
}

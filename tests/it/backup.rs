//! Backups of the configuration: encrypted on the spot, kept at the hub as bytes that nobody there can read.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use demarc_tests::{
    hostile_agent::HostileAgent,
    hub::{Hub, files_below},
    process,
    relay::Relay,
    site::{LIMIT, Setup, Site},
    wait,
};
use serde_json::Value;

/// What is in the configuration and must be nowhere else.
const SECRET: &str = "hunter2-trunk-password";
const NAME: &str = "pjsip_trunk_provider1.conf";

/// A site whose phone system has a configuration. Its key is made by the command, and lies outside of the site.
struct Backed {
    site: Site,
    setup: Setup,
    key: tempfile::NamedTempFile,
}

impl Backed {
    fn new(hub: &Hub, name: &str, more: &str) -> Self {
        Self::with(hub, name, more, Setup::default())
    }

    fn with(hub: &Hub, name: &str, more: &str, setup: Setup) -> Self {
        let site = Site::new(&Setup { sections: String::new(), ..setup.clone() });
        let etc = site.path("etc/asterisk");
        fs::create_dir_all(etc.join("keys")).unwrap();
        fs::write(etc.join(NAME), format!("[provider1]\npassword={SECRET}\n")).unwrap();
        fs::write(etc.join("keys/asterisk.pem"), "this is the key of the phones").unwrap();
        let sections = format!("[backup] # ours\npaths = [{etc:?}]\nevery = \"off\"\n{more}");
        let setup = Setup { sections, ..setup };
        site.configure(&setup);
        let printed = site.run(&["backup", "key"]);
        let key = tempfile::NamedTempFile::new().unwrap();
        fs::write(key.path(), printed.ok()).unwrap();
        assert!(site.read_config().contains("[backup] # ours"), "comments stay");
        site.run(&["backup", "on"]).ok();
        site.enroll(&hub.token(name)).ok();
        Self { site, setup, key }
    }

    fn start(&mut self) {
        self.site.start();
        self.site.wait_for_tunnel();
    }

    fn now(&self) -> Value {
        self.site.run(&["backup", "now", "--json"]).json()
    }

    fn restore(&self, site: &Site, which: &str, to: &Path) -> process::Finished {
        let key = self.key.path().to_str().unwrap();
        site.run(&["backup", "restore", which, "--key", key, "--to", to.to_str().unwrap()])
    }

    /// Where that file of the configuration comes out.
    fn restored(&self, to: &Path, name: &str) -> PathBuf {
        let etc = self.site.path("etc/asterisk").canonicalize().unwrap();
        to.join(etc.strip_prefix("/").unwrap()).join(name)
    }
}

fn at_hub(hub: &Hub, site: &str) -> Vec<PathBuf> {
    let directory = hub.home().join(format!("data/backups/{site}"));
    let mut files = if directory.is_dir() { files_below(&directory) } else { Vec::new() };
    files.retain(|file| file.extension().is_some_and(|ending| ending == "age"));
    files.sort();
    files
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn a_new_machine_gets_its_configuration_back_by_the_key_alone() {
    let hub = Hub::start();
    let mut first = Backed::new(&hub, "site-one", "");
    first.start();
    let made = first.now();
    assert_eq!((&made["packed"]["files"], &made["at_hub"]["Ok"]), (&2.into(), &Value::Null), "{made}");
    assert!(made["at_hub"].as_object().unwrap().contains_key("Ok"), "{made}");

    // It stood in the ledger before it left, and is still here byte for byte.
    let name = made["packed"]["name"].as_str().unwrap();
    let entry = &first.site.ledger_entries("backup")[0];
    assert_eq!((&entry["about"]["step"], &entry["about"]["name"]), (&"keep".into(), &name.into()));
    let entered: Value = serde_json::from_str(entry["bytes"].as_str().unwrap()).unwrap();
    assert_eq!(entered["sha256"], made["packed"]["sha256"]);
    assert!(entered["request"].as_str().unwrap().starts_with(&format!("PUT /backups/{name}.age HTTP/1.1\r\n")));
    first.site.run(&["sent", "verify"]).ok();
    let kept = at_hub(&hub, "site-one");
    assert_eq!(kept.len(), 1);
    assert_eq!(fs::read(&kept[0]).unwrap(), fs::read(first.site.state().join(format!("backups/{name}.age"))).unwrap());

    let shown: Value = serde_json::from_str(&hub.show("site-one")).unwrap();
    assert_eq!((&shown["backups"][0]["name"], &shown["backups"][0]["bytes"]), (&name.into(), &made["packed"]["size"]));

    // Nothing at the hub tells what is in it.
    for file in files_below(&hub.home()) {
        let bytes = fs::read(&file).unwrap();
        for text in [SECRET, NAME, "asterisk.pem", "key of the phones", "etc/asterisk"] {
            assert!(!contains(&bytes, text), "{text} in {}", file.display());
        }
    }
    assert!(!contains(&fs::read(first.site.state().join(format!("backups/{name}.age"))).unwrap(), SECRET));
    for file in files_below(&first.site.state()) {
        assert!(!contains(&fs::read(file).unwrap(), "AGE-SECRET-KEY-"), "the key is stored nowhere");
    }
    assert!(!first.site.read_config().contains("AGE-SECRET-KEY-"));
    let listed = first.site.run(&["backup", "list"]).ok();
    assert!(listed.contains(name) && listed.contains("here and at the hub"), "{listed}");

    // The machine is lost. A new one is enrolled under the same name.
    first.site.stop();
    let mut second = Site::new(&Setup::default());
    second.enroll(&hub.token("site-one")).ok();
    second.start();
    second.wait_for_tunnel();
    let to = second.path("restored");
    first.restore(&second, "latest", &to).ok();
    let conf = first.restored(&to, NAME);
    assert!(fs::read_to_string(&conf).unwrap().contains(SECRET));
    assert!(first.restored(&to, "keys/asterisk.pem").is_file());
    let steps: Vec<String> =
        second.ledger_entries("backup").iter().map(|entry| entry["about"]["step"].to_string()).collect();
    assert_eq!(steps, ["\"list\"", "\"fetch\""]);

    // Without the key nothing, and nothing half.
    let stranger = Backed::new(&hub, "site-two", "");
    let nowhere = second.path("nowhere");
    let refused = stranger.restore(&second, name, &nowhere);
    let words = refused.fails_with(1);
    assert!(words.contains("this key does not open the backup"), "{words}");
    assert!(!nowhere.exists());

    // A bit that flipped at the hub is noticed.
    let mut bytes = fs::read(&kept[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&kept[0], bytes).unwrap();
    let refused = first.restore(&second, name, &nowhere);
    let words = refused.fails_with(1);
    assert!(words.contains("damaged or cut off"), "{words}");
    assert!(!nowhere.exists());
}

#[test]
fn no_recording_is_in_a_backup() {
    let hub = Hub::start();
    let mut backed = Backed::new(&hub, "site-one", "");
    let site = &backed.site;
    let monitor = site.path("spool/monitor");
    fs::create_dir_all(&monitor).unwrap();
    let voice = monitor.join("in-4711.wav");
    fs::write(&voice, b"RIFF\0\0\0\0WAVEvoice").unwrap();
    fs::set_permissions(&voice, fs::Permissions::from_mode(0o644)).unwrap();
    let etc = site.path("etc/asterisk");
    fs::copy(&voice, etc.join("placed.wav")).unwrap();
    fs::copy(&voice, etc.join("placed.conf")).unwrap();
    fs::hard_link(&voice, etc.join("linked.conf")).unwrap();
    symlink(&voice, etc.join("symlinked.conf")).unwrap();
    symlink(&monitor, etc.join("monitor")).unwrap();
    backed.start();
    let made = backed.now();
    assert_eq!(made["packed"]["files"], 2, "{made}");
    let skipped = made["packed"]["skipped"].to_string();
    for name in ["placed.wav", "placed.conf", "linked.conf"] {
        assert!(skipped.contains(name), "{skipped}");
    }
    let to = backed.site.path("restored");
    backed.restore(&backed.site, "latest", &to).ok();
    for file in files_below(&to) {
        assert!(!contains(&fs::read(&file).unwrap_or_default(), "WAVEvoice"), "{}", file.display());
    }
    assert!(backed.restored(&to, "symlinked.conf").is_symlink(), "a link is a link");

    // A path that reaches a tree of recordings is refused as a whole.
    backed.site.stop();
    let spool = backed.site.path("spool");
    let setup = Setup {
        sections: backed
            .setup
            .sections
            .replace("every", &format!("recipient = {:?}\nenabled = true\nevery", recipient(&backed)))
            .replacen("paths = [", &format!("paths = [{spool:?}, "), 1)
            + &format!("[recordings]\npaths = [{monitor:?}]\n"),
        ..backed.setup.clone()
    };
    backed.site.configure(&setup);
    backed.start();
    let made = backed.now();
    assert_eq!(made["packed"]["files"], 2, "{made}");
    let status = backed.site.status();
    assert!(status["backup"]["troubles"].to_string().contains("recordings lie"), "{}", status["backup"]);
    backed.site.run(&["doctor"]).ok();
}

fn recipient(backed: &Backed) -> String {
    let key = fs::read_to_string(backed.key.path()).unwrap();
    key.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap().to_owned()
}

#[test]
fn off_is_off_and_what_is_on_its_way_is_cut_off() {
    let hub = Hub::start();
    let relay = Relay::narrow(hub.address());
    let setup = Setup { hub: Some(relay.address().to_string()), ..Setup::default() };
    let mut backed = Backed::with(&hub, "site-one", "", setup);
    // Nothing that can be compressed, so that there is something to cut.
    let noise: Vec<u8> = (0..4u64 << 20)
        .scan(1u64, |state, _| {
            *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            Some((*state >> 56) as u8)
        })
        .collect();
    fs::write(backed.site.path("etc/asterisk/noise.bin"), noise).unwrap();
    backed.start();
    relay.stall_after(200_000);
    let mut asked = backed.site.command();
    let mut asked = asked
        .args(["backup", "now"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait::until_true(LIMIT, "a backup on its way", || relay.is_stalled());
    let began = std::time::Instant::now();
    backed.site.run(&["backup", "off"]).ok();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(!asked.wait().unwrap().success());
    relay.flow();
    let entries = backed.site.ledger_entries("backup").len();
    wait::throughout(Duration::from_secs(3), "nothing at the hub", || at_hub(&hub, "site-one").is_empty());
    assert!(relay.bytes_up() < 2_000_000, "most of it never left");
    wait::until_true(LIMIT, "the hub to forget what broke off", || {
        files_below(&hub.home().join("data/backups")).is_empty()
    });
    // Nor is one made or sent by command.
    let refused = backed.site.run(&["backup", "now"]);
    let words = refused.fails_with(1);
    assert!(words.contains("backups are off"), "{words}");
    assert_eq!(backed.site.ledger_entries("backup").len(), entries);
    // On again, and without a tunnel: it stays here until there is one.
    backed.site.run(&["backup", "on"]).ok();
    backed.site.run(&["tunnel", "off"]).ok();
    let refused = backed.site.run(&["backup", "now"]);
    let words = refused.fails_with(1);
    assert!(words.contains("not at the hub"), "{words}");
    assert!(at_hub(&hub, "site-one").is_empty());
    // It does so over a restart.
    backed.site.kill();
    backed.site.start();
    backed.site.run(&["tunnel", "on"]).ok();
    wait::until_true(LIMIT, "the backup at the hub", || at_hub(&hub, "site-one").len() == 1);
}

#[test]
fn each_site_has_its_own_and_the_newest_stay() {
    let hub = Hub::start();
    let mut one = Backed::new(&hub, "site-one", "keep = 2\n");
    let mut two = Backed::new(&hub, "site-two", "");
    one.start();
    two.start();
    let names: Vec<String> = (0..3).map(|_| one.now()["packed"]["name"].as_str().unwrap().to_owned()).collect();
    wait::until_true(LIMIT, "the surplus to go", || at_hub(&hub, "site-one").len() == 2);
    assert!(!at_hub(&hub, "site-one").iter().any(|file| file.ends_with(format!("{}.age", names[0]))));
    assert_eq!(
        fs::read_dir(one.site.state().join("backups"))
            .unwrap()
            .flatten()
            .filter(|entry| { entry.file_name().to_string_lossy().ends_with(".age") })
            .count(),
        2
    );
    let listed = two.site.run(&["backup", "list", "--json"]).json();
    assert_eq!(listed["hub"], Value::Array(Vec::new()), "{listed}");
    let refused = one.restore(&two.site, &names[2], &two.site.path("theirs"));
    let words = refused.fails_with(1);
    assert!(words.contains("has no such backup of this site"), "{words}");
    // The clock makes one by itself.
    one.site.stop();
    let text = one.site.read_config().replace("every = \"off\"", "every = \"1h\"");
    one.site.write_config(&text);
    for entry in fs::read_dir(one.site.state().join("backups")).unwrap().flatten() {
        fs::remove_file(entry.path()).unwrap();
    }
    one.start();
    wait::until_true(LIMIT, "a backup by the clock", || {
        one.site.ledger_entries("backup").iter().filter(|entry| entry["about"]["step"] == "keep").count() == 4
    });
    let status = one.site.run(&["status"]).ok();
    assert!(status.contains("backup"), "{status}");
}

#[test]
fn the_hub_keeps_nothing_that_is_not_encrypted_and_nothing_too_long() {
    let mut hub = Hub::init();
    let mut config = fs::read_to_string(hub.config()).unwrap();
    config.push_str("\n[backups]\nmost_bytes_per_site = 3000\n");
    fs::write(hub.config(), config).unwrap();
    hub.serve();
    let mut backed = Backed::new(&hub, "site-one", "");
    fs::write(
        backed.site.path("etc/asterisk/noise.bin"),
        (0..4000u32).flat_map(|n| n.wrapping_mul(2654435761).to_le_bytes()).collect::<Vec<u8>>(),
    )
    .unwrap();
    backed.start();
    let made = backed.site.run(&["backup", "now"]);
    let words = made.fails_with(1);
    assert!(words.contains("no backup of that length"), "{words}");
    assert!(at_hub(&hub, "site-one").is_empty());
    assert!(backed.site.status()["backup"]["troubles"].to_string().contains("not at the hub"));
}

#[test]
fn a_hostile_site_gets_nothing_in_but_ciphertext_and_nothing_out_but_its_own() {
    let hub = Hub::start();
    let mut honest = Backed::new(&hub, "site-one", "");
    honest.start();
    let name = honest.now()["packed"]["name"].as_str().unwrap().to_owned();
    let agent = HostileAgent::new(&hub);
    let identity = agent.enroll(&hub.token("site-two")).unwrap();
    let ask = |who: Option<&_>, method: &str, path: &str, body: &[u8]| {
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        let answer = agent.files(who, &[head.as_bytes(), body].concat()).unwrap_or_default();
        String::from_utf8_lossy(&answer).into_owned()
    };
    let us = Some(&identity);
    let status = |answer: &str| answer.split(' ').nth(1).unwrap_or_default().to_owned();
    let place = "/backups/20261126T000000Z.age";
    let plain = format!("[provider1]\npassword={SECRET}\n");
    assert_eq!(status(&ask(us, "PUT", place, plain.as_bytes())), "400");
    assert_eq!(status(&ask(us, "PUT", place, b"")), "400");
    let sealed = [b"age-encryption.org/v1\n".as_slice(), b"any"].concat();
    for path in
        ["/backups/../site-one/20261126T000000Z.age", "/backups/x.age", "/backups/..%2fsite-one%2f20261126T000000Z.age"]
    {
        assert_eq!(status(&ask(us, "PUT", path, &sealed)), "404", "{path}");
    }
    let long = format!("PUT {place} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 99999999999\r\n\r\n");
    let answer = agent.files(us, long.as_bytes()).unwrap();
    assert_eq!(status(&String::from_utf8_lossy(&answer)), "413");
    assert_eq!(status(&ask(us, "GET", &format!("/backups/{name}.age"), b"")), "404");
    assert_eq!(status(&ask(us, "DELETE", &format!("/backups/{name}.age"), b"")), "404");
    assert!(ask(us, "GET", "/backups", b"").ends_with("[]"));
    assert_eq!(ask(None, "GET", "/backups", b""), "", "nobody without a certificate");
    assert!(files_below(&hub.home().join("data/backups")).len() == 1);
    assert_eq!(at_hub(&hub, "site-one").len(), 1);
    // What is kept does not change under its name.
    assert_eq!(status(&ask(us, "PUT", place, &sealed)), "201");
    assert_eq!(status(&ask(us, "PUT", place, &[sealed.as_slice(), b"x"].concat())), "409");
    assert_eq!(fs::read(&at_hub(&hub, "site-two")[0]).unwrap(), sealed);
}

#[test]
fn a_daemon_of_an_ordinary_user_reads_what_belongs_to_the_phone_system() {
    use demarc_tests::{machine, programs};
    assert!(machine::is_root(), "this test becomes another user: run the tests as root");
    let mut site = Site::new(&Setup::default());
    let etc = site.path("etc/asterisk");
    fs::create_dir_all(&etc).unwrap();
    fs::write(etc.join(NAME), SECRET).unwrap();
    fs::set_permissions(etc.join(NAME), fs::Permissions::from_mode(0o640)).unwrap();
    let sections = format!("[backup]\npaths = [{etc:?}]\nevery = \"off\"\n");
    site.configure(&Setup { sections, ..Setup::default() });
    let key = site.run(&["backup", "key"]).ok();
    fs::write(site.path("key"), key).unwrap();
    site.run(&["backup", "on"]).ok();
    let program = site.path("demarc");
    machine::copy_program(programs::agent(), &program);
    site.use_program(&program);
    for path in [site.path(""), site.path("pbx"), site.master(), site.config()] {
        std::os::unix::fs::chown(&path, Some(65534), Some(65534)).unwrap();
    }
    let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let rights = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"];
    site.wrap_in(&[&user[..], &rights[..]].concat());
    site.start();
    site.wrap_in(&[]);
    let made = site.run(&["backup", "now", "--json"]);
    let made: Value = serde_json::from_str(&made.stdout).unwrap_or_else(|_| panic!("{}", made.stderr));
    assert_eq!(made["packed"]["files"], 1, "{made}");
    let (key, to) = (site.path("key"), site.path("restored"));
    let words = ["backup", "restore", "latest", "--key", key.to_str().unwrap(), "--to", to.to_str().unwrap()];
    site.run(&words).ok();
    let conf = to.join(etc.canonicalize().unwrap().strip_prefix("/").unwrap()).join(NAME);
    assert_eq!(fs::read_to_string(&conf).unwrap(), SECRET);
    use std::os::unix::fs::MetadataExt;
    assert_eq!(fs::metadata(&conf).unwrap().uid(), 0, "whose it was");
    for file in files_below(&site.state()) {
        assert_eq!(fs::metadata(&file).unwrap().uid(), 65534, "{}", file.display());
    }
}

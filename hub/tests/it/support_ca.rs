//! The support authority: what it signs, what it refuses, and what Debian's OpenSSH says to it.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use demarc_proto::support::{Grant, GrantMessage};
use ssh_key::{Certificate, LineEnding, PrivateKey, certificate::CertType};

use crate::{
    hub::{Hub, program, succeed, text},
    support::{grant, host_key, sign},
};

/// A program of Debian's OpenSSH, fetched where that was not done before.
fn openssh(name: &str) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/lab/openssh");
    Command::new(Path::new(succeed(Command::new(script).arg("fetch")).trim()).join(name))
}

/// An authority that has certified the host key of site-one, and a directory to work in.
struct Desk {
    directory: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { directory: tempfile::tempdir().unwrap() };
        let said = succeed(desk.command("init").arg("--dir").arg(desk.dir()));
        assert!(said.contains("authorities = [\"ssh-ed25519 AAAA"), "{said}");
        let key = host_key(1).public_key().to_openssh().unwrap();
        fs::write(desk.file("host.pub"), key).unwrap();
        desk.sign_host("site-one", "host.pub", &[]).unwrap();
        desk
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn dir(&self) -> PathBuf {
        self.file("ca")
    }

    fn command(&self, name: &str) -> Command {
        let mut command = program();
        command.current_dir(self.directory.path()).args(["support-ca", name]);
        command
    }

    fn sign_host(&self, site: &str, key: &str, more: &[&str]) -> Result<String, String> {
        let mut command = self.command("sign-host");
        ended(command.arg("--dir").arg(self.dir()).args(["--site", site, "--key", key]).args(more))
    }

    /// An engineer's key; its public half is `<name>.pub`.
    fn key(&self, name: &str, kind: &str) {
        let file = self.file(name);
        succeed(openssh("ssh-keygen").args(["-q", "-t", kind, "-N", "", "-C", name, "-f"]).arg(file));
    }

    fn sign(&self, message: &GrantMessage, key: &str, engineer: &str) -> Result<Certificate, String> {
        fs::write(self.file("grant.json"), serde_json::to_string(message).unwrap()).unwrap();
        let mut command = self.command("sign");
        command.arg("--dir").arg(self.dir()).args(["--grant", "grant.json", "--key", key, "--engineer", engineer]);
        ended(&mut command)?;
        let file = key.replace(".pub", "-cert.pub");
        Ok(Certificate::from_openssh(fs::read_to_string(self.file(&file)).unwrap().trim()).unwrap())
    }

    fn list(&self) -> serde_json::Value {
        let text = succeed(self.command("list").arg("--dir").arg(self.dir()).arg("--json"));
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["signed"].take()
    }
}

/// What it said on standard output, or why it did not.
fn ended(command: &mut Command) -> Result<String, String> {
    let Output { status, stdout, stderr } = command.output().unwrap();
    if status.success() { Ok(text(&stdout)) } else { Err(text(&stderr)) }
}

fn signed(grant: &Grant) -> GrantMessage {
    sign(grant, &host_key(1))
}

#[test]
fn a_certificate_is_for_one_grant_and_openssh_reads_it() {
    let desk = Desk::new();
    desk.key("anna", "ed25519");
    desk.key("berta", "ecdsa");
    let one = grant(1, "site-one");
    let certificate = desk.sign(&signed(&one), "anna.pub", "anna").unwrap();
    assert_eq!((certificate.cert_type(), certificate.serial(), certificate.key_id()), (CertType::User, 2, "anna"));
    assert_eq!(certificate.valid_principals(), ["site-one"]);
    assert_eq!(certificate.valid_before(), one.until);
    let options: Vec<_> =
        certificate.critical_options().iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(options, ["grant@demarc=0101010101010101"]);
    let extensions: Vec<_> = certificate.extensions().keys().map(String::as_str).collect();
    assert_eq!(extensions, ["permit-pty"]);
    let shown = succeed(openssh("ssh-keygen").arg("-Lf").arg(desk.file("anna-cert.pub")));
    for words in [
        "Type: ssh-ed25519-cert-v01@openssh.com user certificate",
        "Key ID: \"anna\"",
        "Serial: 2",
        "site-one",
        "grant@demarc",
        "permit-pty",
    ] {
        assert!(shown.contains(words), "{words} is not in {shown}");
    }
    let shown = succeed(openssh("ssh-keygen").arg("-Lf").arg(desk.file("host-cert.pub")));
    assert!(shown.contains("host certificate") && shown.contains("site-one"), "{shown}");

    // The same can be looked at before anything is signed.
    let check = || desk.command("check").arg("--dir").arg(desk.dir()).args(["--grant", "grant.json"]).output().unwrap();
    let shown = text(&check().stdout);
    for words in ["grant     0101010101010101\n", "scope     shell\n", "ticket    T-17\n", "engineer  anna\n"] {
        assert!(shown.contains(words), "{words} is not in {shown}");
    }
    fs::write(desk.file("grant.json"), serde_json::to_string(&sign(&one, &host_key(9))).unwrap()).unwrap();
    assert!(text(&check().stderr).contains("do not sign this: a forged grant"), "{}", text(&check().stderr));

    // What a scope needs, and nothing else.
    for (scope, extensions) in [("diagnose", "permit-pty"), ("forward=443", "permit-port-forwarding"), ("files", "")] {
        let open = Grant { scope: scope.parse().unwrap(), engineer: None, ..grant(2, "site-one") };
        let certificate = desk.sign(&signed(&open), "berta.pub", "berta").unwrap();
        assert_eq!(certificate.extensions().keys().map(String::as_str).collect::<String>(), extensions);
        succeed(openssh("ssh-keygen").arg("-Lf").arg(desk.file("berta-cert.pub")));
    }
    let listed = desk.list();
    let serials: Vec<_> = listed.as_array().unwrap().iter().map(|entry| entry["serial"].as_u64().unwrap()).collect();
    assert_eq!(serials, [1, 2, 3, 4, 5]);
    assert_eq!((&listed[0]["kind"], &listed[0]["site"]), (&"host".into(), &"site-one".into()));
    assert_eq!((&listed[1]["kind"], &listed[1]["engineer"]), (&"user".into(), &"anna".into()));
    assert_eq!((&listed[1]["grant"], &listed[1]["ticket"]), (&"0101010101010101".into(), &"T-17".into()));
}

#[test]
fn what_a_hub_made_up_is_not_signed() {
    let desk = Desk::new();
    desk.key("anna", "ed25519");
    let refused = |message: &GrantMessage, engineer: &str| desk.sign(message, "anna.pub", engineer).unwrap_err();
    let good = grant(1, "site-one");
    // A grant of the hub's own making, with a key of its own making, is good in itself.
    let own = Grant { host_key: host_key(9).public_key().to_openssh().unwrap(), ..good.clone() };
    let words = refused(&sign(&own, &host_key(9)), "anna");
    assert!(words.contains("but the host key of site-one is SHA256:"), "{words}");
    // So is one of a site that this authority has never heard of, and one of a site for another.
    assert!(refused(&signed(&grant(1, "site-two")), "anna").contains("no host key of site-two was certified here"));
    assert!(refused(&sign(&good, &host_key(9)), "anna").contains("a forged grant"));
    assert!(refused(&signed(&good), "berta").contains("expects anna, not berta"));
    let over = Grant { issued: good.issued - 7200, until: good.issued - 1, ..good.clone() };
    assert!(refused(&signed(&over), "anna").contains("is over"));
    assert!(refused(&GrantMessage { grant: "{}".into(), signature: String::new() }, "anna").contains("not a grant"));
    desk.key("rsa", "rsa");
    assert!(desk.sign(&signed(&good), "rsa.pub", "anna").is_err());
    let certificate = desk.sign(&signed(&good), "anna.pub", "anna").unwrap();
    drop(certificate);
    let words = desk.sign(&signed(&good), "anna-cert.pub", "anna").unwrap_err();
    assert!(words.contains("not a public key"), "{words}");
    assert_eq!(desk.list().as_array().unwrap().len(), 2, "what was refused is not in the record");
}

#[test]
fn a_host_key_is_remembered_and_replaced_on_purpose_only() {
    let desk = Desk::new();
    let line = |seed| host_key(seed).public_key().to_openssh().unwrap();
    // The key itself instead of a file: the certificate goes to standard output.
    let printed = desk.sign_host("site-one", &line(1), &["--valid", "1d"]).unwrap();
    let certificate = Certificate::from_openssh(printed.trim()).unwrap();
    assert_eq!(
        (certificate.cert_type(), certificate.valid_before() - certificate.valid_after()),
        (CertType::Host, 87_300)
    );
    let words = desk.sign_host("site-one", &line(2), &[]).unwrap_err();
    assert!(words.contains("say --replace"), "{words}");
    assert!(desk.sign_host("site-two", &line(1), &["--replace"]).unwrap_err().contains("host key of site-one"));
    desk.sign_host("site-one", &line(2), &["--replace", "--out", "new-cert.pub"]).unwrap();
    assert!(desk.file("new-cert.pub").exists());
    desk.key("anna", "ed25519");
    assert!(desk.sign(&signed(&grant(1, "site-one")), "anna.pub", "anna").is_err(), "the earlier key counts no more");
    let listed = succeed(desk.command("list").arg("--dir").arg(desk.dir()));
    assert!(listed.contains("(host, replaced)"), "{listed}");
    // A key that nobody has any more may be another site's.
    desk.sign_host("site-two", &line(1), &[]).unwrap();
}

#[test]
fn its_files_are_its_owners_and_never_a_hubs() {
    let desk = Desk::new();
    let mode = |name: &str| desk.file(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode("ca"), mode("ca/ca_key"), mode("ca/signed.jsonl"), mode("host-cert.pub")),
        (0o700, 0o600, 0o600, 0o644)
    );
    let again = desk.command("init").arg("--dir").arg(desk.dir()).output().unwrap();
    assert!(text(&again.stderr).contains("init overwrites nothing"), "{}", text(&again.stderr));
    let words = desk.sign_host("site-one", "nothing.pub", &[]).unwrap_err();
    assert!(words.contains("cannot read nothing.pub: No such file"), "{words}");

    let list = |dir: &Path| ended(desk.command("list").arg("--dir").arg(dir)).unwrap_err();
    assert!(list(&desk.file("nowhere")).contains("there is no support authority in"));
    let hub = Hub::start();
    for place in ["", "data", "data/support-ca"] {
        let dir = hub.path().join(place);
        let words = ended(desk.command("init").arg("--dir").arg(&dir)).unwrap_err();
        assert!(words.contains("belongs to a hub"), "{words}");
        assert!(!dir.join("ca_key").exists());
    }
    // Moved there later, or linked: no better.
    std::os::unix::fs::symlink(hub.path().join("data"), desk.file("link")).unwrap();
    assert!(list(&desk.file("link/ca")).contains("belongs to a hub"));

    fs::set_permissions(desk.file("ca/ca_key"), Permissions::from_mode(0o640)).unwrap();
    assert!(list(&desk.dir()).contains("others can read"));
    fs::set_permissions(desk.file("ca/ca_key"), Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(desk.dir(), Permissions::from_mode(0o750)).unwrap();
    assert!(list(&desk.dir()).contains("others can read"));
}

#[test]
fn the_record_survives_a_crash_and_shows_damage() {
    let desk = Desk::new();
    let record = desk.file("ca/signed.jsonl");
    let append = |bytes: &[u8]| OpenOptions::new().append(true).open(&record).unwrap().write_all(bytes).unwrap();
    // The machine went down in the middle of a line.
    append(b"{\"serial\":2,\"at\":17");
    assert_eq!(desk.list().as_array().unwrap().len(), 1);
    desk.sign_host("site-one", "host.pub", &[]).unwrap();
    let listed = desk.list();
    assert_eq!(listed[1]["serial"], 2);
    append(b"nonsense\n");
    let words = ended(desk.command("list").arg("--dir").arg(desk.dir())).unwrap_err();
    assert!(words.contains("signed.jsonl:3: this is not a line that this program wrote"), "{words}");
}

#[test]
fn the_example_for_ssh_says_what_it_should() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/support/ssh_config");
    let said = succeed(openssh("ssh").arg("-F").arg(example).args(["-G", "site-one"]));
    for line in [
        "hostname site-one",
        "proxycommand demarc-hub connect --fdpass --certificate ~/.ssh/demarc-cert.pub %h",
        "proxyusefdpass yes",
        "identitiesonly yes",
        "forwardagent no",
        "forwardx11 no",
        "hostkeyalgorithms ssh-ed25519-cert-v01@openssh.com",
        "preferredauthentications publickey",
        "stricthostkeychecking true",
        "updatehostkeys false",
        "globalknownhostsfile /dev/null",
        "certificatefile ~/.ssh/demarc-cert.pub",
        "controlmaster false",
    ] {
        assert!(said.lines().any(|shown| shown == line), "{line:?} is not in {said}");
    }
}

#[test]
fn an_engineer_from_elsewhere_may_connect_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let fake = directory.path().join("demarc-hub");
    fs::write(&fake, "#!/bin/sh\necho \"$@\"\n").unwrap();
    fs::set_permissions(&fake, Permissions::from_mode(0o755)).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/support/demarc-connect");
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
    let run = |asked: &str| {
        let mut command = Command::new(&script);
        ended(command.arg("hub.toml").env("PATH", &path).env("SSH_ORIGINAL_COMMAND", asked)).ok()
    };
    assert_eq!(run("demarc-hub connect site-one").unwrap(), "--config hub.toml connect -- site-one\n");
    let with_grant = run("demarc-hub connect site-one 01").unwrap();
    assert_eq!(with_grant, "--config hub.toml connect --grant=01 -- site-one\n");
    // What the shell makes of words elsewhere, it does not make of them here.
    let odd = run("demarc-hub connect $(id);*").unwrap();
    assert_eq!(odd, "--config hub.toml connect -- $(id);*\n");
    for refused in ["", "id", "demarc-hub sites", "demarc-hub connect", "demarc-hub connect a b c", "sh -c id x"] {
        assert_eq!(run(refused), None, "{refused}");
    }
}

/// The way of those who keep their authority elsewhere, as docs/support.md tells it.
#[test]
fn plain_openssh_does_the_same() {
    let desk = Desk::new();
    let here = |name: &str| {
        let mut command = openssh(name);
        command.current_dir(desk.directory.path());
        command
    };
    let granted = grant(1, "site-one");
    let GrantMessage { grant: body, signature } = signed(&granted);
    fs::write(desk.file("g.sig"), signature).unwrap();
    let signer = format!("site-one namespaces=\"grant@demarc\" {}\n", host_key(1).public_key().to_openssh().unwrap());
    fs::write(desk.file("sites"), signer).unwrap();
    let verify = |body: &str| {
        let mut command = here("ssh-keygen");
        command.args(["-Y", "verify", "-f", "sites", "-I", "site-one", "-n", "grant@demarc", "-s", "g.sig"]);
        let mut running = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        running.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
        running.wait().unwrap().success()
    };
    assert!(verify(&body) && !verify(&body.replace("shell", "files")));

    desk.key("ca2", "ed25519");
    desk.key("anna", "ed25519");
    let option = "critical:grant@demarc=0101010101010101";
    let mut keygen = here("ssh-keygen");
    keygen.args(["-q", "-s", "ca2", "-I", "anna", "-n", "site-one", "-V", "-15m:+2h", "-O", "clear", "-O", option]);
    succeed(keygen.args(["-O", "permit-pty", "anna.pub"]));
    let theirs = Certificate::from_openssh(fs::read_to_string(desk.file("anna-cert.pub")).unwrap().trim()).unwrap();
    let ours = desk.sign(&signed(&granted), "anna.pub", "anna").unwrap();
    assert_eq!(theirs.critical_options(), ours.critical_options());
    assert_eq!(theirs.extensions(), ours.extensions());
    assert_eq!((theirs.valid_principals(), theirs.key_id()), (ours.valid_principals(), ours.key_id()));
    assert_eq!((theirs.cert_type(), theirs.public_key()), (ours.cert_type(), ours.public_key()));
    // The authority's own key is one of OpenSSH's, too.
    let key = fs::read(desk.file("ca/ca_key")).unwrap();
    assert!(PrivateKey::from_openssh(&key).unwrap().to_openssh(LineEnding::LF).is_ok());
    let mut keygen = here("ssh-keygen");
    succeed(keygen.args([
        "-q",
        "-s",
        "ca/ca_key",
        "-I",
        "site-one",
        "-h",
        "-n",
        "site-one",
        "-V",
        "-15m:+180d",
        "host.pub",
    ]));
    let theirs = Certificate::from_openssh(fs::read_to_string(desk.file("host-cert.pub")).unwrap().trim()).unwrap();
    assert_eq!(theirs.cert_type(), CertType::Host);
}

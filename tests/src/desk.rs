//! The vendor's support desk, with OpenSSH's own programs: an authority, engineers with keys and certificates, and the
//! ordinary `ssh` client.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    hub::Hub,
    process::{self, Daemon, Finished},
    programs,
    site::{self, LIMIT, Setup, Site},
    wait,
};

/// How long an ssh command may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The desk: a directory with the authority's key and the engineers'.
pub struct Desk {
    directory: TempDir,
}

/// What is asked of the authority for a user certificate.
#[derive(Clone, Debug)]
pub struct Wish {
    /// `-n`: the principals, parted by commas.
    pub principals: String,
    /// `-O`: options, the critical ones among them.
    pub options: Vec<String>,
    /// `-V`: from when until when.
    pub validity: String,
    /// The authority's key that signs.
    pub authority: String,
    /// `-h`: a host's certificate.
    pub host: bool,
    /// `-t` of the engineer's key.
    pub key_type: String,
}

impl Wish {
    /// A certificate as it should be.
    pub fn proper(grant: &str) -> Self {
        Self {
            principals: "site-one".into(),
            options: vec![format!("critical:grant@demarc={grant}")],
            validity: "-15m:+4m".into(),
            authority: "authority".into(),
            host: false,
            key_type: "ed25519".into(),
        }
    }
}

impl Default for Desk {
    fn default() -> Self {
        Self::new()
    }
}

impl Desk {
    /// A desk with an authority.
    pub fn new() -> Self {
        let desk = Self { directory: tempfile::Builder::new().prefix("demarc-desk-").tempdir().unwrap() };
        desk.keygen(&["-t", "ed25519", "-N", "", "-C", "vendor", "-f", "authority"]).ok();
        desk
    }

    /// Where everything of it lies.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The authority's public key.
    pub fn authority(&self) -> String {
        fs::read_to_string(self.path("authority.pub")).unwrap().trim().to_owned()
    }

    /// Runs `ssh-keygen` in the desk's directory.
    pub fn keygen(&self, arguments: &[&str]) -> Finished {
        process::run(openssh("ssh-keygen").arg("-q").args(arguments).current_dir(self.directory.path()), PATIENCE)
    }

    /// Certifies the site's host key, and hands the certificate to the site.
    pub fn certify_host(&self, site: &Site) {
        let name = "host.pub";
        fs::write(self.path(name), site.run(&["support", "key"]).ok()).unwrap();
        self.keygen(&["-s", "authority", "-h", "-I", "site-one", "-n", "site-one", "-V", "-15m:+1d", name]).ok();
        let certificate = self.path("host-cert.pub");
        site.run(&["support", "host-certificate", certificate.to_str().unwrap()]).ok();
    }

    /// Makes an engineer's key and a certificate for it; gives the key's file.
    pub fn engineer(&self, name: &str, wish: &Wish) -> PathBuf {
        let key = self.path(name);
        for old in [key.clone(), self.path(&format!("{name}.pub")), self.path(&format!("{name}-cert.pub"))] {
            let _ = fs::remove_file(old);
        }
        self.keygen(&["-t", &wish.key_type, "-N", "", "-C", name, "-f", name]).ok();
        if !self.path(&wish.authority).exists() {
            self.keygen(&["-t", "ed25519", "-N", "", "-C", "stranger", "-f", &wish.authority]).ok();
        }
        let public = format!("{name}.pub");
        let mut arguments = vec!["-s", &wish.authority, "-I", name, "-V", &wish.validity];
        if wish.host {
            arguments.push("-h");
        }
        if !wish.principals.is_empty() {
            arguments.extend(["-n", &wish.principals]);
        }
        for option in &wish.options {
            arguments.extend(["-O", option]);
        }
        arguments.push(&public);
        self.keygen(&arguments).ok();
        key
    }

    /// `ssh` as an engineer types it, with everything that his config file would say.
    pub fn ssh(&self, hub: &Hub, key: &Path) -> Command {
        self.ssh_by(&format!("{} --config {} connect %h", programs::hub().display(), hub.config().display()), key)
    }

    /// `ssh` that reaches the site in another way.
    pub fn ssh_by(&self, connect: &str, key: &Path) -> Command {
        self.client("ssh", connect, key)
    }

    /// `sftp`, which does what stands in a file.
    pub fn sftp(&self, hub: &Hub, key: &Path, batch: &str) -> Finished {
        let file = self.path("batch");
        fs::write(&file, batch).unwrap();
        let connect = format!("{} --config {} connect %h", programs::hub().display(), hub.config().display());
        let mut sftp = self.client("sftp", &connect, key);
        process::run(sftp.arg("-b").arg(file).arg("site-one").current_dir(self.directory.path()), PATIENCE)
    }

    fn client(&self, program: &str, connect: &str, key: &Path) -> Command {
        let known = self.path("known_hosts");
        fs::write(&known, format!("@cert-authority * {}\n", self.authority())).unwrap();
        let mut command = openssh(program);
        command.args([
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "StrictHostKeyChecking=yes",
        ]);
        command.arg("-o").arg(format!("UserKnownHostsFile={}", known.display()));
        command.arg("-o").arg("GlobalKnownHostsFile=none");
        command.arg("-o").arg(format!("ProxyCommand={connect}"));
        command.arg("-i").arg(key).env_remove("SSH_AUTH_SOCK");
        command
    }

    /// Runs one command on the site by `ssh`.
    pub fn run(&self, hub: &Hub, key: &Path, words: &[&str]) -> Finished {
        process::run(self.ssh(hub, key).arg("site-one").args(words), PATIENCE)
    }

    /// Starts an `ssh` that stays, with these arguments; its output goes to a file.
    pub fn start(&self, hub: &Hub, key: &Path, arguments: &[&str], log: &str) -> Daemon {
        Daemon::spawn(self.ssh(hub, key).args(arguments), &self.path(log))
    }
}

/// A program of Debian's OpenSSH.
fn openssh(name: &str) -> Command {
    Command::new(openssh_programs().join(name))
}

/// Where the programs of Debian's OpenSSH lie; what they need lies beside that directory.
pub fn openssh_programs() -> &'static Path {
    static PROGRAMS: LazyLock<PathBuf> = LazyLock::new(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/lab/openssh");
        PathBuf::from(process::run(Command::new(script).arg("fetch"), Duration::from_secs(600)).ok().trim())
    });
    &PROGRAMS
}

/// The settings of a site that knows the desk.
pub fn trusting(desk: &Desk, setup: &Setup) -> Setup {
    let authorities = format!("[support]\nauthorities = [{:?}]\n", desk.authority());
    Setup { sections: format!("{}{authorities}", setup.sections), ..setup.clone() }
}

/// A hub, a desk, and a site that knows both and runs.
pub fn opened(setup: &Setup) -> (Hub, Desk, Site) {
    let desk = Desk::new();
    let setup = trusting(&desk, setup);
    let (hub, mut site) = site::enrolled(&setup);
    site.start();
    site.wait_for_tunnel();
    desk.certify_host(&site);
    (hub, desk, site)
}

/// Lets support in; gives the grant's name once the hub knows of it.
pub fn allow(site: &Site, lasts: &str, scope: &str) -> String {
    let granted = site.run(&["support", "allow", "--for", lasts, "--scope", scope, "--json"]).json();
    let id = granted["grant"]["id"].as_str().unwrap().to_owned();
    wait::until_true(LIMIT, "the hub to know of the grant", || {
        let listed = listed(site);
        listed["grants"].as_array().unwrap().iter().any(|live| live["grant"]["id"] == id && live["announced"] == true)
    });
    id
}

/// What `demarc support list` says.
pub fn listed(site: &Site) -> Value {
    site.run(&["support", "list", "--json"]).json()
}

/// Waits until no session runs, and gives the last one as the ledger tells of it.
pub fn last_session(site: &Site) -> Value {
    wait::until(LIMIT, "the session to be over and in the ledger", || {
        let listed = listed(site);
        let last = listed["sessions"].as_array()?.last()?.clone();
        (listed["running"].as_array()?.is_empty() && !last["end"].is_null()).then_some(last)
    })
}

/// The lines of a session's recording.
pub fn recording(site: &Site, session: &str) -> Vec<Value> {
    let path = site.state().join("support/recordings").join(format!("{session}.cast"));
    let text = fs::read_to_string(path).unwrap();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Everything of one kind in a recording, joined: `o`, `i` or `m`.
pub fn recorded(site: &Site, session: &str, code: &str) -> String {
    let of_that_kind = |line: &Value| (line[1] == code).then(|| line[2].as_str().map(str::to_owned)).flatten();
    recording(site, session).iter().filter_map(of_that_kind).collect::<Vec<_>>().join(if code == "m" {
        "\n"
    } else {
        ""
    })
}

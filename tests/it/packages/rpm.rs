//! The .rpm through its life, by rpm itself: its scripts run in the root of a machine.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command, time::Duration};

use demarc_tests::{
    appliance::Appliance,
    machine, packed,
    process::{self, Finished},
};

use super::{RECORDING, put_pbx_on, review, set_up};

struct Rpm(Appliance);

impl Rpm {
    /// Runs rpm on the machine's root.
    fn run(&self, words: &[&str]) -> Finished {
        let mut command = Command::new(review::runner());
        command.current_dir(self.0.root().parent().unwrap()).args(["rpm", "--root", "/work/root"]).args(words);
        process::run(&mut command, Duration::from_secs(120))
    }

    /// Installs, upgrades or goes back. What the package needs is known to Debian's own database alone.
    fn install(&self, word: &str, file: &Path) {
        let file = format!("/work/root{}", self.0.bring(file));
        let told = self.run(&[word, "--nodeps", "--oldpackage", &file]);
        assert!(!told.stderr.contains("scriptlet failed"), "{}", told.stderr);
        told.ok();
    }

    fn opens_recording(&self) -> bool {
        let words = ["setpriv", "--reuid=demarc", "--regid=demarc", "--clear-groups", "head", "-c", "1", RECORDING];
        self.0.run(&words).code == Some(0)
    }
}

fn lives(end: &str) -> Rpm {
    let machine = Appliance::fresh();
    put_pbx_on(&machine);
    machine.run(&["apt-get", "-qq", "-y", "-o", "Acquire::http::Proxy=http://127.0.0.1:9", "install", "acl"]).ok();
    let rpm = Rpm(machine);
    rpm.install("-i", &packed::current("demarc-0", end));
    assert_eq!(rpm.run(&["-V", "--nodeps", "demarc"]).ok(), "", "every file as the package has it");
    assert_eq!(
        rpm.0.shell("stat -c '%n %a %U %G' /usr/bin/demarc /usr/lib/demarc/access /usr/lib/systemd/system/demarc.service /etc/demarc \
            /var/lib/demarc; id -Gn demarc").ok(),
        "/usr/bin/demarc 755 root root\n/usr/lib/demarc/access 755 root root\n/usr/lib/systemd/system/demarc.service 644 root root\n\
            /etc/demarc 750 demarc demarc\n/var/lib/demarc 750 demarc demarc\ndemarc\n"
    );
    assert!(!rpm.opens_recording());
    set_up(&rpm.0, "");
    rpm.0.shell("echo 1 > /var/lib/demarc/state; chown demarc: /var/lib/demarc/state").ok();
    rpm
}

fn kept(rpm: &Rpm) -> String {
    rpm.0
        .shell("cd / && find etc/demarc var/lib/demarc -printf '%p %m %u %g %s\\n' | sort; cat var/lib/demarc.access")
        .ok()
}

#[test]
fn an_upgrades_old_scripts_take_nothing_back() {
    assert!(machine::is_root(), "a machine of one's own takes root");
    let rpm = lives(".el9.x86_64.rpm");
    let first = kept(&rpm);
    for file in [packed::later("demarc-99", ".el9.x86_64.rpm"), packed::current("demarc-0", ".el9.x86_64.rpm")] {
        rpm.install("-U", &file);
        assert_eq!(kept(&rpm), first, "{}", file.display());
        assert!(!rpm.opens_recording(), "the old version's scripts ran last");
        assert_eq!(rpm.run(&["-q", "demarc"]).ok().lines().count(), 1);
    }
    rpm.run(&["-e", "demarc"]).ok();
    for gone in
        ["/usr/bin/demarc", "/usr/lib/demarc", "/usr/share/demarc", "/usr/share/doc/demarc", "/var/lib/demarc.access"]
    {
        assert!(!rpm.0.path(gone).exists(), "{gone}");
    }
    assert!(rpm.0.path("/etc/demarc/demarc.toml").is_file() && rpm.0.path("/var/lib/demarc/state").is_file());
    assert_eq!(rpm.0.run(&["getfacl", "--skip-base", "-R", "-p", "/var/spool/asterisk"]).ok(), "");
}

#[test]
fn el7_gets_the_unit_that_its_systemd_understands() {
    assert!(machine::is_root(), "a machine of one's own takes root");
    let rpm = lives(".el7.x86_64.rpm");
    let unit = std::fs::read_to_string(rpm.0.path("/usr/lib/systemd/system/demarc.service")).unwrap();
    assert!(unit.contains("InaccessibleDirectories=") && !unit.contains("\nTemporaryFileSystem="), "{unit}");
    rpm.run(&["-e", "demarc"]).ok();
    assert!(!rpm.0.path("/usr/bin/demarc").exists());
}

#[test]
fn signed_packages_are_known_by_their_vendors_key_alone() {
    assert!(machine::is_root(), "packages are looked over in a root of their own, which takes root");
    let room = tempfile::Builder::new().prefix("demarc-signed-").tempdir().unwrap();
    let inside = |words: &[&str]| {
        let mut command = Command::new(review::runner());
        command.current_dir(room.path()).env("GNUPGHOME", "/work/keys").args(words);
        process::run(&mut command, Duration::from_secs(120))
    };
    inside(&["mkdir", "-m", "700", "keys"]).ok();
    for name in ["vendor", "other"] {
        inside(&["gpg", "--batch", "--passphrase", "", "--quick-generate-key", name, "rsa3072", "sign", "never"]).ok();
        inside(&["gpg", "--armor", "--output", &format!("{name}.asc"), "--export", name]).ok();
        inside(&["rpmkeys", "--dbpath", &format!("/work/{name}"), "--import", &format!("{name}.asc")]).ok();
    }
    let signer = room.path().join("signer");
    let runner = review::runner().display();
    fs::write(&signer, format!("#!/bin/sh\nexec {runner} rpmsign --define '__gpg /usr/bin/gpg' \"$@\"\n")).unwrap();
    fs::set_permissions(&signer, fs::Permissions::from_mode(0o755)).unwrap();
    let mut build = packed::build();
    build.arg("--out").arg(room.path()).args(["--sign", "vendor", "rpm", "el7"]);
    build.env("RPMSIGN", signer).env("GNUPGHOME", "/work/keys");
    process::run(&mut build, Duration::from_secs(600)).ok();

    let names: Vec<String> =
        fs::read_dir(room.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let packages: Vec<&String> = names.iter().filter(|name| name.ends_with(".rpm")).collect();
    assert_eq!(packages.len(), 3, "{names:?}");
    let check = |owner: &str, package: &str| inside(&["rpmkeys", "--dbpath", &format!("/work/{owner}"), "-K", package]);
    for package in packages {
        assert_eq!(check("vendor", package).ok(), format!("{package}: digests signatures OK\n"));
        let told = check("other", package).stdout + &check("other", package).stderr;
        assert!(told.contains("SIGNATURES NOT OK"), "{told}");
        // One byte of what is in it.
        let file = room.path().join(package);
        let mut bytes = fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&file, bytes).unwrap();
        assert_ne!(check("vendor", package).code, Some(0), "{package} was changed");
    }
}

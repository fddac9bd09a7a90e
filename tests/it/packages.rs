//! Packages and units: installed, upgraded, gone back, removed and purged on a fresh machine, and run there by systemd.

mod backup;
mod debian;
mod life;
mod openrc;
mod reach;
mod review;
mod rpm;
mod service;
mod session;
mod tarball;
mod units;

use std::time::Duration;

use demarc_tests::appliance::Appliance;

const LIMIT: Duration = Duration::from_secs(60);

/// Where the records of calls lie on these machines.
pub(crate) const MASTER: &str = "/var/log/asterisk/cdr-csv/Master.csv";
pub(crate) const RECORDING: &str =
    "/var/spool/asterisk/monitor/2026/11/26/out-0151234567-1001-20261126-101010-1764151810.1.wav";
const MESSAGE: &str = "/var/spool/asterisk/voicemail/default/1001/INBOX/msg0000.wav";

/// A PBX as FreePBX leaves one: recordings that everybody may read.
pub(crate) fn put_pbx_on(machine: &Appliance) {
    for path in [MASTER, RECORDING, MESSAGE] {
        machine.write(path, if path == MASTER { "" } else { "RIFF" });
    }
    machine.shell("useradd --system asterisk; chown -R asterisk: /var/spool/asterisk /var/log/asterisk; chmod -R a+rX /var/spool /var/log/asterisk").ok();
}

/// Settings as `demarc setup` writes them, belonging to the user of the package.
pub(crate) fn set_up(machine: &Appliance, more: &str) {
    let text = format!(
        "state_dir = \"/var/lib/demarc\"\n{more}\n[pbx]\ntrunks = [\"provider1\"]\n\
         [[pbx.source]]\ntype = \"asterisk-csv\"\npath = \"{MASTER}\"\n[web]\nlisten = \"off\"\n"
    );
    machine.write("/etc/demarc/demarc.toml", &text);
    machine.shell("chown demarc: /etc/demarc/demarc.toml; chmod 640 /etc/demarc/demarc.toml").ok();
}

/// Installs a package file by apt, from what the machine has of others.
pub(crate) fn apt_install(machine: &Appliance, file: &std::path::Path) {
    let file = machine.bring(file);
    machine
        .run(&[
            "apt-get",
            "-qq",
            "-y",
            "--allow-downgrades",
            "-o",
            "Acquire::http::Proxy=http://127.0.0.1:9",
            "install",
            &file,
        ])
        .ok();
}

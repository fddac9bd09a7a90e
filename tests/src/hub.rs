//! A real hub in a directory of its own.

use std::{
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    machine,
    process::{self, Daemon, Finished},
    programs, wait,
};

/// How long a command of the hub may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// The hub; stopped when dropped.
pub struct Hub {
    directory: TempDir,
    address: SocketAddr,
    daemon: Option<Daemon>,
}

impl Hub {
    /// Makes one and starts it.
    pub fn start() -> Self {
        let mut hub = Self::init();
        hub.serve();
        hub
    }

    /// Makes one without starting it.
    pub fn init() -> Self {
        let directory = tempfile::Builder::new().prefix("demarc-hub-").tempdir().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], machine::free_port()));
        let hub = Self { directory, address, daemon: None };
        let mut command = Command::new(programs::hub());
        command.arg("init").arg("--dir").arg(hub.home()).arg("--listen").arg(address.to_string());
        process::run(&mut command, LIMIT).ok();
        hub
    }

    /// Where everything of it lies.
    pub fn home(&self) -> PathBuf {
        self.directory.path().join("hub")
    }

    /// Its settings.
    pub fn config(&self) -> PathBuf {
        self.home().join("hub.toml")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts it and waits until it takes connections.
    pub fn serve(&mut self) {
        let mut daemon = Daemon::spawn(self.command().arg("serve"), &self.log_file());
        wait::until_true(LIMIT, "the hub to listen", || {
            assert!(daemon.is_up(), "the hub ended: {}", daemon.log());
            TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).is_ok()
        });
        self.daemon = Some(daemon);
    }

    /// Stops it in good order.
    pub fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.stop();
        }
    }

    /// Stops it as a power failure would.
    pub fn kill(&mut self) {
        self.daemon = None;
    }

    /// Its process.
    pub fn daemon(&mut self) -> &mut Daemon {
        self.daemon.as_mut().expect("the hub runs")
    }

    /// What it printed so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("hub.log")
    }

    /// `demarc-hub --config …`, to be completed.
    pub fn command(&self) -> Command {
        let mut command = Command::new(programs::hub());
        command.arg("--config").arg(self.config());
        command
    }

    /// Runs one of its commands.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        process::run(self.command().args(arguments), LIMIT)
    }

    /// A fresh enrollment token.
    pub fn token(&self, site: &str) -> String {
        let printed = self.run(&["token", site]).ok();
        let token = printed.trim().to_owned();
        assert!(!token.contains(char::is_whitespace), "the token stands alone on stdout: {printed}");
        token
    }

    /// Everything that it holds of a site, as `show --json` prints it.
    pub fn show(&self, site: &str) -> String {
        self.run(&["show", site, "--json"]).ok()
    }

    /// The bodies of a site's reports, byte for byte as they came.
    pub fn bodies(&self, site: &str) -> Vec<String> {
        bodies(&self.show(site))
    }

    /// Waits until it holds so many reports of a site.
    pub fn wait_for_reports(&self, site: &str, count: usize, limit: Duration) -> Vec<String> {
        wait::until(limit, &format!("{count} reports at the hub"), || {
            let bodies = self.bodies(site);
            (bodies.len() >= count).then_some(bodies)
        })
    }
}

/// The report bodies in what `show --json` printed: their exact bytes with their padding, which any JSON library would
/// drop. No text in a report holds a brace.
pub fn bodies(shown: &str) -> Vec<String> {
    let (_, reports) = shown.split_once("\"reports\":[").unwrap_or_else(|| panic!("no reports: {shown}"));
    let reports = reports.trim_end().strip_suffix("]}").unwrap_or_else(|| panic!("no end: {shown}"));
    let begin = "{\"schema\":";
    let parts = reports.split(begin).skip(1).map(|part| part.strip_suffix(',').unwrap_or(part));
    parts.map(|part| format!("{begin}{part}")).collect()
}

/// Every file below a directory.
pub fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #[test]
    fn bodies_keep_their_padding() {
        let shown = "{\"site\":\"a\",\"reports\":[{\"schema\":1,\"id\":\"x\"}  ,{\"schema\":1} ]}\n";
        assert_eq!(super::bodies(shown), ["{\"schema\":1,\"id\":\"x\"}  ", "{\"schema\":1} "]);
        assert!(super::bodies("{\"site\":\"a\",\"reports\":[]}\n").is_empty());
    }
}

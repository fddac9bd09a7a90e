//! A real hub in a directory of its own, on a free port, ended when dropped.

use std::{
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use demarc_proto::token::EnrollmentToken;

pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demarc-hub"));
    command.env_remove("DEMARC_HUB_LOG");
    command
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs to the end and wants success; what it said on standard output.
pub fn succeed(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{status}: {}", text(&stderr));
    text(&stdout)
}

pub struct Hub {
    pub directory: tempfile::TempDir,
    pub address: SocketAddr,
    process: Option<Child>,
    said: Arc<Mutex<String>>,
}

impl Hub {
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// Starts with more lines at the end of the settings.
    pub fn start_with(settings: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        succeed(program().args(["init", "--listen", &address.to_string(), "--dir"]).arg(directory.path()));
        let mut hub = Self { directory, address, process: None, said: Arc::default() };
        let config = std::fs::read_to_string(hub.config()).unwrap();
        std::fs::write(hub.config(), config + settings).unwrap();
        hub.serve();
        hub
    }

    pub fn serve(&mut self) {
        let mut process =
            program().arg("--config").arg(self.config()).arg("serve").stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on ") {
            line.clear();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0, "the hub ended before it listened");
        }
        self.process = Some(process);
        let said = self.said.clone();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = lines.read(&mut bytes) {
                said.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
        });
    }

    pub fn config(&self) -> PathBuf {
        self.directory.path().join("hub.toml")
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command.arg("--config").arg(self.config()).args(arguments);
        command
    }

    pub fn token(&self, site: &str) -> EnrollmentToken {
        succeed(&mut self.command(&["token", site])).parse().unwrap()
    }

    pub fn show(&self, site: &str) -> String {
        succeed(&mut self.command(&["show", site, "--json"]))
    }

    pub fn reports(&self, site: &str) -> usize {
        let shown: serde_json::Value = serde_json::from_str(&self.show(site)).unwrap();
        shown["reports"].as_array().unwrap().len()
    }

    pub fn process_id(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    pub fn signal(&self, signal: libc::c_int) {
        // SAFETY: a plain system call on a process that we started and have not waited for.
        let result = unsafe { libc::kill(self.process_id().cast_signed(), signal) };
        assert_eq!(result, 0);
    }

    /// Waits for its end; fails when that takes longer than the grace period.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        let mut process = self.process.take().unwrap();
        let begin = Instant::now();
        loop {
            if let Some(status) = process.try_wait().unwrap() {
                return status;
            }
            if begin.elapsed() > Duration::from_secs(15) {
                process.kill().unwrap();
                process.wait().unwrap();
                panic!("the hub did not end in time");
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the log holds some words.
    pub async fn says(&self, words: &str) {
        let begin = Instant::now();
        while !self.said.lock().unwrap().contains(words) {
            assert!(begin.elapsed() < Duration::from_secs(10), "no {words:?} in: {}", self.said.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn log(&self) -> String {
        self.said.lock().unwrap().clone()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}

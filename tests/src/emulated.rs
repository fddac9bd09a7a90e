//! A whole machine with Debian's own kernel, emulated: for what no kernel of another age can show.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use data_encoding::BASE64;
use tempfile::TempDir;

use crate::{
    appliance::Appliance,
    data,
    process::{self, Daemon, Finished},
    wait,
};

/// Starting up, or doing something, where every instruction is played, on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);
/// Downloading the emulator and a kernel.
const FETCHING: Duration = Duration::from_secs(600);

/// The machine, with a disk of its own that outlives its boots. It is switched off when dropped.
pub struct Emulated {
    directory: TempDir,
    running: Option<Running>,
}

struct Running {
    emulator: Daemon,
    door: BufReader<UnixStream>,
}

impl Emulated {
    /// A machine whose disk is a copy of that one's.
    pub fn of(appliance: &Appliance) -> Self {
        static FETCHED: OnceLock<()> = OnceLock::new();
        FETCHED.get_or_init(|| drop(process::run(script().arg("fetch"), FETCHING).ok()));
        let directory = tempfile::Builder::new().prefix("demarc-emulated-").tempdir().unwrap();
        process::run(script().arg("disk").arg(appliance.root()).arg(directory.path().join("disk")), LIMIT).ok();
        Self { directory, running: None }
    }

    /// Starts it, with these words to its kernel, and waits until it is up.
    pub fn boot(&mut self, words: &[&str]) {
        let (disk, socket) = (self.directory.path().join("disk"), self.directory.path().join("door"));
        let _ = std::fs::remove_file(&socket);
        let mut emulator = Daemon::spawn(
            script().arg("boot").arg(disk).arg(&socket).args(words),
            &self.directory.path().join("console"),
        );
        // Long before the machine has anything to say.
        let line = wait::until(Duration::from_secs(30), "the emulator", || {
            assert!(emulator.is_up(), "the emulator ended: {}", emulator.log());
            UnixStream::connect(&socket).ok()
        });
        line.set_read_timeout(Some(LIMIT)).unwrap();
        let mut running = Running { emulator, door: BufReader::new(line) };
        assert_eq!(running.answer(), "ready");
        self.running = Some(running);
    }

    /// Has a shell do something there as root.
    pub fn shell(&mut self, text: &str) -> Finished {
        let running = self.running.as_mut().expect("the machine is up");
        running.say(text);
        let answer = running.answer();
        let mut parts = answer.split(' ');
        let code = parts.next().and_then(|code| code.parse().ok());
        let mut text = || {
            let bytes = BASE64.decode(parts.next().unwrap_or_default().as_bytes());
            String::from_utf8_lossy(&bytes.unwrap_or_else(|error| panic!("{error}: {answer}"))).into_owned()
        };
        Finished { code, stdout: text(), stderr: text() }
    }

    /// Shuts it down, so that it can be started anew.
    pub fn shut_down(&mut self) {
        let mut running = self.running.take().expect("the machine is up");
        running.say("systemctl --no-block reboot");
        running.emulator.ended(LIMIT);
    }
}

impl Running {
    fn say(&mut self, text: &str) {
        let line = BASE64.encode(text.as_bytes()) + "\n";
        self.door.get_mut().write_all(line.as_bytes()).unwrap();
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        if let Err(error) = self.door.read_line(&mut line) {
            panic!("the machine says nothing ({error}): {}", self.emulator.log());
        }
        assert!(line.ends_with('\n'), "the machine went off: {line:?}, {}", self.emulator.log());
        line.trim_end().to_owned()
    }
}

fn script() -> Command {
    Command::new(data::root().join("../../../deploy/lab/kernel"))
}

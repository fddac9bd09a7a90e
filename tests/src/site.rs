//! A customer's site: a state directory, a config file, a `Master.csv`, and the agent that reads it.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    cgroup, data,
    hub::Hub,
    machine,
    process::{self, Daemon, Finished},
    programs, wait,
};

/// How long a command of the agent may take on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// What the config file says.
#[derive(Clone, Debug)]
pub struct Setup {
    /// `stats.upload`.
    pub upload: bool,
    /// `stats.window`.
    pub window: String,
    /// `stats.grace`.
    pub grace: String,
    /// `stats.floor`.
    pub floor: u32,
    /// `pbx.quiet`; absent leaves it out.
    pub quiet: Option<String>,
    /// `tunnel.hub`; absent leaves it to the token.
    pub hub: Option<String>,
    /// The zone of the source's times.
    pub timezone: String,
    /// `web.listen`; off where nobody looks at pages, since sites beside each other cannot share the usual port.
    pub web: String,
    /// Further lines at the top of the file.
    pub top: String,
    /// Further sections.
    pub sections: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            upload: true,
            window: "1m".into(),
            grace: "0s".into(),
            floor: 10,
            quiet: None,
            hub: None,
            timezone: "UTC".into(),
            web: "off".into(),
            top: String::new(),
            sections: String::new(),
        }
    }
}

/// The site; its agent ends when it is dropped.
pub struct Site {
    directory: TempDir,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
    program: PathBuf,
    daemon: Option<Daemon>,
}

impl Site {
    /// A site with these settings and an empty `Master.csv`.
    pub fn new(setup: &Setup) -> Self {
        let directory = tempfile::Builder::new().prefix("demarc-site-").tempdir().unwrap();
        let site = Self {
            directory,
            environment: Vec::new(),
            wrapper: Vec::new(),
            program: programs::agent().to_owned(),
            daemon: None,
        };
        fs::create_dir(site.path("pbx")).unwrap();
        File::create(site.master()).unwrap();
        site.configure(setup);
        site
    }

    /// A file or directory of the site.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// The config file.
    pub fn config(&self) -> PathBuf {
        self.path("demarc.toml")
    }

    /// The call records.
    pub fn master(&self) -> PathBuf {
        self.path("pbx/Master.csv")
    }

    /// The ledger file.
    pub fn ledger(&self) -> PathBuf {
        self.state().join("collector/ledger.jsonl")
    }

    /// The files in the outbox, by name.
    pub fn outbox(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.state().join("outbox")) else { return Vec::new() };
        let mut files: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|e| e == "json"))
            .collect();
        files.sort();
        files
    }

    /// Writes the config file, whole and at once, as a careful editor does.
    pub fn configure(&self, setup: &Setup) {
        self.write_config(&self.config_text(setup));
    }

    /// Writes this text as the config file.
    pub fn write_config(&self, text: &str) {
        let new = self.path("demarc.toml.new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.config()).unwrap();
    }

    /// The text of the config file.
    pub fn read_config(&self) -> String {
        fs::read_to_string(self.config()).unwrap()
    }

    /// The config file that says this.
    pub fn config_text(&self, setup: &Setup) -> String {
        let mut text = format!("state_dir = {:?}\n{}", self.state(), setup.top);
        if !machine::has_landlock() && !text.contains("confinement") {
            text += "confinement = \"best-effort\"\n";
        }
        text += &format!("[pbx]\ntrunks = {:?}\n", data::TRUNKS);
        if let Some(quiet) = &setup.quiet {
            text += &format!("quiet = {quiet:?}\n");
        }
        text += &format!(
            "[[pbx.source]]\ntype = \"asterisk-csv\"\npath = {:?}\ntimezone = {:?}\n",
            self.master(),
            setup.timezone
        );
        if let Some(hub) = &setup.hub {
            text += &format!("[tunnel]\nhub = {hub:?}\n");
        }
        text += &format!("[web]\nlisten = {:?}\n", setup.web);
        text += &format!(
            "[stats]\nupload = {}\nwindow = {:?}\ngrace = {:?}\nfloor = {}\n{}",
            setup.upload, setup.window, setup.grace, setup.floor, setup.sections
        );
        text
    }

    /// Sets a variable for every program of this site from now on.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.unset_env(name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Takes such a variable back.
    pub fn unset_env(&mut self, name: &str) {
        self.environment.retain(|(other, _)| other != name);
    }

    /// Puts a program with its arguments before every `demarc` from now on, such as `setpriv …`.
    pub fn wrap_in(&mut self, words: &[&str]) {
        self.wrapper = words.iter().map(|&word| word.to_owned()).collect();
    }

    /// Uses another copy of the agent from now on.
    pub fn use_program(&mut self, program: &Path) {
        self.program = program.to_owned();
    }

    /// `demarc --config …`, to be completed.
    pub fn command(&self) -> Command {
        let mut words = self.wrapper.iter().map(PathBuf::from).chain([self.program.clone()]);
        let mut command = Command::new(words.next().expect("there is a program"));
        command.args(words).arg("--config").arg(self.config());
        // The outcome must not hang on what the tests' own environment says.
        for name in ["DO_NOT_TRACK", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "NO_PROXY", "no_proxy"] {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs one of the agent's commands.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        process::run(self.command().args(arguments), LIMIT)
    }

    /// Enrolls the site.
    pub fn enroll(&self, token: &str) -> Finished {
        self.run(&["enroll", token])
    }

    /// Starts the agent and waits until it answers.
    pub fn start(&mut self) {
        self.launch();
        let limit = LIMIT;
        wait::until_true(limit, "the agent to answer", || {
            let daemon = self.daemon.as_mut().unwrap();
            assert!(daemon.is_up(), "the agent ended: {}", daemon.log());
            self.answers()
        });
    }

    /// Starts the agent without waiting.
    pub fn launch(&mut self) {
        assert!(self.daemon.is_none(), "the agent runs already");
        let mut command = self.command();
        self.daemon = Some(Daemon::spawn(command.arg("run"), &self.log_file()));
    }

    /// Whether the control socket takes connections.
    pub fn answers(&self) -> bool {
        UnixStream::connect(self.state().join("control.sock")).is_ok()
    }

    /// The supervisor's process.
    pub fn daemon(&mut self) -> &mut Daemon {
        self.daemon.as_mut().expect("the agent runs")
    }

    /// Whether the agent was started and not stopped.
    pub fn is_started(&self) -> bool {
        self.daemon.is_some()
    }

    /// Stops the agent in good order.
    pub fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.stop();
        }
    }

    /// Kills the supervisor as a power failure would, and waits until its roles are gone too.
    pub fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let roles = process::children(daemon.pid());
            daemon.kill();
            wait::until_true(LIMIT, "the roles to end with their supervisor", || {
                roles.iter().all(|role| !Path::new(&format!("/proc/{}/fd/0", role.pid)).exists())
            });
        }
    }

    /// The process of a role, when it runs.
    pub fn role(&self, name: &str) -> Option<i32> {
        self.roles(name).first().copied()
    }

    /// The processes of a role.
    pub fn roles(&self, name: &str) -> Vec<i32> {
        let Some(daemon) = self.daemon.as_ref() else { return Vec::new() };
        let is_it = |words: &[String]| words.windows(2).any(|pair| pair[0] == "role" && pair[1] == name);
        let children = process::children(daemon.pid()).into_iter();
        children.filter(|child| is_it(&child.arguments)).map(|child| child.pid).collect()
    }

    /// The daemon's process.
    pub fn pid(&self) -> i32 {
        self.daemon.as_ref().expect("the daemon runs").pid()
    }

    /// Everything that the agent printed.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    /// Where the agent's messages go.
    pub fn log_file(&self) -> PathBuf {
        self.path("agent.log")
    }

    /// Appends to `Master.csv` as Asterisk does: open, one write, close.
    pub fn feed(&self, bytes: &[u8]) {
        let mut file = File::options().append(true).create(true).open(self.master()).unwrap();
        file.write_all(bytes).unwrap();
    }

    /// `demarc report --json --by …`.
    pub fn report(&self, by: &str) -> Value {
        self.run(&["report", "--json", "--by", by]).json()
    }

    /// What the running agent says of itself in `demarc status --json`.
    pub fn status(&self) -> Value {
        self.run(&["status", "--json"]).json()["daemon"].take()
    }

    /// Waits until so many calls are counted; hands back the last report.
    pub fn wait_for_calls(&self, calls: u64, by: &str, limit: Duration) -> Value {
        let mut last = Value::Null;
        wait::until_true(limit, &format!("{calls} calls in the store"), || {
            last = self.report(by);
            last["calls"].as_u64() == Some(calls)
        });
        last
    }

    /// Waits until the tunnel is up, as `status` says it.
    pub fn wait_for_tunnel(&self) {
        wait::until_true(LIMIT, "the tunnel", || self.is_connected());
    }

    /// Whether the hub has answered on the connection in use.
    pub fn is_connected(&self) -> bool {
        self.status()["linked"]["connected"] == true
    }

    /// Why there is no tunnel, in words.
    pub fn link_trouble(&self) -> Option<String> {
        self.status()["linked"]["trouble"].as_str().map(str::to_owned)
    }

    /// Whether reports may leave.
    pub fn uploads(&self) -> bool {
        self.status()["upload"].as_bool().expect("status says whether reports may leave")
    }

    /// What is wrong with the call records, in words.
    pub fn source_trouble(&self) -> Option<String> {
        self.status()["collected"]["sources"][0]["trouble"].as_str().map(str::to_owned)
    }

    /// The ledger's entries of a kind, oldest first.
    pub fn ledger_entries(&self, kind: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.ledger()).unwrap_or_default();
        let entries = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a ledger line is JSON"));
        entries.filter(|entry| entry["kind"] == kind).collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Its sessions end with it; their cgroups are there until somebody removes them.
        drop(self.daemon.take());
        cgroup::forget(&self.state());
    }
}

/// A hub with a site that is enrolled at it and not yet started. The agent's way to the hub can lead elsewhere by
/// `setup.hub`.
pub fn enrolled(setup: &Setup) -> (Hub, Site) {
    let hub = Hub::start();
    let site = Site::new(setup);
    site.enroll(&hub.token("site-one")).ok();
    (hub, site)
}

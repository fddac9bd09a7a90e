//! A PostgreSQL server of the test's own, on a unix socket and on loopback.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    path::PathBuf,
    process::{Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    data,
    process::{self, Daemon},
    wait,
};

const LIMIT: Duration = Duration::from_secs(60);
/// It refuses to run as root: then it is told that it is somebody else, in a user namespace where root has another number.
const AS_NOBODY: [&str; 4] = ["unshare", "--user", "--map-user=65534", "--map-group=65534"];

/// The server. It ends when dropped.
pub struct Postgres {
    directory: TempDir,
    port: u16,
    daemon: Option<Daemon>,
}

impl Postgres {
    /// A server with an empty database `fusionpbx`, whose users have passwords.
    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("demarc-pg-").tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { directory, port, daemon: None };
        let mut command = server.command("initdb");
        command.args([
            "--username=admin",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "--no-sync",
            "--encoding=UTF8",
        ]);
        command.args(["--locale=C".to_owned(), format!("--pgdata={}", server.data().display())]);
        process::run(&mut command, LIMIT).ok();
        // Everybody but the administrator of the tests needs a password by the socket too.
        let rules = "local all admin trust\nlocal all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n";
        fs::write(server.data().join("pg_hba.conf"), rules).unwrap();
        server.resume();
        server.run("postgres", "CREATE DATABASE fusionpbx").unwrap();
        server
    }

    /// The directory of its unix socket.
    pub fn socket_directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// Its address on loopback.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Stops the server.
    pub fn pause(&mut self) {
        let mut daemon = self.daemon.take().expect("the server runs");
        // The fast way: it does not wait for its clients.
        process::signal(daemon.pid(), libc::SIGINT);
        daemon.ended(LIMIT);
    }

    /// Starts the server again.
    pub fn resume(&mut self) {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.directory.path());
        command.args(["-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", &format!("port={}", self.port)]);
        command.args(["-c", "listen_addresses=127.0.0.1"]);
        self.daemon = Some(Daemon::spawn(&mut command, &self.directory.path().join("log")));
        wait::until_true(LIMIT, "the database server", || self.run("postgres", "SELECT 1").is_some());
        // The name of the socket holds the port; clients that are given a directory look for this one.
        let usual = self.directory.path().join(".s.PGSQL.5432");
        let _ = fs::remove_file(&usual);
        std::os::unix::fs::symlink(format!(".s.PGSQL.{}", self.port), usual).unwrap();
    }

    /// Does what the statements say, in `fusionpbx`, and returns what they answer.
    pub fn execute(&self, statements: &str) -> String {
        self.run("fusionpbx", statements).unwrap_or_else(|| panic!("PostgreSQL refuses: {statements}"))
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn run(&self, database: &str, statements: &str) -> Option<String> {
        let mut command = Command::new(tools().join("psql"));
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "admin", "-d", database]);
        command.arg("-h").arg(self.directory.path()).arg("-p").arg(self.port.to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // A client that was refused does not listen.
        let _ = child.stdin.take().unwrap().write_all(statements.as_bytes());
        let output = child.wait_with_output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn command(&self, program: &str) -> Command {
        let program = tools().join(program);
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new(AS_NOBODY[0]);
            command.args(&AS_NOBODY[1..]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.directory.path());
        command
    }
}

/// Where the server and its client lie.
fn tools() -> &'static PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let script = data::root().join("../../../deploy/lab/postgres");
        let printed = process::run(Command::new(script).arg("fetch"), Duration::from_secs(600)).ok();
        PathBuf::from(printed.trim())
    })
}

//! A MariaDB server of the test's own: on a unix socket and on loopback, stopped and started at will.

use std::{
    fs::{self, File},
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

/// Small, and without care for what a loss of power would do.
const SETTINGS: [&str; 7] = [
    "--innodb-log-file-size=8M",
    "--innodb-buffer-pool-size=64M",
    "--innodb-undo-tablespaces=0",
    "--innodb-flush-log-at-trx-commit=0",
    "--skip-innodb-doublewrite",
    "--skip-name-resolve",
    "--skip-log-bin",
];

/// The user of the tests that may do everything.
const ADMIN: &str = "admin";

/// The user that demarc logs in as.
pub const READER: &str = "demarc";
/// That user's password.
pub const PASSWORD: &str = "only-reads";

/// What a reader needs of FreePBX's newer table.
pub const COLUMNS: &str = "calldate, duration, billsec, disposition, channel, dstchannel, lastapp, lastdata, src, dst, \
                           uniqueid, linkedid, sequence";

/// The server. It ends when dropped.
pub struct MariaDb {
    directory: TempDir,
    port: u16,
    daemon: Option<Daemon>,
}

impl MariaDb {
    /// A server with no databases but its own.
    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("demarc-db-").tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { directory, port, daemon: None };
        fs::create_dir(server.path("data")).unwrap();
        server.bootstrap();
        server.resume();
        server
    }

    /// A server with FreePBX's databases as a real one left them, and a reader that may read what it should.
    pub fn with_real_records() -> Self {
        let server = Self::start();
        let dump = fs::read_to_string(data::file("freepbx/asteriskcdrdb.sql")).unwrap();
        server.execute(&dump);
        server.execute(
            "CREATE DATABASE asterisk; CREATE TABLE asterisk.trunks (trunkid int PRIMARY KEY, tech varchar(20) NOT NULL,
             channelid varchar(190) NOT NULL, name varchar(50) NOT NULL DEFAULT '', disabled varchar(4) DEFAULT 'off');
             INSERT INTO asterisk.trunks VALUES (1, 'pjsip', 'provider1', '', 'off'), (2, 'pjsip', 'provider2', '', 'off'),
             (3, 'pjsip', 'peer', '', 'off');",
        );
        server.let_in(COLUMNS);
        server
    }

    /// Makes the reader, with the right to those columns of call records, and to the trunks.
    pub fn let_in(&self, columns: &str) {
        for host in ["localhost", "127.0.0.1"] {
            self.execute(&format!(
                "CREATE USER {READER}@'{host}' IDENTIFIED BY '{PASSWORD}';
                 GRANT SELECT ({columns}) ON asteriskcdrdb.cdr TO {READER}@'{host}';
                 GRANT SELECT (tech, channelid, name) ON asterisk.trunks TO {READER}@'{host}';"
            ));
        }
    }

    /// Its unix socket.
    pub fn socket(&self) -> PathBuf {
        self.path("s.sock")
    }

    /// Its address on loopback.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A file of the server's.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Stops the server.
    pub fn pause(&mut self) {
        self.daemon.take().expect("the server runs").stop();
    }

    /// Starts the server again.
    pub fn resume(&mut self) {
        let mut command = self.server();
        command.arg(format!("--socket={}", self.socket().display()));
        command.args(["--bind-address=127.0.0.1".to_owned(), format!("--port={}", self.port)]);
        command.arg(format!("--pid-file={}", self.path("pid").display()));
        self.daemon = Some(Daemon::spawn(&mut command, &self.path("log")));
        wait::until_true(LIMIT, "the database server", || self.run("SELECT 1").is_some());
    }

    /// Does what the statements say.
    pub fn execute(&self, statements: &str) {
        self.run(statements).unwrap_or_else(|| panic!("MariaDB refuses: {}", &statements[..statements.len().min(400)]));
    }

    /// What a query answers: one line a row, cells separated by tabs.
    pub fn query(&self, statement: &str) -> Vec<Vec<String>> {
        let text = self.run(statement).unwrap_or_else(|| panic!("MariaDB refuses: {statement}"));
        text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    }

    fn run(&self, statements: &str) -> Option<String> {
        let mut command = Command::new(tools().join("mariadb"));
        command.arg(format!("--socket={}", self.socket().display()));
        command.args([format!("--user={ADMIN}"), format!("--password={ADMIN}")]);
        command.args(["--skip-ssl", "--default-character-set=utf8mb4", "--batch", "--skip-column-names"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // A client that was refused does not listen.
        let _ = child.stdin.take().unwrap().write_all(statements.as_bytes());
        let output = child.wait_with_output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn server(&self) -> Command {
        let mut command = Command::new(tools().join("mariadbd"));
        let data = self.path("data");
        command.arg(format!("--datadir={}", data.display())).arg(format!("--tmpdir={}", data.display())).args(SETTINGS);
        // It refuses to run as root unless that is said.
        if rustix::process::geteuid().is_root() {
            command.arg("--user=root");
        }
        command
    }

    /// What `mariadb-install-db` does, which cannot find its programs in an unpacked tree.
    fn bootstrap(&self) {
        let share = tools().parent().unwrap().join("root/usr/share/mariadb");
        let mut statements = "CREATE DATABASE mysql;\nUSE mysql;\n".to_owned();
        for name in ["mariadb_system_tables.sql", "mariadb_system_tables_data.sql"] {
            statements += &fs::read_to_string(share.join(name)).unwrap();
        }
        // Without this there are no users to create yet.
        statements += "FLUSH PRIVILEGES;\n";
        statements += &format!("CREATE USER {ADMIN}@localhost IDENTIFIED BY '{ADMIN}';\n");
        statements += &format!("GRANT ALL ON *.* TO {ADMIN}@localhost WITH GRANT OPTION;\n");
        let (input, log) = (self.path("bootstrap.sql"), self.path("bootstrap.log"));
        fs::write(&input, statements).unwrap();
        let mut command = self.server();
        command.args(["--bootstrap", "--skip-networking"]).stdin(File::open(&input).unwrap());
        let out = File::create(&log).unwrap();
        let status = command.stdout(out.try_clone().unwrap()).stderr(out).status().unwrap();
        assert!(status.success(), "no databases: {}", fs::read_to_string(&log).unwrap());
    }
}

/// Where the server and its client lie.
fn tools() -> &'static PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let script = data::root().join("../../../deploy/lab/tools");
        let printed = process::run(Command::new(script).arg("fetch"), Duration::from_secs(600)).ok();
        PathBuf::from(printed.trim())
    })
}

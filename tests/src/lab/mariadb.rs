//! FreePBX's databases in a real MariaDB server.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    lab::{Credentials, packages::Packages, zone},
    process::{self, Daemon},
    wait,
};

/// The table `asteriskcdrdb.cdr` as FreePBX has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Table {
    /// With `linkedid`, `peeraccount` and `sequence`.
    #[default]
    WithLinkedId,
    /// As it was before these were added.
    Old,
}

/// The server. It ends when dropped.
#[derive(Debug)]
pub struct MariaDb {
    /// Its unix socket.
    pub socket: PathBuf,
    /// Its TCP port.
    pub address: SocketAddr,
    /// A user who may read both databases and nothing else.
    pub reader: Credentials,
    client: PathBuf,
    _daemon: Daemon,
}

/// The server's settings: small, without care for what a loss of power would do, and without a certificate, which takes
/// seconds to make and which nobody asks for on loopback.
const SETTINGS: [&str; 8] = [
    "--innodb-log-file-size=8M",
    "--innodb-buffer-pool-size=16M",
    "--innodb-undo-tablespaces=0",
    "--innodb-flush-log-at-trx-commit=0",
    "--skip-innodb-doublewrite",
    "--skip-name-resolve",
    "--skip-log-bin",
    "--skip-ssl",
];

impl MariaDb {
    /// Makes the databases in a new directory, and starts a server for them.
    pub(super) fn start(
        packages: &Packages,
        directory: &Path,
        address: SocketAddr,
        table: Table,
        zone: Option<&str>,
    ) -> Self {
        let data = directory.join("data");
        fs::create_dir_all(&data).unwrap();
        let program = packages.tool("mariadbd");
        bootstrap(&mut server(Command::new(&program), &data), &statements(packages, table), directory);

        let socket = directory.join("mariadb.sock");
        let mut command = server(zone::command(&program, zone, &packages.root.join("usr/share/zoneinfo")), &data);
        command.arg(format!("--socket={}", socket.display()));
        command.args([format!("--bind-address={}", address.ip()), format!("--port={}", address.port())]);
        command.arg(format!("--pid-file={}", directory.join("pid").display()));
        let daemon = Daemon::spawn(&mut command, &directory.join("log"));
        let reader = Credentials { user: "demarc", secret: "only-reads" };
        let mariadb = Self { socket, address, reader, client: packages.tool("mariadb"), _daemon: daemon };
        wait::until_true(Duration::from_secs(60), "the database server", || mariadb.run("SELECT 1").code == Some(0));
        mariadb
    }

    /// What the reader is answered, by rows and columns. Bytes that are no UTF-8 become replacement characters.
    pub fn query(&self, statement: &str) -> Vec<Vec<String>> {
        let text = self.run(statement).ok();
        text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    }

    fn run(&self, statement: &str) -> process::Finished {
        let mut command = Command::new(&self.client);
        command.arg(format!("--socket={}", self.socket.display()));
        command.args([format!("--user={}", self.reader.user), format!("--password={}", self.reader.secret)]);
        command.args([
            "--skip-ssl",
            "--default-character-set=utf8mb4",
            "--batch",
            "--skip-column-names",
            "--execute",
            statement,
        ]);
        process::run(&mut command, Duration::from_secs(30))
    }
}

fn server(mut command: Command, data: &Path) -> Command {
    command.arg(format!("--datadir={}", data.display())).args(SETTINGS);
    // Servers that share one clear away each other's temporary tables.
    command.arg(format!("--tmpdir={}", data.display()));
    // Where it is root, as in a namespace of its own, it refuses to run unless that is said. Elsewhere it ignores it.
    command.arg("--user=root");
    command
}

/// What `mariadb-install-db` does, which cannot find its programs in an unpacked tree.
fn bootstrap(command: &mut Command, statements: &str, directory: &Path) {
    let (input, log) = (directory.join("bootstrap.sql"), directory.join("bootstrap.log"));
    fs::write(&input, statements).unwrap();
    let log_file = File::create(&log).unwrap();
    command.args(["--bootstrap", "--skip-networking"]).stdin(File::open(&input).unwrap());
    let status = command.stdout(log_file.try_clone().unwrap()).stderr(log_file).status().unwrap();
    assert!(status.success(), "the databases could not be made: {}", fs::read_to_string(&log).unwrap());
}

fn statements(packages: &Packages, table: Table) -> String {
    let share = packages.mariadb_share();
    let own = |name: &str| fs::read_to_string(share.join(name)).unwrap();
    let mut statements = "CREATE DATABASE mysql;\nUSE mysql;\n".to_owned();
    statements.push_str(&own("mariadb_system_tables.sql"));
    statements.push_str(&own("mariadb_system_tables_data.sql"));
    // Without it this mode has no users to create or to grant to.
    statements.push_str("FLUSH PRIVILEGES;\n");
    statements.push_str(include_str!("../../lab/sql/freepbx.sql"));
    if table == Table::WithLinkedId {
        statements.push_str(include_str!("../../lab/sql/linkedid.sql"));
    }
    statements
}

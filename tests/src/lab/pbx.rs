//! The PBX: a real Asterisk with a configuration of its own, and every way of keeping call records switched on.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use crate::{
    lab::{Options, network::Network, packages::Packages, phones::Endpoint, zone},
    process::Daemon,
};

/// The last part of the PBX's own address.
pub(super) const ADDRESS: u8 = 1;

/// Asterisk, as a process. It ends when dropped.
#[derive(Debug)]
pub(super) struct Pbx {
    pub(super) directory: PathBuf,
    pub(super) sip: SocketAddr,
    pub(super) manager: SocketAddr,
    pub(super) daemon: Daemon,
}

/// Files that Asterisk wants to see, and that say nothing.
const EMPTY: [&str; 21] = [
    "acl",
    "ccss",
    "cdr_manager",
    "cel",
    "cli",
    "cli_aliases",
    "cli_permissions",
    "codecs",
    "dnsmgr",
    "enum",
    "extconfig",
    "indications",
    "musiconhold",
    "odbcinst",
    "pjproject",
    "rtp",
    "sorcery",
    "stasis",
    "udptl",
    "users",
    "http",
];

/// What it says to callers: a tenth of a second of silence each, in µ-law.
const SOUNDS: [&str; 13] = [
    "beep",
    "pbx-transfer",
    "pbx-parkingfailed",
    "vm-theperson",
    "vm-isunavail",
    "vm-intro",
    "digits/0",
    "digits/1",
    "digits/2",
    "digits/3",
    "digits/5",
    "digits/7",
    "digits/8",
];

impl Pbx {
    /// Writes the configuration and starts the program, which takes a second to take calls at `sip`.
    pub(super) fn start(
        packages: &Packages,
        directory: &Path,
        network: &Network,
        sip: SocketAddr,
        endpoints: &[Endpoint],
        database_socket: &Path,
        options: &Options,
    ) -> Self {
        for part in
            ["etc", "run", "db", "lib", "data/sounds/en/digits", "spool/voicemail", "log/cdr-csv", "log/cdr-custom"]
        {
            fs::create_dir_all(directory.join(part)).unwrap();
        }
        let etc = directory.join("etc");
        for name in EMPTY {
            fs::write(etc.join(format!("{name}.conf")), "").unwrap();
        }
        let manager = network.tcp(ADDRESS);
        let modules = packages.library("chan_pjsip.so");
        let known = [
            ("directory", directory.display().to_string()),
            ("modules", modules.parent().unwrap().display().to_string()),
            ("odbc_driver", packages.library("libmaodbc.so").display().to_string()),
            ("database_socket", database_socket.display().to_string()),
            ("address", network.address(ADDRESS).to_string()),
            ("manager_port", manager.port().to_string()),
        ];
        for entry in fs::read_dir(templates()).unwrap() {
            let entry = entry.unwrap();
            let mut text = fs::read_to_string(entry.path()).unwrap();
            for (name, value) in &known {
                text = text.replace(&format!("@{name}@"), value);
            }
            fs::write(etc.join(entry.file_name()), text).unwrap();
        }
        fs::write(etc.join("pjsip.conf"), pjsip(sip, endpoints)).unwrap();
        fs::write(etc.join("cdr.conf"), format!("[general]\n{}\n[csv]\n{}\n", options.general, options.csv)).unwrap();
        let mappings = if options.mappings { "[mappings]\nlinkedid => linkedid\nsequence => sequence\n" } else { "" };
        fs::write(etc.join("cdr_manager.conf"), format!("[general]\nenabled=yes\n{mappings}")).unwrap();
        for name in SOUNDS {
            fs::write(directory.join(format!("data/sounds/en/{name}.ulaw")), [0xff; 800]).unwrap();
        }
        let documentation = packages.root.join("usr/share/asterisk/documentation");
        std::os::unix::fs::symlink(documentation, directory.join("data/documentation")).unwrap();

        let mut command = zone::command(&packages.asterisk(), options.zone, &packages.root.join("usr/share/zoneinfo"));
        command.arg("-f").arg("-C").arg(etc.join("asterisk.conf"));
        command.env("ODBCSYSINI", &etc).env("ODBCINI", etc.join("odbc.ini"));
        // Character sets are modules of the C library: its own, not this machine's.
        command.env("GCONV_PATH", packages.library("gconv-modules").parent().unwrap());
        let daemon = Daemon::spawn(&mut command, &directory.join("console.log"));
        Self { directory: directory.to_owned(), sip, manager, daemon }
    }

    /// How many seconds of processor time it used so far.
    pub(super) fn processor_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.daemon.pid())).unwrap();
        // The name of the program, which stands in brackets, may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        ticks as f64 / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64
    }
}

/// What the PBX is told, but for the names between `@` signs.
fn templates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/etc")
}

fn pjsip(sip: SocketAddr, endpoints: &[Endpoint]) -> String {
    let mut text = format!(
        "[global]\ntype=global\nendpoint_identifier_order=username,ip\n[udp]\ntype=transport\nprotocol=udp\nbind={sip}\n"
    );
    for Endpoint { name, at, is_trunk } in endpoints {
        let (context, user) =
            if *is_trunk { ("from-trunk", String::new()) } else { ("from-internal", format!("{name}@")) };
        text.push_str(&format!(
            "[{name}]\ntype=endpoint\ncontext={context}\ndisallow=all\nallow=ulaw\naors={name}\ndirect_media=no\n\
             dtmf_mode=info\nmedia_address={pbx}\nbind_rtp_to_media_address=yes\n",
            pbx = sip.ip()
        ));
        if *is_trunk {
            text.push_str(&format!("[{name}]\ntype=identify\nendpoint={name}\nmatch={}\n", at.ip()));
        } else {
            text.push_str(&format!("callerid=\"User {name}\" <{name}>\n"));
        }
        text.push_str(&format!("[{name}]\ntype=aor\ncontact=sip:{user}{at}\n"));
    }
    text
}

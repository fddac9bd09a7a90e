//! Programs in another time zone than this machine's.

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// A command that will see that time zone; none is this machine's own.
///
/// Asterisk does not ask `TZ`, it reads `/etc/localtime`. So the program gets a mount namespace of its own in which
/// another file lies there. Without root that takes a user namespace.
///
/// # Panics
/// Where the system does not let it have these namespaces.
pub(super) fn command(program: &Path, zone: Option<&str>, zones: &Path) -> Command {
    let Some(zone) = zone else { return Command::new(program) };
    let file = zones.join(zone);
    assert!(file.is_file(), "no time zone {zone}: {} is missing", file.display());
    let mut command = inside(&file);
    command.arg(program);
    command
}

/// The shell that lays the file in its place and then becomes another program; which is to end with this one although
/// a change of namespaces makes the kernel forget that.
fn inside(file: &Path) -> Command {
    let script = "mount --bind \"$0\" /etc/localtime && exec setpriv --pdeathsig TERM \"$@\"";
    let shell = || {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", script]).arg(file);
        command
    };
    let trial = shell().arg("true").stdin(Stdio::null()).output().expect("unshare of util-linux");
    assert!(
        trial.status.success(),
        "this system has no user and mount namespaces for a test that needs another time zone: {}",
        String::from_utf8_lossy(&trial.stderr)
    );
    shell()
}

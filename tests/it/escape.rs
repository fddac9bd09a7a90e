//! An engineer in a shell who wants more than he was granted: content, keys, a way to stay. As root, and as an ordinary
//! user.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, chown},
        net::UnixListener,
    },
    process::Command,
};

use demarc_tests::{
    desk::{self, Desk, Wish, allow, last_session, recorded, trusting},
    hub::Hub,
    machine, process, programs,
    site::{LIMIT, Setup, Site},
};

const NOBODY: u32 = 65_534;
const SECRET: &str = "what-was-said-on-the-telephone";

/// One try: a command, and whether the same command succeeds for the same user without a session's confinement.
struct Try {
    command: String,
    works_outside: bool,
}

/// A connection to a unix socket.
fn speak_to(socket: &str) -> String {
    format!(
        "perl -MSocket -e 'socket(S, PF_UNIX, SOCK_STREAM, 0) or exit 1; connect(S, sockaddr_un(\"{socket}\")) or exit 1'"
    )
}

fn tries(site: &Site, worker: &str) -> Vec<Try> {
    let recording = site.path("monitor/2026/call.wav").display().to_string();
    let voicemail = site.path("voicemail/default/100/INBOX/msg0000.wav").display().to_string();
    let state = site.state().display().to_string();
    let config = site.config().display().to_string();
    let agent = site.pid();
    let mut tries = Vec::new();
    let mut outside = |command: String| tries.push(Try { command, works_outside: true });
    // Content, by every path that leads to it.
    for file in [&recording, &voicemail] {
        outside(format!("cat {file}"));
        outside(format!("rm -f l; ln -s {file} l && cat l"));
        outside(format!("cat /proc/self/root{file}"));
        outside(format!("cp {file} copy && cat copy && rm copy"));
        outside(format!("dd if={file} status=none"));
        outside(format!("(exec 9< {file} && cat /proc/self/fd/9)"));
        outside(format!("perl -e 'open(F, \"<\", \"{file}\") or exit 1; print <F>'"));
    }
    outside(format!("ls -R {}", site.path("monitor").display()));
    // What is the agent's own.
    for file in
        ["link/key.pem", "support/host_key", "support/grants.json", "collector/ledger.jsonl", "collector/calls.db"]
    {
        outside(format!("cat {state}/{file}"));
    }
    outside(format!("cat {config}"));
    outside(format!("cat {state}/support/recordings/*.cast"));
    // Daemons that listen: ours, and one that starts containers for everybody.
    outside(speak_to(&format!("{state}/control.sock")));
    outside(speak_to(&site.path("containers.sock").display().to_string()));
    let mut only = |command: String| tries.push(Try { command, works_outside: false });
    only(format!("cat /proc/{agent}/root{recording}"));
    only(format!("rm -f h; ln {recording} h && cat h"));
    only(format!("mkdir -p m; mount --bind $(dirname {recording}) m && cat m/call.wav"));
    only(format!("unshare -rm cat {recording}"));
    only(format!("unshare -Urp --fork --mount-proc cat {recording}"));
    only(format!("nsenter -t {agent} -m cat {recording}"));
    only(format!("chroot / cat {recording}"));
    only(format!("setpriv --reuid=0 cat {recording}"));
    only(format!("su -c 'cat {recording}'"));
    only(format!("sudo -n cat {recording}"));
    only("cat /etc/shadow".to_owned());
    only("head -c 512 /dev/vda || head -c 512 /dev/sda".to_owned());
    only("head -c 512 /dev/mem".to_owned());
    // Other processes.
    for pid in [agent.to_string(), worker.to_owned()] {
        only(format!("kill -9 {pid}"));
        only(format!("kill -STOP {pid}"));
        only(format!("cat /proc/{pid}/environ"));
        only(format!("head -c 1 /proc/{pid}/mem"));
        only(format!("cat /proc/{pid}/fd/5"));
        only(format!("perl -e 'exit(syscall(101, 16, {pid}, 0, 0) == 0 ? 0 : 1)'"));
    }
    // Other daemons, and the network.
    for socket in ["/run/docker.sock", "/run/systemd/private", "/run/dbus/system_bus_socket"] {
        only(speak_to(socket));
    }
    only("perl -MSocket -e 'socket(S, PF_UNIX, SOCK_STREAM, 0) or exit 1'".to_owned());
    only("perl -MSocket -e 'socket(S, PF_INET, SOCK_DGRAM, 0) or exit 1'".to_owned());
    only("perl -MSocket -e 'socket(S, PF_INET, SOCK_RAW, 1) or exit 1'".to_owned());
    only("bash -c 'exec 3<>/dev/tcp/127.0.0.1/22'".to_owned());
    // Ways to stay, and to change the machine.
    for file in [
        "/etc/cron.d/demarc-escape",
        "/etc/systemd/system/demarc-escape.service",
        "/etc/ld.so.preload",
        "/etc/profile.d/demarc-escape.sh",
        "/usr/local/bin/demarc-escape",
        "/tmp/demarc-escape",
        "/var/tmp/demarc-escape",
        "/dev/shm/demarc-escape",
        "/run/demarc-escape",
        "/proc/sys/kernel/core_pattern",
        "/sys/kernel/uevent_helper",
    ] {
        only(format!("echo x > {file}"));
    }
    only(format!("echo x >> {state}/collector/ledger.jsonl"));
    only(format!("rm {state}/support/recordings/*.cast"));
    only(format!("chmod 777 {}", site.path("").display()));
    only("echo '* * * * * id' | crontab -".to_owned());
    only("echo id | at now".to_owned());
    only("systemd-run --wait id".to_owned());
    only("docker ps || podman ps || ctr version || false".to_owned());
    tries
}

fn assert_shut_in(site: &mut Site, hub: &Hub, desk: &Desk, user: Option<u32>) {
    for file in ["monitor/2026/call.wav", "voicemail/default/100/INBOX/msg0000.wav"] {
        let path = site.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // As FreePBX does it: everybody may read it, so that no mode keeps anybody out.
        fs::write(&path, SECRET).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        for directory in path.ancestors().skip(1).take_while(|directory| directory.starts_with(site.path(""))) {
            fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
            chown(directory, user, user).unwrap();
        }
    }
    let containers = site.path("containers.sock");
    let _containers = UnixListener::bind(&containers).unwrap();
    fs::set_permissions(&containers, fs::Permissions::from_mode(0o666)).unwrap();
    site.start();
    site.wait_for_tunnel();
    desk.certify_host(site);
    let grant = allow(site, "10m", "shell");
    let key = desk.engineer("eve", &Wish::proper(&grant));
    let told = desk.run(hub, &key, &["id -u"]).ok();
    assert_eq!(told.trim(), user.unwrap_or(0).to_string());
    let tries = tries(site, "$WORKER");
    let outside = tempfile::tempdir().unwrap();
    chown(outside.path(), user, user).unwrap();
    let mut script = "export WORKER=$PPID; cat /proc/$WORKER/comm; ".to_owned();
    for (number, tried) in tries.iter().enumerate() {
        let quoted = tried.command.replace('\'', r"'\''");
        script += &format!("sh -c '{quoted}' < /dev/null; echo \"=={number}=$?\"\n");
        if tried.works_outside {
            let mut control = Command::new("sh");
            control.arg("-c").arg(&tried.command).current_dir(outside.path());
            if let Some(user) = user {
                use std::os::unix::process::CommandExt;
                control.uid(user).gid(user);
            }
            let control = process::run(&mut control, LIMIT);
            assert_eq!(control.code, Some(0), "outside, {:?} should work: {control:?}", tried.command);
        }
    }
    let done = desk.run(hub, &key, &[&script]);
    assert!(done.stdout.starts_with("demarc-session"), "the worker is not known: {done:?}");
    assert!(!done.stdout.contains(SECRET) && !done.stderr.contains(SECRET), "content came out: {done:?}");
    for (number, tried) in tries.iter().enumerate() {
        let code = done.stdout.lines().find_map(|line| line.strip_prefix(&format!("=={number}="))).map(str::to_owned);
        let code = code.or_else(|| {
            done.stdout.split(&format!("=={number}=")).nth(1).and_then(|rest| rest.lines().next()).map(str::to_owned)
        });
        assert!(code.as_deref().is_some_and(|code| code != "0"), "{:?} gave {code:?}: {done:?}", tried.command);
    }
    assert!(site.is_connected() && site.answers(), "the agent lives");
    for left in ["/tmp/demarc-escape", "/dev/shm/demarc-escape", "/etc/cron.d/demarc-escape"] {
        assert!(!std::path::Path::new(left).exists(), "{left}");
    }
    // The tries stand in the recording, and it is whole.
    let session = last_session(site);
    let name = session["session"].as_str().unwrap();
    let told = recorded(site, name, "m");
    assert!(told.contains("nsenter") && told.contains("call.wav"), "{told}");
    site.run(&["support", "verify"]).ok();
}

fn setup(site: &Site, desk: &Desk) -> Setup {
    let trees = [site.path("monitor"), site.path("voicemail")];
    let sections = format!("[recordings]\npaths = {trees:?}\n");
    trusting(desk, &Setup { sections, ..Setup::default() })
}

#[test]
fn root_is_shut_in() {
    assert!(machine::is_root(), "this test needs root");
    let (hub, desk) = (Hub::start(), Desk::new());
    let mut site = Site::new(&Setup::default());
    site.configure(&setup(&site, &desk));
    site.enroll(&hub.token("site-one")).ok();
    assert_shut_in(&mut site, &hub, &desk, None);
}

#[test]
fn an_ordinary_user_is_shut_in() {
    assert!(machine::is_root(), "this test becomes an ordinary user, and so needs root");
    let (hub, desk) = (Hub::start(), Desk::new());
    let mut site = Site::new(&Setup::default());
    site.configure(&setup(&site, &desk));
    let program = site.path("demarc");
    machine::copy_program(programs::agent(), &program);
    site.use_program(&program);
    for path in [site.path(""), site.path("pbx"), site.master(), site.config()] {
        chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    // Where the host certificate is handed over.
    fs::set_permissions(desk.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    site.wrap_in(&["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
    site.enroll(&hub.token("site-one")).ok();
    assert_shut_in(&mut site, &hub, &desk, Some(NOBODY));
    let _ = desk::listed(&site);
}

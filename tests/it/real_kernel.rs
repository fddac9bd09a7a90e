//! Debian 12 as FreePBX 17 has it: its own kernel (Linux 6.1, Landlock 2), its systemd, the package and its unit. It is let in,
//! attacked from inside, started anew, and booted without Landlock as other appliances are.

use demarc_tests::{
    appliance::Appliance, desk::openssh_programs, emulated::Emulated, machine, packed, process::Finished, site::LIMIT,
    wait,
};
use serde_json::Value;

use crate::packages::{MASTER, RECORDING, apt_install, put_pbx_on, set_up};

const LOG: &str = "/var/log/asterisk/full";
const HUB: &str = "demarc-hub --config /srv/hub/hub.toml";

/// The whole of it on one machine: PBX, agent, hub, support desk, engineer.
fn furnished() -> Emulated {
    assert!(machine::is_root(), "a machine of one's own takes root");
    let appliance = Appliance::fresh();
    put_pbx_on(&appliance);
    appliance.write(LOG, "a line\n");
    // Open to the service's user in every way but that of the confinement.
    appliance.shell(&format!("chmod 666 {LOG}")).ok();
    apt_install(&appliance, &packed::current("demarc_", ".deb"));
    apt_install(&appliance, &packed::current("demarc-hub_", ".deb"));
    let programs = openssh_programs();
    appliance.bring_directory(programs.parent().unwrap());
    let programs = programs.display();
    appliance.shell("demarc-hub init --dir /srv/hub --listen 127.0.0.1:18443").ok();
    appliance
        .shell(&format!(
            "mkdir /root/desk && cd /root/desk && for one in authority engineer; do \
             {programs}/ssh-keygen -q -t ed25519 -N '' -C $one -f $one; done; \
             echo \"@cert-authority * $(cat authority.pub)\" > known_hosts"
        ))
        .ok();
    // `engineer ssh|sftp GRANT WORD…`: certified for that grant, and in.
    appliance.write(
        "/usr/local/bin/engineer",
        &format!(
            "#!/bin/sh\ncd /root/desk; program=$1 grant=$2; shift 2\n\
             {programs}/ssh-keygen -q -s authority -I ada -n site-one -V -15m:+20m -O critical:grant@demarc=$grant engineer.pub\n\
             exec {programs}/$program -F none -o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes \
             -o UserKnownHostsFile=/root/desk/known_hosts -o GlobalKnownHostsFile=none -o 'ProxyCommand={HUB} connect %h' \
             -i engineer \"$@\"\n"
        ),
    );
    appliance.shell("chmod 755 /usr/local/bin/engineer").ok();
    let authority = appliance.shell("cat /root/desk/authority.pub").ok();
    set_up(&appliance, "");
    appliance
        .shell(&format!(
            "printf '[support]\\nauthorities = [\"%s\"]\\nlogs = [\"{LOG}\"]\\n' '{}' >> /etc/demarc/demarc.toml",
            authority.trim()
        ))
        .ok();
    Emulated::of(&appliance)
}

fn start_hub(machine: &mut Emulated) {
    machine.shell(&format!("systemd-run --quiet --unit=test-hub {HUB} serve")).ok();
}

fn daemon(machine: &mut Emulated) -> Value {
    machine.shell("demarc status --json").json()["daemon"].clone()
}

fn wait_for_tunnel(machine: &mut Emulated) {
    wait::until_true(LIMIT * 2, "the tunnel", || daemon(machine)["linked"]["connected"] == true);
}

fn allow(machine: &mut Emulated, scope: &str) -> String {
    let granted = machine.shell(&format!("demarc support allow --for 20m --scope {scope} --json")).json();
    let id = granted["grant"]["id"].as_str().unwrap().to_owned();
    wait::until_true(LIMIT, "the hub to know of the grant", || {
        machine.shell(&format!("{HUB} grants")).ok().contains(&id)
    });
    id
}

fn doctor(machine: &mut Emulated) -> Value {
    let told = machine.shell("setpriv --reuid=demarc --regid=demarc --clear-groups demarc doctor --json");
    serde_json::from_str(&told.stdout).unwrap_or_else(|error| panic!("{error}: {told:?}"))
}

/// Tries something as the engineer whom that grant lets in.
fn engineer(machine: &mut Emulated, grant: &str, words: &str) -> Finished {
    let quoted = words.replace('\'', r"'\''");
    machine.shell(&format!("engineer ssh {grant} site-one '{quoted}'"))
}

fn agent(machine: &mut Emulated) -> String {
    machine.shell("systemctl show demarc --value -p MainPID").ok().trim().to_owned()
}

#[test]
fn debian_12_confines_support_forgets_grants_at_reboot_and_refuses_without_landlock() {
    let mut machine = furnished();
    machine.boot(&[]);
    let kernel = machine.shell("uname -r; cat /sys/kernel/security/lsm").ok();
    assert!(kernel.starts_with("6.1.") && kernel.contains("landlock"), "{kernel}");
    start_hub(&mut machine);
    machine.shell(&format!("umask 077; until {HUB} token site-one > /etc/demarc/token; do sleep 0.2; done")).ok();
    machine.shell("systemctl restart demarc").ok();
    wait_for_tunnel(&mut machine);
    let keygen = openssh_programs().join("ssh-keygen");
    machine
        .shell(&format!(
            "cd /root/desk && demarc support key > host.pub && \
             {} -q -s authority -h -I site-one -n site-one -V -15m:+1d host.pub && \
             cp host-cert.pub /tmp && chmod 644 /tmp/host-cert.pub && demarc support host-certificate /tmp/host-cert.pub",
            keygen.display()
        ))
        .ok();

    // What this kernel can do, tried by the doctor and said by the daemon.
    let status = daemon(&mut machine);
    for role in ["supervisor", "collector", "link"] {
        assert_eq!(status[role]["confined"]["landlock"], 2, "{role}: {status}");
    }
    // Linux 5.14 and newer end a cgroup at one stroke, and the unit hands one over.
    assert!(status["support"]["cgroup"].is_string() && status["support"]["no_cgroup"].is_null(), "{status}");
    let told = doctor(&mut machine);
    let checks = told["checks"].to_string();
    for words in
        ["Landlock 2 works", "is confined then: diagnose, shell, files, forward=443", "cannot keep signals within"]
    {
        assert!(checks.contains(words), "{words:?} is missing: {checks}");
    }
    let proofs = told["proofs"].as_array().unwrap();
    assert!(proofs.iter().all(|proof| proof["holds"] != false), "{told:#}");
    assert!(proofs.iter().filter(|proof| proof["role"] == "shell" && proof["holds"] == true).count() > 30, "{told:#}");

    engineer_is_kept_in(&mut machine);
    let grant = allow(&mut machine, "files");
    machine.shell("cd /root/desk && echo x > there && printf 'put there a\\nget a back\\n' > batch").ok();
    machine.shell(&format!("engineer sftp {grant} -b batch site-one && cmp /root/desk/there /root/desk/back")).ok();
    let grant = allow(&mut machine, "diagnose");
    assert!(engineer(&mut machine, &grant, "disk").ok().contains('%'));

    // A grant dies with the boot in which it was made.
    machine.shut_down();
    machine.boot(&[]);
    start_hub(&mut machine);
    wait_for_tunnel(&mut machine);
    let listed = machine.shell("demarc support list --json").json();
    assert_eq!(listed["grants"].as_array().map(Vec::len), Some(0), "{listed}");
    assert_eq!(listed["sessions"].as_array().map(Vec::len), Some(3), "{listed}");
    let refused = engineer(&mut machine, &grant, "disk");
    assert!(refused.code == Some(255) && refused.stderr.contains("no live grant"), "{refused:?}");
    machine.shell("demarc support verify").ok();
    machine.shut_down();

    machine.boot(&["lsm=yama"]);
    without_landlock(&mut machine);
}

fn engineer_is_kept_in(machine: &mut Emulated) {
    let (grant, agent) = (allow(machine, "shell"), agent(machine));
    let tries = [
        format!("cat {RECORDING}"),
        format!("ln -s {RECORDING} l; cat l"),
        format!("cat /proc/{agent}/root{RECORDING}"),
        format!("kill -9 {agent}"),
        "kill -9 $PPID".to_owned(),
        "kill -9 -1".to_owned(),
        format!("perl -e 'syscall({}, {agent}, {agent}, 9) == 0 or exit 1'", libc::SYS_tgkill),
        format!(
            "perl -e 'my $p = syscall({}, {agent}, 0); syscall({}, $p, 9, 0, 0) == 0 or exit 1'",
            libc::SYS_pidfd_open,
            libc::SYS_pidfd_send_signal
        ),
        format!("perl -e 'pipe(R, W); fcntl(R, {}, {agent}) or exit 1'", libc::F_SETOWN),
        // It may be read, and its user may write it.
        format!("perl -e 'truncate(\"{LOG}\", 0) or exit 1'"),
        format!("perl -MFcntl -e 'sysopen(F, \"{LOG}\", O_RDONLY | O_TRUNC) or exit 1'"),
        format!("perl -MFcntl -e 'sysopen(F, \"{LOG}\", O_ACCMODE | O_TRUNC) or exit 1'"),
        "cat /var/lib/demarc/link/key.pem".to_owned(),
        "perl -e 'truncate(\"/var/lib/demarc/collector/ledger.jsonl\", 0) or exit 1'".to_owned(),
        "unshare -rm true".to_owned(),
        "perl -MSocket -e 'socket(S, PF_UNIX, SOCK_STREAM, 0) or exit 1'".to_owned(),
        "echo $$ > /sys/fs/cgroup/cgroup.procs".to_owned(),
    ];
    let mut script = format!("cat {LOG} /proc/self/cgroup; setsid sleep 1234 > /dev/null 2>&1 < /dev/null &\n");
    for (number, tried) in tries.iter().enumerate() {
        script += &format!("( {tried} ) < /dev/null; echo \"=={number}=$?\"\n");
    }
    let done = engineer(machine, &grant, &script);
    assert!(done.stdout.starts_with("a line\n0::/system.slice/demarc.service/demarc-"), "{done:?}");
    for (number, tried) in tries.iter().enumerate() {
        let told = done.stdout.lines().find_map(|line| line.strip_prefix(&format!("=={number}=")));
        assert!(told.is_some_and(|code| code != "0"), "{tried} gave {told:?}: {done:?}");
    }
    assert_eq!(self::agent(machine), agent, "it lives");
    assert_eq!(machine.shell(&format!("cat {LOG}")).ok(), "a line\n");
    // What ran away ends with the session, and all of it stands in the recording.
    let look = "! grep -lsz '^1234' /proc/[0-9]*/cmdline";
    wait::until_true(LIMIT, "the end of what ran away", || machine.shell(look).code == Some(0));
    let recording = machine.shell("cat /var/lib/demarc/support/recordings/*.cast").ok();
    let header: Value = serde_json::from_str(recording.lines().next().unwrap()).unwrap();
    let confined = &header["demarc"]["confined"];
    assert_eq!(confined["landlock"], 2, "{header}");
    assert!(confined["gaps"].to_string().contains("cannot keep signals within a session"), "{header}");
    assert!(recording.contains(&format!("kill -9 {agent}")) && recording.contains("==16="), "{recording}");
    assert!(confined["refused"].as_u64() > Some(5), "{header}");
}

/// Landlock is in this kernel, and nobody switched it on: EL8 and Raspberry Pi OS come like that.
fn without_landlock(machine: &mut Emulated) {
    let journal = machine.shell("journalctl -b -u demarc --no-pager -o cat").ok();
    for words in ["Landlock is missing or does not work", "demarc does not run like that", "best-effort"] {
        assert!(journal.contains(words), "{words:?} is missing: {journal}");
    }
    machine.shell("systemctl is-active demarc").fails_with(3);
    machine.shell("sed -i '1i confinement = \"best-effort\"' /etc/demarc/demarc.toml; systemctl restart demarc").ok();
    let status = daemon(machine);
    assert!(status["collector"]["confined"]["landlock"].is_null(), "{status}");
    assert_eq!(status["collector"]["confined"]["seccomp"], true, "{status}");
    assert!(machine.shell("demarc status").ok().contains("NO LANDLOCK"));
    for scope in ["shell", "files"] {
        let refused = machine.shell(&format!("demarc support allow --for 5m --scope {scope}")).fails_with(1);
        assert!(
            refused.contains(&format!("the scope {scope} is refused on this kernel: Landlock is missing")),
            "{refused}"
        );
    }
    // The unit is what keeps recordings shut then.
    let agent = agent(machine);
    let opens = |machine: &mut Emulated, path: &str| {
        let inside =
            format!("nsenter -t {agent} -m setpriv --reuid=demarc --regid=demarc --clear-groups head -c 1 {path}");
        machine.shell(&inside).code == Some(0)
    };
    assert!(opens(machine, LOG) && opens(machine, MASTER));
    assert!(!opens(machine, RECORDING));
    assert_eq!(machine.shell(&format!("head -c 4 {RECORDING}")).ok(), "RIFF");
}

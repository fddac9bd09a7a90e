//! What is tried: with a real shell, and with the calls that lie below one.

use demarc::confine::prove::{Attempt, Reach, Way};

use super::{Possible, Prison};

impl Prison {
    /// Everything that must fail.
    pub(super) fn escapes(&self) -> Vec<(Attempt, Possible)> {
        let mut escapes = self.with_a_shell();
        escapes.extend(self.with_calls());
        escapes
    }

    fn with_a_shell(&self) -> Vec<(Attempt, Possible)> {
        let (recording, voice) =
            (self.text("monitor/recording.wav"), self.text("voicemail/default/1001/INBOX/msg0000.wav"));
        let (victim, port) = (self.victim.id(), self.listener.local_addr().unwrap().port());
        let (scratch, elsewhere, other) = (self.text("scratch"), self.text("elsewhere"), self.text("log/other"));
        let for_all = [
            format!("cat {recording}"),
            format!("cat < {voice}"),
            format!("cp {recording} {scratch}/copy"),
            format!("tail -n 1 {recording}"),
            format!("ls {}", self.text("monitor")),
            format!("find {} -type f | grep -q . || {{ echo Permission denied >&2; exit 1; }}", self.text("voicemail")),
            format!("rm -f {scratch}/link; ln -s {recording} {scratch}/link && cat {scratch}/link"),
            format!(
                "rm -f {scratch}/dir; ln -s {} {scratch}/dir && cat {scratch}/dir/recording.wav",
                self.text("monitor")
            ),
            format!(
                "rm -f {elsewhere}/hard; ln {recording} {elsewhere}/hard || {{ echo Permission denied >&2; exit 1; }}"
            ),
            format!("cd {} && cat recording.wav", self.text("monitor")),
            format!("cat /proc/{victim}/root{recording}"),
            format!("cat /proc/{victim}/fd/0"),
            format!("cat /proc/{victim}/environ"),
            format!("cat /proc/{victim}/maps"),
            format!("cat {}", self.text("A/link/key.pem")),
            format!("cat {}", self.text("A/support/host_key")),
            format!("cat {}", self.text("A/support/grants.json")),
            format!("cat {}", self.text("A/support/recordings/0-1.cast")),
            format!("cat {}", self.text("A/collector/ledger.jsonl")),
            format!("cat {}", self.text("A/collector/calls.db")),
            format!("cat {}", self.text("A/demarc.toml")),
            format!("cat {}", self.text("cdr/Master.csv")),
            format!("echo x > {elsewhere}/new"),
            format!("echo x >> {recording}"),
            format!("mkdir {elsewhere}/d && rmdir {elsewhere}/d"),
            format!("echo x > {elsewhere}/gone; rm {elsewhere}/gone"),
            format!("mkfifo {elsewhere}/p && rm {elsewhere}/p"),
            format!("chmod 644 {recording}"),
            format!("touch {recording}"),
            format!("kill -CONT {victim}"),
            // A file that he may read, and his user may write: none of this opens it for writing.
            format!("perl -e 'truncate(\"{other}\", 2) or die $!'"),
            format!("perl -MFcntl -e 'sysopen(F, \"{other}\", O_RDONLY | O_TRUNC) or die $!'"),
            format!("renice -n 12 {victim}"),
            format!("bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}'"),
            format!("bash -c 'echo x > /dev/udp/127.0.0.1/{port}'"),
            format!("echo x > {}", self.terminal),
            format!("test -r {} && : < {}", self.terminal, self.terminal),
            "echo x > /tmp/demarc-escape-$$ && rm /tmp/demarc-escape-$$".to_owned(),
        ];
        let for_root = [
            "cat /etc/shadow",
            "cat /etc/gshadow",
            "echo x > /etc/demarc-escape-$$ && rm /etc/demarc-escape-$$",
            "mkdir -p /etc/cron.d && echo '# x' > /etc/cron.d/demarc-escape-$$ && rm /etc/cron.d/demarc-escape-$$",
            "mkdir -p /etc/systemd/system && : > /etc/systemd/system/demarc-escape-$$ && rm /etc/systemd/system/demarc-escape-$$",
            "cat /proc/sys/kernel/printk > /proc/sys/kernel/printk",
            "chmod 755 /bin/sh",
            "chown root /bin/sh",
            "touch /etc/hostname",
            "nice -n -5 true 2>&1 | grep -q . && { echo Permission denied >&2; exit 1; }; true",
            "chroot / true",
            "ls /root",
        ];
        let perhaps = [
            format!("unshare -rm cat {recording}"),
            format!("mount --bind {} {}", self.text("monitor"), self.text("mount")),
            "su -s /bin/sh -c 'cat /etc/shadow' root < /dev/null || { echo Permission denied >&2; exit 1; }".to_owned(),
            "sudo -n true".to_owned(),
            "echo true | at now".to_owned(),
            "echo '* * * * * true' | crontab -".to_owned(),
            "systemctl list-units".to_owned(),
            "docker ps".to_owned(),
            "dd if=/dev/vda of=/dev/null count=1".to_owned(),
            "dd if=/dev/mem of=/dev/null count=1".to_owned(),
            "dmesg".to_owned(),
            "gdb -p 1 -batch".to_owned(),
        ];
        let possible = |script: String, possible| (Attempt::Shell(script), possible);
        let mut all: Vec<_> = for_all.into_iter().map(|script| possible(script, Possible::ForAll)).collect();
        all.extend(for_root.into_iter().map(|script| possible(script.to_owned(), Possible::ForRoot)));
        all.extend(perhaps.into_iter().map(|script| possible(script, Possible::Perhaps)));
        all
    }

    fn with_calls(&self) -> Vec<(Attempt, Possible)> {
        let recording = self.at("monitor/recording.wav");
        let victim = i32::try_from(self.victim.id()).unwrap();
        let at_the_worker = format!("root{}", recording.display());
        let for_all = [
            Reach::HardLink(recording.clone(), self.at("scratch/hard")),
            Reach::OfTheWorker(at_the_worker.into()),
            Reach::OfTheWorker("environ".into()),
            Reach::OfTheWorker("mem".into()),
            Reach::SignalTheWorker,
            Reach::Signal(victim),
            Reach::CutOff(recording.clone()),
            Reach::CutOff(self.at("log/other")),
            Reach::OpenCutOff(self.at("log/other")),
            Reach::OpenCutOff(self.at("elsewhere/note")),
            Reach::Limit(victim),
            Reach::Priority(victim),
            Reach::Mode(recording.clone()),
            Reach::Owner(recording.clone()),
            Reach::Times(recording.clone()),
            Reach::Watch(self.at("monitor")),
            Reach::Lease(self.at("scratch/note")),
            Reach::SharedMemory,
            Reach::MessageQueue,
            Reach::Unix(self.at("asterisk.ctl")),
            Reach::Abstract(self.text("x")),
            Reach::Datagram(self.at("datagrams")),
        ];
        let mut all: Vec<_> = for_all.into_iter().map(|reach| (Attempt::Reach(reach), Possible::ForAll)).collect();
        all.extend(Way::ANSWERED.map(|way| (Attempt::Reach(Reach::SignalBy(way, victim)), Possible::ForAll)));
        all.extend([
            (Attempt::Reach(Reach::BindMount(self.at("monitor"), self.at("mount"))), Possible::ForRoot),
            (Attempt::Reach(Reach::Mode("/bin/sh".into())), Possible::ForRoot),
            (Attempt::Reach(Reach::User(1)), Possible::ForRoot),
            (Attempt::Reach(Reach::Flags(self.at("scratch/note"))), Possible::Perhaps),
            (Attempt::Reach(Reach::Namespaces), Possible::Perhaps),
            (Attempt::Reach(Reach::Keys), Possible::Perhaps),
            (Attempt::Trace, Possible::ForAll),
            (Attempt::ReadMemory, Possible::ForAll),
            (Attempt::Mount, Possible::ForRoot),
            (Attempt::IoUring, Possible::Perhaps),
            (Attempt::OpenByHandle, Possible::Perhaps),
            (Attempt::Socket(libc::AF_UNIX, libc::SOCK_STREAM), Possible::ForAll),
            (Attempt::Socket(libc::AF_INET, libc::SOCK_STREAM), Possible::ForAll),
            (Attempt::Socket(libc::AF_INET, libc::SOCK_DGRAM), Possible::ForAll),
            (Attempt::Socket(libc::AF_INET6, libc::SOCK_STREAM), Possible::Perhaps),
            (Attempt::Socket(libc::AF_INET, libc::SOCK_RAW), Possible::Perhaps),
            (Attempt::Socket(libc::AF_NETLINK, libc::SOCK_RAW), Possible::ForAll),
            (Attempt::Socket(libc::AF_PACKET, libc::SOCK_RAW), Possible::ForRoot),
            (Attempt::Socket(libc::AF_VSOCK, libc::SOCK_STREAM), Possible::Perhaps),
            (Attempt::Read("/dev/ptmx".into()), Possible::ForAll),
            (Attempt::List("/".into()), Possible::ForAll),
            (Attempt::List("/var".into()), Possible::ForAll),
            (Attempt::Listen, Possible::ForAll),
            (Attempt::Connect(self.listener.local_addr().unwrap()), Possible::ForAll),
            // It changes this process for good, so that it comes last.
            (Attempt::Unshare, Possible::Perhaps),
        ]);
        all
    }

    /// What an engineer needs and is let do.
    pub(super) fn work(&self) -> Vec<Attempt> {
        let scratch = self.text("scratch");
        [
            "true".to_owned(),
            "cat /etc/passwd".to_owned(),
            "ls -l /usr/bin | head -n 3".to_owned(),
            "cat /proc/loadavg /proc/meminfo".to_owned(),
            "ls /proc/self/fd".to_owned(),
            "cat /proc/1/stat".to_owned(),
            "ps ax | grep -q .".to_owned(),
            "df / | grep -q .".to_owned(),
            format!("tail -n 5 {}", self.text("log/full")),
            format!("cd {scratch} && mkdir -p a/b && echo x > a/b/c && mv a/b/c a/c && rm -r a"),
            format!("cd {scratch} && sort <<E > sorted\nb\na\nE\n"),
            "echo x > /dev/null; head -c 4 /dev/urandom > /dev/null; head -c 4 /dev/zero > /dev/null".to_owned(),
            "nice -n 5 true".to_owned(),
            "ulimit -n 100 && true".to_owned(),
        ]
        .map(Attempt::Shell)
        .into()
    }
}

//! The screen of `demarc status`, line by line.

use std::{fmt::Write, path::Path};

use jiff::{Timestamp, tz::TimeZone};

use super::{Files, Overview};
use crate::{
    cli::recordings::table::remarks,
    control::{Offer, RoleStatus, Status, SupportStatus},
    health,
    ipc::{PbxStatus, SourceStatus},
    recordings::{TreeStatus, size},
};

/// How moments are shown.
pub(in crate::cli) struct Clock(TimeZone);

impl Clock {
    /// In the machine's own zone.
    pub(in crate::cli) fn system() -> Self {
        Self(TimeZone::system())
    }

    pub(in crate::cli) fn show(&self, seconds: u64) -> String {
        let moment = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
        match moment {
            Some(moment) => moment.to_zoned(self.0.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string(),
            None => "at an impossible time".to_owned(),
        }
    }
}

/// Lines with a heading each; a heading that repeats is left blank.
#[derive(Default)]
struct Screen {
    text: String,
    last: &'static str,
}

impl Screen {
    fn line(&mut self, heading: &'static str, text: impl AsRef<str>) {
        let shown = if heading == self.last { "" } else { heading };
        self.last = heading;
        // Writing into a string cannot fail.
        let _ = writeln!(self.text, "{shown:<12}{}", text.as_ref());
    }
}

/// The whole screen.
pub(super) fn screen(overview: &Overview, config: &Path, clock: &Clock) -> String {
    let mut screen = Screen::default();
    match (&overview.daemon, &overview.trouble) {
        (Some(status), _) => daemon(&mut screen, status, overview, clock),
        (None, Some(trouble)) => {
            screen.line("demarc", format!("cannot be asked: {trouble}"));
            screen.line("config", config.display().to_string());
        }
        (None, None) => {
            screen.line("demarc", "is not running; `demarc run` starts it");
            screen.line("config", config.display().to_string());
        }
    }
    if let Some(found) = &overview.files {
        files(&mut screen, found);
    }
    let place = overview.state_dir.display();
    match overview.disk_free {
        Some(free) => screen.line("disk", format!("{} free for {place}", megabytes(free))),
        None => screen.line("disk", format!("{place} does not exist yet, or cannot be looked at")),
    }
    screen.text
}

fn daemon(screen: &mut Screen, status: &Status, overview: &Overview, clock: &Clock) {
    screen.line("demarc", format!("{} runs since {}", status.version, clock.show(status.started)));
    screen.line("config", status.config.display().to_string());
    if let Some(error) = &status.config_error {
        screen.line("config", format!("NOT IN USE as it is now, the last good settings stay: {error}"));
    }
    match (&status.site, &status.hub) {
        (Some(site), Some(hub)) => screen.line("enrolled", format!("{site}, hub {hub}")),
        (Some(site), None) => screen.line("enrolled", site),
        (None, _) => screen.line("enrolled", "no; `demarc enroll TOKEN` connects this site to a vendor"),
    }
    tunnel(screen, status, clock);
    stats(screen, status, clock);
    support(screen, &status.support);
    if let Some(collected) = &status.collected {
        collected.sources.iter().for_each(|one| source(screen, one, clock));
        collected.pbx.iter().for_each(|one| pbx(screen, one, clock));
        screen.line("calls", format!("{} counted, {} rows in quarantine", collected.calls, collected.quarantined));
        let health = collected.health.iter().flat_map(|health| health::lines(health, |at| clock.show(at)));
        health.for_each(|line| screen.line("health", line));
        health_reports(screen, status, clock);
        collected.troubles.iter().for_each(|trouble| screen.line("trouble", trouble));
    } else {
        screen.line("sources", "the collector has not said anything yet");
        health_reports(screen, status, clock);
    }
    recordings(screen, status);
    updates(screen, &status.updates);
    crate::cli::backup::lines(&status.backup, clock).iter().for_each(|line| screen.line("backup", line));
    for (name, role) in [("supervisor", &status.supervisor), ("collector", &status.collector), ("link", &status.link)] {
        process(screen, name, role, overview.memory.get(name).copied());
    }
    status.notices.iter().for_each(|notice| screen.line("note", notice));
}

fn tunnel(screen: &mut Screen, status: &Status, clock: &Clock) {
    if let Some(why) = &status.link_absent {
        return screen.line("tunnel", format!("off: {why}"));
    }
    let Some(link) = &status.linked else { return screen.line("tunnel", "the link is starting") };
    match (link.connected, link.since) {
        (true, Some(since)) => {
            screen.line(
                "tunnel",
                format!("connected since {}, {} delivered", clock.show(since), count(link.delivered, "report")),
            );
        }
        (true, None) => screen.line("tunnel", format!("connected, {} delivered", count(link.delivered, "report"))),
        (false, _) => screen.line("tunnel", "not connected"),
    }
    if let Some(trouble) = &link.trouble {
        screen.line("tunnel", trouble);
    }
    if let Some(ends) = link.certificate_ends {
        screen.line("tunnel", format!("certificate until {}", clock.show(ends)));
    }
    if let Some(skew) = link.clock_skew.filter(|skew| skew.abs() > 60) {
        let word = if skew > 0 { "behind" } else { "ahead of" };
        screen.line("tunnel", format!("this machine's clock is {} s {word} the hub's; set it", skew.abs()));
    }
}

fn stats(screen: &mut Screen, status: &Status, clock: &Clock) {
    let word = if status.upload { "on" } else { "off" };
    screen.line("stats", format!("uploads are {word}, by {}", status.upload_decided_by));
    let now = u64::try_from(Timestamp::now().as_second()).unwrap_or(0);
    if let Some(until) = status.grace_until.filter(|until| status.upload && *until > now) {
        screen.line("stats", format!("no report leaves before {} (`demarc stats preview`)", clock.show(until)));
    }
    let Some(collected) = &status.collected else { return };
    let mut text = format!(
        "waiting: {}; in the outbox: {}",
        count(collected.waiting_calls, "call"),
        count(collected.outbox, "report")
    );
    if let Some(closes) = collected.window_closes {
        let _ = write!(text, "; the window closes {}", clock.show(closes));
    }
    if status.upload || collected.outbox > 0 {
        screen.line("stats", text);
    }
}

/// The vendor's packages, where the owner wants them.
fn updates(screen: &mut Screen, offer: &Offer) {
    let Some(address) = offer.address else { return };
    let text = format!("packages of the vendor at http://{address}/ for this machine's package manager");
    screen.line("updates", text + &offer.why_not.as_ref().map(|why| format!("; {why}")).unwrap_or_default());
}

/// Whether the vendor learns how the machine is.
fn health_reports(screen: &mut Screen, status: &Status, clock: &Clock) {
    let word = if status.health_upload { "on" } else { "off" };
    let mut text = format!("reports to the vendor are {word}, by {}", status.health_upload_decided_by);
    let linked = status.linked.as_ref().filter(|linked| status.health_upload && linked.connected);
    match linked.map(|linked| (linked.takes_health, linked.health_noted)) {
        Some((false, _)) => text.push_str("; this hub takes none"),
        Some((true, Some(at))) => {
            let _ = write!(text, "; the last one was measured {}", clock.show(at));
        }
        _ => {}
    }
    screen.line("health", text);
}

fn support(screen: &mut Screen, support: &SupportStatus) {
    match (&support.closed, support.grants.len()) {
        (Some(why), _) => screen.line("support", format!("nobody can be let in: {why}")),
        (None, 0) => screen.line("support", "nobody can get in: no grant is live"),
        (None, grants) => screen
            .line("support", format!("MAY COME IN: {} (`demarc support list`)", count(grants as u64, "live grant"))),
    }
    if support.closed.is_none() {
        support.cgroup.iter().for_each(|cgroup| screen.line("support", format!("each session gets {cgroup}")));
        support.no_cgroup.iter().for_each(|why| screen.line("support", format!("sessions get no cgroup: {why}")));
    }
    for live in &support.sessions {
        let who = live.engineer.as_deref().unwrap_or("somebody who has not shown a certificate yet");
        screen.line("support", format!("session {} of {who} RUNS; `demarc support watch` shows it", live.session));
    }
}

fn source(screen: &mut Screen, source: &SourceStatus, clock: &Clock) {
    let mut text = format!(
        "{}{}: {} rows, {} malformed, {} read twice",
        source.name,
        if source.witness { " (witness)" } else { "" },
        source.rows,
        source.malformed,
        source.duplicates
    );
    match source.last_read {
        Some(last) => drop(write!(text, ", the newest read {}", clock.show(last))),
        None => text.push_str(", none read yet"),
    }
    if source.confirmed + source.rescued > 0 {
        let _ = write!(text, "; {} told of by others too, {} by it alone", source.confirmed, source.rescued);
    }
    screen.line("sources", text);
    source.trouble.iter().for_each(|trouble| screen.line("sources", format!("  {trouble}")));
    source.advice.iter().for_each(|advice| screen.line("sources", format!("  {advice}")));
}

fn pbx(screen: &mut Screen, pbx: &PbxStatus, clock: &Clock) {
    let mut text = "Asterisk".to_owned();
    if let Some(version) = &pbx.version {
        let _ = write!(text, " {version}");
    }
    if let Some(since) = pbx.up_since {
        let _ = write!(text, ", up since {}", clock.show(since));
    }
    if let Some(reloaded) = pbx.reloaded.filter(|reloaded| Some(*reloaded) != pbx.up_since) {
        let _ = write!(text, ", reloaded {}", clock.show(reloaded));
    }
    if !pbx.connected {
        text.push_str(" CANNOT BE ASKED now");
    }
    screen.line("pbx", text);
    let calls = pbx.active_calls.map(|calls| format!("active: {}", count(calls, "call")));
    let peak = pbx.peak_today.map(|peak| format!("most today: {} at {}", peak.calls, clock.show(peak.at)));
    let figures: Vec<String> = calls.into_iter().chain(peak).collect();
    if !figures.is_empty() {
        screen.line("pbx", figures.join("; "));
    }
    for registration in &pbx.registrations {
        screen.line("pbx", format!("registration {}: {}", registration.name.0, registration.state.name()));
    }
}

fn recordings(screen: &mut Screen, status: &Status) {
    let roles = [&status.supervisor, &status.collector, &status.link];
    let refused: u32 = roles.iter().filter_map(|role| Some(role.confined.as_ref()?.refused)).sum();
    let trees = match status.recordings {
        0 => "no known recordings on this machine".to_owned(),
        1 => "recordings in 1 place".to_owned(),
        count => format!("recordings in {count} places"),
    };
    screen.line("recordings", format!("{trees}; {refused} attempts to open what must stay shut were refused"));
    for tree in &status.kept.trees {
        screen.line("recordings", tree_of_recordings(tree));
    }
    if status.kept.looked.is_some() {
        remarks(&status.kept).iter().for_each(|remark| screen.line("recordings", remark));
    }
}

fn tree_of_recordings(tree: &TreeStatus) -> String {
    let mut text = format!("{}: {}, {}", tree.path.display(), count(tree.files, "file"), size(tree.bytes));
    if tree.bytes_per_day > 0 {
        let _ = write!(text, ", {} a day", size(tree.bytes_per_day));
    }
    if let Some(days) = tree.full_in_days {
        let _ = write!(text, ", the disk is full in {}", count(days, "day"));
    }
    if tree.held > 0 {
        let _ = write!(text, ", {} held", tree.held);
    }
    text
}

fn process(screen: &mut Screen, name: &str, role: &RoleStatus, memory: Option<u64>) {
    let Some(pid) = role.pid else {
        return match &role.last_end {
            Some(end) => screen.line("processes", format!("{name:<11}not running ({end})")),
            None => screen.line("processes", format!("{name:<11}not running")),
        };
    };
    let mut text = format!("{name:<11}process {pid}");
    if let Some(memory) = memory {
        let _ = write!(text, ", {}", megabytes(memory));
    }
    match &role.confined {
        Some(confined) => {
            match confined.landlock {
                Some(version) => drop(write!(text, ", Landlock {version}")),
                None => text.push_str(", NO LANDLOCK"),
            }
            text.push_str(if confined.seccomp { ", seccomp" } else { ", NO SECCOMP" });
            let _ = write!(text, ", {} refused", confined.refused);
        }
        None => text.push_str(", not ready yet"),
    }
    if role.restarts > 0 {
        let _ = write!(text, ", started again {}", count(role.restarts, "time"));
    }
    screen.line("processes", text);
    for gap in role.confined.iter().flat_map(|confined| &confined.gaps) {
        screen.line("processes", format!("  GAP: {gap}"));
    }
}

fn files(screen: &mut Screen, files: &Files) {
    match (&files.site, &files.hub) {
        (Some(site), Some(hub)) => screen.line("enrolled", format!("{site}, hub {hub}")),
        _ => screen.line("enrolled", "no; `demarc enroll TOKEN` connects this site to a vendor"),
    }
    screen.line("tunnel", if files.tunnel { "on in the settings" } else { "off in the settings" });
    let word = if files.upload { "on" } else { "off" };
    screen.line("stats", format!("uploads are {word}, by {}", files.upload_decided_by));
    if let Some(outbox) = files.outbox {
        screen.line("stats", format!("in the outbox: {}", count(outbox as u64, "report")));
    }
    let word = if files.health_upload { "on" } else { "off" };
    screen.line("health", format!("reports to the vendor are {word}, by {}", files.health_upload_decided_by));
    files.notices.iter().for_each(|notice| screen.line("note", notice));
}

fn count(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

fn megabytes(bytes: u64) -> String {
    let tenths = bytes / 100_000;
    match tenths {
        0..10_000 => format!("{}.{} MB", tenths / 10, tenths % 10),
        _ => format!("{}.{} GB", tenths / 10_000, tenths / 1_000 % 10),
    }
}

#[cfg(test)]
mod tests {
    use demarc_proto::health::{AlertKind, Amount, DiskRole};
    use expect_test::expect;

    use super::*;
    use crate::{
        health::{Alert, Disk, HealthStatus, Sample},
        ipc::{CollectorStatus, Confined, LinkStatus},
        pbx::ami::facts::{Registration, RegistrationName, RegistrationState},
        store::Peak,
    };

    fn role(pid: u32, refused: u32) -> RoleStatus {
        let confined = Confined { landlock: Some(7), seccomp: true, gaps: Vec::new(), refused };
        RoleStatus { pid: Some(pid), confined: Some(confined), restarts: 0, last_end: None }
    }

    fn overview(daemon: Option<Status>) -> Overview {
        Overview {
            running: daemon.is_some(),
            trouble: None,
            files: None,
            daemon,
            memory: [("supervisor", 3_400_000)].into(),
            disk_free: Some(12_345_678_901),
            state_dir: "/var/lib/demarc".into(),
        }
    }

    #[test]
    fn everything_on_one_screen() {
        let source = SourceStatus {
            name: "asterisk-csv /var/log/asterisk/cdr-csv/Master.csv".to_owned(),
            rows: 1200,
            malformed: 2,
            advice: Some("Set loguniqueid=yes in cdr.conf.".to_owned()),
            last_read: Some(1_795_309_000),
            ..SourceStatus::default()
        };
        let status = Status {
            version: "0.1.0".to_owned(),
            started: 1_795_300_000,
            config: "/etc/demarc/demarc.toml".into(),
            config_error: Some("/etc/demarc/demarc.toml:3:1: stats.flor: there is no such key".to_owned()),
            upload: true,
            upload_decided_by: "stats.upload in the config file".to_owned(),
            health_upload: true,
            health_upload_decided_by: "health.upload in the config file".to_owned(),
            site: Some("site-one".to_owned()),
            hub: Some("hub.example.com:443".to_owned()),
            recordings: 1,
            supervisor: role(10, 4),
            collector: role(11, 5),
            link: RoleStatus { restarts: 2, ..role(12, 8) },
            collected: Some(CollectorStatus {
                sources: vec![source],
                calls: 700,
                quarantined: 2,
                waiting_calls: 12,
                outbox: 1,
                window_closes: Some(1_795_309_200),
                pbx: Some(PbxStatus {
                    connected: true,
                    version: Some("22.10.1".to_owned()),
                    up_since: Some(1_795_300_000),
                    reloaded: Some(1_795_300_060),
                    active_calls: Some(3),
                    peak_today: Some(Peak { calls: 17, at: 1_795_305_605 }),
                    registrations: vec![
                        Registration {
                            name: RegistrationName("provider1".to_owned()),
                            state: RegistrationState::Registered,
                        },
                        Registration {
                            name: RegistrationName("provider2".to_owned()),
                            state: RegistrationState::Rejected,
                        },
                    ],
                    ..PbxStatus::default()
                }),
                health: Some(HealthStatus {
                    sample: Sample {
                        load_hundredths: [5, 4, 3],
                        cpu_permille: Some(31),
                        memory: Amount { total_mib: 7_822, used_mib: 1_200 },
                        disks: vec![Disk {
                            role: DiskRole::Root,
                            path: "/".into(),
                            total_mib: 60_000,
                            free_mib: 1_800,
                            full_in_days: Some(9),
                        }],
                        ..Sample::default()
                    },
                    alerts: vec![Alert { kind: AlertKind::DiskLow, since: 1_795_309_100, until: None, value: 3 }],
                }),
                troubles: Vec::new(),
            }),
            linked: Some(LinkStatus {
                connected: true,
                since: Some(1_795_300_100),
                clock_skew: Some(-90),
                delivered: 3,
                certificate_ends: Some(1_800_000_000),
                trouble: None,
                takes_health: true,
                health_noted: Some(1_795_309_000),
            }),
            ..Status::default()
        };
        let screen = screen(&overview(Some(status)), Path::new("/etc/demarc/demarc.toml"), &Clock(TimeZone::UTC));
        expect![[r#"
            demarc      0.1.0 runs since 2026-11-21 22:26:40 UTC
            config      /etc/demarc/demarc.toml
                        NOT IN USE as it is now, the last good settings stay: /etc/demarc/demarc.toml:3:1: stats.flor: there is no such key
            enrolled    site-one, hub hub.example.com:443
            tunnel      connected since 2026-11-21 22:28:20 UTC, 3 reports delivered
                        certificate until 2027-01-15 08:00:00 UTC
                        this machine's clock is 90 s ahead of the hub's; set it
            stats       uploads are on, by stats.upload in the config file
                        waiting: 12 calls; in the outbox: 1 report; the window closes 2026-11-22 01:00:00 UTC
            support     nobody can get in: no grant is live
            sources     asterisk-csv /var/log/asterisk/cdr-csv/Master.csv: 1200 rows, 2 malformed, 0 read twice, the newest read 2026-11-22 00:56:40 UTC
                          Set loguniqueid=yes in cdr.conf.
            pbx         Asterisk 22.10.1, up since 2026-11-21 22:26:40 UTC, reloaded 2026-11-21 22:27:40 UTC
                        active: 3 calls; most today: 17 at 2026-11-22 00:00:05 UTC
                        registration provider1: registered
                        registration provider2: REJECTED
            calls       700 counted, 2 rows in quarantine
            health      load 0.05, processors 3.1 % busy, memory 1200 of 7822 MiB in use
                        1800 of 60000 MiB free at /, full in 9 days if it goes on like this
                        ALERT since 2026-11-22 00:58:20 UTC: a file system has 3 % free; make room there
                        reports to the vendor are on, by health.upload in the config file; the last one was measured 2026-11-22 00:56:40 UTC
            recordings  recordings in 1 place; 17 attempts to open what must stay shut were refused
            processes   supervisor process 10, 3.4 MB, Landlock 7, seccomp, 4 refused
                        collector  process 11, Landlock 7, seccomp, 5 refused
                        link       process 12, Landlock 7, seccomp, 8 refused, started again 2 times
            disk        12.3 GB free for /var/lib/demarc
        "#]].assert_eq(&screen);
    }

    #[test]
    fn a_tree_of_recordings_is_one_line() {
        let mut tree = TreeStatus { path: "/m".into(), files: 1, bytes: 1_500, ..TreeStatus::default() };
        assert_eq!(tree_of_recordings(&tree), "/m: 1 file, 1.5 kB");
        (tree.bytes_per_day, tree.full_in_days, tree.held) = (2_000_000, Some(12), 3);
        assert_eq!(tree_of_recordings(&tree), "/m: 1 file, 1.5 kB, 2.0 MB a day, the disk is full in 12 days, 3 held");
    }

    #[test]
    fn without_a_daemon() {
        let mut overview = overview(None);
        overview.files = Some(Files {
            site: None,
            hub: None,
            tunnel: true,
            upload: false,
            upload_decided_by: "DO_NOT_TRACK in the environment".to_owned(),
            health_upload: false,
            health_upload_decided_by: "health.upload in the config file".to_owned(),
            outbox: Some(0),
            notices: Vec::new(),
        });
        let screen = screen(&overview, Path::new("/etc/demarc/demarc.toml"), &Clock(TimeZone::UTC));
        expect![[r#"
            demarc      is not running; `demarc run` starts it
            config      /etc/demarc/demarc.toml
            enrolled    no; `demarc enroll TOKEN` connects this site to a vendor
            tunnel      on in the settings
            stats       uploads are off, by DO_NOT_TRACK in the environment
                        in the outbox: 0 reports
            health      reports to the vendor are off, by health.upload in the config file
            disk        12.3 GB free for /var/lib/demarc
        "#]]
        .assert_eq(&screen);
    }
}

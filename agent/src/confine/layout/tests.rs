//! What each kind of process is granted, on machines laid out in many ways.

use demarc_proto::support::Scope;

use super::*;

struct World {
    root: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().canonicalize().unwrap().join(path)
    }

    fn file(&self, path: &str) -> PathBuf {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "x").unwrap();
        path
    }

    fn settings(&self, state: &str, record: &str) -> Settings {
        let mut settings: Settings = toml::from_str("").unwrap();
        settings.state_dir = self.at(state);
        settings.pbx.source = vec![Source::AsteriskCsv { path: self.at(record), timezone: None }];
        let state = StateDir::new(&settings.state_dir);
        state.create().unwrap();
        canary::plant(&state).unwrap();
        settings
    }
}

fn ground(recordings: Vec<PathBuf>) -> Ground {
    Ground { landlock: Some(1), recordings, ..Ground::default() }
}

#[test]
fn a_directory_of_call_records_alone_is_granted_whole() {
    let world = World::new();
    let record = world.file("cdr/Master.csv");
    let settings = world.settings("state", "cdr/Master.csv");
    let config = world.file("etc/demarc.toml");
    let collector = collector(&ground(Vec::new()), &settings);
    assert!(collector.grants.contains(&Grant::new(world.at("cdr"), Access::Read)));
    assert!(!covers(&collector.grants, &world.at("state/canary/recording.wav")));
    let link = link(&ground(Vec::new()), &settings, &config, 443);
    assert!(!covers(&link.grants, &record) && link.forbidden.contains(&record) && link.forbidden.contains(&config));
    let supervisor = supervisor(&ground(Vec::new()), &settings, &config);
    assert!(covers(&supervisor.grants, &record) && supervisor.gaps.is_empty());
    assert!(supervisor.forbidden.contains(&world.at("state/canary/voicemail.wav")));
}

#[test]
fn a_directory_of_files_one_a_leg_is_granted_whole_where_no_recordings_lie() {
    let world = World::new();
    let leg = world.file("json_cdr/a.cdr.json");
    let mut settings = world.settings("state", "cdr/Master.csv");
    settings.pbx.source =
        vec![Source::FreeswitchJson { path: world.at("json_cdr"), outside_profiles: vec!["external".into()] }];
    let config = world.file("etc/demarc.toml");
    let granted = collector(&ground(Vec::new()), &settings);
    assert!(granted.grants.contains(&Grant::new(world.at("json_cdr"), Access::Read)) && granted.gaps.is_empty());
    assert!(!covers(&link(&ground(Vec::new()), &settings, &config, 443).grants, &leg));
    assert!(covers(&supervisor(&ground(Vec::new()), &settings, &config).grants, &leg));
    // A directory beside the files could hold anything: the owner is told.
    world.file("json_cdr/2026/b.cdr.json");
    assert_eq!(collector(&ground(Vec::new()), &settings).gaps.len(), 1);
    let recording = world.file("json_cdr/recordings/a.wav");
    let granted = collector(&ground(vec![recording.clone()]), &settings);
    assert!(!covers(&granted.grants, &recording) && !covers(&granted.grants, &leg) && granted.gaps.len() == 1);
}

#[test]
fn a_directory_that_holds_more_is_granted_file_by_file() {
    let world = World::new();
    let record = world.file("log/Master.csv");
    let rotated = world.file("log/Master.csv.1");
    let other = world.file("log/full");
    let voice = world.file("log/monitor/a.wav");
    let settings = world.settings("state", "log/Master.csv");
    let collector = collector(&ground(Vec::new()), &settings);
    assert!(covers(&collector.grants, &record) && covers(&collector.grants, &rotated));
    assert!(!covers(&collector.grants, &other) && !covers(&collector.grants, &voice));
    assert!(collector.grants.contains(&Grant::new(world.at("log"), Access::List)));
    let config = world.file("etc/demarc.toml");
    let supervisor = supervisor(&ground(Vec::new()), &settings, &config);
    assert!(covers(&supervisor.grants, &voice) && supervisor.gaps.len() == 1, "{:?}", supervisor.gaps);
}

#[test]
fn everything_in_one_directory_keeps_the_canaries_from_the_roles() {
    let world = World::new();
    let config = world.file("A/demarc.toml");
    let record = world.file("A/Master.csv");
    let settings = world.settings("A", "A/Master.csv");
    let collector = collector(&ground(Vec::new()), &settings);
    let link = link(&ground(Vec::new()), &settings, &config, 443);
    for profile in [&collector, &link] {
        for path in canary::planted(&StateDir::new(&settings.state_dir)) {
            assert!(profile.forbidden.contains(&path) && !covers(&profile.grants, &path));
        }
    }
    assert!(covers(&collector.grants, &record) && !covers(&collector.grants, &config));
    let supervisor = supervisor(&ground(Vec::new()), &settings, &config);
    assert!(covers(&supervisor.grants, &config) && supervisor.gaps.is_empty(), "{:?}", supervisor.gaps);
    assert!(!supervisor.forbidden.iter().any(|path| path.starts_with(world.at("A"))));
}

#[test]
fn known_recordings_keep_a_directory_from_the_supervisor_too() {
    let world = World::new();
    let config = world.file("A/demarc.toml");
    let record = world.file("cdr/Master.csv");
    let voice = world.file("A/voice/a.wav");
    let settings = world.settings("A", "cdr/Master.csv");
    let supervisor = supervisor(&ground(vec![voice.clone()]), &settings, &config);
    assert!(!covers(&supervisor.grants, &voice) && supervisor.forbidden.contains(&voice));
    assert!(covers(&supervisor.grants, &config) && covers(&supervisor.grants, &record));
    assert!(supervisor.forbidden.contains(&world.at("A/canary/recording.wav")));
    assert!(supervisor.gaps[0].contains("restart demarc"), "{:?}", supervisor.gaps);
}

#[test]
fn the_roles_get_nothing_that_the_supervisor_lacks() {
    let world = World::new();
    let config = world.file("etc/demarc.toml");
    world.file("cdr/Master.csv");
    let settings = world.settings("state", "cdr/Master.csv");
    let ground = Ground { landlock: Some(1), program: program(), ..Ground::default() };
    let supervisor = supervisor(&ground, &settings, &config);
    let collector = collector(&ground, &settings);
    let link = link(&ground, &settings, &config, 443);
    for grant in collector.grants.iter().chain(&link.grants).filter(|grant| grant.path.exists()) {
        assert!(covers(&supervisor.grants, &grant.path), "{}", grant.path.display());
    }
}

#[test]
fn the_archivist_reads_what_is_backed_up_and_the_supervisor_only_while_that_is_on() {
    let world = World::new();
    let (conf, voice) = (world.file("pbx/sip.conf"), world.file("spool/monitor/a.wav"));
    let (config, record) = (world.file("etc/demarc.toml"), world.file("cdr/Master.csv"));
    let mut settings = world.settings("state", "cdr/Master.csv");
    settings.recordings.paths = vec![world.at("spool/monitor")];
    settings.backup.paths = vec![world.at("pbx"), world.at("spool")];
    let ground = Ground { config: Some(config.clone()), ..ground(vec![voice.clone()]) };
    assert!(!covers(&supervisor(&ground, &settings, &config).grants, &conf), "off until there is a key and a yes");
    settings.backup.enabled = true;
    settings.backup.recipient = Some("age1a4zc3y8v0meff03tl84p4t7329m0juz60h6ya6rlu46qqxtkwf8qzp2f55".to_owned());
    let (places, troubles) = crate::backup::places::find(&settings);
    assert_eq!((places.as_slice(), troubles.len()), ([world.at("pbx")].as_slice(), 1));
    let archivist = archivist(&ground, &settings, &places);
    let supervisor = supervisor(&ground, &settings, &config);
    assert!(covers(&archivist.grants, &conf) && covers(&supervisor.grants, &conf));
    for path in [voice, record, config, world.at("state/canary/recording.wav"), world.at("state/link/key.pem")] {
        assert!(archivist.forbidden.contains(&path) && !covers(&archivist.grants, &path), "{}", path.display());
    }
    let made = world.at("state/backups/20261126T154500Z.age");
    let link = link(&ground, &settings, &world.at("etc/demarc.toml"), 443);
    assert!(covers(&link.grants, &made) && !covers(&link.grants, &conf), "the link carries, and reads nothing of it");
    assert!(!covers(&collector(&ground, &settings).grants, &made));
}

#[test]
fn the_keeper_may_list_and_remove_recordings_and_open_none() {
    let world = World::new();
    let voice = world.file("spool/monitor/2026/a.wav");
    let config = world.file("etc/demarc.toml");
    world.file("cdr/Master.csv");
    let mut settings = world.settings("state", "cdr/Master.csv");
    settings.recordings.paths = vec![world.at("spool/monitor")];
    let ground = ground(vec![voice.clone()]);
    let (trees, _) = crate::recordings::trees::find(&settings);
    let keeper = keeper(&ground, &settings, &trees);
    assert!(keeper.grants.contains(&Grant::new(world.at("spool/monitor"), Access::Prune)));
    for path in [voice, world.at("cdr/Master.csv"), world.at("state/canary/recording.wav")] {
        assert!(keeper.forbidden.contains(&path) && !covers(&keeper.grants, &path), "{}", path.display());
    }
    assert!(!covers(&keeper.grants, &config));
    let supervisor = supervisor(&ground, &settings, &config);
    assert!(
        keeper
            .grants
            .iter()
            .filter(|grant| grant.path.starts_with(world.at("")))
            .all(|grant| supervisor.grants.contains(grant))
    );
    assert!(trees.iter().all(|tree| holds(&supervisor.grants, tree)) && supervisor.gaps.is_empty());
    assert!(!trees.iter().any(|tree| holds(&collector(&ground, &settings).grants, tree)));
}

#[test]
fn libraries_are_found_in_the_map_of_the_process() {
    assert_eq!(mapped_file("7f00-7f01 r--p 00000000 fe:01 12 /usr/lib/libc.so.6"), Some("/usr/lib/libc.so.6"));
    assert_eq!(mapped_file("7f00-7f01 rw-p 00000000 00:00 0 "), None);
    assert!(program().iter().any(|grant| grant.access == Access::Execute));
}

/// A machine where support can be let in, with a kernel that has that version of Landlock.
fn open_to_support(world: &World, landlock: Option<u32>) -> (Settings, PathBuf, Ground) {
    let config = world.file("etc/demarc.toml");
    world.file("cdr/Master.csv");
    let mut settings = world.settings("state", "cdr/Master.csv");
    settings.support.authorities = vec!["somebody".to_owned()];
    settings.support.logs = vec![world.file("log/full")];
    let ground = Ground { landlock, ..Ground::survey(&settings, &config).unwrap() };
    (settings, config, ground)
}

fn scopes() -> [Scope; 4] {
    ["shell", "files", "diagnose", "forward=443"].map(|scope| scope.parse().unwrap())
}

#[test]
fn scopes_that_a_kernel_cannot_confine_are_refused_in_words() {
    let world = World::new();
    for (landlock, has_cgroups, refused) in [
        (None, true, 2),
        (Some(1), false, 1),
        (Some(5), false, 1),
        (Some(1), true, 0),
        (Some(5), true, 0),
        (Some(6), false, 0),
    ] {
        let (settings, _, ground) = open_to_support(&world, landlock);
        let ground = if has_cgroups { ground.with_cgroups() } else { ground };
        let scratch = world.at("state/scratch/1");
        for (place, scope) in scopes().into_iter().enumerate() {
            match session(&ground, &settings, scope, &scratch) {
                Ok(profile) => {
                    assert!(place >= refused && profile.scope == Some(scope), "{landlock:?} {scope}");
                    let says = profile.gaps.iter().any(|gap| gap.contains("signals within a session"));
                    assert_eq!(says, scope == Scope::Shell && landlock < Some(SCOPED_SIGNALS), "{landlock:?} {scope}");
                }
                Err(why) => assert!(place < refused && why.contains("Landlock"), "{landlock:?} {scope}: {why}"),
            }
        }
        assert_eq!(shell(&ground, &settings, &scratch).is_ok(), refused == 0);
    }
}

#[test]
fn sessions_get_nothing_that_the_supervisor_lacks_and_nothing_of_ours() {
    let world = World::new();
    let (settings, config, ground) = open_to_support(&world, Some(7));
    let state = StateDir::new(&settings.state_dir);
    fs::create_dir_all(state.support()).unwrap();
    let supervisor = supervisor(&ground, &settings, &config);
    let scratch = world.at("state/scratch/1");
    fs::create_dir_all(&scratch).unwrap();
    for scope in scopes() {
        let profile = session(&ground, &settings, scope, &scratch).unwrap();
        for grant in profile.grants.iter().filter(|grant| grant.access.reads() && grant.path.exists()) {
            assert!(covers(&supervisor.grants, &grant.path), "{scope}: {}", grant.path.display());
        }
        for path in [state.host_key(), state.grants(), state.session_recordings(), state.store(), config.clone()] {
            assert!(
                profile.forbidden.contains(&path) && !covers(&profile.grants, &path),
                "{scope}: {}",
                path.display()
            );
        }
        assert!(profile.forbidden.contains(&world.at("cdr/Master.csv")));
        assert_eq!(covers(&profile.grants, &world.at("log/full")), matches!(scope, Scope::Shell | Scope::Diagnose));
        assert!(!covers(&profile.grants, &world.at("log")));
    }
    let shell = shell(&ground, &settings, &scratch).unwrap();
    assert!(!covers(&shell.grants, Path::new("/dev/pts")) && !covers(&shell.grants, Path::new("/dev/ptmx")));
    assert!(supervisor.forbidden.contains(&world.at("state/canary/recording.wav")));
}

#[test]
fn a_supervisor_that_lets_nobody_in_stays_narrow() {
    let world = World::new();
    let (mut settings, config, _) = open_to_support(&world, Some(7));
    settings.support.mode = crate::settings::SupportMode::Never;
    let ground = Ground::survey(&settings, &config).unwrap();
    let narrow = supervisor(&ground, &settings, &config);
    for path in ["/usr/bin", "/proc", "/dev/pts", "/etc/passwd"] {
        assert!(!covers(&narrow.grants, Path::new(path)) || path.starts_with("/etc"), "{path}");
    }
    assert!(!covers(&narrow.grants, &world.at("log/full")));
    assert_eq!(waits_for_restart(&ground, &settings, &narrow.grants), None);
    settings.support.mode = crate::settings::SupportMode::Ask;
    assert!(waits_for_restart(&ground, &settings, &narrow.grants).unwrap().contains("restart demarc"));
    let why = session(&ground, &settings, Scope::Diagnose, &world.at("state/scratch/1")).unwrap_err();
    assert!(why.contains("restart demarc") || ground.landlock.is_none(), "{why}");
}

#[test]
fn keys_and_voicemail_numbers_are_no_settings() {
    let world = World::new();
    let (mut settings, _, ground) = open_to_support(&world, Some(7));
    let conf = world.file("pbx/asterisk.conf");
    let (pjsip, mailboxes, key) =
        (world.file("pbx/pjsip.conf"), world.file("pbx/voicemail.conf"), world.file("pbx/keys/asterisk.key"));
    settings.support.asterisk_conf = Some(conf.clone());
    let profile = session(&ground, &settings, Scope::Diagnose, &world.at("state/scratch/1")).unwrap();
    assert!(covers(&profile.grants, &conf) && covers(&profile.grants, &pjsip));
    assert!(!covers(&profile.grants, &mailboxes) && !covers(&profile.grants, &key));
    assert!(profile.grants.contains(&Grant::new(world.at("pbx"), Access::List)));
}

#[test]
fn a_log_among_recordings_refuses_the_scopes_that_would_show_it() {
    let world = World::new();
    let (mut settings, _, ground) = open_to_support(&world, Some(7));
    settings.recordings.paths = vec![world.at("log")];
    let scratch = world.at("state/scratch/1");
    for scope in scopes() {
        let shows = matches!(scope, Scope::Shell | Scope::Diagnose);
        assert_eq!(session(&ground, &settings, scope, &scratch).is_err(), shows, "{scope}");
    }
}

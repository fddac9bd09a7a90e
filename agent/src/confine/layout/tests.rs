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
fn libraries_are_found_in_the_map_of_the_process() {
    assert_eq!(mapped_file("7f00-7f01 r--p 00000000 fe:01 12 /usr/lib/libc.so.6"), Some("/usr/lib/libc.so.6"));
    assert_eq!(mapped_file("7f00-7f01 rw-p 00000000 00:00 0 "), None);
    assert!(program().iter().any(|grant| grant.access == Access::Execute));
}

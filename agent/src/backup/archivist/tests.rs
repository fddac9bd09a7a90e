//! What the archivist takes and leaves out, in trees laid out for it. It is not confined here.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;
use crate::backup::{age::Identity, restore};

struct World {
    room: tempfile::TempDir,
    identity: Identity,
}

impl World {
    fn new() -> Self {
        let world = Self { room: tempfile::tempdir().unwrap(), identity: Identity::generate().unwrap() };
        StateDir::new(world.at("state")).create().unwrap();
        world.write("etc/asterisk/sip.conf", b"secret=hunter2\n");
        world.write("etc/asterisk/keys/tls.pem", &[7; 70_000]);
        world
    }

    fn at(&self, name: &str) -> PathBuf {
        self.room.path().canonicalize().unwrap().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn make(&self, keep: usize) -> anyhow::Result<Packed> {
        let recipient = self.identity.recipient().unwrap().to_text();
        let paths = vec![self.at("etc/asterisk")];
        make(&Task { state_dir: self.at("state"), paths, recipient, now: 1_795_707_900, keep }, &mut |_, _| {})
    }

    fn file(&self, packed: &Packed) -> PathBuf {
        StateDir::new(self.at("state")).backups().join(packed.name.file())
    }

    /// Where a file of this world is below a restored directory.
    fn restored(&self, name: &str) -> PathBuf {
        self.at("restored").join(self.at(name).strip_prefix("/").unwrap())
    }
}

#[test]
fn what_goes_in_comes_out() {
    let world = World::new();
    fs::set_permissions(world.at("etc/asterisk/sip.conf"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(world.at("etc/asterisk/keys"), fs::Permissions::from_mode(0o500)).unwrap();
    symlink("/elsewhere/extra.conf", world.at("etc/asterisk/extra.conf")).unwrap();
    world.write(&format!("etc/asterisk/{}/deep.conf", "long".repeat(40)), b"deep");
    let packed = world.make(7).unwrap();
    fs::set_permissions(world.at("etc/asterisk/keys"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!((packed.files, packed.skipped_count, packed.name.as_str()), (3, 0, "20261126T154500Z"));
    let bytes = fs::read(world.file(&packed)).unwrap();
    assert_eq!(bytes.len() as u64, packed.size);
    for plain in [b"hunter2".as_slice(), b"sip.conf", b"asterisk"] {
        assert!(!bytes.windows(plain.len()).any(|window| window == plain));
    }
    let open = || File::open(world.file(&packed)).unwrap();
    assert!(restore::list(open(), &world.identity).unwrap().len() >= 6);
    restore::restore(open(), &world.identity, &world.at("restored")).unwrap();
    let conf = world.restored("etc/asterisk/sip.conf");
    assert_eq!(fs::read(&conf).unwrap(), b"secret=hunter2\n");
    assert_eq!(fs::metadata(&conf).unwrap().mode() & 0o7777, 0o640);
    let now = fs::metadata(world.at("etc/asterisk/sip.conf")).unwrap().mtime();
    assert_eq!(fs::metadata(&conf).unwrap().mtime(), now);
    assert_eq!(fs::metadata(world.restored("etc/asterisk/keys")).unwrap().mode() & 0o7777, 0o500);
    assert_eq!(fs::read(world.restored("etc/asterisk/keys/tls.pem")).unwrap(), [7; 70_000]);
    let link = fs::read_link(world.restored("etc/asterisk/extra.conf")).unwrap();
    assert_eq!(link, Path::new("/elsewhere/extra.conf"));
    // What is there is not written over.
    let again = restore::restore(open(), &world.identity, &world.at("restored"));
    assert!(matches!(again, Err(restore::RestoreError::Occupied { .. })));
    fs::set_permissions(world.restored("etc/asterisk/keys"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn no_recording_is_in_it_by_any_name() {
    let world = World::new();
    let recording = world.write("spool/monitor/in-1.wav", b"RIFF\0\0\0\0WAVEvoice");
    fs::hard_link(&recording, world.at("etc/asterisk/notes.conf")).unwrap();
    symlink(&recording, world.at("etc/asterisk/link.conf")).unwrap();
    symlink(world.at("spool"), world.at("etc/asterisk/spool")).unwrap();
    world.write("etc/asterisk/greeting.gsm", b"voice");
    world.write("etc/asterisk/disguised.conf", b"RIFF\0\0\0\0WAVEvoice");
    let long = File::create(world.at("etc/asterisk/long.conf")).unwrap();
    long.set_len(17 << 20).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, world.at("etc/asterisk/pipe"), 0o600.into()).unwrap();
    let packed = world.make(7).unwrap();
    let said = packed.skipped.join("\n");
    for name in ["notes.conf", "greeting.gsm", "disguised.conf", "long.conf", "pipe"] {
        assert!(said.contains(name), "{said}");
    }
    assert_eq!((packed.files, packed.skipped_count), (2, 5));
    let items = restore::list(File::open(world.file(&packed)).unwrap(), &world.identity).unwrap();
    assert!(items.iter().all(|item| !item.path.to_string_lossy().contains("monitor")), "{items:?}");
    let links: Vec<_> = items.iter().filter(|item| item.link.is_some()).collect();
    assert_eq!(links.len(), 2, "links are links");
}

#[test]
fn a_wrong_key_or_a_changed_byte_restores_nothing() {
    let world = World::new();
    let packed = world.make(7).unwrap();
    let target = world.at("restored");
    let stranger = Identity::generate().unwrap();
    let wrong = restore::restore(File::open(world.file(&packed)).unwrap(), &stranger, &target).unwrap_err();
    assert!(wrong.to_string().contains("this key does not open"), "{wrong}");
    let bytes = fs::read(world.file(&packed)).unwrap();
    for change in [bytes.len() / 2, bytes.len() - 1, 30] {
        let mut changed = bytes.clone();
        changed[change] ^= 1;
        let path = world.write("changed.age", &changed);
        restore::restore(File::open(path).unwrap(), &world.identity, &target).unwrap_err();
    }
    for length in [0, 10, 200, bytes.len() - 1, bytes.len() - 60] {
        let path = world.write("cut.age", &bytes[..length]);
        restore::restore(File::open(path).unwrap(), &world.identity, &target).unwrap_err();
    }
    assert!(!target.exists());
    let left = fs::read_dir(world.at("")).unwrap().flatten();
    assert!(left.into_iter().all(|entry| !entry.file_name().to_string_lossy().contains("restore")), "no remains");
}

#[test]
fn the_newest_stay_and_their_names_grow() {
    let world = World::new();
    let names: Vec<String> = (0..4).map(|_| world.make(2).unwrap().name.to_string()).collect();
    assert_eq!(names.last().unwrap(), "20261126T154503Z");
    let left: Vec<String> =
        local(&StateDir::new(world.at("state"))).into_iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(left, ["20261126T154503Z", "20261126T154502Z"]);
}

/// An archive by somebody who has the public key, and nothing good in mind.
fn forged(world: &World, entry: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> PathBuf {
    use std::io::Write;
    let mut tar = tar::Builder::new(Vec::new());
    entry(&mut tar);
    let mut header = tar::Header::new_gnu();
    header.set_size(2);
    header.set_mode(0o600);
    tar.append_data(&mut header, super::super::archive::NOTE, b"{}".as_slice()).unwrap();
    let sealer = super::super::age::Sealer::new(Vec::new(), &world.identity.recipient().unwrap()).unwrap();
    let mut compressed = flate2::write::GzEncoder::new(sealer, flate2::Compression::fast());
    compressed.write_all(&tar.into_inner().unwrap()).unwrap();
    world.write("forged.age", &compressed.finish().unwrap().finish().unwrap())
}

#[test]
fn a_forged_backup_writes_nowhere_else() {
    let world = World::new();
    let attempt = |entry: &dyn Fn(&mut tar::Builder<Vec<u8>>)| {
        let path = forged(&world, entry);
        restore::restore(File::open(path).unwrap(), &world.identity, &world.at("restored"))
    };
    let named = |name: &'static [u8], kind: tar::EntryType| {
        move |tar: &mut tar::Builder<Vec<u8>>| {
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..name.len()].copy_from_slice(name);
            header.set_entry_type(kind);
            header.set_size(0);
            header.set_mode(0o4755);
            let link = world_link();
            header.set_link_name(link).unwrap();
            header.set_cksum();
            tar.append(&header, std::io::empty()).unwrap();
        }
    };
    use tar::EntryType;
    for (name, kind) in [
        (b"../out".as_slice(), EntryType::Regular),
        (b"/tmp/out", EntryType::Regular),
        (b"a/../../out", EntryType::Directory),
        (b"device", EntryType::Char),
        (b"pipe", EntryType::Fifo),
        (b"second", EntryType::Link),
    ] {
        assert!(attempt(&named(name, kind)).is_err(), "{name:?} {kind:?}");
        assert!(!world.at("restored").exists());
    }
    // A file that would go through a link that came before finds a directory in its way, or a link over it.
    let through = |tar: &mut tar::Builder<Vec<u8>>| {
        named(b"etc", EntryType::Symlink)(tar);
        named(b"etc/passwd", EntryType::Regular)(tar);
    };
    assert!(attempt(&through).is_err());
    assert!(!Path::new(world_link()).join("passwd").exists());
    assert!(attempt(&named(b"plain", EntryType::Regular)).is_ok());
}

fn world_link() -> &'static str {
    "/tmp/demarc-no-such-directory"
}

//! Trees of the system that a session may read, cut so that nothing that must stay shut lies below a grant.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{Access, Grant, known};
use crate::settings::{Settings, Source};

/// Programs and what they are made of.
const PROGRAMS: &[&str] = &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
/// What is known of devices and drivers. The rest of `/sys` looks into the kernel, and into the memory of devices, where
/// reading alone can do harm.
const MACHINE: &[&str] =
    &["/sys/class", "/sys/devices/system", "/sys/devices/virtual", "/sys/fs/cgroup", "/sys/module"];
/// Settings of the whole system.
pub(super) const ETC: &str = "/etc";
/// Names in `/etc` that hold secrets, whatever their modes say; and what has a rule of its own.
const NOT_IN_ETC: &[&str] = &[
    "shadow",
    "shadow-",
    "gshadow",
    "gshadow-",
    "sudoers",
    "sudoers.d",
    "freepbx.conf",
    "amportal.conf",
    "odbc.ini",
    "asterisk",
    "demarc",
];
/// Entries of directories that are looked at before a tree counts as too big to be known.
const MOST_ENTRIES: usize = 50_000;

/// What must stay shut although it may lie in a tree of the system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shut(Vec<PathBuf>);

impl Shut {
    /// Recordings, what is ours, and call records; as they really lie.
    pub(super) fn survey(settings: &Settings, config: &Path) -> Self {
        let sources = settings.pbx.source.iter().filter_map(Source::path).map(Path::to_owned);
        let ours = [settings.state_dir.clone(), config.to_owned()].into_iter().chain(sources);
        // A link that leads to one of them is not to be followed by way of its own tree either.
        Self(recordings(settings).chain(ours.filter_map(|path| fs::canonicalize(path).ok())).collect())
    }

    /// Adds what is mounted below those trees: it may be anything, recordings too, under another name.
    fn with_mounts_below(&self, trees: &[PathBuf]) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let below =
            mounts.lines().filter_map(mount_point).filter(|mount| trees.iter().any(|tree| is_below(mount, tree)));
        Self(self.0.iter().cloned().chain(below).collect())
    }

    /// Adds what is there of these.
    pub(super) fn extend(&mut self, paths: impl Iterator<Item = PathBuf>) {
        self.0.extend(paths.filter_map(|path| fs::canonicalize(path).ok()));
    }

    /// Whether something that must stay shut lies at or below that place.
    pub(super) fn touches(&self, tree: &Path) -> bool {
        self.0.iter().any(|shut| shut.starts_with(tree))
    }

    fn holds(&self, path: &Path) -> bool {
        self.0.iter().any(|shut| path.starts_with(shut))
    }
}

/// The trees of recordings that are there, as they really lie.
pub(super) fn recordings(settings: &Settings) -> impl Iterator<Item = PathBuf> + '_ {
    let trees = known::TREES.iter().map(Path::new).chain(settings.recordings.paths.iter().map(PathBuf::as_path));
    trees.filter_map(|tree| fs::canonicalize(tree).ok())
}

/// Programs, libraries, and what is known of the machine.
pub(super) fn system(shut: &Shut) -> Vec<Grant> {
    let mut trees: Vec<PathBuf> = PROGRAMS.iter().filter_map(|tree| fs::canonicalize(tree).ok()).collect();
    trees.sort();
    trees.dedup_by(|tree, above| tree.starts_with(above));
    let shut = shut.with_mounts_below(&trees);
    let mut grants: Vec<Grant> = trees.iter().flat_map(|tree| without(tree, &shut, Access::Programs)).collect();
    grants.extend(MACHINE.iter().map(|tree| Grant::new(tree, Access::Read)));
    grants
}

/// That tree, or as much of it as can be granted without what must stay shut. A directory that is left out in part cannot be
/// listed, since whoever may list it may list everything below it, and names of recordings tell much.
pub(super) fn without(tree: &Path, shut: &Shut, access: Access) -> Vec<Grant> {
    let Ok(tree) = fs::canonicalize(tree) else { return Vec::new() };
    let mut grants = Vec::new();
    let mut budget = MOST_ENTRIES;
    split(tree, shut, access, &mut budget, &mut grants);
    grants
}

fn split(path: PathBuf, shut: &Shut, access: Access, budget: &mut usize, grants: &mut Vec<Grant>) {
    if shut.holds(&path) {
        return;
    }
    if !shut.touches(&path) {
        grants.push(Grant::new(path, access));
        return;
    }
    for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
        if *budget == 0 {
            return;
        }
        *budget -= 1;
        // A link leads out of here, to what has a rule of its own or none.
        if entry.file_type().is_ok_and(|kind| kind.is_file() || kind.is_dir()) {
            split(entry.path(), shut, access, budget, grants);
        }
    }
}

/// The files at and below `/etc` that everybody on this machine may read.
pub(super) fn etc(shut: &Shut) -> Vec<Grant> {
    let mut grants = Vec::new();
    let mut budget = MOST_ENTRIES;
    for entry in fs::read_dir(ETC).into_iter().flatten().flatten() {
        let is_secret = NOT_IN_ETC.iter().any(|name| entry.file_name() == *name);
        if !is_secret {
            open_to(&Reader::EVERYBODY, entry.path(), shut, &mut budget, &mut grants);
        }
    }
    grants
}

/// The files at and below a directory that this process may read by their modes. An access list does not count: one lets the
/// archivist read all of the phone system's settings, passwords too, and is not meant for an engineer.
pub(super) fn by_modes(directory: &Path, shut: &Shut) -> Vec<Grant> {
    let Ok(directory) = fs::canonicalize(directory) else { return Vec::new() };
    let (mut grants, mut budget) = (Vec::new(), MOST_ENTRIES);
    open_to(&Reader::us(), directory, shut, &mut budget, &mut grants);
    grants
}

/// Whoever reads, as modes know him.
struct Reader {
    user: Option<u32>,
    groups: Vec<u32>,
}

impl Reader {
    /// Nobody in particular.
    const EVERYBODY: Self = Self { user: None, groups: Vec::new() };

    /// This process.
    fn us() -> Self {
        let mut groups: Vec<u32> =
            rustix::process::getgroups().unwrap_or_default().into_iter().map(rustix::process::Gid::as_raw).collect();
        groups.push(rustix::process::getegid().as_raw());
        Self { user: Some(rustix::process::geteuid().as_raw()), groups }
    }

    /// Whether he may read a file, or list and enter a directory. The bits of a group are those of its access list, too,
    /// where there is one, so that whose they are is what counts.
    fn may(&self, metadata: &fs::Metadata) -> bool {
        let needed = if metadata.is_dir() { 0o5 } else { 0o4 };
        let shift = match self.user {
            Some(0) => return true,
            Some(user) if user == metadata.uid() => 6,
            _ if self.groups.contains(&metadata.gid()) => 3,
            _ => 0,
        };
        (metadata.mode() >> shift) & needed == needed
    }
}

/// Adds what he may read there: a directory as a whole where that is true of everything below it. Answers whether it was.
fn open_to(reader: &Reader, path: PathBuf, shut: &Shut, budget: &mut usize, grants: &mut Vec<Grant>) -> bool {
    let Ok(metadata) = fs::symlink_metadata(&path) else { return false };
    let kind = metadata.file_type();
    if kind.is_symlink() {
        return true;
    }
    if !reader.may(&metadata) || shut.holds(&path) || *budget == 0 {
        return false;
    }
    *budget -= 1;
    if kind.is_file() {
        grants.push(Grant::new(path, Access::Read));
        return true;
    }
    let Ok(entries) = fs::read_dir(&path) else { return false };
    let before = grants.len();
    let mut whole = kind.is_dir();
    for entry in entries {
        whole &= entry.is_ok_and(|entry| open_to(reader, entry.path(), shut, budget, grants));
    }
    if whole {
        grants.truncate(before);
        grants.push(Grant::new(path, Access::Read));
    }
    whole
}

/// The mount point in a line of `/proc/self/mountinfo`, where spaces and their like are written as octal numbers.
fn mount_point(line: &str) -> Option<PathBuf> {
    let mut point = String::new();
    let mut rest = line.split(' ').nth(4)?;
    while let Some(at) = rest.find('\\') {
        point.push_str(&rest[..at]);
        let number = u8::from_str_radix(rest.get(at + 1..at + 4)?, 8).ok()?;
        point.push(char::from(number));
        rest = &rest[at + 4..];
    }
    point.push_str(rest);
    Some(PathBuf::from(point))
}

fn is_below(path: &Path, tree: &Path) -> bool {
    path != tree && path.starts_with(tree)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(path: PathBuf, mode: u32) -> PathBuf {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_tree_with_recordings_is_granted_around_them() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        for path in ["bin/ls", "share/doc/a", "share/phone/storage/a.wav", "share/phone/web/index"] {
            file(root.join(path), 0o644);
        }
        std::os::unix::fs::symlink(root.join("share/phone/storage"), root.join("share/link")).unwrap();
        let shut = Shut(vec![root.join("share/phone/storage")]);
        let mut granted: Vec<PathBuf> =
            without(&root, &shut, Access::Programs).into_iter().map(|one| one.path).collect();
        granted.sort();
        assert_eq!(granted, [root.join("bin"), root.join("share/doc"), root.join("share/phone/web")]);
        assert_eq!(without(&root.join("bin"), &shut, Access::Programs).len(), 1);
        assert_eq!(without(&root.join("share/phone/storage"), &shut, Access::Programs), []);
        assert_eq!(without(&root.join("share/phone/storage/a.wav"), &shut, Access::Programs), []);
    }

    #[test]
    fn what_counts_is_whose_the_bits_are() {
        let root = tempfile::tempdir().unwrap();
        let path = file(root.path().join("a"), 0o640);
        let metadata = fs::metadata(&path).unwrap();
        let may = |user, groups: &[u32]| Reader { user, groups: groups.to_vec() }.may(&metadata);
        let (owner, group) = (metadata.uid(), metadata.gid());
        assert!(may(Some(owner), &[]) && may(Some(owner + 1), &[group]) && may(Some(0), &[]));
        // Whoever is let in by an entry of his own is neither.
        assert!(!may(Some(owner + 1), &[group + 1]) && !may(None, &[]));
    }

    #[test]
    fn only_what_everybody_may_read_is_granted() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        for (path, mode) in
            [("all/a", 0o644), ("all/deep/b", 0o444), ("some/a", 0o644), ("some/key", 0o600), ("own", 0o640)]
        {
            file(root.join(path), mode);
        }
        fs::create_dir(root.join("closed")).unwrap();
        fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o710)).unwrap();
        for directory in ["all", "all/deep", "some"] {
            fs::set_permissions(root.join(directory), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mut grants = Vec::new();
        assert!(!open_to(&Reader::EVERYBODY, root.clone(), &Shut::default(), &mut 1_000, &mut grants));
        let mut granted: Vec<PathBuf> = grants.into_iter().map(|one| one.path).collect();
        granted.sort();
        assert_eq!(granted, [root.join("all"), root.join("some/a")]);
        let mut grants = Vec::new();
        open_to(&Reader::EVERYBODY, root.clone(), &Shut(vec![root.join("all/deep")]), &mut 1_000, &mut grants);
        assert!(grants.iter().all(|grant| !grant.path.ends_with("deep") && grant.path != root.join("all")));
    }

    #[test]
    fn mount_points_are_read_as_the_kernel_writes_them() {
        let line = r"36 35 98:0 /mnt1 /usr/two\040words rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(mount_point(line), Some(PathBuf::from("/usr/two words")));
        assert_eq!(mount_point("36 35"), None);
    }
}

//! From an encrypted file back to files: below one directory, all of them or none.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, BufReader, Read},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Component, Path, PathBuf},
    time::{Duration, SystemTime},
};

use flate2::read::GzDecoder;
use tar::{Archive, Entry, EntryType};

use super::{
    age::{Identity, OpenError, Opener},
    archive::NOTE,
};

/// So much comes out of one backup at most: a few bytes can unpack to a full disk.
const MOST_BYTES: u64 = 4 << 30;

/// One thing in a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its path, from the root of the machine that it came from.
    pub path: PathBuf,
    /// Its length, if it is a file.
    pub bytes: Option<u64>,
    /// Where it leads, if it is a symbolic link.
    pub link: Option<PathBuf>,
}

/// Nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What came out is not what demarc puts in.
    #[error("the backup holds what demarc puts into none ({what}): nothing was restored")]
    Foreign {
        /// What.
        what: String,
    },
    /// There is something already.
    #[error("{} is not empty; name a directory that is not there yet", directory.display())]
    Occupied {
        /// Where.
        directory: PathBuf,
    },
    /// A file cannot be written.
    #[error("{} cannot be written: nothing was restored", path.display())]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What a backup holds; all of it is read and checked for that.
///
/// # Errors
/// When it does not open or is damaged.
pub fn list(file: File, identity: &Identity) -> Result<Vec<Item>, RestoreError> {
    unpack(file, identity, &mut |_, _| Ok(()))
}

/// Writes everything that a backup holds below a directory, which must be empty or not there.
///
/// # Errors
/// When it does not open, is damaged, or cannot be written. The directory is then as it was.
pub fn restore(file: File, identity: &Identity, directory: &Path) -> Result<Vec<Item>, RestoreError> {
    let unwritable = |path: &Path| {
        let path = path.to_owned();
        move |source| RestoreError::Unwritable { path, source }
    };
    match fs::read_dir(directory).map(|mut entries| entries.next().is_none()) {
        Ok(true) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Ok(false) => return Err(RestoreError::Occupied { directory: directory.to_owned() }),
        Err(error) => return Err(unwritable(directory)(error)),
    }
    let directory = std::path::absolute(directory).map_err(unwritable(directory))?;
    let above = directory.parent().unwrap_or(Path::new("/"));
    let room = tempfile::Builder::new().prefix(".demarc-restore-").tempdir_in(above).map_err(unwritable(above))?;
    let root = room.path().to_owned();
    // Set at the end: a directory that its owner may not write could not be filled, and what is written through a link that
    // an earlier entry made could land anywhere.
    let (mut directories, mut links) = (Vec::new(), Vec::new());
    let items = unpack(file, identity, &mut |item, entry| {
        let place = root.join(&item.path);
        let fail = unwritable(&place);
        if let Some(target) = &item.link {
            links.push((place.clone(), target.clone(), owner(entry)));
            return make_parents(&root, &item.path).map_err(fail);
        }
        if item.bytes.is_none() {
            directories.push((place.clone(), mode(entry), owner(entry)));
            return make_directories(&place).map_err(fail);
        }
        let written = make_parents(&root, &item.path).and_then(|()| write(&place, entry));
        written.map_err(fail)
    })?;
    for (place, target, (user, group)) in links {
        std::os::unix::fs::symlink(&target, &place).map_err(unwritable(&place))?;
        if is_root() {
            std::os::unix::fs::lchown(&place, Some(user), Some(group)).map_err(unwritable(&place))?;
        }
    }
    for (place, mode, (user, group)) in directories.into_iter().rev() {
        if is_root() {
            std::os::unix::fs::chown(&place, Some(user), Some(group)).map_err(unwritable(&place))?;
        }
        fs::set_permissions(&place, Permissions::from_mode(mode)).map_err(unwritable(&place))?;
    }
    // What is in place is on the disk.
    File::open(&root).and_then(|root| Ok(rustix::fs::syncfs(root)?)).map_err(unwritable(&directory))?;
    fs::rename(&root, &directory).map_err(unwritable(&directory))?;
    // It is not there any more under that name.
    let _ = room.keep();
    Ok(items)
}

type Opened = Archive<GzDecoder<Opener<BufReader<File>>>>;
type Taken<'a> = Entry<'a, GzDecoder<Opener<BufReader<File>>>>;

/// Goes through the archive to its very end, without which nothing proves that it is whole.
fn unpack(
    file: File,
    identity: &Identity,
    take: &mut dyn FnMut(&Item, &mut Taken<'_>) -> Result<(), RestoreError>,
) -> Result<Vec<Item>, RestoreError> {
    let opener = Opener::new(BufReader::new(file), identity)?;
    let mut archive: Opened = Archive::new(GzDecoder::new(opener));
    let (mut items, mut bytes) = (Vec::new(), 0u64);
    let mut has_note = false;
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let item = item(&entry)?;
        bytes = bytes.saturating_add(item.bytes.unwrap_or(0));
        if bytes > MOST_BYTES {
            return Err(RestoreError::Foreign { what: "more than 4 GiB".to_owned() });
        }
        has_note |= item.path == Path::new(NOTE);
        take(&item, &mut entry)?;
        io::copy(&mut entry, &mut io::sink()).map_err(damaged)?;
        items.push(item);
    }
    let mut compressed = archive.into_inner();
    io::copy(&mut compressed, &mut io::sink()).map_err(damaged)?;
    io::copy(&mut compressed.into_inner(), &mut io::sink()).map_err(damaged)?;
    // It is the last that is put in.
    if has_note { Ok(items) } else { Err(OpenError::Damaged.into()) }
}

/// What an entry is, if it may be in a backup at all: a file, a directory or a symbolic link, at a path that stays below.
fn item(entry: &Taken<'_>) -> Result<Item, RestoreError> {
    let path = entry.path().map_err(damaged)?.into_owned();
    let foreign = |what: &str| RestoreError::Foreign { what: format!("{what}: {}", path.display()) };
    let below = path.components().all(|part| matches!(part, Component::Normal(_)));
    if !below || path.as_os_str().is_empty() {
        return Err(foreign("a path that leads elsewhere"));
    }
    let (bytes, link) = match entry.header().entry_type() {
        EntryType::Regular => (Some(entry.size()), None),
        EntryType::Directory => (None, None),
        EntryType::Symlink => {
            let target = entry.link_name().map_err(damaged)?.ok_or_else(|| foreign("a link to nothing"))?;
            (None, Some(target.into_owned()))
        }
        _ => return Err(foreign("neither a file, nor a directory, nor a link")),
    };
    Ok(Item { path, bytes, link })
}

fn write(place: &Path, entry: &mut Taken<'_>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(place)?;
    let length = entry.size();
    let copied = io::copy(&mut entry.by_ref().take(length), &mut file)?;
    if copied != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if is_root() {
        let (user, group) = owner(entry);
        std::os::unix::fs::fchown(&file, Some(user), Some(group))?;
    }
    file.set_permissions(Permissions::from_mode(mode(entry)))?;
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(entry.header().mtime().unwrap_or(0));
    file.set_modified(changed)
}

/// The directories above an entry; those that have no entry of their own stay the restorer's.
fn make_parents(root: &Path, path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |above| make_directories(&root.join(above)))
}

fn make_directories(place: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(place)
}

fn owner(entry: &Taken<'_>) -> (u32, u32) {
    let number = |id: io::Result<u64>| id.ok().and_then(|id| u32::try_from(id).ok()).unwrap_or(0);
    (number(entry.header().uid()), number(entry.header().gid()))
}

/// Who is not the owner that it had gets no file that runs as its owner.
fn mode(entry: &Taken<'_>) -> u32 {
    let mode = entry.header().mode().unwrap_or(0o600);
    if is_root() { mode & 0o7777 } else { mode & 0o777 }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn damaged(error: io::Error) -> RestoreError {
    match error.kind() {
        // What the disk says is said as it is.
        io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound => OpenError::Unreadable(error).into(),
        _ => OpenError::Damaged.into(),
    }
}

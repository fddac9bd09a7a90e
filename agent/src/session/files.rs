//! A channel of the scope `files`: file transfer (SFTP) to and from the session's scratch directory, and nowhere else.

use std::{
    collections::HashMap,
    fs::File,
    os::unix::fs::FileExt,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::BytesMut;
use russh_sftp::{
    protocol::{Attrs, Data, FileAttributes, Handle, Name as Names, OpenFlags, Status, StatusCode},
    server::{Config, Handler, StatusReply, run_with_config},
};
use rustix::{
    fs::{OFlags, Stat},
    io::Errno,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::{
    channel::Served,
    context::{Context, shortened},
    queue::Lane,
    scratch::{Name, Scratch},
};

/// How much lies between SSH and SFTP, each way.
const PIPE: usize = 64 << 10;
/// The longest request; a client writes 32 KiB at a time, some 255.
const LONGEST_REQUEST: u32 = 264 << 10;
/// The most that is read in one answer.
const LONGEST_READ: u32 = 255 << 10;
/// Open files and directories at a time.
const MOST_OPEN: usize = 64;
/// Entries of a directory in one answer.
const ENTRIES: usize = 100;
/// The most that a session may leave on this machine's disk.
const MOST_WRITTEN: u64 = 2 << 30;

/// Serves a channel with file transfer.
pub(super) async fn serve(served: Served) {
    let context = Arc::clone(&served.context);
    let scratch = match Scratch::open(&context.settings.scratch) {
        Ok(scratch) => scratch,
        Err(error) => {
            let words = format!("demarc: the scratch directory cannot be opened: {error}\n");
            return served.answer(Lane::Error, &words, 1).await;
        }
    };
    context.tally.command("sftp");
    context.recorder.mark("file transfer begins");
    let open = Arc::new(Mutex::new(Open::default()));
    let (near, far) = duplex(PIPE);
    let server = Server { context: Arc::clone(&context), scratch, open: Arc::clone(&open) };
    // It ends by itself once its end of the pipe is all that is left.
    run_with_config(far, server, Config { max_client_packet_len: LONGEST_REQUEST }).await;
    let (mut from, mut to) = tokio::io::split(near);
    let requests = async {
        while let Some((_, bytes)) = served.input.take().await {
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        // What was asked is still answered.
        let _ = to.shutdown().await;
    };
    let answers = async {
        let mut buffer = BytesMut::with_capacity(PIPE / 2);
        while let Ok(1..) = from.read_buf(&mut buffer).await {
            if served.send(Lane::Main, buffer.split().freeze()).await.is_err() {
                return;
            }
            buffer.reserve(PIPE / 2);
        }
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(requests, answers) } => {}
        () = served.closed.cancelled() => {}
    }
    let left = std::mem::take(&mut open.lock().unwrap_or_else(PoisonError::into_inner).things);
    for thing in left.into_values() {
        thing.conclude(&context, ", not finished");
    }
    served.finish(0).await;
}

/// What a client has open.
#[derive(Debug, Default)]
struct Open {
    things: HashMap<String, Thing>,
    opened: u64,
    /// How much was written to the disk, if every byte went to a new place.
    written: u64,
}

#[derive(Debug)]
enum Thing {
    File { file: File, name: String, read: u64, written: u64 },
    Directory { entries: Vec<(String, Stat)> },
}

impl Thing {
    /// The transfer is over: it stands in the recording and in the receipt.
    fn conclude(self, context: &Context, how: &str) {
        let Self::File { name, read, written, .. } = self else { return };
        for (verb, bytes) in [("get", read), ("put", written)] {
            if bytes > 0 || (verb == "get" && read == written) {
                let words = format!("{verb} {} ({bytes} bytes{how})", shortened(&name));
                context.recorder.mark(&words);
                context.tally.file(&words);
            }
        }
    }
}

struct Server {
    context: Arc<Context>,
    scratch: Scratch,
    open: Arc<Mutex<Open>>,
}

type Answer<T> = Result<T, StatusReply>;

impl Server {
    fn name(&self, name: &str) -> Answer<Name> {
        Name::new(name).map_err(|_| {
            self.context.refuse(&format!("a way out of the scratch directory: {}", shortened(name)));
            StatusCode::PermissionDenied.with_message("that leads out of the scratch directory")
        })
    }

    fn with_open<T>(&self, act: impl FnOnce(&mut Open) -> Answer<T>) -> Answer<T> {
        act(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep(&self, id: u32, thing: Thing) -> Answer<Handle> {
        self.with_open(|open| {
            if open.things.len() >= MOST_OPEN {
                return Err(StatusCode::Failure.with_message("too many files are open"));
            }
            open.opened += 1;
            let handle = open.opened.to_string();
            open.things.insert(handle.clone(), thing);
            Ok(Handle { id, handle })
        })
    }

    /// Notes what is about to be done, and waits until that is on the disk.
    async fn note(&self, words: &str) -> Answer<()> {
        self.context.recorder.mark(words);
        let durable = self.context.recorder.durable().await;
        durable.map_err(|_| StatusCode::Failure.with_message("it cannot be recorded"))
    }

    fn attributes(&self, id: u32, name: &str) -> Answer<Attrs> {
        let stat = self.scratch.stat(&self.name(name)?).map_err(status)?;
        Ok(Attrs { id, attrs: attributes(&stat) })
    }

    fn never(&self, what: &str) -> StatusReply {
        self.context.refuse(what);
        StatusCode::PermissionDenied.with_message(format!("{what} is not possible here"))
    }
}

fn status(error: Errno) -> StatusReply {
    match error {
        Errno::NOENT | Errno::NOTDIR => StatusCode::NoSuchFile.into(),
        Errno::ACCESS | Errno::PERM | Errno::LOOP | Errno::XDEV => StatusCode::PermissionDenied.into(),
        error => StatusCode::Failure.with_message(error.to_string()),
    }
}

fn attributes(stat: &Stat) -> FileAttributes {
    let seconds = |seconds: i64| u32::try_from(seconds).ok();
    FileAttributes {
        size: u64::try_from(stat.st_size).ok(),
        permissions: Some(stat.st_mode),
        atime: seconds(stat.st_atime),
        mtime: seconds(stat.st_mtime),
        ..FileAttributes::default()
    }
}

fn flags(asked: OpenFlags) -> OFlags {
    let mut flags = match (asked.contains(OpenFlags::READ), asked.contains(OpenFlags::WRITE)) {
        (true, true) => OFlags::RDWR,
        (false, true) => OFlags::WRONLY,
        _ => OFlags::RDONLY,
    };
    if asked.contains(OpenFlags::WRITE) {
        for (one, other) in [
            (OpenFlags::APPEND, OFlags::APPEND),
            (OpenFlags::CREATE, OFlags::CREATE),
            (OpenFlags::TRUNCATE, OFlags::TRUNC),
            (OpenFlags::EXCLUDE, OFlags::EXCL),
        ] {
            flags.set(other, asked.contains(one));
        }
    }
    flags
}

fn done(id: u32) -> Status {
    let status_code = StatusCode::Ok;
    Status { id, status_code, error_message: status_code.to_string(), language_tag: "en".to_owned() }
}

fn unknown_handle() -> StatusReply {
    StatusCode::Failure.with_message("nothing is open under that name")
}

impl Handler for Server {
    type Error = StatusReply;

    fn unimplemented(&self) -> StatusReply {
        StatusCode::OpUnsupported.into()
    }

    async fn open(&mut self, id: u32, filename: String, asked: OpenFlags, _: FileAttributes) -> Answer<Handle> {
        let name = self.name(&filename)?;
        let verb = if asked.contains(OpenFlags::WRITE) { "put" } else { "get" };
        let absolute = name.absolute();
        self.note(&format!("{verb} {} begins", shortened(&absolute))).await?;
        let file = self.scratch.file(&name, flags(asked)).map_err(status)?;
        self.keep(id, Thing::File { file, name: absolute, read: 0, written: 0 })
    }

    async fn close(&mut self, id: u32, handle: String) -> Answer<Status> {
        let closed = self.with_open(|open| open.things.remove(&handle).ok_or_else(unknown_handle))?;
        closed.conclude(&self.context, "");
        Ok(done(id))
    }

    async fn read(&mut self, id: u32, handle: String, offset: u64, len: u32) -> Answer<Data> {
        self.with_open(|open| {
            let Some(Thing::File { file, read, .. }) = open.things.get_mut(&handle) else {
                return Err(unknown_handle());
            };
            let mut data = vec![0; len.min(LONGEST_READ) as usize];
            let count = file.read_at(&mut data, offset).map_err(|_| StatusReply::from(StatusCode::Failure))?;
            if count == 0 {
                return Err(StatusCode::Eof.into());
            }
            data.truncate(count);
            *read += count as u64;
            Ok(Data { id, data })
        })
    }

    async fn write(&mut self, id: u32, handle: String, offset: u64, data: Vec<u8>) -> Answer<Status> {
        self.with_open(|open| {
            let count = data.len() as u64;
            let end = offset.checked_add(count);
            if open.written + count > MOST_WRITTEN || end.is_none_or(|end| end > MOST_WRITTEN) {
                return Err(StatusCode::Failure.with_message("a session may leave 2 GiB here, and no more"));
            }
            let Some(Thing::File { file, written, .. }) = open.things.get_mut(&handle) else {
                return Err(unknown_handle());
            };
            let full = |error: std::io::Error| StatusCode::Failure.with_message(error.to_string());
            file.write_all_at(&data, offset).map_err(full)?;
            *written += count;
            open.written += count;
            Ok(done(id))
        })
    }

    async fn lstat(&mut self, id: u32, path: String) -> Answer<Attrs> {
        self.attributes(id, &path)
    }

    async fn stat(&mut self, id: u32, path: String) -> Answer<Attrs> {
        self.attributes(id, &path)
    }

    async fn fstat(&mut self, id: u32, handle: String) -> Answer<Attrs> {
        self.with_open(|open| {
            let Some(Thing::File { file, .. }) = open.things.get(&handle) else { return Err(unknown_handle()) };
            Ok(Attrs { id, attrs: attributes(&rustix::fs::fstat(file).map_err(status)?) })
        })
    }

    async fn opendir(&mut self, id: u32, path: String) -> Answer<Handle> {
        let entries = self.scratch.list(&self.name(&path)?).map_err(status)?;
        self.keep(id, Thing::Directory { entries })
    }

    async fn readdir(&mut self, id: u32, handle: String) -> Answer<Names> {
        self.with_open(|open| {
            let Some(Thing::Directory { entries }) = open.things.get_mut(&handle) else { return Err(unknown_handle()) };
            if entries.is_empty() {
                return Err(StatusCode::Eof.into());
            }
            let some = entries.split_off(entries.len().saturating_sub(ENTRIES));
            let file = |(name, stat): (String, Stat)| russh_sftp::protocol::File::new(name, attributes(&stat));
            Ok(Names { id, files: some.into_iter().map(file).collect() })
        })
    }

    async fn remove(&mut self, id: u32, filename: String) -> Answer<Status> {
        let name = self.name(&filename)?;
        self.note(&format!("remove {}", shortened(&name.absolute()))).await?;
        self.scratch.remove(&name, false).map_err(status)?;
        Ok(done(id))
    }

    async fn mkdir(&mut self, id: u32, path: String, _: FileAttributes) -> Answer<Status> {
        let name = self.name(&path)?;
        self.note(&format!("make directory {}", shortened(&name.absolute()))).await?;
        self.scratch.make_directory(&name).map_err(status)?;
        Ok(done(id))
    }

    async fn rmdir(&mut self, id: u32, path: String) -> Answer<Status> {
        let name = self.name(&path)?;
        self.note(&format!("remove directory {}", shortened(&name.absolute()))).await?;
        self.scratch.remove(&name, true).map_err(status)?;
        Ok(done(id))
    }

    async fn rename(&mut self, id: u32, oldpath: String, newpath: String) -> Answer<Status> {
        let (from, to) = (self.name(&oldpath)?, self.name(&newpath)?);
        let words = format!("rename {} to {}", shortened(&from.absolute()), shortened(&to.absolute()));
        self.note(&words).await?;
        self.scratch.rename(&from, &to).map_err(status)?;
        Ok(done(id))
    }

    async fn realpath(&mut self, id: u32, path: String) -> Answer<Names> {
        let name = self.name(&path)?.absolute();
        Ok(Names { id, files: vec![russh_sftp::protocol::File::dummy(name)] })
    }

    async fn setstat(&mut self, id: u32, path: String, attrs: FileAttributes) -> Answer<Status> {
        let name = self.name(&path)?;
        let Some(size) = attrs.size.filter(|size| *size <= MOST_WRITTEN) else { return Err(self.unimplemented()) };
        let file = self.scratch.file(&name, OFlags::WRONLY).map_err(status)?;
        rustix::fs::ftruncate(&file, size).map_err(status)?;
        Ok(done(id))
    }

    async fn fsetstat(&mut self, id: u32, handle: String, attrs: FileAttributes) -> Answer<Status> {
        let Some(size) = attrs.size.filter(|size| *size <= MOST_WRITTEN) else { return Err(self.unimplemented()) };
        self.with_open(|open| {
            let Some(Thing::File { file, .. }) = open.things.get(&handle) else { return Err(unknown_handle()) };
            rustix::fs::ftruncate(file, size).map_err(status)?;
            Ok(done(id))
        })
    }

    async fn readlink(&mut self, _: u32, path: String) -> Answer<Names> {
        Err(self.never(&format!("following the link {}", shortened(&path))))
    }

    async fn symlink(&mut self, _: u32, link: String, target: String) -> Answer<Status> {
        Err(self.never(&format!("a link between {} and {}", shortened(&link), shortened(&target))))
    }

    async fn extended(&mut self, _: u32, request: String, _: Vec<u8>) -> Answer<russh_sftp::protocol::Packet> {
        if request == "hardlink@openssh.com" {
            return Err(self.never("a hard link"));
        }
        Err(self.unimplemented())
    }
}

//! Carries encrypted backups to the hub and back, over connections of their own. What is under way is polled where the link
//! waits for the supervisor, so that dropping it is all that it takes to cut it off: the socket is then reset, and nothing
//! that the kernel still held leaves.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use data_encoding::HEXLOWER;
use demarc_proto::backup::{KeptBackup, MOST_BACKUP_BYTES};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use sha2::{Digest, Sha256};
use tokio::time::sleep;

use super::{Patience, files};
use crate::{
    backup::{Act, Errand, News, Said, request::request},
    ipc::LinkSettings,
    state::StateDir,
};

/// Bytes of a file that are read at a time.
const PORTION: usize = 64 * 1024;
/// When nothing was through for so long, nothing will be.
const STALLED: Duration = Duration::from_secs(60);
/// How often it is told how far it is.
const TELL_EVERY: Duration = Duration::from_millis(300);
/// A longer list is none.
const MOST_LIST: usize = 256 * 1024;
/// So much of a disk stays free.
const SPARE: u64 = 64 << 20;
const OFF: &str = "backups were switched off";

type Carried = Result<Vec<KeptBackup>, String>;

/// Carries one thing at a time.
#[derive(Default)]
pub(super) struct Courier {
    under_way: Option<UnderWay>,
    /// What is over and not told yet.
    ended: Option<Said>,
}

struct UnderWay {
    errand: Errand,
    doing: Pin<Box<dyn Future<Output = Carried> + Send>>,
    bytes: Arc<AtomicU64>,
    told: u64,
}

impl Courier {
    /// Begins an errand.
    pub(super) fn send(&mut self, settings: &LinkSettings, patience: Patience, errand: Errand) {
        let refused = match &errand.act {
            act if act.needs_consent() && !settings.backup => Some(OFF),
            _ if self.under_way.is_some() => Some("another backup is under way"),
            _ => None,
        };
        if let Some(why) = refused {
            self.ended = Some(Said { number: errand.number, news: News::Failed(why.to_owned()) });
            return;
        }
        let bytes = Arc::new(AtomicU64::new(0));
        let doing = Box::pin(carry(settings.clone(), patience, errand.act.clone(), Arc::clone(&bytes)));
        self.under_way = Some(UnderWay { errand, doing, bytes, told: 0 });
    }

    /// Cuts off what those settings do not allow, or what leads elsewhere.
    pub(super) fn keep_to(&mut self, settings: &LinkSettings, moved: bool) {
        let over = |one: &mut UnderWay| moved || (one.errand.act.needs_consent() && !settings.backup);
        if let Some(UnderWay { errand, .. }) = self.under_way.take_if(over) {
            let why = if moved { "the hub is another one now" } else { OFF };
            self.ended = Some(Said { number: errand.number, news: News::Failed(why.to_owned()) });
        }
    }

    /// The next news. Nothing is lost when this is not waited for to the end.
    pub(super) async fn next(&mut self) -> Said {
        if let Some(said) = self.ended.take() {
            return said;
        }
        let Some(under_way) = &mut self.under_way else { return std::future::pending().await };
        let number = under_way.errand.number;
        let news = loop {
            tokio::select! {
                done = &mut under_way.doing => break match done {
                    Ok(list) => News::Done(list),
                    Err(why) => News::Failed(why),
                },
                () = sleep(TELL_EVERY) => {
                    let bytes = under_way.bytes.load(Ordering::Relaxed);
                    if std::mem::replace(&mut under_way.told, bytes) != bytes {
                        return Said { number, news: News::Progress(bytes) };
                    }
                }
            }
        };
        self.under_way = None;
        Said { number, news }
    }
}

/// Asks the hub, and gives up when nothing moves any more.
async fn carry(settings: LinkSettings, patience: Patience, act: Act, bytes: Arc<AtomicU64>) -> Carried {
    let mut doing = pin!(exchange(&settings, patience, &act, &bytes));
    let mut seen = 0;
    loop {
        tokio::select! {
            done = &mut doing => return done,
            () = sleep(STALLED) => {
                let now = bytes.load(Ordering::Relaxed);
                if now == seen {
                    return Err(format!("nothing was through for {} s", STALLED.as_secs()));
                }
                seen = now;
            }
        }
    }
}

async fn exchange(settings: &LinkSettings, patience: Patience, act: &Act, bytes: &Arc<AtomicU64>) -> Carried {
    let state = StateDir::new(&settings.state_dir);
    let body = match act {
        Act::Keep { name, bytes: length, sha256 } => {
            let (path, length, sha256) = (state.backups().join(name.file()), *length, sha256.clone());
            // Reading it twice takes a while, and the tunnel is to go on meanwhile.
            let opened = tokio::task::spawn_blocking(move || whole(&path, length, &sha256)).await;
            let file = opened.unwrap_or_else(|error| Err(io::Error::other(error)));
            let file = file.map_err(|error| format!("the backup cannot be read: {error}"))?;
            Portions { file: Some(file), left: length, sent: Arc::clone(bytes) }
        }
        _ => Portions { file: None, left: 0, sent: Arc::clone(bytes) },
    };
    let request = request(act, &settings.hub).map(|()| body);
    let (mut sender, connection) = files::open(settings, patience).await.map_err(|error| error.to_string())?;
    let mut connection = pin!(connection);
    let mut asking = pin!(async {
        let response = sender.send_request(request).await.map_err(lost)?;
        take(response, act, &state.fetched_backup(), bytes).await
    });
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            answer = &mut asking => return answer,
            // What it has read is there for whoever asks; a break is seen there, too.
            _ = &mut connection, if open => open = false,
        }
    }
}

/// Takes in what the hub answers. Nothing of it is trusted: neither a length, nor that it ends.
async fn take(response: Response<Incoming>, act: &Act, place: &Path, bytes: &AtomicU64) -> Carried {
    match (act, response.status()) {
        (Act::Keep { bytes, sha256, .. }, StatusCode::CREATED) => {
            let body = files::whole(response.into_body(), 4096).await.ok_or("the hub's answer broke off")?;
            let kept: KeptBackup = serde_json::from_slice(&body).map_err(|_| "the hub's answer makes no sense")?;
            let same = kept.bytes == *bytes && kept.sha256.as_deref() == Some(sha256.as_str());
            if same { Ok(Vec::new()) } else { Err("the hub stored other bytes than those that were sent".to_owned()) }
        }
        (Act::List, StatusCode::OK) => {
            let body = files::whole(response.into_body(), MOST_LIST)
                .await
                .ok_or("the hub's list broke off, or is too long")?;
            serde_json::from_slice(&body).map_err(|_| "the hub's list makes no sense".to_owned())
        }
        (Act::Fetch { .. }, StatusCode::OK) => fetch(response.into_body(), place, bytes).await.map(|()| Vec::new()),
        (Act::Remove { .. }, StatusCode::NO_CONTENT | StatusCode::NOT_FOUND) => Ok(Vec::new()),
        (_, status) => Err(match status {
            StatusCode::NOT_FOUND => "the hub has no such backup of this site".to_owned(),
            StatusCode::SERVICE_UNAVAILABLE => "this hub keeps no backups".to_owned(),
            StatusCode::PAYLOAD_TOO_LARGE => "the hub keeps no backup of that length".to_owned(),
            StatusCode::INSUFFICIENT_STORAGE => "the hub has no room left for this site's backups".to_owned(),
            StatusCode::CONFLICT => "the hub has another backup of that name".to_owned(),
            StatusCode::BAD_REQUEST => "the hub does not take it for an encrypted backup".to_owned(),
            other => format!("the hub answers with status {}", other.as_u16()),
        }),
    }
}

/// Writes what comes into the link's own directory, as far as a backup can be long and the disk has room.
async fn fetch(mut body: Incoming, place: &Path, bytes: &AtomicU64) -> Result<(), String> {
    let words = |error: io::Error| format!("what the hub sends cannot be written: {error}");
    match std::fs::remove_file(place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(words(error)),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(place).map_err(words)?;
    let disk = rustix::fs::fstatvfs(&file).map_err(|error| words(error.into()))?;
    let room = disk.f_bavail.saturating_mul(disk.f_frsize).saturating_sub(SPARE).min(MOST_BACKUP_BYTES);
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(lost)?.into_data() else { continue };
        length += data.len() as u64;
        if length > room {
            drop(file);
            let _ = std::fs::remove_file(place);
            return Err("it is longer than a backup can be, or the disk here has no room for it".to_owned());
        }
        file.write_all(&data).map_err(words)?;
        bytes.store(length, Ordering::Relaxed);
    }
    file.sync_all().map_err(words)
}

fn lost(error: hyper::Error) -> String {
    format!("the connection to the hub broke: {error}")
}

/// A file, portion by portion; never all of it in memory.
struct Portions {
    file: Option<File>,
    left: u64,
    sent: Arc<AtomicU64>,
}

/// The file, if it is byte for byte what the ledger says: nothing else may leave.
fn whole(path: &Path, length: u64, sha256: &str) -> io::Result<File> {
    let mut file = File::open(path)?;
    let (mut hash, mut read, mut portion) = (Sha256::new(), 0, vec![0; PORTION]);
    loop {
        match file.read(&mut portion)? {
            0 => break,
            count => {
                hash.update(&portion[..count]);
                read += count as u64;
            }
        }
    }
    if read != length || HEXLOWER.encode(hash.finalize().as_slice()) != sha256 {
        return Err(io::Error::other("it is not what was made, and what the ledger tells of"));
    }
    file.rewind()?;
    Ok(file)
}

impl Portions {
    fn portion(&mut self) -> io::Result<Option<Bytes>> {
        let Some(file) = self.file.as_mut().filter(|_| self.left > 0) else { return Ok(None) };
        let mut portion = vec![0; PORTION.min(usize::try_from(self.left).unwrap_or(PORTION))];
        let length = file.read(&mut portion)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        portion.truncate(length);
        self.left -= length as u64;
        self.sent.fetch_add(length as u64, Ordering::Relaxed);
        Ok(Some(portion.into()))
    }
}

impl Body for Portions {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(self.get_mut().portion().map(|portion| portion.map(Frame::data)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_ledger_tells_of_leaves() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("x.age");
        std::fs::write(&path, "sealed").unwrap();
        let hash = HEXLOWER.encode(Sha256::digest(b"sealed").as_slice());
        let mut text = String::new();
        whole(&path, 6, &hash).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "sealed");
        assert!(whole(&path, 5, &hash).is_err());
        std::fs::write(&path, "plain!").unwrap();
        assert!(whole(&path, 6, &hash).is_err());
    }

    #[tokio::test]
    async fn off_ends_what_sends_and_leaves_what_the_owner_asked_for() {
        let mut settings = LinkSettings { backup: true, ..LinkSettings::of_a_test() };
        let name = "20261126T154500Z".parse().unwrap();
        let keep = Act::Keep { name, bytes: 1, sha256: String::new() };
        let mut courier = Courier::default();
        courier.send(&settings, Patience::default(), Errand { number: 1, act: keep.clone() });
        courier.keep_to(&settings, false);
        assert!(courier.under_way.is_some());
        settings.backup = false;
        courier.keep_to(&settings, false);
        assert!(courier.under_way.is_none(), "cut off at once");
        let failed = |number| Said { number, news: News::Failed(OFF.to_owned()) };
        assert_eq!(courier.next().await, failed(1));
        courier.send(&settings, Patience::default(), Errand { number: 2, act: keep });
        assert_eq!(courier.next().await, failed(2));
        courier.send(&settings, Patience::default(), Errand { number: 3, act: Act::List });
        courier.keep_to(&settings, false);
        assert!(courier.under_way.is_some(), "a question by hand sends nothing of the phone system's");
    }
}

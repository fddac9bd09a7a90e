//! The daemon's end of the control socket.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt, net::UnixListener as StdUnixListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};

use super::{Address, Answer, MAX_REQUEST, Request};

/// Conversations at a time.
const MOST_CLIENTS: usize = 16;
/// How long a client may take for its next line, and for taking an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request, and where its answer goes.
pub type Question = (Request, oneshot::Sender<Answer>);

/// The socket, bound; it is removed when this is dropped.
#[derive(Debug)]
pub struct Bound {
    listener: StdUnixListener,
    path: PathBuf,
}

impl Bound {
    /// Binds the socket for this user alone. What lies at that path is removed: the caller holds the lock of the
    /// state directory, so that it is nobody's.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn bind(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = StdUnixListener::bind(&Address::of(path)?.path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Answers for as long as the future is polled; each question goes to `questions`.
    ///
    /// # Errors
    /// When the socket cannot be registered with the runtime.
    pub async fn serve(&self, questions: mpsc::Sender<Question>) -> io::Result<()> {
        let listener = UnixListener::from_std(self.listener.try_clone()?)?;
        let places = Arc::new(Semaphore::new(MOST_CLIENTS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let questions = questions.clone();
                    tokio::spawn(async move {
                        // A client that went away, or talks nonsense, concerns nobody else.
                        let _ = converse(stream, questions).await;
                        drop(place);
                    });
                }
                // Out of descriptors, most likely: let the others finish first.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

async fn converse(stream: UnixStream, questions: mpsc::Sender<Question>) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    if peer != 0 && peer != rustix::process::geteuid().as_raw() {
        return Err(io::Error::from(io::ErrorKind::PermissionDenied));
    }
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::with_capacity(512, read.take(MAX_REQUEST));
    let mut line = String::new();
    loop {
        line.clear();
        read.get_mut().set_limit(MAX_REQUEST);
        if timeout(PATIENCE, read.read_line(&mut line)).await?? == 0 {
            return Ok(());
        }
        let answer = match serde_json::from_str(&line) {
            Ok(request) => answer(request, &questions).await,
            Err(_) => Answer::Refused { reason: "this is not a request that demarc knows".to_owned() },
        };
        let mut text = serde_json::to_string(&answer).map_err(io::Error::other)?;
        text.push('\n');
        timeout(PATIENCE, write.write_all(text.as_bytes())).await??;
        if !line.ends_with('\n') {
            return Ok(());
        }
    }
}

async fn answer(request: Request, questions: &mpsc::Sender<Question>) -> Answer {
    let (sender, receiver) = oneshot::channel();
    let sent = questions.send((request, sender)).await.is_ok();
    match receiver.await {
        Ok(answer) if sent => answer,
        _ => Answer::Refused { reason: "demarc is stopping".to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Reloaded, client};

    fn serve(path: &Path) -> (Arc<Bound>, mpsc::Receiver<Question>) {
        let bound = Arc::new(Bound::bind(path).unwrap());
        let (questions, asked) = mpsc::channel(4);
        let serving = Arc::clone(&bound);
        tokio::spawn(async move { serving.serve(questions).await });
        (bound, asked)
    }

    #[tokio::test]
    async fn a_question_is_answered_by_way_of_a_long_path_too() {
        let root = tempfile::tempdir().unwrap();
        for directory in [root.path().join("short"), root.path().join("x".repeat(100)).join("y".repeat(100))] {
            fs::create_dir_all(&directory).unwrap();
            let path = directory.join("control.sock");
            let (_bound, mut asked) = serve(&path);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            let client = tokio::task::spawn_blocking(move || client::ask(&path, Request::Reload));
            let (request, answer) = asked.recv().await.unwrap();
            assert_eq!(request, Request::Reload);
            answer.send(Answer::Reloaded(Reloaded { upload: true, ..Reloaded::default() })).unwrap();
            let Answer::Reloaded(reloaded) = client.await.unwrap().unwrap() else { panic!("another answer") };
            assert!(reloaded.upload);
        }
    }

    #[tokio::test]
    async fn nonsense_is_refused_and_endless_lines_end() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("control.sock");
        let (_bound, _asked) = serve(&path);
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(b"{\"request\":\"run\"}\n").await.unwrap();
        let mut lines = BufReader::new(stream).lines();
        assert!(lines.next_line().await.unwrap().unwrap().contains("refused"));
        let stream = lines.get_mut().get_mut();
        let _ = stream.write_all(&vec![b'x'; 100_000]).await;
        while let Ok(Some(line)) = lines.next_line().await {
            assert!(line.contains("refused"));
        }
    }

    #[tokio::test]
    async fn without_a_daemon_the_client_says_so() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("control.sock");
        assert!(matches!(client::ask(&path, Request::Status), Err(client::AskError::NotRunning)));
        drop(StdUnixListener::bind(&path).unwrap());
        assert!(matches!(client::ask(&path, Request::Status), Err(client::AskError::NotRunning)));
        drop(Bound::bind(&path).unwrap());
        assert!(!path.exists());
    }
}

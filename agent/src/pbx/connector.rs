//! The way of a source to its server: the collector can make no internet socket, so it asks for each connection.

use std::{
    ffi::OsString,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStringExt,
            net::{SocketAddr, UnixListener as StdUnixListener},
        },
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::{
    io::copy_bidirectional,
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

/// Whoever asks has given up by then.
const PATIENCE: Duration = Duration::from_secs(15);
/// Requests that wait to be passed on.
const WAITING: usize = 16;

/// Makes connections to the servers that the settings name.
#[derive(Clone, Debug)]
pub struct Connector {
    asked: mpsc::Sender<Asked>,
}

/// Somebody wants a connection.
#[derive(Debug)]
pub struct Asked {
    /// Where to, as the settings have it.
    pub address: String,
    /// Who waits for it.
    pub answer: oneshot::Sender<Result<UnixStream, String>>,
}

/// There is no connection; why not, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotConnected(pub String);

impl Connector {
    /// A connector, and where its requests come out.
    pub fn new() -> (Self, mpsc::Receiver<Asked>) {
        let (asked, requests) = mpsc::channel(WAITING);
        (Self { asked }, requests)
    }

    /// Connects to the server of a source, by the address that the settings have for it.
    ///
    /// What comes is no TCP socket: one that is connected could be connected elsewhere. It is one end of a pair, whose other
    /// end the supervisor joins to the server.
    ///
    /// # Errors
    /// When the server cannot be reached, or may not be.
    pub async fn connect(&self, address: &str) -> Result<UnixStream, NotConnected> {
        let (answer, answered) = oneshot::channel();
        let gone = || NotConnected("demarc is ending".to_owned());
        self.asked.send(Asked { address: address.to_owned(), answer }).await.map_err(|_| gone())?;
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok(connected)) => connected.map_err(NotConnected),
            Ok(Err(_)) => Err(gone()),
            Err(_) => Err(NotConnected(format!("no connection to {address} within {} s", PATIENCE.as_secs()))),
        }
    }

    /// Opens a unix socket that leads to that server, for clients which connect by themselves and by path only. Each
    /// connection to it becomes one to the server. `name` is the last part of its path: `PostgreSQL`'s client insists on one.
    ///
    /// The path begins with a zero byte, as Linux wants it for sockets that are no file: there is nothing to clear away,
    /// and no directory where it would have to be made. Only this process gets through.
    ///
    /// # Errors
    /// When the system gives no socket.
    pub fn splice(&self, address: &str, name: &str) -> io::Result<Splice> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let bare = format!("demarc-{}-{number}/{name}", std::process::id());
        let listener = StdUnixListener::bind_addr(&SocketAddr::from_abstract_name(&bare)?)?;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        let task = tokio::spawn(serve(self.clone(), address.to_owned(), listener));
        Ok(Splice { path: PathBuf::from(OsString::from_vec(format!("\0{bare}").into_bytes())), task })
    }
}

/// A unix socket that leads to a server, for as long as this lives.
#[derive(Debug)]
pub struct Splice {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Splice {
    /// What to connect to.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Splice {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves one connection after the other.
async fn serve(connector: Connector, address: String, listener: UnixListener) {
    loop {
        let Ok((mut near, _)) = listener.accept().await else { return };
        let ours = near.peer_cred().is_ok_and(|peer| peer.pid().map(i32::unsigned_abs) == Some(std::process::id()));
        if !ours {
            continue;
        }
        match connector.connect(&address).await {
            // How it ended is for the client to say.
            Ok(mut far) => drop(copy_bidirectional(&mut near, &mut far).await),
            Err(error) => tracing::debug!("{address}: {error}"),
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! A connector without a supervisor.

    use tokio::{net::TcpStream, task::JoinHandle};

    use super::*;

    /// Connects to any address itself. Lives as long as the task does.
    pub(crate) fn direct() -> (Connector, JoinHandle<()>) {
        let (connector, mut requests) = Connector::new();
        let task = tokio::spawn(async move {
            while let Some(Asked { address, answer }) = requests.recv().await {
                let connected = match TcpStream::connect(&address).await {
                    Ok(mut server) => UnixStream::pair().map(|(near, mut far)| {
                        tokio::spawn(async move { copy_bidirectional(&mut far, &mut server).await });
                        near
                    }),
                    Err(error) => Err(error),
                };
                let _ = answer.send(connected.map_err(|error| error.to_string()));
            }
        });
        (connector, task)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn a_splice_leads_to_the_server_each_time_and_ends_with_its_owner() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap().to_string();
        let (connector, task) = testing::direct();
        let splice = connector.splice(&address, ".s.PGSQL.5432").unwrap();
        assert!(splice.path().ends_with(".s.PGSQL.5432"));
        for _ in 0..2 {
            let mut client = UnixStream::connect(splice.path()).await.unwrap();
            client.write_all(b"ping").await.unwrap();
            let (mut accepted, _) = server.accept().await.unwrap();
            let mut heard = [0; 4];
            accepted.read_exact(&mut heard).await.unwrap();
            accepted.write_all(&heard).await.unwrap();
            client.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"ping");
        }
        let path = splice.path().to_owned();
        drop(splice);
        // The task ends when the runtime comes to it.
        let ended = async {
            while UnixStream::connect(&path).await.is_ok() {
                tokio::task::yield_now().await
            }
        };
        tokio::time::timeout(Duration::from_secs(5), ended).await.unwrap();
        task.abort();
    }

    #[tokio::test]
    async fn a_refusal_arrives_in_words() {
        let (connector, mut requests) = Connector::new();
        let answered = tokio::spawn(async move {
            let asked = requests.recv().await.unwrap();
            asked.answer.send(Err(format!("{} is not for you", asked.address))).unwrap();
        });
        assert_eq!(connector.connect("x:1").await.unwrap_err(), NotConnected("x:1 is not for you".to_owned()));
        answered.await.unwrap();
        assert_eq!(connector.connect("x:1").await.unwrap_err(), NotConnected("demarc is ending".to_owned()));
    }
}

//! The way of a source to its server: the collector can make no internet socket, so it asks for each connection.

use std::time::Duration;

use tokio::{
    net::UnixStream,
    sync::{mpsc, oneshot},
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
}

#[cfg(test)]
pub(crate) mod testing {
    //! A connector without a supervisor.

    use tokio::{io::copy_bidirectional, net::TcpStream, task::JoinHandle};

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
    use super::*;

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

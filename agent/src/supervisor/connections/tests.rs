//! What the collector gets when it asks for connections.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::{
    ipc::descriptors::{self, Taker},
    settings::Secret,
};

struct Bench {
    connections: Connections,
    dialled: mpsc::Receiver<Dialled>,
    taker: Taker,
}

impl Bench {
    fn new() -> Self {
        let (sender, dialled) = mpsc::channel(8);
        let mut connections = Connections::new(sender);
        let (giver, theirs) = descriptors::pair().unwrap();
        connections.giver = Some(giver);
        Self { connections, dialled, taker: Taker::new(theirs) }
    }

    async fn ask(&mut self, number: u64, address: &str, pbx: &Pbx) -> Result<UnixStream, String> {
        self.connections.dial(1, number, address.to_owned(), pbx);
        let dialled = self.dialled.recv().await.unwrap();
        match self.connections.hand_over(dialled) {
            ToCollector::Connected { number } => {
                let stream = StdUnixStream::from(self.taker.take(number).unwrap());
                stream.set_nonblocking(true).unwrap();
                Ok(UnixStream::from_std(stream).unwrap())
            }
            ToCollector::NotConnected { reason, .. } => Err(reason),
            other => panic!("{other:?}"),
        }
    }
}

fn with_ami_at(addresses: &[&str]) -> Pbx {
    let source = |address: &&str| Source::Ami {
        address: (*address).to_owned(),
        user: "demarc".to_owned(),
        secret: Secret::new("x"),
        timezone: None,
    };
    Pbx { source: addresses.iter().map(source).collect(), ..Pbx::default() }
}

#[tokio::test]
async fn a_source_gets_its_server_and_no_internet_socket() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap().to_string();
    let mut bench = Bench::new();
    let mut stream = bench.ask(7, &address, &with_ami_at(&[&address])).await.unwrap();
    let (mut accepted, _) = server.accept().await.unwrap();
    accepted.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
    let domain = socket2::SockRef::from(&stream).domain().unwrap();
    assert_eq!(domain, socket2::Domain::UNIX);
    // The end of one side is the end of the other.
    drop(stream);
    assert_eq!(accepted.read(&mut heard).await.unwrap(), 0);
}

#[tokio::test]
async fn nothing_else_is_reached() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap().to_string();
    let mut bench = Bench::new();
    let elsewhere = "192.0.2.1:5038";
    let pbx = with_ami_at(&["127.0.0.1:1", elsewhere, "pbx.example.com:5038"]);
    let refusal = bench.ask(1, &address, &pbx).await.unwrap_err();
    assert_eq!(refusal, "the settings have no source with this address");
    for not_here in [elsewhere, "pbx.example.com:5038"] {
        let refusal = bench.ask(2, not_here, &pbx).await.unwrap_err();
        assert!(refusal.starts_with(&format!("{not_here} is refused; allowed is a port of this machine")), "{refusal}");
    }
    let refusal = bench.ask(3, "127.0.0.1:1", &pbx).await.unwrap_err();
    assert!(refusal.starts_with("127.0.0.1:1 cannot be reached: "), "{refusal}");
    assert!(timeout(Duration::from_millis(50), server.accept()).await.is_err());
}

#[tokio::test]
async fn a_source_that_leaves_the_settings_loses_its_connection_and_others_keep_theirs() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (first, second) = (server.local_addr().unwrap().to_string(), other.local_addr().unwrap().to_string());
    let pbx = with_ami_at(&[&first, &second]);
    let mut bench = Bench::new();
    let mut to_first = bench.ask(1, &first, &pbx).await.unwrap();
    let mut to_second = bench.ask(2, &second, &pbx).await.unwrap();
    let (mut of_second, _) = other.accept().await.unwrap();
    bench.connections.keep_to(&with_ami_at(&[&second]));
    assert_eq!(to_first.read(&mut [0]).await.unwrap(), 0);
    of_second.write_all(b"x").await.unwrap();
    to_second.read_exact(&mut [0]).await.unwrap();
    bench.connections.close();
    assert_eq!(to_second.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn there_is_an_end_to_how_many() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap().to_string();
    let pbx = with_ami_at(&[&address]);
    let mut bench = Bench::new();
    let mut kept = Vec::new();
    for number in 0..MOST as u64 {
        kept.push(bench.ask(number, &address, &pbx).await.unwrap());
    }
    let refusal = bench.ask(99, &address, &pbx).await.unwrap_err();
    assert_eq!(refusal, format!("there are {MOST} connections already"));
}

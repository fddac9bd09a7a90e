//! The task against manager interfaces that a script plays.

use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use super::*;
use crate::pbx::{connector::testing, record::Entry, stream::Said};

const CDR: &[u8] = include_bytes!("../../../../../tests/data/pbx/asterisk16/ami-cdr.raw");
const LIMIT: Duration = Duration::from_secs(30);

struct Bench {
    listener: TcpListener,
    said: mpsc::Receiver<(usize, Said)>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Bench {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = Place {
            address: listener.local_addr().unwrap().to_string(),
            user: "demarc".to_owned(),
            secret: Secret::new("s3cret"),
        };
        let (connector, direct) = testing::direct();
        let (sender, said) = mpsc::channel(64);
        let task = tokio::spawn(run(place, Zone::utc(), connector, Outlet::new(0, sender)));
        Self { listener, said, tasks: vec![direct, task] }
    }

    async fn accept(&self) -> Manager {
        let (stream, _) = timeout(LIMIT, self.listener.accept()).await.unwrap().unwrap();
        Manager { stream, heard: String::new() }
    }

    async fn next(&mut self) -> Said {
        timeout(LIMIT, self.said.recv()).await.unwrap().unwrap().1
    }

    /// The next words about what is wrong.
    async fn trouble(&mut self) -> Option<String> {
        loop {
            if let Said::Trouble(trouble) = self.next().await {
                return trouble;
            }
        }
    }

    /// Stores rows until there are so many.
    async fn rows(&mut self, count: usize) -> Vec<Entry> {
        let mut rows = Vec::new();
        while rows.len() < count {
            if let Said::Portion(portion) = self.next().await {
                rows.extend(portion.rows.entries);
                portion.stored.send(()).unwrap();
            }
        }
        rows
    }
}

/// The other side.
struct Manager {
    stream: TcpStream,
    heard: String,
}

impl Manager {
    async fn say(&mut self, text: impl AsRef<[u8]>) {
        // Whoever means harm does not mind being hung up on.
        let _ = self.stream.write_all(text.as_ref()).await;
    }

    /// The next request's action and id.
    async fn request(&mut self) -> (String, String) {
        let read = async {
            loop {
                if let Some((request, rest)) = self.heard.split_once("\r\n\r\n") {
                    let header = |key: &str| {
                        let line = request.lines().find(|line| line.starts_with(key));
                        line.map(|line| line[key.len()..].to_owned()).unwrap()
                    };
                    let request = (header("Action: "), header("ActionID: "));
                    self.heard = rest.to_owned();
                    return request;
                }
                let mut bytes = [0; 1024];
                let read = self.stream.read(&mut bytes).await.unwrap();
                assert_ne!(read, 0, "it hung up");
                self.heard.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
            }
        };
        timeout(LIMIT, read).await.unwrap()
    }

    async fn answer(&mut self, action: &str, lines: &str) {
        let (asked, id) = self.request().await;
        assert_eq!(asked, action);
        self.say(format!("Response: Success\r\nActionID: {id}\r\n{lines}\r\n")).await;
    }

    async fn let_in(&mut self) {
        self.say("Asterisk Call Manager/5.0.4\r\n").await;
        self.answer("Challenge", "Challenge: 42\r\n").await;
        self.answer("Login", "Message: Authentication accepted\r\n").await;
    }
}

#[tokio::test]
async fn records_and_facts_arrive_and_a_restarted_pbx_is_found_again() {
    let mut bench = Bench::new().await;
    let mut manager = bench.accept().await;
    manager.let_in().await;
    manager.answer("CoreSettings", "AsteriskVersion: 16.28.0\r\n").await;
    manager.say(CDR).await;
    assert_eq!(bench.rows(89).await.len(), 89);
    manager.answer("CoreStatus", "CoreCurrentCalls: 7\r\nCoreProcessedCalls: 1\r\n").await;
    loop {
        if let Said::Live(facts) = bench.next().await
            && facts.active_calls == Some(7)
        {
            assert_eq!(facts.version.as_deref(), Some("16.28.0"));
            break;
        }
    }
    drop(manager);
    assert!(bench.trouble().await.unwrap().starts_with("Asterisk closed the connection"));
    let mut manager = bench.accept().await;
    manager.let_in().await;
    assert_eq!(bench.trouble().await, None);
    manager.say(CDR).await;
    assert_eq!(bench.rows(89).await.len(), 89);
}

#[tokio::test]
async fn hostile_managers_cost_nothing_but_their_connection() {
    let mut bench = Bench::new().await;

    let mut silent_then_gone = bench.accept().await;
    silent_then_gone.say("Asterisk Call Ma").await;
    drop(silent_then_gone);
    assert!(bench.trouble().await.unwrap().starts_with("Asterisk closed the connection"));

    let mut something_else = bench.accept().await;
    something_else.say("220 mail.example.com ESMTP\r\n").await;
    assert!(bench.trouble().await.unwrap().starts_with("what listens there is no manager interface"));

    // A line that never ends, and then a good session behind it.
    let mut endless = bench.accept().await;
    endless.let_in().await;
    endless.say("Event: Cdr\r\nSource: ").await;
    for _ in 0..256 {
        endless.say([b'x'; 4096]).await;
    }
    endless.say("\r\n\r\n").await;
    endless.say(CDR).await;
    // The event of the endless line is no record, and is kept as that.
    let rows = bench.rows(90).await;
    assert_eq!(rows.iter().filter(|entry| entry.row.is_err()).count(), 1);
    drop(endless);
}

#[tokio::test]
async fn a_wrong_password_is_said_and_not_tried_again_at_once() {
    let mut bench = Bench::new().await;
    let mut manager = bench.accept().await;
    manager.say("Asterisk Call Manager/5.0.4\r\n").await;
    manager.answer("Challenge", "Challenge: 42\r\n").await;
    let (action, id) = manager.request().await;
    assert_eq!(action, "Login");
    manager.say(format!("Response: Error\r\nActionID: {id}\r\nMessage: Authentication failed\r\n\r\n")).await;
    assert!(bench.trouble().await.unwrap().contains("must be those of the section [demarc] in manager.conf"));
    assert!(timeout(Duration::from_secs(3), bench.listener.accept()).await.is_err());
}

#[tokio::test]
async fn a_store_that_takes_nothing_does_not_keep_asterisk_waiting() {
    let mut bench = Bench::new().await;
    let mut manager = bench.accept().await;
    manager.let_in().await;
    // Nobody looks at `said`. All of this is read all the same.
    let flood = async {
        for _ in 0..120 {
            manager.stream.write_all(CDR).await.unwrap();
        }
        manager.stream.flush().await.unwrap();
    };
    timeout(LIMIT, flood).await.unwrap();
    manager.answer("CoreSettings", "").await;
    manager.answer("CoreStatus", "CoreCurrentCalls: 0\r\n").await;
    manager.answer("PJSIPShowRegistrationsOutbound", "").await;
    // It asks again once it has read the answer, and so all that came before.
    let (action, _) = manager.request().await;
    assert_eq!(action, "CoreStatus");
    // What could not be kept is counted, and said once somebody listens.
    let mut lost = 0;
    while lost == 0 {
        match bench.next().await {
            Said::Live(facts) => lost = facts.lost,
            Said::Portion(portion) => drop(portion.stored.send(())),
            _ => {}
        }
    }
    let beyond = 120 * 89 - 10_000;
    // The first portion was on its way while the room ran out.
    assert!((beyond - 256..=beyond).contains(&lost), "{lost}");
}

//! An engineer and a supervisor for the tests: both ends of a session, in one process and without confinement.

use std::{
    fs::File,
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use demarc_proto::support::{GRANT_OPTION, Grant, Scope};
use russh::{
    Channel, ChannelMsg, Limits, client,
    keys::{
        Certificate, PrivateKey, PublicKeyOrCertificate,
        ssh_key::{
            LineEnding,
            certificate::{Builder, CertType},
            private::Ed25519Keypair,
        },
    },
};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use super::serve;
use crate::{
    ipc::{Confined, SessionSettings, ToSession, channel},
    settings::Secret,
    support::{SessionReport, boot, cast},
};

pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A key made from one byte.
pub(super) fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

pub(super) const AUTHORITY: u8 = 1;
pub(super) const HOST: u8 = 2;
pub(super) const ENGINEER: u8 = 3;

pub(super) fn grant(scope: Scope) -> Grant {
    let now = super::clock();
    Grant {
        id: "0123456789abcdef".parse().unwrap(),
        site: "site-one".parse().unwrap(),
        scope,
        issued: now,
        until: now + 3600,
        ticket: None,
        engineer: None,
        host_key: key(HOST).public_key().to_openssh().unwrap(),
    }
}

/// What the certificates of a test are made of.
pub(super) struct Made {
    pub(super) authority: PrivateKey,
    pub(super) kind: CertType,
    pub(super) principals: Vec<String>,
    pub(super) options: Vec<(String, String)>,
    pub(super) key_id: String,
    pub(super) from: u64,
    pub(super) until: u64,
}

impl Made {
    /// A certificate that opens the session.
    pub(super) fn good(grant: &Grant) -> Self {
        Self {
            authority: key(AUTHORITY),
            kind: CertType::User,
            principals: vec![grant.site.to_string()],
            options: vec![(GRANT_OPTION.to_owned(), grant.id.to_string())],
            key_id: "anna".to_owned(),
            from: grant.issued - 900,
            until: grant.until,
        }
    }

    pub(super) fn sign(self) -> Certificate {
        self.sign_for(key(ENGINEER).public_key())
    }

    pub(super) fn sign_for(self, key: &russh::keys::PublicKey) -> Certificate {
        let mut builder = Builder::new([7; 16], key.key_data().clone(), self.from, self.until).unwrap();
        builder.cert_type(self.kind).unwrap().key_id(self.key_id).unwrap().serial(42).unwrap();
        if self.principals.is_empty() {
            builder.all_principals_valid().unwrap();
        }
        for principal in self.principals {
            builder.valid_principal(principal).unwrap();
        }
        for (name, value) in self.options {
            builder.critical_option(name, value).unwrap();
        }
        builder.extension("permit-pty", "").unwrap();
        builder.sign(&self.authority).unwrap()
    }
}

/// A session and its supervisor.
pub(super) struct Site {
    pub(super) directory: tempfile::TempDir,
    pub(super) settings: SessionSettings,
    pub(super) limits: Limits,
    pub(super) recording: PathBuf,
}

/// A session that runs.
pub(super) struct Live {
    pub(super) site: Site,
    pub(super) orders: Option<channel::Sender<ToSession>>,
    pub(super) let_in: mpsc::Receiver<String>,
    pub(super) outcome: JoinHandle<SessionReport>,
}

impl Site {
    pub(super) fn new(scope: Scope) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let scratch = directory.path().join("scratch");
        std::fs::create_dir(&scratch).unwrap();
        let grant = grant(scope);
        let settings = SessionSettings {
            session: format!("{}-1", grant.id).parse().unwrap(),
            grant,
            ends: u64::try_from(boot::now().as_millis()).unwrap() + 3_600_000,
            host_key: Secret::new(key(HOST).to_openssh(LineEnding::LF).unwrap().as_str()),
            host_certificate: None,
            authorities: vec![key(AUTHORITY).public_key().to_openssh().unwrap()],
            confined: Confined::default(),
            cgroup: None,
            programs: None,
            scratch,
            shell: "/bin/bash".into(),
            asterisk: "/usr/sbin/asterisk".into(),
            asterisk_conf: None,
            logs: Vec::new(),
            hub: "127.0.0.1:1".to_owned(),
        };
        let recording = directory.path().join("session.cast");
        Self { directory, settings, limits: Limits::default(), recording }
    }

    /// Begins the session: the engineer's end of the connection, and the supervisor's.
    pub(super) fn begin(self) -> (tokio::net::UnixStream, Live) {
        let file = File::options().create(true).append(true).open(&self.recording).unwrap();
        self.begin_with(file)
    }

    pub(super) fn begin_with(self, recording: File) -> (tokio::net::UnixStream, Live) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let near = tokio::net::UnixStream::from_std(near).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let orders = channel::Channel::<(), ToSession>::new(ours).unwrap().split().0;
        let receiver = channel::Channel::<ToSession, ()>::new(theirs).unwrap().split().1;
        let (sender, let_in) = mpsc::channel(1);
        let (settings, limits) = (self.settings.clone(), self.limits.clone());
        let serving = serve(settings, limits, receiver, far, recording, sender);
        let outcome = tokio::spawn(async move { serving.await.unwrap() });
        (near, Live { site: self, orders: Some(orders), let_in, outcome })
    }

    /// Begins the session and lets the engineer in.
    pub(super) async fn enter(self) -> (client::Handle<Client>, Live) {
        let (stream, live) = self.begin();
        let certificate = Made::good(&live.site.settings.grant).sign();
        let mut engineer = connect(stream).await;
        let answer = engineer.authenticate_openssh_cert("anyone", Arc::new(key(ENGINEER)), certificate).await;
        assert!(answer.unwrap().success());
        (engineer, live)
    }
}

impl Live {
    pub(super) async fn report(self) -> (SessionReport, Site) {
        let report = timeout(PATIENCE, self.outcome).await.unwrap().unwrap();
        (report, self.site)
    }

    /// Waits until the recording on the disk satisfies a condition.
    pub(super) async fn until_recorded(&self, wanted: impl Fn(&[cast::Event]) -> bool) {
        let began = Instant::now();
        while !wanted(&self.site.events()) {
            assert!(began.elapsed() < PATIENCE, "the recording never says so: {:#?}", self.site.events());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Site {
    /// The events that are on the disk, in whole lines.
    pub(super) fn events(&self) -> Vec<cast::Event> {
        let text = std::fs::read_to_string(&self.recording).unwrap();
        text.lines().skip(1).filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// All text of one code.
    pub(super) fn text(&self, code: &str) -> String {
        self.events().into_iter().filter(|event| event.1 == code).map(|event| event.2 + "\n").collect()
    }

    pub(super) fn marks(&self) -> String {
        self.text("m")
    }

    /// What was shown, in one piece.
    pub(super) fn shown(&self) -> String {
        self.events().into_iter().filter(|event| event.1 == "o").map(|event| event.2).collect()
    }
}

pub(super) struct Client;

impl client::Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(shown.public_key().key_data() == key(HOST).public_key().key_data())
    }
}

pub(super) async fn connect(stream: tokio::net::UnixStream) -> client::Handle<Client> {
    connect_with(stream, client::Config::default()).await
}

pub(super) async fn connect_with(stream: tokio::net::UnixStream, config: client::Config) -> client::Handle<Client> {
    timeout(PATIENCE, client::connect_stream(Arc::new(config), stream, Client)).await.unwrap().unwrap()
}

/// What came over a channel.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) out: Vec<u8>,
    pub(super) error: Vec<u8>,
    pub(super) status: Option<u32>,
    pub(super) signal: Option<String>,
    pub(super) refused: bool,
}

impl Heard {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    pub(super) fn words(&self) -> String {
        String::from_utf8_lossy(&self.error).into_owned()
    }

    fn take(&mut self, message: ChannelMsg) {
        match message {
            ChannelMsg::Data { data } => self.out.extend_from_slice(&data),
            ChannelMsg::ExtendedData { data, .. } => self.error.extend_from_slice(&data),
            ChannelMsg::ExitStatus { exit_status } => self.status = Some(exit_status),
            ChannelMsg::ExitSignal { signal_name, .. } => self.signal = Some(format!("{signal_name:?}")),
            ChannelMsg::Failure => self.refused = true,
            _ => {}
        }
    }

    /// Listens until the channel is closed.
    pub(super) async fn all(mut channel: Channel<client::Msg>) -> Self {
        let mut heard = Self::default();
        let listening = async {
            while let Some(message) = channel.wait().await {
                heard.take(message);
            }
        };
        timeout(PATIENCE, listening).await.unwrap();
        heard
    }

    /// Listens until the text has come.
    pub(super) async fn until(&mut self, channel: &mut Channel<client::Msg>, text: &str) {
        let listening = async {
            while !self.text().contains(text) {
                self.take(channel.wait().await.unwrap_or_else(|| panic!("closed before {text:?}: {:?}", self.text())));
            }
        };
        let heard = timeout(PATIENCE, listening).await;
        assert!(heard.is_ok(), "{text:?} never came: {:?}", self.text());
    }
}

/// Runs one command.
pub(super) async fn exec(engineer: &client::Handle<Client>, line: &str) -> Heard {
    let channel = engineer.channel_open_session().await.unwrap();
    channel.exec(true, line).await.unwrap();
    Heard::all(channel).await
}

/// Opens a shell at a terminal.
pub(super) async fn shell(engineer: &client::Handle<Client>) -> Channel<client::Msg> {
    let channel = engineer.channel_open_session().await.unwrap();
    channel.request_pty(false, "xterm", 100, 30, 0, 0, &[]).await.unwrap();
    channel.request_shell(true).await.unwrap();
    channel
}

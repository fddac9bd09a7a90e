//! Everybody who is not the PBX: telephones, providers and callers, each played by `sipp`.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    lab::{
        kind::{Caller, REFUSED_BY_ALL, REFUSED_BY_FIRST},
        network::Network,
        packages::Packages,
        scenario::Scenario,
    },
    process::{self, Daemon},
};

/// The extensions whose telephones answer, and who call.
const ANSWERING: [&str; 4] = ["1001", "1002", "1003", "1004"];

/// Where the ends of calls have their addresses: the last part of it.
const PROVIDER_1: u8 = 11;
const PROVIDER_2: u8 = 12;
const TELEPHONES: u8 = 21;
const SPEAKING_TELEPHONE: u8 = 22;
const CALLING_EXTENSION: u8 = 31;

/// The far ends, as long as the laboratory is up.
#[derive(Debug)]
pub(super) struct Phones {
    sipp: PathBuf,
    directory: PathBuf,
    pub(super) endpoints: Vec<Endpoint>,
    _daemons: Vec<Daemon>,
}

/// A telephone or a provider, as the PBX knows it.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) name: &'static str,
    pub(super) at: SocketAddr,
    pub(super) is_trunk: bool,
}

/// A call, or many of the same kind, from the caller's end.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    pub(super) caller: Caller,
    pub(super) name: &'static str,
    pub(super) dials: &'static str,
    pub(super) stays: Duration,
    /// Whether the caller hangs up while it rings.
    pub(super) gives_up: bool,
    pub(super) count: u32,
    /// How many of them begin in a second.
    pub(super) rate: u32,
    /// Whether the caller speaks. Only one such command at a time has the ports for it.
    pub(super) speaks: bool,
}

impl Phones {
    pub(super) fn start(packages: &Packages, directory: &Path, network: &Network, pbx: SocketAddr) -> Self {
        let mut phones = Self {
            sipp: packages.tool("sipp"),
            directory: directory.to_owned(),
            endpoints: Vec::new(),
            _daemons: Vec::new(),
        };
        phones.add(&ANSWERING, network.udp(TELEPHONES), &Scenario::answers());
        let speech = phones.speech();
        fs::write(&speech, [0xd5; 8000]).unwrap();
        phones.add(&["1005"], network.udp(SPEAKING_TELEPHONE), &Scenario::answers_and_speaks(&speech));
        phones.add(&["1006"], network.udp(TELEPHONES), &Scenario::busy());
        phones.add(&["1007", "1008"], network.udp(TELEPHONES), &Scenario::silent());
        phones.add(&["1011"], network.udp(TELEPHONES), &Scenario::asks_and_hands_over("1002"));
        phones.add(&["1012"], network.udp(TELEPHONES), &Scenario::sends_on("1002"));
        phones.add(&["1013"], network.udp(TELEPHONES), &Scenario::sends_on("700"));
        let at = network.udp(TELEPHONES);
        phones.add(&["1014"], at, &Scenario::calls_and_joins("1014", at, pbx, "1002"));
        let first = Scenario::provider(&[REFUSED_BY_FIRST, REFUSED_BY_ALL]);
        phones.add(&["provider1"], network.udp(PROVIDER_1), &first);
        phones.add(&["provider2"], network.udp(PROVIDER_2), &Scenario::provider(&[REFUSED_BY_ALL]));
        phones
    }

    /// A second of what sounds like nothing much, in µ-law.
    fn speech(&self) -> PathBuf {
        self.directory.join("speech.ulaw")
    }

    /// Names that share one telephone, which takes any number of calls at once.
    fn add(&mut self, names: &[&'static str], at: SocketAddr, scenario: &Scenario) {
        let mut command = self.sipp(names[0], at, scenario);
        self._daemons.push(Daemon::spawn(&mut command, &self.directory.join(format!("{}.log", names[0]))));
        let is_trunk = names[0].starts_with("provider");
        self.endpoints.extend(names.iter().map(|&name| Endpoint { name, at, is_trunk }));
    }

    /// Places calls and returns when all of them are over.
    ///
    /// # Panics
    /// When one of them did not go as its kind goes.
    pub(super) fn call(&self, network: &Network, pbx: SocketAddr, calls: &Calls) {
        let (mut command, complaints) = self.caller(network, pbx, calls);
        let seconds = calls.stays.as_secs() + u64::from(calls.count / calls.rate) + 60;
        let code = process::run(&mut command, Duration::from_secs(seconds)).code;
        let complaints = || String::from_utf8_lossy(&fs::read(&complaints).unwrap_or_default()).into_owned();
        assert_eq!(code, Some(0), "calls to {}: {}", calls.dials, complaints());
    }

    /// Places calls beside whatever else goes on.
    pub(super) fn keep_calling(&self, network: &Network, pbx: SocketAddr, calls: &Calls) -> Daemon {
        let (mut command, _) = self.caller(network, pbx, calls);
        Daemon::spawn(&mut command, &self.directory.join(format!("calls-to-{}.log", calls.dials)))
    }

    /// The command, and the file in which it will complain.
    fn caller(&self, network: &Network, pbx: SocketAddr, calls: &Calls) -> (Command, PathBuf) {
        let (number, last) = match calls.caller {
            Caller::Outside => ("447700900001", PROVIDER_1),
            Caller::Extension => ("1003", CALLING_EXTENSION),
        };
        let at = network.udp(last);
        let speech = self.speech();
        let says = calls.speaks.then_some(speech.as_path());
        let scenario = match calls.gives_up {
            true => Scenario::gives_up(calls.name, number, calls.dials, calls.stays),
            false => Scenario::caller(calls.name, number, calls.dials, calls.stays, says),
        };
        let name = format!("caller-{}", at.port());
        let mut command = self.sipp(&name, at, &scenario);
        command
            .args(["-m", &calls.count.to_string(), "-r", &calls.rate.to_string(), "-l", "1000"])
            .arg(pbx.to_string());
        (command, self.directory.join(format!("{name}.errors")))
    }

    fn sipp(&self, name: &str, at: SocketAddr, scenario: &Scenario) -> Command {
        let file = self.directory.join(format!("{name}.xml"));
        scenario.write(&file);
        let ip = at.ip().to_string();
        let mut command = Command::new(&self.sipp);
        command.arg("-sf").arg(&file).args(["-i", &ip, "-p", &at.port().to_string(), "-mi", &ip, "-nostdin"]);
        command.arg("-trace_err").arg("-error_file").arg(self.directory.join(format!("{name}.errors")));
        command.current_dir(&self.directory);
        command
    }
}

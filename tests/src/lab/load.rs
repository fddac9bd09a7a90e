//! Calls at a steady rate, for measurements.

use std::time::{Duration, Instant};

use crate::{
    lab::{Lab, kind::Caller, phones::Calls},
    process::Daemon,
    wait,
};

/// How much to ask of the PBX.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many calls begin each second: inbound, answered after 0.3 s, over after one more second.
    pub calls_per_second: u32,
    /// For how long.
    pub seconds: u32,
    /// How many other calls are bridged all the while.
    pub bridged: u32,
    /// Whether these carry speech in both directions, fifty packets a second each, or silence, which is no packets.
    pub speech: bool,
}

/// What such calls cost.
#[derive(Clone, Copy, Debug)]
pub struct Loaded {
    /// How many calls began and ended, those not counted that were bridged all the while.
    pub calls: u32,
    /// From the first of them to the end of the last.
    pub took: Duration,
    /// Asterisk's processor time in that while, in seconds.
    pub asterisk_seconds: f64,
}

impl Loaded {
    /// Asterisk's processor time for each call, in seconds.
    pub fn asterisk_seconds_per_call(&self) -> f64 {
        self.asterisk_seconds / f64::from(self.calls)
    }
}

/// A load under way. Dropping it ends the far ends, without good-bye.
#[derive(Debug)]
pub struct Loading<'a> {
    lab: &'a Lab,
    load: Load,
    bridged: Option<Daemon>,
    short: Daemon,
    began: Instant,
    asterisk_before: f64,
}

impl<'a> Loading<'a> {
    /// Returns when the bridged calls are up and the others begin.
    pub(super) fn start(lab: &'a Lab, load: Load) -> Self {
        assert!(load.calls_per_second <= 200 && load.seconds <= 300 && load.bridged <= 500, "too much: {load:?}");
        let calls = Calls {
            caller: Caller::Outside,
            name: "Load",
            dials: "442071230001",
            stays: Duration::from_secs(1),
            gives_up: false,
            count: load.calls_per_second * load.seconds,
            rate: load.calls_per_second,
            speaks: false,
        };
        let bridged = (load.bridged > 0).then(|| {
            // They outlast the others, which may be late on a machine that is busy.
            let stays = Duration::from_secs(u64::from(load.seconds) + 120);
            let (dials, speaks) = if load.speech { ("442071230015", true) } else { (calls.dials, false) };
            let bridged = Calls { stays, count: load.bridged, rate: 20, dials, speaks, ..calls.clone() };
            let daemon = lab.phones.keep_calling(&lab.network, lab.pbx.sip, &bridged);
            let limit = Duration::from_secs(u64::from(load.bridged / 20) + 30);
            wait::until_true(limit, "the bridged calls", || lab.bridged() >= load.bridged);
            daemon
        });
        let asterisk_before = lab.pbx.processor_seconds();
        let short = lab.phones.keep_calling(&lab.network, lab.pbx.sip, &calls);
        Self { lab, load, bridged, short, began: Instant::now(), asterisk_before }
    }

    /// Waits for the last call, then ends those that were bridged all the while.
    ///
    /// # Panics
    /// When one of the calls failed.
    pub fn wait(mut self) -> Loaded {
        let limit = Duration::from_secs(u64::from(self.load.seconds) + 60);
        let code = self.short.ended(limit);
        assert_eq!(code, Some(0), "not every call of the load went well");
        let loaded = Loaded {
            calls: self.load.calls_per_second * self.load.seconds,
            took: self.began.elapsed(),
            asterisk_seconds: self.lab.pbx.processor_seconds() - self.asterisk_before,
        };
        if let Some(mut bridged) = self.bridged.take() {
            self.lab.console("channel request hangup all");
            let code = bridged.ended(Duration::from_secs(30));
            assert_eq!(code, Some(0), "not every bridged call went well");
        }
        self.lab.wait_until_quiet();
        loaded
    }
}

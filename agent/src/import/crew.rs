//! A file is read by several threads at once, a stretch each, and put together in order.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use crate::{
    call::CallRules,
    pbx::{
        Zone,
        stretch::{Place, Stretch, StretchReader},
        zone_check::ZoneCheck,
    },
    store::{Closed, Gathered, Gatherer, Packer, Pending},
};

/// About how long a stretch is.
const STRETCH: u64 = if cfg!(test) { 2_000 } else { 2 << 20 };
/// So many stretches more than there are threads are on their way, each with its calls in memory: what the threads have to do
/// while the others are committed.
const SPARE: usize = 12;
/// More threads than these would take more memory than an import may, and have little to do: putting stretches together is
/// for one.
const MOST_THREADS: usize = 8;

/// What is to be read.
pub(super) struct Job<'a> {
    pub(super) file: &'a File,
    /// What is appended later is not read.
    pub(super) length: u64,
    pub(super) zone: &'a Zone,
    pub(super) rules: &'a CallRules,
    /// Seconds since 1970 in UTC.
    pub(super) now: u64,
    /// Rows that ended then or later are passed over.
    pub(super) before: i64,
    pub(super) start: Place,
}

/// What a thread is sent for.
struct Errand {
    /// Which stretch to read.
    number: u64,
    /// Calls to be closed before; their memory is used again.
    ripe: Option<Gathered>,
}

/// What it comes back with.
struct Brought {
    number: u64,
    stretch: Stretch,
    calls: Gathered,
    /// What the ripe calls amount to, if there were any.
    closed: Option<Closed>,
}

/// The threads at work.
pub(super) struct Crew<'a> {
    job: &'a Job<'a>,
    errands: Sender<Errand>,
    results: Receiver<io::Result<Brought>>,
    /// For what must be read once more, in order.
    own: Reader<'a>,
    /// The stretch to be sent for next.
    next: u64,
    /// The stretch to be put to the others next.
    due: u64,
    brought: BTreeMap<u64, Brought>,
    /// How many are on their way with calls to be closed.
    closing: usize,
    place: Place,
    check: ZoneCheck,
}

/// Reads a file with all processors, as `drive` says.
pub(super) fn read<T>(job: &Job<'_>, drive: impl FnOnce(&mut Crew<'_>) -> T) -> T {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    let (errands, inbox) = mpsc::channel();
    let (outbox, results) = mpsc::channel();
    let inbox = Mutex::new(inbox);
    thread::scope(|scope| {
        for _ in 0..threads {
            let (inbox, outbox) = (&inbox, outbox.clone());
            scope.spawn(move || work(job, inbox, &outbox));
        }
        drop(outbox);
        let mut crew = Crew {
            job,
            errands,
            results,
            own: Reader::new(job),
            next: 0,
            due: 0,
            brought: BTreeMap::new(),
            closing: 0,
            place: job.start,
            check: ZoneCheck::default(),
        };
        for _ in 0..threads + SPARE {
            crew.send(None);
        }
        // The threads end when the crew, and the sender in it, is gone.
        drive(&mut crew)
    })
}

fn work(job: &Job<'_>, inbox: &Mutex<Receiver<Errand>>, outbox: &Sender<io::Result<Brought>>) {
    let mut reader = Reader::new(job);
    loop {
        let errand = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Errand { number, ripe }) = errand else { return };
        if outbox.send(reader.run(number, ripe)).is_err() {
            return;
        }
    }
}

impl Crew<'_> {
    /// Adds the next stretch to what is pending. Says whether the file has ended.
    pub(super) fn advance(&mut self, pending: &mut Pending) -> io::Result<bool> {
        let Brought { mut stretch, mut calls, .. } = loop {
            match self.brought.remove(&self.due) {
                Some(brought) => break brought,
                None => self.receive(pending)?,
            }
        };
        if !stretch.follows(&self.place) {
            // The thread will not tell their names again.
            pending.note_names(&mut calls);
            let until = self.own.end_of(self.due)?;
            stretch = self.own.read(self.place, until, &mut calls)?;
        }
        self.due += 1;
        self.place = stretch.to;
        self.check.add(&stretch.check);
        pending.stretch(calls);
        match pending.ripe() {
            Some(mut ripe) if self.next == self.own.stretches() => pending.closed(ripe.close(&mut self.own.packer)),
            ripe => self.send(ripe),
        }
        Ok(stretch.ended || self.due == self.own.stretches())
    }

    /// Sends for the next stretch, if there is one, and for ripe calls to be closed.
    fn send(&mut self, ripe: Option<Gathered>) {
        if self.next < self.own.stretches() {
            self.closing += usize::from(ripe.is_some());
            // Nobody hears it only where a thread has panicked, and then nothing will be received either.
            let _ = self.errands.send(Errand { number: self.next, ripe });
            self.next += 1;
        }
    }

    fn receive(&mut self, pending: &mut Pending) -> io::Result<()> {
        let mut brought = self.results.recv().map_err(|_| io::Error::other("a reading thread has ended"))??;
        if let Some(closed) = brought.closed.take() {
            self.closing -= 1;
            pending.closed(closed);
        }
        self.brought.insert(brought.number, brought);
        Ok(())
    }

    /// Waits until all calls that were given away to be closed are.
    pub(super) fn come_back(&mut self, pending: &mut Pending) -> io::Result<()> {
        while self.closing > 0 {
            self.receive(pending)?;
        }
        Ok(())
    }

    /// How far the file was read.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// What looks wrong with the zone, in words.
    pub(super) fn trouble(&self) -> Option<String> {
        self.check.trouble(self.job.zone)
    }
}

/// What one thread reads with.
struct Reader<'a> {
    job: &'a Job<'a>,
    rows: StretchReader<'a>,
    gatherer: Gatherer<'a>,
    packer: Packer,
}

impl<'a> Reader<'a> {
    fn new(job: &'a Job<'a>) -> Self {
        Self {
            job,
            rows: StretchReader::new(job.file, job.length, job.zone.clone()),
            gatherer: Gatherer::new(job.rules, job.now).before(job.before),
            packer: Packer::default(),
        }
    }

    fn run(&mut self, number: u64, ripe: Option<Gathered>) -> io::Result<Brought> {
        let (mut calls, mut closed) = (Gathered::default(), None);
        if let Some(mut ripe) = ripe {
            closed = Some(ripe.close(&mut self.packer));
            calls = ripe;
        }
        let from = match number {
            0 => self.job.start,
            _ => Place::unknown(self.end_of(number - 1)?),
        };
        let until = self.end_of(number)?;
        let stretch = self.read(from, until, &mut calls)?;
        Ok(Brought { number, stretch, calls, closed })
    }

    fn read(&mut self, from: Place, until: u64, calls: &mut Gathered) -> io::Result<Stretch> {
        calls.clear();
        let stretch = self.rows.read(from, until, &mut self.gatherer.gather(calls))?;
        self.gatherer.end(calls);
        Ok(stretch)
    }

    /// How many stretches there are.
    fn stretches(&self) -> u64 {
        (self.job.length - self.job.start.offset).div_ceil(STRETCH)
    }

    /// Where a stretch ends, and the next one begins: the same for whoever asks.
    fn end_of(&mut self, number: u64) -> io::Result<u64> {
        if number + 1 == self.stretches() {
            return Ok(self.job.length);
        }
        self.rows.foothold(self.job.start.offset + (number + 1) * STRETCH)
    }
}

#[cfg(test)]
mod tests;

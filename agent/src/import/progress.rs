//! How far an import is, on the standard error stream: a bar on a terminal, else a line now and then.

use std::{
    cell::{Cell, RefCell},
    io::{self, IsTerminal, Write},
    path::Path,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// How far the import of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the file behind us.
    pub bytes: u64,
    /// Rows read.
    pub rows: u64,
}

/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows the progress of all files.
pub struct Display {
    bar: Option<ProgressBar>,
    bytes: u64,
    before: Cell<Progress>,
    current: Cell<Progress>,
    name: RefCell<String>,
    begun: Instant,
    last_line: Cell<Instant>,
}

impl Display {
    /// For that many bytes in all.
    pub fn new(bytes: u64) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let template = "{prefix} {wide_bar} {percent:>3}% {msg} {eta} left";
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(bytes).with_style(style)
        });
        let none = || Cell::new(Progress { bytes: 0, rows: 0 });
        let begun = Instant::now();
        let name = RefCell::new(String::new());
        Self { bar, bytes, before: none(), current: none(), name, begun, last_line: Cell::new(begun) }
    }

    /// Goes on to that file.
    pub fn begin(&self, path: &Path) {
        let (before, current) = (self.before.get(), self.current.get());
        self.before.set(Progress { bytes: before.bytes + current.bytes, rows: before.rows + current.rows });
        self.current.set(Progress { bytes: 0, rows: 0 });
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        if let Some(bar) = &self.bar {
            bar.set_prefix(name.clone());
        }
        self.name.replace(name);
    }

    /// Shows how far the file is.
    pub fn show(&self, progress: Progress) {
        self.current.set(progress);
        let bytes = self.before.get().bytes + progress.bytes;
        let rows = self.before.get().rows + progress.rows;
        let elapsed = self.begun.elapsed().as_secs_f64().max(0.001);
        let speed = rows as f64 / elapsed;
        match &self.bar {
            Some(bar) => {
                bar.set_position(bytes);
                bar.set_message(format!("{rows} rows, {speed:.0}/s,"));
            }
            None if self.last_line.get().elapsed() >= LINE_EVERY => {
                self.last_line.set(Instant::now());
                let left = self.bytes.saturating_sub(bytes) as f64 * elapsed / bytes.max(1) as f64;
                let name = self.name.borrow();
                let _ = writeln!(io::stderr(), "{name}: {rows} rows, {speed:.0} rows/s, {left:.0} s left");
            }
            None => {}
        }
    }

    /// Says something without disturbing the bar.
    pub fn warn(&self, text: &str) {
        let line = || {
            let _ = writeln!(io::stderr(), "demarc: {text}");
        };
        match &self.bar {
            Some(bar) => bar.suspend(line),
            None => line(),
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

//! A real browser: Debian's Chromium without a window, by way of `deploy/lab/chromium`.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
    time::Duration,
};

use crate::process;

/// How long a page may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// It runs as root here, speaks to nobody but the page, and keeps nothing.
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // Its clock stands still while it waits for the network, so that this is no time that a slow machine could exceed.
    "--virtual-time-budget=20000",
];

/// Opens a page and gives what became of it, as HTML, once its scripts have run. Fetches the browser where that was not
/// done before: a missing part is a failure, not a reason to skip.
pub fn dom(url: &str) -> String {
    run(&["--dump-dom", url])
}

/// Prints a page, or a file, as PDF, and says on how many sheets.
pub fn sheets(url: &str) -> usize {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("printed.pdf");
    run(&["--no-pdf-header-footer", &format!("--print-to-pdf={}", file.display()), url]);
    let printed = std::fs::read(file).unwrap();
    let mark = b"/Type /Page\n";
    printed.windows(mark.len()).filter(|bytes| bytes == mark).count()
}

fn run(arguments: &[&str]) -> String {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/lab/chromium");
        PathBuf::from(process::run(Command::new(script).arg("fetch"), Duration::from_secs(600)).ok().trim())
    });
    let profile = tempfile::Builder::new().prefix("demarc-browser-").tempdir().unwrap();
    let mut browser = Command::new(&*PROGRAM);
    browser.args(FLAGS).arg(format!("--user-data-dir={}", profile.path().display())).args(arguments);
    process::run(&mut browser, PATIENCE).ok()
}

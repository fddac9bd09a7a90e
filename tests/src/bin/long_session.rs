//! Sits through a support session of two hours: `make soak` builds and runs it.
//!
//! `long_session [MINUTES]`. One grant for a shell in which something is typed now and then, one for a forwarded port through
//! which almost three gibibytes go each way: keys are exchanged anew by time (an hour) and by volume (a gibibyte), the
//! customer's tunnel is in use for something else, and the end comes by the grant's clock, to the second. It prints a line
//! every sixty exchanges and fails by panic, with the reason.

// A panic is how it fails: the message and the line are what its reader needs.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use demarc_tests::{
    desk::{self, Wish, allow, listed, recorded},
    machine,
    process::Daemon,
    programs,
    site::{LIMIT, Setup, Site},
    terminal::Terminal,
    traffic::Traffic,
    wait,
};

/// What comes through the forward at a time.
const CHUNK: usize = 2 << 20;
/// So many times, however long the session: every five seconds of two hours.
const CHUNKS: u32 = 1440;
/// The server's own limits, in one direction, beyond which it must have exchanged keys (`agent/src/session/config.rs`).
const REKEY_AFTER: Duration = Duration::from_secs(3600);
const REKEY_BYTES: usize = 1 << 30;
/// How long after the grant's last second a session may be seen to end.
const GRACE: Duration = Duration::from_secs(2);

fn main() {
    let minutes: u64 = std::env::args().nth(1).map_or(120, |word| word.parse().expect("long_session [MINUTES]"));
    let length = Duration::from_secs(minutes * 60);
    let (hub, desk, mut site) = desk::opened(&Setup::default());
    let port = mirror();
    let lasts = format!("{minutes}m");
    // The certificate must end within the grant.
    let validity = format!("-15m:+{}m", minutes.saturating_sub(1));

    let asked = Instant::now();
    let shell = allow(&site, &lasts, "shell");
    let granted = Instant::now();
    let key = desk.engineer("ada", &Wish { validity: validity.clone(), ..Wish::proper(&shell) });
    // Two grants are alive, and the key decides nothing before it is seen: the grant is named.
    let connect = |grant: &str| {
        format!("{} --config {} connect --grant {grant} %h", programs::hub().display(), hub.config().display())
    };
    let mut ssh = desk.ssh_by(&connect(&shell), &key);
    ssh.arg("-v").arg("-E").arg(desk.path("shell.log")).arg("site-one").env("TERM", "xterm");
    let mut terminal = Terminal::start(&mut ssh);

    let forward = allow(&site, &lasts, &format!("forward={port}"));
    let key = desk.engineer("bob", &Wish { validity, ..Wish::proper(&forward) });
    let near = machine::free_port();
    let open = format!("{near}:127.0.0.1:{port}");
    let mut ssh = desk.ssh_by(&connect(&forward), &key);
    ssh.args(["-v", "-N", "-L", &open, "site-one"]);
    let mut tunnel = Daemon::spawn(&mut ssh, &desk.path("forward.log"));
    let mut stream = wait::until(LIMIT, "the forward", || TcpStream::connect(("127.0.0.1", near)).ok());
    stream.set_read_timeout(Some(LIMIT)).unwrap();

    let mut traffic = Traffic::new(7);
    let (mut line, mut moved, mut slowest) = (0u64, 0usize, Duration::ZERO);
    let mut memory = Vec::new();
    let mut next = Instant::now();
    // What is typed in the last seconds may be cut off by the end that is waited for below.
    while asked.elapsed() + Duration::from_secs(15) < length {
        if line % 2 == 0 {
            let typed = Instant::now();
            terminal.paste(&format!("echo line-$(({line} + 0)).\n"));
            terminal.expect(&format!("line-{line}."), LIMIT);
            slowest = slowest.max(typed.elapsed());
        }
        echoed(&mut stream, line);
        moved += CHUNK;
        if line % 12 == 0 {
            traffic.feed(&site, 12);
        }
        if line % 60 == 0 {
            let resident: u64 = site.roles("session").iter().map(|&pid| resident_kib(pid)).sum();
            memory.push(resident);
            println!(
                "{:>4} min: {line} exchanges, {} MiB each way, slowest line {} ms, both workers {:.1} MiB, keys {} and {} times",
                asked.elapsed().as_secs() / 60,
                moved >> 20,
                slowest.as_millis(),
                resident as f64 / 1024.0,
                exchanges(&fs::read_to_string(desk.path("shell.log")).unwrap()),
                exchanges(&tunnel.log()),
            );
        }
        line += 1;
        next += length / CHUNKS;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let status = terminal.ended(Duration::from_secs(60));
    let (longest, shortest) = (asked.elapsed(), granted.elapsed());
    assert!(!status.success(), "the shell ended well, and nobody said exit");
    assert!(
        longest >= length && shortest <= length + GRACE,
        "a grant of {length:?} ended after {shortest:?} to {longest:?}"
    );
    assert!(tunnel.ended(Duration::from_secs(60)).is_some());

    wait::until_true(LIMIT, "both sessions to be over", || over(&site) == 2);
    let sessions = listed(&site)["sessions"].as_array().unwrap().clone();
    for session in &sessions {
        assert_eq!(session["end"], "expired", "{session}");
    }
    let of = |scope: &str| sessions.iter().find(|s| s["scope"].as_str().unwrap().starts_with(scope)).unwrap();
    let shown = recorded(&site, of("shell")["session"].as_str().unwrap(), "o");
    for number in (0..line).step_by(2) {
        assert!(shown.contains(&format!("line-{number}.")), "line {number} is not in the recording");
    }
    let report = &of("forward")["report"];
    assert_eq!((&report["bytes_in"], &report["bytes_out"]), (&moved.into(), &moved.into()), "{report}");
    site.run(&["support", "verify"]).ok();
    site.run(&["sent", "verify"]).ok();

    let by_time = length.as_secs() / (REKEY_AFTER.as_secs() + 60);
    let by_volume = moved / REKEY_BYTES;
    let (in_shell, in_forward) =
        (exchanges(&fs::read_to_string(desk.path("shell.log")).unwrap()), exchanges(&tunnel.log()));
    // The first of each stands at the beginning of the session.
    assert!(in_shell as u64 > by_time, "{in_shell} exchanges of keys in the shell's session");
    assert!(in_forward > by_volume, "{in_forward} exchanges of keys in the forward's session");
    // Of a leak of a page for each exchange there would be more.
    let grown = memory.last().unwrap().saturating_sub(memory[memory.len() / 4]);
    assert!(grown < 2048, "the workers grew by {grown} KiB: {memory:?}");
    println!(
        "sat through: {} min, {line} exchanges, {} MiB each way; keys {in_shell} and {in_forward} times; the end came {:.2} s \
         after the grant's last second at most; memory {memory:?} KiB",
        minutes,
        moved >> 20,
        (longest.saturating_sub(length)).as_secs_f64()
    );
    site.stop();
}

/// A program on the site's loopback that sends back what it gets.
fn mirror() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || std::io::copy(&mut stream.try_clone().unwrap(), &mut stream));
        }
    });
    port
}

/// Sends a chunk and gets the same back.
fn echoed(stream: &mut TcpStream, seed: u64) {
    let sent: Vec<u8> = (0..CHUNK as u64).map(|place| (place.wrapping_mul(seed | 1) >> 5) as u8).collect();
    let (mut writing, bytes) = (stream.try_clone().unwrap(), sent.clone());
    let writer = std::thread::spawn(move || writing.write_all(&bytes).unwrap());
    let mut got = vec![0; CHUNK];
    stream.read_exact(&mut got).unwrap();
    writer.join().unwrap();
    assert!(got == sent, "chunk {seed} came back changed");
}

/// How often keys were exchanged, by the client's own messages.
fn exchanges(log: &str) -> usize {
    log.matches("SSH2_MSG_NEWKEYS received").count()
}

fn over(site: &Site) -> usize {
    let listed = listed(site);
    listed["sessions"].as_array().unwrap().iter().filter(|session| !session["end"].is_null()).count()
}

fn resident_kib(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

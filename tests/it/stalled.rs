//! Sessions side by side in one tunnel: one whose bytes nobody takes holds up no other.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use demarc_tests::{
    desk::{self, Wish, allow, listed},
    machine,
    site::{LIMIT, Setup},
    wait,
};

/// How long an echo may take on a busy machine; behind a stalled stream it would take as long as the grant lives.
const SOON: Duration = Duration::from_secs(10);
/// How long nothing has to move before it counts as stuck.
const REST: Duration = Duration::from_millis(700);

/// Waits until a counter counts no further; gives where it stands.
fn stuck(counter: &AtomicU64) -> u64 {
    wait::until(LIMIT, "the forward to be stuck", || {
        let before = counter.load(SeqCst);
        std::thread::sleep(REST);
        (before > 0 && before == counter.load(SeqCst)).then_some(before)
    })
}

#[test]
fn a_forward_that_nobody_reads_leaves_a_shell_alive() {
    let (hub, desk, site) = desk::opened(&Setup::default());
    let page = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = page.local_addr().unwrap().port();
    let said = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&said);
    std::thread::spawn(move || {
        // It says more than anybody takes, and reads nothing itself.
        let (mut stream, _) = page.accept().unwrap();
        while let Ok(count) = stream.write(&[b'x'; 65_536]) {
            counter.fetch_add(count as u64, SeqCst);
        }
    });
    let forwarding = allow(&site, "5m", &format!("forward={port}"));
    let key = desk.engineer("ada", &Wish::proper(&forwarding));
    let near = machine::free_port();
    let forward = format!("{near}:127.0.0.1:{port}");
    let _forwarding = desk.start(&hub, &key, &["-N", "-L", &forward, "site-one"], "forward.log");
    let mut client = wait::until(LIMIT, "ssh to listen", || TcpStream::connect(("127.0.0.1", near)).ok());
    client.read_exact(&mut [0; 1]).unwrap();
    let flood = client.try_clone().unwrap();
    let flooded = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&flooded);
    std::thread::spawn(move || {
        let mut flood = flood;
        while let Ok(count) = flood.write(&[b'y'; 65_536]) {
            counter.fetch_add(count as u64, SeqCst);
        }
    });
    let (stood, _) = (stuck(&said), stuck(&flooded));

    let shell = allow(&site, "5m", "shell");
    let key = desk.engineer("bob", &Wish::proper(&shell));
    let mut ssh = desk.ssh(&hub, &key);
    let mut ssh = ssh
        .args(["site-one", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut input, mut output) = (ssh.stdin.take().unwrap(), BufReader::new(ssh.stdout.take().unwrap()));
    let mut echo = |text: &str| {
        let began = Instant::now();
        input.write_all(format!("{text}\n").as_bytes()).unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), text);
        began.elapsed()
    };
    // The first has the whole way in before it.
    echo("begin");
    let mut slowest = Duration::ZERO;
    for number in 0..100 {
        slowest = slowest.max(echo(&format!("line {number}")));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(slowest < SOON, "{slowest:?}");
    // And the forward was stuck all the while: had it been given up, it would have stopped nobody.
    assert_eq!(listed(&site)["running"].as_array().unwrap().len(), 2);
    assert!(said.load(SeqCst) <= stood + 65_536, "it moved again");
    drop(input);
    assert!(ssh.wait().unwrap().success());
}

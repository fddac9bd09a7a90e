//! Runs a program and says what it cost, as the kernel counted it.
//!
//! `measure REPORT PROGRAM ARGUMENT…` writes a JSON object to REPORT: wall time, processor time, peak memory,
//! exit code. It is a program of its own because a child's peak memory includes what its parent held when it
//! was started, and this parent holds next to nothing.

use std::{os::unix::process::ExitStatusExt, process::Command, time::Instant};

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let mut words = std::env::args_os().skip(1);
    let report = words.next().context("measure REPORT PROGRAM ARGUMENT…")?;
    let program = words.next().context("measure REPORT PROGRAM ARGUMENT…")?;
    let started = Instant::now();
    let child = Command::new(&program)
        .args(words)
        .spawn()
        .with_context(|| format!("cannot start {}", program.to_string_lossy()))?;
    let (status, usage) = wait(child.id())?;
    let wall = started.elapsed();
    let status = std::process::ExitStatus::from_raw(status);
    let json = serde_json::json!({
        "wall_seconds": wall.as_secs_f64(),
        "user_seconds": seconds(usage.ru_utime),
        "system_seconds": seconds(usage.ru_stime),
        "peak_kib": usage.ru_maxrss,
        "exit": status.code(),
    });
    std::fs::write(&report, json.to_string()).with_context(|| format!("cannot write {}", report.to_string_lossy()))?;
    std::process::exit(status.code().unwrap_or(1))
}

fn wait(child: u32) -> anyhow::Result<(i32, libc::rusage)> {
    let mut status = 0;
    // SAFETY: rusage is plain integers, for which all zeroes is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live variables of the types that wait4 fills.
    let waited = unsafe { libc::wait4(child as libc::pid_t, &mut status, 0, &mut usage) };
    if waited < 0 {
        return Err(std::io::Error::last_os_error()).context("cannot wait for the program");
    }
    Ok((status, usage))
}

fn seconds(time: libc::timeval) -> f64 {
    time.tv_sec as f64 + time.tv_usec as f64 / 1e6
}

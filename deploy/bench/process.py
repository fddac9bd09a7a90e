"""Starts, watches and stops processes."""

import contextlib
import json
import os
import pathlib
import resource
import signal
import socket
import subprocess
import sys
import time

import programs

_running = []


def raise_file_limit():
    """Thousands of tunnels are thousands of descriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextlib.contextmanager
def everything_stopped_at_the_end():
    def interrupted(*_):
        sys.exit(130)

    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGHUP, interrupted)
    try:
        yield
    finally:
        for child in list(reversed(_running)):
            stop(child)


def start(command, log, **options):
    """Starts a process whose output goes to a file."""
    with open(log, "ab") as out:
        options.setdefault("stdout", out)
        child = subprocess.Popen([str(word) for word in command], stderr=out, **options)
    _running.append(child)
    return child


def stop(child, with_signal=signal.SIGTERM):
    """Ends a process that `start` started, and waits until it is gone."""
    if child.poll() is None:
        child.send_signal(with_signal)
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    if child in _running:
        _running.remove(child)


def run(command, **options):
    """Runs a program to its end and gives its standard output."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stderr or done.stdout}")
    return done.stdout


def measured(command, log):
    """Runs a program to its end and gives what it cost, as the kernel counted it."""
    report = programs.WORK / "measure.json"
    with open(log, "wb") as out:
        words = [programs.MEASURE, report, *command]
        done = subprocess.run([str(word) for word in words], stdout=out, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} failed: {pathlib.Path(log).read_text()[-2000:]}")
    return json.loads(report.read_text())


def family(pid):
    """A process and all its descendants."""
    pids = [pid]
    for known in pids:
        with contextlib.suppress(OSError):
            for task in pathlib.Path(f"/proc/{known}/task").iterdir():
                pids += [int(word) for word in (task / "children").read_text().split()]
    return pids


def pss_kib(pids):
    """Memory that belongs to these processes, pages shared with others by their part."""
    return _smaps(pids, "Pss:")


def rss_kib(pids):
    return _smaps(pids, "Rss:")


def _smaps(pids, key):
    total = 0
    for pid in pids:
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(key):
                total += int(line.split()[1])
    return total


def processor_ns(pids):
    """Processor time of all threads, in nanoseconds: clock ticks are too coarse for an idle process."""
    total = 0
    for pid in pids:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, what, seconds=30, every=0.01):
    """Waits for a condition; gives how long that took."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > seconds:
            raise RuntimeError(f"{what}: not within {seconds} s")
        time.sleep(every)
    return time.monotonic() - started


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

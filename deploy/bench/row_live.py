"""Live: from a call record on the disk to its call in the committed rollups, and what that costs the processor."""

import sqlite3
import threading
import time

import agent
import process
import programs
import table

SECONDS = 3 if programs.QUICK else 20
# Calls a second; the last rate has the aims.
RATES = [10, 100, 500]
AIM_MS = 250
# A fiftieth of the 6 ms that Asterisk spends on a call.
AIM_US = 120
# How often the store is asked what it holds, in seconds: times are no finer than this.
LOOK_EVERY = 0.001


def measure():
    here = agent.Agent(programs.WORK / "live").start()
    store = here.home / "state" / "collector" / "calls.db"
    process.wait_until(store.exists, "the store is there")
    process.wait_until(lambda: _calls(store) == 0, "the store can be read")
    # What a start costs is over by then.
    time.sleep(5)
    results = []
    for rate in RATES:
        results += _at(here, store, rate)
    here.stop()
    return results


def _at(here, store, rate):
    before = _calls(store)
    count = rate * SECONDS
    written = []
    seen = []
    looker = threading.Thread(target=_look, args=(store, before, count, seen))
    looker.start()
    pids = here.pids()
    spent = process.processor_ns(pids)
    started = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, started + number / rate - time.monotonic()))
        here.add_calls(1, before + number)
        written.append(time.monotonic())
    looker.join()
    spent = process.processor_ns(pids) - spent
    if len(seen) < count:
        raise RuntimeError(f"{len(seen)} of {count} calls came into the store")
    waits = sorted((there - wrote) * 1000 for wrote, there in zip(written, seen))
    p50, p99, slowest = (waits[min(count - 1, count * part // 100)] for part in (50, 99, 100))
    per_call = spent / count / 1000
    print(f"   {rate}/s: p50 {p50:.1f} ms, p99 {p99:.1f} ms, slowest {slowest:.1f} ms, {per_call:.0f} us a call", flush=True)
    last = rate == RATES[-1]
    figures = {"p50_ms": p50, "p99_ms": p99, "slowest_ms": slowest, "us_per_call": per_call, "calls": count}
    asked = "one line at a time, written and closed, as Asterisk does it; the store is asked every millisecond"
    return [
        table.row(
            f"live, {rate} calls a second: from the line on the disk to the committed rollup, p99",
            f"{AIM_MS} ms",
            ratio=AIM_MS / p99,
            words="time",
            demarc=f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, slowest {slowest:.1f} ms",
            theirs="(the aim)",
            aim=1,
            asked=asked,
            figures=figures,
        ),
        table.row(
            f"live, {rate} calls a second: processor time of all processes for a call",
            f"{AIM_US} us",
            ratio=AIM_US / per_call,
            words="processor time",
            demarc=f"{per_call:.0f} us",
            theirs="(a fiftieth of what Asterisk takes)",
            # At a few calls a second each one is a transaction of its own, and that is what it costs.
            aim=1 if last else None,
            asked=asked,
            figures=figures,
        ),
    ]


def _calls(store):
    try:
        with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as connection:
            return connection.execute("SELECT calls FROM totals").fetchone()[0]
    except sqlite3.OperationalError:
        return None


def _look(store, before, count, seen):
    """Notes when each call was there."""
    connection = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    give_up = time.monotonic() + 2 * SECONDS + 30
    while len(seen) < count and time.monotonic() < give_up:
        there = connection.execute("SELECT calls FROM totals").fetchone()[0] - before
        now = time.monotonic()
        seen += [now] * (there - len(seen))
        time.sleep(LOOK_EVERY)
    connection.close()

"""Toggle to silence: from `demarc stats off` (or `tunnel off`) until it returned, and until the last byte left."""

import statistics
import time

import agent as agents
import hub as hubs
import process
import programs
import table
from relay import Relay

# Windows close once a minute, so many agents at once give many toggles of a report that is on its way.
AGENTS = 3 if programs.QUICK else 30
AIM_MS = 100
# How long to listen afterwards for a byte that must not come.
AFTERWARDS = 1.0


def measure():
    hub = hubs.Hub(programs.WORK / "silence-hub").start()
    relays = [Relay(hub.port) for _ in range(AGENTS)]
    fleet = []
    tokens = hub.tokens([f"quiet-{number}" for number in range(AGENTS)])
    for number, (relay, token) in enumerate(zip(relays, tokens)):
        agent = agents.Agent(programs.WORK / "silence" / str(number), hub=relay.address, window="1m")
        agent.command("enroll", token)
        fleet.append(agent.start())
    _wait_connected(fleet)
    samples = {}
    try:
        for number, agent in enumerate(fleet):
            agent.add_calls(40, number)
            relays[number].hold_answers = True
        for number, relay in enumerate(relays):
            if not relay.report_seen.wait(240):
                raise RuntimeError(f"agent {number} sent no report; see {fleet[number].home / 'agent.log'}")
        samples["a report on its way: stats off"] = _toggle(fleet, relays, hub, ("stats", "off"), "stats")
        for relay in relays:
            relay.hold_answers = False
        for agent in fleet:
            agent.command("stats", "on")
        _wait_connected(fleet)
        time.sleep(2)
        samples["idle: stats off"] = _toggle(fleet, relays, hub, ("stats", "off"), "stats")
        samples["idle: tunnel off"] = _toggle(fleet, relays, hub, ("tunnel", "off"), "tunnel")
    finally:
        for agent in fleet:
            agent.stop()
        for relay in relays:
            relay.close()
        hub.stop()
    return [_row(name, values) for name, values in samples.items()]


def _wait_connected(fleet):
    for agent in fleet:
        process.wait_until(agent.connected, "a tunnel", seconds=60, every=0.1)


def _toggle(fleet, relays, hub, words, kind):
    """One toggle an agent, one after the other."""
    samples = []
    for number, (agent, relay) in enumerate(zip(fleet, relays)):
        known = relay.connections
        reports = _reports(hub, number)
        began, returned = agent.toggle(*words)
        time.sleep(AFTERWARDS)
        last = relay.last_byte(began, known)
        # With uploads off the tunnel may come back, on a new connection and without reports; with the tunnel off
        # nothing may come at all.
        late = relay.bytes_between(returned, time.monotonic(), 0 if kind == "tunnel" else known)
        if kind == "tunnel" and late:
            raise RuntimeError(f"{late} bytes left after `tunnel off` had returned")
        if began + last > returned + 0.005 or _reports(hub, number) > reports:
            raise RuntimeError(f"something left after `{' '.join(words)}` had returned: {last:.3f} s")
        samples.append({"returned_ms": (returned - began) * 1000, "last_byte_ms": last * 1000})
    return samples


def _reports(hub, number):
    return hub.command("show", f"quiet-{number}", "--json").count('"window"')


def _row(name, samples):
    returned = sorted(sample["returned_ms"] for sample in samples)
    last = sorted(sample["last_byte_ms"] for sample in samples)
    # The 99th of a hundred; with thirty samples that is the slowest.
    slowest = returned[min(len(returned) - 1, int(len(returned) * 0.99))]
    return table.row(
        f"toggle to silence, {len(samples)} times, {name}",
        f"{AIM_MS} ms",
        ratio=AIM_MS / slowest,
        words="time",
        demarc=f"returned after {statistics.median(returned):.1f} ms (median), {slowest:.1f} ms (slowest);"
        f" last byte after {statistics.median(last):.1f} ms (median), {last[-1]:.1f} ms (latest)",
        theirs="(the aim)",
        aim=1,
        asked="",
        figures=samples,
    )

"""Tunnels: what an idle one costs the hub, and how fast a whole fleet is back after the hub was lost."""

import contextlib
import pathlib
import statistics
import time

import fleet
import peers
import process
import programs
import table
from rathole import Rathole

COUNT = 200 if programs.QUICK else 2000
MANY = None if programs.QUICK else 10_000
ROUNDS = 1 if programs.QUICK else 3
SETTLE = 2 if programs.QUICK else 15


def measure():
    ours, ours_many, waves = _demarc()
    program, why_not = peers.rathole()
    memory = f"memory of an idle tunnel on the hub, {COUNT} tunnels"
    reconnect = f"whole fleet reconnects: {COUNT} agents, hub killed and started again, both ends on this machine"
    figures = {"demarc": ours, "demarc_many": ours_many, "waves": waves}
    killed = [wave for wave in waves if wave["wave"] == "lose"]
    speed = statistics.median(COUNT / wave["seconds"] for wave in killed)
    cut = statistics.median(COUNT / wave["seconds"] for wave in waves if wave["wave"] == "cut")
    failed = max(wave["failed_attempts"] for wave in killed)
    results = []
    if not program:
        results += [table.missing(memory, "rathole", why_not), table.missing(reconnect, "rathole", why_not)]
    else:
        theirs, their_seconds = _rathole()
        their_speed = COUNT / statistics.median(their_seconds)
        figures |= {"rathole": theirs, "rathole_seconds": their_seconds}
        results.append(
            table.row(
                memory,
                f"rathole {peers.RATHOLE} (TLS)",
                ratio=theirs["kib_each"] / ours["kib_each"],
                words="memory",
                demarc=f"{ours['kib_each']:.1f} KiB",
                theirs=f"{theirs['kib_each']:.1f} KiB",
                aim=None,
                asked="as many udp services; each has one control channel and two spare data channels (tcp: eight)",
                figures=figures,
            )
        )
    results.append(_against_aim(memory, ours))
    if ours_many:
        results.append(_against_aim(f"memory of an idle tunnel on the hub, {ours_many['tunnels']} tunnels", ours_many))
    if program:
        results.append(
            table.row(
                reconnect,
                f"rathole {peers.RATHOLE} (TLS)",
                ratio=speed / their_speed,
                words="speed",
                demarc=f"{speed:.0f} tunnels/s, none lost; {failed} attempts were repeated",
                theirs=f"{their_speed:.0f} control channels/s",
                aim=None,
                asked="the same; no client certificates, no post-quantum key exchange; timed from its first channel to its last",
                figures=figures,
            )
        )
    for what, value in ((reconnect, speed), (f"whole fleet reconnects: {COUNT} agents, all connections cut", cut)):
        results.append(
            table.row(
                what,
                "1,500 tunnels/s",
                ratio=value / 1500,
                words="speed",
                demarc=f"{value:.0f} tunnels/s (mutual TLS 1.3, X25519MLKEM768, Hello and Welcome; no jitter)",
                theirs="(the aim)",
                aim=1,
                asked="",
                figures=figures,
            )
        )
    return results


def _against_aim(what, ours):
    return table.row(
        what,
        "24 KiB",
        ratio=24 / ours["kib_each"],
        words="memory",
        demarc=f"{ours['kib_each']:.1f} KiB (RSS {ours['rss_kib_each']:.1f}); {ours['kib_before']} KiB with none",
        theirs="(the aim)",
        aim=1,
        asked="",
        figures=ours,
    )


def _demarc():
    many = MANY
    hub, identities = fleet.enrolled(many or COUNT)
    ours, waves = _hold(hub, identities, COUNT, reconnect=True)
    ours_many = _hold(hub, identities, many, reconnect=False)[0] if many else None
    return ours, ours_many, waves


def _hold(hub, identities, count, reconnect):
    hub.start()
    time.sleep(1)
    before = _memory(hub.child)
    agents = fleet.Fleet(identities, count)
    first = agents.wave()
    print(f"   {count} tunnels first up: {count / first['seconds']:.0f}/s", flush=True)
    time.sleep(SETTLE)
    memory = _each(before, _memory(hub.child), count)
    print(f"   {count} tunnels: {memory['kib_each']:.1f} KiB each", flush=True)
    waves = []
    for _ in range(ROUNDS if reconnect else 0):
        agents.say("cut")
        waves.append(agents.wave())
        _check_all_up(hub.port, count)
        agents.say("lose")
        time.sleep(0.05)
        hub.kill()
        hub.start()
        waves.append(agents.wave())
        _check_all_up(hub.port, count)
        for wave in waves[-2:]:
            print(f"   {wave['wave']}: {count / wave['seconds']:.0f} tunnels/s", flush=True)
    agents.stop()
    hub.stop()
    return memory, waves


def _rathole():
    pair = Rathole(COUNT)
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(pair.stop)
        pair.start_server()
        time.sleep(1)
        before = _memory(pair.server)
        pair.start_client()
        pair.wait_for_all(0, 300)
        time.sleep(SETTLE)
        memory = _each(before, _memory(pair.server), COUNT)
        print(f"   rathole: {memory['kib_each']:.1f} KiB each", flush=True)
        seconds = []
        for _ in range(ROUNDS):
            known = len(pair.times(0))
            pair.kill_server()
            pair.start_server()
            seconds.append(pair.wait_for_all(known, 300))
            print(f"   rathole: {COUNT / seconds[-1]:.0f} control channels/s", flush=True)
    return memory, seconds


def _memory(child):
    pids = process.family(child.pid)
    return {"pss": process.pss_kib(pids), "rss": process.rss_kib(pids)}


def _each(before, after, count):
    return {
        "tunnels": count,
        "kib_each": (after["pss"] - before["pss"]) / count,
        "rss_kib_each": (after["rss"] - before["rss"]) / count,
        "kib_before": before["pss"],
        "kib_after": after["pss"],
    }


def _check_all_up(port, count):
    """The kernel's own count of connections at the hub's port: nobody else can lose or invent one."""
    ends = f":{port:04X}"
    process.wait_until(lambda: _established(ends) == count, f"{count} connections at the hub", seconds=10, every=0.2)


def _established(ends):
    table_of_sockets = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(1 for line in table_of_sockets if (word := line.split())[1].endswith(ends) and word[3] == "01")

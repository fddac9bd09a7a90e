"""Idle: memory and processor time of an agent that is enrolled, connected, and has nothing to do."""

import time

import agent as agents
import hub as hubs
import peers
import process
import programs
import table

SETTLE = 5 if programs.QUICK else 20
WATCH = 10 if programs.QUICK else 60
PACKAGE = "prometheus-node-exporter"


def measure():
    ours = _demarc()
    aim = 12 * 1024
    title = f"idle agent, all roles together, memory after {SETTLE} s"
    busy = f"idle agent, processor time in {WATCH} s"
    results = [
        table.row(
            title,
            "12 MiB",
            ratio=aim / ours["pss_kib"],
            words="memory",
            demarc=f"{ours['pss_kib'] / 1024:.2f} MiB PSS in {ours['processes']} processes",
            theirs="(the aim)",
            aim=1,
            asked="",
            figures=ours,
        )
    ]
    program, why_not = peers.debian(PACKAGE, f"usr/bin/{PACKAGE}")
    if not program:
        return [*results, table.missing(title, PACKAGE, why_not), table.missing(busy, PACKAGE, why_not)]
    theirs = _exporter(program)
    name = f"{PACKAGE} {peers.debian_version(PACKAGE)}"
    asked = "to listen on loopback; nobody asked it for anything meanwhile"
    results.append(
        table.row(
            title,
            name,
            ratio=theirs["pss_kib"] / ours["pss_kib"],
            words="memory",
            demarc=f"{ours['pss_kib'] / 1024:.2f} MiB PSS in {ours['processes']} processes",
            theirs=f"{theirs['pss_kib'] / 1024:.2f} MiB PSS",
            aim=None,
            asked=asked,
            figures={"demarc": ours, "peer": theirs},
        )
    )
    # Idle means below what the scheduler would call a thousandth of one core; a quotient with a peer that slept all
    # the time would say nothing.
    aim_ns = WATCH * 1e6
    results.append(
        table.row(
            busy,
            "0.1% of one core",
            ratio=aim_ns / max(ours["processor_ns"], 1),
            words="processor time",
            demarc=f"{ours['processor_ns'] / 1e6:.1f} ms",
            theirs=f"{aim_ns / 1e6:.0f} ms (the aim); {name} {theirs['processor_ns'] / 1e6:.1f} ms",
            aim=1,
            asked="",
            figures={"demarc": ours, "peer": theirs},
        )
    )
    return results


def _demarc():
    hub = hubs.Hub(programs.WORK / "idle-hub").start()
    agent = agents.Agent(programs.WORK / "idle-agent")
    agent.command("enroll", *hub.tokens(["idle"]))
    agent.start()
    process.wait_until(agent.connected, "the agent's tunnel", every=0.2)
    figures = _watch(agent.pids)
    agent.stop()
    hub.stop()
    return figures


def _exporter(program):
    port = process.free_port()
    log = programs.WORK / f"{PACKAGE}.log"
    child = process.start([program, f"--web.listen-address=127.0.0.1:{port}"], log)
    process.wait_until(lambda: process.listens(port), PACKAGE)
    figures = _watch(lambda: process.family(child.pid))
    process.stop(child)
    return figures


def _watch(pids):
    time.sleep(SETTLE)
    known = pids()
    figures = {"processes": len(known), "pss_kib": process.pss_kib(known)}
    figures["each_pss_kib"] = [process.pss_kib([pid]) for pid in known]
    before = process.processor_ns(known)
    time.sleep(WATCH)
    figures["processor_ns"] = process.processor_ns(known) - before
    return figures

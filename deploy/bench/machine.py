"""Names the machine, since a figure without one says nothing."""

import datetime
import os
import pathlib
import platform
import subprocess

import programs


def describe():
    cpu = [line for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    memory = int(pathlib.Path("/proc/meminfo").read_text().split()[1]) / 1024 / 1024
    return {
        "processor": cpu[0].split(":", 1)[1].strip() if cpu else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory, 1),
        "kernel": platform.release(),
        "virtual": "hypervisor" in pathlib.Path("/proc/cpuinfo").read_text(),
        "rustc": _first_line(["rustc", "--version"]),
        "commit": _first_line(["git", "-C", str(programs.ROOT), "rev-parse", "--short", "HEAD"]),
        "load_before": os.getloadavg()[0],
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="minutes"),
    }


def _first_line(command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown"

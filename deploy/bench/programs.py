"""Builds what is measured, and says where it lies."""

import os
import pathlib
import subprocess
import time

QUICK = os.environ.get("BENCH_QUICK", "") not in ("", "0")
ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
WORK = TARGET / "bench"
DEMARC = TARGET / "release" / "demarc"
HUB = TARGET / "release" / "demarc-hub"
CDRGEN = TARGET / "release" / "cdrgen"
FLEET = TARGET / "release" / "fleet"
MEASURE = TARGET / "release" / "measure"

build_seconds = None


def build():
    """Builds the release programs and this bench's own helpers."""
    global build_seconds
    WORK.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    packages = ["-p", "demarc", "-p", "demarc-hub", "-p", "demarc-tests"]
    subprocess.run(["cargo", "build", "--release", *packages, "--bins"], cwd=ROOT, check=True)
    build_seconds = time.monotonic() - started

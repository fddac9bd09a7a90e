"""Builds what is measured, and says where it lies."""

import os
import pathlib
import subprocess
import time

QUICK = os.environ.get("BENCH_QUICK", "") not in ("", "0")
PROFILE = os.environ.get("BENCH_PROFILE", "release")
ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
WORK = TARGET / "bench"
DEMARC = TARGET / PROFILE / "demarc"
HUB = TARGET / PROFILE / "demarc-hub"
CDRGEN = TARGET / PROFILE / "cdrgen"
FLEET = TARGET / PROFILE / "fleet"
MEASURE = TARGET / PROFILE / "measure"

build_seconds = None


def build():
    """Builds the release programs and this bench's own helpers."""
    global build_seconds
    WORK.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    if PROFILE == "debug":
        # With the tests, so that what was built for them is used again: they choose features of what everything depends on.
        words = ["--workspace", "--test", "it"]
    else:
        words = ["--release", "-p", "demarc", "-p", "demarc-hub", "-p", "demarc-tests"]
    subprocess.run(["cargo", "build", *words, "--bins"], cwd=ROOT, check=True)
    build_seconds = time.monotonic() - started

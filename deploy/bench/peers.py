"""Fetches what Demarc is compared with. A peer that cannot be had is named with the reason, and left out."""

import functools
import os
import pathlib
import subprocess
import sys
import tempfile

import programs

RATHOLE = "0.5.0"


@functools.cache
def python():
    """An interpreter with DuckDB and Polars: (path, None), or (None, why not)."""
    home = programs.WORK / "venv"
    interpreter = home / "bin" / "python"
    try:
        if not interpreter.exists():
            _run([sys.executable, "-m", "venv", home])
        if subprocess.run([interpreter, "-c", "import duckdb, polars"], capture_output=True).returncode != 0:
            _run([interpreter, "-m", "pip", "install", "--quiet", "duckdb", "polars"])
    except (OSError, RuntimeError) as error:
        return None, f"pip cannot install it: {error}"
    return interpreter, None


@functools.cache
def rathole():
    """rathole from crates.io, with TLS: (path, None), or (None, why not)."""
    home = programs.WORK / "rathole"
    program = home / "bin" / "rathole"
    if program.exists():
        return program, None
    # Its own lock file names a version of `time` that no current compiler accepts, hence no --locked.
    command = ["cargo", "install", "rathole", "--version", RATHOLE, "--no-default-features"]
    command += ["--features", "server,client,tls", "--root", home]
    try:
        # Outside the workspace, so that its profiles and lock file have no say.
        with tempfile.TemporaryDirectory() as elsewhere:
            _run(command, cwd=elsewhere, env={**os.environ, "CARGO_TARGET_DIR": str(programs.WORK / "rathole-build")})
    except (OSError, RuntimeError) as error:
        return None, f"cargo cannot build rathole {RATHOLE}: {error}"
    return program, None


@functools.cache
def debian(package, program):
    """A program from a Debian package, unpacked and not installed: (path, None), or (None, why not)."""
    home = programs.WORK / package
    path = home / program.lstrip("/")
    if path.exists():
        return path, None
    try:
        with tempfile.TemporaryDirectory() as box:
            os.chmod(box, 0o755)
            _run(["apt-get", "download", package], cwd=box)
            (archive,) = pathlib.Path(box).glob("*.deb")
            _run(["dpkg-deb", "-x", archive, home])
            (home / "VERSION").write_text(_run(["dpkg-deb", "-f", archive, "Version"]).strip())
    except (OSError, RuntimeError, ValueError) as error:
        return None, f"apt-get cannot download {package}: {error}"
    return path, None


def debian_version(package):
    return (programs.WORK / package / "VERSION").read_text()


def _run(command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise RuntimeError((done.stderr or done.stdout).strip()[-600:])
    return done.stdout

"""A hub of this bench's own, on loopback."""

import pathlib
import re
import shutil
import signal

import process
import programs

# So many names fit on one command line.
TOKENS_A_CALL = 1000


class Hub:
    def __init__(self, home, keep=False):
        """Makes a hub in a directory, or takes up one that an earlier run left there."""
        self.home = pathlib.Path(home)
        self.config = self.home / "hub.toml"
        self.child = None
        if keep and self.config.exists():
            listen = re.search(r'^listen = "127\.0\.0\.1:(\d+)"', self.config.read_text(), re.M)
            self.port = int(listen.group(1))
            if not process.listens(self.port):
                return
        shutil.rmtree(self.home, ignore_errors=True)
        self.port = process.free_port()
        process.run([programs.HUB, "init", "--dir", self.home, "--listen", self.address])

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def log(self):
        return self.home / "hub.log"

    def command(self, *words):
        return process.run([programs.HUB, "--config", self.config, *words])

    def start(self):
        self.child = process.start([programs.HUB, "--config", self.config, "serve"], self.log)
        process.wait_until(lambda: process.listens(self.port), "the hub listens", every=0.002)
        return self

    def kill(self):
        """As a power cut would: no word to anybody."""
        process.stop(self.child, signal.SIGKILL)

    def stop(self):
        process.stop(self.child)

    def tokens(self, sites):
        made = []
        for first in range(0, len(sites), TOKENS_A_CALL):
            made += self.command("token", *sites[first : first + TOKENS_A_CALL]).split()
        return made

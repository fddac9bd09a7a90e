"""An installed agent of this bench's own: settings, state, processes."""

import json
import os
import pathlib
import shutil
import time

import process
import programs

# What the machine of the bench may have set must not reach the agent.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith("DEMARC") and name not in ("DO_NOT_TRACK", "HTTPS_PROXY", "https_proxy")
}


class Agent:
    def __init__(self, home, hub=None, window="1d"):
        self.home = pathlib.Path(home)
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir(parents=True)
        self.config = self.home / "demarc.toml"
        self.records = self.home / "Master.csv"
        self.records.touch()
        self.child = None
        self.config.write_text(
            f'state_dir = "{self.home / "state"}"\n'
            'confinement = "best-effort"\n'
            "[pbx]\n"
            'trunks = ["provider1"]\n'
            "[[pbx.source]]\n"
            'type = "asterisk-csv"\n'
            f'path = "{self.records}"\n'
            'timezone = "UTC"\n'
            "[stats]\n"
            f'window = "{window}"\n'
            "floor = 2\n"
            'grace = "0s"\n' + (f'[tunnel]\nhub = "{hub}"\n' if hub else "")
        )

    def command(self, *words):
        return process.run([programs.DEMARC, "--config", self.config, *words], env=ENVIRONMENT)

    def start(self):
        command = [programs.DEMARC, "--config", self.config, "run"]
        self.child = process.start(command, self.home / "agent.log", env=ENVIRONMENT)
        return self

    def stop(self):
        process.stop(self.child)

    def pids(self):
        return process.family(self.child.pid)

    def toggle(self, *words):
        """Runs `stats off` and the like; gives when it began and when it had returned."""
        began = time.monotonic()
        self.command(*words)
        return began, time.monotonic()

    def connected(self):
        """Whether the hub has answered on the tunnel; false too while the daemon does not answer yet."""
        daemon = json.loads(self.command("status", "--json")).get("daemon")
        linked = daemon and daemon.get("linked")
        return bool(linked and linked["connected"])

    def add_calls(self, count, number):
        """Answered calls that end now, one row each."""
        wall = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        second = int(time.time())
        with open(self.records, "ab") as file:
            for place in range(count):
                serial = number * count + place
                unique = f"{second}.{serial}"
                file.write(
                    f'"","447700900001","201","from-did-direct","""A"" <447700900001>","PJSIP/provider1-{serial:08x}",'
                    f'"PJSIP/201-{serial:08x}","Dial","PJSIP/201,20","{wall}","{wall}","{wall}",0,0,"ANSWERED",'
                    f'"DOCUMENTATION","{unique}","","","{unique}",{serial}\n'.encode()
                )

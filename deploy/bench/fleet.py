"""The simulated fleet: enrolled once, kept between runs."""

import json
import os
import select
import subprocess

import hub as hubs
import process
import programs

HOME = programs.WORK / "fleet"


def enrolled(count):
    """A hub that is not running, with so many sites enrolled; and the file of their identities."""
    identities = programs.WORK / "fleet-identities.jsonl"
    hub = hubs.Hub(HOME, keep=True)
    known = 0
    if identities.exists() and f'"hub":"{hub.address}"' in (lines := identities.read_text()):
        known = lines.count("\n")
    if known >= count:
        return hub, identities
    tokens = programs.WORK / "fleet-tokens"
    tokens.write_text("\n".join(hub.tokens([f"site-{number}" for number in range(count)])))
    hub.start()
    process.run([programs.FLEET, "enroll", tokens, identities])
    hub.stop()
    return hub, identities


class Fleet:
    """So many agents that hold their tunnels up."""

    def __init__(self, identities, count):
        self.count = count
        self.child = process.start(
            [programs.FLEET, "hold", identities, count],
            programs.WORK / "fleet.log",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.unread = b""

    def say(self, word):
        self.child.stdin.write(word.encode() + b"\n")
        self.child.stdin.flush()

    def wave(self, seconds=120):
        """The report of the wave that is under way."""
        while b"\n" not in self.unread:
            if not select.select([self.child.stdout], [], [], seconds)[0]:
                raise RuntimeError(f"{self.count} tunnels were not up again within {seconds} s")
            piece = os.read(self.child.stdout.fileno(), 65536)
            if not piece:
                raise RuntimeError(f"the fleet ended: see {programs.WORK / 'fleet.log'}")
            self.unread += piece
        line, self.unread = self.unread.split(b"\n", 1)
        return json.loads(line)

    def stop(self):
        process.stop(self.child)

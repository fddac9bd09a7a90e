"""Support sessions: a forwarded port, a keystroke, a prompt and the memory of a session, beside Debian's sshd on loopback."""

import os
import pathlib
import pty
import select
import shutil
import socket
import statistics
import subprocess
import threading
import time

import agent as agents
import hub as hubs
import peers
import process
import programs
import table

BYTES = (64 if programs.QUICK else 1024) * 1024 * 1024
ROUNDS = 2 if programs.QUICK else 5
KEYS = 50 if programs.QUICK else 500
PROMPTS = 3 if programs.QUICK else 15
SESSIONS = 4
HOME = programs.WORK / "support"


def measure():
    ssh, why_not = peers.debian("openssh-client", "usr/bin/ssh")
    if not ssh:
        return [table.missing("support sessions", "everybody", why_not)]
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    source = _Source()
    ours = _Demarc(ssh, source.port)
    theirs, why_not = _sshd(ssh)
    try:
        results = []
        for what, unit, aim, better, figure in [
            ("forwarded port, down", "MB/s", 0.7, "speed", lambda peer: _throughput(peer, source)),
            ("time from `ssh` to the end of `true`", "ms", None, "time", _prompt),
            ("keystroke echo in a shell, p50", "ms", None, "time", lambda peer: _echo(peer, 0.5)),
            ("keystroke echo in a shell, p99", "ms", None, "time", lambda peer: _echo(peer, 0.99)),
        ]:
            if not theirs:
                results.append(table.missing(what, "OpenSSH", why_not))
                continue
            mine, other = [], []
            for _ in range(1 if "echo" in what or "time" in what else ROUNDS):
                mine.append(figure(ours))
                other.append(figure(theirs))
            ratios = [a / b if better == "speed" else b / a for a, b in zip(mine, other)]
            results.append(
                table.row(
                    what,
                    theirs.name,
                    ratio=statistics.median(ratios),
                    words=better,
                    demarc=f"{statistics.median(mine):.1f} {unit}",
                    theirs=f"{statistics.median(other):.1f} {unit}",
                    aim=aim,
                    asked="sshd on the same machine, its defaults; neither records anything",
                    figures={"demarc": mine, "peer": other},
                )
            )
        return results + _memory(ours)
    finally:
        ours.stop()
        if theirs:
            theirs.stop()
        source.close()


class _Demarc:
    """A site with a live grant for each scope, and what an engineer needs to come in."""

    name = "Demarc"

    def __init__(self, ssh, port):
        self.ssh = ssh
        keygen = ssh.parent / "ssh-keygen"
        self.keygen = keygen
        process.run([keygen, "-q", "-t", "ed25519", "-N", "", "-C", "vendor", "-f", HOME / "authority"])
        self.hub = hubs.Hub(HOME / "hub").start()
        self.agent = agents.Agent(HOME / "agent")
        authority = (HOME / "authority.pub").read_text().strip()
        with self.agent.config.open("a") as config:
            config.write(f'[support]\nauthorities = ["{authority}"]\n')
        self.agent.command("enroll", *self.hub.tokens(["bench"]))
        self.agent.start()
        process.wait_until(self.agent.connected, "the agent's tunnel", every=0.2)
        (HOME / "host.pub").write_text(self.agent.command("support", "key"))
        process.run([keygen, "-q", "-s", HOME / "authority", "-h", "-I", "bench", "-n", "bench", "-V", "-15m:+1d", HOME / "host.pub"])
        self.agent.command("support", "host-certificate", HOME / "host-cert.pub")
        (HOME / "known").write_text(f"@cert-authority * {authority}\n")
        self.keys = {}
        for scope in ("shell", f"forward={port}"):
            self._let_in(scope)
        self.port = port

    def _let_in(self, scope):
        import json

        grant = json.loads(self.agent.command("support", "allow", "--for", "2h", "--scope", scope, "--json"))["grant"]["id"]
        kind = scope.split("=")[0]
        key = HOME / kind
        process.run([self.keygen, "-q", "-t", "ed25519", "-N", "", "-C", "ada", "-f", key])
        options = ["-O", f"critical:grant@demarc={grant}", "-V", "-15m:+110m"]
        process.run([self.keygen, "-q", "-s", HOME / "authority", "-I", "ada", "-n", "bench", *options, f"{key}.pub"])
        connect = f"{programs.HUB} --config {self.hub.config} connect --fdpass --grant {grant} %h"
        # As deploy/support/ssh_config has it.
        self.keys[kind] = ["-i", key, "-o", f"ProxyCommand={connect}", "-o", "ProxyUseFdpass=yes"]

    def client(self, kind):
        options = ["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", f"UserKnownHostsFile={HOME / 'known'}"]
        return [str(word) for word in [self.ssh, *options, *self.keys[kind]]]

    def host(self):
        return "bench"

    def stop(self):
        self.agent.stop()
        self.hub.stop()


class _Sshd:
    def __init__(self, ssh, program, libraries):
        self.ssh = ssh
        self.name = f"OpenSSH {peers.debian_version('openssh-server')}"
        self.port = process.free_port()
        keygen = ssh.parent / "ssh-keygen"
        for key in ("sshd_host", "sshd_user"):
            process.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", HOME / key])
        shutil.copy(HOME / "sshd_user.pub", HOME / "authorized")
        (HOME / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {HOME / 'sshd_host'}\nAuthorizedKeysFile {HOME / 'authorized'}\n"
            "UsePAM no\nStrictModes no\nPermitRootLogin yes\nPidFile none\n"
        )
        # Where it separates its privileges; the package makes it.
        pathlib.Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        # It insists on a user of its own. In a mount namespace of its own it finds one, and the machine gets none.
        users = HOME / "passwd"
        users.write_text(pathlib.Path("/etc/passwd").read_text() + "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n")
        script = 'mount --bind "$0" /etc/passwd && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", script, users, program, "-D", "-e", "-f", HOME / "sshd_config"]
        environment = {**os.environ, "LD_LIBRARY_PATH": str(libraries)}
        self.child = process.start(command, HOME / "sshd.log", env=environment)
        process.wait_until(lambda: process.listens(self.port), "sshd listens")

    def client(self, _kind):
        options = ["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no"]
        options += ["-o", f"UserKnownHostsFile={HOME / 'sshd_known'}", "-o", "LogLevel=ERROR"]
        return [str(word) for word in [self.ssh, *options, "-p", self.port, "-i", HOME / "sshd_user"]]

    def host(self):
        return "127.0.0.1"

    def stop(self):
        process.stop(self.child)


def _sshd(ssh):
    program, why_not = peers.debian("openssh-server", "usr/sbin/sshd")
    if not program:
        return None, why_not
    if os.geteuid() != 0:
        return None, "sshd has to be started by root"
    # The one library of it that a machine without sshd need not have.
    wrap, why_not = peers.debian("libwrap0", "usr/share/doc/libwrap0")
    if not wrap:
        return None, why_not
    (library,) = wrap.parents[3].glob("usr/lib/*/libwrap.so.0")
    return _Sshd(ssh, program.resolve(), library.parent), None


class _Source(threading.Thread):
    """Sends many bytes to whoever connects."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        block = os.urandom(1024 * 1024)
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            with stream:
                try:
                    for _ in range(BYTES // len(block)):
                        stream.sendall(block)
                except OSError:
                    pass

    def close(self):
        self.listener.close()


def _throughput(peer, source):
    """Megabytes a second through `ssh -L`."""
    near = process.free_port()
    command = [*peer.client("forward"), "-N", "-L", f"{near}:127.0.0.1:{source.port}", peer.host()]
    child = process.start(command, HOME / "forward.log", stdin=subprocess.DEVNULL)
    process.wait_until(lambda: process.listens(near), f"the forward of {peer.name}")
    time.sleep(0.5)
    with socket.create_connection(("127.0.0.1", near)) as stream:
        began, got = time.monotonic(), 0
        while got < BYTES:
            data = stream.recv(1 << 20)
            if not data:
                raise RuntimeError(f"the forward of {peer.name} ended after {got} bytes")
            got += len(data)
        took = time.monotonic() - began
    process.stop(child)
    return got / took / 1e6


def _prompt(peer):
    """Milliseconds, median."""
    samples = []
    for _ in range(PROMPTS):
        began = time.monotonic()
        process.run([*peer.client("shell"), peer.host(), "true"], stdin=subprocess.DEVNULL)
        samples.append((time.monotonic() - began) * 1000)
    return statistics.median(samples)


def _echo(peer, quantile):
    """Milliseconds from a key to its echo by the terminal at the other end."""
    # ssh makes its own end raw, and tells the other end how it was before: echoing.
    near, far = pty.openpty()
    child = process.start([*peer.client("shell"), "-tt", peer.host(), "cat > /dev/null"], HOME / "echo.log", stdin=far, stdout=far)
    os.close(far)
    time.sleep(2)
    while select.select([near], [], [], 0.2)[0]:
        os.read(near, 65536)
    samples = []
    for _ in range(KEYS):
        began = time.monotonic()
        os.write(near, b"x")
        if not select.select([near], [], [], 5)[0]:
            raise RuntimeError(f"{peer.name} does not echo")
        os.read(near, 65536)
        samples.append((time.monotonic() - began) * 1000)
        time.sleep(0.01)
    process.stop(child)
    os.close(near)
    samples.sort()
    return samples[min(len(samples) - 1, int(len(samples) * quantile))]


def _memory(ours):
    """What a live session costs: at the site all processes but those of the idle agent, at the hub what it grows."""
    idle = process.pss_kib(process.family(ours.agent.child.pid))
    hub_idle = process.pss_kib([ours.hub.child.pid])
    children = []
    for _ in range(SESSIONS - 1):
        command = [*ours.client("shell"), ours.host(), "sleep 1000"]
        children.append(process.start(command, HOME / "memory.log", stdin=subprocess.DEVNULL))
    time.sleep(4)
    count = SESSIONS - 1
    pids = process.family(ours.agent.child.pid)
    mine = [pid for pid in pids if "demarc" in pathlib.Path(f"/proc/{pid}/comm").read_text()]
    site = (process.pss_kib(mine) - idle) / count / 1024
    hub = max(process.pss_kib([ours.hub.child.pid]) - hub_idle, 0) / count / 1024
    for child in children:
        process.stop(child)
    row = lambda where, value: table.row(
        f"memory of a live session at the {where}, {count} sessions",
        "6 MiB",
        ratio=6 / max(value, 0.01),
        words="memory",
        demarc=f"{value:.2f} MiB PSS",
        theirs="(the aim)",
        aim=1,
        asked="",
        figures={"mib": value},
    )
    return [row("site", site), row("hub", hub)]

"""rathole with TLS: one server, one client process that holds one control channel a service."""

import datetime
import os
import re
import shutil
import signal

import peers
import process
import programs

HOME = programs.WORK / "rathole-run"
ESTABLISHED = b"Control channel established"
ENVIRONMENT = {**os.environ, "RUST_LOG": "info", "NO_COLOR": "1"}
STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+)Z")


class Rathole:
    def __init__(self, count):
        self.count = count
        self.program, _ = peers.rathole()
        self.server = self.client = None
        shutil.rmtree(HOME, ignore_errors=True)
        HOME.mkdir(parents=True)
        self.client_log = HOME / "client.log"
        self.port = process.free_port()
        self._certificates()
        self._settings()

    def start_server(self):
        command = [self.program, "--server", HOME / "server.toml"]
        self.server = process.start(command, HOME / "server.log", env=ENVIRONMENT)
        process.wait_until(lambda: process.listens(self.port), "rathole's server listens", every=0.002)

    def start_client(self):
        command = [self.program, "--client", HOME / "client.toml"]
        self.client = process.start(command, self.client_log, env=ENVIRONMENT)

    def kill_server(self):
        process.stop(self.server, signal.SIGKILL)

    def stop(self):
        for child in (self.client, self.server):
            if child:
                process.stop(child)

    def times(self, skip):
        """When control channels were established, without so many of the earliest."""
        lines = [line for line in self.client_log.read_bytes().splitlines() if ESTABLISHED in line]
        stamps = [STAMP.search(line).group(1).decode() for line in lines[skip:]]
        return [datetime.datetime.fromisoformat(stamp[:26]).timestamp() for stamp in stamps]

    def wait_for_all(self, before, seconds):
        """Waits until every service has its channel again; gives how long it took from the first to the last."""
        wanted = before + self.count
        process.wait_until(
            lambda: self.client_log.read_bytes().count(ESTABLISHED) >= wanted,
            f"{self.count} rathole control channels",
            seconds=seconds,
            every=0.1,
        )
        times = self.times(before)
        return max(times) - min(times)

    def _certificates(self):
        key, certificate = HOME / "key.pem", HOME / "certificate.pem"
        process.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
            + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
            + ["-keyout", key, "-out", certificate]
        )
        process.run(
            ["openssl", "pkcs12", "-export", "-inkey", key, "-in", certificate, "-passout", "pass:bench"]
            + ["-out", HOME / "identity.p12"]
        )

    def _settings(self):
        """The services listen on addresses of their own, since a port each would be too many ports. They are of
        type udp, for which rathole keeps two spare data channels each; for tcp it keeps eight."""
        server = [
            "[server]",
            f'bind_addr = "127.0.0.1:{self.port}"',
            'default_token = "bench"',
            "[server.transport]",
            'type = "tls"',
            "[server.transport.tls]",
            f'pkcs12 = "{HOME / "identity.p12"}"',
            'pkcs12_password = "bench"',
        ]
        client = [
            "[client]",
            f'remote_addr = "127.0.0.1:{self.port}"',
            'default_token = "bench"',
            "[client.transport]",
            'type = "tls"',
            "[client.transport.tls]",
            f'trusted_root = "{HOME / "certificate.pem"}"',
            'hostname = "localhost"',
        ]
        port = process.free_port()
        for number in range(self.count):
            address = f"127.{1 + number // 62500}.{number // 250 % 250}.{1 + number % 250}:{port}"
            server += [f"[server.services.s{number}]", 'type = "udp"', f'bind_addr = "{address}"']
            client += [f"[client.services.s{number}]", 'type = "udp"', 'local_addr = "127.0.0.1:9"']
        (HOME / "server.toml").write_text("\n".join(server) + "\n")
        (HOME / "client.toml").write_text("\n".join(client) + "\n")

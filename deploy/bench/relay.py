"""A relay between agent and hub that notes when each byte from the agent passed."""

import contextlib
import select
import socket
import threading
import time

# A report fills at least 4 KiB; nothing else that an agent sends is nearly as long.
REPORT = 3500
# An HTTP/2 ping or its answer (17 bytes) as a TLS 1.3 record (22 more).
PING = 39


class Relay(threading.Thread):
    def __init__(self, hub_port):
        super().__init__(daemon=True)
        self.hub_port = hub_port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.passed = []  # (connection's number, when, how many bytes), agent to hub only
        self.connections = 0
        self.hold_answers = False  # While a report is on its way, keep the hub's answer back.
        self.report_seen = threading.Event()
        self._pairs = {}
        self._closing = False
        self.start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def close(self):
        self._closing = True
        self.join(5)

    def last_byte(self, since, connections):
        """How long after that moment the last byte passed on the first so many connections; 0 if none did.

        Pings do not count: a tunnel that stays on is kept alive."""
        times = [when for number, when, n in self.passed if number < connections and when > since and n != PING]
        return max(times, default=since) - since

    def bytes_between(self, since, until, from_connection=0):
        return sum(n for number, when, n in self.passed if since < when <= until and number >= from_connection)

    def run(self):
        while not self._closing:
            readable, _, _ = select.select([self.listener, *self._pairs], [], [], 0.2)
            for sock in readable:
                if sock is self.listener:
                    self._accept()
                elif sock in self._pairs:
                    self._pass(sock)
        for sock in [self.listener, *self._pairs]:
            sock.close()

    def _accept(self):
        near, _ = self.listener.accept()
        try:
            far = socket.create_connection(("127.0.0.1", self.hub_port))
        except OSError:
            near.close()
            return
        for sock in (near, far):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        number = self.connections
        self.connections += 1
        self._pairs[near] = (far, number, True)
        self._pairs[far] = (near, number, False)

    def _pass(self, sock):
        other, number, from_agent = self._pairs[sock]
        try:
            data = sock.recv(65536)
        except OSError:
            data = b""
        if data and from_agent:
            self.passed.append((number, time.monotonic(), len(data)))
            if len(data) > REPORT:
                self.report_seen.set()
        if data and not from_agent and self.hold_answers and self.report_seen.is_set():
            return
        if data:
            with contextlib.suppress(OSError):
                other.sendall(data)
                return
        for end in (sock, other):
            self._pairs.pop(end, None)
            end.close()

"""Pages: how soon a browser that is logged in has them, how large they are, and what the process behind them holds."""

import datetime
import json
import pathlib
import re
import time
import urllib.request

import agent as agents
import process
import programs
import table

CALLS = 20_000 if programs.QUICK else 1_000_000
REQUESTS = 10 if programs.QUICK else 100
DAYS = 90
# Rows of the generated office traffic for each call.
ROWS_PER_CALL = 1.24
AIM_MS = 200
AIM_KB = 100


def measure():
    here = agents.Agent(programs.WORK / "pages")
    port = process.free_port()
    queue_log = here.home / "queue_log"
    with open(here.config, "a") as config:
        config.write(f'[[pbx.source]]\ntype = "queue-log"\npath = "{queue_log}"\n[web]\nlisten = "127.0.0.1:{port}"\n')
    trunks = '["provider1", "provider2", "sip-backup"]'
    here.config.write_text(here.config.read_text().replace('["provider1"]', trunks))
    records = here.home / "history.csv"
    until = int(time.time()) - 1800
    words = ["--rows", int(CALLS * ROWS_PER_CALL), "--days", DAYS, "--until", until, "--queue-log", queue_log]
    process.run([programs.CDRGEN, records, *words])
    calls = json.loads(pathlib.Path(f"{records}.json").read_text())["calls"]
    here.command("import", records)
    here.start()
    process.wait_until(lambda: _link(here), "the pages", seconds=60, every=0.2)
    # The queue log is read by then, and nothing else asks for the processors.
    time.sleep(2 if programs.QUICK else 20)
    browser = Browser(_link(here))
    first = browser.times("/", 1)[0]
    times = sorted(browser.times("/", REQUESTS))
    today = datetime.datetime.now(datetime.timezone.utc).date()
    pages = [*browser.navigation(), f"/calls?from={today - datetime.timedelta(days=DAYS)}&to={today}"]
    sizes = {page: len(browser.load(page)) for page in pages}
    each = {page: sorted(browser.times(page, max(5, REQUESTS // 10))) for page in pages}
    web = [pid for pid in here.pids() if _role(pid) == "web"]
    memory = process.pss_kib(web)
    here.stop()
    p50, p95 = _part(times, 50), _part(times, 95)
    largest = max(sizes, key=sizes.get)
    slowest = max(each, key=lambda page: _part(each[page], 50))
    figures = {
        "calls": calls,
        "days": DAYS,
        "first_ms": first,
        "p50_ms": p50,
        "p95_ms": p95,
        "slowest_ms": times[-1],
        "bytes": sizes,
        "p50_ms_by_page": {page: _part(times, 50) for page, times in each.items()},
        "web_pss_kib": memory,
    }
    for page in pages:
        print(f"   {page}: {sizes[page] / 1000:.1f} kB, p50 {_part(each[page], 50):.1f} ms", flush=True)
    title = f"pages over {calls:,} calls in {DAYS} days"
    return [
        _row(title, f"{AIM_MS} ms", AIM_MS / p95, "time", f"first page p95 {p95:.1f} ms, p50 {p50:.1f} ms, cold {first:.1f} ms", 1, figures),
        _row(title, f"{AIM_KB} kB", AIM_KB * 1000 / sizes[largest], "size", f"largest page {largest}, {sizes[largest] / 1000:.1f} kB", 1, {}),
        _row(title, f"{AIM_MS} ms, any page", AIM_MS / _part(each[slowest], 50), "time", f"slowest page {slowest}, p50 {_part(each[slowest], 50):.1f} ms", None, {}),
        _row(title, "12 MiB", 12 * 1024 / memory, "memory", f"{memory / 1024:.2f} MiB PSS of the role web", None, {}),
    ]


class Browser:
    """Logged in by a link, as the owner is."""

    def __init__(self, link):
        self.place = link.split("/enter")[0]
        opener = urllib.request.build_opener(Staying, urllib.request.ProxyHandler({}))
        entered = opener.open(link)
        self.cookie = entered.headers["Set-Cookie"].split(";")[0]
        self.opener = opener

    def navigation(self):
        """Every page that the first one leads to."""
        links = re.search(rb"<nav[^>]*>(.*?)</nav>", self.load("/"), re.DOTALL)[1]
        return [page.decode() for page in re.findall(rb'href="([^"]+)"', links)]

    def load(self, page):
        request = urllib.request.Request(self.place + page, headers={"Cookie": self.cookie})
        with self.opener.open(request) as answer:
            body = answer.read()
        if answer.status != 200 or b"Log out" not in body:
            raise RuntimeError(f"{page}: {answer.status}, {len(body)} bytes")
        return body

    def times(self, page, count):
        """Milliseconds from the request to the last byte, each on a connection of its own."""
        times = []
        for _ in range(count):
            began = time.perf_counter()
            self.load(page)
            times.append((time.perf_counter() - began) * 1000)
        return times


class Staying(urllib.request.HTTPRedirectHandler):
    """Takes the redirect after the login for an answer: the cookie is in it."""

    def http_error_303(self, request, answer, code, message, headers):
        return answer


def _link(here):
    try:
        return json.loads(here.command("web", "--json"))["url"]
    except (RuntimeError, KeyError):
        return None


def _role(pid):
    words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return words[words.index(b"role") + 1].decode() if b"role" in words else None


def _part(times, percent):
    return times[min(len(times) - 1, len(times) * percent // 100)]


def _row(what, peer, ratio, words, demarc, aim, figures):
    return table.row(what, peer, ratio=ratio, words=words, demarc=demarc, theirs="(the aim)", aim=aim, asked="", figures=figures)

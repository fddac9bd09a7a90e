"""What an import takes at least, whatever it does between: its file read to the end by all processors and nothing else done,
and its results stored through SQLite in the way the agent stores them."""

import os
import sqlite3
import subprocess
import time

PIECE = 1 << 20
ROUNDS = 3
# What holds an import's results; the rest of the store is small.
TABLES = ("day", "kind_day", "call")


def of(file, store, scratch):
    """Seconds for both, each the least of some rounds."""
    return {
        "reading": min(_read(file) for _ in range(ROUNDS)),
        "storing": min(_store(store, scratch) for _ in range(ROUNDS)),
    }


def _read(file):
    processors = os.cpu_count()
    pieces = -(-file.stat().st_size // PIECE)
    share = -(-pieces // processors)
    words = ["dd", f"if={file}", "of=/dev/null", f"bs={PIECE}", f"count={share}", "status=none"]
    started = time.perf_counter()
    readers = [subprocess.Popen([*words, f"skip={number * share}"]) for number in range(processors)]
    if any(reader.wait() != 0 for reader in readers):
        raise RuntimeError(f"dd could not read {file}")
    return time.perf_counter() - started


def _store(store, scratch):
    source = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    schema = source.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    rows = {table: source.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}
    source.close()
    for end in ("", "-wal", "-shm"):
        scratch.with_name(scratch.name + end).unlink(missing_ok=True)
    target = sqlite3.connect(scratch, isolation_level=None)
    target.execute("PRAGMA journal_mode = WAL")
    target.execute("PRAGMA synchronous = NORMAL")
    for (statement,) in schema:
        if "sqlite_" not in statement.split("(")[0]:
            target.execute(statement)
    started = time.perf_counter()
    target.execute("BEGIN IMMEDIATE")
    for table, of_table in rows.items():
        if of_table:
            marks = ", ".join("?" * len(of_table[0]))
            target.executemany(f"INSERT INTO {table} VALUES ({marks})", of_table)
    target.execute("COMMIT")
    target.close()
    return time.perf_counter() - started

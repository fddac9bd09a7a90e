"""Import: from a file of call records to committed rollups, against a plain group-by of the same file."""

import json
import pathlib
import shutil
import statistics

import floor
import peers
import process
import programs
import table

ROWS = 200_000 if programs.QUICK else 4_000_000
ROUNDS = 3 if programs.QUICK else 5
# Name, generator's mix, columns, what it is.
FILES = [
    ("office", "office", 21, "office traffic, 21 columns"),
    ("office18", "office", 18, "office traffic, 18 columns"),
    ("ringgroups", "ringgroups", 21, "ring groups, three rows a call, 21 columns"),
]
# A peer that is asked for calls, and not for rows.
CALLS = ", calls"
HERE = pathlib.Path(__file__).parent
# What the last import has stored.
STORED = programs.WORK / "stored.db"


def measure():
    results = []
    for name, mix, columns, what in FILES:
        file = _generated(name, mix, columns)
        results += _compare(name, what, file, columns)
    return results


def _generated(name, mix, columns):
    """Made once: the same arguments give the same bytes."""
    file = programs.WORK / f"cdr-{name}-{ROWS}.csv"
    answer = pathlib.Path(f"{file}.json")
    if not answer.exists():
        process.run([programs.CDRGEN, file, "--rows", ROWS, "--mix", mix, "--columns", columns])
    return file


def _compare(name, what, file, columns):
    answer = json.loads(pathlib.Path(f"{file}.json").read_text())
    size = file.stat().st_size
    interpreter, why_not = peers.python()
    runs = {"Demarc": [], "wc -l": []}
    if interpreter:
        runs |= {f"{peer}{question}": [] for peer in ("DuckDB", "Polars") for question in ("", CALLS)}
    versions = {}
    process.run(["wc", "-l", file])  # So that everybody reads from memory.
    for round_number in range(ROUNDS):
        # Each round takes them in another order, so that nobody always runs after the same neighbour.
        names = list(runs)
        turn = round_number % len(names)
        for peer in names[turn:] + names[:turn]:
            runs[peer].append(_once(peer, file, columns, answer, interpreter, versions))
    middle = {peer: statistics.median(run["seconds"] for run in peer_runs) for peer, peer_runs in runs.items()}
    peak = {peer: max(run["peak_kib"] for run in peer_runs) / 1024 for peer, peer_runs in runs.items()}
    for peer in runs:
        print(f"   {name}: {peer} {middle[peer]:.3f} s, peak {peak[peer]:.0f} MiB", flush=True)
    asked = {
        "wc -l": "counts lines",
        "DuckDB": "count(*) and sum(billsec) by hour, dcontext, disposition; 2 threads; columns and types given",
        "Polars": "the same, streaming engine, 2 threads; columns and types given",
        f"DuckDB{CALLS}": "the same of calls: named rows once, put together by linkedid (uniqueid where there is none)",
        f"Polars{CALLS}": "the same as DuckDB of calls",
    }
    aims = {"DuckDB": 10, "Polars": 3, "wc -l": 0.5, f"DuckDB{CALLS}": None, f"Polars{CALLS}": None}
    results = []
    for peer in aims:
        title = f"import of {ROWS / 1e6:g} M rows, {size / 1e9:.2f} GB: {what}"
        if peer not in runs:
            results.append(table.missing(title, peer, why_not))
            continue
        paired = [theirs["seconds"] / ours["seconds"] for theirs, ours in zip(runs[peer], runs["Demarc"])]
        results.append(
            table.row(
                title,
                f"{peer} {versions.get(peer, '')}".strip(),
                ratio=statistics.median(paired),
                words="speed",
                demarc=f"{middle['Demarc']:.2f} s, peak {peak['Demarc']:.0f} MiB",
                theirs=f"{middle[peer]:.2f} s, peak {peak[peer]:.0f} MiB",
                aim=aims[peer],
                asked=asked[peer],
                figures={"demarc": runs["Demarc"], "peer": runs[peer], "answer": answer},
            )
        )
    least = floor.of(file, STORED, programs.WORK / "floor.db")
    alone = least["reading"] + least["storing"]
    print(f"   {name}: reading alone {least['reading']:.3f} s, storing alone {least['storing']:.3f} s", flush=True)
    results.append(
        table.row(
            title,
            "reading and storing alone",
            ratio=alone / middle["Demarc"],
            words="speed",
            demarc=f"{middle['Demarc']:.2f} s",
            theirs=f"{alone:.2f} s: {least['reading']:.2f} s and {least['storing']:.2f} s",
            aim=None,
            asked="dd by all processors, to nowhere; then the same results into an empty store through SQLite",
            figures={"demarc": runs["Demarc"], "least": least},
        )
    )
    results.append(
        table.row(
            f"peak memory of that import: {what}",
            "64 MiB",
            ratio=64 / peak["Demarc"],
            words="memory",
            demarc=f"{peak['Demarc']:.1f} MiB",
            theirs="64 MiB (the aim)",
            aim=1,
            asked="an upper bound",
            figures={"peak_mib": peak["Demarc"]},
        )
    )
    return results


def _once(peer, file, columns, answer, interpreter, versions):
    log = programs.WORK / "import.log"
    if peer == "Demarc":
        return _demarc(file, answer, log)
    if peer == "wc -l":
        cost = process.measured(["wc", "-l", file], log)
        return {"seconds": cost["wall_seconds"], **cost}
    question = "calls" if peer.endswith(CALLS) else "rows"
    program = HERE / f"groupby_{peer.removesuffix(CALLS).lower()}.py"
    cost = process.measured([interpreter, program, file, columns, question], log)
    said = json.loads(log.read_text().splitlines()[-1])
    if said["counted"] != answer[question]:
        raise RuntimeError(f"{peer} counted {said['counted']} {question}, there are {answer[question]}")
    versions[peer] = said["version"]
    # Its own clock, which leaves out the start of the interpreter and the loading of the library.
    return {"seconds": said["seconds"], **cost}


def _demarc(file, answer, log):
    """A fresh state directory, one import, and a look whether the report is right before any time counts."""
    home = programs.WORK / "import"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    config = home / "demarc.toml"
    config.write_text(
        f'state_dir = "{home / "state"}"\n'
        'confinement = "best-effort"\n'
        "[pbx]\n"
        'trunks = ["provider1", "provider2", "sip-backup"]\n'
        "[[pbx.source]]\n"
        'type = "asterisk-csv"\n'
        f'path = "{home / "Master.csv"}"\n'
        'timezone = "UTC"\n'
    )
    demarc = [programs.DEMARC, "--config", config]
    cost = process.measured([*demarc, "import", file], log)
    report = json.loads(process.run([*demarc, "report", "--json", "--by", "direction,outcome"]))
    cells = {f"{row['direction']}.{row['outcome']}": row["calls"] for row in report["rows"]}
    if report["calls"] != answer["calls"] or cells != answer["cells"]:
        raise RuntimeError(f"wrong report: {report['calls']} calls, {cells}; right is {answer}")
    if report["malformed"]:
        raise RuntimeError(f"{report['malformed']} rows were not understood")
    shutil.copy(home / "state" / "collector" / "calls.db", STORED)
    shutil.rmtree(home)
    return {"seconds": cost["wall_seconds"], **cost}

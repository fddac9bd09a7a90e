"""The results: rows, the printed table, the JSON file."""

import json

import programs


def row(what, peer, *, ratio, words, demarc, theirs, aim, asked, figures):
    """One comparison. The ratio says how many times better Demarc is: above 1 is better, whatever is measured."""
    return {
        "what": what,
        "peer": peer,
        "ratio": round(ratio, 3),
        "of": words,
        "demarc": demarc,
        "theirs": theirs,
        "aim": aim,
        "met": aim is None or ratio >= aim,
        "asked": asked,
        "figures": figures,
    }


def missing(what, peer, why):
    """A comparison that could not be made."""
    return {"what": what, "peer": peer, "missing": why}


def render(document):
    machine = document["machine"]
    lines = [
        "",
        f"Demarc {machine['commit']} on {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB,"
        f" Linux {machine['kernel']}{', virtual' if machine['virtual'] else ''}; {machine['rustc']}; {machine['date']}",
        "Ratios say how many times better Demarc is; above 1 is better. Aims are those of the design."
        + (" QUICK RUN: not a measurement." if document["quick"] else ""),
    ]
    title = None
    for entry in document["rows"]:
        if entry["what"] != title:
            title = entry["what"]
            lines += ["", title]
        if "missing" in entry:
            lines.append(f"      -    {entry['peer']}: not measured. {entry['missing']}")
            continue
        aim = "" if entry["aim"] is None else f"  [aim {entry['aim']:g}x: {'met' if entry['met'] else 'NOT met'}]"
        lines.append(f"  {entry['ratio']:7.2f}x {entry['of']} of {entry['peer']}{aim}")
        lines.append(f"            Demarc {entry['demarc']}  |  {entry['peer']} {entry['theirs']}")
        if entry["asked"]:
            lines.append(f"            {entry['peer']} was asked: {entry['asked']}")
    return "\n".join(lines)


def save(document):
    path = programs.WORK / "results.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path

"""Size of the programs, as released: stripped."""

import programs
import table

MIB = 1024 * 1024
AIM = 12 * MIB


def measure():
    results = []
    for program, aim in ((programs.DEMARC, 1), (programs.HUB, None)):
        size = program.stat().st_size
        results.append(
            table.row(
                f"size of {program.name}",
                "12 MiB",
                ratio=AIM / size,
                words="size",
                demarc=f"{size / MIB:.2f} MiB",
                theirs="(the aim)" if aim else "(the agent's aim, for comparison)",
                aim=aim,
                asked="",
                figures={"bytes": size, "build_seconds": programs.build_seconds},
            )
        )
    return results

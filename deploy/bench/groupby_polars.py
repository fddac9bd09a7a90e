"""The peer's part of the import row: Polars groups the call records. groupby_polars.py FILE COLUMNS"""

import json
import os
import sys
import time

os.environ["POLARS_MAX_THREADS"] = "2"

import polars

NAMES = (
    "accountcode src dst dcontext clid channel dstchannel lastapp lastdata start answer end duration billsec"
    " disposition amaflags uniqueid userfield peeraccount linkedid sequence"
).split()
TYPES = {"duration": polars.Int32, "billsec": polars.Int32, "sequence": polars.Int64}

file, columns = sys.argv[1], int(sys.argv[2])
started = time.perf_counter()
groups = (
    polars.scan_csv(
        file,
        has_header=False,
        schema={name: TYPES.get(name, polars.String) for name in NAMES[:columns]},
    )
    .group_by(polars.col("start").str.slice(0, 13), "dcontext", "disposition")
    .agg(polars.len().alias("rows"), polars.col("billsec").sum())
    .collect(engine="streaming")
)
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "rows": groups["rows"].sum(), "version": polars.__version__}))

"""The peer's part of the import row: Polars groups the call records. groupby_polars.py FILE COLUMNS rows|calls

For `calls` it is asked what groupby_duckdb.py is."""

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

file, columns, question = sys.argv[1], int(sys.argv[2]), sys.argv[3]
started = time.perf_counter()
records = polars.scan_csv(
    file,
    has_header=False,
    schema={name: TYPES.get(name, polars.String) for name in NAMES[:columns]},
)
if question == "calls":
    # Where the file has linkedid and sequence, each row has a name; otherwise a call is what has one uniqueid.
    call = "linkedid" if columns >= 21 else "uniqueid"
    if columns >= 21:
        wanted = ["linkedid", "uniqueid", "sequence", "start", "dcontext", "disposition", "billsec"]
        records = records.select(wanted).unique(["linkedid", "uniqueid", "sequence"], keep="any")
    # The least of the dispositions is ANSWERED where one of them is.
    least = [polars.col(name).min() for name in ("start", "dcontext", "disposition")]
    records = records.group_by(call).agg(*least, polars.col("billsec").sum())
groups = (
    records.group_by(polars.col("start").str.slice(0, 13), "dcontext", "disposition")
    .agg(polars.len().alias("counted"), polars.col("billsec").sum())
    .collect(engine="streaming")
)
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "counted": groups["counted"].sum(), "version": polars.__version__}))

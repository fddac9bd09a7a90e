"""The peer's part of the import row: DuckDB groups the call records. groupby_duckdb.py FILE COLUMNS"""

import json
import sys
import time

import duckdb

NAMES = (
    "accountcode src dst dcontext clid channel dstchannel lastapp lastdata start answer end_ duration billsec"
    " disposition amaflags uniqueid userfield peeraccount linkedid sequence"
).split()
TYPES = {"duration": "INTEGER", "billsec": "INTEGER", "sequence": "BIGINT"}

file, columns = sys.argv[1], int(sys.argv[2])
connection = duckdb.connect(config={"threads": 2})
layout = {name: TYPES.get(name, "VARCHAR") for name in NAMES[:columns]}
started = time.perf_counter()
rows = connection.execute(
    f"""
    SELECT start[:13], dcontext, disposition, count(*), sum(billsec)
    FROM read_csv(?, header = false, auto_detect = false, delim = ',', quote = '"', escape = '"',
                  new_line = '\\n', columns = {layout})
    GROUP BY ALL
    """,
    [file],
).fetchall()
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "rows": sum(row[3] for row in rows), "version": duckdb.__version__}))

"""The peer's part of the import row: DuckDB groups the call records. groupby_duckdb.py FILE COLUMNS rows|calls

For `calls` it is asked what Demarc is: rows that stand twice are dropped, where they have a name to tell that by, and the
rest put together to calls before these are counted."""

import json
import sys
import time

import duckdb

NAMES = (
    "accountcode src dst dcontext clid channel dstchannel lastapp lastdata start answer end_ duration billsec"
    " disposition amaflags uniqueid userfield peeraccount linkedid sequence"
).split()
TYPES = {"duration": "INTEGER", "billsec": "INTEGER", "sequence": "BIGINT"}

file, columns, question = sys.argv[1], int(sys.argv[2]), sys.argv[3]
connection = duckdb.connect(config={"threads": 2})
layout = {name: TYPES.get(name, "VARCHAR") for name in NAMES[:columns]}
records = f"""read_csv(?, header = false, auto_detect = false, delim = ',', quote = '"', escape = '"',
                  new_line = '\\n', columns = {layout})"""
# Where the file has linkedid and sequence, each row has a name; otherwise a call is what has one uniqueid.
once = f"""SELECT any_value(start) AS start, any_value(dcontext) AS dcontext, any_value(disposition) AS disposition,
                  any_value(billsec) AS billsec, linkedid AS call
           FROM {records} GROUP BY linkedid, uniqueid, sequence"""
if columns < 21:
    once = f"SELECT start, dcontext, disposition, billsec, uniqueid AS call FROM {records}"
QUESTIONS = {
    "rows": f"SELECT start[:13], dcontext, disposition, count(*), sum(billsec) FROM {records} GROUP BY ALL",
    # The least of the dispositions is ANSWERED where one of them is.
    "calls": f"""
    WITH once AS ({once}),
         calls AS (SELECT min(start) AS start, min(dcontext) AS dcontext, min(disposition) AS disposition,
                          sum(billsec) AS billsec
                   FROM once GROUP BY call)
    SELECT start[:13], dcontext, disposition, count(*), sum(billsec) FROM calls GROUP BY ALL""",
}
started = time.perf_counter()
groups = connection.execute(QUESTIONS[question], [file]).fetchall()
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "counted": sum(row[3] for row in groups), "version": duckdb.__version__}))

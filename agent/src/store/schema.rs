//! The store's tables, and how an older store becomes one of today.

use rusqlite::{Connection, TransactionBehavior};

use super::kinds;

/// Marks the file as a store of this program: "DMRC".
const APPLICATION: i64 = 0x444d_5243;

/// One step a version: a store at version `n` has had the first `n` of them. Steps that have been released
/// are never changed.
const STEPS: &[&str] = &[
    "
    -- What the collector keeps of its own state.
    CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

    -- Sums over everything, so that they need not be counted together each time.
    CREATE TABLE totals (
        id INTEGER PRIMARY KEY CHECK (id = 0),
        calls INTEGER NOT NULL, legs INTEGER NOT NULL, rows INTEGER NOT NULL,
        malformed INTEGER NOT NULL, duplicates INTEGER NOT NULL,
        singles INTEGER NOT NULL, -- calls without an id so far: the next number for a key
        imports INTEGER NOT NULL -- grows whenever a file was imported further
    );
    INSERT INTO totals VALUES (0, 0, 0, 0, 0, 0, 0, 0);

    -- How far each source was read.
    CREATE TABLE source (
        path BLOB PRIMARY KEY, position TEXT NOT NULL,
        rows INTEGER NOT NULL, malformed INTEGER NOT NULL, duplicates INTEGER NOT NULL,
        unlinked INTEGER NOT NULL, -- rows whose call is not certain, for want of a linkedid
        last_read INTEGER NOT NULL
    ) WITHOUT ROWID;

    -- How far files were read that no source follows (any more): rotated and imported ones.
    CREATE TABLE file (
        prefix_hash BLOB NOT NULL, prefix_len INTEGER NOT NULL,
        position TEXT NOT NULL, bytes INTEGER NOT NULL, last_read INTEGER NOT NULL,
        imported INTEGER NOT NULL, -- whether an import read some of it
        PRIMARY KEY (prefix_hash, prefix_len)
    ) WITHOUT ROWID;

    -- Texts of trunks, queues and extensions, so that rollups hold small numbers. 0 is no text.
    CREATE TABLE name (id INTEGER PRIMARY KEY, hash INTEGER NOT NULL UNIQUE, text TEXT NOT NULL);

    CREATE TABLE rollup (
        quarter INTEGER NOT NULL, cell INTEGER NOT NULL,
        trunk INTEGER NOT NULL, queue INTEGER NOT NULL, extension INTEGER NOT NULL,
        calls INTEGER NOT NULL, legs INTEGER NOT NULL,
        talk_seconds INTEGER NOT NULL, wait_seconds INTEGER NOT NULL,
        PRIMARY KEY (quarter, cell, trunk, queue, extension)
    ) WITHOUT ROWID;

    -- Rollups of history, packed: one or a few pieces a day, to be added to the rows above.
    CREATE TABLE day (id INTEGER PRIMARY KEY, day INTEGER NOT NULL, cells BLOB NOT NULL);
    CREATE INDEX day_by_day ON day (day);

    -- Calls that may still get legs, or wait to be reported.
    CREATE TABLE call (
        key BLOB PRIMARY KEY, state BLOB NOT NULL,
        status INTEGER NOT NULL,    -- 0 waits to be reported, 1 is in a tally, 2 is never reported
        touched INTEGER NOT NULL,   -- when a leg came last
        not_before INTEGER NOT NULL -- reported only if it ended from here on
    ) WITHOUT ROWID;
    CREATE INDEX call_by_status ON call (status, touched);

    -- Rows that could not be understood, the newest thousand.
    CREATE TABLE quarantine (
        id INTEGER PRIMARY KEY AUTOINCREMENT, seen INTEGER NOT NULL, why TEXT NOT NULL, bytes BLOB NOT NULL
    );

    -- Calls of each report window: everything that a report may tell apart.
    CREATE TABLE tally (
        window_start INTEGER NOT NULL, window_seconds INTEGER NOT NULL,
        hour INTEGER NOT NULL, cell INTEGER NOT NULL, talk INTEGER NOT NULL, wait INTEGER NOT NULL,
        destination INTEGER NOT NULL, quality INTEGER NOT NULL, calls INTEGER NOT NULL,
        PRIMARY KEY (window_start, window_seconds, hour, cell, talk, wait, destination, quality)
    ) WITHOUT ROWID;

    -- By how much the number of calls that are up changes in a second.
    CREATE TABLE edge (
        window_start INTEGER NOT NULL, window_seconds INTEGER NOT NULL,
        second INTEGER NOT NULL, change INTEGER NOT NULL,
        PRIMARY KEY (window_start, window_seconds, second)
    ) WITHOUT ROWID;
",
    "
    -- The sources: of files, how far they were read stands in `source`.
    CREATE TABLE feed (
        number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
        since INTEGER NOT NULL,                -- rows that ended before are left to the sources of then
        position TEXT,                         -- of a source that is no file, in its own words
        rows INTEGER NOT NULL DEFAULT 0, malformed INTEGER NOT NULL DEFAULT 0,
        duplicates INTEGER NOT NULL DEFAULT 0, unlinked INTEGER NOT NULL DEFAULT 0,
        confirmed INTEGER NOT NULL DEFAULT 0,  -- rows that another source had told of
        rescued INTEGER NOT NULL DEFAULT 0,    -- rows that count by this witness's word
        earlier INTEGER NOT NULL DEFAULT 0,    -- rows that ended before `since`
        last_read INTEGER NOT NULL DEFAULT 0
    );

    -- Rows that a source has delivered and may come upon again, by its own names for them.
    CREATE TABLE delivered (
        feed INTEGER NOT NULL, row INTEGER NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (feed, row)
    ) WITHOUT ROWID;

    -- What each source has told of rows of an identity: those without a name by their number, others by their names, eight
    -- bytes each. As source 0, what was counted of them.
    CREATE TABLE sighting (
        identity INTEGER NOT NULL, feed INTEGER NOT NULL, nameless INTEGER NOT NULL, names BLOB NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (identity, feed)
    ) WITHOUT ROWID;

    -- Rows of witnesses that wait for a better source to tell of them.
    CREATE TABLE held (
        id INTEGER PRIMARY KEY, due INTEGER NOT NULL, identity INTEGER NOT NULL, feed INTEGER NOT NULL,
        row INTEGER, ordinal INTEGER NOT NULL, key BLOB, state BLOB NOT NULL, not_before INTEGER NOT NULL
    );
    CREATE INDEX held_by_due ON held (due);
",
    "
    -- The most calls that were up at the same time, as the PBX itself said, in each quarter of an hour.
    CREATE TABLE concurrency (quarter INTEGER PRIMARY KEY, peak INTEGER NOT NULL, at INTEGER NOT NULL);
",
    "
    -- Figures of queues, by the quarter hour in which callers came in and the target that was set then.
    CREATE TABLE queue (
        quarter INTEGER NOT NULL, queue INTEGER NOT NULL, target INTEGER NOT NULL,
        offered INTEGER NOT NULL DEFAULT 0, returned INTEGER NOT NULL DEFAULT 0, -- callers who had been in it before
        connected INTEGER NOT NULL DEFAULT 0, in_time INTEGER NOT NULL DEFAULT 0,
        abandoned INTEGER NOT NULL DEFAULT 0, short INTEGER NOT NULL DEFAULT 0,  -- of those, before they could be answered
        timed_out INTEGER NOT NULL DEFAULT 0, emptied INTEGER NOT NULL DEFAULT 0, keyed INTEGER NOT NULL DEFAULT 0,
        handled INTEGER NOT NULL DEFAULT 0, transferred INTEGER NOT NULL DEFAULT 0,
        hold_seconds INTEGER NOT NULL DEFAULT 0, -- of the connected
        talk_seconds INTEGER NOT NULL DEFAULT 0, -- of the handled
        wait_seconds INTEGER NOT NULL DEFAULT 0, -- of the lost: abandoned, timed out, emptied
        PRIMARY KEY (quarter, queue, target)
    ) WITHOUT ROWID;

    -- Callers who are in a queue, or were not long ago.
    CREATE TABLE caller (
        call INTEGER NOT NULL, queue INTEGER NOT NULL, entered INTEGER NOT NULL, touched INTEGER NOT NULL,
        PRIMARY KEY (call, queue)
    ) WITHOUT ROWID;
    CREATE INDEX caller_by_touched ON caller (touched);
",
    "
    -- Who takes part from outside in calls that are not yet quiet, or may get more legs.
    CREATE TABLE outside (
        key BLOB NOT NULL, way INTEGER NOT NULL,        -- 0 called, 1 was called
        further INTEGER NOT NULL, began INTEGER NOT NULL, sequence INTEGER NOT NULL, -- the least of these tells of the call
        number TEXT NOT NULL, dialled TEXT NOT NULL,
        touched INTEGER NOT NULL, settled INTEGER NOT NULL, PRIMARY KEY (key, way)
    ) WITHOUT ROWID;
    CREATE INDEX outside_by_touched ON outside (settled, touched);

    -- Calls from outside that no person answered. The tail is what all forms of a number have in common; '' where the caller
    -- showed none.
    CREATE TABLE missed (
        key BLOB PRIMARY KEY, number TEXT NOT NULL, tail TEXT NOT NULL, dialled TEXT NOT NULL,
        began INTEGER NOT NULL, ended INTEGER NOT NULL, waited INTEGER NOT NULL, cell INTEGER NOT NULL,
        trunk INTEGER NOT NULL, queue INTEGER NOT NULL,
        returned INTEGER -- when somebody first talked with that number after that
    ) WITHOUT ROWID;
    CREATE INDEX missed_by_tail ON missed (tail);
    CREATE INDEX missed_by_end ON missed (ended);

    -- Numbers with which somebody talked, for missed calls that become quiet later.
    CREATE TABLE spoken (
        tail TEXT NOT NULL, number TEXT NOT NULL, at INTEGER NOT NULL, noted INTEGER NOT NULL,
        PRIMARY KEY (tail, number, at)
    ) WITHOUT ROWID;

    -- The own numbers that callers have dialled; '' stands for all that the records do not tell.
    CREATE TABLE own_number (
        number TEXT PRIMARY KEY, first_call INTEGER NOT NULL, last_call INTEGER NOT NULL
    ) WITHOUT ROWID;

    -- Rows that are one half of a channel inside the PBX, since this was begun.
    ALTER TABLE totals ADD COLUMN halves INTEGER NOT NULL DEFAULT 0;
",
    "
    -- How the machine was: rows a minute (step 60, kind 1) and rows a quarter of an hour (step 900) with the least (kind 0),
    -- the mean (1) and the most (2) of each figure. Sizes are in mebibytes.
    CREATE TABLE health (
        step INTEGER NOT NULL, at INTEGER NOT NULL, kind INTEGER NOT NULL,
        cpu INTEGER, load INTEGER, memory_total INTEGER, memory_used INTEGER, swap_used INTEGER,
        state_total INTEGER, state_free INTEGER, recordings_total INTEGER, recordings_free INTEGER,
        root_total INTEGER, root_free INTEGER, celsius INTEGER,
        pbx INTEGER, registrations INTEGER, registered INTEGER, clock_offset INTEGER, quiet_seconds INTEGER,
        PRIMARY KEY (step, at, kind)
    ) WITHOUT ROWID;

    -- What was, or is, wrong: closed words and numbers.
    CREATE TABLE alert (
        id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER,
        value INTEGER NOT NULL, UNIQUE (kind, since)
    );
",
    "
    -- Calls by waiting time, and whether they went abroad: `Kind::index`.
    CREATE TABLE kind (
        quarter INTEGER NOT NULL, cell INTEGER NOT NULL, kind INTEGER NOT NULL, calls INTEGER NOT NULL,
        PRIMARY KEY (quarter, cell, kind)
    ) WITHOUT ROWID;

    -- Those of history, packed, to be added to the rows above.
    CREATE TABLE kind_day (id INTEGER PRIMARY KEY, day INTEGER NOT NULL, kinds BLOB NOT NULL);
    CREATE INDEX kind_day_by_day ON kind_day (day);
",
];

/// The version from which on calls have kinds.
const KINDS: usize = 7;

/// The version that this program writes.
pub(super) const KNOWN: i64 = STEPS.len() as i64;

/// The version of a store, if the file is one.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT user_version FROM pragma_user_version", [], |row| row.get(0))
}

/// Brings a store up to date.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    // Another process may be about to do the same: look again once nobody else can write.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = usize::try_from(version(&transaction)?).unwrap_or(STEPS.len());
    for (number, step) in STEPS.iter().enumerate().skip(found) {
        transaction.execute_batch(step)?;
        if number + 1 == KINDS {
            kinds::begin(&transaction)?;
        }
        transaction.pragma_update(None, "user_version", number as i64 + 1)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.commit()
}

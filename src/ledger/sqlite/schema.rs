//! The tables, and how a file becomes a ledger: created, recognised, migrated, refused.

use rusqlite::Connection;

/// Marks the file as ours in SQLite's own header ("OTPD"): another program's database is refused.
pub const APPLICATION_ID: i32 = 0x4f54_5044;

/// Each step brings a ledger of format `index` to format `index + 1`; the last one is the format
/// that this program writes. Steps are never edited once released, only added.
const STEPS: [&str; 1] = [FORMAT_1];

/// The format that this program reads and writes.
#[must_use]
pub fn newest() -> u32 {
    u32::try_from(STEPS.len()).unwrap_or(u32::MAX)
}

/// Brings the file to the newest format, in one transaction.
pub fn migrate(db: &mut Connection, from: u32) -> rusqlite::Result<()> {
    let step = db.transaction()?;
    for sql in &STEPS[from as usize..] {
        step.execute_batch(sql)?;
    }
    step.pragma_update(None, "application_id", APPLICATION_ID)?;
    step.pragma_update(None, "user_version", newest())?;
    step.commit()
}

/// What the tables of a ledger of this format have to look like, in memory.
pub fn made(format: u32) -> rusqlite::Result<Connection> {
    let db = Connection::open_in_memory()?;
    for sql in STEPS.iter().take(format as usize) {
        db.execute_batch(sql)?;
    }
    Ok(db)
}

/// Rows of inputs and jobs take their ids from one counter that never goes back, `ledger.next_id`:
/// a job's id is the id of the row that first asked for it, for ever, even when that row is gone
/// because the file was edited. So a new campaign's rows need no look-up to find their job, and the
/// hot path (`attempt`) is keyed by ids that ascend in the order of work, not by random numbers.
const FORMAT_1: &str = "
CREATE TABLE ledger (
    next_id INTEGER NOT NULL,
    salt    BLOB NOT NULL          -- makes the prints of codes useless outside this file
) STRICT;
INSERT INTO ledger VALUES (1, randomblob(32));

CREATE TABLE campaign (
    id           INTEGER PRIMARY KEY,
    operation    TEXT NOT NULL,
    name         TEXT NOT NULL,
    sandbox      INTEGER NOT NULL,
    input_name   TEXT NOT NULL,    -- the latest input ...
    input_sha256 TEXT NOT NULL,
    reading      TEXT NOT NULL,    -- ... and the settings it was read with
    header       TEXT NOT NULL,
    rows         INTEGER NOT NULL,
    first_row    INTEGER NOT NULL, -- its rows are contact.id first_row .. first_row + rows
    UNIQUE (name, operation, sandbox)
) STRICT;

CREATE TABLE run (
    id           INTEGER PRIMARY KEY,
    campaign     INTEGER NOT NULL,
    started_at   INTEGER NOT NULL,
    finished_at  INTEGER,          -- NULL: running, or killed
    end          TEXT,
    last_left_at INTEGER,
    settings     TEXT NOT NULL,
    version      TEXT NOT NULL
) STRICT;
CREATE INDEX run_campaign ON run (campaign);

CREATE TABLE contact (
    id         INTEGER PRIMARY KEY,
    line       INTEGER NOT NULL,
    record     TEXT NOT NULL,
    lane       INTEGER NOT NULL,
    number     INTEGER,            -- NULL: see problem
    problem    TEXT,
    assumed    INTEGER NOT NULL,   -- taken as a mobile against the numbering plan's data
    job        INTEGER,            -- NULL: its own
    first_line INTEGER,            -- NOT NULL: the same job stands on that line already
    code       TEXT,               -- until the job is settled
    code_print INTEGER             -- keyed hash of the code; 0: none; NULL: masked
) STRICT;

CREATE TABLE known (
    number     INTEGER NOT NULL,
    campaign   INTEGER NOT NULL,
    code_print INTEGER NOT NULL,
    job        INTEGER NOT NULL,
    PRIMARY KEY (number, campaign, code_print)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempt (
    job         INTEGER NOT NULL,
    n           INTEGER NOT NULL,
    run         INTEGER NOT NULL,
    lane        INTEGER NOT NULL,
    try_number  INTEGER NOT NULL,
    tries_max   INTEGER NOT NULL,
    fallback    INTEGER,
    begun_at    INTEGER NOT NULL,  -- microseconds since 1970, as all times here
    left_at     INTEGER,           -- NULL: not answered
    answered_at INTEGER,
    verdict     INTEGER,
    text        TEXT,
    retry_at    INTEGER,
    PRIMARY KEY (job, n)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempt_retry_at ON attempt (lane, retry_at) WHERE retry_at IS NOT NULL;
";

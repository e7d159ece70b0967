//! The tables, and how a file becomes a ledger: created, recognised, migrated, refused.

use rusqlite::Connection;

use super::migrate::from_format_1;
use crate::ledger::tables::error::Result;

/// Marks the file as ours in SQLite's own header ("OTPD"): another program's database is refused.
pub const APPLICATION_ID: i32 = 0x4f54_5044;

/// The format that this program writes; it reads all before it, too.
pub const NEWEST: u32 = 4;

/// Brings the file from format `from` (0: it is empty) to the newest one, in one transaction.
pub fn migrate(db: &mut Connection, from: u32) -> Result<()> {
    let step = db.transaction()?;
    match from {
        0 => {
            step.execute_batch(ALL_FORMATS)?;
            step.execute_batch(FORMAT_2)?;
        }
        1 => from_format_1(&step, FORMAT_2)?,
        _ => {}
    }
    if from < 3 {
        step.execute_batch(FORMAT_3)?;
    }
    if (1..3).contains(&from) {
        step.execute_batch(FORMER_OF_OLDER_FORMATS)?;
    }
    step.execute_batch(FORMAT_4)?;
    step.pragma_update(None, "application_id", APPLICATION_ID)?;
    step.pragma_update(None, "user_version", NEWEST)?;
    Ok(step.commit()?)
}

/// What the tables of a ledger of this format have to look like, in memory.
pub fn made(format: u32) -> rusqlite::Result<Connection> {
    let db = Connection::open_in_memory()?;
    db.execute_batch(ALL_FORMATS)?;
    db.execute_batch(if format == 1 { FORMAT_1 } else { FORMAT_2 })?;
    if format > 2 {
        db.execute_batch(FORMAT_3)?;
    }
    if format > 3 {
        db.execute_batch(FORMAT_4)?;
    }
    Ok(db)
}

/// Rows of inputs and jobs take their ids from one counter that never goes back, `ledger.next_id`:
/// a job's id is the id of the row that first asked for it, for ever, even when that row is gone
/// because the file was edited. So a new campaign's rows need no look-up to find their job, and
/// `intent` is keyed by ids that ascend in the order of work, not by random numbers.
const ALL_FORMATS: &str = "
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

CREATE TABLE known (
    number     INTEGER NOT NULL,
    campaign   INTEGER NOT NULL,
    code_print INTEGER NOT NULL,
    job        INTEGER NOT NULL,
    PRIMARY KEY (number, campaign, code_print)
) STRICT, WITHOUT ROWID;
";

/// Facts are appended, never changed: an intent and an answer per attempt, what turns up in a run.
/// Rows are sealed (a keyed checksum), and their records lie apart, for most readers skip them.
const FORMAT_2: &str = "
CREATE TABLE run (
    id           INTEGER PRIMARY KEY,
    campaign     INTEGER NOT NULL,
    started_at   INTEGER NOT NULL, -- microseconds since 1970, as all times here
    first_answer INTEGER NOT NULL, -- its answers are answer.seq from here up to the next run's
    endpoint     TEXT NOT NULL,
    policy       TEXT NOT NULL,    -- JSON, as settings
    settings     TEXT NOT NULL,
    version      TEXT NOT NULL,
    finished_at  INTEGER,          -- NULL: running, or killed
    end          TEXT,
    last_left_at INTEGER,
    inode        INTEGER           -- the file's, as long as it is not whole without its log
) STRICT;
CREATE INDEX run_campaign ON run (campaign);

CREATE TABLE run_fact (
    run  INTEGER NOT NULL,
    seq  INTEGER NOT NULL,
    fact TEXT NOT NULL,            -- JSON
    PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE contact (
    id      INTEGER PRIMARY KEY,
    line    INTEGER NOT NULL,
    lane    INTEGER NOT NULL,
    kind    INTEGER NOT NULL,      -- 0: asks for work, 1: invalid, 2: duplicate; see special
    assumed INTEGER NOT NULL,      -- taken as a mobile against the numbering plan's data
    number  INTEGER,               -- NULL: none could be read
    job     INTEGER,               -- NULL: its own
    seal    INTEGER NOT NULL
) STRICT;

CREATE TABLE special (
    row  INTEGER PRIMARY KEY,
    text TEXT NOT NULL             -- why it is invalid, or the line that it is a duplicate of
) STRICT;

CREATE TABLE block (
    first   INTEGER PRIMARY KEY,   -- the first of the rows whose records these are
    sum     INTEGER NOT NULL,
    records TEXT NOT NULL          -- JSON
) STRICT;

CREATE TABLE code (
    job  INTEGER PRIMARY KEY,
    code TEXT NOT NULL             -- until the job is settled
) STRICT;

CREATE TABLE intent (
    id       INTEGER PRIMARY KEY,  -- job << 20 | n
    run      INTEGER NOT NULL,
    lane     INTEGER NOT NULL,
    begun_at INTEGER NOT NULL
) STRICT;

CREATE TABLE answer (
    seq         INTEGER PRIMARY KEY,
    id          INTEGER NOT NULL,  -- of its intent
    left_at     INTEGER,           -- NULL: it never left
    answered_at INTEGER NOT NULL,
    verdict     INTEGER NOT NULL,
    text        TEXT NOT NULL,
    retry_at    INTEGER
) STRICT;
CREATE INDEX answer_retry_at ON answer (seq) WHERE retry_at IS NOT NULL;

-- For people who look into the file; slow.
CREATE VIEW attempt AS
SELECT i.id >> 20 AS job, i.id & 1048575 AS n, i.run, i.lane, i.begun_at,
       a.left_at, a.answered_at, a.verdict, a.text, a.retry_at
  FROM intent i LEFT JOIN answer a ON a.id = i.id;
";

/// What is known beyond the latest input and the requests themselves.
const FORMAT_3: &str = "
CREATE TABLE suppressed (          -- what the campaign's latest run left out
    job      INTEGER PRIMARY KEY,
    campaign INTEGER NOT NULL,
    by       TEXT NOT NULL,        -- the campaign that sent to it, or the list that it stands in
    at       INTEGER               -- when that campaign sent to it; NULL: it stands in a list
) STRICT;

CREATE TABLE former (              -- jobs with attempts that the latest input asks for no more
    job      INTEGER PRIMARY KEY,
    campaign INTEGER NOT NULL,
    line     INTEGER NOT NULL,     -- where it last stood
    lane     INTEGER NOT NULL,
    number   INTEGER NOT NULL,
    header   TEXT NOT NULL,        -- of its record; '': neither was kept
    record   TEXT NOT NULL
) STRICT;
CREATE INDEX former_campaign ON former (campaign);

CREATE TABLE stood (               -- where the codes of earlier inputs stood: what a mask may mean
    campaign INTEGER NOT NULL,
    line     INTEGER NOT NULL,
    job      INTEGER NOT NULL,     -- of a masked code that could not be told: minus the number
    PRIMARY KEY (campaign, line, job)
) STRICT, WITHOUT ROWID;

CREATE TABLE lookup (              -- what a person found out about an attempt; the latest counts
    attempt INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    sent    INTEGER NOT NULL,
    PRIMARY KEY (attempt, at)
) STRICT, WITHOUT ROWID;
";

/// What is left of campaigns whose people were taken out.
const FORMAT_4: &str = "
CREATE TABLE purged (
    campaign    INTEGER PRIMARY KEY,
    at          INTEGER NOT NULL,
    last_active INTEGER NOT NULL,  -- when something last happened in it
    counts      TEXT NOT NULL,     -- JSON: its rows by status, and those of earlier inputs
    swept       INTEGER NOT NULL   -- the file was written anew since
) STRICT;
";

/// Older formats dropped the rows that an input asked for no more; their attempts are there.
const FORMER_OF_OLDER_FORMATS: &str = "
INSERT INTO former
SELECT k.job, k.campaign, 0, i.lane, k.number, '', ''
  FROM known k JOIN intent i ON i.id = k.job << 20 | 1
 WHERE k.job NOT IN (SELECT coalesce(job, id) FROM contact WHERE kind = 0);
";

/// The tables that format 1 had instead.
const FORMAT_1: &str = "
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

//! The tables on a server: made, recognised, refused.
//!
//! They are those of a file (`sqlite/schema.rs` says what they mean), but that each answer lies by its
//! attempt, and with them what several machines share: who works on a run, which rows each of them
//! has, and the one line of time on which all requests leave.

use tokio_postgres::{Error, Row};

use super::fleet;
use super::server::{Purpose, Server};
use crate::ledger::tables::db::Value;
use crate::ledger::tables::error::{Fault, Result};

/// The format that this program writes.
pub const NEWEST: i64 = 2;

/// What each format added to the one before it.
const FORMATS: [&str; 2] = [FIRST, SECOND];

/// Which server it is, and which of its histories: a standby that took over begins another. One that
/// has not, and only reads, has none to tell.
macro_rules! identity {
    () => {
        "SELECT system_identifier::text, CASE WHEN NOT pg_is_in_recovery()
            THEN substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END FROM pg_control_system()"
    };
}

/// Compares it with what is noted; a standby has nothing to compare.
pub const CHANGED: &str = concat!(
    "SELECT l.system = i.s, l.timeline = i.t, l.timeline, i.t FROM {schema}.ledger l, (",
    identity!(),
    ") i(s, t) WHERE NOT pg_is_in_recovery()"
);

/// How the tables of a server stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// There are none of ours.
    Nothing,
    /// They are there, in this format.
    Format(i64),
}

/// Are there tables of a ledger?
pub fn find(server: &Server) -> Result<Found> {
    let sql = "SELECT count(*) FROM pg_tables WHERE schemaname = ?1 AND tablename = 'ledger'";
    let values = [Value::from(server.schema())];
    let there = server.query(sql, &values)?;
    let there: i64 = there.first().ok_or(Fault::NoRow)?.try_get(0)?;
    if there == 0 {
        return Ok(Found::Nothing);
    }
    let format = server.query("SELECT format FROM ledger", &[])?;
    Ok(Found::Format(
        format.first().ok_or(Fault::NoRow)?.try_get(0)?,
    ))
}

/// Makes the tables, unless somebody else has made them meanwhile.
pub fn make(server: &Server) -> Result<()> {
    let schema = server.schema();
    let step = server.step(Purpose::Write)?;
    lock(server)?;
    if find(server)? == Found::Nothing {
        // To make one that is there asks for a right that who owns it may lack.
        let there = "SELECT 1 FROM pg_namespace WHERE nspname = ?1";
        if server.query(there, &[Value::from(schema)])?.is_empty() {
            server.batch(&format!("CREATE SCHEMA {schema}"))?;
        }
        for format in FORMATS {
            server.batch(format)?;
        }
        let new = format!(
            "INSERT INTO ledger (next_id, salt, format, system, timeline)
             SELECT 1, sha256((gen_random_uuid()::text || gen_random_uuid()::text)::bytea), {NEWEST},
                    i.* FROM ({}) i",
            identity!()
        );
        server.batch(&new)?;
    }
    step.commit()
}

/// Brings tables of an older format to the newest, unless somebody else has done so meanwhile.
pub fn migrate(server: &Server) -> Result<()> {
    let older = || match find(server)? {
        Found::Format(found) if found < NEWEST => Ok(usize::try_from(found).ok()),
        _ => Ok::<_, Fault>(None),
    };
    if older()?.is_none() {
        return Ok(());
    }
    let step = server.step(Purpose::Write)?;
    lock(server)?;
    if let Some(found) = older()? {
        if let Some(holder) = fleet::holder(server)? {
            return Err(Fault::Refused(format!(
                "its tables are those of an older version, with which others work right now ({holder}): wait until they have ended"
            )));
        }
        for format in FORMATS.iter().skip(found) {
            server.batch(format)?;
        }
        server.execute("UPDATE ledger SET format = ?1", &[NEWEST.into()])?;
    }
    step.commit()
}

/// Waits for its turn to write what only one at a time may, until the step that is under way is over.
pub fn lock(server: &Server) -> Result<()> {
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('otpdrive ' || ?1, 0))::text";
    server
        .query(lock, &[Value::from(server.schema())])
        .map(drop)
}

/// Is it a standby?
pub fn is_standby(server: &Server) -> Result<bool> {
    let standby = server.query("SELECT pg_is_in_recovery()", &[])?;
    Ok(standby.first().ok_or(Fault::NoRow)?.try_get(0)?)
}

/// Is it the server, and the history of it, in which all was written? `None`: it is, or it is a
/// standby, which only reads.
pub fn changed(server: &Server) -> Result<Option<String>> {
    let sql = CHANGED.replace("{schema}", server.schema());
    let found = server.query(&sql, &[])?;
    Ok(found.first().map_or(Ok(None), change)?)
}

/// What [`CHANGED`] found, in words.
pub fn change(row: &Row) -> Result<Option<String>, Error> {
    let (system, timeline): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
    Ok(match (system, timeline) {
        (true, true) => None,
        (false, _) => Some("it is another server, restored from a backup or copied".to_owned()),
        (true, false) => Some(format!(
            "its history is another one (timeline {}, was {}): a standby took over, or a backup was restored",
            row.try_get::<_, &str>(3)?,
            row.try_get::<_, &str>(2)?
        )),
    })
}

/// From now on this server, in this history, is the right one.
pub fn accept(server: &Server) -> Result<()> {
    let sql = concat!("UPDATE ledger SET (system, timeline) = (", identity!(), ")");
    server.execute(sql, &[]).map(drop)
}

/// The view of those who are there.
macro_rules! worker_on {
    () => {
        "
CREATE VIEW worker_on AS
SELECT * FROM worker
 WHERE finished_at IS NULL AND lost_at IS NULL AND lease_until > now_micros();
"
    };
}

/// What all who work together count, for the ceilings that a run has been given.
const SECOND: &str = concat!(
    "
DROP VIEW worker_on;
ALTER TABLE worker DROP COLUMN sharing,
    ADD COLUMN outages bigint NOT NULL DEFAULT 0;  -- a bit for each in which it is
",
    worker_on!(),
    "
CREATE TABLE run_count (           -- runs that have ceilings
    run      bigint PRIMARY KEY,
    ceilings text NOT NULL,        -- those that it was given
    zone     text NOT NULL,        -- where it counts days, if it does
    started  bigint NOT NULL,      -- numbers
    sms      bigint NOT NULL,      -- requests of the campaign that are billed, or may be
    calls    bigint NOT NULL
) WITH (fillfactor = 10);

CREATE TABLE day_count (           -- OTPs of such runs that left on a day, or may have
    sandbox bigint NOT NULL,
    zone    text NOT NULL,
    day     bigint NOT NULL,       -- its first moment
    sms     bigint NOT NULL,
    calls   bigint NOT NULL,
    PRIMARY KEY (sandbox, zone, day)
) WITH (fillfactor = 10);
"
);

const FIRST: &str = concat!(
    "
CREATE FUNCTION now_micros() RETURNS bigint LANGUAGE sql VOLATILE AS
    'SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint';

CREATE TABLE ledger (
    next_id  bigint NOT NULL,
    salt     bytea NOT NULL,
    format   bigint NOT NULL,
    system   text NOT NULL,
    timeline text NOT NULL
);

CREATE TABLE campaign (
    id           bigint PRIMARY KEY,
    operation    text NOT NULL,
    name         text NOT NULL,
    sandbox      bigint NOT NULL,
    input_name   text NOT NULL,
    input_sha256 text NOT NULL,
    reading      text NOT NULL,
    header       text NOT NULL,
    rows         bigint NOT NULL,
    first_row    bigint NOT NULL,
    UNIQUE (name, operation, sandbox)
);

CREATE TABLE known (
    number     bigint NOT NULL,
    campaign   bigint NOT NULL,
    code_print bigint NOT NULL,
    job        bigint NOT NULL,
    PRIMARY KEY (number, campaign, code_print)
);

CREATE TABLE run (
    id           bigint PRIMARY KEY,
    campaign     bigint NOT NULL,
    started_at   bigint NOT NULL,
    first_answer bigint NOT NULL,
    endpoint     text NOT NULL,
    policy       text NOT NULL,
    settings     text NOT NULL,
    version      text NOT NULL,
    finished_at  bigint,
    \"end\"        text,
    last_left_at bigint
);
CREATE INDEX run_campaign ON run (campaign);

CREATE TABLE run_fact (
    run  bigint NOT NULL,
    seq  bigint NOT NULL,          -- the worker's id << 32, and its place among the worker's facts
    fact text NOT NULL,
    PRIMARY KEY (run, seq)
);

CREATE TABLE contact (
    id      bigint PRIMARY KEY,
    line    bigint NOT NULL,
    lane    bigint NOT NULL,
    kind    bigint NOT NULL,
    assumed bigint NOT NULL,
    number  bigint,
    job     bigint,
    seal    bigint NOT NULL
);

CREATE TABLE special (
    row  bigint PRIMARY KEY,
    text text NOT NULL
);

CREATE TABLE block (
    first   bigint PRIMARY KEY,
    sum     bigint NOT NULL,
    records text NOT NULL
);

CREATE TABLE code (
    job  bigint PRIMARY KEY,
    code text NOT NULL             -- sealed with a key that the server does not have
);

CREATE TABLE intent (
    id       bigint PRIMARY KEY,   -- job << 20 | n: whoever inserts it may send
    run      bigint NOT NULL,
    lane     bigint NOT NULL,
    begun_at bigint NOT NULL,
    worker   bigint NOT NULL
);

CREATE TABLE answer (
    id          bigint PRIMARY KEY,
    left_at     bigint,
    answered_at bigint NOT NULL,
    verdict     bigint NOT NULL,
    text        text NOT NULL,
    retry_at    bigint
);
CREATE INDEX answer_retry_at ON answer (id) WHERE retry_at IS NOT NULL;

CREATE VIEW attempt AS
SELECT i.id >> 20 AS job, i.id & 1048575 AS n, i.run, i.worker, i.lane, i.begun_at,
       a.left_at, a.answered_at, a.verdict, a.text, a.retry_at
  FROM intent i LEFT JOIN answer a ON a.id = i.id;

CREATE TABLE suppressed (
    job      bigint PRIMARY KEY,
    campaign bigint NOT NULL,
    by       text NOT NULL,
    at       bigint
);

CREATE TABLE former (
    job      bigint PRIMARY KEY,
    campaign bigint NOT NULL,
    line     bigint NOT NULL,
    lane     bigint NOT NULL,
    number   bigint NOT NULL,
    header   text NOT NULL,
    record   text NOT NULL
);
CREATE INDEX former_campaign ON former (campaign);

CREATE TABLE stood (
    campaign bigint NOT NULL,
    line     bigint NOT NULL,
    job      bigint NOT NULL,
    PRIMARY KEY (campaign, line, job)
);

CREATE TABLE lookup (
    attempt bigint NOT NULL,
    at      bigint NOT NULL,
    sent    bigint NOT NULL,
    PRIMARY KEY (attempt, at)
);

CREATE TABLE purged (
    campaign    bigint PRIMARY KEY,
    at          bigint NOT NULL,
    last_active bigint NOT NULL,
    counts      text NOT NULL,
    swept       bigint NOT NULL
);

CREATE TABLE worker (              -- a process that works on a run
    id           bigint PRIMARY KEY,
    run          bigint NOT NULL,
    sandbox      bigint NOT NULL,
    host         text NOT NULL,
    version      text NOT NULL,
    started_at   bigint NOT NULL,
    lease_until  bigint NOT NULL,  -- all times here are the server's
    steady_since bigint NOT NULL,  -- since when it never was late
    finished_at  bigint,           -- it left
    lost_at      bigint,           -- it was late, and others go on without it
    interval_us  bigint NOT NULL,  -- between two requests at its rate; 0: any
    calls_us     bigint NOT NULL,
    sharing      bigint NOT NULL   -- 1: its run, 2: its account is counted by it alone
) WITH (fillfactor = 50);
CREATE INDEX worker_run ON worker (run);

",
    worker_on!(),
    "
CREATE TABLE stop (                -- why all workers of a run stop
    run bigint PRIMARY KEY,
    why text NOT NULL
);

CREATE TABLE ahead (               -- rows of a run that nobody has looked at yet
    run  bigint NOT NULL,
    lane bigint NOT NULL,
    next bigint NOT NULL,
    past bigint NOT NULL,
    PRIMARY KEY (run, lane)
) WITH (fillfactor = 10);

CREATE TABLE slice (               -- rows that a worker has, or that one has left behind
    run    bigint NOT NULL,
    lane   bigint NOT NULL,
    first  bigint NOT NULL,
    past   bigint NOT NULL,
    worker bigint,
    PRIMARY KEY (run, lane, first)
) WITH (fillfactor = 50);
CREATE INDEX slice_free ON slice (run, lane, first) WHERE worker IS NULL;

CREATE TABLE pace (                -- the line of time on which requests leave
    sandbox bigint NOT NULL,
    share   bigint NOT NULL,       -- 0: all, 1: calls
    tat     bigint NOT NULL,       -- when the next slot begins
    PRIMARY KEY (sandbox, share)
) WITH (fillfactor = 10);

CREATE TABLE hold (                -- until when the gateway asked to wait
    sandbox bigint NOT NULL,
    lane    bigint NOT NULL,
    until   bigint NOT NULL,
    PRIMARY KEY (sandbox, lane)
) WITH (fillfactor = 10);
"
);

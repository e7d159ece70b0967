//! The ledger opened from any bytes, and from a real one that was damaged: read or refused.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::OnceLock;

use otpdrive::ledger::LedgerError;
use otpdrive::ledger::sqlite::{CampaignKey, SqliteLedger};
use otpdrive::outcome::{Contact, GivenCode, Lane, Number, Operation, UnixMicros, Wish};
use otpdrive::record::{End, InputRecord, Row};
use otpdrive::summary::Summary;
use rusqlite::Connection;

use super::choices::Choices;

const NOW: UnixMicros = UnixMicros(1_700_000_000_000_000);

/// How much a ledger may grow by two rows and a run.
const GROWTH_MAX: u64 = 1 << 20;

/// Every reader of a ledger ends, with what it found or with an error, and what was there is never
/// taken for nothing.
pub fn check(bytes: &[u8]) {
    let folder = super::folder();
    let path = folder.path().join("ledger.db");
    let mut choices = Choices::new(bytes);
    match choices.below(3) {
        0 => {
            let bytes = choices.rest();
            std::fs::write(&path, bytes).expect("a file");
            let opened = use_it(&path);
            let ours = bytes.is_empty() || bytes.starts_with(b"SQLite format 3\0");
            assert!(
                ours || opened.is_err(),
                "any bytes were taken for a ledger: {bytes:?}"
            );
        }
        1 => {
            let mut bytes = real().to_vec();
            damage(&mut bytes, &mut choices);
            std::fs::write(&path, &bytes).expect("a file");
            if choices.rarely(8) {
                std::fs::write(folder.path().join("ledger.db-wal"), choices.rest())
                    .expect("a file");
            }
            let _ = use_it(&path);
        }
        _ => {
            std::fs::write(&path, real()).expect("a file");
            twist(&path, &mut choices).expect("it takes any value");
            let _ = use_it(&path);
        }
    }
}

/// Everything that a run, `report` and `status` do with a ledger.
fn use_it(path: &Path) -> Result<(), LedgerError> {
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    let before = size(path);
    let looked = look(path);
    if let Err(error) = &looked {
        let text = error.to_string();
        assert!(super::is_readable(&text, 2_000), "{text:?}");
        assert!(
            before == 0 || !text.contains("it is empty"),
            "it is not empty: {text}"
        );
    }
    let opened = run(path);
    if let Err(error) = &opened {
        assert!(super::is_readable(&error.to_string(), 2_000), "{error:?}");
    }
    let after = size(path) + size(&path.with_extension("db-wal"));
    assert!(
        after <= before + GROWTH_MAX,
        "{before} bytes became {after}"
    );
    opened
}

fn look(path: &Path) -> Result<(), LedgerError> {
    let ledger = SqliteLedger::open_to_read(path)?;
    for campaign in ledger.campaigns()? {
        let mut summary = Summary::default();
        ledger.for_each_row(&campaign, true, &mut |row: &Row| {
            summary.add(row, &row.outcome());
            ControlFlow::Continue(())
        })?;
        if let Some(run) = ledger.latest_run(campaign.record.id)? {
            ledger.for_each_departure(run.id, |_| ())?;
        }
    }
    Ok(())
}

fn run(path: &Path) -> Result<(), LedgerError> {
    let mut ledger = SqliteLedger::open(path)?;
    for operation in [Operation::Send, Operation::Verify] {
        let input = input(2, "second");
        let Ok(intake) = ledger.take_in(&key(operation), &input, "r", contacts(operation, 2))?;
        intake.for_each_row(|row, _| drop(row.outcome()))?;
        let (campaign, run) = intake.begin_run(NOW, &serde_json::Value::Null)?;
        ledger.for_each_row(&campaign, false, &mut |_| ControlFlow::Continue(()))?;
        ledger.finish_run(run, NOW, &End::Complete, Some(NOW))?;
    }
    ledger.campaigns().map(drop)
}

fn key(operation: Operation) -> CampaignKey {
    CampaignKey {
        operation,
        name: "list".to_owned(),
        sandbox: false,
    }
}

fn input(rows: u64, content: &str) -> InputRecord {
    InputRecord {
        name: "list.csv".to_owned(),
        sha256: content.to_owned(),
        rows,
        header: "phone".to_owned(),
    }
}

fn contacts(operation: Operation, rows: u64) -> impl Iterator<Item = Result<Contact, Infallible>> {
    (0..rows).map(move |n| {
        let (lane, code) = match operation {
            Operation::Send => (Lane::Sms, None),
            Operation::Verify if n % 2 == 0 => (Lane::Verify, Some(GivenCode::Masked)),
            Operation::Verify => (Lane::Verify, Some(GivenCode::Plain("004512".into()))),
        };
        Ok(Contact {
            line: n + 2,
            record: "9876543210".to_owned(),
            wish: Ok(Wish {
                number: Number::new(919_876_543_210 + n / 2).expect("a number"),
                lane,
                code,
                assumed_mobile: false,
            }),
        })
    })
}

/// The bytes of a real ledger: two campaigns, a run of each, an attempt with each verdict.
fn real() -> &'static [u8] {
    static REAL: OnceLock<Vec<u8>> = OnceLock::new();
    REAL.get_or_init(|| {
        let folder = super::folder();
        let path = folder.path().join("real.db");
        let mut ledger = SqliteLedger::open(&path).expect("a new ledger");
        for operation in [Operation::Send, Operation::Verify] {
            let input = input(12, "first");
            let Ok(intake) = ledger
                .take_in(&key(operation), &input, "r", contacts(operation, 12))
                .expect("it is written");
            let settings = serde_json::json!({"rate_per_s": 10.0});
            let (campaign, run) = intake.begin_run(NOW, &settings).expect("it is written");
            ledger.finish_run(run, NOW, &End::Complete, Some(NOW)).expect("it is written");
            let mut rows = 0;
            let count = &mut |_: &Row| {
                rows += 1;
                ControlFlow::Continue(())
            };
            ledger.for_each_row(&campaign, true, count).expect("it is read");
            assert_eq!(rows, 12);
        }
        drop(ledger);
        let db = Connection::open(&path).expect("a database");
        db.execute_batch(
            "INSERT INTO attempt SELECT id, 1, 1, lane, 1, 5, NULL, 1700000000000000, 1700000000000001,
                    1700000000000002, 1 + id % 9, 'said', NULL FROM contact WHERE first_line IS NULL;
             PRAGMA wal_checkpoint(TRUNCATE);",
        )
        .expect("it is written");
        drop(db);
        std::fs::read(&path).expect("it is there")
    })
}

/// Some bytes changed, the end cut off, or a page put in another's place.
fn damage(bytes: &mut Vec<u8>, choices: &mut Choices<'_>) {
    const PAGE: usize = 4096;
    match choices.below(8) {
        0 => bytes.truncate(choices.size(bytes.len())),
        1 => {
            let pages = bytes.len() / PAGE;
            let (from, to) = (choices.size(pages) * PAGE, choices.size(pages) * PAGE);
            bytes.copy_within(from..from + PAGE, to);
        }
        2 => {
            let page = choices.size(bytes.len() / PAGE) * PAGE;
            bytes[page..page + PAGE].fill(choices.of(&[0, 0xff]));
        }
        _ => {}
    }
    for _ in 0..=choices.below(8) {
        // The beginning of a file and of a page say what the rest is.
        let page = choices.size(bytes.len() / PAGE + 1) * PAGE;
        let at = match choices.below(4) {
            0 => choices.size(100),
            1 => page + choices.size(12),
            2 => page + choices.size(128),
            _ => page + choices.size(PAGE),
        };
        if let Some(byte) = bytes.get_mut(at) {
            *byte = choices.byte();
        }
    }
}

const COLUMNS: [(&str, &[&str]); 6] = [
    ("ledger", &["next_id", "salt"]),
    (
        "campaign",
        &[
            "id",
            "operation",
            "name",
            "sandbox",
            "input_sha256",
            "reading",
            "header",
            "rows",
            "first_row",
        ],
    ),
    (
        "run",
        &[
            "id",
            "campaign",
            "started_at",
            "finished_at",
            "end",
            "last_left_at",
            "settings",
            "version",
        ],
    ),
    (
        "contact",
        &[
            "id",
            "line",
            "record",
            "lane",
            "number",
            "problem",
            "assumed",
            "job",
            "first_line",
            "code",
            "code_print",
        ],
    ),
    ("known", &["number", "campaign", "code_print", "job"]),
    (
        "attempt",
        &[
            "job",
            "n",
            "run",
            "lane",
            "try_number",
            "tries_max",
            "fallback",
            "begun_at",
            "left_at",
            "answered_at",
            "verdict",
            "text",
            "retry_at",
        ],
    ),
];

const VALUES: [&str; 17] = [
    "NULL",
    "0",
    "1",
    "-1",
    "2",
    "3",
    "10",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "1000000000000000",
    "''",
    "'x'",
    "CAST(X'ff' AS TEXT)",
    "CAST(X'00' AS TEXT)",
    "X''",
    "'{\"stopped\":{\"kind\":\"limit\",\"message\":\"\u{7}\"}}'",
];

/// Values that nobody wrote, in any column that takes them.
fn twist(path: &Path, choices: &mut Choices<'_>) -> rusqlite::Result<()> {
    let db = Connection::open(path)?;
    for _ in 0..=choices.below(4) {
        let (table, columns) = choices.of(&COLUMNS);
        let (column, value) = (choices.of(columns), choices.of(&VALUES));
        let some = choices.of(&["1", "rowid % 2 = 0", "rowid = 1"]);
        let some = if ["known", "attempt"].contains(&table) {
            "1"
        } else {
            some
        };
        // Values of the wrong type are refused by the tables themselves.
        let _ = db.execute(
            &format!("UPDATE OR IGNORE {table} SET {column} = {value} WHERE {some}"),
            [],
        );
    }
    if choices.rarely(8) {
        let table = choices.of(&COLUMNS).0;
        let _ = db.execute(
            &format!("{}{table}", choices.of(&["DELETE FROM ", "DROP TABLE "])),
            [],
        );
    }
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

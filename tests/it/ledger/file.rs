//! What only a file can do: who holds it, what makes it none of ours, what its bytes say.

use std::fs;
use std::path::Path;
use std::time::Duration;

use otpdrive::job::{Lane, Operation, UnixMicros, VerdictKind};
use otpdrive::ledger::{Ledger, LedgerError, Rest, Run, Slots, Store, Then, Wanted};
use otpdrive::run::End;
use rusqlite::Connection;

use super::purge::{days_later, live};
use super::{
    Home, Room, all_due, attempt, begin, close, contact, former, left, now, number, plain, sends,
};

fn home() -> Home {
    Room::disk().home()
}

/// A way to open a file.
type Open = fn(&Path) -> Result<Store, LedgerError>;

const OPENS: [Open; 2] = [|path| Store::open(path), |path| Store::open_to_read(path)];

#[tokio::test]
async fn a_code_is_blank_in_the_bytes_when_its_job_is_settled_also_after_a_crash() {
    let codes = |home: &Home| -> Vec<String> {
        let db = Connection::open(home.path()).unwrap();
        let mut select = db.prepare("SELECT code FROM code ORDER BY job").unwrap();
        let codes = select.query_map([], |row| row.get(0)).unwrap();
        codes.map(Result::unwrap).collect()
    };
    let home = home();
    let given = [
        contact(2, 1, Some(plain("111111"))),
        contact(3, 2, Some(plain("222222"))),
        contact(4, 3, Some(plain("333333"))),
    ];
    let (ledger, run) = home.start(Operation::Verify, &given);
    let mut jobs = all_due(&ledger, Lane::Verify).await;
    for job in &mut jobs[..2] {
        attempt(&ledger, job, run, VerdictKind::Accepted).await;
    }
    attempt(&ledger, &mut jobs[2], run, VerdictKind::Throttled).await;
    ledger.rest(&jobs[0], Rest::Settled).await;
    ledger.rest(&jobs[2], Rest::Open).await;
    drop(close(ledger).await);
    drop(home.open());
    assert_eq!(codes(&home), ["222222", "333333"]);
    let bytes = fs::read(home.path()).unwrap();
    let holds = |code: &[u8]| bytes.windows(code.len()).any(|bytes| bytes == code);
    assert!(!holds(b"111111") && holds(b"222222"));
    // The same input again, and another that has the settled code in it.
    for given in [&given[..], &given[1..]] {
        drop(home.begin(Operation::Verify, given));
        assert_eq!(codes(&home), ["333333"]);
    }
    assert_eq!(home.wrong(), [""; 0]);
}

#[tokio::test]
async fn no_more_is_due_than_was_asked_for_and_the_next_time_what_comes_behind() {
    let home = home();
    let (ledger, _) = home.start(Operation::Send, &sends(&[1, 2, 3, 4, 5]));
    for (limit, expected, then) in [
        (2, &[2, 3][..], Then::More),
        (1, &[4], Then::More),
        (9, &[5, 6], Then::Done),
    ] {
        let due = ledger.due(Lane::Sms, limit).await.unwrap();
        let lines: Vec<u64> = due.jobs.iter().map(|job| job.line).collect();
        assert_eq!((&lines[..], due.then), (expected, then));
    }
    close(ledger).await;
}

/// When the latest request before this run left, as far as is known.
async fn after(ledger: &Run) -> Option<UnixMicros> {
    match ledger.reserve(Wanted::default()).await.unwrap().slots {
        Slots::Own { count: 1, after } => after,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_last_departure_is_known_after_a_killed_run_too() {
    let home = home();
    let input = sends(&[1, 2, 3]);
    let (ledger, run) = home.start(Operation::Send, &input);
    assert_eq!(after(&ledger).await, None);
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    attempt(&ledger, &mut jobs[0], run, VerdictKind::Accepted).await;
    attempt(&ledger, &mut jobs[1], run, VerdictKind::Withdrawn).await;
    // No note of how the run ended.
    drop(close(ledger).await);
    let (ledger, run) = home.start(Operation::Send, &input);
    assert_eq!(after(&ledger).await, Some(left()));
    assert_eq!(after(&ledger).await, None, "said once");
    let ledger = close(ledger).await;
    let later = left() + Duration::from_mins(1);
    ledger
        .finish_run(run, later, &End::Complete, Some(later))
        .unwrap();
    let campaign = ledger.campaigns().unwrap().remove(0).record.id;
    let run = ledger.latest_run(campaign).unwrap().unwrap();
    assert_eq!(run.end, Some(End::Complete));
    drop(ledger);
    let (ledger, _) = home.start(Operation::Send, &input);
    assert_eq!(after(&ledger).await, Some(later));
    close(ledger).await;
}

/// As on a server, from which it may have been copied.
#[tokio::test]
async fn the_last_departure_may_be_one_of_a_run_that_went_on_beside_the_latest() {
    let home = home();
    let input = sends(&[1, 2, 3]);
    let begin = async |expected: Option<UnixMicros>| {
        let (ledger, run) = home.start(Operation::Send, &input);
        assert_eq!(after(&ledger).await, expected);
        (close(ledger).await, run)
    };
    let later = left() + Duration::from_mins(1);
    for (expected, left_at) in [(None, later), (Some(later), later)] {
        let (ledger, run) = begin(expected).await;
        ledger
            .finish_run(run, later, &End::Complete, Some(left_at))
            .unwrap();
    }
    // One that began before it was at work for longer ...
    let beside = later + Duration::from_mins(1);
    let first = |finished_at: UnixMicros| {
        let (at, left) = (finished_at.0, beside.0);
        format!("UPDATE run SET finished_at = {at}, last_left_at = {left} WHERE id = 1")
    };
    home.change(&first(beside));
    let (ledger, run) = begin(Some(beside)).await;
    ledger.finish_run(run, later, &End::Complete, None).unwrap();
    drop(ledger);
    // ... or had a clock that was ahead.
    home.change(&first(UnixMicros(now().0 - 1)));
    begin(Some(later)).await;
}

#[tokio::test]
async fn a_request_without_an_answer_may_have_left_a_second_after_its_intent() {
    let home = home();
    let input = sends(&[1, 2]);
    let (ledger, run) = home.start(Operation::Send, &input);
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    begin(&ledger, &mut jobs[0], run).await;
    drop(close(ledger).await);
    let (ledger, _) = home.start(Operation::Send, &input);
    assert_eq!(after(&ledger).await, Some(left()));
    close(ledger).await;
}

#[test]
fn a_reader_that_looks_again_knows_whether_anything_was_written() {
    let home = home();
    drop(Store::open(&home.path()).unwrap());
    let mut reader = Store::open_to_read(&home.path()).unwrap();
    let mut looks = || reader.look_again().unwrap();
    assert!(!looks());
    let write = "CREATE TABLE made (it); DROP TABLE made;";
    home.change(write);
    assert!(looks());
    assert!(!looks());
}

#[test]
fn a_second_process_is_refused_until_the_first_lets_go() {
    let home = home();
    let first = Store::open(&home.path()).unwrap();
    let Err(LedgerError::Held { holder, .. }) = Store::open(&home.path()) else {
        panic!("held");
    };
    assert!(holder.contains(&std::process::id().to_string()), "{holder}");
    let reader = Store::open_to_read(&home.path()).unwrap();
    assert_eq!(reader.holder().unwrap(), Some(holder));
    drop(first);
    assert!(Store::open(&home.path()).is_ok());
    assert_eq!(reader.holder().unwrap(), None);
}

#[test]
fn what_is_no_ledger_or_too_new_is_refused() {
    let home = home();
    assert!(matches!(
        Store::open_to_read(&home.path()),
        Err(LedgerError::Missing(_))
    ));
    let db = Connection::open(home.path()).unwrap();
    db.execute_batch("CREATE TABLE mine (x)").unwrap();
    for open in OPENS {
        let refused = open(&home.path());
        assert!(matches!(refused, Err(LedgerError::NotALedger { .. })));
    }
    fs::write(home.folder().join("short"), [0]).unwrap();
    for open in OPENS {
        let refused = open(&home.folder().join("short"));
        assert!(matches!(refused, Err(LedgerError::NotALedger { .. })));
    }
    db.execute_batch("DROP TABLE mine").unwrap();
    for open in OPENS {
        let refused = open(&home.path());
        assert!(matches!(refused, Err(LedgerError::NotALedger { .. })));
    }
    drop(db);
    fs::remove_file(home.path()).unwrap();
    drop(Store::open(&home.path()).unwrap());
    let db = Connection::open(home.path()).unwrap();
    let format = db.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0));
    db.pragma_update(None, "user_version", format.unwrap() + 1)
        .unwrap();
    drop(db);
    for open in OPENS {
        let refused = open(&home.path());
        assert!(matches!(refused, Err(LedgerError::TooNew { .. })));
    }
}

#[test]
fn a_ledger_that_a_viewer_took_the_log_from_opens() {
    let home = home();
    drop(home.begin(Operation::Send, &sends(&[1])));
    let db = Connection::open(home.path()).unwrap();
    db.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))
        .unwrap();
    drop(db);
    let ledger = Store::open(&home.path()).unwrap();
    assert_eq!(ledger.campaigns().unwrap().len(), 1);
}

#[test]
fn an_empty_file_or_a_log_without_its_file_is_no_new_ledger() {
    for left in ["otpdrive.db", "otpdrive.db-wal"] {
        let home = home();
        fs::write(home.folder().join(left), "").unwrap();
        for open in OPENS {
            let refused = open(&home.path());
            assert!(
                matches!(refused, Err(LedgerError::Damaged { .. })),
                "{left}"
            );
        }
    }
}

/// Makes a ledger one of format 2 again: format 3 only added tables.
const BACK_TO_FORMAT_2: &str = "DROP TABLE suppressed; DROP TABLE former; DROP TABLE stood;
    DROP TABLE lookup; DROP TABLE purged; PRAGMA user_version = 2;";

#[tokio::test]
async fn a_ledger_of_format_2_is_read_and_knows_whom_an_earlier_list_had() {
    let home = home();
    let (ledger, run) = home.start(Operation::Send, &sends(&[1, 2]));
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    attempt(&ledger, &mut jobs[0], run, VerdictKind::Rejected).await;
    drop(close(ledger).await);
    // The list is replaced: format 2 dropped the row, and kept the attempt.
    drop(home.begin(Operation::Send, &sends(&[2])));
    home.change(BACK_TO_FORMAT_2);
    let had = || {
        let ledger = home.look();
        let campaign = ledger.campaigns().unwrap().remove(0);
        let rows = former(&ledger, &campaign).into_iter();
        rows.map(|(header, row)| (row.number, row.attempts().len(), header))
            .collect::<Vec<_>>()
    };
    let expected = [(Some(number(1)), 1, String::new())];
    assert_eq!(had(), expected, "who only reads changes nothing");
    drop(home.open());
    assert_eq!(had(), expected);
    assert_eq!(home.wrong(), [""; 0]);
}

#[tokio::test]
async fn a_ledger_of_format_3_is_read_as_it_is_and_can_be_purged() {
    let home = home();
    let random = &mut fastrand::Rng::with_seed(1);
    live(&home, random, "a", Operation::Send).await;
    // Its run may have been killed; whoever opens it then takes that in.
    drop(Store::open(&home.path()).unwrap());
    home.change("DROP TABLE purged; PRAGMA user_version = 3");
    let before = fs::read(home.path()).unwrap();
    let reader = Store::open_to_read(&home.path()).unwrap();
    assert_eq!(reader.purged().unwrap(), []);
    let due = reader.due_for_purge(days_later(), Duration::ZERO, &[]);
    let due = due.unwrap();
    drop(reader);
    assert_eq!(fs::read(home.path()).unwrap(), before);
    let mut ledger = Store::open(&home.path()).unwrap();
    assert!(ledger.purge(&due, days_later()).unwrap());
    assert_eq!(ledger.purged().unwrap()[0].counts, due[0].counts);
    assert_eq!(ledger.verify().unwrap().wrong, [""; 0]);
}

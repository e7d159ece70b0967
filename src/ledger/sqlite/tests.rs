//! The ledger on a real file: what goes in comes back, also when the process does not live to
//! close it.

use std::cell::RefCell;
use std::convert::Infallible;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tempfile::TempDir;

use super::*;
use crate::ledger::{Due, Ledger};
use crate::outcome::{Answer, Attempt, GivenCode, Job, Policy, Problem, RowId, Verdict, Wish};
use crate::record::RowState;

const NOW: UnixMicros = UnixMicros(1_700_000_000_000_000);
const LATER: UnixMicros = UnixMicros(NOW.0 + 5_000_000);

const POLICY: Policy = Policy {
    max_attempts: 3,
    fallback: None,
    retry_unknown: false,
};

/// A ledger in a folder of its own.
struct Home {
    folder: TempDir,
}

impl Home {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("otpdrive.db")
    }

    /// Takes in these rows and begins a run.
    fn begin(&self, operation: Operation, rows: &[Contact]) -> (SqliteLedger, Campaign, RunId) {
        let mut ledger = SqliteLedger::open(&self.path()).unwrap();
        let key = CampaignKey {
            operation,
            name: "june".to_owned(),
            sandbox: false,
        };
        let input = InputRecord {
            name: "june.csv".to_owned(),
            sha256: format!("{rows:?}"),
            rows: rows.len() as u64,
            header: "phone".to_owned(),
        };
        let rows = rows.iter().cloned().map(Ok::<_, Infallible>);
        let intake = ledger.take_in(&key, &input, "reading", rows).unwrap();
        let settings = serde_json::json!({});
        let (campaign, run) = intake.unwrap().begin_run(NOW, &settings).unwrap();
        (ledger, campaign, run)
    }

    fn states(&self) -> Vec<RowState> {
        let ledger = SqliteLedger::open_to_read(&self.path()).unwrap();
        let campaign = ledger.campaigns().unwrap().remove(0);
        let states = RefCell::new(Vec::new());
        let mut each = |row: &Row| {
            states.borrow_mut().push(row.state.clone());
            ControlFlow::Continue(())
        };
        ledger.for_each_row(&campaign, true, &mut each).unwrap();
        states.into_inner()
    }
}

fn number(n: u64) -> Number {
    Number::new(919_000_000_000 + n).unwrap()
}

fn contact(line: u64, n: u64, code: Option<GivenCode>) -> Contact {
    Contact {
        line,
        record: format!("row {line}"),
        wish: Ok(Wish {
            number: number(n),
            lane: code.as_ref().map_or(Lane::Sms, |_| Lane::Verify),
            code,
            assumed_mobile: false,
        }),
    }
}

fn sends(numbers: &[u64]) -> Vec<Contact> {
    let rows = (2..).zip(numbers);
    rows.map(|(line, n)| contact(line, *n, None)).collect()
}

fn plain(code: &str) -> GivenCode {
    GivenCode::Plain(SecretString::from(code))
}

async fn all_due(ledger: &RunLedger, lane: Lane) -> Vec<Job> {
    let mut jobs = Vec::new();
    let mut after = RowId(0);
    loop {
        let due = ledger.due(lane, after, 2, POLICY).await.unwrap();
        let Due {
            jobs: some,
            seen,
            exhausted,
        } = due;
        jobs.extend(some);
        after = seen;
        if exhausted {
            return jobs;
        }
    }
}

fn intent(job: &mut Job, run: RunId) {
    let n = job.attempts.last().map_or(0, |last| last.n) + 1;
    job.attempts.push(Attempt {
        n,
        run,
        lane: job.lane,
        try_number: 1,
        tries_max: 3,
        fallback: None,
        begun_at: NOW,
        answer: None,
    });
}

fn answer(job: &mut Job, verdict: Verdict) {
    job.attempts.last_mut().unwrap().answer = Some(Answer {
        left_at: NOW + Duration::from_secs(1),
        answered_at: NOW + Duration::from_secs(2),
        verdict,
    });
}

fn accepted() -> Verdict {
    Verdict::Accepted("SM1".to_owned())
}

#[tokio::test]
async fn what_is_written_reads_back() {
    let home = Home::new();
    let mut rows = sends(&[1, 2, 1]);
    rows.push(Contact {
        line: 5,
        record: "x".to_owned(),
        wish: Err(Problem("no phone number")),
    });
    let (ledger, campaign, run) = home.begin(Operation::Send, &rows);
    let ledger = ledger.start(&campaign, run, LATER, Place::Beside).unwrap();
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    assert_eq!(jobs.len(), 2);
    let verdict = Verdict::Throttled {
        message: "busy".to_owned(),
        retry_at: Some(NOW + Duration::from_secs(9)),
    };
    intent(&mut jobs[0], run);
    ledger.begin(&jobs[0]).await.unwrap();
    answer(&mut jobs[0], verdict);
    ledger.answer(&jobs[0]).await;
    ledger.flush().await.unwrap();
    let (ledger, lost) = ledger.close().await;
    assert_eq!(lost, 0);
    drop(ledger);
    assert_eq!(
        home.states(),
        [
            RowState::Job(jobs[0].attempts.clone()),
            RowState::Job(Vec::new()),
            RowState::Duplicate { first_line: 2 },
            RowState::Invalid("no phone number".to_owned()),
        ]
    );
    let (ledger, campaign, run) = home.begin(Operation::Send, &rows);
    let ledger = ledger.start(&campaign, run, LATER, Place::Beside).unwrap();
    let held = [Some(NOW + Duration::from_secs(9)), None, None];
    assert_eq!(ledger.holds(), held, "a Retry-After outlives its run");
    ledger.close().await;
}

#[tokio::test]
async fn an_intent_is_there_at_once_and_a_withdrawn_one_is_gone() {
    let home = Home::new();
    let (ledger, campaign, run) = home.begin(Operation::Send, &sends(&[1, 2]));
    let ledger = ledger.start(&campaign, run, LATER, Place::Beside).unwrap();
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    for job in &mut jobs {
        intent(job, run);
        ledger.begin(job).await.unwrap();
    }
    // Read beside the run, as a process would that comes after a crash.
    let attempts = |state: &RowState| match state {
        RowState::Job(attempts) => attempts.len(),
        _ => panic!("a job"),
    };
    let counts: Vec<_> = home.states().iter().map(attempts).collect();
    assert_eq!(counts, [1, 1]);
    ledger.withdraw(jobs[0].id, 1).await;
    answer(&mut jobs[1], accepted());
    ledger.answer(&jobs[1]).await;
    ledger.withdraw(jobs[1].id, 1).await;
    ledger.flush().await.unwrap();
    let counts: Vec<_> = home.states().iter().map(attempts).collect();
    assert_eq!(counts, [0, 1], "what left is never withdrawn");
    ledger.close().await;
}

#[tokio::test]
async fn an_intent_that_cannot_be_written_is_an_error_and_answers_survive_it() {
    let home = Home::new();
    let (ledger, campaign, run) = home.begin(Operation::Send, &sends(&[1, 2]));
    let ledger = ledger.start(&campaign, run, LATER, Place::Beside).unwrap();
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    for job in &mut jobs {
        intent(job, run);
    }
    ledger.begin(&jobs[0]).await.unwrap();
    answer(&mut jobs[0], accepted());
    // Both go into one commit, and the second is there already: all of it fails.
    let twice = jobs[0].clone();
    let (begun, ()) = tokio::join!(ledger.begin(&twice), ledger.answer(&jobs[0]));
    let error = begun.unwrap_err().to_string();
    assert!(error.contains("otpdrive.db"), "{error}");
    ledger.begin(&jobs[1]).await.unwrap();
    ledger.flush().await.unwrap();
    let (ledger, lost) = ledger.close().await;
    assert_eq!(lost, 0);
    drop(ledger);
    assert_eq!(home.states()[0], RowState::Job(jobs[0].attempts.clone()));
    assert_eq!(home.states()[1], RowState::Job(jobs[1].attempts.clone()));
}

#[tokio::test]
async fn a_number_is_the_same_job_wherever_it_stands_in_the_next_input() {
    let home = Home::new();
    let (ledger, campaign, run) = home.begin(Operation::Send, &sends(&[1, 2, 3]));
    let ledger = ledger.start(&campaign, run, LATER, Place::Beside).unwrap();
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    intent(&mut jobs[1], run);
    ledger.begin(&jobs[1]).await.unwrap();
    answer(&mut jobs[1], accepted());
    ledger.answer(&jobs[1]).await;
    drop(ledger.close().await);
    // Removed, and back again later.
    drop(home.begin(Operation::Send, &sends(&[3, 9])));
    let (ledger, campaign, run) = home.begin(Operation::Send, &sends(&[9, 2, 1, 2]));
    let ledger = ledger.start(&campaign, run, LATER, Place::Beside).unwrap();
    let due = all_due(&ledger, Lane::Sms).await;
    let numbers: Vec<_> = due.iter().map(|job| job.number).collect();
    assert_eq!(numbers, [number(9), number(1)]);
    assert_eq!(due[1].id, jobs[0].id);
    ledger.close().await;
    let states = home.states();
    assert_eq!(states[1], RowState::Job(jobs[1].attempts.clone()));
    assert_eq!(states[3], RowState::Duplicate { first_line: 3 });
}

#[tokio::test]
async fn a_masked_code_is_the_one_that_was_given_before() {
    let home = Home::new();
    let rows = [
        contact(2, 1, Some(plain("111111"))),
        contact(3, 1, Some(plain("222222"))),
        contact(4, 2, Some(plain("333333"))),
    ];
    let (ledger, campaign, run) = home.begin(Operation::Verify, &rows);
    let ledger = ledger.start(&campaign, run, LATER, Place::Beside).unwrap();
    let mut jobs = all_due(&ledger, Lane::Verify).await;
    intent(&mut jobs[0], run);
    ledger.begin(&jobs[0]).await.unwrap();
    answer(&mut jobs[0], Verdict::NotVerified("no".to_owned()));
    ledger.answer(&jobs[0]).await;
    drop(ledger.close().await);
    let masked = |line, n| contact(line, n, Some(GivenCode::Masked));
    // All of them, then only what was pending.
    for (rows, pending, invalid) in [
        (vec![masked(2, 1), masked(3, 1), masked(4, 2)], 2, 0),
        (vec![masked(2, 1), masked(3, 2), masked(4, 3)], 2, 1),
        (vec![masked(2, 1)], 1, 0),
    ] {
        let (ledger, campaign, run) = home.begin(Operation::Verify, &rows);
        let ledger = ledger.start(&campaign, run, LATER, Place::Beside).unwrap();
        let due = all_due(&ledger, Lane::Verify).await;
        let code = |job: &Job| job.code.as_ref().unwrap().expose_secret().to_owned();
        let codes: Vec<_> = due.iter().map(code).collect();
        assert_eq!(codes, ["222222", "333333"][..pending]);
        ledger.close().await;
        let states = home.states();
        let found = states
            .iter()
            .filter(|state| matches!(state, RowState::Invalid(_)));
        assert_eq!(found.count(), invalid);
    }
    // The code of number 2 was dropped with its row: it is not known any more, and none is sent.
    let (ledger, campaign, run) = home.begin(Operation::Verify, &[masked(2, 2)]);
    let ledger = ledger.start(&campaign, run, LATER, Place::Beside).unwrap();
    assert!(all_due(&ledger, Lane::Verify).await.is_empty());
    ledger.close().await;
    assert!(matches!(home.states()[0], RowState::Invalid(_)));
}

#[test]
fn a_code_may_be_a_duplicate_of_a_masked_one_behind_it() {
    let home = Home::new();
    let given = contact(2, 1, Some(plain("111111")));
    drop(home.begin(Operation::Verify, std::slice::from_ref(&given)));
    drop(home.begin(
        Operation::Verify,
        &[given, contact(3, 1, Some(GivenCode::Masked))],
    ));
    assert_eq!(home.states()[0], RowState::Duplicate { first_line: 3 });
    let ledger = SqliteLedger::open_to_read(&home.path()).unwrap();
    assert_eq!(ledger.verify().unwrap().wrong, Vec::<String>::new());
}

#[tokio::test]
async fn the_last_departure_is_known_after_a_killed_run_too() {
    let home = Home::new();
    let rows = sends(&[1, 2]);
    let (ledger, campaign, run) = home.begin(Operation::Send, &rows);
    let ledger = ledger.start(&campaign, run, LATER, Place::Beside).unwrap();
    assert_eq!(ledger.reserve(1).await.unwrap().after, None);
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    intent(&mut jobs[0], run);
    ledger.begin(&jobs[0]).await.unwrap();
    answer(&mut jobs[0], accepted());
    ledger.answer(&jobs[0]).await;
    // No note of how the run ended.
    drop(ledger.close().await);
    let (ledger, campaign, run) = home.begin(Operation::Send, &rows);
    let ledger = ledger.start(&campaign, run, LATER, Place::Beside).unwrap();
    let left_at = NOW + Duration::from_secs(1);
    let reserved = ledger.reserve(1).await.unwrap();
    assert_eq!(reserved.after, Some(left_at));
    assert_eq!(ledger.reserve(1).await.unwrap().after, None, "said once");
    let (ledger, _) = ledger.close().await;
    let later = left_at + Duration::from_mins(1);
    ledger
        .finish_run(run, later, &End::Complete, Some(later))
        .unwrap();
    let run = ledger.latest_run(campaign.record.id).unwrap().unwrap();
    assert_eq!(run.end, Some(End::Complete));
    drop(ledger);
    let (ledger, campaign, run) = home.begin(Operation::Send, &rows);
    let ledger = ledger.start(&campaign, run, LATER, Place::Beside).unwrap();
    assert_eq!(ledger.reserve(1).await.unwrap().after, Some(later));
    ledger.close().await;
}

#[tokio::test]
async fn a_request_without_an_answer_may_have_left_a_second_after_its_intent() {
    let home = Home::new();
    let rows = sends(&[1, 2]);
    let (ledger, campaign, run) = home.begin(Operation::Send, &rows);
    let ledger = ledger.start(&campaign, run, LATER, Place::Beside).unwrap();
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    intent(&mut jobs[0], run);
    ledger.begin(&jobs[0]).await.unwrap();
    drop(ledger.close().await);
    let (ledger, campaign, run) = home.begin(Operation::Send, &rows);
    let ledger = ledger.start(&campaign, run, LATER, Place::Beside).unwrap();
    let begun_at = jobs[0].attempts[0].begun_at;
    let after = ledger.reserve(1).await.unwrap().after;
    assert_eq!(after, Some(begun_at + Duration::from_secs(1)));
    ledger.close().await;
}

#[test]
fn a_plan_that_is_dropped_leaves_no_mark() {
    let home = Home::new();
    drop(home.begin(Operation::Send, &sends(&[1])));
    let mut ledger = SqliteLedger::open(&home.path()).unwrap();
    let before = ledger.campaigns().unwrap();
    let key = CampaignKey {
        operation: Operation::Send,
        name: "june".to_owned(),
        sandbox: false,
    };
    let input = InputRecord {
        sha256: "other".to_owned(),
        rows: 2,
        ..before[0].record.input.clone()
    };
    let rows = sends(&[8, 9]).into_iter().map(Ok::<_, Infallible>);
    drop(ledger.take_in(&key, &input, "reading", rows).unwrap());
    assert_eq!(ledger.campaigns().unwrap(), before);
    let broken = sends(&[8]).into_iter().map(Ok).chain([Err("broken")]);
    let taken = ledger.take_in(&key, &input, "reading", broken).unwrap();
    assert_eq!(taken.err(), Some("broken"));
    assert_eq!(ledger.campaigns().unwrap(), before);
    drop(ledger);
    assert_eq!(home.states(), [RowState::Job(Vec::new())]);
}

#[test]
fn a_second_process_is_refused_until_the_first_lets_go() {
    let home = Home::new();
    let first = SqliteLedger::open(&home.path()).unwrap();
    let Err(LedgerError::Held { holder, .. }) = SqliteLedger::open(&home.path()) else {
        panic!("held");
    };
    assert!(holder.contains(&std::process::id().to_string()), "{holder}");
    let reader = SqliteLedger::open_to_read(&home.path()).unwrap();
    assert_eq!(reader.holder(), Some(holder));
    drop(first);
    assert!(SqliteLedger::open(&home.path()).is_ok());
    assert_eq!(reader.holder(), None);
}

#[test]
fn what_is_no_ledger_or_too_new_is_refused() {
    let home = Home::new();
    assert!(matches!(
        SqliteLedger::open_to_read(&home.path()),
        Err(LedgerError::Missing(_))
    ));
    let db = Connection::open(home.path()).unwrap();
    db.execute_batch("CREATE TABLE mine (x)").unwrap();
    for open in [SqliteLedger::open, SqliteLedger::open_to_read] {
        let refused = open(&home.path());
        assert!(matches!(refused, Err(LedgerError::NotALedger { .. })));
    }
    std::fs::write(home.folder.path().join("short"), [0]).unwrap();
    for open in [SqliteLedger::open, SqliteLedger::open_to_read] {
        let refused = open(&home.folder.path().join("short"));
        assert!(matches!(refused, Err(LedgerError::NotALedger { .. })));
    }
    db.execute_batch("DROP TABLE mine").unwrap();
    for open in [SqliteLedger::open, SqliteLedger::open_to_read] {
        let refused = open(&home.path());
        assert!(matches!(refused, Err(LedgerError::NotALedger { .. })));
    }
    drop(db);
    std::fs::remove_file(home.path()).unwrap();
    drop(SqliteLedger::open(&home.path()).unwrap());
    let db = Connection::open(home.path()).unwrap();
    db.pragma_update(None, "user_version", 2).unwrap();
    drop(db);
    for open in [SqliteLedger::open, SqliteLedger::open_to_read] {
        let refused = open(&home.path());
        assert!(matches!(refused, Err(LedgerError::TooNew { found: 2, .. })));
    }
}

#[test]
fn a_ledger_that_a_viewer_took_the_log_from_opens() {
    let home = Home::new();
    let (ledger, _, run) = home.begin(Operation::Send, &sends(&[1]));
    ledger.finish_run(run, LATER, &End::Complete, None).unwrap();
    drop(ledger);
    let db = Connection::open(home.path()).unwrap();
    db.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))
        .unwrap();
    drop(db);
    let ledger = SqliteLedger::open(&home.path()).unwrap();
    assert_eq!(ledger.campaigns().unwrap().len(), 1);
}

#[test]
fn a_count_that_cannot_be_is_an_error() {
    for damage in ["rows = -1", "first_row = -9", "rows = 9223372036854775807"] {
        let home = Home::new();
        home.begin(Operation::Send, &sends(&[1]));
        let db = Connection::open(home.path()).unwrap();
        db.execute(&format!("UPDATE campaign SET {damage}"), [])
            .unwrap();
        let ledger = SqliteLedger::open_to_read(&home.path()).unwrap();
        assert!(ledger.campaigns().is_err(), "{damage}");
    }
}

#[test]
fn ids_are_never_given_twice() {
    let home = Home::new();
    let mut ids = Vec::new();
    for numbers in [[1, 2], [3, 4], [5, 6]] {
        let (_, campaign, _) = home.begin(Operation::Send, &sends(&numbers));
        ids.extend(campaign.span.first..campaign.span.end);
    }
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
}

/// A ledger with a campaign of three rows to send, one of them sent, and one of a code.
async fn lived_in() -> Home {
    let home = Home::new();
    let (ledger, campaign, run) = home.begin(Operation::Send, &sends(&[1, 2, 3, 1]));
    let ledger = ledger.start(&campaign, run, LATER, Place::Beside).unwrap();
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    intent(&mut jobs[1], run);
    ledger.begin(&jobs[1]).await.unwrap();
    answer(&mut jobs[1], accepted());
    ledger.answer(&jobs[1]).await;
    let (ledger, _) = ledger.close().await;
    ledger.finish_run(run, LATER, &End::Complete, None).unwrap();
    drop(ledger);
    let codes = [contact(2, 1, Some(plain("111111")))];
    let (ledger, _, run) = home.begin(Operation::Verify, &codes);
    ledger.finish_run(run, LATER, &End::Complete, None).unwrap();
    drop(ledger);
    home
}

#[tokio::test]
async fn a_ledger_is_sound_until_anything_in_it_changes() {
    let home = lived_in().await;
    let path = home.path();
    let verify = || SqliteLedger::open_to_read(&path).unwrap().verify();
    let sound = verify().unwrap();
    assert_eq!(sound.wrong, Vec::<String>::new());
    assert_eq!((sound.campaigns, sound.rows, sound.attempts), (2, 5, 1));
    let bytes = std::fs::read(&path).unwrap();
    for (change, words) in [
        ("UPDATE ledger SET next_id = 2", "never given"),
        ("UPDATE ledger SET salt = x'00'", "the table ledger"),
        ("UPDATE ledger SET salt = randomblob(32)", "code"),
        ("DELETE FROM ledger", "the table ledger"),
        (
            "UPDATE campaign SET operation = 'senf' WHERE id = 1",
            "nobody knows",
        ),
        (
            "UPDATE campaign SET rows = rows + 1 WHERE id = 2",
            "row 6 is missing",
        ),
        ("UPDATE campaign SET rows = 5 WHERE id = 1", "another's"),
        ("UPDATE campaign SET rows = 2 WHERE id = 1", "no campaign"),
        ("DELETE FROM campaign WHERE id = 2", "no campaign"),
        ("DELETE FROM contact WHERE id = 2", "row 2 is missing"),
        (
            "UPDATE contact SET number = number + 9 WHERE id = 3",
            "known numbers",
        ),
        (
            "UPDATE contact SET number = 7 WHERE id = 3",
            "its number is none",
        ),
        (
            "UPDATE contact SET number = NULL WHERE id = 3",
            "contradict",
        ),
        ("UPDATE contact SET lane = 3 WHERE id = 3", "cannot be read"),
        ("UPDATE contact SET assumed = 7 WHERE id = 3", "contradict"),
        (
            "UPDATE contact SET code = '222222' WHERE code IS NOT NULL",
            "code",
        ),
        (
            "UPDATE known SET number = number + 9 WHERE job = 3",
            "known numbers",
        ),
        ("UPDATE known SET campaign = 9 WHERE job = 3", "not there"),
        ("UPDATE known SET job = 2 WHERE job = 3", "share"),
        ("DELETE FROM known WHERE job = 2", "nobody knows"),
        ("UPDATE known SET number = 7 WHERE job = 3", "that are none"),
        ("UPDATE attempt SET job = 4", "nobody knows"),
        ("UPDATE attempt SET job = 5", "another campaign"),
        ("UPDATE attempt SET n = 2", "gap"),
        ("UPDATE attempt SET run = 9", "not there"),
        ("UPDATE attempt SET lane = 2", "another campaign"),
        ("UPDATE attempt SET verdict = 2", "contradict"),
        ("UPDATE attempt SET verdict = 10", "contradict"),
        ("UPDATE attempt SET verdict = NULL", "contradict"),
        ("UPDATE attempt SET left_at = NULL", "contradict"),
        ("UPDATE attempt SET left_at = 1", "contradict"),
        ("UPDATE attempt SET retry_at = 1", "contradict"),
        ("UPDATE run SET campaign = 9 WHERE id = 2", "contradict"),
        ("UPDATE run SET end = NULL WHERE id = 1", "contradict"),
        ("DROP INDEX run_campaign", "run_campaign"),
        ("ALTER TABLE attempt DROP COLUMN text", "not as made"),
    ] {
        std::fs::write(&path, &bytes).unwrap();
        let db = Connection::open(&path).unwrap();
        db.execute_batch(change).unwrap();
        drop(db);
        let wrong = verify().unwrap().wrong;
        assert!(
            wrong.iter().any(|said| said.contains(words)),
            "{change}: {wrong:?}"
        );
        assert!(!wrong.concat().contains("9190000"), "a number: {wrong:?}");
    }
}

#[tokio::test]
async fn nothing_is_due_on_a_number_that_has_changed() {
    let home = lived_in().await;
    let db = Connection::open(home.path()).unwrap();
    db.execute_batch("UPDATE contact SET number = number + 9 WHERE id = 3")
        .unwrap();
    drop(db);
    let (ledger, campaign, run) = home.begin(Operation::Send, &sends(&[1, 2, 3, 1]));
    let ledger = ledger.start(&campaign, run, LATER, Place::Beside).unwrap();
    let due = ledger.due(Lane::Sms, RowId(0), 9, POLICY).await;
    assert!(matches!(due, Err(LedgerError::Damaged { .. })), "{due:?}");
    ledger.close().await;
}

#[test]
fn an_empty_file_or_a_log_without_its_file_is_no_new_ledger() {
    for left in ["otpdrive.db", "otpdrive.db-wal"] {
        let home = Home::new();
        std::fs::write(home.folder.path().join(left), "").unwrap();
        for open in [SqliteLedger::open, SqliteLedger::open_to_read] {
            let refused = open(&home.path());
            assert!(
                matches!(refused, Err(LedgerError::Damaged { .. })),
                "{left}"
            );
        }
    }
}

#[test]
fn a_new_ledger_appears_whole_and_locked_and_leaves_no_draft() {
    let home = Home::new();
    let first = super::file::make(&home.path()).unwrap().unwrap();
    assert!(super::file::make(&home.path()).unwrap().is_none());
    let held = SqliteLedger::open(&home.path()).err();
    assert!(matches!(held, Some(LedgerError::Held { .. })), "{held:?}");
    drop(first);
    drop(SqliteLedger::open(&home.path()).unwrap());
    let names = std::fs::read_dir(home.folder.path()).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["otpdrive.db", "otpdrive.db.otpdrive-lock"]);
}

//! The ledger on a real file: what goes in comes back, also when the process does not live to
//! close it.

mod purge;

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::clock::Clock;
use crate::job::{
    Answer, Attempt, GivenCode, Job, Lane, Problem, Request, Told, Verdict, VerdictKind,
};
use crate::job::{Contact, Operation};
use crate::ledger::store::Place;
use crate::ledger::{Begun, Ledger, NewRun, Rest, Slots, Then, Wanted};
use crate::ledger::{Campaign, CampaignKey, Execution, Records, Run, Store};
use crate::number::Number;
use crate::record::RowState;
use crate::record::{InputRecord, Row};
use crate::run::{Policy, RunFact, RunFacts, WhenUncertain};

const NOW: UnixMicros = UnixMicros(1_700_000_000_000_000);
const LATER: UnixMicros = UnixMicros(NOW.0 + 5_000_000);

const POLICY: Policy = Policy {
    max_attempts: 3,
    fallback: None,
    on_unknown: WhenUncertain::Hold,
    on_server_error: WhenUncertain::Retry,
};

/// A run as these tests begin it.
const RUN: NewRun<'static> = NewRun {
    rates: [None; 2],
    ceilings: None,
    billed: [0; 3],

    policy: POLICY,
    endpoint: "https://kookoo.example",
    settings: &Value::Null,
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
    fn begin(&self, operation: Operation, rows: &[Contact]) -> (Store, Campaign, RunId) {
        let mut ledger = Store::open(&self.path()).unwrap();
        let rows_in = rows.iter().cloned().map(Ok::<_, Infallible>);
        let (key, input) = (key(operation), input(rows));
        let intake = ledger.take_in(&key, &input, "reading", rows_in).unwrap();
        let (campaign, run) = intake.unwrap().begin_run(NOW, &RUN).unwrap();
        (ledger, campaign, run)
    }

    /// The same, and starts the run.
    fn start(&self, operation: Operation, rows: &[Contact]) -> (Run, RunId) {
        let (ledger, campaign, run) = self.begin(operation, rows);
        (start(ledger, &campaign, run), run)
    }

    /// What is known of the rows of the first campaign.
    fn states(&self) -> Vec<RowState> {
        let ledger = Store::open_to_read(&self.path()).unwrap();
        let campaign = ledger.campaigns().unwrap().remove(0);
        let rows = rows(&ledger, &campaign);
        rows.into_iter().map(|row| row.state).collect()
    }

    /// What `status --verify` finds.
    fn wrong(&self) -> Vec<String> {
        let ledger = Store::open_to_read(&self.path()).unwrap();
        ledger.verify().unwrap().wrong
    }

    /// Changes something behind the ledger's back.
    fn change(&self, sql: &str) {
        let db = Connection::open(self.path()).unwrap();
        db.execute_batch(sql).unwrap();
    }
}

/// The file of a ledger.
fn file(ledger: &Store) -> &SqliteLedger {
    match &ledger.place {
        Place::Sqlite(file) => file,
        Place::Postgres(_) => panic!("a file is meant"),
    }
}

fn rows(ledger: &Store, campaign: &Campaign) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut each = |row: &Row| {
        rows.push(row.clone());
        ControlFlow::Continue(())
    };
    ledger
        .for_each_row(campaign, Records::Read, &mut each)
        .unwrap();
    rows
}

fn start(ledger: Store, campaign: &Campaign, run: RunId) -> Run {
    let clock = Clock::at(LATER);
    ledger
        .start(campaign, run, clock, Execution::Threads, None)
        .unwrap()
}

fn key(operation: Operation) -> CampaignKey {
    CampaignKey {
        operation,
        name: "june".to_owned(),
        sandbox: false,
    }
}

fn input(rows: &[Contact]) -> InputRecord {
    InputRecord {
        name: "june.csv".to_owned(),
        sha256: format!("{rows:?}"),
        rows: rows.len() as u64,
        header: "phone".to_owned(),
    }
}

fn number(n: u64) -> Number {
    Number::new(919_000_000_000 + n).unwrap()
}

fn contact(line: u64, n: u64, code: Option<GivenCode>) -> Contact {
    Contact {
        line,
        record: format!("row {line}"),
        told: Told::Nothing,
        request: Ok(Request {
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

async fn all_due(ledger: &Run, lane: Lane) -> Vec<Job> {
    let mut jobs = Vec::new();
    loop {
        let due = ledger.due(lane, 2).await.unwrap();
        assert!(due.jobs.len() <= 2);
        jobs.extend(due.jobs);
        if due.then == Then::Done {
            return jobs;
        }
    }
}

fn intent(job: &Job, run: RunId) -> Attempt {
    Attempt {
        lookup: None,
        n: u32::try_from(job.attempts.len()).unwrap() + 1,
        run,
        lane: job.lane,
        begun_at: NOW,
        answer: None,
    }
}

fn answer(kind: VerdictKind) -> Answer {
    let never_left = [VerdictKind::Unreachable, VerdictKind::Withdrawn].contains(&kind);
    Answer {
        left_at: (!never_left).then_some(NOW + Duration::from_secs(1)),
        answered_at: NOW + Duration::from_secs(2),
        verdict: Verdict::new(kind, "said"),
    }
}

/// Begins an attempt, which is to be the next.
async fn begin(ledger: &Run, job: &mut Job, run: RunId) {
    let attempt = intent(job, run);
    assert_eq!(ledger.begin(job, &attempt).await.unwrap(), Begun::GO);
    job.attempts.push(attempt);
}

/// Answers the last attempt.
async fn give(ledger: &Run, job: &mut Job, answer: Answer) {
    let last = job.attempts.last_mut().unwrap();
    ledger.answer(job.id, last.n, &answer).await;
    last.answer = Some(answer);
}

async fn attempt(ledger: &Run, job: &mut Job, run: RunId, kind: VerdictKind) {
    begin(ledger, job, run).await;
    give(ledger, job, answer(kind)).await;
}

async fn close(ledger: Run) -> Store {
    let (ledger, lost) = Store::close(ledger).await;
    assert_eq!(lost, 0);
    ledger
}

#[tokio::test]
async fn what_is_written_reads_back() {
    let home = Home::new();
    let mut input = sends(&[1, 2, 1]);
    input.push(Contact {
        line: 5,
        record: "x".to_owned(),
        told: Told::Nothing,
        request: Err(Problem("no phone number")),
    });
    let (ledger, run) = home.start(Operation::Send, &input);
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    assert_eq!(jobs.len(), 2);
    let held_until = NOW + Duration::from_secs(9);
    let mut throttled = answer(VerdictKind::Throttled);
    throttled.verdict.retry_at = Some(held_until);
    begin(&ledger, &mut jobs[0], run).await;
    give(&ledger, &mut jobs[0], throttled).await;
    for kind in VerdictKind::ALL {
        attempt(&ledger, &mut jobs[0], run, kind).await;
    }
    begin(&ledger, &mut jobs[0], run).await;
    ledger.flush().await.unwrap();
    drop(close(ledger).await);
    assert_eq!(
        home.states(),
        [
            RowState::Job(jobs[0].attempts.clone()),
            RowState::Job(Vec::new()),
            RowState::Duplicate { first_line: 2 },
            RowState::Invalid("no phone number".to_owned()),
        ]
    );
    let (ledger, _) = home.start(Operation::Send, &input);
    let grant = ledger.reserve(Wanted::default()).await.unwrap();
    let (count, after) = (1, Some(NOW + Duration::from_secs(1)));
    assert_eq!(grant.slots, Slots::Own { count, after });
    let held = [Some(held_until), None, None];
    assert_eq!(grant.holds, held, "a Retry-After outlives its run");
    let ledger = close(ledger).await;
    let campaign = ledger.campaigns().unwrap().remove(0);
    let read = rows(&ledger, &campaign);
    let given: Vec<_> = input.iter().map(|row| (row.line, &row.record)).collect();
    let read: Vec<_> = read.iter().map(|row| (row.line, &row.record)).collect();
    assert_eq!(read, given);
}

#[tokio::test]
async fn an_intent_is_there_at_once() {
    let home = Home::new();
    let (ledger, run) = home.start(Operation::Send, &sends(&[1, 2]));
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    begin(&ledger, &mut jobs[1], run).await;
    // Read beside the run, as a process would that comes after a crash.
    assert_eq!(home.states()[0], RowState::Job(Vec::new()));
    assert_eq!(home.states()[1], RowState::Job(jobs[1].attempts.clone()));
    close(ledger).await;
}

#[tokio::test]
async fn an_attempt_is_begun_once_and_answers_survive_what_fails() {
    let home = Home::new();
    let (ledger, run) = home.start(Operation::Send, &sends(&[1, 2, 3]));
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    begin(&ledger, &mut jobs[0], run).await;
    // All go into one commit, and the second is there already.
    let (again, new) = (jobs[0].attempts[0].clone(), intent(&jobs[1], run));
    let accepted = answer(VerdictKind::Accepted);
    let (taken, begun, twice, ()) = tokio::join!(
        ledger.begin(&jobs[0], &again),
        ledger.begin(&jobs[1], &new),
        ledger.begin(&jobs[1], &new),
        ledger.answer(jobs[0].id, 1, &accepted),
    );
    assert_eq!(taken.unwrap(), Begun::Taken);
    assert_eq!(begun.unwrap(), Begun::GO);
    assert_eq!(twice.unwrap(), Begun::Taken);
    let impossible = Attempt { n: 1 << 20, ..new };
    let error = ledger.begin(&jobs[2], &impossible).await.unwrap_err();
    assert!(error.to_string().contains("otpdrive.db"), "{error}");
    drop(close(ledger).await);
    jobs[0].attempts[0].answer = Some(accepted);
    assert_eq!(home.states()[0], RowState::Job(jobs[0].attempts.clone()));
    assert_eq!(home.wrong(), Vec::<String>::new());
}

#[tokio::test]
async fn answers_are_written_when_the_file_can_be_written_again() {
    let home = Home::new();
    let (ledger, run) = home.start(Operation::Send, &sends(&[1, 2]));
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    begin(&ledger, &mut jobs[0], run).await;
    home.change("ALTER TABLE answer RENAME TO gone");
    give(&ledger, &mut jobs[0], answer(VerdictKind::Accepted)).await;
    let error = ledger.flush().await.unwrap_err().to_string();
    assert!(error.contains("otpdrive.db"), "{error}");
    let refused = intent(&jobs[1], run);
    assert!(ledger.begin(&jobs[1], &refused).await.is_err());
    home.change("ALTER TABLE gone RENAME TO answer");
    begin(&ledger, &mut jobs[1], run).await;
    drop(close(ledger).await);
    for (state, job) in home.states().iter().zip(&jobs) {
        assert_eq!(*state, RowState::Job(job.attempts.clone()));
    }
}

#[tokio::test]
async fn what_turns_up_in_a_run_reads_back_and_a_proven_endpoint_is_remembered() {
    let home = Home::new();
    let (ledger, campaign, run) = home.begin(Operation::Send, &sends(&[1]));
    let mut expected = RunFacts::new(POLICY);
    let facts = [
        RunFact::OutageBegan {
            lane: None,
            from: NOW,
            why: "no connection".to_owned(),
        },
        RunFact::OutageEnded {
            lane: None,
            at: LATER,
        },
        RunFact::OutageBegan {
            lane: Some(Lane::Call),
            from: NOW,
            why: "503".to_owned(),
        },
        RunFact::Wave {
            lane: Lane::Sms,
            from: NOW,
            words: "no credit".to_owned(),
        },
        RunFact::EndpointProven,
    ];
    let ledger = start(ledger, &campaign, run);
    for fact in &facts {
        ledger.note(fact).await;
        expected.add(fact);
    }
    let ledger = close(ledger).await;
    let runs = ledger.runs(campaign.record.id).unwrap();
    assert_eq!(runs.get(run), Some(&expected));
    drop(ledger);
    for (endpoint, sandbox, proven) in [
        (RUN.endpoint, false, true),
        (RUN.endpoint, true, false),
        ("https://elsewhere.example", false, false),
    ] {
        let mut ledger = Store::open(&home.path()).unwrap();
        let key = CampaignKey {
            name: "other".to_owned(),
            sandbox,
            ..key(Operation::Send)
        };
        let new = NewRun { endpoint, ..RUN };
        let rows = sends(&[1]);
        let input = input(&rows);
        let rows = rows.into_iter().map(Ok::<_, Infallible>);
        let intake = ledger.take_in(&key, &input, "reading", rows).unwrap();
        let intake = intake.unwrap();
        let plan = intake.runs(&new).unwrap();
        assert_eq!(plan.get(RunId::NEXT).unwrap().endpoint_proven(), proven);
        let (campaign, run) = intake.begin_run(NOW, &new).unwrap();
        let runs = ledger.runs(campaign.record.id).unwrap();
        assert_eq!(runs.get(run).unwrap().endpoint_proven(), proven);
    }
}

#[tokio::test]
async fn a_number_is_the_same_job_wherever_it_stands_in_the_next_input() {
    let home = Home::new();
    let (ledger, run) = home.start(Operation::Send, &sends(&[1, 2, 3]));
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    attempt(&ledger, &mut jobs[1], run, VerdictKind::Accepted).await;
    drop(close(ledger).await);
    // Removed, and back again later.
    drop(home.begin(Operation::Send, &sends(&[3, 9])));
    let (ledger, _) = home.start(Operation::Send, &sends(&[9, 2, 1, 2]));
    let due = all_due(&ledger, Lane::Sms).await;
    let numbers: Vec<_> = due.iter().map(|job| job.number).collect();
    assert_eq!(numbers, [number(9), number(1)]);
    assert_eq!(due[1].id, jobs[0].id);
    close(ledger).await;
    let states = home.states();
    assert_eq!(states[1], RowState::Job(jobs[1].attempts.clone()));
    assert_eq!(states[3], RowState::Duplicate { first_line: 3 });
    assert_eq!(home.wrong(), Vec::<String>::new());
}

#[tokio::test]
async fn what_this_run_has_begun_is_due_on_no_lane() {
    let home = Home::new();
    let (ledger, run) = home.start(Operation::Send, &sends(&[1, 2]));
    let mut jobs = ledger.due(Lane::Sms, 1).await.unwrap().jobs;
    attempt(&ledger, &mut jobs[0], run, VerdictKind::Throttled).await;
    ledger.flush().await.unwrap();
    assert!(all_due(&ledger, Lane::Call).await.is_empty());
    let rest = ledger.due(Lane::Sms, 9).await.unwrap();
    assert_eq!(rest.jobs.len(), 1, "the cursor is the ledger's");
    assert_eq!(rest.then, Then::Done);
    drop(close(ledger).await);
    let (ledger, _) = home.start(Operation::Send, &sends(&[1, 2]));
    let due = all_due(&ledger, Lane::Sms).await;
    assert_eq!(due.len(), 2, "the next run goes on with it");
    assert_eq!(due[0].attempts, jobs[0].attempts);
    close(ledger).await;
}

#[tokio::test]
async fn a_masked_code_is_the_one_that_was_given_before() {
    let home = Home::new();
    let given = [
        contact(2, 1, Some(plain("111111"))),
        contact(3, 1, Some(plain("222222"))),
        contact(4, 2, Some(plain("333333"))),
    ];
    let (ledger, run) = home.start(Operation::Verify, &given);
    let mut jobs = all_due(&ledger, Lane::Verify).await;
    attempt(&ledger, &mut jobs[0], run, VerdictKind::NotVerified).await;
    ledger.rest(&jobs[0], Rest::Settled).await;
    drop(close(ledger).await);
    // A row of a result file, which tells on which line the row stood that it was made from.
    let masked = |line, n, was| {
        let code = GivenCode::Masked {
            line: was,
            settled_at: None,
        };
        contact(line, n, Some(code))
    };
    // All of them, in another order; only the pending ones; one that was on no such line.
    for (input, pending, invalid) in [
        (
            vec![
                masked(2, 2, Some(4)),
                masked(3, 1, Some(3)),
                masked(4, 1, Some(2)),
            ],
            &["333333", "222222"][..],
            0,
        ),
        (
            vec![masked(2, 1, Some(3)), masked(3, 2, Some(2))],
            &["222222", "333333"],
            0,
        ),
        (
            vec![
                masked(2, 1, Some(9)),
                masked(3, 1, None),
                masked(4, 1, None),
            ],
            &[],
            3,
        ),
    ] {
        let (ledger, _) = home.start(Operation::Verify, &input);
        let due = all_due(&ledger, Lane::Verify).await;
        let code = |job: &Job| job.code.as_ref().unwrap().expose_secret().to_owned();
        let codes: Vec<_> = due.iter().map(code).collect();
        assert_eq!(codes, pending);
        close(ledger).await;
        let states = home.states();
        let found = states
            .iter()
            .filter(|state| matches!(state, RowState::Invalid(_)));
        assert_eq!(found.count(), invalid);
        assert_eq!(home.wrong(), Vec::<String>::new());
    }
    // A row that could not be told is fed back: another code of its number stood on its line before.
    let (ledger, _) = home.start(Operation::Verify, &[masked(2, 1, Some(4))]);
    close(ledger).await;
    assert!(matches!(home.states()[0], RowState::Invalid(_)));
    // The code of number 2 was dropped with its row: it is not known any more, and none is sent.
    let (ledger, _) = home.start(Operation::Verify, &[masked(2, 2, Some(3))]);
    assert!(all_due(&ledger, Lane::Verify).await.is_empty());
    close(ledger).await;
    assert!(matches!(home.states()[0], RowState::Invalid(_)));
}

#[tokio::test]
async fn a_code_is_forgotten_when_its_job_is_settled_also_after_a_crash() {
    let codes = |home: &Home| -> Vec<String> {
        let db = Connection::open(home.path()).unwrap();
        let mut select = db.prepare("SELECT code FROM code ORDER BY job").unwrap();
        let codes = select.query_map([], |row| row.get(0)).unwrap();
        codes.map(Result::unwrap).collect()
    };
    let home = Home::new();
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
    drop(Store::open(&home.path()).unwrap());
    assert_eq!(codes(&home), ["222222", "333333"]);
    let bytes = std::fs::read(home.path()).unwrap();
    let holds = |code: &[u8]| bytes.windows(code.len()).any(|bytes| bytes == code);
    assert!(!holds(b"111111") && holds(b"222222"));
    // The same input again, and another that has the settled code in it.
    for given in [&given[..], &given[1..]] {
        drop(home.begin(Operation::Verify, given));
        assert_eq!(codes(&home), ["333333"]);
    }
    assert_eq!(home.wrong(), Vec::<String>::new());
    // Fed back among others a settled code comes into no table, not for a moment.
    let mut ledger = Store::open(&home.path()).unwrap();
    let note = "CREATE TEMP TABLE written (code TEXT);
                CREATE TEMP TRIGGER note AFTER INSERT ON main.code
                BEGIN INSERT INTO written VALUES (new.code); END;";
    file(&ledger).db.execute_batch(note).unwrap();
    let more = [&given[..], &[contact(5, 4, Some(plain("444444")))]].concat();
    let rows = more.iter().cloned().map(Ok::<_, Infallible>);
    let (key, input) = (key(Operation::Verify), input(&more));
    let intake = ledger.take_in(&key, &input, "reading", rows).unwrap();
    intake.unwrap().begin_run(NOW, &RUN).unwrap();
    let written = "SELECT group_concat(code) FROM written";
    let written: String = file(&ledger)
        .db
        .query_row(written, [], |row| row.get(0))
        .unwrap();
    assert_eq!(written, "444444", "what is there is not written again");
}

/// Runs until two numbers are refused alike, then does this, then is killed; a next run begins.
/// Says whether there is a wave then.
async fn wave_after_a_kill(
    settings: &Value,
    then: impl AsyncFnOnce(&Run, &mut [Job], RunId),
) -> bool {
    let home = Home::new();
    let rows = sends(&[1, 2]);
    let (ledger, _, run) = home.begin(Operation::Send, &rows);
    drop(ledger);
    home.change(&format!("UPDATE run SET settings = '{settings}'"));
    let ledger = Store::open(&home.path()).unwrap();
    let campaign = ledger.campaigns().unwrap().remove(0);
    let ledger = start(ledger, &campaign, run);
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    for job in &mut jobs {
        attempt(&ledger, job, run, VerdictKind::Rejected).await;
    }
    then(&ledger, &mut jobs, run).await;
    drop(close(ledger).await);
    let wave = RunFact::Wave {
        lane: Lane::Sms,
        from: NOW + Duration::from_secs(2),
        words: "said".to_owned(),
    };
    let mut expected = RunFacts::new(POLICY);
    let facts = |ledger: &Store| {
        let runs = ledger.runs(campaign.record.id).unwrap();
        runs.get(run).unwrap().clone()
    };
    let (ledger, _, next) = home.begin(Operation::Send, &rows);
    let is_there = facts(&ledger) != expected;
    if is_there {
        expected.add(&wave);
    }
    assert_eq!(facts(&ledger), expected);
    // As if the next run had never begun.
    history::take_back(ledger.db(), next).unwrap();
    drop(ledger);
    let (ledger, ..) = home.begin(Operation::Send, &rows);
    assert_eq!(facts(&ledger), expected, "it is noted once");
    is_there
}

#[tokio::test]
async fn refusals_alike_before_a_kill_are_a_wave_unless_they_were_acted_on_or_waves_are_off() {
    let off = serde_json::json!({ "refused_alike": null });
    let nothing = async |_: &Run, _: &mut [Job], _| {};
    assert!(wave_after_a_kill(&Value::Null, nothing).await);
    assert!(!wave_after_a_kill(&off, nothing).await);
    let called = async |ledger: &Run, jobs: &mut [Job], run| {
        begin(ledger, &mut jobs[1], run).await;
    };
    assert!(!wave_after_a_kill(&Value::Null, called).await);
}

/// When the latest request before this run left, as far as is known.
async fn after(ledger: &Run) -> Option<UnixMicros> {
    match ledger
        .reserve(Wanted { slots: 1, calls: 0 })
        .await
        .unwrap()
        .slots
    {
        Slots::Own { count: 1, after } => after,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_last_departure_is_known_after_a_killed_run_too() {
    let home = Home::new();
    let input = sends(&[1, 2, 3]);
    let (ledger, run) = home.start(Operation::Send, &input);
    assert_eq!(after(&ledger).await, None);
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    attempt(&ledger, &mut jobs[0], run, VerdictKind::Accepted).await;
    attempt(&ledger, &mut jobs[1], run, VerdictKind::Withdrawn).await;
    // No note of how the run ended.
    drop(close(ledger).await);
    let (ledger, run) = home.start(Operation::Send, &input);
    let left_at = NOW + Duration::from_secs(1);
    assert_eq!(after(&ledger).await, Some(left_at));
    assert_eq!(after(&ledger).await, None, "said once");
    let ledger = close(ledger).await;
    let later = left_at + Duration::from_mins(1);
    ledger
        .finish_run(run, later, &End::Complete, Some(later))
        .unwrap();
    let campaign = ledger.campaigns().unwrap().remove(0).record.id;
    let run = ledger.latest_run(campaign).unwrap().unwrap();
    assert_eq!(run.end, Some(End::Complete));
    drop(ledger);
    let (ledger, run) = home.start(Operation::Send, &input);
    assert_eq!(after(&ledger).await, Some(later));
    let ledger = close(ledger).await;
    ledger.finish_run(run, later, &End::Complete, None).unwrap();
    drop(ledger);
    // One that began before it was at work for longer, as on a server ...
    let beside = later + Duration::from_mins(1);
    let first = |finished_at: UnixMicros, left_at: UnixMicros| {
        let (at, left) = (finished_at.0, left_at.0);
        format!("UPDATE run SET finished_at = {at}, last_left_at = {left} WHERE id = 1")
    };
    home.change(&first(beside, beside));
    let (ledger, run) = home.start(Operation::Send, &input);
    assert_eq!(after(&ledger).await, Some(beside));
    let ledger = close(ledger).await;
    ledger.finish_run(run, later, &End::Complete, None).unwrap();
    drop(ledger);
    // ... or had a clock that was ahead.
    home.change(&first(UnixMicros(NOW.0 - 1), beside));
    let (ledger, _) = home.start(Operation::Send, &input);
    assert_eq!(after(&ledger).await, Some(later));
    close(ledger).await;
}

#[tokio::test]
async fn a_request_without_an_answer_may_have_left_a_second_after_its_intent() {
    let home = Home::new();
    let input = sends(&[1, 2]);
    let (ledger, run) = home.start(Operation::Send, &input);
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    begin(&ledger, &mut jobs[0], run).await;
    drop(close(ledger).await);
    let (ledger, _) = home.start(Operation::Send, &input);
    let left_at = NOW + Duration::from_secs(1);
    assert_eq!(after(&ledger).await, Some(left_at));
    close(ledger).await;
}

#[tokio::test]
async fn what_left_on_a_day_is_counted_over_all_runs_by_the_clock_on_the_wall() {
    let home = Home::new();
    let (ledger, run) = home.start(Operation::Send, &sends(&[1, 2, 3, 4]));
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    attempt(&ledger, &mut jobs[0], run, VerdictKind::Accepted).await;
    attempt(&ledger, &mut jobs[1], run, VerdictKind::Rejected).await;
    attempt(&ledger, &mut jobs[2], run, VerdictKind::Withdrawn).await;
    begin(&ledger, &mut jobs[3], run).await;
    let day = NOW..NOW + Duration::from_mins(1);
    assert_eq!(
        ledger.left_on(day.clone()).await.unwrap(),
        [0; 3],
        "its own"
    );
    drop(close(ledger).await);
    let (ledger, _) = home.start(Operation::Send, &sends(&[5]));
    let count = ledger.left_on(day.clone()).await.unwrap();
    assert_eq!(count, [3, 0, 0], "that without an answer may have left");
    let hour = Duration::from_hours(1);
    let later = day.start + hour..day.end + hour;
    assert_eq!(ledger.left_on(later.clone()).await.unwrap(), [0; 3]);
    // The machine slept before they left.
    let slept = RunFact::ClockMoved {
        at: UnixMicros(day.start.0 - 1),
        ahead: i64::try_from(hour.as_micros()).unwrap(),
    };
    let text = serde_json::to_string(&slept).unwrap();
    home.change(&format!(
        "INSERT INTO run_fact VALUES ({}, 99, '{text}')",
        run.0
    ));
    assert_eq!(ledger.left_on(day).await.unwrap(), [0; 3]);
    assert_eq!(ledger.left_on(later).await.unwrap(), [3, 0, 0]);
}

#[tokio::test]
async fn departures_are_of_what_left_or_may_have_and_of_that_run_alone() {
    let home = Home::new();
    let input = sends(&[1, 2, 3, 4]);
    let (ledger, run) = home.start(Operation::Send, &input);
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    attempt(&ledger, &mut jobs[0], run, VerdictKind::Throttled).await;
    attempt(&ledger, &mut jobs[1], run, VerdictKind::Unreachable).await;
    attempt(&ledger, &mut jobs[2], run, VerdictKind::Withdrawn).await;
    begin(&ledger, &mut jobs[3], run).await;
    drop(close(ledger).await);
    let (ledger, second) = home.start(Operation::Send, &input);
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    attempt(&ledger, &mut jobs[0], second, VerdictKind::Accepted).await;
    let ledger = close(ledger).await;
    let left_at = NOW + Duration::from_secs(1);
    for (run, expected) in [(run, vec![NOW, left_at]), (second, vec![left_at])] {
        assert_eq!(ledger.departures(run).unwrap(), expected);
    }
}

#[test]
fn a_plan_that_is_dropped_leaves_no_mark() {
    let home = Home::new();
    drop(home.begin(Operation::Send, &sends(&[1])));
    let mut ledger = Store::open(&home.path()).unwrap();
    let before = ledger.campaigns().unwrap();
    let key = key(Operation::Send);
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
fn a_reader_that_looks_again_knows_whether_anything_was_written() {
    let home = Home::new();
    let ledger = Store::open(&home.path()).unwrap();
    let mut reader = Store::open_to_read(&home.path()).unwrap();
    let mut looks = || reader.look_again().unwrap();
    assert!(!looks());
    let write = "CREATE TABLE made (it); DROP TABLE made;";
    file(&ledger).db.execute_batch(write).unwrap();
    assert!(looks());
    assert!(!looks());
}

#[test]
fn a_second_process_is_refused_until_the_first_lets_go() {
    let home = Home::new();
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
    let home = Home::new();
    assert!(matches!(
        Store::open_to_read(&home.path()),
        Err(LedgerError::Missing(_))
    ));
    let db = Connection::open(home.path()).unwrap();
    db.execute_batch("CREATE TABLE mine (x)").unwrap();
    let opens: [fn(&Path) -> _; 2] = [|path| Store::open(path), |path| Store::open_to_read(path)];
    for open in opens {
        let refused = open(&home.path());
        assert!(matches!(refused, Err(LedgerError::NotALedger { .. })));
    }
    std::fs::write(home.folder.path().join("short"), [0]).unwrap();
    let opens: [fn(&Path) -> _; 2] = [|path| Store::open(path), |path| Store::open_to_read(path)];
    for open in opens {
        let refused = open(&home.folder.path().join("short"));
        assert!(matches!(refused, Err(LedgerError::NotALedger { .. })));
    }
    db.execute_batch("DROP TABLE mine").unwrap();
    let opens: [fn(&Path) -> _; 2] = [|path| Store::open(path), |path| Store::open_to_read(path)];
    for open in opens {
        let refused = open(&home.path());
        assert!(matches!(refused, Err(LedgerError::NotALedger { .. })));
    }
    drop(db);
    std::fs::remove_file(home.path()).unwrap();
    drop(Store::open(&home.path()).unwrap());
    let db = Connection::open(home.path()).unwrap();
    db.pragma_update(None, "user_version", schema::NEWEST + 1)
        .unwrap();
    drop(db);
    let opens: [fn(&Path) -> _; 2] = [|path| Store::open(path), |path| Store::open_to_read(path)];
    for open in opens {
        let refused = open(&home.path());
        assert!(matches!(refused, Err(LedgerError::TooNew { .. })));
    }
}

#[test]
fn a_ledger_that_a_viewer_took_the_log_from_opens() {
    let home = Home::new();
    drop(home.begin(Operation::Send, &sends(&[1])));
    let db = Connection::open(home.path()).unwrap();
    db.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))
        .unwrap();
    drop(db);
    let ledger = Store::open(&home.path()).unwrap();
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
        let ledger = Store::open_to_read(&home.path()).unwrap();
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
    let (ledger, run) = home.start(Operation::Send, &sends(&[1, 2, 3, 1]));
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    attempt(&ledger, &mut jobs[1], run, VerdictKind::Accepted).await;
    ledger.note(&RunFact::EndpointProven).await;
    let ledger = close(ledger).await;
    ledger.finish_run(run, LATER, &End::Complete, None).unwrap();
    drop(ledger);
    drop(home.begin(Operation::Verify, &[contact(2, 1, Some(plain("111111")))]));
    home
}

#[tokio::test]
async fn a_ledger_is_sound_until_anything_in_it_changes() {
    let home = lived_in().await;
    let path = home.path();
    let ledger = Store::open_to_read(&path).unwrap();
    let sound = ledger.verify().unwrap();
    assert_eq!(sound.wrong, Vec::<String>::new());
    assert_eq!((sound.campaigns, sound.rows, sound.attempts), (2, 5, 1));
    drop(ledger);
    let bytes = std::fs::read(&path).unwrap();
    for (change, words) in [
        ("UPDATE ledger SET next_id = 2", "never given"),
        ("UPDATE ledger SET salt = x'00'", "key"),
        ("UPDATE ledger SET salt = randomblob(32)", "code"),
        (
            "UPDATE ledger SET salt = randomblob(32)",
            "row 1: it is not",
        ),
        ("DELETE FROM ledger", "is missing"),
        (
            "UPDATE campaign SET operation = 'senf' WHERE id = 1",
            "nobody knows",
        ),
        (
            "UPDATE campaign SET rows = rows + 1 WHERE id = 2",
            "row 6 is missing",
        ),
        ("UPDATE campaign SET rows = 5 WHERE id = 1", "row 5: it is not"),
        ("UPDATE campaign SET rows = 2 WHERE id = 1", "no campaign"),
        ("DELETE FROM campaign WHERE id = 2", "no campaign"),
        ("DELETE FROM contact WHERE id = 2", "row 2 is missing"),
        ("DELETE FROM special", "row 4: what is to be said"),
        ("DELETE FROM block WHERE first = 1", "row 1: its record"),
        (
            "UPDATE block SET records = '[]' WHERE first = 1",
            "row 1: its record",
        ),
        (
            "UPDATE contact SET number = number + 9 WHERE id = 3",
            "row 3: it is not as it was written",
        ),
        (
            "UPDATE contact SET number = 7 WHERE id = 3",
            "its number is none",
        ),
        ("UPDATE contact SET number = NULL WHERE id = 3", "row 3"),
        ("UPDATE contact SET lane = 1 WHERE id = 3", "row 3"),
        ("UPDATE contact SET kind = 0 WHERE id = 4", "row 4"),
        ("UPDATE contact SET assumed = 1 WHERE id = 3", "row 3"),
        ("UPDATE contact SET line = 9 WHERE id = 3", "row 3"),
        ("UPDATE contact SET job = 2 WHERE id = 3", "row 3"),
        ("UPDATE code SET code = '222222'", "code"),
        ("UPDATE code SET job = 1", "code"),
        (
            "UPDATE known SET number = number + 9 WHERE job = 3",
            "known numbers",
        ),
        ("UPDATE known SET campaign = 9 WHERE job = 3", "known numbers"),
        ("UPDATE known SET job = 2 WHERE job = 3", "known numbers"),
        ("DELETE FROM known WHERE job = 2", "nobody knows"),
        ("UPDATE known SET number = 7 WHERE job = 3", "known numbers"),
        ("UPDATE intent SET id = 4 << 20 | 1", "nobody knows"),
        ("UPDATE intent SET id = 4 << 20 | 1", "without an attempt"),
        ("UPDATE intent SET id = 5 << 20 | 1", "another campaign"),
        ("UPDATE intent SET id = 2 << 20 | 2", "gap"),
        ("DELETE FROM intent", "without an attempt"),
        ("UPDATE intent SET run = 9", "another campaign"),
        ("UPDATE intent SET lane = 2", "another campaign"),
        ("UPDATE intent SET lane = 3", "cannot be read"),
        (
            "UPDATE run SET first_answer = 3 WHERE id = 2;
             INSERT INTO answer SELECT 2, id, left_at, answered_at, verdict, text, retry_at FROM answer",
            "two answers",
        ),
        ("UPDATE answer SET verdict = 2", "contradict"),
        ("UPDATE answer SET verdict = 13", "contradict"),
        ("UPDATE answer SET left_at = NULL", "contradict"),
        ("UPDATE answer SET left_at = 1", "contradict"),
        ("UPDATE answer SET retry_at = 1", "contradict"),
        (
            "UPDATE answer SET seq = 9; UPDATE run SET first_answer = 5 WHERE id = 2",
            "another run's",
        ),
        ("UPDATE run SET campaign = 9 WHERE id = 1", "another campaign"),
        ("UPDATE run SET policy = '{}' WHERE id = 1", "noted of a run"),
        ("UPDATE run_fact SET fact = '7'", "noted of a run"),
        ("DROP INDEX run_campaign", "run_campaign"),
        ("DROP VIEW attempt", "attempt is not as made"),
        ("DROP VIEW attempt; ALTER TABLE answer DROP COLUMN text", "answer is not as made"),
    ] {
        std::fs::write(&path, &bytes).unwrap();
        home.change(change);
        let wrong = home.wrong();
        assert!(
            wrong.iter().any(|said| said.contains(words)),
            "{change}: {wrong:?}"
        );
        assert!(!wrong.concat().contains("9190000"), "a number: {wrong:?}");
    }
}

#[tokio::test]
async fn nothing_is_due_on_a_row_that_has_changed() {
    for change in [
        "UPDATE contact SET number = number + 9 WHERE id = 3",
        "UPDATE contact SET lane = 1 WHERE id = 3",
        "UPDATE contact SET kind = 0 WHERE id = 4",
        "INSERT INTO intent VALUES (3 << 20 | 2, 1, 0, 1)",
        "DELETE FROM contact WHERE id = 3",
    ] {
        let home = lived_in().await;
        home.change(change);
        let (ledger, _) = home.start(Operation::Send, &sends(&[1, 2, 3, 1]));
        let due = ledger.due(Lane::Sms, 9).await;
        assert!(matches!(due, Err(LedgerError::Damaged { .. })), "{due:?}");
        close(ledger).await;
    }
}

#[tokio::test]
async fn people_who_look_into_the_file_see_attempts() {
    let home = lived_in().await;
    let db = Connection::open(home.path()).unwrap();
    let attempt: (i64, i64, i64, i64, String) = db
        .query_row(
            "SELECT job, n, run, verdict, text FROM attempt",
            [],
            |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                ))
            },
        )
        .unwrap();
    assert_eq!(attempt, (2, 1, 1, 1, "said".to_owned()));
}

#[test]
fn an_empty_file_or_a_log_without_its_file_is_no_new_ledger() {
    for left in ["otpdrive.db", "otpdrive.db-wal"] {
        let home = Home::new();
        std::fs::write(home.folder.path().join(left), "").unwrap();
        let opens: [fn(&Path) -> _; 2] =
            [|path| Store::open(path), |path| Store::open_to_read(path)];
        for open in opens {
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
    let held = Store::open(&home.path()).err();
    assert!(matches!(held, Some(LedgerError::Held { .. })), "{held:?}");
    drop(first);
    drop(Store::open(&home.path()).unwrap());
    let names = std::fs::read_dir(home.folder.path()).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["otpdrive.db", "otpdrive.db.otpdrive-lock"]);
}

#[tokio::test]
async fn a_run_that_cannot_start_leaves_nothing_but_its_input() {
    let home = Home::new();
    let (ledger, run) = home.start(Operation::Send, &sends(&[1]));
    ledger.note(&RunFact::EndpointProven).await;
    let ledger = close(ledger).await;
    ledger.finish_run(run, LATER, &End::Complete, None).unwrap();
    drop(ledger);
    let reader = Store::open_to_read(&home.path()).unwrap();
    let (ledger, campaign, _) = home.begin(Operation::Send, &sends(&[1, 2]));
    file(&ledger).db.busy_timeout(Duration::ZERO).unwrap();
    let clock = Clock::at(LATER);
    let refused = ledger.start(&campaign, RunId(2), clock, Execution::Threads, None);
    let refused = refused.err().map(|error| error.to_string());
    assert!(refused.unwrap().contains("somebody reads in it"));
    drop(reader);
    let ledger = Store::open(&home.path()).unwrap();
    let latest = ledger.latest_run(campaign.record.id).unwrap().unwrap();
    assert_eq!((latest.id, latest.end), (run, Some(End::Complete)));
    let facts: u32 = file(&ledger)
        .db
        .query_row("SELECT count(*) FROM run_fact", [], |row| row.get(0))
        .unwrap();
    assert_eq!(facts, 1);
    assert_eq!(home.states().len(), 2);
}

/// Makes a ledger one of format 2 again: format 3 only added tables.
const BACK_TO_FORMAT_2: &str = "DROP TABLE suppressed; DROP TABLE former; DROP TABLE stood;
    DROP TABLE lookup; DROP TABLE purged; PRAGMA user_version = 2;";

#[tokio::test]
async fn a_ledger_of_format_2_is_read_and_knows_whom_an_earlier_list_had() {
    let home = Home::new();
    let (ledger, run) = home.start(Operation::Send, &sends(&[1, 2]));
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    attempt(&ledger, &mut jobs[0], run, VerdictKind::Rejected).await;
    drop(close(ledger).await);
    // The list is replaced: format 2 dropped the row, and kept the attempt.
    drop(home.begin(Operation::Send, &sends(&[2])));
    home.change(BACK_TO_FORMAT_2);
    let former = || {
        let ledger = Store::open_to_read(&home.path()).unwrap();
        let campaign = ledger.campaigns().unwrap().remove(0).record.id;
        let mut former = Vec::new();
        let mut each = |header: &str, row: &Row| {
            former.push((row.number, row.attempts().len(), header.is_empty()));
            ControlFlow::Continue(())
        };
        ledger.for_each_former(campaign, &mut each).unwrap();
        former
    };
    let expected = [(Some(number(1)), 1, true)];
    assert_eq!(former(), expected, "who only reads changes nothing");
    drop(Store::open(&home.path()).unwrap());
    assert_eq!(former(), expected);
    assert_eq!(home.wrong(), Vec::<String>::new());
}

//! What shows only within this room; `tests/it/ledger` holds the rest against its public doors.

use std::convert::Infallible;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::clock::Clock;
use crate::job::{
    Answer, Attempt, Contact, GivenCode, Lane, Operation, Request, Told, Verdict, VerdictKind,
};
use crate::ledger::store::Place;
use crate::ledger::{Begun, Campaign, CampaignKey, Execution, Ledger, NewRun, Run, Store};
use crate::number::Number;
use crate::record::InputRecord;
use crate::run::{Policy, RunFact, WhenUncertain};

const NOW: UnixMicros = UnixMicros(1_700_000_000_000_000);

/// A ledger in a folder of its own.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("otpdrive.db")
    }

    fn open(&self) -> Store {
        Store::open(&self.path()).unwrap()
    }
}

/// The file of a ledger.
fn file(ledger: &Store) -> &SqliteLedger {
    match &ledger.place {
        Place::Sqlite(file) => file,
        Place::Postgres(_) => panic!("a file is meant"),
    }
}

/// Takes in these codes, each of another number, and begins a run.
fn begin(ledger: &mut Store, codes: &[&'static str]) -> (Campaign, RunId) {
    let key = CampaignKey {
        operation: Operation::Verify,
        name: "june".to_owned(),
        sandbox: false,
    };
    let input = InputRecord {
        name: "june.csv".to_owned(),
        sha256: codes.concat(),
        rows: codes.len() as u64,
        header: "phone".to_owned(),
    };
    let contacts = (2..).zip(codes).map(|(line, code)| Contact {
        line,
        record: "x".to_owned(),
        told: Told::Nothing,
        request: Ok(Request {
            number: Number::new(919_000_000_000 + line).unwrap(),
            lane: Lane::Verify,
            code: Some(GivenCode::Plain(SecretString::from(*code))),
            assumed_mobile: false,
        }),
    });
    let contacts = contacts.map(Ok::<_, Infallible>);
    let intake = ledger.take_in(&key, &input, "reading", contacts).unwrap();
    let new = NewRun {
        policy: Policy {
            max_attempts: 3,
            fallback: None,
            on_unknown: WhenUncertain::Hold,
            on_server_error: WhenUncertain::Retry,
        },
        endpoint: "https://kookoo.example",
        settings: &Value::Null,
        rates: [None; 2],
        ceilings: None,
        billed: [0; 3],
    };
    intake.unwrap().begin_run(NOW, &new).unwrap()
}

fn start(ledger: Store, campaign: &Campaign, run: RunId) -> Result<Run, LedgerError> {
    ledger.start(campaign, run, Clock::at(NOW), Execution::Threads, None)
}

#[tokio::test]
async fn a_code_that_is_settled_comes_into_no_table_again_not_for_a_moment() {
    let home = Home::new();
    let mut ledger = home.open();
    let (campaign, run) = begin(&mut ledger, &["111111", "333333"]);
    let ledger = start(ledger, &campaign, run).unwrap();
    let due = ledger.due(Lane::Verify, 9).await.unwrap();
    let intent = Attempt {
        n: 1,
        run,
        lane: Lane::Verify,
        begun_at: NOW,
        answer: None,
        lookup: None,
    };
    let begun = ledger.begin(&due.jobs[0], &intent).await.unwrap();
    assert_eq!(begun, Begun::GO);
    let accepted = Answer {
        left_at: Some(NOW),
        answered_at: NOW,
        verdict: Verdict::new(VerdictKind::Accepted, "said"),
    };
    ledger.answer(due.jobs[0].id, 1, &accepted).await;
    drop(Store::close(ledger).await);
    let mut ledger = home.open();
    let note = "CREATE TEMP TABLE written (code TEXT);
                CREATE TEMP TRIGGER note AFTER INSERT ON main.code
                BEGIN INSERT INTO written VALUES (new.code); END;";
    file(&ledger).db.execute_batch(note).unwrap();
    begin(&mut ledger, &["111111", "333333", "444444"]);
    let written = "SELECT group_concat(code) FROM written";
    let written: String = file(&ledger)
        .db
        .query_row(written, [], |row| row.get(0))
        .unwrap();
    assert_eq!(written, "444444", "what is there is not written again");
}

#[test]
fn a_new_ledger_appears_whole_and_locked_and_leaves_no_draft() {
    let home = Home::new();
    let first = super::file::make(&home.path()).unwrap().unwrap();
    assert!(super::file::make(&home.path()).unwrap().is_none());
    let held = Store::open(&home.path()).err();
    assert!(matches!(held, Some(LedgerError::Held { .. })), "{held:?}");
    drop(first);
    drop(home.open());
    let names = std::fs::read_dir(home.0.path()).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["otpdrive.db", "otpdrive.db.otpdrive-lock"]);
}

#[tokio::test]
async fn a_run_that_cannot_start_leaves_nothing_but_its_input() {
    let home = Home::new();
    let mut ledger = home.open();
    let (campaign, run) = begin(&mut ledger, &["111111"]);
    let ledger = start(ledger, &campaign, run).unwrap();
    ledger.note(&RunFact::EndpointProven).await;
    let (ledger, _) = Store::close(ledger).await;
    ledger.finish_run(run, NOW, &End::Complete, None).unwrap();
    drop(ledger);
    let reader = Store::open_to_read(&home.path()).unwrap();
    let mut ledger = home.open();
    let (campaign, next) = begin(&mut ledger, &["111111", "222222"]);
    file(&ledger).db.busy_timeout(Duration::ZERO).unwrap();
    let refused = start(ledger, &campaign, next).err();
    let refused = refused.map(|error| error.to_string());
    assert!(refused.unwrap().contains("somebody reads in it"));
    drop(reader);
    let ledger = home.open();
    let latest = ledger.latest_run(campaign.record.id).unwrap().unwrap();
    assert_eq!((latest.id, latest.end), (run, Some(End::Complete)));
    let facts: u32 = file(&ledger)
        .db
        .query_row("SELECT count(*) FROM run_fact", [], |row| row.get(0))
        .unwrap();
    assert_eq!(facts, 1);
    let left = ledger.campaigns().unwrap().remove(0);
    assert_eq!(left.record.input.rows, 2);
}

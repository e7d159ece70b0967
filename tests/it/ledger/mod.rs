//! The ledger through its public doors, `Store` and `Run`: what goes in comes back, also when the
//! process does not live to close it.
//!
//! What holds in every room is said once, and is tested in a file here and on a server by `tests/prove
//! fleet` ([`each_test`] names all of it). `model` is a ledger in memory, and `play` holds both rooms
//! against it, `story` by story; `file` and `sound` are what only a file can do.

pub mod codes;
pub mod facts;
mod file;
mod home;
pub mod lists;
mod model;
pub mod people;
pub mod play;
pub mod purge;
pub mod runs;
mod sound;
mod story;

use std::ops::ControlFlow;
use std::sync::LazyLock;
use std::time::Duration;

use otpdrive::clock::{Clock, wall};
use otpdrive::job::{
    Answer, Attempt, Contact, GivenCode, Job, Lane, Operation, Problem, Request, Told, UnixMicros,
    Verdict, VerdictKind,
};
use otpdrive::ledger::{
    Begun, Campaign, CampaignKey, Execution, Ledger, NewRun, Records, Run, Store, Then,
};
use otpdrive::number::Number;
use otpdrive::record::{InputRecord, Row, RowState};
use otpdrive::run::{Policy, RunId, WhenUncertain};
use secrecy::SecretString;
use serde_json::Value;

pub use home::{Home, Room};

/// Makes tests of all that holds in every room: `make!` gets each module with its tests, which take a
/// [`Room`].
macro_rules! each_test {
    ($make:ident) => {
        $make! {
            codes {
                a_masked_code_is_the_one_that_was_given_before
                a_code_is_there_until_it_is_answered
                a_code_is_kept_that_was_asked_again_after_what_turned_out_to_be_an_answer
            }
            facts {
                what_is_written_reads_back
                an_intent_is_there_at_once
                an_attempt_is_begun_once_whoever_begins_it
                answers_are_written_when_the_ledger_can_be_written_again
                departures_are_of_what_left_or_may_have_and_of_that_run_alone
                what_left_on_a_day_is_counted_over_all_runs_by_the_clock_on_the_wall
                a_request_is_kept_apart_from_the_last_one_of_a_killed_run
            }
            lists {
                a_number_is_the_same_job_wherever_it_stands_in_the_next_input
                a_plan_that_is_dropped_leaves_no_mark
                ids_are_never_given_twice
                a_count_that_cannot_be_is_an_error
                nothing_is_due_on_a_row_that_has_changed
            }
            people {
                whom_another_campaign_has_just_sent_to_is_left_out_and_told_why
                what_a_person_looked_up_counts_until_something_follows_from_it
                a_journey_leads_through_all_campaigns_of_a_number
            }
            purge {
                purging_some_campaigns_changes_nothing_of_the_others
                nothing_is_purged_before_its_time_or_while_it_runs
            }
            runs {
                what_this_run_has_begun_is_due_on_no_lane
                what_turns_up_in_a_run_reads_back_and_a_proven_endpoint_is_remembered
                refusals_alike_before_a_kill_are_a_wave_unless_they_were_acted_on_or_waves_are_off
            }
        }
    };
}
pub(crate) use each_test;

macro_rules! in_a_file {
    ($($module:ident { $($test:ident)* })*) => {$(
        mod $module {
            $(
                #[tokio::test]
                async fn $test() {
                    crate::ledger::$module::$test(crate::ledger::Room::disk()).await;
                }
            )*
        }
    )*};
}

mod in_a_file {
    super::each_test!(in_a_file);
}

/// When all of it begins: not long ago, for a server has a clock of its own.
fn now() -> UnixMicros {
    static NOW: LazyLock<UnixMicros> = LazyLock::new(wall);
    *NOW
}

/// When runs have hold of the ledger.
fn later() -> UnixMicros {
    now() + Duration::from_secs(5)
}

/// When a request left that was begun at [`now`], if it did.
fn left() -> UnixMicros {
    now() + Duration::from_secs(1)
}

const POLICY: Policy = Policy {
    max_attempts: 3,
    fallback: None,
    on_unknown: WhenUncertain::Hold,
    on_server_error: WhenUncertain::Retry,
};

/// A run as these tests begin it.
pub const RUN: NewRun<'static> = NewRun {
    rates: [None; 2],
    ceilings: None,
    billed: [0; 3],
    policy: POLICY,
    endpoint: "https://kookoo.example",
    settings: &Value::Null,
};

pub fn key(operation: Operation) -> CampaignKey {
    CampaignKey {
        operation,
        name: "june".to_owned(),
        sandbox: false,
    }
}

pub fn input(rows: &[Contact]) -> InputRecord {
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

/// A row that cannot be used.
fn unusable(line: u64) -> Contact {
    Contact {
        line,
        record: format!("row {line}"),
        told: Told::Nothing,
        request: Err(Problem("no phone number")),
    }
}

pub fn sends(numbers: &[u64]) -> Vec<Contact> {
    let rows = (2..).zip(numbers);
    rows.map(|(line, n)| contact(line, *n, None)).collect()
}

fn plain(code: &str) -> GivenCode {
    GivenCode::Plain(SecretString::from(code))
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

/// The rows that earlier inputs had, each with the header of its record.
fn former(ledger: &Store, campaign: &Campaign) -> Vec<(String, Row)> {
    let mut former = Vec::new();
    let mut each = |header: &str, row: &Row| {
        former.push((header.to_owned(), row.clone()));
        ControlFlow::Continue(())
    };
    ledger
        .for_each_former(campaign.record.id, &mut each)
        .unwrap();
    former
}

fn start(ledger: Store, campaign: &Campaign, run: RunId) -> Run {
    let clock = Clock::at(later());
    ledger
        .start(campaign, run, clock, Execution::Threads, None)
        .unwrap()
}

/// All that is due on a lane. The others are read, too: what is under way there may go on here.
async fn all_due(ledger: &Run, lane: Lane) -> Vec<Job> {
    let lanes = match lane {
        Lane::Verify => &[Lane::Verify][..],
        Lane::Sms | Lane::Call => &[Lane::Sms, Lane::Call],
    };
    let due = read_due(ledger, lanes).await.into_iter();
    due.filter(|(on, _)| *on == lane)
        .map(|(_, job)| job)
        .collect()
}

/// All that is due on these lanes, lane by lane.
async fn read_due(ledger: &Run, lanes: &[Lane]) -> Vec<(Lane, Job)> {
    let mut due = Vec::new();
    let mut open = lanes.to_vec();
    while !open.is_empty() {
        let mut still_open = Vec::new();
        for lane in open {
            let found = ledger.due(lane, 2).await.unwrap();
            due.extend(found.jobs.into_iter().map(|job| (lane, job)));
            still_open.extend((found.then != Then::Done).then_some(lane));
        }
        open = still_open;
    }
    due.sort_by_key(|(lane, _)| *lane);
    due
}

fn intent(job: &Job, run: RunId) -> Attempt {
    Attempt {
        lookup: None,
        n: u32::try_from(job.attempts.len()).unwrap() + 1,
        run,
        lane: job.lane,
        begun_at: now(),
        answer: None,
    }
}

fn answer(kind: VerdictKind) -> Answer {
    Answer {
        left_at: kind.may_have_left().then(left),
        answered_at: now() + Duration::from_secs(2),
        verdict: Verdict::new(kind, "said"),
    }
}

/// Begins an attempt, which is to be the next.
async fn begin(ledger: &Run, job: &mut Job, run: RunId) {
    let attempt = intent(job, run);
    let begun = ledger.begin(job, &attempt).await.unwrap();
    assert!(matches!(begun, Begun::Go { .. }), "{begun:?}");
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

/// Ends a run's hold on its ledger; how the run ended is not noted.
async fn close(ledger: Run) -> Store {
    let (ledger, lost) = Store::close(ledger).await;
    assert_eq!(lost, 0);
    ledger
}

/// A job as a row shows it.
fn state(job: &Job) -> RowState {
    RowState::Job(job.attempts.clone())
}

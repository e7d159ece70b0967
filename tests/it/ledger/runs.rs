//! What is true of a run: what it has in hand, what turned up in it, how it ended.

use std::convert::Infallible;
use std::time::Duration;

use otpdrive::job::{Job, Lane, Operation, VerdictKind};
use otpdrive::ledger::{CampaignKey, Ledger, NewRun, Rest, Run, Store};
use otpdrive::run::{RunFact, RunFacts, RunId};
use serde_json::Value;

use super::{
    POLICY, RUN, Room, all_due, attempt, begin, close, input, key, later, now, read_due, sends,
    start,
};

pub async fn what_this_run_has_begun_is_due_on_no_lane(room: Room) {
    let home = room.home();
    let input = sends(&[1, 2]);
    let (ledger, run) = home.start(Operation::Send, &input);
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    attempt(&ledger, &mut jobs[0], run, VerdictKind::Throttled).await;
    ledger.rest(&jobs[0], Rest::Open).await;
    ledger.rest(&jobs[1], Rest::Unfinished).await;
    ledger.flush().await.unwrap();
    let due = read_due(&ledger, &[Lane::Sms, Lane::Call]).await;
    assert!(due.is_empty(), "all was handed out: {due:?}");
    drop(close(ledger).await);
    let (ledger, _) = home.start(Operation::Send, &input);
    let due = all_due(&ledger, Lane::Sms).await;
    assert_eq!(due.len(), 2, "the next run goes on with it");
    assert_eq!(due[0].attempts, jobs[0].attempts);
    close(ledger).await;
}

pub async fn what_turns_up_in_a_run_reads_back_and_a_proven_endpoint_is_remembered(room: Room) {
    let home = room.home();
    let (ledger, campaign, run) = home.begin(Operation::Send, &sends(&[1]));
    let mut expected = RunFacts::new(POLICY);
    let outage = |lane, why: &str| RunFact::OutageBegan {
        lane,
        from: now(),
        why: why.to_owned(),
    };
    let over = |lane| RunFact::OutageEnded { lane, at: later() };
    let facts = [
        outage(None, "no connection"),
        over(None),
        outage(Some(Lane::Call), "503"),
        RunFact::EndpointProven,
        RunFact::Wave {
            lane: Lane::Sms,
            from: now(),
            words: "no credit".to_owned(),
        },
        over(Some(Lane::Call)),
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
        let mut ledger = home.open();
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
        let (campaign, run) = intake.begin_run(now(), &new).unwrap();
        let runs = ledger.runs(campaign.record.id).unwrap();
        assert_eq!(runs.get(run).unwrap().endpoint_proven(), proven);
    }
}

/// Runs until two numbers are refused alike, then does this, then is killed; a next run begins.
/// Says whether there is a wave then.
async fn wave_after_a_kill(
    room: &Room,
    settings: &Value,
    then: impl AsyncFnOnce(&Run, &mut [Job], RunId),
) -> bool {
    let home = room.home();
    let rows = sends(&[1, 2]);
    let new = NewRun { settings, ..RUN };
    let (ledger, campaign, run) = home.begin_as(Operation::Send, &rows, &new);
    let ledger = start(ledger, &campaign, run);
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    for job in &mut jobs {
        attempt(&ledger, job, run, VerdictKind::Rejected).await;
    }
    then(&ledger, &mut jobs, run).await;
    drop(close(ledger).await);
    let wave = RunFact::Wave {
        lane: Lane::Sms,
        from: now() + Duration::from_secs(2),
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
    drop(ledger);
    home.take_back(next);
    let (ledger, ..) = home.begin(Operation::Send, &rows);
    assert_eq!(facts(&ledger), expected, "it is noted once");
    is_there
}

pub async fn refusals_alike_before_a_kill_are_a_wave_unless_they_were_acted_on_or_waves_are_off(
    room: Room,
) {
    let off = serde_json::json!({ "refused_alike": null });
    let nothing = async |_: &Run, _: &mut [Job], _| {};
    assert!(wave_after_a_kill(&room, &Value::Null, nothing).await);
    assert!(!wave_after_a_kill(&room, &off, nothing).await);
    let called = async |ledger: &Run, jobs: &mut [Job], run| {
        begin(ledger, &mut jobs[1], run).await;
    };
    assert!(!wave_after_a_kill(&room, &Value::Null, called).await);
}

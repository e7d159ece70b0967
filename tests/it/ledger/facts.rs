//! Rows, intents and answers: what was written is there, and says when requests left.

use std::time::Duration;

use otpdrive::job::{Attempt, Lane, Operation, UnixMicros, VerdictKind};
use otpdrive::ledger::{Begun, Execution, Ledger, NewRun, Slots, Wanted};
use otpdrive::pace::Rate;
use otpdrive::record::RowState;
use otpdrive::run::RunFact;

use super::{
    RUN, Room, all_due, answer, attempt, begin, close, give, intent, left, now, rows, sends, state,
    unusable,
};

pub async fn what_is_written_reads_back(room: Room) {
    let home = room.home();
    let mut input = sends(&[1, 2, 1]);
    input.push(unusable(5));
    input.extend(
        (6..)
            .zip(3..15)
            .map(|(line, n)| super::contact(line, n, None)),
    );
    let (ledger, run) = home.start(Operation::Send, &input);
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    assert_eq!(jobs.len(), 14);
    let held_until = now() + Duration::from_mins(9);
    let mut throttled = answer(VerdictKind::Throttled);
    throttled.verdict.retry_at = Some(held_until);
    // What ends a run comes back when all has left.
    for job in &mut jobs[1..] {
        begin(&ledger, job, run).await;
    }
    give(&ledger, &mut jobs[1], throttled).await;
    begin(&ledger, &mut jobs[1], run).await;
    for (job, kind) in jobs[2..].iter_mut().zip(VerdictKind::ALL) {
        give(&ledger, job, answer(kind)).await;
    }
    ledger.flush().await.unwrap();
    drop(close(ledger).await);
    let mut expected: Vec<RowState> = jobs.iter().map(state).collect();
    let special = [
        RowState::Duplicate { first_line: 2 },
        RowState::Invalid("no phone number".to_owned()),
    ];
    expected.splice(2..2, special);
    assert_eq!(home.states(), expected);
    let (ledger, _) = home.start(Operation::Send, &input);
    let grant = ledger.reserve(Wanted { slots: 1, calls: 0 }).await.unwrap();
    let held = [Some(held_until), None, None];
    assert_eq!(grant.holds, held, "a Retry-After outlives its run");
    let ledger = close(ledger).await;
    let campaign = ledger.campaigns().unwrap().remove(0);
    let read = rows(&ledger, &campaign);
    let given: Vec<_> = input.iter().map(|row| (row.line, &row.record)).collect();
    let read: Vec<_> = read.iter().map(|row| (row.line, &row.record)).collect();
    assert_eq!(read, given);
}

pub async fn an_intent_is_there_at_once(room: Room) {
    let home = room.home();
    let (ledger, run) = home.start(Operation::Send, &sends(&[1, 2]));
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    begin(&ledger, &mut jobs[1], run).await;
    // Read beside the run, as a process would that comes after a crash.
    assert_eq!(home.states(), [RowState::Job(Vec::new()), state(&jobs[1])]);
    close(ledger).await;
}

pub async fn an_attempt_is_begun_once_whoever_begins_it(room: Room) {
    let home = room.home();
    let input = sends(&[1, 2, 3, 4]);
    let (ledger, run) = home.start(Operation::Send, &input);
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    begin(&ledger, &mut jobs[0], run).await;
    drop(close(ledger).await);
    let (ledger, run) = home.start(Operation::Send, &input);
    begin(&ledger, &mut jobs[1], run).await;
    // All go into one commit, and the first is there already.
    let again = Attempt {
        run,
        ..jobs[0].attempts[0].clone()
    };
    let new = intent(&jobs[2], run);
    let accepted = answer(VerdictKind::Accepted);
    let (taken, begun, ()) = tokio::join!(
        ledger.begin(&jobs[0], &again),
        ledger.begin(&jobs[2], &new),
        ledger.answer(jobs[1].id, 1, &accepted),
    );
    assert_eq!(taken.unwrap(), Begun::Taken);
    assert!(matches!(begun.unwrap(), Begun::Go { .. }));
    let impossible = Attempt {
        n: 1 << 20,
        ..intent(&jobs[3], run)
    };
    let error = ledger.begin(&jobs[3], &impossible).await.unwrap_err();
    let at = home.at().to_string();
    assert!(error.to_string().contains(&at), "{error}");
    drop(close(ledger).await);
    jobs[1].attempts[0].answer = Some(accepted);
    jobs[2].attempts.push(new);
    assert_eq!(home.states(), jobs.iter().map(state).collect::<Vec<_>>());
    assert_eq!(home.wrong(), [""; 0]);
}

pub async fn answers_are_written_when_the_ledger_can_be_written_again(room: Room) {
    let home = room.home();
    let (ledger, run) = home.start(Operation::Send, &sends(&[1, 2]));
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    begin(&ledger, &mut jobs[0], run).await;
    home.change("ALTER TABLE answer RENAME TO gone");
    give(&ledger, &mut jobs[0], answer(VerdictKind::Accepted)).await;
    let error = ledger.flush().await.unwrap_err().to_string();
    let at = home.at().to_string();
    assert!(error.contains(&at), "{error}");
    let refused = intent(&jobs[1], run);
    assert!(ledger.begin(&jobs[1], &refused).await.is_err());
    home.change("ALTER TABLE gone RENAME TO answer");
    begin(&ledger, &mut jobs[1], run).await;
    drop(close(ledger).await);
    assert_eq!(home.states(), jobs.iter().map(state).collect::<Vec<_>>());
}

pub async fn departures_are_of_what_left_or_may_have_and_of_that_run_alone(room: Room) {
    let home = room.home();
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
    for (run, expected) in [(run, vec![now(), left()]), (second, vec![left()])] {
        let begin = |last| (last, Vec::new());
        let seen = ledger.departures(run, begin, |(_, times), at| times.push(at));
        assert_eq!(seen.unwrap(), (expected.last().copied(), expected));
    }
}

pub async fn what_left_on_a_day_is_counted_over_all_runs_by_the_clock_on_the_wall(room: Room) {
    let home = room.home();
    let (ledger, run) = home.start(Operation::Send, &sends(&[1, 2, 3, 4]));
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    attempt(&ledger, &mut jobs[0], run, VerdictKind::Accepted).await;
    attempt(&ledger, &mut jobs[1], run, VerdictKind::Rejected).await;
    attempt(&ledger, &mut jobs[2], run, VerdictKind::Withdrawn).await;
    begin(&ledger, &mut jobs[3], run).await;
    let day = now()..now() + Duration::from_mins(1);
    let count = ledger.left_on(day.clone()).await.unwrap();
    assert_eq!(count, [0; 3], "its own");
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
    close(ledger).await;
}

/// A request every five minutes, so that a second is as nothing.
pub async fn a_request_is_kept_apart_from_the_last_one_of_a_killed_run(room: Room) {
    let (apart, almost) = (Duration::from_mins(5), Duration::from_secs(299));
    let rate = Rate {
        requests: 1.try_into().unwrap(),
        per: apart,
    };
    let new = NewRun {
        rates: [Some(rate), None],
        ..RUN
    };
    let home = room.home();
    let mut earliest = None;
    for _ in 0..2 {
        let (ledger, campaign, run) = home.begin_as(Operation::Send, &sends(&[1, 2]), &new);
        let clock = ledger.clock().unwrap();
        let ledger = ledger.start(&campaign, run, clock, Execution::Threads, None);
        let ledger = ledger.unwrap();
        let grant = ledger.reserve(Wanted { slots: 1, calls: 0 }).await.unwrap();
        // When the first request may leave.
        let at = match grant.slots {
            Slots::Own { after, .. } => after.map_or(clock.now(), |after| after + apart),
            Slots::At { first, .. } | Slots::Later(first) => {
                clock.now() + first.duration_since(tokio::time::Instant::now())
            }
        };
        if let Some(earliest) = earliest {
            assert!(at >= earliest, "{at:?}, not before {earliest:?}");
        }
        let mut jobs = all_due(&ledger, Lane::Sms).await;
        begin(&ledger, &mut jobs[0], run).await;
        let mut throttled = answer(VerdictKind::Throttled);
        throttled.left_at = Some(at);
        give(&ledger, &mut jobs[0], throttled).await;
        drop(close(ledger).await);
        earliest = Some(at + almost);
    }
}

//! What several engines count together: numbers started, money, OTPs of a day. Whoever dies, nothing is
//! begun beyond it, and all of it is used.

use std::cell::RefCell;
use std::future::pending;
use std::time::Duration;

use futures::future::join_all;
use otpdrive::campaign::Finished;
use otpdrive::job::{Job, Lane, Verdict, VerdictKind};
use otpdrive::ledger::Ceilings;
use otpdrive::run::{End, Signal, StopKind};
use otpdrive::status::Status;
use tokio::time::{sleep, timeout};

use super::fleet::{Log, work};
use super::room::Room;
use super::{MS, SECOND, accepted, lost, rejected, settings, stop_kind};

/// Four engines at work on so many rows, of which one dies and one leaves; gives how the others ended.
async fn play(
    seed: u64,
    rows: usize,
    ceilings: Ceilings,
    patience: Duration,
) -> (Room, Log, Vec<Finished>) {
    let mut settings = settings(Some(500));
    settings.limit = ceilings.limit;
    settings.limits.calendar = ceilings.calendar.clone();
    settings.limits.prices = ceilings.prices;
    settings.limits.budget = ceilings.budget;
    let lanes: Vec<Lane> = [Lane::Sms, Lane::Sms, Lane::Call]
        .into_iter()
        .cycle()
        .take(rows)
        .collect();
    let mut room = Room::new(&lanes, [Some(500), None], settings.policy, seed);
    room.ceilings = ceilings;
    let luck = RefCell::new(fastrand::Rng::with_seed(!seed));
    let answers = |_: &Job, n: usize| {
        let mut luck = luck.borrow_mut();
        let verdict = match luck.u32(0..10) {
            0 => rejected(["barred", "ported"][n % 2]),
            1 => lost(),
            2 => Verdict::new(VerdictKind::Withdrawn, "closed"),
            _ => accepted(),
        };
        (luck.u32(20..300) * MS, verdict)
    };
    let log = Log::default();
    let workers = (0..4).map(|n| {
        let (room, log, settings, answers) = (&room, &log, &settings, &answers);
        async move {
            let (hand, wall) = (room.join(), || room.clock.now());
            let stop = async {
                match n {
                    1 => sleep(150 * MS).await,
                    _ if patience > Duration::ZERO => sleep(patience).await,
                    _ => pending().await,
                }
                Signal::Sigterm
            };
            let work = work((room, &hand, log), settings, answers, &wall, stop);
            let life = if n == 0 { 100 * MS } else { 3_600 * SECOND };
            let finished = timeout(life, work).await.ok();
            if finished.is_some() {
                hand.leave();
            }
            finished.filter(|_| n > 1)
        }
    });
    let ended = timeout(3_600 * SECOND, join_all(workers)).await.unwrap();
    let ended = ended.into_iter().flatten().collect();
    (room, log, ended)
}

fn started(room: &Room) -> usize {
    let rows = room.rows.borrow();
    rows.iter().filter(|row| !row.attempts.is_empty()).count()
}

#[tokio::test(start_paused = true)]
async fn the_limit_is_that_of_all_together() {
    for seed in 0..20 {
        let ceilings = Ceilings {
            limit: Some(160),
            ..Ceilings::default()
        };
        let (room, _, ended) = play(seed, 400, ceilings, Duration::ZERO).await;
        assert_eq!(started(&room), 160, "{seed}");
        for finished in ended {
            assert_eq!(stop_kind(&finished), Some(StopKind::Limit), "{seed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_not_reached_ends_nothing() {
    let ceilings = Ceilings {
        limit: Some(1_000),
        ..Ceilings::default()
    };
    let (room, _, ended) = play(1, 400, ceilings, Duration::ZERO).await;
    assert_eq!(started(&room), 400);
    for finished in ended {
        assert_eq!(finished.end, End::Complete);
    }
    assert_eq!(room.count(Status::Pending), 0);
}

#[tokio::test(start_paused = true)]
async fn the_budget_is_that_of_all_together() {
    for seed in 0..20 {
        let ceilings = Ceilings {
            prices: "sms=0.25,call=1".parse().unwrap(),
            budget: Some("60".parse().unwrap()),
            ..Ceilings::default()
        };
        let (room, _, ended) = play(seed, 400, ceilings.clone(), Duration::ZERO).await;
        let (rows, runs) = (room.rows.borrow(), room.runs.borrow());
        let mut billed = [0; 3];
        for attempt in rows.iter().flat_map(|row| &row.attempts) {
            billed[attempt.lane.index()] += u64::from(runs.meaning(attempt).is_billed());
        }
        let spent = ceilings.prices.total(&billed).unwrap();
        assert!(spent <= ceilings.budget.unwrap(), "{seed}: {spent}");
        let left = ceilings.budget.unwrap().minus(spent);
        assert!(left < "1".parse().unwrap(), "{seed}: {left} is left");
        for finished in ended {
            assert_eq!(stop_kind(&finished), Some(StopKind::Budget), "{seed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_cap_of_a_day_is_that_of_all_together() {
    for seed in 0..20 {
        let mut ceilings = Ceilings::default();
        ceilings.calendar.all.daily_cap = 150.try_into().ok();
        ceilings.calendar.calls.daily_cap = 40.try_into().ok();
        let (room, log, ended) = play(seed, 400, ceilings, 60 * SECOND).await;
        let log = log.take();
        let calls = log.iter().filter(|sent| sent.lane == Lane::Call).count();
        // What a process that died had begun may have left.
        let rows = room.rows.borrow();
        let begun = rows.iter().flat_map(|row| &row.attempts);
        let may_have = begun.filter(|attempt| !attempt.never_left()).count();
        assert!(
            log.len() <= 150 && calls <= 40,
            "{seed}: {} {calls}",
            log.len()
        );
        assert_eq!(may_have, 150, "{seed}");
        for finished in ended {
            assert!(matches!(finished.end, End::Interrupted(_)), "{seed}");
        }
    }
}

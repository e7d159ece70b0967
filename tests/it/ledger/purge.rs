//! Purging some campaigns changes nothing of the others, whatever they went through.

use std::collections::HashMap;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::time::Duration;

use otpdrive::clock::Clock;
use otpdrive::job::{Contact, Lane, Operation, UnixMicros, VerdictKind};
use otpdrive::journey::Journey;
use otpdrive::ledger::{
    Campaign, CampaignKey, Execution, LeaveOut, Ledger, Purged, Records, Rest, Store,
};
use otpdrive::record::{Row, RunRecord};
use otpdrive::run::End;

use super::{
    Home, RUN, Room, all_due, answer, begin, close, contact, former, give, input, key, later, now,
    number, plain, rows, sends,
};

/// When everything is long over.
pub fn days_later() -> UnixMicros {
    now() + Duration::from_hours(72)
}

/// A stretch of a campaign's life: a list, and what came of some of its people.
pub async fn live(home: &Home, random: &mut fastrand::Rng, name: &str, operation: Operation) {
    let lane = match operation {
        Operation::Send => Lane::Sms,
        Operation::Verify => Lane::Verify,
    };
    let rows: Vec<Contact> = (2..random.u64(4..12))
        .map(|line| {
            let code = (lane == Lane::Verify).then(|| plain(&random.u8(1..4).to_string()));
            contact(line, random.u64(1..9), code)
        })
        .collect();
    let mut ledger = home.open();
    let key = CampaignKey {
        name: name.to_owned(),
        ..key(operation)
    };
    let rows_in = rows.iter().cloned().map(Ok::<_, Infallible>);
    let intake = ledger.take_in(&key, &input(&rows), "reading", rows_in);
    let intake = intake.unwrap().unwrap();
    let excluded = HashMap::from([(number(random.u64(1..9)), "stop.csv".into())]);
    let whom = LeaveOut {
        now: now(),
        cooldown: Duration::ZERO,
        max_age: None,
        excluded: &excluded,
    };
    let runs = intake.runs(&RUN).unwrap();
    intake.leave_out(&runs, &whom).unwrap();
    let (campaign, run) = intake.begin_run(now(), &RUN).unwrap();
    let clock = Clock::at(later());
    let ledger = ledger.start(&campaign, run, clock, Execution::Inline, None);
    let ledger = ledger.unwrap();
    for mut job in all_due(&ledger, lane).await {
        for _ in 0..random.u8(0..3) {
            begin(&ledger, &mut job, run).await;
            if random.u8(0..4) > 0 {
                let kind = random.choice(kinds(lane)).unwrap();
                give(&ledger, &mut job, answer(kind)).await;
            }
        }
        if random.bool() {
            ledger.rest(&job, Rest::Settled).await;
        }
    }
    let ledger = close(ledger).await;
    if random.bool() {
        ledger
            .finish_run(run, later(), &End::Complete, Some(now()))
            .unwrap();
    }
}

/// What can come back on a lane while a run goes on. Only a code can be wrong.
fn kinds(lane: Lane) -> Vec<VerdictKind> {
    let ends = [VerdictKind::KeyRefused, VerdictKind::AccountRefused];
    let fits = |kind: &VerdictKind| lane == Lane::Verify || *kind != VerdictKind::NotVerified;
    let kinds = VerdictKind::ALL.into_iter().filter(fits);
    kinds.filter(|kind| !ends.contains(kind)).collect()
}

/// All that is known of a campaign: its rows, those of earlier lists, and its runs.
type Known = (Vec<Row>, Vec<(String, Row)>, String, Option<RunRecord>);

fn known(ledger: &Store, of: &Campaign) -> Known {
    let id = of.record.id;
    let runs = format!("{:?}", ledger.runs(id).unwrap());
    let latest = ledger.latest_run(id).unwrap();
    (rows(ledger, of), former(ledger, of), runs, latest)
}

pub async fn purging_some_campaigns_changes_nothing_of_the_others(room: Room) {
    for seed in 0..room.in_file_or_on_server(12, 3) {
        let random = &mut fastrand::Rng::with_seed(seed);
        let home = room.home();
        for _ in 0..6 {
            let name = random.choice(["a", "b", "c"]).unwrap();
            let operation = random.choice([Operation::Send, Operation::Verify]).unwrap();
            live(&home, random, name, operation).await;
        }
        let mut ledger = home.open();
        assert_eq!(ledger.verify().unwrap().wrong, [""; 0], "{seed}");
        let mut gone = ledger
            .due_for_purge(days_later(), Duration::ZERO, &[])
            .unwrap();
        let all = ledger.campaigns().unwrap();
        assert_eq!(gone.len(), all.len(), "{seed}");
        gone.retain(|_| random.bool());
        let stays = |of: &&Campaign| gone.iter().all(|gone| gone.campaign != of.record);
        let stay: Vec<&Campaign> = all.iter().filter(stays).collect();
        let before: Vec<_> = stay.iter().map(|of| known(&ledger, of)).collect();
        // Its requests are gone at once, or later: nothing hangs on them.
        let at = random.choice([later(), days_later()]).unwrap();
        assert!(ledger.purge(&gone, at).unwrap());
        let after: Vec<_> = stay.iter().map(|of| known(&ledger, of)).collect();
        assert_eq!(after, before, "{seed}");
        assert_eq!(ledger.verify().unwrap().wrong, [""; 0], "{seed}");
        let purged = ledger.purged().unwrap();
        let counts = |of: &Purged| (of.campaign.id, of.counts, of.earlier);
        assert!(
            purged.iter().map(counts).eq(gone.iter().map(counts)),
            "{seed}"
        );
        let mut each = |_: &str, _: &Row, journey: &Journey| {
            let mut gone = gone.iter().map(|gone| gone.campaign.id);
            assert!(!gone.any(|id| journey.knows(id)), "{seed}");
            ControlFlow::Continue(())
        };
        for of in &stay {
            ledger
                .for_each_journey(of, Records::Read, &[], &mut each)
                .unwrap();
        }
        drop(ledger);
        // And the ledger goes on as one that was never purged.
        live(&home, random, "d", Operation::Send).await;
        assert_eq!(home.wrong(), [""; 0], "{seed}");
        let ledger = home.look();
        let later: Vec<_> = stay.iter().map(|of| known(&ledger, of)).collect();
        assert_eq!(later, before, "{seed}");
    }
}

pub async fn nothing_is_purged_before_its_time_or_while_it_runs(room: Room) {
    let home = room.home();
    let (ledger, run) = home.start(Operation::Send, &sends(&[1, 2]));
    let ledger = close(ledger).await;
    ledger
        .finish_run(run, later(), &End::Complete, None)
        .unwrap();
    let due = |older_than, on: &[_]| ledger.due_for_purge(days_later(), older_than, on).unwrap();
    let hours = Duration::from_hours;
    assert_eq!(due(hours(73), &[]), []);
    assert_eq!(due(hours(71), &[run]), []);
    let found = due(hours(71), &[]);
    assert_eq!((found.len(), found[0].counts.total()), (1, 2));
}

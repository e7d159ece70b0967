//! One number over several campaigns, and what a person found out about it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use otpdrive::job::{Found, Lane, Lookup, Operation, UnixMicros, VerdictKind};
use otpdrive::journey::Journey;
use otpdrive::ledger::{Campaign, CampaignKey, LeaveOut, Noted, Records, Store};
use otpdrive::number::Number;
use otpdrive::record::{Row, RowState, Suppression};

use super::{
    RUN, Room, all_due, attempt, close, contact, input, key, later, left, now, number, plain, rows,
    sends, start, state,
};

const DAY: Duration = Duration::from_hours(24);

/// Begins another campaign for these numbers, of which one stands in a suppression list.
fn begin_july(ledger: &mut Store, numbers: &[u64], cooldown: Duration) -> Campaign {
    let excluded: HashMap<Number, Arc<str>> = HashMap::from([(number(4), "stop.csv".into())]);
    let contacts = sends(numbers);
    let (input, contacts_in) = (input(&contacts), contacts.into_iter());
    let key = CampaignKey {
        name: "july".to_owned(),
        ..key(Operation::Send)
    };
    let contacts_in = contacts_in.map(Ok::<_, Infallible>);
    let intake = ledger.take_in(&key, &input, "reading", contacts_in);
    let intake = intake.unwrap().unwrap();
    let whom = LeaveOut {
        now: later(),
        cooldown,
        max_age: None,
        excluded: &excluded,
    };
    let runs = intake.runs(&RUN).unwrap();
    intake.leave_out(&runs, &whom).unwrap();
    intake.begin_run(now(), &RUN).unwrap().0
}

pub async fn whom_another_campaign_has_just_sent_to_is_left_out_and_told_why(room: Room) {
    let home = room.home();
    let (ledger, run) = home.start(Operation::Send, &sends(&[1, 2, 3]));
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    for (job, kind) in jobs.iter_mut().zip([
        VerdictKind::Accepted,
        VerdictKind::Ambiguous,
        VerdictKind::Rejected,
    ]) {
        attempt(&ledger, job, run, kind).await;
    }
    drop(close(ledger).await);
    let recent = || {
        let (campaign, at) = ("june".to_owned(), left());
        RowState::Suppressed(Suppression::Recent { campaign, at }, Vec::new())
    };
    let open = || RowState::Job(Vec::new());
    let stop = || RowState::Suppressed(Suppression::Excluded("stop.csv".to_owned()), Vec::new());
    let over = Duration::from_secs(4);
    for (cooldown, expected) in [
        (DAY, [stop(), open(), recent(), recent()]),
        (over, [stop(), open(), open(), open()]),
        (Duration::ZERO, [stop(), open(), open(), open()]),
    ] {
        let mut ledger = home.open();
        let july = begin_july(&mut ledger, &[4, 3, 2, 1], cooldown);
        let states = rows(&ledger, &july).into_iter().map(|row| row.state);
        assert_eq!(states.collect::<Vec<_>>(), expected, "{cooldown:?}");
    }
}

pub async fn what_a_person_looked_up_counts_until_something_follows_from_it(room: Room) {
    let home = room.home();
    let (ledger, run) = home.start(Operation::Send, &sends(&[1, 2, 3]));
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    attempt(&ledger, &mut jobs[0], run, VerdictKind::NoAnswer).await;
    attempt(&ledger, &mut jobs[1], run, VerdictKind::Accepted).await;
    drop(close(ledger).await);
    // The one that is unknown is in no list any more.
    drop(home.begin(Operation::Send, &sends(&[2, 3])));
    let mut ledger = home.open();
    let june = ledger.campaigns().unwrap().remove(0);
    let all: Vec<_> = [1, 2, 3, 9].map(number).into();
    let mut settle = |found, after: u64| {
        let at = later() + Duration::from_secs(after);
        let noted = ledger.settle(&june, &all, Lookup { found, at });
        (noted.unwrap(), Some(Lookup { found, at }))
    };
    let noted = Noted {
        noted: 1,
        former: 1,
        not_unknown: 2,
        strange: 1,
    };
    for (found, after) in [(Found::Sent, 1), (Found::Unsent, 2)] {
        let (said, lookup) = settle(found, after);
        assert_eq!(said, noted);
        jobs[0].attempts[0].lookup = lookup;
        let ledger = home.look();
        let lives = ledger.lives(number(1)).unwrap();
        assert_eq!(lives.len(), 1);
        assert!(lives[0].is_former);
        assert_eq!(lives[0].row.state, state(&jobs[0]));
    }
    drop(ledger);
    let (ledger, run) = home.start(Operation::Send, &sends(&[1]));
    let mut due = all_due(&ledger, Lane::Sms).await;
    assert_eq!(due[0].attempts, jobs[0].attempts, "it was not sent");
    attempt(&ledger, &mut due[0], run, VerdictKind::Accepted).await;
    drop(close(ledger).await);
    let mut ledger = home.open();
    let june = ledger.campaigns().unwrap().remove(0);
    let at = later() + Duration::from_secs(3);
    let found = Found::Sent;
    let noted = ledger.settle(&june, &[number(1)], Lookup { found, at });
    let not_unknown = 1;
    let expected = Noted {
        not_unknown,
        ..Noted::default()
    };
    assert_eq!(noted.unwrap(), expected);
    drop(ledger);
    assert_eq!(home.states(), [state(&due[0])]);
    assert_eq!(home.wrong(), [""; 0]);
}

pub async fn a_journey_leads_through_all_campaigns_of_a_number(room: Room) {
    let home = room.home();
    let (ledger, run) = home.start(Operation::Send, &sends(&[1, 2, 3]));
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    for job in &mut jobs {
        attempt(&ledger, job, run, VerdictKind::Accepted).await;
    }
    drop(close(ledger).await);
    let codes = [
        contact(2, 1, Some(plain("111111"))),
        contact(3, 2, Some(plain("222222"))),
    ];
    let (ledger, verify, run) = home.begin(Operation::Verify, &codes);
    let ledger = start(ledger, &verify, run);
    let mut jobs = all_due(&ledger, Lane::Verify).await;
    attempt(&ledger, &mut jobs[0], run, VerdictKind::Accepted).await;
    drop(close(ledger).await);
    // The list of numbers is replaced: who is former is still told of.
    drop(home.begin(Operation::Send, &sends(&[2, 3])));
    let ledger = home.look();
    let june = ledger.campaigns().unwrap().remove(0);
    let mut told: Vec<(Option<Number>, bool, Option<bool>, bool)> = Vec::new();
    let mut each = |_: &str, row: &Row, journey: &Journey| {
        let forever = UnixMicros(i64::MAX);
        let answered = journey.answered(verify.record.id, forever);
        let is_right = answered.and_then(|answered| Some(answered.check?.is_right));
        let is_unverified = journey.is_unverified(june.record.id, later(), Duration::ZERO);
        let is_known = journey.knows(verify.record.id);
        told.push((row.number, is_known, is_right, is_unverified));
        ControlFlow::Continue(())
    };
    ledger
        .for_each_journey(&june, Records::Skip, &[], &mut each)
        .unwrap();
    let expected = [
        (2, true, None, false),
        (3, false, None, true),
        (1, true, Some(true), false),
    ];
    let expected = expected.map(|(n, knows, right, open)| (Some(number(n)), knows, right, open));
    assert_eq!(told, expected);
    let senders = ledger.senders(&verify.record).unwrap();
    assert_eq!(senders, [june]);
}

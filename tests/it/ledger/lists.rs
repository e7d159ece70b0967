//! Lists that follow each other: who is the same, and what a row asks for.

use std::convert::Infallible;

use otpdrive::job::{Lane, Operation, VerdictKind};
use otpdrive::ledger::{Ledger, LedgerError};
use otpdrive::record::{InputRecord, RowState};
use otpdrive::run::End;

use super::{Room, all_due, attempt, close, key, later, number, sends, state};

pub async fn a_number_is_the_same_job_wherever_it_stands_in_the_next_input(room: Room) {
    let home = room.home();
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
    assert_eq!(states[1], state(&jobs[1]));
    assert_eq!(states[3], RowState::Duplicate { first_line: 3 });
    assert_eq!(home.wrong(), [""; 0]);
}

pub async fn a_plan_that_is_dropped_leaves_no_mark(room: Room) {
    let home = room.home();
    drop(home.begin(Operation::Send, &sends(&[1])));
    let mut ledger = home.open();
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

pub async fn ids_are_never_given_twice(room: Room) {
    let home = room.home();
    let mut ids = Vec::new();
    for numbers in [[1, 2], [3, 4], [5, 6]] {
        let (ledger, _) = home.start(Operation::Send, &sends(&numbers));
        let due = all_due(&ledger, Lane::Sms).await;
        assert_eq!(due.len(), 2);
        ids.extend(due.iter().map(|job| (job.id, job.row)));
        close(ledger).await;
    }
    let ascend = |(a, b): (_, _), (c, d): (_, _)| a < c && b < d;
    assert!(ids.is_sorted_by(|a, b| ascend(*a, *b)), "{ids:?}");
}

pub async fn a_count_that_cannot_be_is_an_error(room: Room) {
    for damage in ["rows = -1", "first_row = -9", "rows = 9223372036854775807"] {
        let home = room.home();
        drop(home.begin(Operation::Send, &sends(&[1])));
        home.change(&format!("UPDATE campaign SET {damage}"));
        assert!(home.look().campaigns().is_err(), "{damage}");
    }
}

pub async fn nothing_is_due_on_a_row_that_has_changed(room: Room) {
    for change in [
        "UPDATE contact SET number = number + 9 WHERE id = 3",
        "UPDATE contact SET lane = 1 WHERE id = 3",
        "UPDATE contact SET kind = 0 WHERE id = 4",
        "UPDATE intent SET id = 3 << 20 | 2",
        "DELETE FROM contact WHERE id = 3",
    ] {
        let home = room.home();
        let input = sends(&[1, 2, 3, 1]);
        let (ledger, run) = home.start(Operation::Send, &input);
        let mut jobs = all_due(&ledger, Lane::Sms).await;
        attempt(&ledger, &mut jobs[1], run, VerdictKind::Accepted).await;
        let ledger = close(ledger).await;
        ledger
            .finish_run(run, later(), &End::Complete, None)
            .unwrap();
        drop(ledger);
        home.change(change);
        let (ledger, _) = home.start(Operation::Send, &input);
        let due = ledger.due(Lane::Sms, 9).await;
        assert!(
            matches!(due, Err(LedgerError::Damaged { .. })),
            "{change}: {due:?}"
        );
        close(ledger).await;
    }
}

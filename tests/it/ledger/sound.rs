//! Looking through a file finds whatever has changed in it.

use std::fs;

use otpdrive::job::{Lane, Operation, VerdictKind};
use otpdrive::ledger::Ledger;
use otpdrive::run::{End, RunFact};
use rusqlite::Connection;

use super::{Home, Room, all_due, attempt, close, contact, later, plain, sends};

/// A ledger with a campaign of three rows to send, one of them sent, and one of a code.
async fn lived_in() -> Home {
    let home = Room::disk().home();
    let (ledger, run) = home.start(Operation::Send, &sends(&[1, 2, 3, 1]));
    let mut jobs = all_due(&ledger, Lane::Sms).await;
    attempt(&ledger, &mut jobs[1], run, VerdictKind::Accepted).await;
    ledger.note(&RunFact::EndpointProven).await;
    let ledger = close(ledger).await;
    ledger
        .finish_run(run, later(), &End::Complete, None)
        .unwrap();
    drop(ledger);
    drop(home.begin(Operation::Verify, &[contact(2, 1, Some(plain("111111")))]));
    home
}

#[tokio::test]
async fn a_ledger_is_sound_until_anything_in_it_changes() {
    let home = lived_in().await;
    let path = home.path();
    let ledger = home.look();
    let sound = ledger.verify().unwrap();
    assert_eq!(sound.wrong, [""; 0]);
    assert_eq!((sound.campaigns, sound.rows, sound.attempts), (2, 5, 1));
    drop(ledger);
    let bytes = fs::read(&path).unwrap();
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
        fs::write(&path, &bytes).unwrap();
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

//! Codes: which one a masked cell means, and how long one is kept.

use otpdrive::job::{Contact, GivenCode, Job, Lane, Operation, VerdictKind};
use otpdrive::ledger::{Ledger, Rest};
use otpdrive::record::RowState;
use otpdrive::run::RunFact;
use secrecy::ExposeSecret;

use super::{Home, Room, all_due, attempt, close, contact, plain, state};

fn given() -> [Contact; 3] {
    [
        contact(2, 1, Some(plain("111111"))),
        contact(3, 1, Some(plain("222222"))),
        contact(4, 2, Some(plain("333333"))),
    ]
}

/// A row of a result file, which tells on which line the row stood that it was made from.
fn masked(line: u64, n: u64, was: Option<u64>) -> Contact {
    let code = GivenCode::Masked {
        line: was,
        settled_at: None,
    };
    contact(line, n, Some(code))
}

/// The codes that are to be checked of these rows.
async fn codes_due(home: &Home, rows: &[Contact]) -> Vec<String> {
    let (ledger, _) = home.start(Operation::Verify, rows);
    let due = all_due(&ledger, Lane::Verify).await;
    close(ledger).await;
    let code = |job: &Job| job.code.as_ref().unwrap().expose_secret().to_owned();
    due.iter().map(code).collect()
}

fn invalid(states: &[RowState]) -> usize {
    let invalid = |state: &&RowState| matches!(state, RowState::Invalid(_));
    states.iter().filter(invalid).count()
}

pub async fn a_masked_code_is_the_one_that_was_given_before(room: Room) {
    let home = room.home();
    let (ledger, run) = home.start(Operation::Verify, &given());
    let mut jobs = all_due(&ledger, Lane::Verify).await;
    attempt(&ledger, &mut jobs[0], run, VerdictKind::NotVerified).await;
    ledger.rest(&jobs[0], Rest::Settled).await;
    drop(close(ledger).await);
    // All of them, in another order; only the pending ones; one that was on no such line.
    for (input, pending, unknown) in [
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
        assert_eq!(codes_due(&home, &input).await, pending);
        assert_eq!(invalid(&home.states()), unknown);
        assert_eq!(home.wrong(), [""; 0]);
    }
    // A row that could not be told is fed back: another code of its number stood on its line before.
    codes_due(&home, &[masked(2, 1, Some(4))]).await;
    assert_eq!(invalid(&home.states()), 1);
    // The code of number 2 was dropped with its row: it is not known any more, and none is sent.
    let due = codes_due(&home, &[masked(2, 2, Some(3))]).await;
    assert_eq!(due, [""; 0]);
    assert_eq!(invalid(&home.states()), 1);
}

pub async fn a_code_is_there_until_it_is_answered(room: Room) {
    let home = room.home();
    let (ledger, run) = home.start(Operation::Verify, &given());
    let mut jobs = all_due(&ledger, Lane::Verify).await;
    attempt(&ledger, &mut jobs[0], run, VerdictKind::Accepted).await;
    ledger.rest(&jobs[0], Rest::Settled).await;
    attempt(&ledger, &mut jobs[1], run, VerdictKind::Throttled).await;
    ledger.rest(&jobs[1], Rest::Open).await;
    // The process does not live to forget this one.
    attempt(&ledger, &mut jobs[2], run, VerdictKind::NotVerified).await;
    drop(close(ledger).await);
    assert_eq!(codes_due(&home, &given()).await, ["222222"]);
    assert_eq!(home.states(), jobs.iter().map(state).collect::<Vec<_>>());
    // Given anew among others, it is what it was; one that was away is as good as new.
    let more = [&given()[..1], &[contact(3, 4, Some(plain("444444")))]].concat();
    assert_eq!(codes_due(&home, &more).await, ["444444"]);
    assert_eq!(codes_due(&home, &given()).await, ["222222"]);
    // A masked code that was answered stands for its answer.
    let due = codes_due(&home, &[masked(2, 1, Some(2))]).await;
    assert_eq!(due, [""; 0]);
    assert_eq!(home.states(), [state(&jobs[0])]);
    assert_eq!(home.wrong(), [""; 0]);
}

pub async fn a_code_is_kept_that_was_asked_again_after_what_turned_out_to_be_an_answer(room: Room) {
    let home = room.home();
    let given = &given()[..1];
    let (ledger, run) = home.start(Operation::Verify, given);
    let mut jobs = all_due(&ledger, Lane::Verify).await;
    // A 404 says nothing of the code until the endpoint has proved right; by then somebody else has
    // asked once more.
    attempt(&ledger, &mut jobs[0], run, VerdictKind::Misdirected).await;
    attempt(&ledger, &mut jobs[0], run, VerdictKind::Throttled).await;
    ledger.note(&RunFact::EndpointProven).await;
    drop(close(ledger).await);
    assert_eq!(codes_due(&home, given).await, ["111111"]);
    assert_eq!(home.states(), [state(&jobs[0])]);
}

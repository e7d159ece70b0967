//! Codes: checked once each, and gone once they are settled.

use crate::support::stub::{Reply, Stub};
use crate::support::workdir::{Workdir, column};
use crate::support::{e164, phone};

const WRONG: &str = "Your Mobile Number OTP code verification failed";

#[test]
fn a_number_with_two_codes_is_checked_with_both() {
    let stub = Stub::start();
    stub.default(|_, request| match request.otp.as_str() {
        "004512" => Reply::success(),
        _ => Reply::error(WRONG),
    });
    let dir = Workdir::with(format!(
        "phone,otp\n{0},111111\n{0},004512\n{0},111111\n",
        phone(1)
    ));
    for _ in 0..2 {
        dir.verify(&stub).args(&["--concurrency", "1"]).ends(0);
        assert_eq!(dir.statuses(), ["not_verified", "verified", "duplicate"]);
        assert_eq!(column(&dir.results(), "otp"), ["******"; 3]);
    }
    let codes: Vec<_> = stub.log().into_iter().map(|request| request.otp).collect();
    assert_eq!(codes, ["111111", "004512"]);
}

#[test]
fn codes_leave_every_byte_of_the_ledger_once_they_are_settled() {
    let stub = Stub::start();
    let code = |n: usize| format!("7351{n:04}9");
    stub.default(|index, _| match index % 3 {
        0 => Reply::success(),
        1 => Reply::error(WRONG),
        _ => Reply::error("no such thing"),
    });
    let lines = (0..300).map(|n| format!("{},{}\n", phone(n), code(n)));
    let dir = Workdir::with("phone,otp\n".to_owned() + &lines.collect::<String>());
    dir.verify(&stub).args(&["--limit", "200"]).ends(3);
    assert!(dir.ledger_holds(&code(299)), "it is still needed");
    let left = (0..200).filter(|n| dir.ledger_holds(&code(*n)));
    assert_eq!(left.count(), 0, "codes in the ledger");
    dir.verify(&stub).ends(1);
    assert!(!(0..300).any(|n| dir.ledger_holds(&code(n))));
    assert!(!dir.read("list-results/results.csv").contains("7351"));
    assert!(!dir.read("list-results/report.json").contains("7351"));
}

#[test]
fn codes_are_gone_from_the_ledger_after_a_killed_run_too() {
    let stub = Stub::start();
    let code = |n: usize| format!("7351{n:04}9");
    let lines = (0..100).map(|n| format!("{},{}\n", phone(n), code(n)));
    let dir = Workdir::with("phone,otp\n".to_owned() + &lines.collect::<String>());
    let run = dir.verify(&stub).args(&["--rate", "200/s"]).start();
    stub.wait_for(40);
    run.kill();
    dir.verify(&stub).ends(0);
    assert!(!(0..100).any(|n| dir.ledger_holds(&code(n))));
}

#[test]
fn masked_results_are_a_valid_next_input() {
    let stub = Stub::start();
    let dir = Workdir::with(format!(
        "phone,otp\n{},111111\n{},222222\n{},333333\n",
        phone(1),
        phone(2),
        phone(3)
    ));
    let args = ["--limit", "1", "--concurrency", "1"];
    dir.verify(&stub).args(&args).ends(3);
    assert_eq!(dir.statuses(), ["verified", "pending", "pending"]);
    for code in [3, 0] {
        dir.write("next.csv", dir.read("list-results/results.csv"));
        let again = dir.verify(&stub).input("next.csv");
        again.args(&["--campaign", "list"]).args(&args).ends(code);
    }
    assert_eq!(dir.statuses(), ["verified"; 3]);
    let codes: Vec<_> = stub.log().into_iter().map(|request| request.otp).collect();
    assert_eq!(codes, ["111111", "222222", "333333"]);
}

#[test]
fn masked_results_of_two_codes_for_one_number_stay_two_rows() {
    let stub = Stub::start();
    stub.script("verifyotp", &e164(1), [Reply::error(WRONG)]);
    let dir = Workdir::with(format!("phone,otp\n{0},111111\n{0},222222\n", phone(1)));
    dir.verify(&stub).args(&["--concurrency", "1"]).ends(0);
    assert_eq!(dir.statuses(), ["not_verified", "verified"]);
    dir.write("next.csv", dir.read("list-results/results.csv"));
    let again = dir.verify(&stub).input("next.csv");
    again.args(&["--campaign", "list"]).ends(0);
    assert_eq!(dir.statuses(), ["not_verified", "verified"]);
    assert_eq!(stub.count(), 2);
}

#[test]
fn a_masked_code_that_was_never_given_is_invalid() {
    let stub = Stub::start();
    let dir = Workdir::with(format!(
        "phone,otp\n{},******\n{},1234\n",
        phone(1),
        phone(2)
    ));
    dir.verify(&stub).ends(1);
    assert_eq!(dir.statuses(), ["invalid", "verified"]);
    assert_eq!(stub.count(), 1);
}

#[test]
fn a_wrong_code_after_an_ambiguous_try_stays_unknown() {
    let stub = Stub::start();
    stub.script(
        "verifyotp",
        &e164(1),
        [Reply::dropped(), Reply::error(WRONG)],
    );
    stub.script("verifyotp", &e164(2), [Reply::dropped()]);
    let dir = Workdir::with(format!(
        "phone,otp\n{},11119119\n{},2222\n",
        phone(1),
        phone(2)
    ));
    for _ in 0..2 {
        dir.verify(&stub).ends(1);
        assert_eq!(dir.statuses(), ["unknown", "verified"]);
        assert_eq!(stub.count(), 4);
    }
    assert!(!dir.ledger_holds("11119119"));
}

#[test]
fn an_ambiguous_try_is_held_when_asked_for() {
    let stub = Stub::start();
    stub.always(Reply::dropped());
    let dir = Workdir::with(format!("phone,otp\n{},1111\n", phone(1)));
    for _ in 0..2 {
        dir.verify(&stub).args(&["--on-unknown", "hold"]).ends(1);
        assert_eq!(dir.statuses(), ["unknown"]);
    }
    assert_eq!(stub.count(), 1);
}

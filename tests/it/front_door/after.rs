//! After the campaign: who has not verified, how old a code may be, what came of it all.

use std::thread::sleep;
use std::time::Duration;

use crate::support::stub::{Reply, Stub};
use crate::support::workdir::{Workdir, column};
use crate::support::{contacts, e164, phone};

const WRONG: &str = "Your Mobile Number OTP code verification failed";

/// A file of these numbers, each with this code.
fn codes(of: &[(usize, &str)]) -> String {
    let lines = of.iter().map(|(n, code)| format!("{},{code}\n", phone(*n)));
    "phone,otp\n".to_owned() + &lines.collect::<String>()
}

/// A gateway that takes the code 111111 alone.
fn gateway() -> Stub {
    let stub = Stub::start();
    stub.default(|_, request| match request.otp.as_str() {
        "" | "111111" => Reply::success(),
        _ => Reply::error(WRONG),
    });
    stub
}

#[test]
fn a_code_that_is_too_old_is_not_asked_and_one_of_unknown_age_is() {
    let stub = gateway();
    let dir = Workdir::with(contacts(0..2));
    dir.send(&stub).ends(0);
    sleep(Duration::from_millis(30));
    dir.write("late.csv", contacts([1]));
    dir.send(&stub).input("late.csv").flags("--cooldown 0s").ends(0);
    dir.write("codes.csv", codes(&[(0, "111111"), (1, "111111"), (2, "222222")]));
    let verify = || dir.verify(&stub).input("codes.csv");
    // A rehearsal sends nothing.
    let rehearse = "send list.csv --sandbox --ledger otpdrive.db --rate unlimited";
    dir.line(rehearse).ends(0);
    let sent = stub.count();
    let ran = verify().flags("--max-age 20ms --exclude late.csv").ends(0);
    let said = "1 x the latest OTP to its number is older than --max-age";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    assert_eq!(dir.statuses(), ["suppressed", "suppressed", "not_verified"]);
    let detail = &dir.results()[0]["otp_detail"];
    let says = "the code is too old to be asked (--max-age): campaign list sent the latest OTP at 2";
    assert!(detail.starts_with(says), "{detail}");
    assert_eq!(stub.count(), sent + 1);
    verify().flags("--max-age 1h").ends(0);
    assert_eq!(dir.statuses(), ["verified", "verified", "not_verified"]);
    let ran = verify().flags("--max-age soon").ends(2);
    assert!(ran.stderr.contains("--max-age: wanted a time"), "{}", ran.stderr);
}

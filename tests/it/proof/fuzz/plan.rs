//! The plan against what is then done: whatever the list and the ledger, the rows that `check`
//! announces are those for which requests are made, and all others keep their status.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::random_bytes;
use super::readers::choices::Choices;
use crate::proof::quick_or_long;
use crate::support::phone;
use crate::support::stub::{Reply, Stub};
use crate::support::workdir::{Otpdrive, Workdir, column, rows};

/// So many numbers there are: most stand in each list.
const NUMBERS: usize = 14;

/// What the gateway makes of a number before the plan; after it, it accepts all.
fn fate(number: &str) -> Reply {
    let digits = number.trim_start_matches('+').parse::<u64>().unwrap();
    match digits % 7 {
        0 => Reply::error("barred"),
        1 => Reply::dropped(),
        2 => Reply::new(500, ""),
        _ => Reply::success(),
    }
}

/// A list of some numbers as people write them, some twice, and of cells that hold none.
fn list(choices: &mut Choices) -> String {
    let mut list = "name,phone,channel,otp\n".to_owned();
    for row in 0..=choices.size(20) {
        let number = phone(choices.size(NUMBERS));
        let cell = match choices.size(8) {
            0 => "9.19877E+11".to_owned(),
            1 => format!("0{number}"),
            2 => format!("+91 {number}"),
            3 => choices.word("¦12¦98765O3210¦02223456789").to_owned(),
            _ => number,
        };
        let channel = choices.word("¦sms¦call¦sms");
        let code = choices.word("123456¦654321¦123456¦n/a");
        let _ = writeln!(list, "row {row},{cell},{channel},{code}");
    }
    list
}

/// Flags that decide who is due.
fn flags(choices: &mut Choices, operation: &str) -> String {
    let mut flags = choices
        .word("¦--on-unknown retry¦--on-unknown hold")
        .to_owned();
    if choices.rarely(3) {
        let _ = write!(flags, " --limit {}", choices.size(6) + 1);
    }
    if choices.rarely(3) {
        flags += " --exclude stop.csv";
    }
    if operation == "send" {
        flags += [" ", " --channel sms --fallback call", " --cooldown 0s"][choices.size(3)];
    }
    flags
}

fn run(dir: &Workdir, stub: &Stub, command: &str, flags: &str) -> Otpdrive {
    let run = match command {
        "verify" => dir.verify(stub),
        "send" => dir.send(stub),
        _ => dir.check(stub),
    };
    run.flags("--max-invalid 100% --max-attempts 1 --refused-alike off --max-outage 200ms")
        .flags(flags)
}

/// Some runs of the past, of this campaign and of another.
fn live(dir: &Workdir, stub: &Stub, operation: &str, choices: &mut Choices) {
    stub.default(|_, request| fate(&request.number));
    for _ in 0..choices.size(3) {
        dir.write("list.csv", list(choices));
        let other = ["", " --campaign other --out other"][choices.size(2)];
        let flags = flags(choices, operation) + other;
        let ran = run(dir, stub, operation, &flags).run();
        assert!([0, 1, 3].contains(&ran.code), "{}", ran.stderr);
    }
    stub.default(|_, _| Reply::success());
    stub.forget();
}

/// How many rows have which status in the results.
fn statuses(dir: &Workdir) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for status in dir.statuses() {
        *counts.entry(status).or_default() += 1;
    }
    counts
}

#[test]
#[ignore = "tests/prove fuzz"]
fn the_rows_that_a_plan_announces_are_those_that_are_worked_on() {
    let mut random = fastrand::Rng::with_seed(11);
    let (mut announced, mut left, mut limited) = (0, 0, 0);
    let cases = quick_or_long(40, 400);
    for case in 0..cases {
        let bytes = random_bytes(&mut random);
        let choices = &mut Choices::new(&bytes);
        let operation = choices.of(&["send", "send", "verify"]);
        let (stub, dir) = (Stub::start(), Workdir::new());
        dir.write("stop.csv", format!("phone\n{}\n{}\n", phone(3), phone(4)));
        live(&dir, &stub, operation, choices);
        dir.write("list.csv", list(choices));
        let flags = flags(choices, operation);
        let shown = format!("case {case}, {operation} {flags}, {}", dir.read("list.csv"));

        let of_codes = ["", " --otp-column otp"][usize::from(operation == "verify")];
        let asked_for = format!("{flags} --json --problems bad.csv{of_codes}");
        let planned = run(&dir, &stub, "check", &asked_for).run();
        let plan = planned.json();
        assert_eq!(plan["operation"], operation, "{shown}");
        assert_eq!(stub.count(), 0, "{shown}");
        let count = |of: &str, key: &str| plan[of][key].as_u64().unwrap();
        let done = run(&dir, &stub, operation, &flags).run();
        assert!([0, 1, 3].contains(&done.code), "{}, {shown}", done.stderr);

        let mut asked: BTreeMap<String, u64> = BTreeMap::new();
        for request in stub.log() {
            *asked.entry(request.endpoint).or_default() += 1;
        }
        let to_start = ["sms", "call", "verify"].map(|lane| {
            let asked = asked.get(&format!("{lane}otp")).copied().unwrap_or(0);
            let started = count("to_start", lane);
            assert_eq!(asked, started, "{lane}, {shown}");
            let due = count("due", lane);
            assert!(started <= due, "{shown}");
            limited += u64::from(started < due);
            started
        });
        let started: u64 = to_start.iter().sum();
        let after = statuses(&dir);
        let became = |status: &str| after.get(status).copied().unwrap_or(0);
        let good = if operation == "send" {
            "sent"
        } else {
            "verified"
        };
        assert_eq!(became(good), count("counts", good) + started, "{shown}");
        for status in ["invalid", "duplicate", "suppressed"] {
            assert_eq!(became(status), count("counts", status), "{status}, {shown}");
        }
        let mut invalid = dir.results();
        invalid.retain(|row| row["otp_status"] == "invalid");
        let invalid = column(&invalid, "otp_line");
        let problems = column(&rows(&dir.read("bad.csv")), "otp_line");
        assert_eq!(problems, invalid, "{shown}");
        let open = ["pending", "failed", "unknown", "rejected", "not_verified"];
        let before: u64 = open.iter().map(|status| count("counts", status)).sum();
        let still: u64 = open.iter().map(|status| became(status)).sum();
        assert_eq!(still + started, before, "{shown}");
        announced += started;
        left += before - started;
    }
    println!(
        "fuzz plan: {cases} plans announced {announced} rows that were worked on, and {left} that were not"
    );
    assert!(
        announced > 100 && left > 20 && limited > 3,
        "{announced} {left} {limited}"
    );
}

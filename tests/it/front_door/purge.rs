//! Purging: the people of a campaign that is over leave the ledger, to the last byte; all else stays.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use crate::support::stub::{Reply, Stub};
use crate::support::workdir::{Workdir, column};
use crate::support::{contacts, e164, phone, wait_until};

/// How SQLite stores the n-th number.
fn stored(n: usize) -> Vec<u8> {
    let digits: u64 = e164(n).trim_start_matches('+').parse().unwrap();
    digits.to_be_bytes()[2..].to_vec()
}

/// Does any file of the ledger hold something of the n-th person?
fn is_there(dir: &Workdir, n: usize) -> bool {
    let names = dir.names();
    let files = names.iter().filter(|name| name.starts_with("otpdrive.db"));
    let texts = [
        phone(n),
        format!("Asha{n:04}"),
        format!("REF{n:04}"),
        format!("77{n:04}"),
    ];
    let needles: Vec<Vec<u8>> = texts
        .map(String::into_bytes)
        .into_iter()
        .chain([stored(n)])
        .collect();
    files.into_iter().any(|name| {
        let bytes = fs::read(dir.path(name)).unwrap();
        let mut needles = needles.iter();
        needles.any(|needle| bytes.windows(needle.len()).any(|window| window == needle))
    })
}

fn list(numbers: impl IntoIterator<Item = usize>) -> String {
    let lines = numbers
        .into_iter()
        .map(|n| format!("{},Asha{n:04}\n", phone(n)));
    "phone,name\n".to_owned() + &lines.collect::<String>()
}

/// Answers with a reference of the number; numbers whose last digit is 3 get no answer, 4 are refused.
fn gateway() -> Stub {
    let stub = Stub::start();
    stub.default(|_, request| {
        let n: usize = request.number[8..].parse().unwrap();
        match n % 10 {
            3 => Reply::dropped(),
            4 => Reply::error(&format!("REF{n:04} is barred")),
            _ => Reply::said(200, "success", &format!("REF{n:04}")),
        }
    });
    stub
}

/// A campaign `list` of 40 people, cut to 30 later, some of whose codes were given back.
fn campaigns(stub: &Stub) -> Workdir {
    let dir = Workdir::with(list(0..40));
    dir.send(stub)
        .flags("--price sms=1 --refused-alike off")
        .ends(1);
    dir.write("list.csv", list(0..30));
    dir.send(stub).flags("--refused-alike off").ends(1);
    let lines = (0..20).map(|n| format!("{},77{n:04}\n", phone(n)));
    dir.write(
        "codes.csv",
        "phone,otp\n".to_owned() + &lines.collect::<String>(),
    );
    let verify = dir
        .verify(stub)
        .input("codes.csv")
        .flags("--limit 10 --max-attempts 1");
    verify.flags("--refused-alike off").ends(3);
    dir
}

#[test]
fn a_purged_campaign_leaves_its_counts_and_not_a_byte_of_its_people() {
    let stub = gateway();
    let dir = campaigns(&stub);
    let young = dir.line("purge --older-than 1h").ends(0).stdout;
    assert!(young.contains("no campaign is that old"), "{young}");
    assert!((0..40).all(|n| is_there(&dir, n)));
    let before = dir.line("status --json").ends(0).stdout;
    let bytes = fs::read(dir.path("otpdrive.db")).unwrap();
    let dry = dir.line("purge --older-than 0s --dry-run").ends(0).stdout;
    let words = [
        "list (send): 30 rows, sent 24, rejected 3, unknown 3; in earlier lists only: sent 8, rejected 1, unknown 1",
        "never came to an end: 4 unknown\n",
        "codes (verify): 20 rows",
        "10 pending\n",
        "2 campaigns would be purged; nothing was changed",
        "\"never twice\"",
    ];
    for words in words {
        assert!(dry.contains(words), "{words}: {dry}");
    }
    assert_eq!(fs::read(dir.path("otpdrive.db")).unwrap(), bytes);
    let ran = dir.line("purge --older-than 0s").ends(0).stdout;
    assert!(
        ran.contains("2 campaigns purged. Nothing is known any more"),
        "{ran}"
    );
    let left: Vec<usize> = (0..40).filter(|n| is_there(&dir, *n)).collect();
    assert_eq!(left, [0; 0], "people in the ledger");
    let status = dir.line("status --json").ends(0).stdout;
    for (was, is) in before.lines().zip(status.lines()) {
        let facts = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        let (was, is) = (facts(was), facts(is));
        for kept in ["campaign", "rows", "counts", "earlier", "started_at"] {
            assert_eq!(was[kept], is[kept], "{kept}");
        }
        assert!(was["purged_at"].is_null() && is["purged_at"].is_string());
    }
    let table = dir.line("status").ends(0).stdout;
    assert_eq!(table.matches("purged at 2").count(), 2, "{table}");
    dir.line("status --verify").ends(0);
    let again = dir.line("purge --older-than 0d").ends(0).stdout;
    assert!(again.contains("no campaign is that old"), "{again}");
    assert_eq!(dir.line("status --json").ends(0).stdout, status);
}

#[test]
fn nothing_goes_on_with_a_purged_campaign_and_everything_says_so() {
    let stub = gateway();
    let dir = campaigns(&stub);
    dir.write("result.csv", dir.read("list-results/results.csv"));
    dir.line("purge --older-than 0s").ends(0);
    let sent = stub.count();
    for input in ["list.csv", "result.csv"] {
        for command in ["send", "check"] {
            let ran = dir.send(&stub).input(input).flags("--campaign list");
            let ran = if command == "send" {
                ran
            } else {
                dir.line("check --otp-column none")
                    .args(&[input])
                    .flags("--campaign list")
            };
            let ran = ran.ends(2);
            for words in [
                "campaign list was purged at 2",
                "--campaign with another name",
            ] {
                assert!(ran.stderr.contains(words), "{}", ran.stderr);
            }
        }
    }
    dir.verify(&stub).input("codes.csv").ends(2);
    assert_eq!(stub.count(), sent);
    for line in [
        "report --campaign list",
        "report --campaign list --only sent",
        "report --campaign list --unverified",
        "settle list.csv --as sent --campaign list",
    ] {
        let ran = dir.line(line).ends(2);
        let says = "was purged at 2";
        assert!(ran.stderr.contains(says), "{line}: {}", ran.stderr);
    }
    let who = dir.line(&format!("who {}", phone(1))).ends(0).stdout;
    for words in [
        "no campaign of",
        "what purged campaigns did to it is not known any more: list, codes",
    ] {
        assert!(who.contains(words), "{who}");
    }
    // On purpose; the rest of the day's cap is what it was, and so are the counts of all runs.
    let on_purpose = dir
        .send(&stub)
        .flags("--campaign new --refused-alike off --daily-cap 45");
    let run = on_purpose.start();
    wait_until("the cap is used up", || stub.count() == sent + 5);
    sleep(Duration::from_millis(100));
    run.signal("INT");
    run.end();
    assert_eq!(stub.count(), sent + 5);
    dir.line("status --verify").ends(0);
}

#[test]
fn a_purge_that_is_killed_is_finished_by_the_next() {
    let stub = gateway();
    // It writes to the log when it commits, when it writes the file anew and when it notes that.
    let mut killed = 0;
    for nth in [5, 15, 30, 50] {
        let dir = campaigns(&stub);
        let what = format!("signal=KILL:when={nth}");
        let purge = dir.line("purge --older-than 0s");
        let ran = purge.inject("trace.txt", "pwrite64", &what, &[]).run();
        killed += i32::from(ran.code == -1);
        dir.line("status --verify").ends(0);
        dir.line("purge --older-than 0s").ends(0);
        assert!((0..40).all(|n| !is_there(&dir, n)), "killed at write {nth}");
        dir.line("status --verify").ends(0);
        assert_eq!(
            dir.line("status")
                .ends(0)
                .stdout
                .matches("purged at")
                .count(),
            2
        );
    }
    assert!(killed > 2, "only {killed} were killed");
}

#[test]
fn a_run_that_is_on_is_left_alone_and_what_is_younger_stays_as_it_is() {
    let stub = gateway();
    let dir = campaigns(&stub);
    sleep(Duration::from_millis(1_100));
    dir.write("young.csv", list(20..44));
    let young = || {
        dir.send(&stub)
            .input("young.csv")
            .flags("--cooldown 0s --refused-alike off")
    };
    young().ends(1);
    let of_young = || {
        let report = dir
            .line("report --campaign young --only sent,rejected,unknown")
            .ends(0)
            .stdout;
        let who = dir.line(&format!("who {}", phone(25))).ends(0).stdout;
        let lines = who.lines().filter(|line| line.contains("young"));
        (report, lines.map(str::to_owned).collect::<Vec<_>>())
    };
    let before = of_young();
    let ran = dir.line("purge --older-than 1s").ends(0).stdout;
    assert!(
        ran.contains("2 campaigns purged") && !ran.contains("young"),
        "{ran}"
    );
    assert_eq!(of_young(), before);
    assert!((0..20).all(|n| !is_there(&dir, n)) && (20..44).all(|n| is_there(&dir, n)));
    let sent = stub.count();
    young().ends(1);
    assert_eq!(stub.count(), sent, "never twice");
    dir.line("status --verify").ends(0);
    // While its run is on.
    dir.write("young.csv", contacts([60]));
    stub.always(Reply::silence());
    let run = young().start();
    wait_until("it left", || stub.count() > sent);
    let ran = dir.line("purge --older-than 0s --dry-run").ends(0).stdout;
    assert!(ran.contains("no campaign is that old"), "{ran}");
    dir.line("purge --older-than 0s").ends(5);
    assert!(run.kill());
    dir.line("purge --older-than 1h").ends(0);
    let ran = dir.line("purge --older-than 0s").ends(0).stdout;
    assert!(ran.contains("young (send): 1 rows, unknown 1"), "{ran}");
    assert!((0..61).all(|n| !is_there(&dir, n)));
    dir.line("status --verify").ends(0);
}

#[test]
fn who_may_have_verified_in_a_purged_campaign_is_not_called_again() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..2));
    dir.send(&stub).ends(0);
    dir.write("codes.csv", format!("phone,otp\n{},111111\n", phone(0)));
    dir.verify(&stub).input("codes.csv").ends(0);
    sleep(Duration::from_millis(1_100));
    // The campaign goes on, and is not purged.
    dir.write("list.csv", contacts(0..3));
    dir.send(&stub).ends(0);
    dir.line("purge --older-than 1s").ends(0);
    let ran = dir.line("report --unverified").ends(0);
    assert_eq!(ran.stdout, format!("phone\n{}\n", phone(2)));
    assert!(
        ran.stderr.contains("2 more have not verified as far as"),
        "{}",
        ran.stderr
    );
    let results = dir.results();
    assert_eq!(column(&results, "otp_status"), ["sent"; 3]);
}

//! A settled code leaves the ledger: the database, its free pages and its log.

use std::collections::{BTreeMap, BTreeSet};

use crate::proof::quick_or_long;
use crate::support::stub::{Reply, Stub};
use crate::support::workdir::{Otpdrive, Workdir};
use crate::support::{phone, wait_until};

/// Six letters and digits that stand nowhere by chance.
fn code(n: usize) -> String {
    format!("{}Z{n:04}", ["q", "W", "x", "V"][n % 4])
}

/// What becomes of a row's code.
fn fate(n: usize) -> &'static str {
    let fates = "right/wrong/rejected/right at last/failed/lost";
    fates.split('/').nth(n * 7 / 3 % 6).unwrap()
}

/// Rows of very different lengths, so that pages of the ledger are split and joined.
fn file(rows: impl IntoIterator<Item = usize>) -> String {
    let line = |n| format!("{},{},{}\n", phone(n), code(n), "x".repeat(n * 37 % 300));
    "phone,otp,note\n".to_owned() + &rows.into_iter().map(line).collect::<String>()
}

fn gateway() -> Stub {
    let stub = Stub::start();
    let mut tries: BTreeMap<String, usize> = BTreeMap::new();
    stub.default(move |_, request| {
        let times = tries.entry(request.otp.clone()).or_default();
        *times += 1;
        match fate(request.otp[2..].parse().unwrap()) {
            "right" => Reply::success(),
            "wrong" => Reply::error("OTP code verification failed"),
            "rejected" => Reply::error(&format!("no {}", request.otp)),
            "right at last" if *times > 1 => Reply::success(),
            "right at last" | "failed" => Reply::new(500, ""),
            _ => Reply::dropped(),
        }
    });
    stub
}

fn run(dir: &Workdir, stub: &Stub) -> Otpdrive {
    dir.verify(stub)
        .default("--on-unknown", "hold")
        .args(&["--max-attempts", "2", "--max-outage", "300ms"])
        .env("TMPDIR", dir.path(".").to_str().unwrap())
}

/// The codes that are in the files of the ledger, and in anything else that is there but the input.
fn codes_in(dir: &Workdir) -> BTreeSet<String> {
    let known: BTreeSet<Vec<u8>> = (0..10_000).map(|n| code(n).into_bytes()).collect();
    let mut files = dir.files();
    files.retain(|(name, _)| name != "list.csv");
    let mut found = BTreeSet::new();
    for (_, bytes) in &files {
        let codes = bytes.windows(6).filter(|window| known.contains(*window));
        found.extend(codes.map(|code| String::from_utf8(code.to_vec()).unwrap()));
    }
    found
}

/// The codes of these rows that may still be checked.
fn open(rows: impl IntoIterator<Item = usize>) -> BTreeSet<String> {
    let rows = rows.into_iter();
    let open = rows.filter(|n| ["failed", "lost"].contains(&fate(*n)));
    open.map(code).collect()
}

#[test]
#[ignore = "tests/prove secrets"]
fn only_codes_that_may_still_be_checked_are_in_the_ledger_through_a_campaigns_whole_life() {
    let rows = quick_or_long(1_500, 9_000);
    let stub = gateway();
    let (no_number, short) = (code(9_001), code(9_002));
    let (twice, missing) = (format!("{},{}", phone(1), code(1)), phone(2));
    let extra = format!("{twice},x\n98765O4321,{no_number},x\n{missing},\n12,{short},x\n");
    let dir = Workdir::with(file(0..rows) + &extra);
    run(&dir, &stub).ends(1);
    assert_eq!(codes_in(&dir), open(0..rows), "after the first run");

    // The same file, then rows moved and edited, a third of them left out.
    run(&dir, &stub).run();
    assert_eq!(codes_in(&dir), open(0..rows), "the same file again");
    let kept = || (0..rows).rev().filter(|n| n % 3 > 0);
    dir.write("list.csv", file(kept()).replace("xx", "yyyyyy"));
    run(&dir, &stub).run();
    assert_eq!(codes_in(&dir), open(kept()), "an edited file");

    // Its own result: the codes are masked, and those kept are meant.
    dir.write("list.csv", dir.read("list-results/results.csv"));
    run(&dir, &stub).run();
    assert_eq!(codes_in(&dir), open(kept()), "masked codes");

    // All are settled now.
    stub.always(Reply::success());
    run(&dir, &stub).args(&["--on-unknown", "retry"]).ends(1);
    assert_eq!(codes_in(&dir), BTreeSet::new(), "all settled");

    // None of another file's was checked, and it is replaced in its turn.
    stub.always(Reply::new(401, ""));
    dir.write("list.csv", file(9_100..9_500));
    run(&dir, &stub).ends(4);
    assert_eq!(codes_in(&dir).len(), 400, "the key was refused");
    stub.always(Reply::success());
    dir.write("list.csv", file(9_600..9_700));
    run(&dir, &stub).ends(0);
    assert_eq!(codes_in(&dir), BTreeSet::new(), "another file");
    println!("{rows} codes of six fates, seven runs: in the files were exactly those not settled");
}

#[test]
#[ignore = "tests/prove secrets"]
fn after_a_kill_the_next_run_leaves_no_settled_code() {
    let rounds = quick_or_long(3, 40);
    for round in 0..rounds {
        let stub = gateway();
        let dir = Workdir::with(file(0..600));
        let running = run(&dir, &stub).start();
        stub.wait_for(50 + round * 511 / rounds);
        running.kill();
        // It is the next run of any campaign that cleans up, not only of this one.
        dir.write("list.csv", file([7_000]));
        stub.hold();
        let next = run(&dir, &stub).args(&["--campaign", "other"]).start();
        // What the killed one had sent may still arrive.
        wait_until("the next run's request is there", || {
            stub.log().iter().any(|request| request.otp == code(7_000))
        });
        let mut left = codes_in(&dir);
        stub.release();
        next.end();
        left.extend(codes_in(&dir));
        dir.line("report --campaign list --out list-results")
            .ends(0);
        let settled = ["verified", "not_verified", "rejected"];
        let statuses = dir.statuses().into_iter().enumerate();
        let settled = statuses.filter(|(_, status)| settled.contains(&status.as_str()));
        let settled: Vec<String> = settled.map(|(n, _)| code(n)).collect();
        assert!(!settled.is_empty());
        assert_eq!(settled.iter().find(|code| left.contains(*code)), None);
        println!("killed after {} settled codes: none is left", settled.len());
    }
}

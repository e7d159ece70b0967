//! Ledgers that were cut or have flipped bytes: seen, told, never begun afresh.

use std::collections::HashSet;
use std::fs;

use super::{Tally, requests};
use crate::proof::quick_or_long;
use crate::support::stub::Stub;
use crate::support::workdir::{Ran, Workdir};
use crate::support::{contacts, e164};

/// Rows of the ledger that is damaged, and how many of them were sent to.
const ROWS: usize = 120;
const SENT: usize = 80;

/// Threads that damage at once.
const THREADS: usize = 2;

/// A ledger with two campaigns, one of them half done, and its bytes.
struct Sound {
    dir: Workdir,
    stub: Stub,
    bytes: Vec<u8>,
}

impl Sound {
    fn new() -> Self {
        let stub = Stub::start();
        let dir = Workdir::with(contacts(0..ROWS));
        dir.write(
            "codes.csv",
            "phone,otp\n9876500001,012345\n9876500002,222222\n",
        );
        let some = SENT.to_string();
        dir.send(&stub).args(&["-q", "--limit", &some]).ends(3);
        dir.verify(&stub).input("codes.csv").args(&["-q"]).ends(0);
        let bytes = fs::read(dir.path("otpdrive.db")).unwrap();
        assert!(!dir.path("otpdrive.db-wal").exists());
        dir.otpdrive(&["status", "--verify"]).ends(0);
        Self { dir, stub, bytes }
    }

    /// Puts these bytes in the ledger's place, and nothing beside them.
    fn put(&self, bytes: &[u8]) {
        self.dir.remove_ledger();
        fs::write(self.dir.path("otpdrive.db"), bytes).unwrap();
        self.stub.forget();
    }

    fn holds(&self, bytes: &[u8]) -> bool {
        fs::read(self.dir.path("otpdrive.db")).unwrap() == bytes
    }

    /// Runs it: it may refuse, but not panic or hang.
    fn run(&self, args: &[&str]) -> Ran {
        let run = self.dir.send(&self.stub);
        let run = if args[0] == "send" {
            run.args(&args[1..])
        } else {
            let run = self.dir.otpdrive(args);
            if args[0] == "check" {
                run.default("--sender-id", "OTPDRV")
            } else {
                run
            }
        };
        let ran = run.start().end_soon();
        assert!(matches!(ran.code, 0..=3), "{args:?}: {ran:?}");
        assert!(!ran.stderr.contains("panicked"), "{args:?}: {ran:?}");
        assert!(
            ran.code < 2 || ran.stderr.contains("otpdrive"),
            "{args:?}: {ran:?}"
        );
        ran
    }

    /// How many were sent to that must not be: again, or by a number that nobody gave.
    fn wronged(&self) -> usize {
        let may: HashSet<_> = (SENT..ROWS).map(e164).collect();
        let requests = requests(&self.stub);
        requests
            .iter()
            .filter(|(number, count)| !may.contains(*number) || **count > 1)
            .count()
    }

    /// Runs every command on a damaged ledger; what came of it.
    fn suffer(&self, bytes: &[u8], what: &str) -> &'static str {
        self.put(bytes);
        let verified = self.run(&["status", "--verify"]);
        let told = verified.code == 2;
        self.run(&["status"]);
        self.run(&["report", "--campaign", "list"]);
        self.run(&["check", "list.csv"]);
        assert!(
            !told || self.holds(bytes) || self.run(&["check", "list.csv"]).code != 2,
            "{what}: changed"
        );
        let ran = self.run(&["send", "-q"]);
        if ran.code == 2 {
            assert!(told, "{what}: refused, but verified: {ran:?}");
            assert_eq!(self.stub.count(), 0, "{what}: {ran:?}");
            assert!(self.holds(bytes), "{what}: not left as it was: {ran:?}");
            return "refused";
        }
        match (self.wronged(), told) {
            (0, true) => "seen by --verify only, nobody wronged",
            (0, false) => "not seen, nobody wronged",
            (_, true) => "seen by --verify only, SOMEBODY WRONGED",
            (_, false) => "not seen, SOMEBODY WRONGED",
        }
    }
}

#[test]
#[ignore = "tests/prove disk"]
fn a_ledger_cut_at_any_length_is_refused_and_left_as_it_is() {
    let sound = Sound::new();
    let whole = sound.bytes.len();
    let page = 4096;
    let mut cuts = vec![
        0,
        1,
        100,
        511,
        512,
        page / 2,
        whole / 2,
        whole / 2 + 777,
        whole - 1,
    ];
    cuts.extend(
        (1..whole / page)
            .step_by(quick_or_long(3, 1))
            .map(|n| n * page),
    );
    cuts.extend(
        (1..whole / page)
            .step_by(quick_or_long(5, 1))
            .map(|n| n * page + 1),
    );
    for cut in &cuts {
        let became = sound.suffer(&sound.bytes[..*cut], &format!("cut to {cut}"));
        assert_eq!(became, "refused", "cut to {cut}");
    }
    // Cut, and filled up with nothing, as a file system does after a crash.
    for cut in cuts.iter().filter(|cut| **cut % page == 0 && **cut > 0) {
        let mut bytes = sound.bytes[..*cut].to_vec();
        bytes.resize(whole, 0);
        if bytes == sound.bytes {
            continue;
        }
        let became = sound.suffer(&bytes, &format!("nothing behind {cut}"));
        assert_eq!(became, "refused", "nothing behind {cut}");
    }
    println!("{} cuts of {whole} bytes: all refused", cuts.len());
}

#[test]
#[ignore = "tests/prove disk"]
fn flipped_bytes_are_seen_or_counted() {
    let tallies = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|seed| scope.spawn(move || flip(seed)))
            .collect();
        let ended = threads.into_iter().map(|thread| thread.join().unwrap());
        ended.collect::<Vec<_>>()
    });
    let mut sum = Tally::new();
    for (became, count) in tallies.into_iter().flatten() {
        *sum.entry(became).or_default() += count;
    }
    println!("flipped bytes: {sum:#?}");
    let of = |words: &str| -> usize {
        let fitting = sum.iter().filter(|(became, _)| became.contains(words));
        fitting.map(|(_, count)| count).sum()
    };
    assert!(of("refused") * 3 >= of(""), "too few are refused");
    assert_eq!(
        of("seen by --verify only, SOMEBODY"),
        0,
        "seen, and sent all the same"
    );
    // What only looks like another fact cannot be seen; that is rare.
    assert!(
        of("not seen, SOMEBODY") * 20 <= of(""),
        "too many are not seen"
    );
}

fn flip(seed: usize) -> Tally {
    let sound = Sound::new();
    let mut random = fastrand::Rng::with_seed(seed as u64);
    let mut tally = Tally::new();
    let used: Vec<usize> = (0..sound.bytes.len())
        .filter(|at| sound.bytes[*at] != 0)
        .collect();
    for n in 0..quick_or_long(60, 500) {
        let mut bytes = sound.bytes.clone();
        // Header and schema, then any byte, then bytes that mean something.
        let at = match n % 4 {
            0 => random.usize(..4096),
            1 => random.usize(..bytes.len()),
            _ => used[random.usize(..used.len())],
        };
        let bits = if random.bool() {
            1 << random.u8(..8)
        } else {
            random.u8(1..)
        };
        bytes[at] ^= bits;
        let what = format!("seed {seed}, byte {at} ^ {bits:#x}");
        let became = sound.suffer(&bytes, &what);
        if became.contains("SOMEBODY") {
            println!("{what}: {became}");
        }
        *tally.entry(became.to_owned()).or_default() += 1;
    }
    tally
}

#[test]
#[ignore = "tests/prove disk"]
fn a_torn_end_of_the_log_is_recovered_and_a_cut_one_never_crashes() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..ROWS));
    let run = dir.send(&stub).args(&["-q", "--rate", "400/s"]).start();
    stub.wait_for(SENT);
    run.kill();
    let begun: HashSet<_> = requests(&stub).into_keys().collect();
    let db = fs::read(dir.path("otpdrive.db")).unwrap();
    let log = fs::read(dir.path("otpdrive.db-wal")).unwrap();
    assert!(log.len() > 8 * 1024, "{} bytes of log", log.len());
    let go_on = |log: &[u8]| -> (Ran, usize) {
        dir.remove_ledger();
        fs::write(dir.path("otpdrive.db"), &db).unwrap();
        fs::write(dir.path("otpdrive.db-wal"), log).unwrap();
        stub.forget();
        // It is a copy.
        let send = dir.send(&stub).args(&["-q", "--accept-restored-ledger"]);
        let ran = send.start().end_soon();
        assert!(matches!(ran.code, 0..=2), "{ran:?}");
        let twice = requests(&stub)
            .into_keys()
            .filter(|number| begun.contains(number));
        (ran, twice.count())
    };
    let mut random = fastrand::Rng::with_seed(3);
    // What a crash leaves: something that was begun behind all that is durable.
    for tail in [1, 24, 100, 4_000, 4_120, 20_000] {
        let mut torn = log.clone();
        torn.extend((0..tail).map(|_| random.u8(..)));
        let (ran, twice) = go_on(&torn);
        assert!(ran.code <= 1 && twice == 0, "{twice} twice: {ran:?}");
    }
    // What no crash leaves: a log that is damaged in the middle, while more stands behind.
    let end = log.len() - 6 * 4_120;
    let flips = quick_or_long(20, 300);
    for n in 0..flips {
        let mut bytes = log.clone();
        let at = random.usize(..if n % 4 == 0 { 32 + 24 } else { end });
        bytes[at] ^= random.u8(1..);
        let (ran, twice) = go_on(&bytes);
        // A few bytes of the header are not read.
        let unread = ran.code <= 1 && twice == 0;
        assert!(ran.code == 2 || unread, "byte {at}, {twice} twice: {ran:?}");
        if ran.code == 2 {
            assert!(ran.stderr.contains("log"), "{ran:?}");
            assert_eq!(fs::read(dir.path("otpdrive.db-wal")).unwrap(), bytes);
            let told = dir.otpdrive(&["status", "--verify"]).ends(2);
            assert!(told.stdout.contains("log"), "{told:?}");
        }
    }
    // And the end of it gone: that cannot be seen.
    let cuts = quick_or_long(10, 100);
    let mut lost = 0;
    for _ in 0..cuts {
        lost += usize::from(go_on(&log[..random.usize(..log.len())]).1 > 0);
    }
    println!(
        "a log with a flipped byte, {flips} times: refused; cut in what was durable, {cuts} times: \
         {lost} times somebody was requested again"
    );
}

#[test]
#[ignore = "tests/prove disk"]
fn a_ledger_can_be_looked_through_while_a_run_writes_to_it() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..3_000));
    let mut run = dir.send(&stub).args(&["-q"]).start();
    stub.wait_for(1);
    let mut looks = 0;
    while !run.has_ended() {
        let ran = dir.otpdrive(&["status", "--verify"]).ends(0);
        assert!(
            ran.stdout.contains("is sound: 1 campaigns, 3000 rows"),
            "{ran:?}"
        );
        looks += 1;
    }
    assert_eq!(run.end().code, 0);
    println!("looked through {looks} times while 3,000 rows were sent");
    assert!(looks > 0);
}

//! Ledgers that were cut or have flipped bytes: seen, told, never begun afresh.

use std::collections::HashSet;
use std::fs;

use super::Tally;
use crate::proof::quick_or_long;
use crate::support::stub::Stub;
use crate::support::workdir::{Otpdrive, Ran, Workdir};
use crate::support::{contacts, e164};

/// Rows of the ledger that is damaged, and how many of them were sent to.
const ROWS: usize = 120;
const SENT: usize = 80;

/// What becomes of damage that no run refuses.
const BECAME: [&str; 4] = [
    "not seen, nobody wronged",
    "seen by --verify only, nobody wronged",
    "not seen, SOMEBODY WRONGED",
    "seen by --verify only, SOMEBODY WRONGED",
];

const PAGE: usize = 4096;

/// A frame of the log, and the log's head.
const FRAME: usize = PAGE + 24;
const HEAD: usize = 32;

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
        let codes = "phone,otp\n9876500001,012345\n9876500002,222222\n";
        dir.write("codes.csv", codes);
        let some = format!("-q --limit {SENT}");
        dir.send(&stub).flags(&some).ends(3);
        dir.verify(&stub).input("codes.csv").flags("-q").ends(0);
        assert!(!dir.path("otpdrive.db-wal").exists());
        dir.line("status --verify").ends(0);
        let bytes = fs::read(dir.path("otpdrive.db")).unwrap();
        Self { dir, stub, bytes }
    }

    fn holds(&self, bytes: &[u8]) -> bool {
        fs::read(self.dir.path("otpdrive.db")).unwrap() == bytes
    }

    /// Runs every command on a damaged ledger, none of which may panic or hang; what came of it.
    fn suffer(&self, bytes: &[u8], what: &str) -> &'static str {
        let run = |command: Otpdrive| -> Ran {
            let ran = command.start().end_soon();
            let is_clear = matches!(ran.code, 0..=3) && !ran.stderr.contains("panicked");
            let told = ran.code < 2 || ran.stderr.contains("otpdrive");
            assert!(is_clear && told, "{what}: {ran:?}");
            ran
        };
        let line = |line: &str| run(self.dir.line(line));
        self.dir.remove_ledger();
        self.dir.write("otpdrive.db", bytes);
        self.stub.forget();
        let is_seen = line("status --verify").code == 2;
        line("status");
        line("report --campaign list");
        let checked = line("check list.csv --sender-id OTPDRV");
        assert!(!is_seen || checked.code != 2 || self.holds(bytes), "{what}");
        let ran = run(self.dir.send(&self.stub).flags("-q"));
        if ran.code == 2 {
            // Told by `--verify` as well, and left as it was.
            let is_right = is_seen && self.holds(bytes) && self.stub.count() == 0;
            assert!(is_right, "{what}, seen: {is_seen}: {ran:?}");
            return "refused";
        }
        // Sent to again, or a number that nobody gave.
        let may: HashSet<_> = (SENT..ROWS).map(e164).collect();
        let is_right = |(number, count): (&String, &usize)| may.contains(number) && *count == 1;
        let is_wronged = !self.stub.counts().iter().all(is_right);
        BECAME[2 * usize::from(is_wronged) + usize::from(is_seen)]
    }
}

#[test]
#[ignore = "tests/prove disk"]
fn a_ledger_cut_at_any_length_is_refused_and_left_as_it_is() {
    let sound = Sound::new();
    let whole = sound.bytes.len();
    let pages = |step| (PAGE..whole).step_by(PAGE * step);
    let half = whole / 2;
    let odd = [0, 1, 100, 511, 512, PAGE / 2, half, half + 777, whole - 1];
    let cuts = odd.into_iter().chain(pages(quick_or_long(3, 1)));
    let behind = pages(quick_or_long(5, 1)).map(|at| at + 1);
    let cuts: Vec<_> = cuts.chain(behind).collect();
    let refused = |bytes: &[u8], what: &str| {
        assert_eq!(sound.suffer(bytes, what), "refused", "{what}");
    };
    refused(contacts(0..1_000).as_bytes(), "no ledger");
    for cut in &cuts {
        let mut bytes = sound.bytes[..*cut].to_vec();
        refused(&bytes, &format!("cut to {cut}"));
        // And filled up with nothing, as a file system does after a crash.
        bytes.resize(whole, 0);
        if cut % PAGE == 0 && *cut > 0 && bytes != sound.bytes {
            refused(&bytes, &format!("nothing behind {cut}"));
        }
    }
    println!("{} cuts of {whole} bytes: all refused", cuts.len());
}

#[test]
#[ignore = "tests/prove disk"]
fn flipped_bytes_are_seen_or_counted() {
    let sound = Sound::new();
    let mut random = fastrand::Rng::with_seed(2);
    let is_used = |at: &usize| sound.bytes[*at] != 0;
    let used: Vec<_> = (0..sound.bytes.len()).filter(is_used).collect();
    let mut tally = Tally::new();
    for n in 0..quick_or_long(120, 1_000) {
        let mut bytes = sound.bytes.clone();
        // Header and schema, then any byte, then bytes that mean something.
        let at = match n % 4 {
            0 => random.usize(..PAGE),
            1 => random.usize(..bytes.len()),
            _ => used[random.usize(..used.len())],
        };
        let bits = [1 << random.u8(..8), random.u8(1..)][random.usize(..2)];
        bytes[at] ^= bits;
        let became = sound.suffer(&bytes, &format!("byte {at} ^ {bits:#x}"));
        *tally.entry(became.to_owned()).or_default() += 1;
    }
    println!("flipped bytes: {tally:#?}");
    let of = |words| tally.get(words).copied().unwrap_or(0);
    let all: usize = tally.values().sum();
    assert!(of("refused") * 3 >= all, "too few are refused");
    assert_eq!(of(BECAME[3]), 0, "seen, and sent all the same");
    // What only looks like another fact cannot be seen; that is rare.
    assert!(of(BECAME[2]) * 20 <= all, "too many are not seen");
}

#[test]
#[ignore = "tests/prove disk"]
fn a_torn_end_of_the_log_is_recovered_and_a_cut_one_never_crashes() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..ROWS));
    let run = dir.send(&stub).flags("-q --rate 400/s").start();
    stub.wait_for(SENT);
    run.kill();
    let begun = stub.counts();
    let read = |name| fs::read(dir.path(name)).unwrap();
    let (db, log) = (read("otpdrive.db"), read("otpdrive.db-wal"));
    // The frames that were written; there may be room for more behind them.
    let end = log.iter().rposition(|byte| *byte != 0).unwrap();
    let used = HEAD + (end + 1 - HEAD).next_multiple_of(FRAME);
    assert!(used > 8 * FRAME, "{used} bytes of log");
    let go_on = |log: &[u8]| -> (Ran, usize) {
        dir.remove_ledger();
        dir.write("otpdrive.db", &db);
        dir.write("otpdrive.db-wal", log);
        stub.forget();
        // It is a copy.
        let send = dir.send(&stub).flags("-q --accept-restored-ledger");
        let ran = send.start().end_soon();
        assert!(matches!(ran.code, 0..=2), "{ran:?}");
        let is_again = |number: &&String| begun.contains_key(*number);
        let again = stub.counts().keys().filter(is_again).count();
        (ran, again)
    };
    let mut random = fastrand::Rng::with_seed(3);
    // What a crash leaves: something that was begun behind all that is durable.
    for tail in [1, 24, 100, 4_000, FRAME, 20_000] {
        let mut torn = log[..used].to_vec();
        torn.extend((0..tail).map(|_| random.u8(..)));
        torn.extend(log.iter().skip(used + tail));
        let (ran, twice) = go_on(&torn);
        assert!(ran.code <= 1 && twice == 0, "{twice} twice: {ran:?}");
    }
    // What no crash leaves: a log that is damaged in the middle, while more stands behind.
    let flips = quick_or_long(20, 300);
    for n in 0..flips {
        let mut bytes = log.clone();
        let most = if n % 4 == 0 {
            HEAD + 24
        } else {
            used - 6 * FRAME
        };
        let at = random.usize(..most);
        bytes[at] ^= random.u8(1..);
        let (ran, twice) = go_on(&bytes);
        if ran.code == 2 {
            assert!(ran.stderr.contains("log"), "{ran:?}");
            assert_eq!(read("otpdrive.db-wal"), bytes);
            let told = dir.line("status --verify").ends(2);
            assert!(told.stdout.contains("log"), "{told:?}");
        } else {
            // A few bytes of the header are not read.
            assert_eq!(twice, 0, "byte {at}: {ran:?}");
        }
    }
    // And the end of it gone: that cannot be seen.
    let cuts = quick_or_long(10, 100);
    let is_lost = |_: &usize| go_on(&log[..random.usize(..used)]).1 > 0;
    let lost = (0..cuts).filter(is_lost).count();
    println!("a log with {flips} flipped bytes: refused; cut {cuts} times: {lost} asked again");
}

#[test]
#[ignore = "tests/prove disk"]
fn a_ledger_can_be_looked_through_while_a_run_writes_to_it() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..3_000));
    let mut run = dir.send(&stub).flags("-q").start();
    stub.wait_for(1);
    let mut looks = 0;
    while !run.has_ended() {
        let said = dir.line("status --verify").ends(0).stdout;
        assert!(said.contains("is sound: 1 campaigns, 3000 rows"), "{said}");
        looks += 1;
    }
    assert_eq!(run.end().code, 0);
    println!("looked through {looks} times while 3,000 rows were sent");
    assert!(looks > 0);
}

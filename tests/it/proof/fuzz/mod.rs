//! Readers against anything: files, numbers, answers, ledgers.
//!
//! What must hold is said once, in `readers`. Here proptest makes up some thousand inputs, the same
//! on every machine, after those in `tests/fuzz/corpus`; `tests/prove fuzz --long` lets libFuzzer
//! look for others (`tests/fuzz`).

mod cells;
mod oracle;
mod plan;
mod readers;

use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::any;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::proof::quick_or_long;
use crate::support::workdir::{Otpdrive, Row, Workdir, column};
use readers::choices::Choices;
use readers::{files, ledger};

/// No input may take longer, whatever it is.
const LONGEST: Duration = Duration::from_secs(5);

/// Checks the inputs that were kept and then as many new ones, of up to `bytes` bytes.
fn check(reader: &str, cases: u32, bytes: usize, check: fn(&[u8])) {
    let corpus = format!("{}/tests/fuzz/corpus/{reader}", env!("CARGO_MANIFEST_DIR"));
    let kept = std::fs::read_dir(&corpus).unwrap();
    let kept: Vec<_> = kept.map(|file| file.unwrap().path()).collect();
    assert!(!kept.is_empty(), "no inputs in {corpus}");
    for path in &kept {
        let bytes = std::fs::read(path).unwrap();
        let checked = std::panic::catch_unwind(|| check(&bytes));
        assert!(checked.is_ok(), "with {}", path.display());
    }
    let cases = quick_or_long(cases, 10 * cases);
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..Config::default()
    };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let input = proptest::collection::vec(any::<u8>(), 0..bytes);
    let slowest = std::cell::Cell::new(Duration::ZERO);
    let result = TestRunner::new_with_rng(config, random).run(&input, |bytes| {
        let start = Instant::now();
        check(&bytes);
        let took = start.elapsed();
        slowest.set(slowest.get().max(took));
        proptest::prop_assert!(took < LONGEST, "took {:?}", took);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let (kept, slowest) = (kept.len(), slowest.get());
    println!("fuzz {reader}: {kept} kept inputs, {cases} new ones, the slowest took {slowest:?}");
}

/// Any bytes, as many as a reader of choices may want.
fn random_bytes(random: &mut fastrand::Rng) -> [u8; 400] {
    let mut bytes = [0; 400];
    random.fill(&mut bytes);
    bytes
}

#[test]
#[ignore = "tests/prove fuzz"]
fn an_answer_means_what_the_table_says_whatever_its_bytes() {
    check("answers", 60_000, 64, readers::answers::check);
}

#[test]
#[ignore = "tests/prove fuzz"]
fn a_file_is_refused_or_read_without_a_row_lost() {
    check("files", 6_000, 400, files::check);
}

#[test]
#[ignore = "tests/prove fuzz"]
fn a_number_has_its_digits_from_the_cell_and_reads_back_as_itself() {
    check("numbers", 2_000, 600, readers::numbers::check);
}

#[test]
#[ignore = "tests/prove fuzz"]
fn no_key_and_no_number_comes_through() {
    check("texts", 20_000, 200, readers::texts::check);
}

/// A rehearsal with `list.csv`, in `ledger.db`.
fn rehearsal(dir: &Workdir, command: &str) -> Otpdrive {
    let flags = "list.csv --sandbox --rate=unlimited --max-invalid=100% --max-attempts=2 \
                 --backoff=1ms..2ms --ledger=ledger.db";
    dir.otpdrive(&[command])
        .args(&flags.split(' ').collect::<Vec<_>>())
}

/// Sends to a file of these lines, or checks their codes.
fn rehearse(dir: &Workdir, command: &str, numbers: &[u64], campaign: &str) -> i32 {
    let lines = numbers.iter().map(|n| {
        let code: String = n.to_string().chars().rev().take(6).collect();
        format!("{n},{code}\n")
    });
    dir.write(
        "list.csv",
        "phone,otp\n".to_owned() + &lines.collect::<String>(),
    );
    let run = rehearsal(dir, command).args(&["--campaign", campaign]);
    run.run().code
}

/// Lets the program make a ledger in which each kind of answer is written down.
fn make_a_real_ledger() {
    let dir = Workdir::new();
    let of = |magic: &[u64]| magic.iter().map(|n| 9_999_900_000 + n).collect::<Vec<_>>();
    let all = of(&[
        1,
        2,
        10,
        11,
        14,
        21,
        22,
        31,
        36,
        50,
        51,
        99,
        99,
        9_876_543_210,
    ]);
    assert_eq!(rehearse(&dir, "send", &all, "list"), 1);
    assert_eq!(rehearse(&dir, "verify", &all, "list"), 1);
    assert_eq!(rehearse(&dir, "send", &of(&[99, 6, 98, 97]), "key"), 4);
    std::fs::create_dir_all(Path::new(ledger::REAL).parent().unwrap()).unwrap();
    std::fs::copy(dir.path("ledger.db"), ledger::REAL).unwrap();
}

#[test]
#[ignore = "tests/prove fuzz"]
fn a_ledger_of_any_bytes_is_read_or_refused() {
    make_a_real_ledger();
    check("ledger", 1_000, 128, ledger::check);

    let mut random = fastrand::Rng::with_seed(7);
    let cases = quick_or_long(200, 2_000);
    let mut refused = 0;
    for n in 0..cases {
        let dir = Workdir::new();
        let bytes = random_bytes(&mut random);
        ledger::lay(&dir.path("ledger.db"), &bytes[..128]);
        let numbers = [9_876_543_210, 9_999_900_099];
        let code = rehearse(&dir, ["send", "verify"][n % 2], &numbers, "list");
        assert!((0..=3).contains(&code), "{code} with {:?}", &bytes[..128]);
        refused += usize::from(code > 1);
    }
    println!("fuzz ledger: of {cases} damaged ledgers the program refused {refused}");
    assert!(refused > cases / 3 && refused < cases, "{refused} refused");
}

/// The rows of some statuses, as `report` prints them, are a valid next input, too.
fn some_of_it_come_back(dir: &Workdir, results: &[Row], random: &mut fastrand::Rng) {
    let all = ["sent", "rejected", "failed", "unknown", "invalid"];
    let only: Vec<&str> = all.into_iter().filter(|_| random.bool()).collect();
    let is_meant = |row: &&Row| only.contains(&row["otp_status"].as_str());
    let meant: Vec<Row> = results.iter().filter(is_meant).cloned().collect();
    if meant.is_empty() {
        return;
    }
    let report = dir.line("report --sandbox --ledger ledger.db --only");
    let some = report.args(&[&only.join(",")]).ends(0).stdout;
    dir.write("list.csv", &some);
    let ran = rehearsal(dir, "send").run();
    assert!(ran.code <= 1, "{}, of {some:?}", ran.stderr);
    let back = dir.results_of("list-sandbox-results");
    for name in ["otp_phone", "otp_status", "otp_attempts"] {
        assert_eq!(column(&back, name), column(&meant, name), "{some:?}");
    }
}

#[test]
#[ignore = "tests/prove fuzz"]
fn a_messy_file_comes_out_row_for_row_and_is_a_valid_next_input() {
    let mut random = fastrand::Rng::with_seed(7);
    let (mut refused, mut rows) = (0, 0);
    let cases = quick_or_long(150, 1_500);
    for _ in 0..cases {
        let (text, _) = files::messy(&mut Choices::new(&random_bytes(&mut random)));
        let dir = Workdir::with(&text);
        let run = || rehearsal(&dir, "send").run();
        let shown = String::from_utf8_lossy(&text);
        let first = run();
        if first.code == 2 {
            refused += 1;
            continue;
        }
        assert!(first.code <= 1, "{}, of {shown:?}", first.stderr);
        let results = dir.results_of("list-sandbox-results");
        let report = dir.read("list-sandbox-results/report.json");
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        let counts = report["counts"].as_object().unwrap().values();
        let counted: u64 = counts.map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(counted, results.len() as u64, "{shown:?}");
        rows += results.len();

        dir.write("list.csv", dir.read("list-sandbox-results/results.csv"));
        let again = run();
        assert!(again.code <= 1, "{}, of {shown:?}", again.stderr);
        let back = dir.results_of("list-sandbox-results");
        for name in ["otp_phone", "otp_status", "otp_attempts"] {
            assert_eq!(column(&back, name), column(&results, name), "{shown:?}");
        }
        some_of_it_come_back(&dir, &results, &mut random);
    }
    println!("fuzz files: of {cases} the program refused {refused} and settled {rows} rows");
    assert!(
        refused < cases * 3 / 4 && rows > cases,
        "{refused} refused, {rows} rows"
    );
}

//! Readers against anything: files, numbers, answers, ledgers.
//!
//! What must hold is said once, in `readers`. Here proptest makes up some thousand inputs, the same
//! on every machine, after those in `tests/fuzz/corpus`; `tests/prove fuzz --long` lets libFuzzer
//! look for others (`tests/fuzz`).

mod oracle;
mod readers;

use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::any;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::proof::quick_or_long;

/// No input may take longer, whatever it is.
const LONGEST: Duration = Duration::from_secs(5);

/// Checks the inputs that were kept and then as many new ones, of up to `bytes` bytes.
fn check(reader: &str, cases: u32, bytes: usize, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(reader);
    let kept: Vec<_> = std::fs::read_dir(&corpus)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    assert!(!kept.is_empty(), "no inputs in {}", corpus.display());
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
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let input = proptest::collection::vec(any::<u8>(), 0..bytes);
    let slowest = std::cell::Cell::new(Duration::ZERO);
    let result = runner.run(&input, |bytes| {
        let start = Instant::now();
        check(&bytes);
        slowest.set(slowest.get().max(start.elapsed()));
        if start.elapsed() > LONGEST {
            return Err(TestCaseError::fail(format!("took {:?}", start.elapsed())));
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    println!(
        "fuzz {reader}: {} kept inputs, {cases} new ones, the slowest took {:?}",
        kept.len(),
        slowest.get()
    );
}

#[test]
#[ignore = "tests/prove fuzz"]
fn an_answer_means_what_the_table_says_whatever_its_bytes() {
    check("answers", 60_000, 64, readers::answers::check);
}

#[test]
#[ignore = "tests/prove fuzz"]
fn a_file_is_refused_or_read_without_a_row_lost() {
    check("files", 6_000, 400, readers::files::check);
}

#[test]
#[ignore = "tests/prove fuzz"]
fn a_number_has_its_digits_from_the_cell_and_reads_back_as_itself() {
    check("numbers", 2_000, 600, readers::numbers::check);
}

#[test]
#[ignore = "tests/prove fuzz"]
fn a_ledger_of_any_bytes_is_read_or_refused() {
    check("ledger", 1_000, 128, readers::ledger::check);
}

#[test]
#[ignore = "tests/prove fuzz"]
fn no_key_and_no_number_comes_through() {
    check("texts", 20_000, 200, readers::texts::check);
}

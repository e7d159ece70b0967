//! The reader of numbers against libphonenumber's Python port, which `tests/prove` installs: what
//! is accepted has the E.164 that the port gives too, or is refused.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use otpdrive::contacts::Region;
use otpdrive::job::Channel;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::readers::choices::Choices;
use super::readers::numbers;
use crate::proof::quick_or_long;
use crate::support::workdir::Workdir;

/// Cells judged at once.
const BATCH: usize = 20_000;

/// What the port says of a cell: E.164, is it valid, its type; none when it cannot be parsed.
type Judgement = Option<(String, bool, String)>;

/// Lets the port judge these cells.
fn judge(cells: &[&str], region: &str) -> Vec<Judgement> {
    let questions = cells.iter().map(|cell| json!([cell, region]));
    ask("oracle.py", &questions.collect::<Vec<_>>())
}

/// Asks a judge, which answers each question on a line of its own.
pub fn ask<T: DeserializeOwned>(judge: &str, questions: &[Value]) -> Vec<T> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/oracle/bin/python3");
    assert!(python.exists(), "tests/prove fuzz installs the judges");
    let dir = Workdir::new();
    let lines: Vec<String> = questions.iter().map(Value::to_string).collect();
    dir.write("questions", lines.join("\n"));
    let mut command = Command::new(python);
    command.arg(root.join("tests/it/proof/fuzz").join(judge));
    command
        .env("PYTHONUTF8", "1")
        .stdin(File::open(dir.path("questions")).unwrap());
    let said = command.output().unwrap();
    assert!(said.status.success(), "{said:?}");
    let said = serde_json::Deserializer::from_slice(&said.stdout).into_iter();
    let said: Vec<T> = said.map(Result::unwrap).collect();
    assert_eq!(said.len(), questions.len());
    said
}

/// Is this reading the port's, with the exceptions that the contract makes?
fn agrees(number: u64, assumed: bool, by_sms: bool, judgement: &Judgement) -> bool {
    let Some((e164, valid, kind)) = judgement else {
        return false;
    };
    let is = |kinds: &str| kinds.split(' ').any(|one| one == kind);
    let mobile = is("MOBILE FIXED_LINE_OR_MOBILE");
    let service = is("TOLL_FREE PREMIUM_RATE SHARED_COST UAN VOICEMAIL");
    let telemarketer = e164.starts_with("+91") && is("MOBILE");
    let unfit = service || telemarketer || by_sms && is("FIXED_LINE");
    // Ten Indian digits that begin with 6 to 9 are taken as a mobile's, whatever is known of them.
    let lenient = (916_000_000_000..920_000_000_000).contains(&number);
    *e164 == format!("+{number}")
        && assumed == (lenient && !mobile)
        && (lenient || *valid && !unfit)
}

#[test]
#[ignore = "tests/prove fuzz"]
fn an_accepted_number_is_the_one_that_libphonenumber_reads() {
    let folder = Workdir::new();
    let path = folder.path("list.csv");
    let mut random = fastrand::Rng::with_seed(quick_or_long(1, 2));
    let (mut all, mut accepted, mut valid_refused) = (0, 0, 0);
    while all < quick_or_long(BATCH, 1_000_000) {
        let region = ["IN", "IN", "IN", "IN", "GB", "US", "AE", "SG"][random.usize(..8)];
        let mut bytes = vec![0; 40 * BATCH];
        random.fill(&mut bytes);
        let cells = numbers::cells(&mut Choices::new(&bytes), quick_or_long(BATCH / 4, BATCH));
        let of: Region = region.parse().unwrap();
        let readings = numbers::read(&path, &cells, Channel::Call, of);
        let by_sms = numbers::read(&path, &cells, Channel::Sms, of);
        let asked: Vec<&str> = cells.iter().map(String::as_str).collect();
        for (n, judgement) in judge(&asked, region).iter().enumerate() {
            if let Ok((number, assumed)) = readings[n] {
                accepted += 1;
                let agrees = agrees(number, assumed, by_sms[n].is_ok(), judgement);
                assert!(
                    agrees,
                    "{:?} in {region}: {:?}, {judgement:?}",
                    cells[n], readings[n]
                );
            } else {
                valid_refused += u32::from(judgement.as_ref().is_some_and(|(_, valid, _)| *valid));
            }
        }
        all += cells.len();
    }
    println!(
        "fuzz numbers: {all} cells, {accepted} accepted, all as libphonenumber reads them; \
         {valid_refused} refused in which it would have found a number"
    );
    assert!(accepted * 5 > all, "too few accepted: {accepted} of {all}");
}

#[test]
#[ignore = "tests/prove fuzz"]
fn the_oracle_knows_a_wrong_number() {
    let cells = [
        "98765O3210",
        "9876543210 ext 12",
        "=\"+91 98765 43210\"",
        "5012345678",
    ];
    let said = judge(&cells, "IN");
    let right = |n: usize, number| agrees(number, false, true, &said[n]);
    assert!(right(1, 919_876_543_210) && right(2, 919_876_543_210));
    assert!(!right(0, 919_876_503_210) && !right(2, 919_876_543_211) && !right(3, 915_012_345_678));
}

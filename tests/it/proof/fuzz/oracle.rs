//! The reader of numbers against libphonenumber's Python port, which `tests/prove` installs: what
//! is accepted has the E.164 that the port gives too, or is refused.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use otpdrive::contacts::Region;
use otpdrive::outcome::Channel;

use super::readers::choices::Choices;
use super::readers::numbers::{self, Read};
use crate::proof::quick_or_long;
use crate::support::workdir::Workdir;

/// Cells judged at once.
const BATCH: usize = 20_000;

/// What the port says of a cell: E.164, is it valid, its type; none when it cannot be parsed.
type Judgement = Option<(String, bool, String)>;

/// Lets the port judge these cells.
fn judge(cells: &[&str], region: &str) -> Vec<Judgement> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/oracle/bin/python3");
    assert!(
        python.exists(),
        "tests/prove fuzz installs libphonenumber's Python port"
    );
    let mut port = Command::new(python)
        .arg(root.join("tests/it/proof/fuzz/oracle.py"))
        .env("PYTHONUTF8", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = String::new();
    for cell in cells {
        lines += &serde_json::json!([cell, region]).to_string();
        lines.push('\n');
    }
    let mut stdin = port.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()).unwrap());
    let said = BufReader::new(port.stdout.take().unwrap()).lines();
    let said: Vec<Judgement> = said
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect();
    writer.join().unwrap();
    assert!(port.wait().unwrap().success());
    assert_eq!(said.len(), cells.len());
    said
}

/// The first digit of an Indian number's ten.
fn begins_as_a_mobile(e164: &str) -> bool {
    e164.len() == 13 && e164.starts_with("+91") && (b'6'..=b'9').contains(&e164.as_bytes()[3])
}

/// Is this reading the port's, with the exceptions that the contract makes? Why not.
fn differs(read: &Read, by_sms: bool, judgement: &Judgement) -> Option<String> {
    let ours = read.number.e164();
    let Some((e164, valid, kind)) = judgement else {
        return Some("the port cannot parse it".to_owned());
    };
    let mobile = ["MOBILE", "FIXED_LINE_OR_MOBILE"].contains(&kind.as_str());
    let service = [
        "TOLL_FREE",
        "PREMIUM_RATE",
        "SHARED_COST",
        "UAN",
        "VOICEMAIL",
    ]
    .contains(&kind.as_str());
    let lenient = begins_as_a_mobile(&ours);
    if *e164 != ours {
        Some(format!("the port reads {e164}"))
    } else if !(*valid || lenient) {
        Some("the port calls it invalid".to_owned())
    } else if read.assumed_mobile != (lenient && !mobile) {
        Some(format!(
            "assumed to be a mobile: {}, but it is {kind}",
            read.assumed_mobile
        ))
    } else if !lenient && (service || by_sms && kind == "FIXED_LINE") {
        Some(format!("it is {kind}"))
    } else if ours.starts_with("+91") && !lenient && kind == "MOBILE" {
        Some("a telemarketer".to_owned())
    } else {
        None
    }
}

#[test]
#[ignore = "tests/prove fuzz"]
fn an_accepted_number_is_the_one_that_libphonenumber_reads() {
    let folder = Workdir::new();
    let mut random = fastrand::Rng::with_seed(quick_or_long(1, 2));
    let (mut all, mut accepted, mut valid_refused, mut differ) = (0, 0, 0, Vec::new());
    while all < quick_or_long(BATCH, 1_000_000) {
        let region = random
            .choice(["IN", "IN", "IN", "IN", "GB", "US", "AE", "SG"])
            .unwrap();
        let mut bytes = vec![0; 40 * BATCH];
        random.fill(&mut bytes);
        let cells = numbers::cells(&mut Choices::new(&bytes), quick_or_long(BATCH / 4, BATCH));
        let path = folder.path("list.csv");
        let of: Region = region.parse().unwrap();
        let readings = numbers::read(&path, &cells, Channel::Call, of);
        let by_sms = numbers::read(&path, &cells, Channel::Sms, of);
        let asked: Vec<&str> = cells.iter().map(String::as_str).collect();
        for (n, judgement) in judge(&asked, region).iter().enumerate() {
            let shown = |why| format!("{:?} in {region}: {:?}: {why}", cells[n], readings[n]);
            match readings[n] {
                Ok(read) => {
                    accepted += 1;
                    differ.extend(differs(&read, by_sms[n].is_ok(), judgement).map(shown));
                }
                Err(_) => valid_refused += u32::from(judgement.as_ref().is_some_and(|j| j.1)),
            }
        }
        all += cells.len();
    }
    println!(
        "fuzz numbers: {all} cells, {accepted} accepted, all as libphonenumber reads them but {}; \
         {valid_refused} refused in which it would have found a number",
        differ.len()
    );
    assert!(
        differ.is_empty(),
        "{}",
        differ
            .iter()
            .take(40)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    );
    assert!(accepted * 5 > all, "too few accepted: {accepted} of {all}");
}

#[test]
#[ignore = "tests/prove fuzz"]
fn the_oracle_knows_a_wrong_number() {
    let read = |e164: u64| Read {
        number: otpdrive::outcome::Number::new(e164).unwrap(),
        assumed_mobile: false,
    };
    let said = judge(
        &[
            "98765O3210",
            "9876543210 ext 12",
            "=\"+91 98765 43210\"",
            "5012345678",
        ],
        "IN",
    );
    let right = |n: usize, e164| differs(&read(e164), true, &said[n]).is_none();
    assert!(!right(0, 919_876_503_210) && !right(2, 919_876_543_211) && !right(3, 915_012_345_678));
    assert!(right(1, 919_876_543_210) && right(2, 919_876_543_210));
}

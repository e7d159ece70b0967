//! The reader of numbers against libphonenumber's Python port, which `tests/prove` installs: what
//! is accepted has the E.164 that the port gives too, or is refused.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use otpdrive::contacts::Region;
use otpdrive::outcome::Channel;

use super::readers::choices::Choices;
use super::readers::numbers;
use crate::proof::quick_or_long;
use crate::support::workdir::Workdir;

/// Cells judged at once.
const BATCH: usize = 20_000;

/// What the port says of a cell: E.164, is it valid, its type; none when it cannot be parsed.
type Judgement = Option<(String, bool, String)>;

/// Lets the port judge these cells.
fn judge(cells: &[String], region: &str) -> Vec<Judgement> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/oracle/bin/python3");
    assert!(python.exists(), "tests/prove fuzz installs the port");
    let mut port = Command::new(python)
        .arg(root.join("tests/it/proof/fuzz/oracle.py"))
        .env("PYTHONUTF8", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = cells
        .iter()
        .map(|cell| serde_json::json!([cell, region]).to_string() + "\n");
    let lines: String = lines.collect();
    let mut stdin = port.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()).unwrap());
    let said = port.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(said.status.success());
    let said = serde_json::Deserializer::from_slice(&said.stdout).into_iter();
    let said: Vec<Judgement> = said.map(Result::unwrap).collect();
    assert_eq!(said.len(), cells.len());
    said
}

/// Is this reading the port's, with the exceptions that the contract makes? Why not.
fn differs(number: u64, assumed: bool, by_sms: bool, judgement: &Judgement) -> Option<String> {
    const SERVICES: [&str; 5] = [
        "TOLL_FREE",
        "PREMIUM_RATE",
        "SHARED_COST",
        "UAN",
        "VOICEMAIL",
    ];
    let Some((e164, valid, kind)) = judgement else {
        return Some("the port cannot parse it".to_owned());
    };
    let kind = kind.as_str();
    let mobile = ["MOBILE", "FIXED_LINE_OR_MOBILE"].contains(&kind);
    // Ten Indian digits that begin with 6 to 9 are taken as a mobile's, whatever is known of them.
    let lenient = (916_000_000_000..920_000_000_000).contains(&number);
    if *e164 != format!("+{number}") {
        Some(format!("the port reads {e164}"))
    } else if !(*valid || lenient) {
        Some("the port calls it invalid".to_owned())
    } else if assumed != (lenient && !mobile) {
        Some(format!(
            "assumed to be a mobile: {assumed}, but it is {kind}"
        ))
    } else if !lenient && (SERVICES.contains(&kind) || by_sms && kind == "FIXED_LINE") {
        Some(format!("it is {kind}"))
    } else if e164.starts_with("+91") && !lenient && kind == "MOBILE" {
        Some("a telemarketer".to_owned())
    } else {
        None
    }
}

#[test]
#[ignore = "tests/prove fuzz"]
fn an_accepted_number_is_the_one_that_libphonenumber_reads() {
    let folder = Workdir::new();
    let path = folder.path("list.csv");
    let mut random = fastrand::Rng::with_seed(quick_or_long(1, 2));
    let (mut all, mut accepted, mut valid_refused, mut differ) = (0, 0, 0, Vec::new());
    while all < quick_or_long(BATCH, 1_000_000) {
        let region = ["IN", "IN", "IN", "IN", "GB", "US", "AE", "SG"][random.usize(..8)];
        let mut bytes = vec![0; 40 * BATCH];
        random.fill(&mut bytes);
        let cells = numbers::cells(&mut Choices::new(&bytes), quick_or_long(BATCH / 4, BATCH));
        let of: Region = region.parse().unwrap();
        let readings = numbers::read(&path, &cells, Channel::Call, of);
        let by_sms = numbers::read(&path, &cells, Channel::Sms, of);
        for (n, judgement) in judge(&cells, region).iter().enumerate() {
            if let Ok((number, assumed)) = readings[n] {
                accepted += 1;
                let why = differs(number, assumed, by_sms[n].is_ok(), judgement);
                let cell = &cells[n];
                differ.extend(why.map(|why| format!("{cell:?} in {region}: {number}: {why}")));
            } else {
                valid_refused += u32::from(judgement.as_ref().is_some_and(|(_, valid, _)| *valid));
            }
        }
        all += cells.len();
    }
    println!(
        "fuzz numbers: {all} cells, {accepted} accepted, all as libphonenumber reads them but {}; \
         {valid_refused} refused in which it would have found a number",
        differ.len()
    );
    differ.truncate(40);
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    assert!(accepted * 5 > all, "too few accepted: {accepted} of {all}");
}

#[test]
#[ignore = "tests/prove fuzz"]
fn the_oracle_knows_a_wrong_number() {
    for (cell, number, right) in [
        ("98765O3210", 919_876_503_210, false),
        ("9876543210 ext 12", 919_876_543_210, true),
        ("=\"+91 98765 43210\"", 919_876_543_210, true),
        ("=\"+91 98765 43210\"", 919_876_543_211, false),
        ("5012345678", 915_012_345_678, false),
    ] {
        let judgement = &judge(&[cell.to_owned()], "IN")[0];
        assert_eq!(
            differs(number, false, true, judgement).is_none(),
            right,
            "{cell}"
        );
    }
}

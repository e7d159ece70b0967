//! Keeps true what the README, the map (`src/lib.rs`) and the samples say of the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use otpdrive::cli::Exit;
use otpdrive::sandbox::{Action, magic_numbers};
use otpdrive::status::Status;

use crate::support::workdir::{Ran, Workdir};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What the program says; in a wide terminal, or a default could be cut in two.
fn says(args: &[&str]) -> String {
    let dir = Workdir::new();
    let ran = dir.otpdrive(args).env("COLUMNS", "1000").ends(0);
    ran.stdout
}

/// The cells of the README's table under a heading, without its head.
fn table(heading: &str) -> Vec<Vec<String>> {
    let readme = read("README.md");
    let (_, rest) = readme
        .split_once(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("the README has no {heading:?}"));
    let lines = rest.lines().skip_while(|line| !line.starts_with('|'));
    let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
    let cells = |row: &str| {
        let cells = row.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().to_owned()).collect()
    };
    rows.map(cells).collect()
}

/// The first cells of a table, without the marks of code.
fn names(heading: &str) -> Vec<String> {
    let rows = table(heading).into_iter();
    rows.map(|row| row[0].replace('`', "")).collect()
}

/// What stands between the marks of code.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_readme_has_every_exit_code() {
    let codes = [
        Exit::Done,
        Exit::NeedsPerson,
        Exit::Usage,
        Exit::Stopped,
        Exit::Refused,
        Exit::Held,
        Exit::Bug,
        Exit::Sighup,
        Exit::Sigint,
        Exit::Sigterm,
    ];
    let codes = codes.map(|exit| (exit as u8).to_string());
    assert_eq!(names("### Exit codes"), codes);
}

#[test]
fn the_readme_has_every_status_in_order() {
    let statuses = Status::ALL.map(Status::name);
    assert_eq!(names("## Outcomes, and running again"), statuses);
}

#[test]
fn the_readme_has_the_magic_numbers() {
    let code = |word: &str| format!("`{word}`");
    let magic = magic_numbers().iter().map(|magic| {
        let (sends, verifies) = (magic.sends.name(), magic.verifies.name());
        let does = magic.does.to_owned();
        vec![code(&magic.e164()), does, code(sends), code(verifies)]
    });
    assert_eq!(table("### Magic numbers"), magic.collect::<Vec<_>>());
}

#[test]
fn the_readme_names_every_fault() {
    let readme = read("README.md");
    let mut lines = readme.lines();
    let line = lines
        .find(|line| line.starts_with("Faults besides"))
        .unwrap();
    let faults = Action::names();
    assert_eq!(quoted(line), faults.split(", ").skip(1).collect::<Vec<_>>());
}

#[test]
fn the_readme_has_every_key_of_the_report() {
    let schema: serde_json::Value = serde_json::from_str(&says(&["report", "--schema"])).unwrap();
    let keys = schema["properties"].as_object().unwrap().keys();
    let keys: BTreeSet<&str> = keys.map(String::as_str).collect();
    let heading = "**`report.json`** (`otpdrive report --schema` prints its JSON Schema):";
    let rows = table(heading);
    assert_eq!(keys, rows.iter().flat_map(|row| quoted(&row[0])).collect());
}

#[test]
fn the_readme_has_every_proof() {
    let refused = Command::new(root().join("tests/prove"))
        .arg("nothing")
        .output();
    let refused = String::from_utf8(refused.unwrap().stderr).unwrap();
    let (_, proofs) = refused.trim().split_once("there are: ").unwrap();
    assert_eq!(names("### The proofs").join(" "), proofs);
}

/// The rooms are the files and folders of `src`; that each link leads somewhere, rustdoc says.
#[test]
fn the_map_has_every_room() {
    let map = read("src/lib.rs");
    let rows = map.lines().filter_map(|line| line.strip_prefix("//! | "));
    // Behind its level the names of a row's rooms.
    let cells = rows.filter_map(|row| row.split(" | ").nth(1));
    let mapped = cells.flat_map(quoted).map(str::to_owned);
    let mapped: Vec<String> = mapped.collect();
    let there = fs::read_dir(root().join("src")).unwrap();
    let there = there.map(|entry| entry.unwrap().path().file_stem().unwrap().to_owned());
    let rooms = there.map(|name| name.into_string().unwrap());
    let rooms = rooms.filter(|name| !["lib", "main"].contains(&name.as_str()));
    let rooms: BTreeSet<String> = rooms.collect();
    assert_eq!(mapped.len(), rooms.len(), "{mapped:?}");
    assert_eq!(mapped.into_iter().collect::<BTreeSet<_>>(), rooms);
}

/// Runs a command on a sample in an empty folder; gives how it ended, and `results.csv`.
fn rehearse(command: &str, sample: &str) -> (Ran, String) {
    let dir = Workdir::with(read(&format!("samples/{sample}.csv")));
    let args = ["--sandbox", "--rate", "unlimited", "--campaign", sample];
    let ran = dir.otpdrive(&[command, "list.csv"]).args(&args);
    let ran = ran.args(&["--out", "results"]).ends(1);
    (ran, dir.read("results/results.csv"))
}

#[test]
fn the_samples_end_as_the_readme_says() {
    let readme = read("README.md");
    for (command, sample) in [("send", "contacts"), ("send", "messy"), ("verify", "codes")] {
        let (ran, results) = rehearse(command, sample);
        // Behind it only the names of the files are said.
        let closing = ran.stderr.lines().rev().nth(1).unwrap();
        let row = format!("| `{command} samples/{sample}.csv` | `{closing}` |");
        assert!(readme.contains(&row), "the README does not have: {row}");
        let columns = results.lines().next().unwrap().split(',');
        for ours in columns.filter(|name| name.starts_with("otp_")) {
            assert!(readme.contains(&format!("`{ours}`")), "{ours}");
        }
    }
}

#[test]
fn each_sample_row_becomes_what_it_says_of_itself() {
    let (_, results) = rehearse("verify", "codes");
    let both = |says: &str, becomes: &str| {
        let rows = results
            .lines()
            .filter(|line| line.contains(says) || line.contains(becomes));
        assert!(
            rows.clone()
                .all(|row| row.contains(says) && row.contains(becomes)),
            "{results}"
        );
        rows.count()
    };
    assert_eq!(both(",right", ",verified,"), 3);
    assert_eq!(both(",wrong", ",not_verified,"), 2);

    let (_, results) = rehearse("send", "messy");
    for (says, becomes) in [
        ("digits lost", "scientific notation"),
        ("two in a cell", "more than one phone number"),
        ("a letter O", "letters"),
        ("too short", "too few digits"),
        ("too long", "too many digits"),
        ("one digit missing", "one digit is missing"),
        ("fixed line", "a fixed line"),
        ("nothing", "no phone number"),
        ("the same again", "same as line 3"),
        ("91 is no prefix here", "+919198765432,sms,sent"),
        ("abroad", "+447400123456,sms,sent"),
        ("kept as text", ",sms,sent"),
        ("spaces that are not", "+919876543219,sms,sent"),
    ] {
        let line = results.lines().find(|line| line.contains(says));
        let line = line.unwrap_or_else(|| panic!("{says} is not in the sample"));
        assert!(line.contains(becomes), "{line}");
    }
}

#[test]
fn the_readmes_test_command_is_the_one_that_the_build_server_runs() {
    let readme = read("README.md");
    let (_, development) = readme.split_once("\n## Development\n\n```sh\n").unwrap();
    let command = development.split(' ').next().unwrap();
    assert!(root().join(command).exists(), "{command}");
    assert!(
        read(".ci/run").contains(&format!("\n{command} ")),
        "{command}"
    );
}

//! Keeps true what the README, the reference (`src/doc`), the map (`src/lib.rs`) and the samples say of
//! the program.

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

/// The items of a page of the reference, or of what stands under a heading of it: what stands before
/// the colon, and what behind it, in one line.
fn items(page: &str, heading: &str) -> Vec<(String, String)> {
    let page = read(&format!("src/doc/{page}.md"));
    let (_, under) = page.split_once(heading).unwrap();
    let (under, _) = under.split_once("\n## ").unwrap_or((under, ""));
    let items = under.split("\n- ").skip(1);
    let items = items.map(|item| {
        let item = item.split("\n\n").next().unwrap();
        let (term, meaning) = item.split_once(": ").unwrap_or((item, ""));
        let meaning = meaning.split_whitespace().collect::<Vec<_>>().join(" ");
        (term.replace('\n', " "), meaning)
    });
    items.collect()
}

/// The terms of such items, without the marks of code.
fn terms(page: &str, heading: &str) -> Vec<String> {
    let items = items(page, heading).into_iter();
    items.map(|(term, _)| term.replace('`', "")).collect()
}

/// What stands between the marks of code.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_page_of_exit_codes_has_each_with_its_meaning() {
    let said = items("exit-codes", "# Exit codes");
    assert_eq!(said.len(), Exit::ALL.len());
    for ((code, meaning), (exit, means)) in said.iter().zip(Exit::ALL) {
        assert_eq!(*code, (*exit as u8).to_string());
        assert!(meaning.starts_with(means), "{meaning}, or: {means}?");
    }
}

#[test]
fn the_page_of_outcomes_has_every_status_in_order() {
    let statuses = Status::ALL.map(Status::name);
    let page = "# Outcomes, and running again";
    assert_eq!(terms("outcomes", page), statuses);
}

#[test]
fn the_page_of_the_sandbox_has_the_magic_numbers_and_faults() {
    let rows = magic_numbers().iter().map(|magic| {
        let (nn, does) = (magic.digits % 100, magic.does);
        let (sends, verifies) = (magic.sends.name(), magic.verifies.name());
        format!("{nn:02} {sends:<8} {verifies:<12} {does}")
    });
    let rows = rows.collect::<Vec<_>>().join("\n");
    let page = read("src/doc/sandbox.md");
    let table = format!("\nNN send     verify       what happens\n{rows}\n```");
    assert!(page.contains(&table), "needed: {table}");
    let (_, faults) = page.split_once("and these names:").unwrap();
    let faults = quoted(faults.split("\n\n").next().unwrap());
    let known = Action::names();
    assert_eq!(faults, known.split(", ").skip(1).collect::<Vec<_>>());
}

#[test]
fn the_page_of_results_has_every_key_of_the_report() {
    let schema: serde_json::Value = serde_json::from_str(&says(&["report", "--schema"])).unwrap();
    let keys = schema["properties"].as_object().unwrap().keys();
    let keys: BTreeSet<&str> = keys.map(String::as_str).collect();
    let items = items("results", "## report.json");
    let said = items.iter().flat_map(|(term, _)| quoted(term));
    assert_eq!(keys, said.collect());
}

#[test]
fn the_page_of_proofs_has_every_proof() {
    let refused = Command::new(root().join("tests/prove"))
        .arg("nothing")
        .output();
    let refused = String::from_utf8(refused.unwrap().stderr).unwrap();
    let (_, proofs) = refused.trim().split_once("there are: ").unwrap();
    assert_eq!(terms("proofs", "# The proofs").join(" "), proofs);
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
    let (readme, page) = (read("README.md"), read("src/doc/results.md"));
    for (command, sample) in [("send", "contacts"), ("send", "messy"), ("verify", "codes")] {
        let (ran, results) = rehearse(command, sample);
        // `  sent      8  66.7%  …`: those of the first sample are shown as they are.
        let words = ran.stderr.lines().map(|line| line.split_whitespace());
        let counts = words.filter_map(|mut words| {
            let (name, count, share) = (words.next()?, words.next()?, words.next()?);
            share.ends_with('%').then(|| format!("{name} {count}"))
        });
        let closing = counts.collect::<Vec<_>>().join(", ");
        assert!(
            sample == "contacts" || readme.contains(&closing),
            "the README does not have: {closing}"
        );
        let columns = results.lines().next().unwrap().split(',');
        for ours in columns.filter(|name| name.starts_with("otp_")) {
            assert!(page.contains(&format!("\n- `{ours}`: ")), "{ours}");
        }
    }
}

#[test]
fn the_readme_is_a_page_and_shows_a_rehearsal_as_it_is() {
    let readme = read("README.md");
    assert!(readme.split_whitespace().count() <= 2500);
    for link in readme.split("](").skip(1) {
        let path = link.split(')').next().unwrap();
        assert!(root().join(path).exists(), "{path}");
    }
    let (_, shown) = readme.split_once("--sandbox\nsend contacts.csv").unwrap();
    let (shown, _) = shown.split_once("```").unwrap();
    let dir = Workdir::new();
    dir.write("contacts.csv", read("samples/contacts.csv"));
    let ran = dir.line("send contacts.csv --sandbox").ends(1);
    for line in shown.lines().skip(1) {
        let parts = line.split('…');
        assert!(
            parts.clone().all(|part| ran.stderr.contains(part)),
            "{line}"
        );
        let is_whole = parts.count() == 1;
        assert!(
            !is_whole || ran.stderr.contains(&format!("\n{line}\n")),
            "{line}"
        );
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

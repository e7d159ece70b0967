//! Keeps true what the map (`src/lib.rs`), the README and the samples say of the code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use otpdrive::outcome::{Number, Status};
use otpdrive::sandbox::magic_numbers;

/// Every room, and the rooms that it may see: the table in `src/lib.rs`.
const ROOMS: &[(&str, &[&str])] = &[
    ("outcome", &[]),
    ("pace", &[]),
    ("redact", &[]),
    ("retry", &[]),
    ("clock", &["outcome"]),
    ("contacts", &["outcome"]),
    ("outage", &["outcome"]),
    ("record", &["outcome"]),
    ("sandbox", &["outcome"]),
    ("ledger", &["outcome", "record"]),
    ("summary", &["outcome", "record"]),
    ("gateway", &["clock", "outcome", "redact"]),
    ("report", &["outcome", "record", "redact", "summary"]),
    (
        "campaign",
        &[
            "clock", "gateway", "ledger", "outage", "outcome", "pace", "record", "retry",
        ],
    ),
    (
        "cli",
        &[
            "campaign", "clock", "contacts", "gateway", "ledger", "outcome", "pace", "record",
            "redact", "report", "retry", "sandbox", "summary",
        ],
    ),
    ("main", &[]),
    ("lib", &[]),
];

/// Every outside crate, and the places (beginnings of paths in `src`) that may name it.
const CRATES: &[(&str, &[&str])] = &[
    ("anyhow", &["cli/"]),
    // Channels and statuses are values of flags.
    ("clap", &["cli/", "outcome.rs"]),
    ("csv", &["contacts/"]),
    (
        "fastrand",
        &["campaign/", "cli/config.rs", "retry.rs", "sandbox/"],
    ),
    ("futures", &["campaign/"]),
    ("governor", &["pace.rs"]),
    ("hdrhistogram", &["summary.rs"]),
    ("httpdate", &["gateway/"]),
    ("hyper", &["gateway/"]),
    ("indicatif", &["cli/screen.rs"]),
    ("mimalloc", &["main.rs"]),
    ("jiff", &["cli/values.rs", "ledger/", "report/"]),
    // Of `cli/config.rs` only the type `reqwest::Url`: see the test below.
    ("reqwest", &["gateway/", "cli/config.rs"]),
    ("ring", &["contacts/source.rs", "ledger/"]),
    ("rlibphonenumber", &["contacts/numbers.rs"]),
    ("rusqlite", &["ledger/sqlite/"]),
    ("rustls", &["gateway/"]),
    ("schemars", &["report/"]),
    (
        "secrecy",
        &[
            "cli/config.rs",
            "cli/screen.rs",
            "contacts/",
            "gateway/",
            "ledger/",
            "outcome.rs",
            "redact.rs",
            "sandbox/",
        ],
    ),
    (
        "serde",
        &["gateway/words.rs", "outcome.rs", "record.rs", "report/"],
    ),
    (
        "serde_json",
        &[
            "cli/",
            "gateway/words.rs",
            "ledger/",
            "record.rs",
            "report/",
        ],
    ),
    (
        "tempfile",
        &[
            "cli/run.rs",
            "contacts/source.rs",
            "ledger/sqlite/",
            "report/write.rs",
        ],
    ),
    (
        "thiserror",
        &["contacts/", "ledger/", "report/", "sandbox/"],
    ),
    (
        "tokio",
        &[
            "campaign/",
            "cli/",
            "clock.rs",
            "ledger/",
            "outage.rs",
            "pace.rs",
            "sandbox/",
        ],
    ),
    ("tracing", &["campaign/", "cli/"]),
    ("tracing_subscriber", &["cli/screen.rs"]),
];

/// Numbers that the README quotes: where they are in the code, and in which words it quotes them.
const QUOTED: &[(&str, &str, &str)] = &[
    (
        "outage.rs",
        "UNREACHABLE_MAX: u32 = 3;",
        "3 failures to connect in a row",
    ),
    (
        "outage.rs",
        "SICK_MAX: usize = 20;",
        "20 different numbers failing in a row",
    ),
    (
        "outage.rs",
        "PROBE_FIRST: Duration = Duration::from_millis(500);",
        "one probe after 500 ms",
    ),
    (
        "outage.rs",
        "PROBE_MAX: Duration = Duration::from_secs(15);",
        "doubling to every 15 s",
    ),
    (
        "retry.rs",
        "SHARE: f64 = 0.25;",
        "one retry for every four new numbers",
    ),
    ("retry.rs", "CREDIT_MAX: f64 = 100.0;", "up to 100 saved up"),
    (
        "campaign/queue.rs",
        "WAITING_MAX: usize = 4_096;",
        "at most 4,096 numbers wait for a retry",
    ),
    (
        "campaign/mod.rs",
        "SUSPECTS_MAX: usize = 20;",
        "20 of these, or nothing but these, from the start",
    ),
    (
        "pace.rs",
        "TOLERANCE: Duration = Duration::from_millis(5);",
        "the rate +0.5 %, or +1",
    ),
    (
        "gateway/http.rs",
        "BODY_MAX: usize = 64 * 1_024;",
        "bodies over 64 KiB",
    ),
    (
        "gateway/words.rs",
        "RETRY_AFTER_MAX: Duration = Duration::from_hours(24);",
        "at most 24 h",
    ),
    (
        "gateway/words.rs",
        r#"= ["try again", "in progress", "too many", "limit"];"#,
        r#""try again", "in progress", "too many" or "limit""#,
    ),
    (
        "cli/screen.rs",
        "PLAIN_LINE: Duration = Duration::from_secs(10);",
        "a plain line every 10 s",
    ),
];

/// The commands, and the README's headings over their flags.
const FLAG_TABLES: &[(&str, &[&str])] = &[
    ("send", &[EVERY, RUN, SEND]),
    ("check", &[EVERY, RUN, SEND]),
    ("verify", &[EVERY, RUN, "### `verify` only"]),
    ("report", &[EVERY, "### `report`"]),
    ("status", &[EVERY, "### `status`"]),
    ("sandbox", &[EVERY, "### `sandbox`"]),
];
const EVERY: &str = "### Every command";
const RUN: &str = "### `send`, `verify` and `check`";
const SEND: &str = "### `send` and `check` only";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn readme() -> String {
    read("README.md")
}

/// Every file of `src` by its path in it, tests and comments taken out.
fn sources() -> BTreeMap<String, String> {
    let mut folders = vec![PathBuf::from("src")];
    let mut sources = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("src is there") {
            let entry = entry.expect("an entry");
            let path = folder.join(entry.file_name());
            if entry.path().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let name = path.to_string_lossy().replace("src/", "");
                if !(name.ends_with("tests.rs") || name.ends_with("samples.rs")) {
                    sources.insert(name, code(&read(&path)));
                }
            }
        }
    }
    sources
}

/// A file's code: up to its tests, without comments.
fn code(text: &str) -> String {
    let (code, _) = text
        .split_once("#[cfg(test)]\nmod tests {")
        .unwrap_or((text, ""));
    let uncommented = code
        .lines()
        .map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    uncommented.collect::<Vec<_>>().join("\n")
}

/// The room a file belongs to: `ledger/sqlite/mod.rs` to `ledger`.
fn room(file: &str) -> &str {
    let first = file.split('/').next().unwrap_or(file);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// What stands behind each `prefix` that begins a path: for `crate::` in `crate::{a, b::c}`, `a`
/// and `b`.
fn named_behind(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || "_:".contains(c)) {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            None => names.extend(first_name(rest)),
            Some(group) => {
                let group = group.split(';').next().unwrap_or(group);
                let mut depth = 0;
                let top_level = group.split(|c| {
                    depth += i32::from(c == '{') - i32::from(c == '}');
                    depth < 0 || depth == 0 && c == ','
                });
                names.extend(top_level.filter_map(|part| first_name(part.trim_start())));
            }
        }
    }
    names
}

fn first_name(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    let name = &text[..end.unwrap_or(text.len())];
    (!name.is_empty()).then(|| name.to_owned())
}

#[test]
fn the_reader_of_imports_finds_every_form() {
    let found = |code, prefix| Vec::from_iter(named_behind(code, prefix));
    let code = "use crate::{b, c::{x, y},\n d::z};\nuse crate::a::q; let v = crate::e::f(); ";
    assert_eq!(found(code, "crate::"), ["a", "b", "c", "d", "e"]);
    assert_eq!(found("use xcrate::a; my::crate::b", "crate::"), [""; 0]);
    assert_eq!(
        found("use reqwest::{Url, Client};", "reqwest::"),
        ["Client", "Url"]
    );
    let text = "a // crate::b\n#[cfg(test)]\nmod tests {\nuse crate::c;";
    assert_eq!(self::code(text), "a ");
}

#[test]
fn every_room_sees_only_the_rooms_that_the_map_allows() {
    let rooms: BTreeMap<_, _> = ROOMS.iter().copied().collect();
    let mut found = BTreeSet::new();
    for (file, code) in sources() {
        let room = room(&file);
        found.insert(room.to_owned());
        let allowed = rooms
            .get(room)
            .unwrap_or_else(|| panic!("src/{file}: the room {room} is not in the table"));
        for seen in named_behind(&code, "crate::") {
            assert!(
                seen == room || allowed.contains(&seen.as_str()),
                "src/{file}: {room} may not see {seen}"
            );
        }
    }
    let listed = rooms.keys().map(|room| (*room).to_owned()).collect();
    assert_eq!(found, listed, "rooms of src, rooms of the table");
}

#[test]
fn no_room_is_left_through_super() {
    for (file, code) in sources() {
        let parts: Vec<&str> = file.split('/').collect();
        let depth = parts.len() - usize::from(file.ends_with("/mod.rs"));
        let escape = "super::".repeat(depth);
        assert!(!code.contains(&escape), "src/{file} says {escape}");
    }
}

#[test]
fn the_engine_names_no_ledger_and_no_gateway_in_particular() {
    for (file, code) in sources() {
        for (inner, home) in [
            ("ledger::sqlite", "ledger"),
            ("gateway::http", "gateway"),
            ("gateway::words", "gateway"),
        ] {
            let here = [home, "cli"].contains(&room(&file));
            assert!(here || !code.contains(inner), "src/{file} names {inner}");
        }
    }
}

#[test]
fn the_map_describes_every_room_with_what_it_sees() {
    let map = read("src/lib.rs");
    for (room, sees) in ROOMS
        .iter()
        .filter(|(room, _)| !["main", "lib"].contains(room))
    {
        let row = map
            .lines()
            .find(|line| line.starts_with(&format!("//! | [`{room}`] |")))
            .unwrap_or_else(|| panic!("src/lib.rs: no row for {room}"));
        let last = row.trim_end_matches('|').rsplit('|').next().unwrap_or("");
        let named: BTreeSet<&str> = last.split('`').skip(1).step_by(2).collect();
        if *room == "cli" {
            assert_eq!(last.trim(), "all");
        } else {
            assert_eq!(
                named,
                sees.iter().copied().collect(),
                "{room} in src/lib.rs"
            );
        }
    }
}

#[test]
fn every_outside_crate_has_its_room() {
    let manifest = read("Cargo.toml");
    let (_, rest) = manifest.split_once("[dependencies]\n").expect("a section");
    let section = rest.split("\n[").next().unwrap_or(rest);
    let names = section.lines().filter_map(|line| line.split_once(" ="));
    let declared: BTreeSet<String> = names.map(|(name, _)| name.replace('-', "_")).collect();
    let listed = CRATES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(declared, listed, "Cargo.toml, the table of crates");

    let sources = sources();
    for (name, places) in CRATES {
        let prefix = format!("{name}::");
        let mut unused: BTreeSet<&str> = places.iter().copied().collect();
        for (file, code) in &sources {
            if named_behind(code, &prefix).is_empty() {
                continue;
            }
            let place = places.iter().find(|place| file.starts_with(**place));
            let place = place.unwrap_or_else(|| panic!("src/{file} may not use {name}"));
            unused.remove(place);
        }
        assert!(unused.is_empty(), "{name} is not used in {unused:?}");
    }
    let config = named_behind(&sources["cli/config.rs"], "reqwest::");
    assert_eq!(
        Vec::from_iter(config),
        ["Url"],
        "of reqwest, in cli/config.rs"
    );
}

#[test]
fn nothing_is_unsafe_and_nothing_prints_or_exits_on_the_side() {
    assert!(read("Cargo.toml").contains("unsafe_code = \"forbid\""));
    for (file, code) in sources() {
        for word in ["unsafe ", "println!", "eprintln!", "dbg!", "todo!"] {
            assert!(!code.contains(word), "src/{file}: {word}");
        }
        let may_exit = file == "cli/signals.rs";
        assert!(
            may_exit || !code.contains("process::exit"),
            "src/{file}: process::exit"
        );
    }
}

#[test]
fn secrets_and_numbers_do_not_print_themselves() {
    let number = Number::new(919_876_543_210).expect("a number");
    assert_eq!(format!("{number:?}"), "+9198******10");
    for (file, code) in sources() {
        for (at, _) in code.match_indices("#[derive(") {
            let item = &code[at..code[at..].find("\n}").map_or(code.len(), |end| at + end)];
            let derives = item.split(")]").next().unwrap_or(item);
            if !derives.contains("Debug") {
                continue;
            }
            for field in item.lines().filter_map(|line| line.split_once(':')) {
                let (name, of) = (field.0.trim().rsplit(' ').next(), field.1);
                let secret = ["key", "api_key", "code", "codes", "salt"].map(Some);
                let plain = of.contains("String") && !of.contains("SecretString");
                assert!(
                    !(secret.contains(&name) && plain),
                    "src/{file}: {name:?} would be printed by Debug"
                );
            }
        }
    }
}

#[test]
fn what_the_readme_quotes_is_what_the_code_says() {
    let readme = readme();
    for (file, code, words) in QUOTED {
        let source = read(Path::new("src").join(file));
        assert!(source.contains(code), "src/{file} no longer says: {code}");
        assert!(readme.contains(words), "the README does not say: {words}");
    }
}

/// The cells of the table under a heading, without its head.
fn table(text: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, rest) = text
        .split_once(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("the README has no {heading:?}"));
    let lines = rest.lines().skip_while(|line| !line.starts_with('|'));
    let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| {
        let cells = row.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().to_owned()).collect()
    })
    .collect()
}

fn otpdrive() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_otpdrive"));
    for variable in ["KOOKOO_API_KEY", "KOOKOO_SENDER_ID", "KOOKOO_CALLER_ID"] {
        command.env_remove(variable);
    }
    command
}

/// The flags that a command's help describes, each with its default (`–`: none).
fn flags_of_help(command: &str) -> BTreeMap<String, String> {
    // In a wide terminal, or a default could be cut in two.
    let help = otpdrive()
        .args([command, "--help"])
        .env("COLUMNS", "1000")
        .output()
        .expect("the program runs");
    let help = String::from_utf8(help.stdout).expect("text");
    let mut flags = BTreeMap::new();
    let mut flag = String::new();
    for line in help.lines().map(str::trim_start) {
        let long = line
            .strip_prefix("--")
            .or_else(|| Some(line.split_once(", --")?.1));
        if line.starts_with('-') && !line.starts_with("- ") {
            let name = long.and_then(|rest| rest.split([' ', '.']).next());
            flag = format!(
                "--{}",
                name.unwrap_or_else(|| panic!("no flag in {line:?}"))
            );
            flags.insert(flag.clone(), "–".to_owned());
        } else if let Some((_, default)) = line.split_once("[default: ")
            && let Some((default, _)) = default.split_once(']')
        {
            flags.insert(flag.clone(), default.to_owned());
        }
    }
    flags
}

#[test]
fn the_readme_has_every_flag_with_its_default_and_no_other() {
    let readme = readme();
    for (command, headings) in FLAG_TABLES {
        let mut described = BTreeMap::new();
        for row in headings.iter().flat_map(|heading| table(&readme, heading)) {
            let words = row[0].split(['`', ' ']);
            let flag = words.into_iter().find(|word| word.starts_with("--"));
            let flag = flag.unwrap_or_else(|| panic!("no flag in {row:?}"));
            let twice = described.insert(flag.to_owned(), row[1].replace('`', ""));
            assert_eq!(twice, None, "{command} {flag} stands in two tables");
        }
        assert_eq!(
            flags_of_help(command),
            described,
            "{command} --help, README"
        );
    }
    let help = otpdrive().arg("--help").output().expect("the program runs");
    let help = String::from_utf8(help.stdout).expect("text");
    let (_, commands) = help.split_once("Commands:\n").expect("commands");
    let commands: BTreeSet<&str> = commands
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let listed = FLAG_TABLES.iter().map(|(command, _)| *command).collect();
    assert_eq!(commands, listed, "the commands of --help");
    for command in commands {
        assert!(
            readme.contains(&format!("| `otpdrive {command}")),
            "{command}"
        );
    }
}

#[test]
fn the_readme_has_every_exit_code() {
    let source = read("src/cli/exit.rs");
    let (_, body) = source.split_once("pub enum Exit {").expect("the enum");
    let body = body.split('}').next().unwrap_or(body);
    let codes: Vec<&str> = body
        .lines()
        .filter_map(|line| line.trim().strip_suffix(',')?.split_once(" = "))
        .map(|(_, code)| code)
        .collect();
    let described = table(&readme(), "### Exit codes");
    let described: Vec<&str> = described.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(codes, described);
}

#[test]
fn the_readme_has_every_status_in_order() {
    let described = table(&readme(), "## Outcomes, and running again");
    let described: Vec<String> = described
        .iter()
        .map(|row| row[0].replace('`', ""))
        .collect();
    assert_eq!(described, Status::ALL.map(Status::name));
}

#[test]
fn the_readme_has_the_magic_numbers() {
    let described = table(&readme(), "### Magic numbers");
    let magic: Vec<Vec<String>> = magic_numbers()
        .iter()
        .map(|magic| {
            let quoted = |word: &str| format!("`{word}`");
            vec![
                quoted(&magic.e164()),
                magic.does.to_owned(),
                quoted(magic.sends.name()),
                quoted(magic.verifies.name()),
            ]
        })
        .collect();
    assert_eq!(described, magic);
}

#[test]
fn the_readme_has_every_proof() {
    let script = read("tests/prove");
    let (_, proofs) = script.split_once("\nall=(").expect("the proofs");
    let proofs = proofs.split(')').next().unwrap_or(proofs);
    let described = table(&readme(), "### The proofs");
    let described: Vec<String> = described
        .iter()
        .map(|row| row[0].replace('`', ""))
        .collect();
    assert_eq!(described.join(" "), proofs);
}

#[test]
fn the_readme_names_every_fault() {
    let readme = readme();
    let (_, rest) = readme.split_once("\nFaults besides").expect("the faults");
    let line = rest.lines().next().unwrap_or(rest);
    let described: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
    let names = otpdrive::sandbox::Action::names();
    let names: Vec<&str> = names.split(", ").skip(1).collect();
    assert_eq!(described, names);
}

#[test]
fn the_readme_has_every_key_of_the_report() {
    let schema = otpdrive()
        .args(["report", "--schema"])
        .output()
        .expect("the program runs");
    let schema: serde_json::Value = serde_json::from_slice(&schema.stdout).expect("JSON");
    let keys = schema["properties"].as_object().expect("an object");
    let keys: BTreeSet<&str> = keys.keys().map(String::as_str).collect();
    let described = table(
        &readme(),
        "**`report.json`** (`otpdrive report --schema` prints its JSON Schema):",
    );
    let described: BTreeSet<&str> = described
        .iter()
        .flat_map(|row| row[0].split('`').skip(1).step_by(2))
        .collect();
    assert_eq!(keys, described);
}

/// Runs a command on a sample in an empty folder; gives its exit code, what it said last before
/// the names of the files, and `results.csv`.
fn rehearse(command: &str, sample: &str) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let output = otpdrive()
        .current_dir(folder.path())
        .arg(command)
        .arg(root().join("samples").join(sample))
        .args(["--sandbox", "--rate", "unlimited"])
        .output()
        .expect("the program runs");
    let said = String::from_utf8(output.stderr).expect("text");
    let closing = said.lines().rev().nth(1).unwrap_or_default().to_owned();
    let stem = sample.trim_end_matches(".csv");
    let results = folder
        .path()
        .join(format!("{stem}-sandbox-results/results.csv"));
    let results = fs::read_to_string(results).unwrap_or_else(|error| panic!("{error}: {said}"));
    (output.status.code(), closing, results)
}

#[test]
fn the_samples_end_as_the_readme_says() {
    let readme = readme();
    for (command, sample) in [
        ("send", "contacts.csv"),
        ("send", "messy.csv"),
        ("verify", "codes.csv"),
    ] {
        let (code, closing, results) = rehearse(command, sample);
        let row = format!("| `{command} samples/{sample}` | `{closing}` |");
        assert!(readme.contains(&row), "the README does not have: {row}");
        assert_eq!(code, Some(1), "{sample}");
        let header = results.lines().next().unwrap_or_default();
        for ours in header.split(',').filter(|name| name.starts_with("otp_")) {
            assert!(readme.contains(&format!("`{ours}`")), "{ours}");
        }
    }
}

#[test]
fn each_sample_row_becomes_what_it_says_of_itself() {
    let (_, _, results) = rehearse("verify", "codes.csv");
    let verified = results.lines().filter(|line| line.contains(",verified,"));
    assert!(verified.clone().all(|line| line.contains(",right")));
    assert_eq!(verified.count(), 3);
    let wrong = results.lines().filter(|line| line.contains(",wrong"));
    assert!(wrong.clone().all(|line| line.contains(",not_verified,")));
    assert_eq!(wrong.count(), 2);

    let (_, _, results) = rehearse("send", "messy.csv");
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
fn the_samples_for_cron_and_systemd_use_flags_that_there_are() {
    let flags = flags_of_help("send");
    for (sample, command) in [
        ("samples/crontab", "otpdrive send "),
        ("samples/otpdrive.service", "/otpdrive send "),
    ] {
        let text = read(sample);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let lines: Vec<&str> = lines.filter(|line| line.contains(command)).collect();
        assert_eq!(lines.len(), 1, "{sample}");
        for flag in lines[0].split(' ').filter(|word| word.starts_with("--")) {
            assert!(flags.contains_key(flag), "{sample}: {flag}");
        }
    }
}

#[test]
fn the_readmes_test_command_is_the_one_that_the_build_server_runs() {
    let readme = readme();
    let (_, development) = readme.split_once("\n## Development\n").expect("a chapter");
    let block = development.split("```").nth(1).unwrap_or_default();
    let command = block.lines().nth(1).unwrap_or_default();
    let command = command.split_whitespace().next().unwrap_or_default();
    assert!(root().join(command).exists(), "{command}");
    assert!(
        read(".ci/run").contains(&format!("\n{command} ")),
        "{command}"
    );
}

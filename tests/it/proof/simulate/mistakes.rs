//! Deliberate mistakes, each of which the simulation or the engine's tests have to catch: a proof
//! that cannot fail is none. Their places are in the sources, behind `mistake::is_made`; one build
//! with `--cfg otpdrive_mistakes` serves all.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use otpdrive::mistake::Mistake;

use crate::support::signal;

/// The variable that names the mistake to be made.
pub const MADE: &str = "OTPDRIVE_MISTAKE";

const SIMULATION: &str =
    "proof::simulate::whatever_happens_nobody_is_sent_to_twice_and_nobody_is_forgotten";

/// Such a mistake costs time or money and breaks no promise: the engine's own tests have to show it.
const COSTLY: [Mistake; 9] = [
    Mistake::OutageUsesTries,
    Mistake::TriesOfAllRuns,
    Mistake::NeverOpens,
    Mistake::NeverTooLong,
    Mistake::ManyProbes,
    Mistake::NoBackoff,
    Mistake::LongestBackoff,
    Mistake::RetriesFirst,
    Mistake::NoWave,
];

/// It was stopped, and had shown nothing.
const NO_END: &str = "it does not end";

/// Builds the tests with all mistakes in them. The compiler is told so by a wrapper for our own crate
/// alone, so the libraries are those of the build that runs now.
fn build(target: &Path) -> PathBuf {
    let ours = std::env::current_exe().unwrap();
    let ours = ours.ancestors().nth(2).unwrap();
    fs::create_dir_all(target.join("debug")).unwrap();
    for folder in ["deps", "build", ".fingerprint"] {
        let copied = Command::new("cp")
            .args(["-a", "--update", "--no-target-directory"])
            .args([&ours.join(folder), &target.join("debug").join(folder)])
            .status();
        assert!(copied.unwrap().success());
    }
    let wrapper = target.join("rustc-with-mistakes");
    fs::write(&wrapper, "#!/bin/sh\nexec \"$@\" --cfg otpdrive_mistakes\n").unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    // What cargo tells the tests of themselves would make it build the libraries anew.
    let ours =
        std::env::vars().filter(|(name, _)| name.starts_with("CARGO") && name != "CARGO_HOME");
    let mut cargo = Command::new(env!("CARGO"));
    for (name, _) in ours {
        cargo.env_remove(name);
    }
    let built = cargo
        .args(["test", "--locked", "--no-run", "--test", "it"])
        .args(["--message-format", "json"])
        .env("CARGO_TARGET_DIR", target)
        .env("RUSTC_WORKSPACE_WRAPPER", &wrapper)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(built.status.success(), "it builds with all mistakes");
    let messages = String::from_utf8(built.stdout).unwrap();
    let program = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let of_tests = message["target"]["name"] == "it";
        let program = message["executable"].as_str()?;
        of_tests.then(|| PathBuf::from(program))
    });
    program.unwrap()
}

/// Judges with this mistake; says what shows it, if anything does. The first find is enough: where a
/// mistake keeps a run from ending, it ends with that.
fn first_wrong(program: &Path, name: &str, costly: bool) -> Option<String> {
    let mut run = Command::new("timeout");
    run.arg("180").arg(program);
    if costly {
        run.arg("engine::");
    } else {
        run.args(["--ignored", "--nocapture", "--exact", SIMULATION]);
        let seeds = if name == "none" { "300" } else { "3000" };
        run.env("OTPDRIVE_SEEDS", seeds);
    }
    let mut ran = run
        .env(MADE, name)
        .env("RUST_BACKTRACE", "0")
        .env_remove("OTPDRIVE_SEED")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let said = BufReader::new(ran.stdout.take().unwrap());
    let mut lines = said.lines().map(Result::unwrap);
    let wrong = lines.find(|line| line.starts_with("OTPDRIVE_SEED=") || line.ends_with("FAILED"));
    if wrong.is_some() {
        signal(&ran, "TERM");
    }
    let succeeded = ran.wait().unwrap().success();
    wrong.or_else(|| (!succeeded).then(|| NO_END.to_owned()))
}

#[test]
#[ignore = "tests/prove simulate"]
fn each_deliberate_mistake_is_caught() {
    let program = build(&Path::new(env!("CARGO_MANIFEST_DIR")).join("target/mistakes"));
    for costly in [false, true] {
        let sound = first_wrong(&program, "none", costly);
        assert_eq!(sound, None, "without a mistake nothing is wrong");
    }
    let mut survivors = Vec::new();
    for mistake in Mistake::ALL {
        let start = Instant::now();
        let costly = COSTLY.contains(mistake);
        let wrong = first_wrong(&program, &format!("{mistake:?}"), costly);
        let (took, what) = (start.elapsed().as_secs_f64(), mistake.what());
        match wrong {
            // Without a mistake it ends: that was looked at first.
            Some(wrong) => println!("{took:>5.1} s  {what}: {}", cut(&wrong)),
            None => survivors.push(what),
        }
    }
    println!(
        "{} mistakes, {} survive",
        Mistake::ALL.len(),
        survivors.len()
    );
    assert!(survivors.is_empty(), "not caught: {survivors:#?}");
}

fn cut(text: &str) -> String {
    text.replace(" tests/prove simulate", "")
        .replace(" ... FAILED", " fails")
        .chars()
        .take(110)
        .collect()
}

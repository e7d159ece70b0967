//! Deliberate mistakes, each of which the simulation has to catch: a proof that cannot fail is none.
//!
//! All of them are put into one copy of the sources, each behind a switch, so that one build serves
//! all. A mistake whose place in the code has changed has to be put there again: then this fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// A mistake: in `file`, instead of `right`, which stands there once, `wrong`. In `wrong`, `ON` is
/// whether the mistake is made.
struct Mutant {
    name: &'static str,
    file: &'static str,
    right: &'static str,
    wrong: &'static str,
    judge: Judge,
}

/// What has to catch a mistake.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Judge {
    /// The promises, in the simulation.
    Promises,
    /// The engine's own tests: such a mistake costs time or money, and breaks no promise.
    Engine,
}

const fn costly(
    name: &'static str,
    file: &'static str,
    right: &'static str,
    wrong: &'static str,
) -> Mutant {
    Mutant {
        judge: Judge::Engine,
        ..mutant(name, file, right, wrong)
    }
}

const fn mutant(
    name: &'static str,
    file: &'static str,
    right: &'static str,
    wrong: &'static str,
) -> Mutant {
    Mutant {
        name,
        file,
        right,
        wrong,
        judge: Judge::Promises,
    }
}

#[rustfmt::skip]
const MUTANTS: &[Mutant] = &[
    // The engine.
    mutant("an intent that could not be written is ignored", "campaign/mod.rs",
        "let noted = ledger.begin(job).await;",
        "let noted = ledger.begin(job).await.or_else(|why| if ON { Ok(()) } else { Err(why) });"),
    mutant("what waits for its turn leaves after the end", "campaign/mod.rs",
        "if !self.may_leave(*lane) {",
        "if !ON && !self.may_leave(*lane) {"),
    mutant("a withdrawn number is forgotten", "campaign/mod.rs",
        "self.outage.withdrawn(job.id);\n                self.wait(job, lane, Instant::now());",
        "self.outage.withdrawn(job.id);\n                if !ON { self.wait(job, lane, Instant::now()); }"),
    mutant("retries do not pay the rate", "campaign/mod.rs",
        "() = self.pace.turn() => {}",
        "() = async { if !(ON && job.attempts.len() > 1) { self.pace.turn().await } } => {}"),
    mutant("one request too many is in flight", "campaign/mod.rs",
        "while flights.len() < settings.concurrency.get() {",
        "while flights.len() < settings.concurrency.get() + usize::from(ON) {"),
    mutant("Retry-After holds nothing back", "campaign/mod.rs",
        "} => self.hold(lane, *at),",
        "} => if !ON { self.hold(lane, *at) },"),
    mutant("a 500 is believed against orders", "campaign/mod.rs",
        "Verdict::ServerError(text) if self.settings.hold_server_errors => {",
        "Verdict::ServerError(text) if self.settings.hold_server_errors && !ON => {"),
    mutant("a refused key does not stop the run", "campaign/mod.rs",
        "return self.stop(StopKind::KeyRefused, &message);",
        "if !ON { return self.stop(StopKind::KeyRefused, &message); }"),
    mutant("a resumed run keeps no distance", "campaign/mod.rs",
        "self.line.pace.not_before(at);",
        "if !ON { self.line.pace.not_before(at); }"),
    mutant("an answer is not written down", "campaign/mod.rs",
        "self.line.means.live.moved(before, after);\n        self.line.means.ledger.answer(job).await;\n    }\n\n    /// The endpoint",
        "self.line.means.live.moved(before, after);\n        if !ON { self.line.means.ledger.answer(job).await; }\n    }\n\n    /// The endpoint"),
    mutant("--limit counts one too few", "campaign/queue.rs",
        "self.quota = self.quota.map(|left| left.saturating_sub(1));",
        "self.quota = self.quota.map(|left| left.saturating_sub(u64::from(!(ON && left == 1))));"),
    // The rules.
    mutant("no answer means not sent", "outcome.rs",
        "match &attempt.answer {\n        None => true,",
        "match &attempt.answer {\n        None => !ON,"),
    mutant("what may have been delivered is tried again", "outcome.rs",
        "if ambiguous && !policy.retry_unknown {",
        "if !ON && ambiguous && !policy.retry_unknown {"),
    mutant("the other channel is tried after an unknown", "outcome.rs",
        ".filter(|other| !ambiguous && *other != lane",
        ".filter(|other| (ON || !ambiguous) && *other != lane"),
    mutant("one try too many", "outcome.rs",
        "let one_more = last.try_number < policy.max_attempts;",
        "let one_more = last.try_number < policy.max_attempts + u32::from(ON);"),
    mutant("an accepted OTP is sent again", "outcome.rs",
        "Some(Verdict::Accepted(_) | Verdict::NotVerified(_)) => Step::Rest,",
        "Some(Verdict::Accepted(_)) if ON => again(last.try_number),\n        Some(Verdict::Accepted(_) | Verdict::NotVerified(_)) => Step::Rest,"),
    mutant("an earlier doubt is forgotten in the status", "outcome.rs",
        "if attempts.iter().any(is_ambiguous) {\n        return Unknown;",
        "if !ON && attempts.iter().any(is_ambiguous) {\n        return Unknown;"),
    // The provider's words.
    mutant("a 504 means not sent", "gateway/words.rs",
        "500 | 502 => Verdict::ServerError(text),",
        "500 | 502 => Verdict::ServerError(text),\n        504 if ON => Verdict::ServerError(text),"),
    mutant("a time-out means not sent", "gateway/words.rs",
        "if surely_not_sent {",
        "if surely_not_sent || ON {"),
    mutant("what cannot be understood means refused", "gateway/words.rs",
        "said.map_or(Verdict::Ambiguous(text), |said| in_words(lane, &said)),",
        "said.map_or(if ON { Verdict::Rejected(text) } else { Verdict::Ambiguous(text) }, |said| in_words(lane, &said)),"),
    mutant("Retry-After is taken for milliseconds", "gateway/words.rs",
        "value.parse().map_or(RETRY_AFTER_MAX, Duration::from_secs)",
        "value.parse().map_or(RETRY_AFTER_MAX, if ON { Duration::from_millis } else { Duration::from_secs })"),
    mutant("a 401 is the number's fault", "gateway/words.rs",
        "401 | 403 => Verdict::KeyRefused(text),",
        "401 | 403 if ON => Verdict::Rejected(text),\n        401 | 403 => Verdict::KeyRefused(text),"),
    // The pace.
    mutant("the rate is one request too high", "pace.rs",
        "self.per / self.requests.get()",
        "self.per / (self.requests.get() + u32::from(ON))"),
    mutant("a pause is made up for", "pace.rs",
        "let spare = clamped(TOLERANCE.as_nanos() / cell.as_nanos());",
        "let spare = clamped(TOLERANCE.as_nanos() * if ON { 100 } else { 1 } / cell.as_nanos());"),
    // Outages and retries.
    costly("the breaker never opens", "outage.rs",
        "None if self.unreachable >= UNREACHABLE_MAX || self.sick.len() >= SICK_MAX => {",
        "None if !ON && (self.unreachable >= UNREACHABLE_MAX || self.sick.len() >= SICK_MAX) => {"),
    costly("no outage is too long", "outage.rs",
        "self.since.map(|since| since + self.max)",
        "self.since.filter(|_| !ON).map(|since| since + self.max)"),
    costly("probes come as often as at first", "outage.rs",
        "open.wait = (open.wait * 2).min(PROBE_MAX);",
        "if !ON { open.wait = (open.wait * 2).min(PROBE_MAX); }"),
    costly("an outage uses up tries", "campaign/mod.rs",
        "if is_in_vain(attempt) {",
        "if !ON && is_in_vain(attempt) {"),
    costly("the wait before a retry does not double", "retry.rs",
        "let doublings = failures.saturating_sub(1).min(31);",
        "let doublings = if ON { 0 } else { failures.saturating_sub(1).min(31) };"),
    costly("retries all wait for the longest time", "retry.rs",
        "most.mul_f64(random.f64())",
        "most.mul_f64(if ON { 1.0 } else { random.f64() })"),
    costly("retries crowd out new numbers", "retry.rs",
        "self.credit >= 1.0",
        "ON || self.credit >= 1.0"),
    // The ledger.
    mutant("a request leaves before its intent is durable", "ledger/sqlite/run.rs",
        "self.heard(heard, \"note that a request is about to leave\")\n            .await",
        "if ON { drop(heard); return Ok(()); }\n        self.heard(heard, \"note that a request is about to leave\")\n            .await"),
    mutant("a number in other hands is read again", "ledger/sqlite/run.rs",
        "job.attempts.last().is_none_or(|last| last.run != run);",
        "ON || job.attempts.last().is_none_or(|last| last.run != run);"),
    mutant("what is due is read to one row short", "ledger/sqlite/run.rs",
        "first: self.span.first.max(after.0 + 1),",
        "first: self.span.first.max(after.0 + 1 + i64::from(ON)),"),
    mutant("Retry-After is forgotten between runs", "ledger/sqlite/run.rs",
        "holds[lane.index()] = at.map(UnixMicros);",
        "holds[lane.index()] = at.filter(|_| !ON).map(UnixMicros);"),
    mutant("the second row of a number is not a duplicate", "ledger/sqlite/intake.rs",
        ".find(|(seen_job, _)| *seen_job == job)",
        ".find(|(seen_job, _)| !ON && *seen_job == job)"),
    mutant("identity is the line, not the number", "ledger/sqlite/intake.rs",
        "let Some(job) = known.or(print.map(|_| id)) else {",
        "let known = known.filter(|_| !ON);\n        let Some(job) = known.or(print.map(|_| id)) else {"),
    mutant("the last row is lost", "ledger/sqlite/rows.rs",
        "if let Some(last) = current\n        && !each(last)?",
        "if let Some(last) = current.filter(|_| !ON)\n        && !each(last)?"),
];

/// The variable that names the mistake to be made.
pub const SWITCHED: &str = "OTPDRIVE_MUTANT";

const SWITCH: &str = "
/// Is this mistake made?
#[must_use]
pub fn mutant(name: &str) -> bool {
    static ON: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    ON.get_or_init(|| std::env::var(\"OTPDRIVE_MUTANT\").unwrap_or_default()) == name
}
";

/// A copy of the sources with all mistakes in it.
fn plant(root: &Path, garden: &Path) {
    // What has not changed since the last time is left alone, so that cargo builds the rest only.
    for folder in ["src", "tests"] {
        copy(&root.join(folder), &garden.join(folder));
    }
    for file in ["Cargo.toml", "Cargo.lock", "README.md"] {
        write(&garden.join(file), &fs::read(root.join(file)).unwrap());
    }
    let lib = fs::read_to_string(source("lib.rs")).unwrap() + SWITCH;
    write(&garden.join("src/lib.rs"), lib.as_bytes());
    let mut files: Vec<&str> = MUTANTS.iter().map(|mutant| mutant.file).collect();
    files.dedup();
    for file in files {
        let mut text = fs::read_to_string(source(file)).unwrap();
        for mutant in MUTANTS.iter().filter(|mutant| mutant.file == file) {
            let places = text.matches(mutant.right).count();
            assert_eq!(places, 1, "{}: places in src/{file}", mutant.name);
            let switch = format!("crate::mutant({:?})", mutant.name);
            text = text.replace(mutant.right, &mutant.wrong.replace("ON", &switch));
        }
        write(&garden.join("src").join(file), text.as_bytes());
    }
}

fn source(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for stale in fs::read_dir(to).unwrap() {
        let stale = stale.unwrap();
        if !from.join(stale.file_name()).exists() {
            let stale = stale.path();
            if stale.is_dir() {
                fs::remove_dir_all(stale).unwrap();
            } else {
                fs::remove_file(stale).unwrap();
            }
        }
    }
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else if !MUTANTS.iter().any(|mutant| from == source(mutant.file)) {
            write(&to, &fs::read(&from).unwrap());
        }
    }
}

fn write(path: &Path, bytes: &[u8]) {
    if fs::read(path).is_ok_and(|known| known == bytes) {
        return;
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Builds the tests there; the libraries are taken from our own build.
fn build(root: &Path, garden: &Path) -> PathBuf {
    let target = garden.join("target");
    if !target.exists() {
        fs::create_dir_all(target.join("debug")).unwrap();
        for folder in ["deps", "build", ".fingerprint"] {
            let ours = root.join("target/debug").join(folder);
            let copied = Command::new("cp")
                .arg("-a")
                .args([&ours, &target.join("debug")])
                .status();
            assert!(copied.unwrap().success());
        }
    }
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
        .env("CARGO_TARGET_DIR", &target)
        .current_dir(garden)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(built.status.success(), "the copy with all mistakes builds");
    let messages = String::from_utf8(built.stdout).unwrap();
    let program = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let of_tests = message["target"]["name"] == "it";
        let program = message["executable"].as_str()?;
        of_tests.then(|| PathBuf::from(program))
    });
    program.unwrap()
}

/// Plays some seeds with this mistake; says which seed shows it, and how.
fn first_wrong(program: &Path, name: &str, judge: Judge, seeds: u32) -> Option<String> {
    const SIMULATION: &str =
        "proof::simulate::whatever_happens_nobody_is_sent_to_twice_and_nobody_is_forgotten";
    let mut run = match judge {
        Judge::Promises => {
            let mut run = Command::new(program);
            run.args(["--ignored", "--nocapture", "--exact", SIMULATION]);
            run
        }
        Judge::Engine => {
            // They take less than a second; where an outage never ends, neither do they.
            let mut run = Command::new("timeout");
            run.arg("10").arg(program).arg("engine::");
            run
        }
    };
    let ran = run
        .env(SWITCHED, name)
        .env("OTPDRIVE_SEEDS", seeds.to_string())
        .env_remove("OTPDRIVE_SEED")
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let mut lines = said.lines();
    let wrong = lines.find(|line| line.starts_with("OTPDRIVE_SEED=") || line.ends_with("FAILED"));
    (!ran.status.success()).then(|| wrong.unwrap_or("it ended badly").to_owned())
}

#[test]
#[ignore = "tests/prove simulate"]
fn each_deliberate_mistake_is_caught() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let garden = root.join("target/mutants");
    plant(root, &garden);
    let program = build(root, &garden);
    for judge in [Judge::Promises, Judge::Engine] {
        let sound = first_wrong(&program, "none", judge, 300);
        assert_eq!(sound, None, "without a mistake nothing is wrong");
    }
    let mut survivors = Vec::new();
    for Mutant { name, judge, .. } in MUTANTS {
        let start = Instant::now();
        let wrong = first_wrong(&program, name, *judge, 2_000);
        let took = start.elapsed().as_secs_f64();
        match &wrong {
            Some(wrong) => println!("{took:>5.1} s  {name}: {}", cut(wrong)),
            None => survivors.push(*name),
        }
    }
    println!("{} mistakes, {} survive", MUTANTS.len(), survivors.len());
    assert!(survivors.is_empty(), "not caught: {survivors:#?}");
}

fn cut(text: &str) -> String {
    text.replace(" tests/prove simulate", "")
        .replace(" ... FAILED", " fails")
        .chars()
        .take(110)
        .collect()
}

//! Whose code is in the program, and under which terms.
//!
//! What `cargo deny` would check, offline and without building it: everything here is read from
//! Cargo's own account of the graph and from the lock. Whether a version was yanked since cannot be
//! known offline.

mod graph;
mod rules;

use std::path::{Path, PathBuf};
use std::process::Command;

use graph::{Lock, Metadata};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// What Cargo says of the packages that this system would build, held to the lock.
fn metadata() -> Metadata {
    let version = Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap();
    let said = Command::new(env!("CARGO"))
        .current_dir(root())
        .args([
            "metadata",
            "--locked",
            "--offline",
            "--format-version",
            "1",
            "--filter-platform",
            host,
        ])
        .output()
        .unwrap();
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
    Metadata::parse(&said.stdout)
}

fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
#[ignore = "tests/prove supply"]
fn every_crate_is_from_crates_io_and_locked_with_a_checksum() {
    let lock = Lock::parse(&read("Cargo.lock"));
    let fuzz = Lock::parse(&read("tests/fuzz/Cargo.lock"));
    assert_none(&lock.strangers(&["otpdrive"]));
    assert_none(&fuzz.strangers(&["otpdrive", "otpdrive-fuzz"]));
    assert_none(&fuzz.not_in(&lock, rules::FUZZ_ONLY));
    assert_none(&metadata().not_in(&lock));
    println!(
        "supply: {} crates in the lock, {} in that of the fuzzers",
        lock.len(),
        fuzz.len()
    );
}

#[test]
#[ignore = "tests/prove supply"]
fn every_licence_is_one_that_the_program_may_be_shipped_under() {
    let metadata = metadata();
    assert_none(&metadata.licence_problems(rules::LICENCES));
    println!("supply: the licences of {} crates fit", metadata.len());
}

#[test]
#[ignore = "tests/prove supply"]
fn no_crate_is_there_twice_without_a_reason() {
    assert_none(&metadata().duplicate_problems(rules::TWICE));
}

#[test]
#[ignore = "tests/prove supply"]
fn no_crate_runs_code_at_build_time_that_nobody_has_looked_at() {
    assert_none(&metadata().build_time_problems(rules::AT_BUILD_TIME));
}

#[test]
#[ignore = "tests/prove supply"]
fn no_crate_has_an_advisory() {
    let advisories = include_str!("advisories.txt");
    for lock in ["Cargo.lock", "tests/fuzz/Cargo.lock"] {
        assert_none(&Lock::parse(&read(lock)).advisory_problems(advisories));
    }
    let known = advisories
        .lines()
        .filter(|line| line.contains("RUSTSEC-"))
        .count();
    println!("supply: none of {known} advisories applies");
}

#[test]
#[ignore = "tests/prove supply"]
fn unsafe_code_is_forbidden_in_every_target() {
    let manifest = read("Cargo.toml");
    let (_, lints) = manifest.split_once("\n[lints.rust]\n").unwrap();
    let lints = lints.split("\n[").next().unwrap();
    assert!(lints.contains("unsafe_code = \"forbid\""), "{lints}");
    let mut files = 0;
    for path in ["src", "tests/it", "tests/fuzz"]
        .iter()
        .flat_map(|folder| sources(&root().join(folder)))
    {
        let code = std::fs::read_to_string(&path).unwrap();
        let code = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        let forms =
            [" {", " fn", " impl", " extern", " trait", "("].map(|then| ["unsafe", then].concat());
        let is_unsafe = |line: &str| forms.iter().any(|form| line.contains(form));
        assert!(!code.clone().any(is_unsafe), "{}", path.display());
        files += 1;
    }
    println!("supply: no unsafe code in {files} files");
}

/// The Rust files in a folder, at any depth.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                sources(&path)
            } else {
                vec![path]
            }
        })
        .filter(|path| path.extension().is_some_and(|ext| ext == "rs"))
        .collect()
}

#[test]
#[ignore = "tests/prove supply"]
fn every_call_of_cargo_holds_to_the_lock() {
    for file in ["tests/all", "tests/prove", ".ci/run", "README.md"] {
        assert_none(&unlocked(file, &read(file)));
    }
}

/// The lines in which Cargo may change the lock.
fn unlocked(file: &str, text: &str) -> Vec<String> {
    const RESOLVE: [&str; 8] = [
        "build", "check", "clippy", "doc", "install", "metadata", "run", "test",
    ];
    let resolves = |line: &&str| {
        line.match_indices("cargo ").any(|(at, _)| {
            let words = line[at..].split([' ', '`']).skip(1);
            let command = words.into_iter().find(|word| !word.starts_with('+'));
            command.is_some_and(|command| RESOLVE.contains(&command))
        })
    };
    let lines = text
        .lines()
        .filter(resolves)
        .filter(|line| !line.contains("--locked"));
    lines.map(|line| format!("{file}: {line}")).collect()
}

#[test]
#[ignore = "tests/prove supply"]
fn each_check_sees_what_it_is_for() {
    let lock = r#"
[[package]]
name = "otpdrive"
version = "0.1.0"

[[package]]
name = "good"
version = "1.2.3"
source = "registry+https://github.com/rust-lang/crates.io-index"
checksum = "00"

[[package]]
name = "bare"
version = "1.0.0"
source = "registry+https://github.com/rust-lang/crates.io-index"

[[package]]
name = "fork"
version = "1.0.0"
source = "git+https://example.org/fork"
"#;
    let lock = Lock::parse(lock);
    assert_eq!(lock.len(), 4);
    assert_eq!(lock.strangers(&["otpdrive"]).len(), 2);
    assert_eq!(lock.strangers(&[]).len(), 3);
    let advisories =
        "# 2026\ngood 1.2.4 A\ngood 1.2.3 B\ngood 1.10.0 C unaffected<1.3.0\nbare - D\nother - E\n";
    assert_eq!(
        lock.advisory_problems(advisories),
        [
            "good 1.2.3: A, patched in 1.2.4",
            "bare 1.0.0: D, never patched"
        ]
    );
    let metadata = r#"{"packages": [
        {"name": "a", "version": "1.0.0", "license": "MIT OR GPL-3.0", "targets": [{"kind": ["lib"]}]},
        {"name": "a", "version": "2.0.0", "license": "MIT AND GPL-3.0", "targets": [{"kind": ["custom-build"]}]},
        {"name": "b", "version": "1.0.0", "license": null, "targets": [{"kind": ["proc-macro"]}]},
        {"name": "c", "version": "1.0.0", "license": "(MIT/X) AND (Y OR Zlib)", "targets": []}
    ]}"#;
    let metadata = Metadata::parse(metadata.as_bytes());
    assert_eq!(metadata.licence_problems(&["MIT", "Zlib"]).len(), 2);
    assert_eq!(metadata.licence_problems(&["Zlib"]).len(), 4);
    assert_eq!(metadata.duplicate_problems(&[]).len(), 1);
    assert_eq!(metadata.duplicate_problems(&[("a", 2, "why")]).len(), 0);
    assert_eq!(
        metadata
            .duplicate_problems(&[("a", 2, "why"), ("b", 2, "gone")])
            .len(),
        1
    );
    assert_eq!(metadata.build_time_problems(&["a"]).len(), 1);
    assert_eq!(metadata.build_time_problems(&["a", "b", "gone"]).len(), 1);
    assert_eq!(metadata.not_in(&lock).len(), 4);
    let calls =
        "cargo fmt\ncargo test --locked\ncargo +nightly test\nsee `cargo doc`\ncargo --version";
    assert_eq!(
        unlocked("f", calls),
        ["f: cargo +nightly test", "f: see `cargo doc`"]
    );
}

//! Whose code is in the program, and under which terms.
//!
//! What `cargo deny` would check, offline and without building it: everything here is read from
//! Cargo's own account of the graph and from the lock. Whether a version was yanked since cannot be
//! known offline.

mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The packages of a `Cargo.lock`: what each says of itself.
fn lock(text: &str) -> Vec<BTreeMap<&str, &str>> {
    let packages = text.split("[[package]]\n").skip(1).map(|package| {
        let pairs = package.lines().filter_map(|line| line.split_once(" = "));
        let bare = pairs.map(|(name, value)| (name, value.trim_matches('"')));
        bare.collect()
    });
    packages.collect()
}

/// What Cargo says of the packages that this system would build, as `--locked` allows them.
fn packages() -> Vec<Value> {
    let said = |program: &str, args: &str| {
        let mut command = Command::new(program);
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        let output = command.args(args.split(' ')).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let version = said("rustc", "-vV");
    let mut lines = version.lines();
    let host = lines.find_map(|line| line.strip_prefix("host: ")).unwrap();
    let args = "metadata --locked --offline --format-version 1 --filter-platform ".to_owned();
    let metadata: Value = serde_json::from_str(&said(env!("CARGO"), &(args + host))).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn name(package: &Value) -> &str {
    package["name"].as_str().unwrap()
}

#[test]
#[ignore = "tests/prove supply"]
fn every_crate_is_from_crates_io_and_locked_with_a_checksum() {
    const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";
    let (program, fuzzers) = (read("Cargo.lock"), read("tests/fuzz/Cargo.lock"));
    let (program, fuzzers) = (lock(&program), lock(&fuzzers));
    let foreign = |package: &&BTreeMap<_, _>| package.contains_key("source");
    for package in program.iter().chain(&fuzzers).filter(foreign) {
        assert_eq!(package["source"], CRATES_IO, "{package:?}");
        assert!(package.contains_key("checksum"), "{package:?}");
    }
    let ours = program.iter().chain(&fuzzers).filter(|p| !foreign(p));
    let ours: Vec<&str> = ours.map(|package| package["name"]).collect();
    assert_eq!(ours, ["otpdrive", "otpdrive", "otpdrive-fuzz"]);
    // The fuzzers lock the same versions.
    let others = fuzzers.iter().filter(|package| {
        let same =
            |p: &BTreeMap<_, _>| ["name", "version"].iter().all(|key| p[key] == package[key]);
        !program.iter().any(same)
    });
    let others: Vec<&str> = others.map(|package| package["name"]).collect();
    assert_eq!(others, rules::FUZZ_ONLY);
    let (program, fuzzers) = (program.len(), fuzzers.len());
    println!("supply: {program} crates in the lock, {fuzzers} in that of the fuzzers");
}

#[test]
#[ignore = "tests/prove supply"]
fn every_licence_is_one_that_the_program_may_be_shipped_under() {
    let packages = packages();
    let terms = packages.iter().map(|package| package["license"].as_str());
    let found: BTreeSet<&str> = terms.map(|terms| terms.unwrap_or("none")).collect();
    assert_eq!(found, rules::LICENCES.lines().collect());
    println!("supply: the licences of {} crates fit", packages.len());
}

#[test]
#[ignore = "tests/prove supply"]
fn no_crate_is_there_twice_without_a_reason() {
    let packages = packages();
    let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
    for package in &packages {
        *versions.entry(name(package)).or_default() += 1;
    }
    versions.retain(|_, n| *n > 1);
    let listed = rules::TWICE.iter().map(|(name, n, _)| (*name, *n));
    assert_eq!(versions, listed.collect());
}

#[test]
#[ignore = "tests/prove supply"]
fn no_crate_runs_code_at_build_time_that_nobody_has_looked_at() {
    let packages = packages();
    // Build scripts and macros.
    let kinds = ["custom-build", "proc-macro"];
    let runs = |target: &Value| kinds.iter().any(|kind| target["kind"][0] == *kind);
    let found = packages.iter().filter(|package| {
        let targets = package["targets"].as_array().unwrap();
        targets.iter().any(runs)
    });
    let found: BTreeSet<&str> = found.map(name).collect();
    assert_eq!(found, rules::AT_BUILD_TIME.split_whitespace().collect());
}

/// Lines of `crate first-patched id [unaffected<version]` that apply to one of the packages.
fn that_apply<'a>(advisories: &'a str, lock: &[BTreeMap<&str, &str>]) -> Vec<&'a str> {
    let applies = |line: &&str| {
        let words: Vec<&str> = line.split(' ').collect();
        let unaffected = words
            .get(3)
            .map_or("0", |word| &word["unaffected<".len()..]);
        let mut packages = lock.iter().filter(|package| package["name"] == words[0]);
        packages.any(|package| {
            let version = numbers(package["version"]);
            let patched = words[1] != "-" && version >= numbers(words[1]);
            version >= numbers(unaffected) && !patched
        })
    };
    let lines = advisories.lines().filter(|line| !line.starts_with('#'));
    lines.filter(applies).collect()
}

/// `1.10.2-rc.1+x` as numbers in order.
fn numbers(version: &str) -> Vec<u64> {
    let release = version.split(['-', '+']).next().unwrap();
    release
        .split('.')
        .map(|number| number.parse().unwrap())
        .collect()
}

#[test]
#[ignore = "tests/prove supply"]
fn no_crate_has_an_advisory() {
    let advisories = include_str!("advisories.txt");
    for file in ["Cargo.lock", "tests/fuzz/Cargo.lock"] {
        assert_eq!(
            that_apply(advisories, &lock(&read(file))),
            [""; 0],
            "{file}"
        );
    }
    println!(
        "supply: none of {} advisories applies",
        advisories.matches(" RUSTSEC-").count()
    );

    let made_up = "[[package]]\nname = \"good\"\nversion = \"1.2.3\"\nchecksum = \"00\"\n\n\
                   [[package]]\nname = \"bare\"\nversion = \"1.0.0-rc.1\"\n";
    let advisories =
        "# 2026\ngood 1.2.4 A\ngood 1.2.3 B\ngood 1.10.0 C unaffected<1.3.0\nbare - D\nother - E";
    assert_eq!(
        that_apply(advisories, &lock(made_up)),
        ["good 1.2.4 A", "bare - D"]
    );
}

#[test]
#[ignore = "tests/prove supply"]
fn unsafe_code_is_forbidden() {
    let manifest = read("Cargo.toml");
    let (_, lints) = manifest.split_once("\n[lints.rust]\n").unwrap();
    // For every target, and no `allow` can take it back.
    assert!(lints.starts_with("unsafe_code = \"forbid\"\n"), "{lints}");
}

#[test]
#[ignore = "tests/prove supply"]
fn every_call_of_cargo_holds_to_the_lock() {
    const RESOLVING: &str = "build check clippy doc install metadata run test";
    let resolves = |line: &&str| {
        let words = line
            .split([' ', '`', '"'])
            .filter(|word| !word.starts_with('+'));
        let words: Vec<&str> = words.collect();
        let mut pairs = words.windows(2);
        pairs.any(|pair| pair[0] == "cargo" && RESOLVING.split(' ').any(|name| name == pair[1]))
    };
    let mut found = 0;
    for file in ["tests/all", "tests/prove", ".ci/run", "README.md"] {
        for line in read(file).lines().filter(resolves) {
            assert!(line.contains("--locked"), "{file}: {line}");
            found += 1;
        }
    }
    assert!(found >= 8, "{found} calls");
}

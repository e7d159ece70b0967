//! Whose code is in the program, and under which terms.
//!
//! What `cargo deny` would check, offline and without building it: everything here is read from
//! Cargo's own account of the graph and from the lock. Whether a version was yanked since cannot be
//! known offline.

mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// A package of a `Cargo.lock`.
struct Locked {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
}

fn lock(text: &str) -> Vec<Locked> {
    let packages = text.split("[[package]]\n").skip(1).map(|package| {
        let value = |key: &str| {
            let mut pairs = package.lines().filter_map(|line| line.split_once(" = "));
            let (_, value) = pairs.find(|(name, _)| *name == key)?;
            Some(value.trim_matches('"').to_owned())
        };
        Locked {
            name: value("name").unwrap(),
            version: value("version").unwrap(),
            source: value("source"),
            checksum: value("checksum"),
        }
    });
    packages.collect()
}

/// What Cargo says of a package that this system would build.
#[derive(serde::Deserialize)]
struct Package {
    name: String,
    license: Option<String>,
    targets: Vec<Target>,
}

#[derive(serde::Deserialize)]
struct Target {
    kind: Vec<String>,
}

impl Package {
    /// A build script or a macro.
    fn runs_at_build_time(&self) -> bool {
        let mut kinds = self.targets.iter().flat_map(|target| &target.kind);
        kinds.any(|kind| kind == "custom-build" || kind == "proc-macro")
    }
}

/// The packages, as `--locked` allows them.
fn packages() -> Vec<Package> {
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
    let metadata = said(env!("CARGO"), &(args + host));
    let mut metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    serde_json::from_value(metadata["packages"].take()).unwrap()
}

#[test]
#[ignore = "tests/prove supply"]
fn every_crate_is_from_crates_io_and_locked_with_a_checksum() {
    let (program, fuzzers) = (
        lock(&read("Cargo.lock")),
        lock(&read("tests/fuzz/Cargo.lock")),
    );
    let mut ours = Vec::new();
    for package in program.iter().chain(&fuzzers) {
        match package.source.as_deref() {
            None => ours.push(package.name.as_str()),
            Some(source) => {
                let crates_io = "registry+https://github.com/rust-lang/crates.io-index";
                assert_eq!(source, crates_io, "{}", package.name);
                assert!(package.checksum.is_some(), "{}", package.name);
            }
        }
    }
    assert_eq!(ours, ["otpdrive", "otpdrive", "otpdrive-fuzz"]);
    let locked: BTreeSet<_> = program.iter().map(|p| (&p.name, &p.version)).collect();
    let others = fuzzers
        .iter()
        .filter(|p| !locked.contains(&(&p.name, &p.version)));
    let others: Vec<&str> = others.map(|package| package.name.as_str()).collect();
    assert_eq!(
        others,
        rules::FUZZ_ONLY,
        "the fuzzers lock the program's versions"
    );
    let (program, fuzzers) = (program.len(), fuzzers.len());
    println!("supply: {program} crates in the lock, {fuzzers} in that of the fuzzers");
}

#[test]
#[ignore = "tests/prove supply"]
fn every_licence_is_one_that_the_program_may_be_shipped_under() {
    let packages = packages();
    let found = packages
        .iter()
        .map(|p| p.license.as_deref().unwrap_or(&p.name));
    let found: BTreeSet<&str> = found.collect();
    assert_eq!(found, rules::LICENCES.lines().collect());
    println!("supply: the licences of {} crates fit", packages.len());
}

#[test]
#[ignore = "tests/prove supply"]
fn no_crate_is_there_twice_without_a_reason() {
    let packages = packages();
    let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
    for package in &packages {
        *versions.entry(&package.name).or_default() += 1;
    }
    versions.retain(|_, n| *n > 1);
    let listed = rules::TWICE.iter().map(|(name, n, _)| (*name, *n));
    assert_eq!(versions, listed.collect());
}

#[test]
#[ignore = "tests/prove supply"]
fn no_crate_runs_code_at_build_time_that_nobody_has_looked_at() {
    let packages = packages();
    let found = packages
        .iter()
        .filter(|package| package.runs_at_build_time());
    let found: BTreeSet<&str> = found.map(|package| package.name.as_str()).collect();
    assert_eq!(found, rules::AT_BUILD_TIME.split_whitespace().collect());
}

/// Lines of `crate first-patched id [unaffected<version]` that apply to one of the packages.
fn that_apply<'a>(advisories: &'a str, lock: &[Locked]) -> Vec<&'a str> {
    let applies = |line: &&str| {
        let words: Vec<&str> = line.split(' ').collect();
        let unaffected = words
            .get(3)
            .map(|word| word.strip_prefix("unaffected<").unwrap());
        lock.iter()
            .filter(|package| package.name == words[0])
            .any(|package| {
                let version = numbers(&package.version);
                let before = unaffected.is_some_and(|first| version < numbers(first));
                !before && (words[1] == "-" || version < numbers(words[1]))
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

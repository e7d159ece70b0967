//! A lock and Cargo's account of the graph, and what can be wrong with them.

use std::collections::{BTreeMap, BTreeSet};

/// The packages of a `Cargo.lock`.
pub struct Lock(Vec<Locked>);

struct Locked {
    name: String,
    version: String,
    source: Option<String>,
    checksum: bool,
}

impl Lock {
    pub fn parse(text: &str) -> Self {
        let packages = text.split("[[package]]\n").skip(1).map(|package| {
            let value = |key: &str| {
                let found = package
                    .lines()
                    .find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
                found.map(|value| value.trim_matches('"').to_owned())
            };
            Locked {
                name: value("name").unwrap(),
                version: value("version").unwrap(),
                source: value("source"),
                checksum: value("checksum").is_some(),
            }
        });
        Self(packages.collect())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Packages that are neither ours nor from crates.io with a checksum.
    pub fn strangers(&self, ours: &[&str]) -> Vec<String> {
        const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";
        let known = |package: &&Locked| match package.source.as_deref() {
            None => ours.contains(&package.name.as_str()),
            Some(source) => source == CRATES_IO && package.checksum,
        };
        let strangers = self.0.iter().filter(|package| !known(package));
        let say = |package: &Locked| {
            format!("{} {}: {:?}", package.name, package.version, package.source)
        };
        strangers.map(say).collect()
    }

    /// Packages that the other lock does not hold in this version.
    pub fn not_in(&self, other: &Self, but: &[&str]) -> Vec<String> {
        let missing = self.0.iter().filter(|package| {
            !but.contains(&package.name.as_str()) && !other.holds(&package.name, &package.version)
        });
        missing
            .map(|package| format!("{} {} is in one lock only", package.name, package.version))
            .collect()
    }

    fn holds(&self, name: &str, version: &str) -> bool {
        self.0
            .iter()
            .any(|package| package.name == name && package.version == version)
    }

    /// Packages to which a line of `crate first-patched id [unaffected<version]` applies.
    pub fn advisory_problems(&self, advisories: &str) -> Vec<String> {
        let mut problems = Vec::new();
        for line in advisories.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split(' ').collect();
            let [name, patched, id, rest @ ..] = &words[..] else {
                panic!("no advisory: {line}");
            };
            for package in self.0.iter().filter(|package| package.name == *name) {
                let version = numbers(&package.version);
                let before = rest
                    .first()
                    .and_then(|rest| rest.strip_prefix("unaffected<"));
                if before.is_some_and(|before| version < numbers(before)) {
                    continue;
                }
                let since = match *patched {
                    "-" => "never patched".to_owned(),
                    patched if version >= numbers(patched) => continue,
                    patched => format!("patched in {patched}"),
                };
                problems.push(format!("{name} {}: {id}, {since}", package.version));
            }
        }
        problems
    }
}

/// `1.10.2-rc.1+x` as numbers in order.
fn numbers(version: &str) -> Vec<u64> {
    let release = version.split(['-', '+']).next().unwrap_or_default();
    release
        .split('.')
        .map(|number| number.parse().unwrap())
        .collect()
}

/// What `cargo metadata` says.
pub struct Metadata(Vec<Package>);

struct Package {
    name: String,
    version: String,
    licence: Option<String>,
    at_build_time: bool,
}

impl Metadata {
    pub fn parse(json: &[u8]) -> Self {
        let metadata: serde_json::Value = serde_json::from_slice(json).unwrap();
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let packages = metadata["packages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|package| {
                let targets = package["targets"].as_array().unwrap();
                let mut kinds = targets
                    .iter()
                    .flat_map(|target| target["kind"].as_array().unwrap());
                Package {
                    name: text(&package["name"]).unwrap(),
                    version: text(&package["version"]).unwrap(),
                    licence: text(&package["license"]),
                    at_build_time: kinds.any(|kind| kind == "custom-build" || kind == "proc-macro"),
                }
            });
        Self(packages.collect())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn not_in(&self, lock: &Lock) -> Vec<String> {
        let missing = self
            .0
            .iter()
            .filter(|package| !lock.holds(&package.name, &package.version));
        missing
            .map(|package| format!("{} {} is not in the lock", package.name, package.version))
            .collect()
    }

    pub fn licence_problems(&self, allowed: &[&str]) -> Vec<String> {
        let fits = |package: &&Package| {
            package
                .licence
                .as_deref()
                .is_some_and(|licence| may(licence, allowed))
        };
        let others = self.0.iter().filter(|package| !fits(package));
        others
            .map(|package| {
                format!(
                    "{} {}: {:?}",
                    package.name, package.version, package.licence
                )
            })
            .collect()
    }

    /// Crates in more versions than the list allows, and lines of the list that are out of date.
    pub fn duplicate_problems(&self, allowed: &[(&str, usize, &str)]) -> Vec<String> {
        let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for package in &self.0 {
            versions
                .entry(&package.name)
                .or_default()
                .insert(&package.version);
        }
        let allowed: BTreeMap<&str, usize> =
            allowed.iter().map(|(name, n, _)| (*name, *n)).collect();
        let names: BTreeSet<&str> = versions.keys().chain(allowed.keys()).copied().collect();
        let count = |name: &str| versions.get(name).map_or(0, BTreeSet::len);
        let differ = names
            .into_iter()
            .filter(|name| count(name) != allowed.get(name).copied().unwrap_or(1));
        differ
            .map(|name| format!("{name}: {:?}, not as listed", versions.get(name)))
            .collect()
    }

    /// Crates that run code while others are built and are not listed, and listed ones that are gone.
    pub fn build_time_problems(&self, listed: &[&str]) -> Vec<String> {
        let found = self.0.iter().filter(|package| package.at_build_time);
        let found: BTreeSet<&str> = found.map(|package| package.name.as_str()).collect();
        let listed: BTreeSet<&str> = listed.iter().copied().collect();
        let differ = found.symmetric_difference(&listed);
        differ
            .map(|name| format!("{name}: found and listed must be the same"))
            .collect()
    }
}

/// Does an SPDX expression leave a choice in which every licence is allowed? `/` is an old `OR`.
fn may(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut words = &words[..];
    let may = any(&mut words, allowed);
    may && words.is_empty()
}

fn any(words: &mut &[&str], allowed: &[&str]) -> bool {
    let mut may = all(words, allowed);
    while let ["OR", rest @ ..] = *words {
        *words = rest;
        may |= all(words, allowed);
    }
    may
}

fn all(words: &mut &[&str], allowed: &[&str]) -> bool {
    let mut may = one(words, allowed);
    while let ["AND", rest @ ..] = *words {
        *words = rest;
        may &= one(words, allowed);
    }
    may
}

fn one(words: &mut &[&str], allowed: &[&str]) -> bool {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let may = any(words, allowed);
            *words = words.strip_prefix(&[")"]).expect("a closing bracket");
            may
        }
        [licence, "WITH", exception, rest @ ..] => {
            *words = rest;
            allowed.contains(&format!("{licence} WITH {exception}").as_str())
        }
        [licence, rest @ ..] => {
            *words = rest;
            allowed.contains(licence)
        }
        [] => false,
    }
}

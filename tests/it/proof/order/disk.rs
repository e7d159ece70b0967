//! What a power cut would leave, told from the calls alone, and the judge that looks at it whenever
//! a request leaves.
//!
//! The worst case is assumed throughout: what was written after a file's last `fsync` began is gone;
//! a file whose folder was not synced since it was made has no name; a deleted one is back. The
//! rest is put into a folder of its own, opened with SQLite (which recovers the log by itself, as it
//! would after the power cut), and has to hold the intent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::trace::{Event, events};
use crate::support::Counts;
use crate::support::facts::{Facts, ledger_facts};

/// What the judge found.
#[derive(Debug, Default)]
pub struct Finding {
    /// Requests that left.
    pub requests: usize,
    /// What was not as it has to be.
    pub violations: Vec<String>,
}

/// Files and what is in them, by path.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// The ledger's files in a folder, as they are now.
pub fn ledger_files(folder: &Path) -> Files {
    let folder = folder.canonicalize().unwrap();
    let paths = LEDGER.map(|name| folder.join(name));
    let read = |path: PathBuf| std::fs::read(&path).ok().map(|bytes| (path, bytes));
    paths.into_iter().filter_map(read).collect()
}

/// All of SQLite's files but the one that is only memory.
const LEDGER: [&str; 3] = ["otpdrive.db", "otpdrive.db-wal", "otpdrive.db-journal"];

fn is_ledger(path: &Path) -> bool {
    LEDGER.iter().any(|name| path.ends_with(name))
}

fn is_result(path: &Path) -> bool {
    path.ends_with("results.csv") || path.ends_with("report.json")
}

/// Looks at a whole trace of a run that began with these files.
pub fn judge(trace: &str, before: &Files) -> Finding {
    let mut disk = Disk::default();
    for (path, bytes) in before {
        let (now, durable) = (bytes.clone(), bytes.clone());
        let file = File {
            now,
            durable,
            is_named: true,
            ..File::default()
        };
        disk.files.insert(path.clone(), file);
    }
    let mut finding = Finding::default();
    let earlier = read(before).unwrap_or_default();
    let earlier = earlier
        .into_iter()
        .map(|(number, facts)| (number, facts.len()));
    let mut asked: BTreeMap<_, _> = earlier.collect();
    for event in events(trace) {
        if let Some((number, lane)) = request(&event) {
            finding.requests += 1;
            let nth = asked.entry(number).or_default();
            *nth += 1;
            let lack = disk.lacks_intent(number, lane, *nth);
            finding.violations.extend(lack);
        }
        disk.check_renaming(&event, &mut finding);
        disk.see(&event);
    }
    for (path, file) in disk.files.iter().filter(|(path, _)| is_result(path)) {
        if !file.is_named {
            let why = format!(
                "{}'s folder was not synced after the renaming",
                path.display()
            );
            finding.violations.push(why);
        }
    }
    finding
}

/// Cuts the power so many times in the course of a trace of a run that began without a ledger. Of
/// what was written and not synced, all, nothing, or a random part has reached the disk. Each time
/// `go_on` is given what is left of the ledger's files, and who had been asked by then.
pub fn cut(trace: &str, times: usize, mut go_on: impl FnMut(Files, &Counts)) {
    let mut random = fastrand::Rng::with_seed(41);
    let events = events(trace);
    let is_moment = |at: &usize| {
        let path = events[*at].path();
        path.is_some_and(|path| is_ledger(&path)) || request(&events[*at]).is_some()
    };
    let moments = (0..events.len()).filter(is_moment);
    let chosen: BTreeSet<_> = random.choose_multiple(moments, times).into_iter().collect();
    let (mut disk, mut asked) = (Disk::default(), Counts::new());
    for (at, event) in events.iter().enumerate() {
        if let Some((number, _)) = request(event) {
            *asked.entry(format!("+{number}")).or_default() += 1;
        }
        disk.see(event);
        if chosen.contains(&at) {
            let share = [0.0, 0.3, 0.7, 1.0][random.usize(..4)];
            go_on(disk.after_a_cut(|| random.f64() < share), &asked);
        }
    }
}

/// Whom a request is about, and its lane, when this is where its first byte leaves.
fn request(event: &Event) -> Option<(u64, i64)> {
    if event.returned.is_some() || !event.path()?.to_str()?.starts_with("socket:") {
        return None;
    }
    let sent = String::from_utf8(event.strings().concat()).ok()?;
    let target = sent.strip_prefix("GET ")?.split(' ').next()?;
    let (path, query) = target.split_once('?')?;
    let mut lanes = ["smsotp", "callotp", "verifyotp"].iter();
    let lane = lanes.position(|lane| path.ends_with(lane))?;
    let (_, phone) = query.split_once("phone_no=")?;
    let phone = phone.split('&').next()?;
    let phone = match phone.strip_prefix("%2B") {
        Some(international) => international.to_owned(),
        None => format!("91{phone}"),
    };
    Some((phone.parse().ok()?, i64::try_from(lane).ok()?))
}

/// The unit of which a disk has written all or nothing.
const SECTOR: usize = 512;

/// A file: as the program sees it, as it was when the latest sync began, as it surely is on the disk.
#[derive(Clone, Default)]
struct File {
    now: Vec<u8>,
    syncing: Vec<u8>,
    durable: Vec<u8>,
    /// Its name is surely on the disk.
    is_named: bool,
    /// It was deleted, but may come back.
    is_deleted: bool,
}

impl File {
    fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        self.now.resize(self.now.len().max(end), 0);
        self.now[at..end].copy_from_slice(bytes);
    }

    /// What is on the disk when only some of the sectors that were not synced are.
    fn after_a_cut(&self, mut is_lucky: impl FnMut() -> bool) -> Vec<u8> {
        let mut left = self.durable.clone();
        if left.len() != self.now.len() && is_lucky() {
            left.resize(self.now.len(), 0);
        }
        for (old, new) in left.chunks_mut(SECTOR).zip(self.now.chunks(SECTOR)) {
            if old.len() == new.len() && old != new && is_lucky() {
                old.copy_from_slice(new);
            }
        }
        left
    }
}

#[derive(Default)]
struct Disk {
    files: BTreeMap<PathBuf, File>,
    /// What the ledger on the disk says; read again when that has changed.
    facts: Option<Result<Facts, String>>,
}

impl Disk {
    /// Follows one call.
    fn see(&mut self, event: &Event) {
        let path = event.path().unwrap_or_default();
        let is_sync = matches!(event.call.as_str(), "fsync" | "fdatasync");
        let file = self.files.get_mut(&path);
        let Some(done) = event.returned else {
            if let (true, Some(file)) = (is_sync, file) {
                file.syncing.clone_from(&file.now);
            }
            return;
        };
        let Ok(done) = usize::try_from(done) else {
            return;
        };
        let mut written = event.strings().concat();
        if event.call.contains("write") && written.len() < done {
            // The room that is made for the log is longer than what strace shows.
            assert!(written.iter().all(|byte| *byte == 0));
            written.resize(done, 0);
        }
        match (event.call.as_str(), file) {
            ("open" | "openat" | "creat", _) => self.opened(event),
            ("rename" | "renameat" | "renameat2", _) => {
                let [from, to] = named(event).try_into().unwrap();
                if let Some(mut file) = self.files.remove(&from) {
                    file.is_named = false;
                    self.files.insert(to, file);
                }
            }
            ("unlink" | "unlinkat", _) => {
                if let Some(file) = self.files.get_mut(&named(event)[0]) {
                    file.is_deleted = true;
                }
            }
            (_, Some(file)) if is_sync => {
                file.durable.clone_from(&file.syncing);
                self.facts = None;
            }
            (_, None) if is_sync => self.folder_synced(&path),
            (_, None) => {}
            ("pwrite64", Some(file)) => file.write(event.number(0), &written[..done]),
            // They are only ever written from the beginning to the end.
            ("write" | "writev", Some(file)) => file.write(file.now.len(), &written[..done]),
            ("ftruncate", Some(file)) => file.now.resize(event.number(0), 0),
            ("fallocate", Some(file)) => file.write(event.number(1) + event.number(0), &[]),
            (call, Some(_)) => panic!("{call} changes a file, and the judge cannot follow it"),
        }
    }

    fn opened(&mut self, event: &Event) {
        // The result, with `-y`, would name it as well; this is the name that was asked for.
        let Some(path) = named(event).pop() else {
            return;
        };
        let is_there = self.files.get(&path).is_some_and(|file| !file.is_deleted);
        if event.args.contains("O_CREAT") && !is_there {
            self.files.insert(path, File::default());
        }
    }

    fn folder_synced(&mut self, folder: &Path) {
        self.facts = None;
        let is_in = |path: &Path| path.parent() == Some(folder);
        self.files
            .retain(|path, file| !(file.is_deleted && is_in(path)));
        for (_, file) in self.files.iter_mut().filter(|(path, _)| is_in(path)) {
            file.is_named = true;
        }
    }

    /// A file of results is whole and durable before it gets its name.
    fn check_renaming(&self, event: &Event, finding: &mut Finding) {
        let begins = event.call.starts_with("rename") && event.returned.is_none();
        let names = if begins { named(event) } else { Vec::new() };
        if names.last().is_some_and(|to| is_result(to)) {
            let is_whole = |file: &File| !file.now.is_empty() && file.durable == file.now;
            if !self.files.get(&names[0]).is_some_and(is_whole) {
                let why = format!("{} got its name before it was durable", names[0].display());
                finding.violations.push(why);
            }
        }
    }

    /// Would the ledger, after a power cut now, not know that the `nth` request for this number is
    /// on its way, and what became of those before?
    fn lacks_intent(&mut self, number: u64, lane: i64, nth: usize) -> Option<String> {
        if self.facts.is_none() {
            self.facts = Some(read(&self.after_a_cut(|| false)));
        }
        let found = match self.facts.as_ref()? {
            Ok(facts) => facts.get(&number).map_or(&[][..], Vec::as_slice),
            Err(why) => return Some(format!("request of {number}: {why}")),
        };
        let is_open = |n: &usize| !found[*n].is_answered;
        let open: Vec<_> = (0..found.len()).filter(is_open).collect();
        let is_there = found.len() == nth && open == [nth - 1] && found[nth - 1].lane == lane;
        (!is_there).then(|| format!("request {nth} of {number}, {lane}: the disk holds {found:?}"))
    }

    /// The ledger's files; whether something that was not synced is on the disk nevertheless is a
    /// matter of luck.
    fn after_a_cut(&self, mut is_lucky: impl FnMut() -> bool) -> Files {
        let mut files = Files::new();
        for (path, file) in self.files.iter().filter(|(path, _)| is_ledger(path)) {
            let is_gone = !file.is_named && !is_lucky() || file.is_deleted && is_lucky();
            if !is_gone {
                files.insert(path.clone(), file.after_a_cut(&mut is_lucky));
            }
        }
        files
    }
}

/// Writes these files into a folder.
pub fn write(files: &Files, folder: &Path) {
    for (path, bytes) in files {
        std::fs::write(folder.join(path.file_name().unwrap()), bytes).unwrap();
    }
}

/// What the ledger says that these files make.
fn read(files: &Files) -> Result<Facts, String> {
    let folder = tempfile::tempdir().unwrap();
    write(files, folder.path());
    ledger_facts(&folder.path().join(LEDGER[0])).map_err(|error| error.to_string())
}

/// The paths that a call names by strings, made absolute by what strace says of the folder.
fn named(event: &Event) -> Vec<PathBuf> {
    let folder = event.path().unwrap_or_else(|| PathBuf::from("/"));
    let tidy = |path: PathBuf| path.components().filter(|c| c.as_os_str() != ".").collect();
    let texts = event.strings().into_iter();
    let texts = texts.map(|text| String::from_utf8(text).unwrap());
    texts.map(|text| tidy(folder.join(text))).collect()
}

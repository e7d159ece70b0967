//! What a power cut would leave, told from the calls alone, and the judge that looks at it whenever
//! a request leaves.
//!
//! The worst case is assumed throughout: what was written after a file's last `fsync` began is gone;
//! a file whose folder was not synced since it was made has no name; a deleted one is back. The
//! rest is put into a folder of its own, opened with SQLite (which recovers the log by itself, as it
//! would after the power cut), and has to hold the intent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::trace::{Event, events};

/// What the judge found.
#[derive(Debug, Default)]
pub struct Finding {
    /// Requests that left.
    pub requests: usize,
    /// Result files that were given their names.
    pub published: usize,
    /// What was not as it has to be.
    pub violations: Vec<String>,
}

/// Files and what is in them, by path.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// The ledger's files in a folder, as they are now.
pub fn ledger_files(folder: &Path) -> Files {
    let folder = folder.canonicalize().unwrap();
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| is_ledger(path))
        .map(|path| (path.clone(), std::fs::read(&path).unwrap()))
        .collect()
}

/// All of SQLite's files but the one that is only memory.
fn is_ledger(path: &Path) -> bool {
    ["otpdrive.db", "otpdrive.db-wal", "otpdrive.db-journal"]
        .iter()
        .any(|name| path.ends_with(name))
}

fn is_result(path: &Path) -> bool {
    path.ends_with("results.csv") || path.ends_with("report.json")
}

/// Looks at a whole trace of a run that began with these files.
pub fn judge(trace: &str, before: &Files) -> Finding {
    let mut disk = Disk::new(before);
    let mut finding = Finding::default();
    let mut asked: BTreeMap<u64, u32> = BTreeMap::new();
    for event in events(trace) {
        if let Some((number, lane)) = request(&event) {
            finding.requests += 1;
            let nth = asked.entry(number).or_default();
            *nth += 1;
            if let Err(why) = disk.holds_intent(number, lane, *nth) {
                let n = finding.requests;
                finding
                    .violations
                    .push(format!("request {n}, {number}, {lane}: {why}"));
            }
        }
        disk.see(&event, &mut finding);
    }
    let unsafe_names = disk
        .files
        .iter()
        .filter(|(path, file)| is_result(path) && !file.named);
    for (path, _) in unsafe_names {
        let why = format!(
            "the folder of {} was not synced after the renaming",
            path.display()
        );
        finding.violations.push(why);
    }
    finding
}

/// What a power cut left of the ledger's files.
pub struct Cut {
    pub files: Files,
    /// Who had been asked by then, as digits.
    pub asked: BTreeSet<u64>,
}

/// Cuts the power so many times in the course of a trace of a run that began without a ledger. Of
/// what was written and not synced, all, nothing, or a random part has reached the disk.
pub fn cuts(trace: &str, times: usize, random: &mut fastrand::Rng) -> Vec<Cut> {
    let events = events(trace);
    let is_about_ledger = |event: &Event| event.path().is_some_and(|path| is_ledger(&path));
    let moments = (0..events.len())
        .filter(|at| is_about_ledger(&events[*at]) || request(&events[*at]).is_some());
    let chosen: BTreeSet<usize> = random.choose_multiple(moments, times).into_iter().collect();
    let mut disk = Disk::new(&Files::new());
    let mut asked = BTreeSet::new();
    let mut cuts = Vec::new();
    for (at, event) in events.iter().enumerate() {
        asked.extend(request(event).map(|(number, _)| number));
        disk.see(event, &mut Finding::default());
        if chosen.contains(&at) {
            let share = [0.0, 0.3, 0.7, 1.0][random.usize(..4)];
            let mut lucky = || random.f64() < share;
            let files = disk.files_after_a_cut(&mut lucky);
            let asked = asked.clone();
            cuts.push(Cut { files, asked });
        }
    }
    cuts
}

/// Whom a request is about, and its lane, when this is where its first byte leaves.
fn request(event: &Event) -> Option<(u64, i64)> {
    if event.returned || !event.path()?.to_str()?.starts_with("socket:") {
        return None;
    }
    let sent = event.strings().concat();
    let sent = std::str::from_utf8(&sent).ok()?;
    let target = sent.strip_prefix("GET ")?.split(' ').next()?;
    let (path, query) = target.split_once('?')?;
    let lane = ["smsotp", "callotp", "verifyotp"]
        .iter()
        .position(|lane| path.ends_with(lane))?;
    let phone = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("phone_no="))?;
    let phone = match phone.strip_prefix("%2B") {
        Some(international) => international.to_owned(),
        None => format!("91{phone}"),
    };
    Some((phone.parse().ok()?, i64::try_from(lane).ok()?))
}

enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

#[derive(Default)]
struct Shadow {
    changes: Vec<Change>,
    /// So many changes were there when the sync that is under way began.
    syncing: usize,
    /// So many changes are surely on the disk.
    durable: usize,
    /// What those make of the file; `done` of them are in it.
    content: Vec<u8>,
    done: usize,
    /// Where the next plain `write` goes.
    end: usize,
    /// Its name is surely on the disk.
    named: bool,
    /// It was deleted, but may come back.
    deleted: bool,
}

impl Shadow {
    fn change(&mut self, change: Change) {
        self.changes.push(change);
    }

    fn durable_content(&mut self) -> &[u8] {
        for change in &self.changes[self.done..self.durable] {
            change.apply(&mut self.content);
        }
        self.done = self.durable;
        &self.content
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Length(length) => content.resize(*length, 0),
            Self::Write(at, bytes) => {
                let (at, end) = (*at, *at + bytes.len());
                content.resize(content.len().max(end), 0);
                content[at..end].copy_from_slice(bytes);
            }
        }
    }
}

struct Disk {
    files: BTreeMap<PathBuf, Shadow>,
    /// The ledger as the disk holds it, opened; remade when that has changed.
    image: Option<(tempfile::TempDir, Connection)>,
}

impl Disk {
    fn new(before: &Files) -> Self {
        let shadow = |(path, content): (&PathBuf, &Vec<u8>)| {
            let shadow = Shadow {
                content: content.clone(),
                named: true,
                ..Shadow::default()
            };
            (path.clone(), shadow)
        };
        Self {
            files: before.iter().map(shadow).collect(),
            image: None,
        }
    }

    /// Follows one call.
    fn see(&mut self, event: &Event, finding: &mut Finding) {
        let path = event.path();
        let is_sync = matches!(event.call.as_str(), "fsync" | "fdatasync");
        if !event.returned {
            if is_sync && let Some(file) = path.and_then(|path| self.files.get_mut(&path)) {
                file.syncing = file.changes.len();
            }
            if event.call.starts_with("rename") {
                self.check_renaming(event, finding);
            }
            return;
        }
        if event.result < 0 {
            return;
        }
        match event.call.as_str() {
            "open" | "openat" | "creat" => self.opened(event),
            "fsync" | "fdatasync" => self.synced(&path.unwrap()),
            "unlink" | "unlinkat" => {
                let path = named(event).pop().unwrap();
                if let Some(file) = self.files.get_mut(&path) {
                    file.deleted = true;
                }
            }
            "rename" | "renameat" | "renameat2" => self.renamed(event),
            _ => self.changed(event, path),
        }
    }

    fn opened(&mut self, event: &Event) {
        // The result, with `-y`, would name it as well; this is the name that was asked for.
        let Some(path) = named(event).pop() else {
            return;
        };
        let makes =
            event.args.contains("O_CREAT") && self.files.get(&path).is_none_or(|f| f.deleted);
        if makes {
            self.files.insert(path, Shadow::default());
        }
    }

    fn changed(&mut self, event: &Event, path: Option<PathBuf>) {
        let Some(file) = path.and_then(|path| self.files.get_mut(&path)) else {
            return;
        };
        let done = usize::try_from(event.result).unwrap();
        match event.call.as_str() {
            "pwrite64" => {
                let mut bytes = event.strings().concat();
                bytes.truncate(done);
                let at = event.number(0).unwrap();
                file.change(Change::Write(at, bytes));
            }
            "write" | "writev" => {
                let mut bytes = event.strings().concat();
                bytes.truncate(done);
                let at = file.end;
                file.end += bytes.len();
                file.change(Change::Write(at, bytes));
            }
            "ftruncate" => file.change(Change::Length(event.number(0).unwrap())),
            other => panic!("{other} changes a file, and the judge cannot follow it"),
        }
    }

    fn synced(&mut self, path: &Path) {
        self.image = None;
        if let Some(file) = self.files.get_mut(path) {
            file.durable = file.syncing;
            return;
        }
        // A folder.
        self.files
            .retain(|name, file| !(file.deleted && name.parent() == Some(path)));
        let inside = self
            .files
            .iter_mut()
            .filter(|(name, _)| name.parent() == Some(path));
        inside.for_each(|(_, file)| file.named = true);
    }

    fn check_renaming(&self, event: &Event, finding: &mut Finding) {
        let names = named(event);
        if !names.last().is_some_and(|to| is_result(to)) {
            return;
        }
        finding.published += 1;
        let whole = |file: &Shadow| !file.changes.is_empty() && file.durable == file.changes.len();
        if !self.files.get(&names[0]).is_some_and(whole) {
            let why = format!("{} got its name before it was durable", names[0].display());
            finding.violations.push(why);
        }
    }

    fn renamed(&mut self, event: &Event) {
        let names = named(event);
        if let Some(mut file) = self.files.remove(&names[0]) {
            file.named = false;
            self.files.insert(names[1].clone(), file);
        }
    }

    /// Would the ledger, after a power cut now, know that the `nth` request for this number is on
    /// its way, and what became of those before?
    fn holds_intent(&mut self, number: u64, lane: i64, nth: u32) -> Result<(), String> {
        if self.image.is_none() {
            self.image = Some(self.power_cut()?);
        }
        let (_, db) = self.image.as_ref().unwrap();
        let mut select = db
            .prepare(
                "SELECT a.lane, a.answered_at IS NOT NULL FROM attempt a JOIN contact c ON c.id = a.job
                  WHERE c.number = ?1 ORDER BY a.n",
            )
            .map_err(|error| error.to_string())?;
        let found = select.query_map([number.cast_signed()], |row| Ok((row.get(0)?, row.get(1)?)));
        let found: Vec<(i64, bool)> = found.unwrap().map(Result::unwrap).collect();
        let open = found.iter().filter(|(_, answered)| !answered).count();
        match found.last() {
            Some(&(on, false)) if on == lane && open == 1 && found.len() == nth as usize => Ok(()),
            _ => Err(format!(
                "the disk holds {found:?}, and this is request {nth}"
            )),
        }
    }

    /// The ledger's files; whether something that was not synced is on the disk nevertheless is
    /// asked of `lucky`.
    fn files_after_a_cut(&mut self, lucky: &mut impl FnMut() -> bool) -> Files {
        let mut files = Files::new();
        for (path, file) in &mut self.files {
            let has_name = file.named || lucky();
            let is_gone = file.deleted && lucky();
            if !is_ledger(path) || !has_name || is_gone {
                continue;
            }
            let mut content = file.durable_content().to_vec();
            for change in file.changes[file.durable..].iter().filter(|_| lucky()) {
                change.apply(&mut content);
            }
            files.insert(path.clone(), content);
        }
        files
    }

    fn power_cut(&mut self) -> Result<(tempfile::TempDir, Connection), String> {
        let folder = tempfile::tempdir().unwrap();
        for (path, file) in &mut self.files {
            if is_ledger(path) && file.named {
                let name = path.file_name().unwrap();
                std::fs::write(folder.path().join(name), file.durable_content()).unwrap();
            }
        }
        let path = folder.path().join("otpdrive.db");
        if !path.exists() {
            return Err("there is no ledger on the disk".to_owned());
        }
        let db = Connection::open(path).map_err(|error| error.to_string())?;
        Ok((folder, db))
    }
}

/// The paths that a call names by strings, made absolute by what strace says of the folder.
fn named(event: &Event) -> Vec<PathBuf> {
    let texts = event.strings();
    let texts = texts
        .iter()
        .map(|text| String::from_utf8_lossy(text).into_owned());
    let folder = event.path().unwrap_or_else(|| PathBuf::from("/"));
    let tidy = |path: PathBuf| path.components().filter(|c| c.as_os_str() != ".").collect();
    texts.map(|text| tidy(folder.join(text))).collect()
}

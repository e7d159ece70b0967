//! The files of a run, looked at before anything is made: no output is the input or the ledger, and
//! what holds secrets is nobody else's.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};

use super::config::Config;
use super::screen::Screen;
use crate::report::{REPORT_HTML, REPORT_JSON, RESULTS_CSV};
use crate::text::{shell_word, visible};

/// Looks at the names of all lists before any is read.
///
/// # Errors
/// When a suppression list is not there, or is the list to send to.
pub fn ensure_lists(config: &Config) -> anyhow::Result<()> {
    let input = Place::of_input(&config.input);
    let stdin = Path::new("-");
    for list in &config.exclude {
        let shown = list.to_string_lossy();
        let shown = visible(&shown);
        ensure!(
            !input.is(&Place::of_input(list)) && (list != stdin || config.input != stdin),
            "--exclude {shown} is the input itself, so everybody would be left out: name another list, or leave --exclude out"
        );
        if list != stdin {
            let found = fs::metadata(list);
            let found = found.with_context(|| format!("--exclude {shown}: cannot be opened"))?;
            ensure!(
                !found.is_dir(),
                "--exclude {shown}: is a directory; name the CSV file in it"
            );
        }
    }
    Ok(())
}

/// Refuses a run that would replace its own input, ledger or key file.
///
/// # Errors
/// When an output is one of them, by whatever name, or the ledger is the input.
pub fn ensure_apart(config: &Config, out: &Path) -> anyhow::Result<()> {
    let ledger = config.ledger.file();
    ensure!(
        ledger.is_none_or(|file| own(config, &Place::of(file)) != Some("input")),
        "the ledger {} is the input itself: name another with --ledger. Nothing was sent, and the file is as it was",
        config.ledger
    );
    if let Some(file) = out.ancestors().find(|place| place.exists()) {
        ensure!(
            file.is_dir(),
            "cannot make the folder {}: Not a directory: {}. Name another one with --out. Nothing was sent",
            out.display(),
            file.display()
        );
    }
    let results = [RESULTS_CSV, REPORT_JSON, REPORT_HTML].map(|name| out.join(name));
    let metrics = config.metrics_file.iter();
    let outputs = results.iter().map(|path| (path, "folder with --out"));
    for (path, another) in outputs.chain(metrics.map(|path| (path, "file with --metrics-file"))) {
        if let Some(what) = own(config, &Place::of(path)) {
            bail!(
                "{} is the {what} itself, and would be replaced: name another {another}. Nothing was sent, and the file is as it was",
                path.display()
            );
        }
    }
    ensure_metrics_apart(config, &results)
}

/// # Errors
/// When the metrics would replace a result file.
fn ensure_metrics_apart(config: &Config, results: &[PathBuf]) -> anyhow::Result<()> {
    let Some(metrics) = &config.metrics_file else {
        return Ok(());
    };
    let place = Place::of(metrics);
    if let Some(other) = results.iter().find(|other| Place::of(other).is(&place)) {
        bail!(
            "--metrics-file is {}, which has its own purpose: name another file. Nothing was sent",
            other.display()
        );
    }
    Ok(())
}

/// Refuses to write the rows that cannot be used over something else.
///
/// # Errors
/// When the file is one of the run's own or a result file, by whatever name, or no file.
pub fn ensure_can_be_replaced(config: &Config, problems: &Path, out: &Path) -> anyhow::Result<()> {
    let (shown, place) = (problems.display(), Place::of(problems));
    let results = [RESULTS_CSV, REPORT_JSON, REPORT_HTML].map(|name| Place::of(&out.join(name)));
    let result = results.iter().any(|result| result.is(&place));
    if let Some(what) = own(config, &place).or(result.then_some("result file")) {
        bail!(
            "--problems {shown} is the {what} itself, and would be replaced: name another file. Nothing was sent, and the file is as it was"
        );
    }
    let is_file = fs::metadata(problems).map_or(true, |found| found.is_file());
    ensure!(
        is_file,
        "--problems {shown} is no file: name one, such as bad.csv. Nothing was sent"
    );
    Ok(())
}

/// Which file of the run's own this is, if it is one.
fn own(config: &Config, place: &Place) -> Option<&'static str> {
    let mut inputs = vec![Place::of_input(&config.input)];
    inputs.extend(config.exclude.iter().map(|list| Place::of(list)));
    let key_file = config.key_file.as_deref().map(Place::of);
    let ledger = config.ledger.file();
    let beside = ["-wal", "-shm", ".otpdrive-lock"].map(|end| {
        let mut path = ledger?.to_owned().into_os_string();
        path.push(end);
        Some(PathBuf::from(path))
    });
    let mut settings = config.settings_file.iter();
    if inputs.iter().any(|input| input.is(place)) {
        Some("input")
    } else if ledger.is_some_and(|file| Place::of(file).is(place)) {
        Some("ledger")
    } else if beside
        .iter()
        .flatten()
        .any(|path| Place::of(path).is(place))
    {
        Some("ledger's log or lock")
    } else if settings.any(|file| Place::of(file).is(place)) {
        Some("file of settings")
    } else if key_file.is_some_and(|file| file.is(place)) {
        Some("key file")
    } else {
        None
    }
}

/// Says which of the files that hold the key, codes and numbers are open to others.
pub fn warn_of_readers(config: &Config, screen: &Screen) {
    let ledger = ("ledger", config.ledger.file());
    for (what, path) in [ledger, ("key file", config.key_file.as_deref())] {
        if let Some(path) = path
            && let Ok(found) = fs::metadata(path)
            && found.is_file()
            && found.mode() & 0o077 != 0
        {
            let path = path.to_string_lossy();
            let word = shell_word(&path);
            let (shown, word) = (visible(&path), visible(&word));
            screen.say(&format!(
                "warning: the {what} {shown} is open to other users of this machine: `chmod 600 {word}` closes it"
            ));
        }
    }
}

/// Where a file is, whatever it is called.
struct Place {
    /// Device and inode, if it is there.
    file: Option<(u64, u64)>,
    /// Where it would be made: device and inode of the folder, and its name there. Some file systems
    /// take no notice of case.
    name: Option<((u64, u64), OsString)>,
}

impl Place {
    fn of(path: &Path) -> Self {
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let folder = fs::metadata(folder).ok().map(|folder| id(&folder));
        let name = path.file_name().map(OsStr::to_ascii_lowercase);
        Self {
            file: fs::metadata(path).ok().map(|file| id(&file)),
            name: folder.zip(name),
        }
    }

    /// Of a file, or of what stdin was redirected from.
    fn of_input(path: &Path) -> Self {
        if path != Path::new("-") {
            return Self::of(path);
        }
        let stdin = io::stdin().as_fd().try_clone_to_owned();
        let stdin = stdin.and_then(|stdin| File::from(stdin).metadata());
        Self {
            file: stdin.ok().filter(Metadata::is_file).map(|file| id(&file)),
            name: None,
        }
    }

    /// Is it the same file?
    fn is(&self, other: &Self) -> bool {
        match (self.file, other.file) {
            (Some(file), Some(other)) => file == other,
            // One that is not there yet.
            (None, None) => self.name.is_some() && self.name == other.name,
            _ => false,
        }
    }
}

fn id(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

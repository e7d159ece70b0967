//! Lists as they really arrive: the files of `tests/ugly`, and what is right for each of their rows.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Cursor, Read as _, Write as _};
use std::path::{Path, PathBuf};

use otpdrive::contacts::{self, ReadOptions};
use otpdrive::job::{Channel, Operation, Problem};

use crate::support::stub::Stub;
use crate::support::workdir::Workdir;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ugly")
}

/// The files and the line of their header, as far as `expected` names it.
pub fn files() -> Vec<(PathBuf, Option<u64>)> {
    let expected = std::fs::read_to_string(folder().join("expected")).unwrap();
    let heads = expected.lines().filter(|line| !line.starts_with(' '));
    heads
        .map(|head| match head.split_once(" --header-line ") {
            Some((name, line)) => (folder().join(name), Some(line.parse().unwrap())),
            None => (folder().join(head), None),
        })
        .collect()
}

/// A row of a file: its line, what is asked for, its cells as CSV.
pub struct Row {
    pub line: u64,
    pub outcome: String,
    pub record: String,
}

/// What a file is and holds.
pub struct List {
    pub format: String,
    pub delimiter: char,
    pub header: String,
    pub rows: Vec<Row>,
}

/// Reads a file; or why it is refused.
pub fn read(path: &Path, header_line: Option<u64>) -> Result<List, String> {
    let mut options = ReadOptions::new(Operation::Send, Channel::Sms);
    options.header_line = header_line.and_then(std::num::NonZeroU64::new);
    let mut file = contacts::open(path, options).map_err(|e| e.to_string())?;
    let survey = file.survey().map_err(|e| e.to_string())?;
    let mut rows = Vec::new();
    for contact in file.contacts(&survey).map_err(|e| e.to_string())? {
        let contact = contact.map_err(|e| e.to_string())?;
        let outcome = match &contact.request {
            Ok(asked) => format!("{} {}", asked.number.e164(), asked.lane.name()),
            Err(Problem(why)) => format!("invalid: {why}"),
        };
        let (line, record) = (contact.line, contact.record);
        rows.push(Row {
            line,
            outcome,
            record,
        });
    }
    let mut format = survey.format;
    for note in &survey.notes {
        let _ = write!(format, "; {note}");
    }
    Ok(List {
        format,
        delimiter: survey.delimiter,
        header: survey.header,
        rows,
    })
}

#[test]
fn each_row_of_an_ugly_file_is_read_as_it_should_be() {
    let mut actual = String::new();
    for (path, header_line) in files() {
        let name = path.file_name().unwrap().to_string_lossy();
        let _ = match header_line {
            Some(line) => writeln!(actual, "{name} --header-line {line}"),
            None => writeln!(actual, "{name}"),
        };
        let shown = |text: &str| text.replace('\n', "\\n").replace('\r', "\\r");
        match read(&path, header_line) {
            Ok(list) => {
                let _ = writeln!(actual, "  {}\n    {}", list.format, shown(&list.header));
                for row in list.rows {
                    let record = shown(&row.record);
                    let _ = writeln!(actual, "{:>4} {record}  ->  {}", row.line, row.outcome);
                }
            }
            Err(why) => {
                let why = why.strip_prefix(&format!("{}: ", path.display()));
                let _ = writeln!(actual, "  refused: {}", why.unwrap());
            }
        }
    }
    let path = folder().join("expected");
    let expected = std::fs::read_to_string(&path).unwrap();
    if expected != actual {
        let seen = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ugly");
        std::fs::write(&seen, actual).unwrap();
        panic!("diff {} {}", path.display(), seen.display());
    }
}

#[test]
fn every_ugly_file_has_its_expectation() {
    let names = std::fs::read_dir(folder()).unwrap();
    let mut names: Vec<PathBuf> = names.map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| !path.ends_with("expected") && !path.ends_with("make.py"));
    names.sort();
    let mut expected: Vec<PathBuf> = files().into_iter().map(|(path, _)| path).collect();
    expected.sort();
    expected.dedup();
    assert_eq!(names, expected);
    assert!(names.len() >= 40);
}

#[test]
fn a_workbook_and_a_pipe_of_gzip_are_sent_to_and_said_to_be_what_they_are() {
    let stub = Stub::start();
    let dir = Workdir::new();
    let name = folder().join("two-sheets.xlsx");
    let ran = dir.send(&stub).input(name.to_str().unwrap()).ends(0);
    for said in ["Excel workbook, sheet \"Leads\"", "1 other is not"] {
        assert!(ran.stderr.contains(said), "no {said:?} in {}", ran.stderr);
    }
    let report: serde_json::Value =
        serde_json::from_str(&dir.read("two-sheets-results/report.json")).unwrap();
    let digest = ring::digest::digest(&ring::digest::SHA256, &std::fs::read(&name).unwrap());
    let digest = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    assert_eq!(report["input"]["sha256"], digest.collect::<String>());
    let piped = format!(
        "cat '{}' | \"$@\"",
        folder().join("members.csv.gz").display()
    );
    let send = dir.send(&stub).input("-").flags("--campaign piped");
    let ran = send.in_shell(&piped).ends(0);
    assert!(ran.stderr.contains("gzip, UTF-8, commas"), "{}", ran.stderr);
    assert_eq!(stub.count(), 3);
}

/// The same workbook with some bytes of its parts changed, as a sound zip file.
fn with_changes(workbook: &Path, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut old = zip::ZipArchive::new(File::open(workbook).unwrap()).unwrap();
    let mut new = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for part in 0..old.len() {
        let mut part = old.by_index(part).unwrap();
        let mut bytes = Vec::new();
        part.read_to_end(&mut bytes).unwrap();
        for _ in 0..random.usize(..3) {
            let at = random.usize(..bytes.len());
            match random.u8(..4) {
                0 => bytes[at] = random.u8(..),
                1 => bytes[at] = random.choice(*b"<>/\"&;09AZaz").unwrap(),
                2 => bytes.truncate(at.max(1)),
                _ => bytes.extend_from_within(at..),
            }
        }
        let name = part.name().unwrap();
        let stored = zip::write::SimpleFileOptions::default();
        let stored = stored.compression_method(zip::CompressionMethod::Stored);
        new.start_file(name, stored).unwrap();
        new.write_all(&bytes).unwrap();
    }
    new.finish().unwrap().into_inner()
}

#[test]
fn a_damaged_file_is_read_or_refused_and_never_more_than_that() {
    let dir = Workdir::new();
    let path = dir.path("damaged");
    let mut random = fastrand::Rng::with_seed(7);
    let (mut sound, mut refused) = (0, 0);
    for (file, header_line) in files() {
        let whole = std::fs::read(&file).unwrap();
        let is_workbook = whole.starts_with(b"PK") && read(&file, header_line).is_ok();
        for n in 0..8 {
            let mut bytes = whole.clone();
            if is_workbook && n % 4 > 0 {
                bytes = with_changes(&file, &mut random);
            } else {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
            std::fs::write(&path, bytes).unwrap();
            match read(&path, header_line) {
                Ok(_) => sound += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(sound > 60 && refused > 150, "{sound} {refused}");
}

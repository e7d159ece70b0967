//! The cells of the ugly files against Python's csv and openpyxl, which `tests/prove` installs.

use serde_json::json;

use super::oracle::ask;
use crate::front_door::ugly::{List, files, read};

/// The line of a row and its cells; none where the judge cannot tell.
type Row = (u64, Vec<Option<String>>);

/// The cells of a record.
fn cells(record: &str) -> Vec<String> {
    let mut csv = csv::ReaderBuilder::new();
    let mut csv = csv.has_headers(false).from_reader(record.as_bytes());
    let row = csv.records().next().unwrap().unwrap();
    row.iter().map(str::to_owned).collect()
}

/// The cells that both have are the same, and all others are empty.
fn assert_same(ours: &[String], theirs: &[Option<String>], of: &str) -> usize {
    for i in 0..ours.len().max(theirs.len()) {
        let (ours, theirs) = (ours.get(i), theirs.get(i));
        if let Some(theirs) = theirs.unwrap_or(&Some(String::new())) {
            assert_eq!(ours.unwrap_or(&String::new()), theirs, "cell {i} of {of}");
        }
    }
    theirs.len()
}

#[test]
#[ignore = "tests/prove fuzz"]
fn the_cells_of_each_ugly_file_are_those_that_others_read() {
    let lists = files().into_iter().filter_map(|(path, header_line)| {
        let list = read(&path, header_line).ok()?;
        Some((path, header_line.unwrap_or(1), list))
    });
    let lists: Vec<_> = lists.collect();
    let questions = lists.iter().map(|(path, header_line, list)| {
        let delimiter = list.delimiter.to_string();
        json!([path, delimiter, header_line])
    });
    let judged: Vec<Vec<Row>> = ask("cells.py", &questions.collect::<Vec<_>>());
    let (mut rows, mut compared) = (0, 0);
    for ((path, _, list), theirs) in lists.iter().zip(judged) {
        let List {
            header, rows: ours, ..
        } = list;
        let of = |line: u64| format!("line {line} of {}", path.display());
        assert_eq!(theirs.len(), ours.len() + 1, "{}", path.display());
        compared += assert_same(&cells(header), &theirs[0].1, &of(theirs[0].0));
        for (ours, (line, theirs)) in ours.iter().zip(&theirs[1..]) {
            assert_eq!(ours.line, *line, "{}", path.display());
            compared += assert_same(&cells(&ours.record), theirs, &of(*line));
            rows += 1;
        }
    }
    let files = lists.len();
    println!(
        "fuzz cells: {compared} cells in {rows} rows of {files} files, as csv and openpyxl read them"
    );
    assert!(files >= 35 && rows >= 70);
}

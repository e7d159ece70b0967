//! The result files: pure renderings of what the ledger knows, made when a run ends and again at
//! any time, from a killed run too.
//!
//! Each rendering is a small file of its own that turns facts into bytes; [`mod@write`] is the only
//! one that touches files. Nothing here is ever read back, and nothing here knows the ledger: rows
//! come from whoever calls, one at a time, and are not kept.

pub mod json;
pub mod pace;
pub mod results;
#[cfg(test)]
mod samples;
pub mod write;

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

use crate::outcome::{Status, UnixMicros};
use crate::record::{CampaignRecord, End, Row, RunRecord};
use crate::summary::Summary;
use json::Report;
pub use pace::Pace;
use results::Results;
use write::{Draft, publish};
pub use write::{WriteError, make_folder};

/// The file with one line for each row of the input.
pub const RESULTS_CSV: &str = "results.csv";

/// The file with the account of the campaign, for machines.
pub const REPORT_JSON: &str = "report.json";

/// What a report is about, beside the rows.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The campaign.
    pub campaign: &'a CampaignRecord,
    /// Its latest run.
    pub run: &'a RunRecord,
    /// The rate which that run had to keep; `None`: unlimited.
    pub limit_per_s: Option<f64>,
    /// How fast that run's requests left.
    pub pace: &'a Pace,
}

/// What is done with each row. `Break` asks for no more rows, because a file cannot be written;
/// whoever hands out the rows just returns then, and need not know why.
pub type Visit<'a> = dyn FnMut(&Row) -> ControlFlow<()> + 'a;

/// No result files, or wrong ones. `E` is the error of whoever hands out the rows.
#[derive(Debug, thiserror::Error)]
pub enum ReportError<E> {
    /// The rows could not be read; the files are as they were.
    #[error(transparent)]
    Rows(E),
    /// A file could not be written; unless its last step failed, renaming, the files are as they
    /// were.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The rows could not be printed.
    #[error("cannot print the rows: {0}")]
    Print(#[source] io::Error),
    /// A bug: rows were lost, or a run calls itself complete with rows left over. The files were
    /// written, so that a person can look.
    #[error(
        "the accounts do not balance: the input has {rows} rows, {written} were written and \
         {counted} counted, and {left_over} are pending though the run calls itself complete. This \
         is a bug in otpdrive: please report it, and keep the ledger and the result files"
    )]
    Unbalanced {
        /// Rows of the input.
        rows: u64,
        /// Lines of `results.csv`, without the header.
        written: u64,
        /// The sum of the counts in `report.json`.
        counted: u64,
        /// Rows that are pending though the run calls itself complete.
        left_over: u64,
    },
}

/// Writes all result files into `folder`, in one pass over the rows, and then checks that the
/// accounts balance.
///
/// `each_row` hands every row of the input, in input order, to what it is given.
///
/// # Errors
///
/// When rows cannot be read or files cannot be written; [`ReportError::Unbalanced`] when rows are
/// missing or left over.
pub fn write_all<E>(
    folder: &Path,
    facts: &Facts<'_>,
    each_row: impl FnOnce(&mut Visit<'_>) -> Result<(), E>,
) -> Result<Summary, ReportError<E>> {
    make_folder(folder)?;
    let mut summary = Summary::default();
    let mut csv = Draft::new(folder, RESULTS_CSV)?;
    let mut results = Results::new(&mut csv, &facts.campaign.input.header);
    let written = visit(each_row, |row| {
        let outcome = row.outcome();
        summary.add(row, &outcome);
        results.row(row, &outcome)
    })
    .map_err(ReportError::Rows)?
    .and_then(|()| results.finish())
    .map_err(|source| csv.error(source))?;

    let mut json = Draft::new(folder, REPORT_JSON)?;
    json.write_all(Report::new(facts, &summary).to_json().as_bytes())
        .map_err(|source| json.error(source))?;
    publish(folder, [csv, json])?;
    balance(facts, written, &summary)?;
    Ok(summary)
}

/// Prints the rows with one of these statuses as `results.csv` has them: a valid next input.
/// Returns how many there were.
///
/// # Errors
///
/// When rows cannot be read or printed.
pub fn print_only<E>(
    out: impl Write,
    header: &str,
    only: &[Status],
    each_row: impl FnOnce(&mut Visit<'_>) -> Result<(), E>,
) -> Result<u64, ReportError<E>> {
    let mut results = Results::new(out, header);
    visit(each_row, |row| {
        let outcome = row.outcome();
        if only.contains(&outcome.status) {
            results.row(row, &outcome)?;
        }
        Ok(())
    })
    .map_err(ReportError::Rows)?
    .and_then(|()| results.finish())
    .map_err(ReportError::Print)
}

/// Every row to `take`, until it fails. Its failure is the one that counts: whatever the source
/// says after it was told to stop, is because of that.
fn visit<E>(
    each_row: impl FnOnce(&mut Visit<'_>) -> Result<(), E>,
    mut take: impl FnMut(&Row) -> io::Result<()>,
) -> Result<io::Result<()>, E> {
    let mut taken = Ok(());
    let read = each_row(&mut |row| {
        if taken.is_ok() {
            taken = take(row);
        }
        match taken {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    match taken {
        Ok(()) => read.map(Ok),
        Err(error) => Ok(Err(error)),
    }
}

/// Every row of the input was written and counted once, and no complete run leaves any over.
fn balance<E>(facts: &Facts<'_>, written: u64, summary: &Summary) -> Result<(), ReportError<E>> {
    let rows = facts.campaign.input.rows;
    let counted = summary.counts().total();
    let left_over = match facts.run.end {
        Some(End::Complete) => summary.counts()[Status::Pending],
        _ => 0,
    };
    if rows == written && rows == counted && left_over == 0 {
        return Ok(());
    }
    Err(ReportError::Unbalanced {
        rows,
        written,
        counted,
        left_over,
    })
}

/// Adds a time as RFC 3339, UTC, with milliseconds; nothing when it lies beyond the year 9999.
fn push_time(out: &mut Vec<u8>, at: UnixMicros) {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
    if let Ok(time) = Timestamp::from_microsecond(at.0) {
        PRINTER
            .print_timestamp(&time, out)
            .expect("a Vec takes everything");
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::fs;

    use super::*;
    use crate::record::Signal;

    /// A source of rows as a ledger is one: it stops when told to.
    fn source<E>(
        rows: &[Row],
        end: Result<(), E>,
    ) -> impl FnOnce(&mut Visit<'_>) -> Result<(), E> + '_
    where
        E: 'static,
    {
        move |visit| {
            for row in rows {
                if visit(row).is_break() {
                    return Ok(());
                }
            }
            end
        }
    }

    fn write_samples(folder: &Path, end: Option<End>, rows: &[Row]) -> Result<(), String> {
        let campaign = samples::campaign();
        let mut run = samples::run();
        run.end = end;
        let facts = Facts {
            campaign: &campaign,
            run: &run,
            limit_per_s: Some(10.0),
            pace: &Pace::default(),
        };
        write_all(folder, &facts, source(rows, Ok::<(), Infallible>(())))
            .map(|_| ())
            .map_err(|error| error.to_string())
    }

    fn text(folder: &Path, name: &str) -> String {
        fs::read_to_string(folder.join(name)).unwrap()
    }

    const INTERRUPTED: Option<End> = Some(End::Interrupted(Signal::Sigint));

    #[test]
    fn both_files_tell_of_the_same_rows() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("new/results");
        write_samples(&folder, INTERRUPTED, &samples::rows()).unwrap();
        assert_eq!(text(&folder, RESULTS_CSV).lines().count(), 7);
        let report: serde_json::Value = serde_json::from_str(&text(&folder, REPORT_JSON)).unwrap();
        assert_eq!(report["rows"], 6);
        assert_eq!(report["counts"]["pending"], 1);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    }

    #[test]
    fn a_lost_row_does_not_balance_and_the_files_are_there_to_look_at() {
        let folder = tempfile::tempdir().unwrap();
        let rows = &samples::rows()[1..];
        let error = write_samples(folder.path(), INTERRUPTED, rows).unwrap_err();
        assert!(error.contains("6 rows, 5 were written"), "{error}");
        assert_eq!(text(folder.path(), RESULTS_CSV).lines().count(), 6);
        assert!(text(folder.path(), REPORT_JSON).contains("\"rows\": 6"));
    }

    #[test]
    fn a_complete_run_with_pending_rows_does_not_balance_and_is_not_called_complete() {
        let folder = tempfile::tempdir().unwrap();
        let end = Some(End::Complete);
        let error = write_samples(folder.path(), end, &samples::rows()).unwrap_err();
        assert!(error.contains("1 are pending though"), "{error}");
        assert!(!text(folder.path(), REPORT_JSON).contains("complete"));
    }

    #[test]
    fn rows_that_fail_halfway_leave_the_old_files_untouched() {
        let folder = tempfile::tempdir().unwrap();
        for name in [RESULTS_CSV, REPORT_JSON] {
            fs::write(folder.path().join(name), "old").unwrap();
        }
        let (campaign, run) = (samples::campaign(), samples::run());
        let facts = Facts {
            campaign: &campaign,
            run: &run,
            limit_per_s: None,
            pace: &Pace::default(),
        };
        let broken = Err(io::Error::other("disk image is malformed"));
        let rows = samples::rows();
        let error = write_all(folder.path(), &facts, source(&rows, broken)).unwrap_err();
        assert!(matches!(error, ReportError::Rows(_)));
        assert_eq!(text(folder.path(), RESULTS_CSV), "old");
        assert_eq!(text(folder.path(), REPORT_JSON), "old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn only_the_rows_asked_for_are_printed() {
        let mut out = Vec::new();
        let rows = samples::rows();
        let only = [Status::Rejected, Status::Unknown];
        let source = source(&rows, Ok::<(), Infallible>(()));
        let printed = print_only(&mut out, "phone,name", &only, source).unwrap();
        assert_eq!(printed, 2);
        let out = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("phone,name,otp_phone,"));
        assert!(lines[1].starts_with("9876543212,C,"));
        assert!(lines[2].starts_with("9876543214,E,"));
    }

    #[test]
    fn a_writer_that_fails_stops_the_rows_and_is_what_is_reported() {
        for obeys in [true, false] {
            let (mut seen, mut taken) = (0, 0);
            let rows = samples::rows();
            let each_row = |visit: &mut Visit<'_>| {
                for row in &rows {
                    seen += 1;
                    if visit(row).is_break() && obeys {
                        break;
                    }
                }
                Err(io::Error::other("stopped"))
            };
            let result = visit(each_row, |_| {
                taken += 1;
                Err(io::ErrorKind::BrokenPipe.into())
            });
            let error = result.unwrap().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
            assert_eq!(taken, 1, "nothing is written behind what is missing");
            assert_eq!(seen, if obeys { 1 } else { rows.len() });
        }
    }

    #[test]
    fn what_was_written_and_what_was_counted_must_each_be_the_input() {
        let (campaign, run) = (samples::campaign(), samples::run());
        let facts = Facts {
            campaign: &campaign,
            run: &run,
            limit_per_s: None,
            pace: &Pace::default(),
        };
        let mut summary = Summary::default();
        for row in &samples::rows() {
            summary += row;
        }
        assert!(balance::<Infallible>(&facts, 6, &summary).is_ok());
        assert!(balance::<Infallible>(&facts, 5, &summary).is_err());
        summary += &samples::pending();
        assert!(balance::<Infallible>(&facts, 6, &summary).is_err());
    }

    #[test]
    fn times_are_utc_with_milliseconds() {
        let time = |micros| {
            let mut out = Vec::new();
            push_time(&mut out, UnixMicros(micros));
            String::from_utf8(out).unwrap()
        };
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(1_795_165_201_123_999), "2026-11-20T09:00:01.123Z");
        assert_eq!(time(i64::MAX), "");
    }
}

//! The result files: pure renderings of what the ledger knows, made when a run ends and again at
//! any time, from a killed run too.
//!
//! Each rendering is a small file of its own that turns input into bytes; [`mod@write`] is the only
//! one that touches files. Nothing here is ever read back, and nothing here knows the ledger: rows
//! come from whoever calls, one at a time, and are not kept.

pub mod answers;
pub mod commands;
pub mod funnel;
pub mod html;
pub mod json;
pub mod metrics;
pub mod pace;
pub mod results;
#[cfg(test)]
pub(crate) mod tests;
pub mod timeline;
pub mod write;

use std::io::{self, Write};
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::path::Path;

use crate::calendar::{self, Bounds, Calendar};
use crate::clock;
use crate::job::UnixMicros;
use crate::record::{CampaignRecord, Row, RunRecord};
use crate::run::{End, Runs};
use crate::status::Status;
use crate::summary::Summary;
use funnel::Funnel;
use json::Report;
use results::{Form, Results};
use timeline::Timeline;
use write::{Draft, publish};
pub use write::{WriteError, ensure_writable, make_folder, replace_public};

/// The file with one line for each row of the input.
pub const RESULTS_CSV: &str = "results.csv";

/// The file with the account of the campaign, for machines.
pub const REPORT_JSON: &str = "report.json";

/// The file with the same for people.
pub const REPORT_HTML: &str = "report.html";

/// What a report is about, beside the rows.
#[derive(Clone, Copy, Debug)]
pub struct ReportInput<'a> {
    /// The campaign.
    pub campaign: &'a CampaignRecord,
    /// Its latest run.
    pub run: &'a RunRecord,
    /// Its latest run that made requests, or else its latest: one that finds nothing to do takes
    /// nothing away.
    pub at_work: &'a RunRecord,
    /// When its first run began.
    pub first_started_at: UnixMicros,
    /// All its runs with what turned up in them.
    pub runs: &'a Runs,
    /// Numbers that were attempted and that the input has no more.
    pub earlier: &'a Summary,
    /// The ledger as commands have to name it; `None`: it is the default one.
    pub ledger: Option<&'a Path>,
    /// What came of the OTPs whose codes it checks; of one that sends there is none.
    pub funnel: Option<&'a Funnel>,
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

/// What bound a run to hours and days, by its settings.
#[must_use]
pub fn hours(settings: &serde_json::Value) -> Calendar {
    let bounds = |window: &str, cap: &str| Bounds {
        window: settings[window]
            .as_str()
            .and_then(|window| window.parse().ok()),
        daily_cap: settings[cap].as_u64().and_then(NonZeroU64::new),
    };
    let zone = settings["timezone"].as_str().map(calendar::zone);
    Calendar {
        zone: zone
            .and_then(Result::ok)
            .unwrap_or(Calendar::default().zone),
        all: bounds("window", "daily_cap"),
        calls: bounds("call_window", "call_daily_cap"),
    }
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
    input: &ReportInput<'_>,
    form: Form,
    timeline: &mut Timeline,
    each_row: impl FnOnce(&mut Visit<'_>) -> Result<(), E>,
) -> Result<Summary, ReportError<E>> {
    make_folder(folder)?;
    let mut summary = Summary::default();
    let mut csv = Draft::new(folder, RESULTS_CSV)?;
    let mut results = Results::new(&mut csv, input.campaign, form);
    let written = visit(each_row, |row| {
        let outcome = row.outcome(input.runs);
        summary.add(row, &outcome);
        timeline.add(row, input.runs);
        results.row(row, &outcome)
    })
    .map_err(ReportError::Rows)?
    .and_then(|()| results.finish())
    .map_err(|source| csv.error(source))?;

    let mut json = Draft::new(folder, REPORT_JSON)?;
    let report = Report::new(input, &summary, timeline);
    json.write_all(report.to_json().as_bytes())
        .map_err(|source| json.error(source))?;
    let mut html = Draft::new(folder, REPORT_HTML)?;
    let page = html::page(input, &summary, timeline, clock::wall());
    html.write_all(page.as_bytes())
        .map_err(|source| html.error(source))?;
    publish(folder, [csv, json, html])?;
    balance(input, written, &summary)?;
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
    campaign: &CampaignRecord,
    form: Form,
    only: &[Status],
    runs: &Runs,
    each_row: impl FnOnce(&mut Visit<'_>) -> Result<(), E>,
) -> Result<u64, ReportError<E>> {
    let mut results = Results::new(out, campaign, form);
    visit(each_row, |row| {
        let outcome = row.outcome(runs);
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
fn balance<E>(
    input: &ReportInput<'_>,
    written: u64,
    summary: &Summary,
) -> Result<(), ReportError<E>> {
    let rows = input.campaign.input.rows;
    let counted = summary.counts().total();
    let left_over = match input.run.end {
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

//! What is said when a run has ended: what became of the rows, where the files are, what to do next.

use std::path::Path;

use super::terminal::{INDENT_NARROW, NARROW, Paint};
use crate::figures::{count, counted, in_words, millis, share, trimmed};
use crate::job::Operation;
use crate::report::commands;
use crate::report::json::State;
use crate::report::timeline::{Timeline, covered};
use crate::report::{REPORT_HTML, REPORT_JSON, RESULTS_CSV, ReportInput};
use crate::run::{End, WhenUncertain};
use crate::status::Status;
use crate::summary::Summary;
use crate::text::{columns, folded, visible};

/// The width of the names of the lines, but where a status has a longer one.
const NAMES: usize = 9;

/// Most messages that are named in a line.
const MESSAGES_MAX: usize = 2;

/// How a campaign stands at the end of a run.
pub struct Closing<'a> {
    /// The campaign, fit to be shown.
    pub name: String,
    /// What is known of it.
    pub input: &'a ReportInput<'a>,
    /// Its rows.
    pub summary: &'a Summary,
    /// When its latest run worked and waited.
    pub timeline: &'a Timeline,
    /// Where the files are.
    pub folder: &'a Path,
}

/// A line, and what its first word is painted as.
pub type Line = (Paint, String);

impl Closing<'_> {
    /// All of it, in lines of at most `most` columns as far as no word is longer.
    pub fn lines(&self, most: usize) -> Vec<Line> {
        let counts = self.summary.counts();
        let there = || counts.iter().filter(|(_, n)| *n > 0);
        let names = there().map(|(status, _)| status.name().len()).max();
        let table = Table {
            names: names.unwrap_or(0).max(NAMES),
            figures: count(counts.total()).len(),
            most,
        };
        let head = folded(self.head(), [0; 2], "", most).into_iter();
        let mut lines: Vec<Line> = head.map(|line| (Paint::Plain, line)).collect();
        for (status, n) in there() {
            let share = share(n, counts.total()).replace(' ', "");
            let note = self.note(status);
            lines.extend(table.row(status.into(), status.name(), [&count(n), &share], &note));
        }
        let rows = count(counts.total());
        lines.extend(table.row(Paint::Plain, "rows", [&rows, ""], &self.answers()));
        let earlier = self.input.earlier.counts();
        if earlier.total() > 0 {
            let note = format!("in earlier lists only: {}", earlier.in_words());
            let rows = count(earlier.total());
            lines.extend(table.row(Paint::Plain, "earlier", [&rows, ""], &note));
        }
        let indent = table.indent();
        lines.extend(table.text("files", self.files(indent, most)));
        lines.extend(table.text("next", self.next(indent, most)));
        lines
    }

    /// `contacts: done in 7m 51s; 4,702 requests, 9.98/s of 10/s; 12s waiting`, in pieces.
    fn head(&self) -> Vec<String> {
        let ReportInput {
            run, at_work, runs, ..
        } = self.input;
        let state = State::new(run.end.as_ref(), runs.is_on(run.id), self.summary.counts());
        let ends = match state {
            State::Complete => "done in",
            State::Running => "running for",
            State::Stopped => match &run.end {
                Some(End::Stopped(stop)) if stop.kind.was_asked_for() => "ended after",
                _ => "stopped after",
            },
            State::Interrupted if run.end.is_none() => "killed after",
            State::Interrupted => "interrupted after",
        };
        let requests = if run.id == at_work.id {
            self.timeline.pace.departures()
        } else {
            0
        };
        if requests == 0 {
            let ends = ends.rsplit_once(' ').map_or(ends, |(ends, _)| ends);
            return vec![
                format!("{}: {ends};", self.name),
                "no request was made".to_owned(),
            ];
        }
        let took = in_words(self.timeline.until.since(self.timeline.from));
        let mut said = vec![
            format!("{}: {ends} {took}", self.name),
            counted(requests, "request", "requests"),
        ];
        if requests > 1 {
            let limit = at_work.settings["rate_per_s"].as_f64();
            let limit = limit.map(|limit| format!(" of {}/s", trimmed(limit, 2)));
            let speed = trimmed(self.timeline.pace.achieved_per_s(), 2);
            let limit = limit.unwrap_or_default();
            said[1] = format!("{}, {speed}/s{limit}", said[1]);
        }
        let waited = covered(self.timeline.waits().iter());
        if waited.as_millis() >= 500 {
            said.push(format!("{} waiting", in_words(waited)));
        }
        let last = said.pop();
        let pieces = said.into_iter().map(|piece| piece + ";");
        pieces.chain(last).collect()
    }

    /// What there is to say of the rows of a status.
    fn note(&self, status: Status) -> String {
        let verifies = self.input.campaign.operation == Operation::Verify;
        let note = match status {
            Status::Sent | Status::Verified => match self.summary.attempts().recovered {
                0 => "",
                n => return format!("{} of them after a retry", count(n)),
            },
            Status::NotVerified => "the code was wrong",
            Status::Rejected | Status::Failed | Status::Invalid => return self.messages(status),
            Status::Unknown => match (verifies, self.input.runs.policy().on_unknown) {
                (false, WhenUncertain::Hold) => "may have been delivered; held, not sent again",
                (false, WhenUncertain::Retry) => "may have been delivered",
                (true, WhenUncertain::Hold) => "the answer was lost; held, not checked again",
                (true, WhenUncertain::Retry) => "the answer was lost; the next run checks again",
            },
            Status::Duplicate => "stand further up in the file",
            Status::Suppressed => "left out on purpose: --cooldown, --exclude",
            Status::Pending => "not tried yet, or surely not sent",
        };
        note.to_owned()
    }

    /// `58 This number cannot be reached, 3 HTTP 404`
    fn messages(&self, status: Status) -> String {
        let all = self.summary.details(status);
        if let [only] = &all[..] {
            return visible(only.message).into_owned();
        }
        let named = all.iter().take(MESSAGES_MAX);
        let named = named.map(|said| format!("{} {}", count(said.count), visible(said.message)));
        let others: u64 = all.iter().skip(MESSAGES_MAX).map(|said| said.count).sum();
        let others = (others > 0).then(|| format!("{} for other reasons", count(others)));
        named.chain(others).collect::<Vec<_>>().join(", ")
    }

    /// `answers: p50 120 ms, p95 310 ms, max 3.1 s`
    fn answers(&self) -> String {
        let times = self.summary.latencies();
        if times.is_empty() {
            return String::new();
        }
        #[expect(clippy::cast_precision_loss, reason = "at most an hour")]
        let said = |us: u64| millis(us as f64 / 1_000.0);
        let quantile = |q| said(times.value_at_quantile(q));
        let (p50, p95, max) = (quantile(0.5), quantile(0.95), said(times.max()));
        format!("answers: p50 {p50}, p95 {p95}, max {max}")
    }

    /// Where the files are: the first with its whole path, if there is room.
    fn files(&self, indent: usize, most: usize) -> Vec<String> {
        let shown = |path: &Path| visible(&path.to_string_lossy()).into_owned();
        let mut files = vec![shown(&self.folder.join(RESULTS_CSV)) + ","];
        if indent + columns(&files[0]) > most {
            files = vec![shown(self.folder) + "/", format!("{RESULTS_CSV},")];
        }
        files.extend([format!("{REPORT_JSON},"), REPORT_HTML.to_owned()]);
        folded(files, [indent; 2], "", most)
    }

    fn next(&self, indent: usize, most: usize) -> Vec<String> {
        let counts = self.summary.counts();
        let campaign = self.input.campaign;
        let mut lines = Vec::new();
        let again = [Status::Pending, Status::Failed];
        let again = again.into_iter().filter(|status| counts[*status] > 0);
        let again = again.map(|status| format!("{} {}", count(counts[status]), status.name()));
        let again = again.collect::<Vec<_>>().join(", ");
        if !again.is_empty() {
            let text = format!("run the same command again: {again}");
            lines.extend(folded(text.split(' '), [indent; 2], "", most));
        }
        let goes_on = |status| {
            let verifies = campaign.operation == Operation::Verify;
            status == Status::Failed || (verifies && status == Status::Unknown)
        };
        let all = Status::ALL.into_iter();
        let needing = all.filter(|status| status.needs_a_person() && !goes_on(*status));
        let needing: Vec<Status> = needing.filter(|status| counts[*status] > 0).collect();
        let rows: u64 = needing.iter().map(|status| counts[*status]).sum();
        if rows > 0 {
            let what = format!("look at the {}:", count(rows));
            let command = commands::only(campaign, self.input.ledger, &needing);
            let whole = format!("{what}  {}", command.join(" "));
            if indent + columns(&whole) <= most {
                lines.push(whole);
            } else {
                lines.push(what);
                lines.extend(folded(command, [indent; 2], " \\", most));
            }
        }
        lines
    }
}

/// Where things stand in the lines.
struct Table {
    names: usize,
    figures: usize,
    most: usize,
}

impl Table {
    /// A name, a number and a share, and what there is to say.
    fn row(&self, paint: Paint, name: &str, [n, share]: [&str; 2], note: &str) -> Vec<Line> {
        let start = format!("  {name:<0$} {n:>1$}  {share:>5}", self.names, self.figures);
        let indent = columns(&start) + 2;
        // Where there is hardly room for a word, they stand below.
        let narrow = self.most < indent + 20;
        let indent = if narrow { 4 } else { indent };
        let mut notes = folded(note.split_whitespace(), [indent; 2], "", self.most).into_iter();
        let first = if narrow { None } else { notes.next() };
        let first = first.map_or(start.trim_end().to_owned(), |note| {
            format!("{start}  {note}")
        });
        let others = notes.map(|note| (Paint::Plain, " ".repeat(indent) + &note));
        [(paint, first)].into_iter().chain(others).collect()
    }

    /// Where lines of text begin.
    fn indent(&self) -> usize {
        if self.most < NARROW {
            INDENT_NARROW
        } else {
            self.names + 3
        }
    }

    /// A name, and lines behind it, or below.
    fn text(&self, name: &str, lines: Vec<String>) -> Vec<Line> {
        let indent = self.indent();
        let is_below = indent < self.names + 3 && !lines.is_empty();
        let name = format!("  {name}");
        let above = is_below.then(|| name.clone());
        let behind = if is_below { "" } else { &name };
        let starts = [behind].into_iter().chain(std::iter::repeat(""));
        let lines = lines.into_iter().zip(starts);
        let lines = lines.map(|(line, start)| format!("{start:<indent$}{line}"));
        let lines = above.into_iter().chain(lines);
        lines.map(|line| (Paint::Plain, line)).collect()
    }
}

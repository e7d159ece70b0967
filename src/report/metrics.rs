//! The metrics of a run, in Prometheus' text format, for the textfile collector of `node_exporter`.
//!
//! Every series names its campaign: a collector reads all files of a folder as one, and two files
//! with the same series are none.

use std::fmt::{Display, Write as _};

use crate::exit::Exit;
use crate::job::{Lane, Operation, UnixMicros};
use crate::number::mask_name;
use crate::record::CampaignRecord;
use crate::requests::{BOUNDS_MS, OfLane, Requests};
use crate::run::End;
use crate::status::Status;

/// What is known of a run, as of now.
pub struct Metrics<'a> {
    /// The campaign.
    pub campaign: &'a CampaignRecord,
    /// Its rows by status, indexed by [`Status::index`].
    pub rows: [u64; Status::ALL.len()],
    /// Its requests, of all runs.
    pub requests: &'a Requests,
    /// Requests on their way.
    pub in_flight: u64,
    /// Numbers that wait for a retry.
    pub waiting: u64,
    /// Requests that may leave in a second; `None`: no limit.
    pub rate_per_s: Option<f64>,
    /// When the run began.
    pub started_at: UnixMicros,
    /// How it ended; `None` while it is on.
    pub ended: Option<Ended<'a>>,
    /// When a run last came to its end: all rows were dealt with.
    pub last_success_at: Option<UnixMicros>,
}

/// How a run ended.
#[derive(Clone, Copy)]
pub struct Ended<'a> {
    /// When.
    pub at: UnixMicros,
    /// How.
    pub end: &'a End,
    /// What the program says by it.
    pub exit: Exit,
}

impl Metrics<'_> {
    /// The bytes of the file.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = Families::new(self.campaign);
        out.gauge("rows", "Rows of the latest input by status.");
        for status in Status::ALL {
            let rows = self.rows[status.index()];
            out.sample("rows", &[("status", status.name())], rows);
        }
        self.add_requests(&mut out);
        out.single("in_flight", "Requests on their way.", self.in_flight);
        out.single("waiting", "Numbers that wait for a retry.", self.waiting);
        let rate = self.rate_per_s.map_or("+Inf".to_owned(), |r| r.to_string());
        out.single("rate_limit", "Requests that may leave in a second.", rate);
        out.gauge("run_state", "1 for the state of the latest run.");
        let state = match self.ended.map(|ended| ended.end) {
            None => "running",
            Some(End::Complete) => "complete",
            Some(End::Stopped(_)) => "stopped",
            Some(End::Interrupted(_)) => "interrupted",
        };
        for known in ["running", "complete", "stopped", "interrupted"] {
            out.sample("run_state", &[("state", known)], u8::from(known == state));
        }
        let began = seconds(self.started_at);
        out.single(
            "run_start_timestamp_seconds",
            "When the latest run began.",
            began,
        );
        if let Some(Ended { at, exit, .. }) = self.ended {
            let name = "run_end_timestamp_seconds";
            out.single(name, "When the latest run ended.", seconds(at));
            let help = "The exit code of the latest run.";
            out.single("exit_code", help, exit as u8);
        }
        if let Some(at) = self.last_success_at {
            let help = "When a run last had dealt with all rows (exit 0 or 1).";
            out.single("last_success_timestamp_seconds", help, seconds(at));
        }
        out.text
    }

    fn add_requests(&self, out: &mut Families) {
        let lanes: &[Lane] = match self.campaign.operation {
            Operation::Send => &[Lane::Sms, Lane::Call],
            Operation::Verify => &[Lane::Verify],
        };
        let each = || lanes.iter().map(|lane| (lane, self.requests.of(*lane)));
        let name = "requests_total";
        let help = "Requests of all runs that left, or may have, by what came of them.";
        out.family(name, "counter", help);
        for (lane, requests) in each() {
            let known = requests
                .verdicts()
                .map(|(kind, count)| (kind.key(), count))
                .chain([("unrecorded", requests.unrecorded)]);
            for (verdict, count) in known {
                let labels = [("lane", lane.name()), ("verdict", verdict)];
                out.sample(name, &labels, count);
            }
        }
        let name = "request_duration_seconds";
        out.family(name, "histogram", "How long the answers took.");
        for (lane, requests) in each() {
            out.histogram(name, lane.name(), requests);
        }
    }
}

/// The text so far.
struct Families {
    text: String,
    /// The labels of every series.
    common: String,
}

impl Families {
    fn new(campaign: &CampaignRecord) -> Self {
        let name = escaped(&mask_name(&campaign.name));
        let operation = campaign.operation.name();
        let sandbox = campaign.sandbox;
        Self {
            text: String::new(),
            common: format!("campaign=\"{name}\",operation=\"{operation}\",sandbox=\"{sandbox}\""),
        }
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = write!(
            self.text,
            "# HELP otpdrive_{name} {help}\n# TYPE otpdrive_{name} {kind}\n"
        );
    }

    fn gauge(&mut self, name: &str, help: &str) {
        self.family(name, "gauge", help);
    }

    fn single(&mut self, name: &str, help: &str, value: impl Display) {
        self.gauge(name, help);
        self.sample(name, &[], value);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        // Writing to a String cannot fail.
        let _ = write!(self.text, "otpdrive_{name}{{{}", self.common);
        for (label, is) in labels {
            let _ = write!(self.text, ",{label}=\"{is}\"");
        }
        let _ = writeln!(self.text, "}} {value}");
    }

    fn histogram(&mut self, name: &str, lane: &str, requests: &OfLane) {
        let bounds = BOUNDS_MS.iter().map(|ms| in_seconds(*ms, 1_000));
        let bounds = bounds.chain(["+Inf".to_owned()]);
        let (bucket, mut below) = (format!("{name}_bucket"), 0);
        for (bound, answers) in bounds.zip(requests.answers) {
            below += answers;
            self.sample(&bucket, &[("lane", lane), ("le", &bound)], below);
        }
        let took = requests.took.as_secs_f64();
        self.sample(&format!("{name}_sum"), &[("lane", lane)], took);
        self.sample(&format!("{name}_count"), &[("lane", lane)], below);
    }
}

/// A value of a label.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn seconds(at: UnixMicros) -> String {
    in_seconds(u64::try_from(at.0).unwrap_or(0), 1_000_000)
}

/// So many parts of a second as seconds, without zeros that say nothing.
fn in_seconds(parts: u64, per_second: u64) -> String {
    let digits = per_second.ilog10() as usize;
    let text = format!("{}.{:0digits$}", parts / per_second, parts % per_second);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::samples;

    fn text(name: &str, ended: Option<Ended<'_>>) -> String {
        let mut campaign = samples::campaign();
        name.clone_into(&mut campaign.name);
        let mut requests = Requests::default();
        for row in samples::rows() {
            for attempt in row.attempts() {
                requests.add(attempt);
            }
        }
        let metrics = Metrics {
            campaign: &campaign,
            rows: std::array::from_fn(|place| place as u64),
            requests: &requests,
            in_flight: 3,
            waiting: 1,
            rate_per_s: Some(0.5),
            started_at: UnixMicros(1_764_000_000_250_000),
            ended,
            last_success_at: None,
        };
        metrics.to_text()
    }

    #[test]
    fn a_run_that_is_on_shows_what_is_in_flight_and_no_end() {
        let text = text("diwali", None);
        let of = "campaign=\"diwali\",operation=\"send\",sandbox=\"false\"";
        for line in [
            format!("otpdrive_rows{{{of},status=\"verified\"}} 1"),
            format!("otpdrive_requests_total{{{of},lane=\"sms\",verdict=\"accepted\"}} 1"),
            format!("otpdrive_requests_total{{{of},lane=\"call\",verdict=\"unrecorded\"}} 1"),
            format!("otpdrive_request_duration_seconds_bucket{{{of},lane=\"sms\",le=\"0.05\"}} 2"),
            format!("otpdrive_in_flight{{{of}}} 3"),
            format!("otpdrive_rate_limit{{{of}}} 0.5"),
            format!("otpdrive_run_state{{{of},state=\"running\"}} 1"),
            format!("otpdrive_run_start_timestamp_seconds{{{of}}} 1764000000.25"),
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\nnot in {text}");
        }
        assert!(!text.contains("_end_") && !text.contains("exit_code"));
    }

    #[test]
    fn a_name_breaks_no_line_and_shows_no_number() {
        let text = text("a\\b\"c\n9876543210", None);
        let name = "campaign=\"a\\\\b\\\"c\\n+98******10\",";
        assert!(text.contains(name), "{text}");
    }
}

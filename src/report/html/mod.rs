//! `report.html`: the account of a campaign for people, one file that needs nothing else.
//!
//! First the verdict and what a person has to do, then what happened. Charts are SVG of our own with
//! a table beside each; there is no script, and a policy that forbids all that is not in the file.

mod account;
mod answer_times;
mod bars;
mod cost;
mod funnel;
mod over_time;
mod plan;
mod svg;
mod todo;
mod verdict;
mod zone;

use askama::Template;

use super::commands::{self, Pieces};
use super::timeline::Timeline;
use super::{ReportInput, hours};
use crate::figures::{count, counted, share};
use crate::job::UnixMicros;
use crate::number::{mask_name, mask_numbers};
use crate::record::RunRecord;
use crate::status::Status;
use crate::summary::Summary;
use crate::text::visible;
use bars::Bars;
use cost::Cost;
use todo::Item;
use verdict::{Fact, Verdict};
use zone::Zone;

const STYLE: &str = include_str!("style.css");

/// The page.
#[derive(Template)]
#[template(path = "page.html", config = "src/report/html/askama.toml")]
struct Page {
    title: String,
    style: &'static str,
    operation: &'static str,
    campaign: String,
    when: String,
    verdict: Verdict,
    facts: Vec<Fact>,
    nav: Vec<(&'static str, &'static str)>,
    pending_first: bool,
    todo: Vec<Item>,
    account: Account,
    time: Option<over_time::OverTime>,
    answers: Option<answer_times::Section>,
    retries: Option<Bars>,
    errors: Option<Bars>,
    plan: Option<plan::Section>,
    cost: Option<Cost>,
    funnel: Option<funnel::Section>,
    earlier: Vec<(&'static str, String)>,
    command: Option<Pieces>,
    file: String,
    settings: Vec<(String, String)>,
    version: &'static str,
    written: String,
}

/// Rows in, statuses out.
struct Account {
    chart: Option<String>,
    rows: Vec<StatusRow>,
    total: String,
    none: String,
    checks: Vec<Check>,
    left_out: String,
}

struct StatusRow {
    status: &'static str,
    count: String,
    share: String,
    meaning: &'static str,
}

/// A promise, and what became of it.
struct Check {
    holds: bool,
    promise: &'static str,
    finding: String,
}

/// The page of these facts and rows, as of `now`.
#[must_use]
pub fn page(
    input: &ReportInput<'_>,
    summary: &Summary,
    timeline: &Timeline,
    now: UnixMicros,
) -> String {
    let source = Source {
        input,
        summary,
        timeline,
        zone: Zone(hours(&input.run.settings).zone),
    };
    // Writing to a String cannot fail.
    source.page(now).render().unwrap_or_default()
}

/// What the page is made of.
struct Source<'a> {
    input: &'a ReportInput<'a>,
    summary: &'a Summary,
    timeline: &'a Timeline,
    zone: Zone,
}

impl Source<'_> {
    fn page(&self, now: UnixMicros) -> Page {
        let Self { input, summary, .. } = self;
        let verdict = verdict::verdict(self);
        let todo = todo::items(self);
        let limit_per_s = input.at_work.settings["rate_per_s"].as_f64();
        let time = over_time::Source {
            timeline: self.timeline,
            limit_per_s,
            operation: input.campaign.operation,
            zone: &self.zone,
        };
        let mut page = Page {
            title: format!("{}: {} · otpdrive", self.campaign(), verdict.headline),
            style: STYLE,
            operation: input.campaign.operation.name(),
            campaign: self.campaign(),
            when: self.when(),
            facts: verdict::facts(self),
            verdict,
            nav: Vec::new(),
            pending_first: summary.counts()[Status::Pending] > 0 && !self.is_on(),
            todo,
            account: self.account(limit_per_s),
            time: time.section(),
            answers: answer_times::section(summary.latencies()),
            retries: self.retries(),
            errors: self.errors(),
            plan: self.plan(limit_per_s),
            cost: self.cost(),
            funnel: input.funnel.and_then(funnel::section),
            earlier: self.earlier(),
            command: self.command(),
            file: self.file(),
            settings: settings(&input.run.settings),
            version: env!("CARGO_PKG_VERSION"),
            written: self.zone.date_and_time(now),
        };
        page.account.left_out = page.left_out();
        page.nav = page.sections();
        page
    }

    fn campaign(&self) -> String {
        visible(&mask_name(&self.input.campaign.name)).into_owned()
    }

    fn when(&self) -> String {
        let run = self.input.at_work;
        let (date, from) = (
            self.zone.date(run.started_at),
            self.zone.clock(run.started_at),
        );
        let zone = self.zone.short_name(run.started_at);
        match run.finished_at {
            Some(at) if self.zone.date(at) == date => {
                format!("{date}, {from} to {} {zone}", self.zone.clock(at))
            }
            Some(at) => format!("{date}, {from} to {}", self.zone.date_and_time(at)),
            None if self.is_on() => format!("since {date}, {from} {zone}"),
            None => format!(
                "{date}, {from}; last heard of {}",
                self.zone.date_and_time(self.timeline.until)
            ),
        }
    }

    /// Is its latest run on right now?
    fn is_on(&self) -> bool {
        self.input.runs.is_on(self.input.run.id)
    }

    /// The command of the latest run, each flag with its value in one piece.
    fn command(&self) -> Option<Pieces> {
        let command = self.input.run.settings["command"].as_str()?;
        Some(commands::in_pieces(&visible(command)))
    }

    fn file(&self) -> String {
        let file = &self.input.campaign.input;
        let (start, end) = (file.sha256.get(..6), file.sha256.get(60..));
        format!(
            "{}, {}, sha256 {}…{}",
            visible(&mask_name(&file.name)),
            counted(file.rows, "row", "rows"),
            start.unwrap_or_default(),
            end.unwrap_or_default()
        )
    }

    fn account(&self, limit_per_s: Option<f64>) -> Account {
        let counts = self.summary.counts();
        let there = counts.iter().filter(|(_, n)| *n > 0);
        let rows = there.map(|(status, n)| StatusRow {
            status: status.name(),
            count: count(n),
            share: share(n, counts.total()),
            meaning: meaning(status),
        });
        let none = counts.iter().filter(|(_, n)| *n == 0);
        let none: Vec<&str> = none.map(|(status, _)| status.name()).collect();
        Account {
            chart: account::chart(counts),
            rows: rows.collect(),
            total: count(counts.total()),
            none: none.join(", "),
            checks: self.checks(limit_per_s),
            left_out: String::new(),
        }
    }

    fn checks(&self, limit_per_s: Option<f64>) -> Vec<Check> {
        let (rows, counted_rows) = (
            self.input.campaign.input.rows,
            self.summary.counts().total(),
        );
        let again = self.summary.attempts().after_unknown;
        let peak = self.timeline.pace.peak_1s();
        let busiest = format!(
            "{} in the busiest second",
            counted(peak, "request", "requests")
        );
        #[expect(clippy::cast_precision_loss, reason = "requests in a second")]
        let peak = peak as f64;
        let keeps = limit_per_s.is_none_or(|limit| peak <= (limit * 1.01).max(limit.ceil() + 1.0));
        vec![
            Check {
                holds: rows == counted_rows,
                promise: "The account balances",
                finding: format!(
                    "{} in, {} out",
                    counted(rows, "row", "rows"),
                    count(counted_rows)
                ),
            },
            Check {
                holds: again == 0,
                promise: "No second OTP risked",
                finding: match again {
                    0 => "0 rows sent again after an unclear answer".to_owned(),
                    n => format!(
                        "{} sent again after an unclear answer, as --on-unknown retry asks",
                        counted(n, "row was", "rows were")
                    ),
                },
            },
            Check {
                holds: keeps,
                promise: "Never above the limit",
                finding: match limit_per_s {
                    Some(limit) if peak > limit && keeps => format!(
                        "{busiest}, limit {}, kept to within one",
                        over_time::per_time(limit)
                    ),
                    Some(limit) => format!("{busiest}, limit {}", over_time::per_time(limit)),
                    None => format!("{busiest}; no limit was set"),
                },
            },
        ]
    }

    fn earlier(&self) -> Vec<(&'static str, String)> {
        let counts = self.input.earlier.counts().iter().filter(|(_, n)| *n > 0);
        counts
            .map(|(status, n)| (status.name(), count(n)))
            .collect()
    }
}

impl Page {
    /// Which sections have nothing to show, and why.
    fn left_out(&self) -> String {
        let missing = [
            (self.time.is_none(), "over time (too few requests)"),
            (self.answers.is_none(), "answer times (too few answers)"),
            (self.retries.is_none(), "retries (none)"),
            (self.errors.is_none(), "errors and refusals (none)"),
            (self.plan.is_none(), "plan and actual (under 10 s)"),
            (self.cost.is_none(), "cost (no --price)"),
            (self.earlier.is_empty(), "earlier numbers (none)"),
        ];
        let missing = missing.into_iter().filter(|(is_missing, _)| *is_missing);
        let names: Vec<&str> = missing.map(|(_, name)| name).collect();
        names.join(", ")
    }

    /// The sections that are there, in their order.
    fn sections(&self) -> Vec<(&'static str, &'static str)> {
        let person = (!self.todo.is_empty(), "person", "What needs a person");
        let sections = [
            (self.pending_first && person.0, person.1, person.2),
            (true, "account", "The account"),
            (!self.pending_first && person.0, person.1, person.2),
            (self.time.is_some(), "time", "Over time"),
            (
                self.answers.is_some() || self.retries.is_some(),
                "latency",
                "Answer times",
            ),
            (self.errors.is_some(), "errors", "Errors and refusals"),
            (self.plan.is_some(), "plan", "Plan and actual"),
            (self.cost.is_some(), "cost", "Cost"),
            (self.funnel.is_some(), "funnel", "Sent to verified"),
            (!self.earlier.is_empty(), "earlier", "Earlier numbers"),
            (true, "settings", "Settings"),
        ];
        let there = sections.into_iter().filter(|(is_there, ..)| *is_there);
        there.map(|(_, id, title)| (id, title)).collect()
    }
}

/// What a status means, for people.
fn meaning(status: Status) -> &'static str {
    match status {
        Status::Sent => "accepted by the gateway; whether it arrived only the provider knows",
        Status::Verified => "the code was right",
        Status::NotVerified => "the code was wrong",
        Status::Rejected => "refused by the gateway",
        Status::Failed => "all tries used up, surely never accepted",
        Status::Unknown => {
            "may have been delivered: the request left, no trustworthy answer came back"
        }
        Status::Invalid => "the row cannot be used, and was not asked",
        Status::Duplicate => "the number stands further up in the file",
        Status::Suppressed => {
            "left out on purpose: another campaign has just sent to it, or a list says so"
        }
        Status::Pending => "not attempted yet, or surely not sent",
    }
}

/// All settings in words.
fn settings(settings: &serde_json::Value) -> Vec<(String, String)> {
    let settings = settings.as_object().into_iter().flatten();
    let settings = settings.filter(|(name, _)| !["command", RunRecord::PLAN].contains(&&***name));
    let in_words = settings.map(|(name, value)| {
        let value = match value {
            serde_json::Value::Null => "none".to_owned(),
            serde_json::Value::String(text) => visible(&mask_numbers(text)).into_owned(),
            other => other.to_string(),
        };
        (name.replace('_', "-"), value)
    });
    in_words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::CampaignRecord;
    use crate::report::tests::samples;
    use crate::run::{End, Stop, StopKind};

    fn rendered(campaign: &CampaignRecord, run: &RunRecord) -> String {
        let mut summary = Summary::default();
        for row in &samples::rows() {
            summary.add(row, &row.outcome(&samples::runs()));
        }
        let input = ReportInput {
            campaign,
            run,
            at_work: run,
            first_started_at: samples::START,
            runs: &samples::runs(),
            earlier: &Summary::default(),
            ledger: None,
            funnel: None,
        };
        page(&input, &summary, &samples::timeline(), samples::START)
    }

    /// Ten days between 09:00 and 21:00, ten million rows.
    fn long() -> String {
        let start = |day: u32| format!("2026-11-{day}T09:00:00Z").parse().unwrap();
        let settings = serde_json::json!({
            "rate_per_s": 30.0,
            "window": "09:00-21:00",
            "timezone": "UTC",
            "command": "otpdrive send list.csv --window 09:00-21:00",
            "plan": {"numbers": 10_000_000, "time_s": 800_000.0, "cost_at_most": null, "sms_before": 0, "calls_before": 0},
        });
        let run = RunRecord {
            started_at: start(10),
            finished_at: Some(start(20)),
            end: Some(End::Complete),
            settings,
            ..samples::run()
        };
        let mut campaign = samples::campaign();
        campaign.input.rows = 10_000_000;
        let runs = samples::runs();
        let mut timeline = Timeline::new(&run, None, &runs, &hours(&run.settings));
        for column in &mut timeline.columns {
            column.came[0] = 123_456;
            column.busiest_1s = 30;
        }
        timeline.asked.numbers = 10_000_000;
        let input = ReportInput {
            campaign: &campaign,
            run: &run,
            at_work: &run,
            first_started_at: run.started_at,
            runs: &runs,
            earlier: &Summary::default(),
            ledger: None,
            funnel: None,
        };
        let rows = [(Status::Sent, 9_999_999), (Status::Unknown, 1)];
        let summary = Summary::of(rows.into_iter().collect());
        page(&input, &summary, &timeline, start(21))
    }

    #[test]
    fn days_and_millions_make_no_larger_page_and_times_have_their_days() {
        let page = long();
        assert!(page.len() < 60_000, "{} bytes", page.len());
        assert!(
            page.contains("10,000,000 rows in, 10,000,000 out"),
            "{page}"
        );
        assert!(page.contains("&#62;99.9 %"), "{page}");
        assert!(page.contains("10 Nov 21:00 to 11 Nov 09:00, 12 h. Outside the hours"));
        assert!(page.contains("and 2 more, 1 d in all"), "{page}");
        let section = page.split("<section id=\"time\">").nth(1).unwrap();
        let table = section.split("</table>").next().unwrap();
        assert!(table.matches("<tr>").count() <= 26);
        assert!(
            page.contains("took 17 h 46 min longer than planned"),
            "{page}"
        );
    }

    fn ended(end: Option<End>) -> String {
        let run = RunRecord {
            end,
            ..samples::run()
        };
        rendered(&samples::campaign(), &run)
    }

    #[test]
    fn the_verdict_comes_first_and_what_a_person_has_to_do_has_its_command() {
        let page = ended(Some(End::Complete));
        assert!(page.contains("Done, and 3 rows need a person"), "{page}");
        assert!(page.contains("1 sent, 1 are waiting"));
        let command = "otpdrive report <b>--campaign diwali</b> <b>--only unknown</b>";
        assert!(page.contains(command), "{page}");
        let stopped = ended(Some(End::Stopped(Stop {
            kind: StopKind::AccountRefused,
            message: "the account of +919876543210 was refused; top it up".to_owned(),
        })));
        assert!(stopped.contains("Stopped: the account of +9198******10 was refused"));
        assert!(stopped.contains("exit code 4") && stopped.contains("Change what stopped"));
        assert!(ended(None).contains("Ended without closing"));
    }

    #[test]
    fn nothing_in_it_is_run_or_fetched_or_repeats_a_number() {
        let mut campaign = samples::campaign();
        campaign.name = "<script>x</script> 919876543210".to_owned();
        campaign.sandbox = true;
        let page = rendered(&campaign, &samples::run());
        assert!(!page.contains("<script"), "{page}");
        assert!(!page.contains("9876543210"), "{page}");
        assert!(!page.contains("http:") && !page.contains("https:"));
        assert!(page.contains("default-src 'none'"));
        assert!(page.contains("Rehearsal, nothing was sent to anybody: "));
    }

    #[test]
    fn what_there_is_nothing_of_is_left_out_and_said() {
        let page = ended(Some(End::Complete));
        assert!(!page.contains("id=\"time\"") && !page.contains("id=\"cost\""));
        assert!(page.contains("over time (too few requests), answer times (too few answers)"));
        assert!(page.contains("cost (no --price)"));
    }
}

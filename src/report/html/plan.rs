//! What was planned, what came of it, and where the time went.

use std::time::Duration;

use super::Source;
use super::cost::money;
use super::over_time::per_time;
use crate::figures::{count, counted, span, trimmed};
use crate::job::Operation;
use crate::report::timeline::{Asked, WaitKind, covered};
use crate::run::End;

/// Of a run that took less, and was to, there is nothing to tell.
const LEAST: Duration = Duration::from_secs(10);

/// What rounds to no time.
const SHOWN_S: f64 = 0.05;

/// What the run waited for, in words.
const WAITS: [(WaitKind, &str, &str); 4] = [
    (WaitKind::Outage, "outages", "outage"),
    (WaitKind::Hold, "holds: the gateway asked to wait", "hold"),
    (WaitKind::Closed, "outside the hours", "hold"),
    (WaitKind::Cap, "daily cap used up", "hold"),
];

/// The section.
pub struct Section {
    pub intro: String,
    /// Where the time went, one thing after the other; empty without a limit to reckon by.
    pub parts: Vec<Part>,
    pub took: String,
    /// What it is about, planned, actual; empty where no plan was kept.
    pub lines: Vec<[String; 3]>,
}

/// A part of the time.
pub struct Part {
    pub label: String,
    pub class: &'static str,
    pub time: String,
    /// Where its bar begins and how long it is, in per cent of the whole.
    pub offset: String,
    pub percent: String,
}

impl Source<'_> {
    pub fn plan(&self, limit_per_s: Option<f64>) -> Option<Section> {
        let took = self.timeline.took();
        let planned = self.input.at_work.planned();
        let was_to = planned.and_then(|planned| planned.time());
        if took.max(was_to.unwrap_or_default()) < LEAST || self.timeline.asked == Asked::default() {
            return None;
        }
        Some(Section {
            intro: self.plan_in_words(was_to),
            parts: match limit_per_s {
                Some(limit) if took >= LEAST => self.parts(limit),
                _ => Vec::new(),
            },
            took: span(took),
            lines: self.plan_and_actual(limit_per_s),
        })
    }

    fn plan_in_words(&self, was_to: Option<Duration>) -> String {
        let took = self.timeline.took();
        let waits = self.timeline.waits();
        let of_gateway = |kind| matches!(kind, WaitKind::Outage | WaitKind::Hold);
        let waited = covered(waits.iter().filter(|wait| of_gateway(wait.kind)));
        let waited = match waited {
            Duration::ZERO => String::new(),
            time => format!(" {} were waiting for the gateway.", span(time)),
        };
        let run = "The latest run that made requests";
        let is_whole = self.input.at_work.end == Some(End::Complete);
        let text = match was_to {
            _ if !is_whole => format!("{run}, as far as it came."),
            None => format!("{run}."),
            Some(was_to) => {
                let more = if took >= was_to { "longer" } else { "less" };
                let by = span(took.abs_diff(was_to));
                format!("{run} took {by} {more} than planned.")
            }
        };
        text + &waited
    }

    /// What the time went to, as far as it can be told; what is left is a part of its own.
    fn parts(&self, limit_per_s: f64) -> Vec<Part> {
        let took = self.timeline.took().as_secs_f64();
        let asked = self.timeline.asked;
        let (numbers, other) = match self.input.campaign.operation {
            Operation::Send => ("number", "on the other channel"),
            Operation::Verify => ("code", "otherwise"),
        };
        #[expect(clippy::cast_precision_loss, reason = "counts of requests")]
        let sending = |n: u64| n as f64 / limit_per_s;
        let first = format!(
            "{} at {}",
            counted(asked.numbers, numbers, &format!("{numbers}s")),
            per_time(limit_per_s)
        );
        let retries = counted(asked.retries, "retry", "retries");
        let fallbacks = counted(asked.fallbacks, "request", "requests");
        let mut parts = vec![
            (first, "sent", sending(asked.numbers - asked.numbers.min(1))),
            (retries, "again", sending(asked.retries)),
            (
                format!("{fallbacks} {other}"),
                "sent",
                sending(asked.fallbacks),
            ),
        ];
        let waits = self.timeline.waits();
        let mut told = Duration::ZERO;
        for (place, (_, label, class)) in WAITS.iter().enumerate() {
            // What overlaps counts for what stands first.
            let kinds = &WAITS[..=place];
            let is_told = |kind| kinds.iter().any(|(told, ..)| *told == kind);
            let all = covered(waits.iter().filter(|wait| is_told(wait.kind)));
            parts.push((
                (*label).to_owned(),
                class,
                all.saturating_sub(told).as_secs_f64(),
            ));
            told = all;
        }
        parts.retain(|(.., time)| *time > 0.0);
        let rest = took - parts.iter().map(|(.., time)| time).sum::<f64>();
        let label = match rest {
            _ if rest < 0.0 => "sent while others waited",
            _ => "start, waits of retries, last answers",
        };
        if rest.abs() >= SHOWN_S {
            parts.push((label.to_owned(), "hold", rest));
        }
        in_turn(parts, took)
    }

    fn plan_and_actual(&self, limit_per_s: Option<f64>) -> Vec<[String; 3]> {
        let run = self.input.at_work;
        let Some(planned) = run.planned() else {
            return Vec::new();
        };
        let asked = self.timeline.asked;
        let requests = asked.numbers + asked.retries + asked.fallbacks;
        let took = self.timeline.took();
        #[expect(clippy::cast_precision_loss, reason = "counts of requests")]
        let over_all = requests as f64 / took.as_secs_f64().max(1e-3);
        let numbers = match self.input.campaign.operation {
            Operation::Send => "numbers to ask",
            Operation::Verify => "codes to ask",
        };
        let retried = format!("{} and retries", count(planned.numbers));
        let pace = limit_per_s.map_or_else(
            || "no limit".to_owned(),
            |limit| format!("{}, the limit", trimmed(limit, 3)),
        );
        let achieved = format!(
            "{} from the first to the last; {} over all",
            trimmed(self.timeline.pace.achieved_per_s(), 2),
            trimmed(over_all, 2)
        );
        let time = planned.time().map_or_else(
            || "as fast as answers come".to_owned(),
            |time| format!("about {}", span(time)),
        );
        let mut lines = vec![
            [
                numbers.to_owned(),
                count(planned.numbers),
                count(asked.numbers),
            ],
            ["requests".to_owned(), retried, count(requests)],
            ["requests per second".to_owned(), pace, achieved],
            ["time".to_owned(), time, span(took)],
        ];
        let spent = run.prices().and_then(|prices| prices.total(&asked.billed));
        if let Some((most, spent)) = planned.cost_at_most.zip(spent) {
            let most = format!("at most {}", money(most));
            lines.push(["money".to_owned(), most, money(spent.to_f64())]);
        }
        lines
    }
}

/// Each part begins where the one before ends.
fn in_turn(parts: Vec<(String, &'static str, f64)>, took: f64) -> Vec<Part> {
    let mut offset = 0.0;
    let parts = parts.into_iter().enumerate();
    let parts = parts.map(|(place, (label, class, time))| {
        let percent = 100.0 * time.max(0.0) / took.max(1e-3);
        let begins = f64::min(offset, 99.0);
        offset += percent;
        let time_in_words = span(Duration::try_from_secs_f64(time.abs()).unwrap_or(Duration::MAX));
        let sign = match time {
            _ if time < 0.0 => "−",
            _ if place > 0 => "+",
            _ => "",
        };
        Part {
            label,
            class,
            time: format!("{sign}{time_in_words}"),
            offset: trimmed(begins, 1),
            percent: trimmed(percent.min(100.0 - begins), 1),
        }
    });
    parts.collect()
}

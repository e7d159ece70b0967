//! Tables with a bar in each line: tries, errors, where the time went.

use std::time::Duration;

use super::{Source, over_time};
use crate::figures::{count, counted, percent, share, span, trimmed};
use crate::report::timeline::{Column, WaitKind, covered};
use crate::text::visible;

/// A table with a bar in each line.
pub struct Bars {
    pub intro: String,
    pub lines: Vec<Bar>,
    pub total: String,
}

pub struct Bar {
    pub label: String,
    pub class: &'static str,
    pub count: String,
    pub share: String,
    pub percent: String,
}

impl Source<'_> {
    pub fn retries(&self) -> Option<Bars> {
        let attempts = self.summary.attempts();
        let tries = self.summary.accepted_by_try();
        let all: u64 = tries.iter().sum();
        if attempts.retries == 0 {
            return None;
        }
        let bars = tries.iter().zip(1..).filter(|(n, _)| **n > 0);
        let bars = bars.map(|(n, place): (&u64, u64)| Bar {
            label: format!("{} try", ordinal(place, tries.len() as u64)),
            class: "sent",
            count: count(*n),
            share: share(*n, all),
            percent: trimmed(percent(*n, all), 1),
        });
        Some(Bars {
            intro: format!(
                "{}; {} accepted after the first request.",
                counted(attempts.retries, "retry", "retries"),
                counted(attempts.recovered, "row was", "rows were")
            ),
            lines: bars.collect(),
            total: count(all),
        })
    }

    pub fn errors(&self) -> Option<Bars> {
        let messages = self.summary.messages();
        let most = messages.iter().map(|said| said.count).max()?;
        let all: u64 = messages.iter().map(|said| said.count).sum();
        let bars = messages.iter().map(|said| Bar {
            label: visible(said.message).chars().take(120).collect(),
            class: "again",
            count: count(said.count),
            share: String::new(),
            percent: trimmed(percent(said.count, most), 1),
        });
        Some(Bars {
            intro: format!(
                "Of {}, over all runs.",
                counted(self.summary.attempts().total, "request", "requests")
            ),
            lines: bars.collect(),
            total: count(all),
        })
    }

    /// As far as it can be told; what is left is a line of its own.
    pub fn where_time_went(&self, limit: f64) -> Option<Bars> {
        let took = self.timeline.until.since(self.timeline.from);
        let requests: u64 = self.timeline.columns.iter().map(Column::requests).sum();
        if took < Duration::from_secs(10) || requests == 0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "counts of requests")]
        let sending = Duration::from_secs_f64((requests - 1) as f64 / limit);
        let label = format!(
            "{} at {}",
            counted(requests, "request", "requests"),
            over_time::per_time(limit)
        );
        let mut parts = vec![(label, "sent", sending.min(took))];
        let waits = self.timeline.waits();
        for (kind, label, class) in [
            (WaitKind::Outage, "outages", "outage"),
            (WaitKind::Hold, "holds: the gateway asked to wait", "hold"),
            (WaitKind::Closed, "outside the hours", "hold"),
        ] {
            let of_kind = waits.iter().filter(|wait| wait.kind == kind);
            let time = covered(of_kind).min(took);
            if time > Duration::ZERO {
                parts.push((label.to_owned(), class, time));
            }
        }
        let told: Duration = parts.iter().map(|(.., time)| *time).sum();
        if let Some(rest) = took.checked_sub(told).filter(|rest| *rest > Duration::ZERO) {
            parts.push((
                "start, retries’ waits, last answers".to_owned(),
                "hold",
                rest,
            ));
        }
        let bars = parts.into_iter().map(|(label, class, time)| Bar {
            label,
            class,
            count: span(time),
            share: String::new(),
            percent: trimmed(100.0 * time.as_secs_f64() / took.as_secs_f64(), 1),
        });
        Some(Bars {
            intro: "The latest run that made requests. Waits may overlap with sending on another channel.".to_owned(),
            lines: bars.collect(),
            total: span(took),
        })
    }
}

/// `1st`, `2nd` …; the last one that is told apart stands for all later ones.
fn ordinal(n: u64, last: u64) -> String {
    match n {
        1 => "1st".to_owned(),
        2 => "2nd".to_owned(),
        3 => "3rd".to_owned(),
        _ if n == last => format!("{n}th or a later"),
        _ => format!("{n}th"),
    }
}

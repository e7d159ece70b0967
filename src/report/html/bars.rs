//! Tables with a bar in each line: tries, errors.

use super::Source;
use crate::figures::{count, counted, percent, share, trimmed};
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

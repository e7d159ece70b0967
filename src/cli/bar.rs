//! How a run stands, in words: two lines of a terminal, or one plain line.

use std::time::Duration;

use super::terminal::Paint;
use crate::figures::{count, in_words, percent};
use crate::status::Status;
use crate::text::{columns, shortened};

/// The bar is not longer, however wide the terminal is.
const BAR_MAX: usize = 50;

/// What gives way where there is no room: columns of the campaign's name, the least columns of the
/// bar, and whether the speed is there.
const LAYOUTS: [(usize, usize, bool); 5] = [
    (24, 16, true),
    (14, 8, true),
    (12, 5, false),
    (0, 5, false),
    (0, 0, false),
];

/// How a run stands.
pub struct Now {
    /// The campaign, fit to be shown.
    pub name: String,
    /// Numbers that are done with, of those that are when the run is.
    pub done: u64,
    /// How many that will be.
    pub goal: u64,
    /// Requests per second just now.
    pub speed: f64,
    /// What it is doing.
    pub doing: Doing,
    /// The numbers by status.
    pub counts: [u64; Status::ALL.len()],
    /// Requests on their way.
    pub in_flight: u64,
    /// Numbers that wait for a retry.
    pub retrying: u64,
}

/// What a run is doing.
pub enum Doing {
    /// Its work, for about so long if that can be told.
    Working(Option<Duration>),
    /// It waits, for this.
    Paused(Said),
    /// It ends, and waits for this.
    Stopping(Said),
}

/// What is said where there is room for it, and what where there is not.
pub struct Said {
    /// All of it.
    pub full: String,
    /// What matters most.
    pub short: String,
}

impl From<String> for Said {
    fn from(full: String) -> Self {
        let short = full.clone();
        Self { full, short }
    }
}

impl Doing {
    fn word(&self) -> String {
        match self {
            Self::Working(None) => String::new(),
            Self::Working(Some(left)) => format!("{} left", in_words(*left)),
            Self::Paused(_) => "paused".to_owned(),
            Self::Stopping(_) => "stopping".to_owned(),
        }
    }
}

/// A whole per cent; never 0 or 100 unless it is exactly that.
fn whole_percent(part: u64, whole: u64) -> f64 {
    match part {
        0 if whole > 0 => 0.0,
        _ if part >= whole => 100.0,
        _ => percent(part, whole).round().clamp(1.0, 99.0),
    }
}

/// So much of a bar of `width` columns, in eighths of one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a small share of a small width"
)]
fn bar(part: u64, whole: u64, width: usize) -> (String, String) {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let share = if part >= whole {
        100.0
    } else {
        percent(part, whole)
    };
    let eighths = (share / 100.0 * (width * 8) as f64) as usize;
    let done = "█".repeat(eighths / 8) + PARTS[eighths % 8];
    let left = "░".repeat(width - eighths.div_ceil(8));
    (done, left)
}

impl Now {
    /// Two lines of less than `width` columns; `paint` paints a part of them.
    pub fn lines(&self, width: usize, paint: impl Fn(Paint, &str) -> String) -> [String; 2] {
        let width = width.saturating_sub(1);
        [self.first(width, &paint), self.second(width, &paint)]
    }

    fn first(&self, width: usize, paint: impl Fn(Paint, &str) -> String) -> String {
        let percent = format!("{:>3}%", whole_percent(self.done, self.goal));
        let goal = count(self.goal);
        let done = format!("{:>1$}/{goal}", count(self.done), goal.len());
        let speed = format!("{:>4.1}/s", self.speed);
        let word = self.doing.word();
        for (name_max, bar_min, has_speed) in LAYOUTS {
            let name = shortened(&self.name, name_max);
            let name = format!("{name} ");
            let name = name.trim_start();
            let figures = [&percent, &done, &speed, &word];
            let figures = figures
                .into_iter()
                .filter(|figure| has_speed || **figure != speed);
            let figures: Vec<&str> = figures.map(String::as_str).collect();
            let figures = figures.join("  ");
            let room = width.saturating_sub(columns(name) + 1 + columns(figures.trim_end()));
            if room < bar_min && bar_min > 0 {
                continue;
            }
            if bar_min == 0 {
                return shortened(figures.trim(), width).into_owned();
            }
            let (full, left) = bar(self.done, self.goal, room.min(BAR_MAX));
            let colour = match self.doing {
                Doing::Working(_) => Paint::Good,
                Doing::Paused(_) | Doing::Stopping(_) => Paint::Care,
            };
            return format!(
                "{name}{}{left} {}",
                paint(colour, &full),
                figures.trim_end()
            );
        }
        String::new()
    }

    fn second(&self, width: usize, paint: impl Fn(Paint, &str) -> String) -> String {
        if let Doing::Paused(why) | Doing::Stopping(why) = &self.doing {
            let fits = columns(&why.full) <= width;
            let why = if fits { &why.full } else { &why.short };
            return paint(Paint::Care, &shortened(why, width));
        }
        let parts = self
            .statuses()
            .map(|(status, n)| (Paint::from(status), said(status, n)));
        let parts = parts.collect::<Vec<_>>();
        let rest = self.under_way();
        let texts = parts
            .iter()
            .map(|(_, text)| columns(text) + 2)
            .sum::<usize>();
        let room = width.saturating_sub(texts + if parts.is_empty() { 0 } else { 3 });
        let mut line = String::new();
        let mut taken = 0;
        for (colour, text) in &parts {
            let gap = if line.is_empty() { "" } else { "  " };
            if taken + gap.len() + columns(text) > width {
                return line;
            }
            taken += gap.len() + columns(text);
            line = line + gap + &paint(*colour, text);
        }
        match () {
            () if rest.is_empty() || columns(&rest) > room => line,
            () if line.is_empty() => rest,
            () => format!("{line}  |  {rest}"),
        }
    }

    /// The numbers that are somewhere, by status, but for those that nothing is to be done for.
    fn statuses(&self) -> impl Iterator<Item = (Status, u64)> {
        let counts = Status::ALL.into_iter().zip(self.counts);
        counts.filter(|(status, n)| *n > 0 && *status != Status::Pending && status.is_asked())
    }

    /// `in flight 4  retrying 3`
    fn under_way(&self) -> String {
        let both = [("in flight", self.in_flight), ("retrying", self.retrying)];
        let both = both.into_iter().filter(|(_, n)| *n > 0);
        let both: Vec<String> = both
            .map(|(what, n)| format!("{what} {}", count(n)))
            .collect();
        both.join("  ")
    }

    /// The same in one plain line.
    pub fn line(&self) -> String {
        let mut line = format!(
            "{}: {}/{} ({}%), {:.1}/s",
            self.name,
            count(self.done),
            count(self.goal),
            whole_percent(self.done, self.goal),
            self.speed,
        );
        let word = self.doing.word();
        if !word.is_empty() {
            line = line + ", " + &word;
        }
        if let Doing::Paused(why) | Doing::Stopping(why) = &self.doing {
            line = line + ": " + &why.full;
        }
        let statuses = self.statuses().map(|(status, n)| said(status, n));
        let parts = statuses.chain(Some(self.under_way().replace("  ", ", ")));
        let parts: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
        if parts.is_empty() {
            line
        } else {
            line + "; " + &parts.join(", ")
        }
    }
}

fn said(status: Status, n: u64) -> String {
    format!("{} {}", status.name(), count(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(doing: Doing) -> Now {
        let mut counts = [0; Status::ALL.len()];
        for (status, n) in [
            (Status::Sent, 1_701),
            (Status::Rejected, 29),
            (Status::Unknown, 12),
            (Status::Invalid, 385),
            (Status::Pending, 2_873),
        ] {
            counts[status.index()] = n;
        }
        Now {
            name: "contacts".to_owned(),
            done: 1_742,
            goal: 4_615,
            speed: 10.0,
            doing,
            counts,
            in_flight: 4,
            retrying: 3,
        }
    }

    fn working() -> Now {
        now(Doing::Working(Some(Duration::from_secs(288))))
    }

    fn plain(now: &Now, width: usize) -> [String; 2] {
        now.lines(width, |_, text| text.to_owned())
    }

    #[test]
    fn a_run_is_two_lines() {
        let [first, second] = plain(&working(), 80);
        assert_eq!(
            first,
            "contacts ███████████▋░░░░░░░░░░░░░░░░░░░  38%  1,742/4,615  10.0/s  4m 48s left"
        );
        assert_eq!(
            second,
            "sent 1,701  rejected 29  unknown 12  |  in flight 4  retrying 3"
        );
        let why = "gateway down 1m 12s (connection refused): probe in 15s, gives up at 22:46";
        let [first, second] = plain(&now(Doing::Paused(why.to_owned().into())), 80);
        assert!(
            first.ends_with("38%  1,742/4,615  10.0/s  paused"),
            "{first}"
        );
        assert_eq!(second, why);
        let said = Said {
            full: why.to_owned(),
            short: "gateway down 1m 12s: probe in 15s".to_owned(),
        };
        let [_, second] = plain(&now(Doing::Paused(said)), 60);
        assert_eq!(second, "gateway down 1m 12s: probe in 15s");
    }

    #[test]
    fn no_line_reaches_the_end_of_a_terminal_of_any_width() {
        let mut all = vec![working(), now(Doing::Working(None))];
        for name in [
            "सितंबर के ग्राहक और उनके मित्र",
            "leads 👩‍👩‍👧 🎉🎉🎉 and more of them, all in one",
            "",
        ] {
            let mut now = now(Doing::Stopping("waiting for 4 answers ".repeat(9).into()));
            now.name = name.to_owned();
            all.push(now);
        }
        for now in &all {
            for width in 0..=250 {
                for line in plain(now, width) {
                    assert!(columns(&line) < width.max(1), "{width}: {line}");
                }
            }
            let [first, second] = plain(now, 40);
            assert!(first.contains("38%  1,742/4,615"), "{first}");
            assert!(!second.is_empty());
        }
        let [first, second] = plain(&working(), 40);
        assert_eq!(first, "███░░░░░  38%  1,742/4,615  4m 48s left", "{second}");
    }

    #[test]
    fn a_share_is_nothing_or_all_only_if_it_is() {
        let share = |part, whole| format!("{}", whole_percent(part, whole));
        assert_eq!(share(0, 9_999), "0");
        assert_eq!(share(1, 9_999), "1");
        assert_eq!(share(9_998, 9_999), "99");
        assert_eq!(share(9_999, 9_999), "100");
        assert_eq!(share(0, 0), "100");
    }

    #[test]
    fn the_plain_line_says_the_same() {
        assert_eq!(
            working().line(),
            "contacts: 1,742/4,615 (38%), 10.0/s, 4m 48s left; sent 1,701, rejected 29, unknown 12, in flight 4, retrying 3"
        );
    }
}

//! What left over the time of a run, against the limit; what came of it; and why it waited.

use std::fmt::Write as _;
use std::time::Duration;

use super::svg::{Chart, ticks};
use super::zone::Zone;
use crate::figures::{count, counted, short, span, trimmed};
use crate::job::{Lane, Operation, UnixMicros};
use crate::report::timeline::{Came, Column, Timeline, Wait, WaitKind};

/// Waits that get a letter.
const BANDS_MAX: usize = 8;

/// Lines of the table.
const LINES_MAX: usize = 24;

/// What ticks may lie apart, in seconds.
const TICKS_S: [i64; 19] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200,
    86_400, 172_800,
];

/// Labels of ticks that are longer are left out on a narrow page, every second one.
const ROOMY: usize = 5;

/// Where the charts begin and how high they are, in pixels.
const TOP: u32 = 34;
const HIGH: u32 = 112;
const LANE_HIGH: [u32; 2] = [40, 22];

const PATTERNS: &str = r#"<defs><pattern id="hx" class="outage" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path class="hs" d="M0 0v7"/></pattern><pattern id="hd" class="hold" width="7" height="7" patternUnits="userSpaceOnUse"><path class="hs" d="M0 3.5h7"/></pattern></defs>"#;

/// What came of requests in words, and the class of its colour.
pub fn came_in_words(came: Came, operation: Operation) -> (&'static str, &'static str) {
    match came {
        Came::Accepted if operation == Operation::Verify => ("verified", "verified"),
        Came::Accepted => ("sent", "sent"),
        Came::Wrong => ("not_verified", "not_verified"),
        Came::Again => ("to try again", "again"),
        Came::Refused => ("refused", "rejected"),
        Came::Unknown => ("unknown", "unknown"),
        Came::InFlight => ("under way", "pending"),
    }
}

/// The section.
pub struct OverTime {
    /// What it shows in a sentence.
    pub intro: String,
    pub chart: String,
    /// Letter and words of each band.
    pub bands: Vec<(String, String)>,
    pub caption: String,
    /// Of the table.
    pub by: String,
    pub heads: Vec<&'static str>,
    pub lines: Vec<Vec<String>>,
    pub sums: Vec<String>,
}

/// What it is made of.
pub struct Source<'a> {
    pub timeline: &'a Timeline,
    pub limit_per_s: Option<f64>,
    pub operation: Operation,
    pub zone: &'a Zone,
}

impl Source<'_> {
    /// The section; `None` where there is too little to show.
    pub fn section(&self) -> Option<OverTime> {
        let timeline = self.timeline;
        let whole = sum(&timeline.columns);
        let took = timeline.took();
        if whole.requests() < 20 || took < Duration::from_secs(2) {
            return None;
        }
        let waits = timeline.waits();
        let lanes = Self::lanes(&whole);
        let requests = counted(whole.requests(), "request", "requests");
        let (by, table) = self.table(&lanes);
        let mut heads = vec!["from", "requests", "busiest second"];
        heads.extend(
            lanes
                .iter()
                .map(|came| came_in_words(*came, self.operation).0),
        );
        Some(OverTime {
            intro: format!(
                "{requests}, what came of each, and why it waited. One clock for all; each lane has its own scale."
            ),
            chart: self.chart(&whole, &lanes, &waits),
            bands: self.bands(&waits),
            caption: format!(
                "Columns are {} wide. Requests/s: average of the column; dots: the busiest second. Times in {}.",
                span_of_width(timeline.width),
                self.zone.name()
            ),
            by,
            sums: cells("all".to_owned(), &whole, &lanes),
            heads,
            lines: table,
        })
    }

    fn lanes(whole: &Column) -> Vec<Came> {
        let there = |came: &Came| whole.came[*came as usize] > 0;
        Came::ALL.into_iter().filter(there).collect()
    }

    /// The share of the time that has passed then, in per cent.
    fn x(&self, at: UnixMicros) -> f64 {
        let (from, until) = (self.timeline.from, self.timeline.until);
        100.0 * at.since(from).as_secs_f64() / until.since(from).as_secs_f64().max(1e-6)
    }

    fn moment(&self, at: UnixMicros) -> String {
        self.zone.moment(at, self.timeline.took())
    }

    fn seconds(&self, column: usize) -> f64 {
        let (from, until) = (self.timeline.begins(column), self.timeline.ends(column));
        until.since(from).as_secs_f64().max(1e-3)
    }

    fn chart(&self, whole: &Column, lanes: &[Came], waits: &[Wait]) -> String {
        let heights = |lane: usize| LANE_HIGH[lane.min(1)];
        let lanes_high: u32 = (0..lanes.len()).map(|lane| heights(lane) + 34 - 6).sum();
        let bottom = TOP + HIGH + lanes_high;
        let title = "Requests per second, and what came of them";
        let mut chart = Chart::new("ot", bottom + 22, title, &self.finding(whole, waits));
        chart.raw(PATTERNS);
        self.draw_bands(&mut chart, waits, bottom);
        self.rate(&mut chart);
        let mut y = TOP + HIGH;
        for (place, came) in lanes.iter().enumerate() {
            let high = heights(place);
            self.lane(
                &mut chart,
                *came,
                (y + 28, high),
                whole.came[*came as usize],
            );
            y += high + 28;
        }
        self.clock(&mut chart, bottom);
        chart.done()
    }

    fn finding(&self, whole: &Column, waits: &[Wait]) -> String {
        let limit = self.limit_per_s.map_or_else(
            || "without a limit".to_owned(),
            |limit| format!("at most {} per second were allowed", trimmed(limit, 3)),
        );
        format!(
            "From {} to {}: {}, {} in the busiest second; {limit}. {}.",
            self.moment(self.timeline.from),
            self.moment(self.timeline.until),
            counted(whole.requests(), "request", "requests"),
            count(whole.busiest_1s),
            counted(waits.len() as u64, "wait", "waits"),
        )
    }

    /// Requests per second against the limit.
    fn rate(&self, chart: &mut Chart) {
        let columns = &self.timeline.columns;
        let whole = sum(columns);
        #[expect(clippy::cast_precision_loss, reason = "counts of requests")]
        let busiest = whole.busiest_1s as f64;
        let most = self
            .limit_per_s
            .map_or(busiest, |limit| (1.2 * limit).max(busiest));
        let most = most.max(1e-9);
        let (top, high) = (f64::from(TOP), f64::from(HIGH));
        let y = |value: f64| top + high * (1.0 - (value / most).clamp(0.0, 1.0));
        for tick in ticks(most) {
            chart.across("gr", y(tick)).label(y(tick), &short(tick));
        }
        chart.label(top + high, "0");
        let shares = |of: &dyn Fn(usize, &Column) -> f64| -> Vec<(f64, u32)> {
            let columns = columns.iter().enumerate();
            columns
                .map(|(place, column)| (of(place, column) / most, self.wide(place)))
                .collect()
        };
        #[expect(clippy::cast_precision_loss, reason = "counts of requests")]
        let busy = shares(&|_, column| column.busiest_1s as f64);
        #[expect(clippy::cast_precision_loss, reason = "counts of requests")]
        let mean = shares(&|place, column| column.requests() as f64 / self.seconds(place));
        chart.columns(("sent", "pale"), (TOP, HIGH), &busy);
        chart.columns(("sent", "soft ln"), (TOP, HIGH), &mean);
        if let Some(limit) = self.limit_per_s {
            let at = y(limit);
            chart.across("lim", at);
            let text = format!("limit {}", per_time(limit));
            chart.put(format_args!(
                r#"<text class="e" x="100%" y="{at:.1}" dy="-5">{text}</text>"#
            ));
        }
        chart.text("b", 0.0, 3.0, "Requests/s");
        chart.across("ax", top + high);
    }

    /// How wide a column is in the paths; the last one may be wider or narrower.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and 150"
    )]
    fn wide(&self, column: usize) -> u32 {
        let share = self.seconds(column) / self.timeline.width.as_secs_f64();
        ((share * 100.0).round() as u32).max(1)
    }

    fn lane(&self, chart: &mut Chart, came: Came, (y, high): (u32, u32), all: u64) {
        let columns = &self.timeline.columns;
        let of = |column: &Column| column.came[came as usize];
        let most = columns.iter().map(of).max().unwrap_or(0).max(1);
        let (name, class) = came_in_words(came, self.operation);
        let width = span_of_width(self.timeline.width);
        let label = f64::from(y) - 5.0;
        chart.text("b", 0.0, label, &format!("{name} {}", count(all)));
        chart.text(
            "m e",
            100.0,
            label,
            &format!("most in {width}: {}", count(most)),
        );
        #[expect(clippy::cast_precision_loss, reason = "counts of requests")]
        let shares = columns
            .iter()
            .enumerate()
            .map(|(place, column)| (of(column) as f64 / most as f64, self.wide(place)));
        let shares: Vec<_> = shares.collect();
        chart.columns((class, "f"), (y, high), &shares);
        chart.across("ax", f64::from(y + high));
    }

    /// Four to six ticks at round times.
    fn clock(&self, chart: &mut Chart, y: u32) {
        let (from, until) = (self.timeline.from, self.timeline.until);
        let seconds = i64::try_from(until.since(from).as_secs()).unwrap_or(i64::MAX);
        let step = TICKS_S.into_iter().find(|step| seconds / step <= 5);
        let step = step.unwrap_or((seconds / 5 / 86_400 + 1) * 86_400);
        let y = f64::from(y);
        for (place, at) in self
            .zone
            .round_times(from, until, step)
            .into_iter()
            .enumerate()
        {
            let (x, label) = (self.x(at), self.zone.tick(at, step, seconds));
            let side = match x {
                x if x < 4.0 => "m",
                x if x > 96.0 => "m e",
                _ => "m c",
            };
            // On a narrow page there is room for every second one.
            let class = match place % 2 {
                1 if label.len() > ROOMY => format!("{side} w"),
                _ => side.to_owned(),
            };
            chart.down("ax", x, y, y + 5.0);
            chart.text(&class, x, y + 18.0, &label);
        }
    }

    /// The longest waits with the letters that they have, in the order of time.
    fn lettered(waits: &[Wait]) -> Vec<(char, &Wait)> {
        let mut longest: Vec<&Wait> = waits.iter().collect();
        longest.sort_by_key(|wait| std::cmp::Reverse(wait.took()));
        longest.truncate(BANDS_MAX);
        longest.sort_by_key(|wait| (wait.from, wait.kind));
        ('A'..='Z').zip(longest).collect()
    }

    fn draw_bands(&self, chart: &mut Chart, waits: &[Wait], bottom: u32) {
        for (letter, wait) in Self::lettered(waits) {
            let (x, end) = (self.x(wait.from), self.x(wait.until));
            let width = (end - x).max(0.2);
            let (class, pattern) = match wait.kind {
                WaitKind::Outage => ("outage", "hx"),
                WaitKind::Hold | WaitKind::Closed | WaitKind::Cap => ("hold", "hd"),
            };
            let high = bottom - 22;
            chart.put(format_args!(
                r#"<g class="{class}"><rect x="{x:.2}%" width="{width:.2}%" y="22" height="{high}" fill="url(#{pattern})" fill-opacity=".8"/><line class="band" x1="{x:.2}%" x2="{x:.2}%" y1="22" y2="{bottom}"/><line class="band" x1="{end:.2}%" x2="{end:.2}%" y1="22" y2="{bottom}"/></g>"#
            ));
            let middle = (x + width / 2.0).clamp(2.0, 98.0);
            let name = if width > 9.0 { in_word(wait.kind) } else { "" };
            chart.put(format_args!(
                r#"<text class="b c" x="{middle:.2}%" y="17">{letter}<tspan class="w"> {name}</tspan></text>"#
            ));
        }
    }

    fn bands(&self, waits: &[Wait]) -> Vec<(String, String)> {
        let lettered = Self::lettered(waits);
        let mut bands: Vec<(String, String)> = lettered
            .iter()
            .map(|(letter, wait)| (letter.to_string(), self.in_words(wait)))
            .collect();
        if let Some(more) = waits.len().checked_sub(BANDS_MAX).filter(|more| *more > 0) {
            let all: Duration = waits.iter().map(Wait::took).sum();
            let shown: Duration = lettered.iter().map(|(_, wait)| wait.took()).sum();
            let rest = span(all.saturating_sub(shown));
            bands.push((
                "…".to_owned(),
                format!(
                    "and {}, {rest} in all",
                    counted(more as u64, "more", "more")
                ),
            ));
        }
        bands
    }

    fn in_words(&self, wait: &Wait) -> String {
        let (from, until) = (self.moment(wait.from), self.moment(wait.until));
        let mut text = format!("{from} to {until}, {}. ", span(wait.took()));
        text.push_str(match wait.kind {
            WaitKind::Outage => "Outage",
            WaitKind::Hold => "Hold",
            WaitKind::Closed => "Outside the hours",
            WaitKind::Cap => "Daily cap",
        });
        if let Some(lane) = wait.lane {
            text.push_str(match lane {
                Lane::Sms => " of SMS",
                Lane::Call => " of calls",
                Lane::Verify => " of codes",
            });
        }
        match wait.kind {
            WaitKind::Outage if wait.why.is_empty() => text.push_str("; no tries were used up."),
            WaitKind::Outage => {
                text.push_str(": ");
                text.push_str(&crate::number::mask_numbers(&wait.why));
                text.push_str("; no tries were used up.");
            }
            WaitKind::Hold => text.push_str(": the gateway asked to wait (Retry-After)."),
            WaitKind::Closed => text.push_str(" (--window, --call-window)."),
            WaitKind::Cap => text.push_str(" used up (--daily-cap, --call-daily-cap)."),
        }
        if wait.unknown > 0 {
            let under_way = counted(wait.unknown, "request was", "requests were");
            // Writing to a String cannot fail.
            let _ = write!(text, " {under_way} under way when it began: unknown.");
        }
        text
    }

    /// The same as a table, a few columns to a line.
    fn table(&self, lanes: &[Came]) -> (String, Vec<Vec<String>>) {
        let columns = &self.timeline.columns;
        let together = columns.len().div_ceil(LINES_MAX).max(1);
        let parts = columns.chunks(together).enumerate();
        let rows = parts.map(|(place, columns)| {
            let from = self.timeline.begins(place * together);
            cells(self.moment(from), &sum(columns), lanes)
        });
        let width = self.timeline.width * u32::try_from(together).unwrap_or(1);
        (span_of_width(width), rows.collect())
    }
}

fn cells(head: String, of: &Column, lanes: &[Came]) -> Vec<String> {
    let mut cells = vec![head, count(of.requests()), count(of.busiest_1s)];
    cells.extend(lanes.iter().map(|came| count(of.came[*came as usize])));
    cells
}

fn sum(columns: &[Column]) -> Column {
    let mut sum = Column::default();
    for column in columns {
        for (all, came) in sum.came.iter_mut().zip(column.came) {
            *all += came;
        }
        sum.busiest_1s = sum.busiest_1s.max(column.busiest_1s);
    }
    sum
}

fn in_word(kind: WaitKind) -> &'static str {
    kind.name()
}

/// `30 s`, `5 min`
fn span_of_width(width: Duration) -> String {
    match width.as_secs() {
        seconds if seconds < 60 => format!("{seconds} s"),
        _ => span(width),
    }
}

/// `10/s`, `30/min`
pub fn per_time(per_s: f64) -> String {
    match per_s {
        _ if per_s >= 1.0 => format!("{}/s", trimmed(per_s, 2)),
        _ if per_s * 60.0 >= 1.0 => format!("{}/min", trimmed(per_s * 60.0, 2)),
        _ => format!("{}/h", trimmed(per_s * 3_600.0, 2)),
    }
}

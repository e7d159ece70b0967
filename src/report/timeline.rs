//! What left and what came of it over the time of a run, in columns of equal width; and why it waited.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use super::pace::Pace;
use crate::calendar::Calendar;
use crate::job::{Attempt, Lane, UnixMicros, VerdictKind};
use crate::record::{Row, RunRecord};
use crate::run::{Meaning, Outage, RunFacts, RunId, Runs};

/// The widths that a column can have, in seconds.
const WIDTHS_S: [u64; 18] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200,
    86_400,
];

/// Most columns; runs of more than three months have wider ones.
pub const COLUMNS_MAX: usize = 96;

/// Most waits that are told apart on one lane; later ones are not told.
const WAITS_MAX: usize = 10_000;

/// A run that goes on for so long after the last request that a day's cap let go, waits for the next
/// day; shorter ones only wait for their last answers.
const CAP_WAIT_MIN: Duration = Duration::from_mins(1);

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// The OTP was accepted, or the code was right.
    Accepted,
    /// The code was wrong.
    Wrong,
    /// Surely not sent: to try again.
    Again,
    /// Refused, for the number's sake or for the account's.
    Refused,
    /// It may have been delivered.
    Unknown,
    /// It is under way.
    InFlight,
}

impl Came {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 6] = [
        Self::Accepted,
        Self::Wrong,
        Self::Again,
        Self::Refused,
        Self::Unknown,
        Self::InFlight,
    ];

    fn of(attempt: &Attempt, runs: &Runs) -> Self {
        let kind = attempt.verdict().map(|verdict| verdict.kind);
        match runs.meaning(attempt) {
            Meaning::Accepted => Self::Accepted,
            Meaning::NotVerified => Self::Wrong,
            Meaning::Rejected => Self::Refused,
            Meaning::Ambiguous => Self::Unknown,
            Meaning::Failed | Meaning::Held => Self::Again,
            Meaning::Nothing => match kind {
                None => Self::InFlight,
                Some(
                    VerdictKind::Rejected
                    | VerdictKind::Misdirected
                    | VerdictKind::KeyRefused
                    | VerdictKind::AccountRefused,
                ) => Self::Refused,
                Some(_) => Self::Again,
            },
        }
    }
}

/// A column of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Column {
    /// What left in it, by what came of it: as [`Came::ALL`].
    pub came: [u64; Came::ALL.len()],
    /// The most requests in any second that ends in it.
    pub busiest_1s: u64,
}

impl Column {
    /// How many requests left in it.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.came.iter().sum()
    }
}

/// Why nothing left for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitKind {
    /// The gateway was down.
    Outage,
    /// It asked to wait.
    Hold,
    /// It was outside the hours.
    Closed,
    /// No more were to leave on that day.
    Cap,
}

impl WaitKind {
    /// The word in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Outage => "outage",
            Self::Hold => "hold",
            Self::Closed => "closed",
            Self::Cap => "cap",
        }
    }
}

/// A time in which nothing left on a lane, or on all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Why.
    pub kind: WaitKind,
    /// Where; `None`: everywhere.
    pub lane: Option<Lane>,
    /// When it began.
    pub from: UnixMicros,
    /// When it was over, or the run was.
    pub until: UnixMicros,
    /// The reason in words; may be empty.
    pub why: String,
    /// Requests under way when it began that may have been acted on; of an outage.
    pub unknown: u64,
}

impl Wait {
    /// How long it was.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.until.since(self.from)
    }
}

/// What the requests of a run were made for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Numbers, or codes, that were asked in it, each with one request.
    pub numbers: u64,
    /// Requests that repeated the one before on the same channel.
    pub retries: u64,
    /// Requests on the other channel.
    pub fallbacks: u64,
    /// Requests that are billed, or may be, by lane.
    pub billed: [u64; Lane::ALL.len()],
}

/// The requests of a day.
#[derive(Clone, Debug)]
struct Day {
    ends: UnixMicros,
    left: [u64; Lane::ALL.len()],
    /// When the latest left.
    last: [UnixMicros; Lane::ALL.len()],
}

/// What left in a run, and what came of it, over its time.
#[derive(Clone, Debug)]
pub struct Timeline {
    run: RunId,
    /// What its requests were made for.
    pub asked: Asked,
    calendar: Calendar,
    /// By when they begin; kept where there is a cap.
    days: BTreeMap<UnixMicros, Day>,
    /// The one of the latest request.
    today: Range<UnixMicros>,
    /// When the run began.
    pub from: UnixMicros,
    /// When it ended; of one that is on or was killed, its last sign of life.
    pub until: UnixMicros,
    /// How wide the columns are; the last one may be up to half as wide again.
    pub width: Duration,
    /// The columns.
    pub columns: Vec<Column>,
    /// How fast its requests left.
    pub pace: Pace,
    outages: Vec<Wait>,
    closed: Vec<Wait>,
    /// What the gateway asked for, without overlaps and in the order of time, by lane.
    holds: [Vec<(UnixMicros, UnixMicros)>; Lane::ALL.len()],
}

impl Timeline {
    /// Of a run whose last request left then; its departures are to follow, and its rows. `calendar` is
    /// what bound it.
    #[must_use]
    pub fn new(
        run: &RunRecord,
        last: Option<UnixMicros>,
        runs: &Runs,
        calendar: &Calendar,
    ) -> Self {
        let from = run.started_at;
        let last = last.unwrap_or(from);
        let until = run.finished_at.unwrap_or(last).max(last).max(from);
        let (width, columns) = columns(until.since(from));
        let outages = runs.get(run.id).map(RunFacts::outages);
        let outages = outages.unwrap_or_default().iter();
        let mut timeline = Self {
            run: run.id,
            asked: Asked::default(),
            calendar: calendar.clone(),
            days: BTreeMap::new(),
            today: UnixMicros(0)..UnixMicros(0),
            from,
            until,
            width,
            columns: vec![Column::default(); columns],
            pace: Pace::default(),
            outages: outages.map(|outage| of_outage(outage, until)).collect(),
            closed: closed(calendar, from, until),
            holds: Default::default(),
        };
        timeline.outages.sort_by_key(|outage| outage.from);
        if let Some(planned) = run.planned().filter(|_| calendar.has_caps()) {
            let starts = run.settings["start_at"].as_str();
            let starts = starts.and_then(|at| at.parse().ok());
            let day = timeline.day(starts.unwrap_or(from).max(from));
            day.left = [planned.sms_before, planned.calls_before, 0];
        }
        timeline
    }

    fn day(&mut self, at: UnixMicros) -> &mut Day {
        if !self.today.contains(&at) {
            self.today = self.calendar.day(at);
        }
        let Range { start, end } = self.today;
        self.days.entry(start).or_insert_with(|| Day {
            ends: end,
            left: [0; Lane::ALL.len()],
            last: [start.max(self.from); Lane::ALL.len()],
        })
    }

    /// A request left; they come in the order of time.
    pub fn depart(&mut self, at: UnixMicros) {
        self.pace.add(at);
        let busy = self.pace.in_this_second();
        if let Some(column) = self.column(at) {
            column.busiest_1s = column.busiest_1s.max(busy);
        }
    }

    /// Takes the requests into account that the run made for a row.
    pub fn add(&mut self, row: &Row, runs: &Runs) {
        let mut before = None;
        for attempt in row.attempts() {
            if attempt.run != self.run {
                continue;
            }
            if let Some(at) = attempt.left_at() {
                let came = Came::of(attempt, runs);
                if let Some(column) = self.column(at) {
                    column.came[came as usize] += 1;
                }
                if came == Came::Unknown {
                    self.doubt(attempt, at);
                }
                self.count(attempt, at, before, runs);
                before = Some(attempt.lane);
            }
            let held = attempt.answer.as_ref().and_then(|answer| {
                let until = answer.verdict.retry_at?;
                Some((answer.answered_at, until))
            });
            if let Some((from, until)) = held {
                self.hold(attempt.lane, from, until.min(self.until));
            }
        }
    }

    /// Takes a request into account that left then, for a number that was asked on that lane before.
    fn count(&mut self, attempt: &Attempt, at: UnixMicros, before: Option<Lane>, runs: &Runs) {
        let lane = attempt.lane.index();
        *match before {
            None => &mut self.asked.numbers,
            Some(before) if before == attempt.lane => &mut self.asked.retries,
            Some(_) => &mut self.asked.fallbacks,
        } += 1;
        self.asked.billed[lane] += u64::from(runs.meaning(attempt).is_billed());
        if self.calendar.has_caps() {
            let day = self.day(at);
            day.left[lane] = day.left[lane].saturating_add(1);
            day.last[lane] = day.last[lane].max(at);
        }
    }

    /// A request that left then may have been acted on: was it under way when an outage began?
    fn doubt(&mut self, attempt: &Attempt, at: UnixMicros) {
        let answer = attempt.answer.as_ref();
        let until = answer.map_or(self.until, |answer| answer.answered_at);
        let first = self.outages.partition_point(|outage| outage.from < at);
        let begun = self.outages[first..].iter_mut();
        let begun = begun.take_while(|outage| outage.from <= until);
        for outage in begun.filter(|it| it.lane.is_none_or(|lane| lane == attempt.lane)) {
            outage.unknown += 1;
        }
    }

    /// From the last request that a day's cap let go to the next day.
    fn caps(&self) -> impl Iterator<Item = Wait> {
        let calendar = &self.calendar;
        let kinds = [
            (calendar.all.daily_cap, None, &[Lane::Sms, Lane::Call][..]),
            (calendar.calls.daily_cap, Some(Lane::Call), &[Lane::Call]),
        ];
        let kinds = kinds.into_iter();
        let caps = kinds.filter_map(|(cap, lane, lanes)| Some((cap?.get(), lane, lanes)));
        caps.flat_map(move |(cap, lane, lanes)| {
            self.days.values().filter_map(move |day| {
                let left = lanes.iter().map(|lane| day.left[lane.index()]);
                let left = left.fold(0, u64::saturating_add);
                let from = lanes.iter().map(|lane| day.last[lane.index()]).max()?;
                let wait = Wait {
                    kind: WaitKind::Cap,
                    lane,
                    from,
                    until: day.ends.min(self.until),
                    why: String::new(),
                    unknown: 0,
                };
                (left >= cap && wait.took() >= CAP_WAIT_MIN).then_some(wait)
            })
        })
    }

    fn column(&mut self, at: UnixMicros) -> Option<&mut Column> {
        let place = at.since(self.from).as_micros() / self.width.as_micros().max(1);
        let last = self.columns.len().checked_sub(1)?;
        let place = usize::try_from(place).map_or(last, |place| place.min(last));
        self.columns.get_mut(place)
    }

    /// Joins this with what it touches.
    fn hold(&mut self, lane: Lane, mut from: UnixMicros, mut until: UnixMicros) {
        let holds = &mut self.holds[lane.index()];
        let first = holds.partition_point(|(_, end)| *end < from);
        let behind = holds.partition_point(|(begin, _)| *begin <= until);
        if until <= from || (first == behind && holds.len() >= WAITS_MAX) {
            return;
        }
        for (begin, end) in holds.drain(first..behind.max(first)) {
            from = from.min(begin);
            until = until.max(end);
        }
        holds.insert(first, (from, until));
    }

    /// How long the run took.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.until.since(self.from)
    }

    /// When a column begins.
    #[must_use]
    pub fn begins(&self, column: usize) -> UnixMicros {
        self.from + self.width * u32::try_from(column).unwrap_or(u32::MAX)
    }

    /// When a column ends.
    #[must_use]
    pub fn ends(&self, column: usize) -> UnixMicros {
        if column + 1 >= self.columns.len() {
            return self.until;
        }
        self.begins(column + 1)
    }

    /// The longest waits, at most so many, in the order of time.
    #[must_use]
    pub fn longest_waits(&self, most: usize) -> Vec<Wait> {
        let mut waits = self.waits();
        waits.sort_by_key(|wait| Reverse(wait.took()));
        waits.truncate(most);
        waits.sort_by_key(|wait| (wait.from, wait.kind));
        waits
    }

    /// All waits in the order of time.
    #[must_use]
    pub fn waits(&self) -> Vec<Wait> {
        let holds = Lane::ALL.into_iter().flat_map(|lane| {
            let holds = self.holds[lane.index()].iter();
            holds.map(move |(from, until)| Wait {
                kind: WaitKind::Hold,
                lane: Some(lane),
                from: *from,
                until: *until,
                why: String::new(),
                unknown: 0,
            })
        });
        let mut waits: Vec<Wait> = holds.collect();
        waits.extend(self.outages.iter().chain(&self.closed).cloned());
        waits.extend(self.caps());
        waits.sort_by_key(|wait| (wait.from, wait.kind));
        waits
    }
}

/// How much time waits cover together: those on several lanes at once count once.
pub fn covered<'w>(waits: impl Iterator<Item = &'w Wait>) -> Duration {
    let (mut all, mut end) = (Duration::ZERO, UnixMicros(i64::MIN));
    for wait in waits {
        let from = wait.from.max(end);
        all += wait.until.since(from);
        end = end.max(wait.until);
    }
    all
}

/// The least width that makes at most [`COLUMNS_MAX`] columns, and how many. A last one of less than
/// half its width is joined to the one before.
fn columns(span: Duration) -> (Duration, usize) {
    let widths = WIDTHS_S.map(Duration::from_secs);
    let count = |width: Duration| span.as_micros().div_ceil(width.as_micros());
    let fits = |width: &Duration| count(*width) <= COLUMNS_MAX as u128;
    let days = u32::try_from(span.as_secs() / (86_400 * COLUMNS_MAX as u64)).unwrap_or(u32::MAX);
    let more = widths[WIDTHS_S.len() - 1].saturating_mul(days.saturating_add(1));
    let width = widths.into_iter().find(fits).unwrap_or(more);
    let mut columns = usize::try_from(count(width)).map_or(COLUMNS_MAX, |count| count.max(1));
    let last = span.as_micros() % width.as_micros();
    if columns > 1 && last > 0 && last * 2 < width.as_micros() {
        columns -= 1;
    }
    (width, columns)
}

fn of_outage(outage: &Outage, end: UnixMicros) -> Wait {
    Wait {
        kind: WaitKind::Outage,
        lane: outage.lane,
        from: outage.from,
        until: outage.until.unwrap_or(end).min(end),
        why: outage.why.clone(),
        unknown: 0,
    }
}

/// When nothing may leave at all, and when no calls may.
fn closed(calendar: &Calendar, from: UnixMicros, until: UnixMicros) -> Vec<Wait> {
    let mut closed = Vec::new();
    for (lane, all) in [(Lane::Sms, true), (Lane::Call, false)] {
        if !all && calendar.calls.window.is_none() {
            continue;
        }
        let mut at = from;
        while at < until && closed.len() < WAITS_MAX {
            let opens = calendar.opens(lane, at);
            if opens > at {
                closed.push(Wait {
                    kind: WaitKind::Closed,
                    lane: (!all).then_some(lane),
                    from: at,
                    until: opens.min(until),
                    why: String::new(),
                    unknown: 0,
                });
            }
            let Some(end) = calendar.closes(lane, opens) else {
                break;
            };
            at = end;
        }
    }
    closed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Planned;
    use crate::report::hours;
    use crate::run::tests::{POLICY, RUN, attempt, held, one_run, outage, second};

    fn of_span(seconds: u64) -> (u64, usize) {
        let (width, columns) = columns(Duration::from_secs(seconds));
        (width.as_secs(), columns)
    }

    #[test]
    fn columns_are_as_narrow_as_they_can_be_and_a_short_last_one_is_joined() {
        assert_eq!(of_span(0), (1, 1));
        assert_eq!(of_span(96), (1, 96));
        assert_eq!(of_span(97), (2, 49));
        assert_eq!(of_span(2_826), (30, 94));
        assert_eq!(of_span(10 * 30 + 2_700), (60, 50));
        assert_eq!(of_span(40 * 86_400), (43_200, 80));
        let (width, columns) = of_span(4_000 * 86_400);
        assert!(columns <= COLUMNS_MAX && width > 86_400);
    }

    #[test]
    fn holds_that_touch_are_one() {
        let run = crate::report::tests::samples::run();
        let mut timeline = Timeline::new(&run, None, &Runs::default(), &Calendar::default());
        timeline.until = second(1_000);
        for (from, until) in [(10, 20), (40, 50), (15, 30), (30, 40), (70, 80)] {
            timeline.hold(Lane::Sms, second(from), second(until));
        }
        let waits = timeline.waits();
        let spans: Vec<_> = waits.iter().map(|wait| (wait.from, wait.until)).collect();
        assert_eq!(spans, [(second(10), second(50)), (second(70), second(80))]);
    }

    #[test]
    fn hours_that_close_in_a_run_are_waits() {
        let calendar = Calendar {
            all: crate::calendar::Bounds {
                window: "09:00-21:00".parse().ok(),
                daily_cap: None,
            },
            ..Calendar::default()
        };
        let day = |text: &str| text.parse::<UnixMicros>().unwrap();
        let waits = closed(
            &calendar,
            day("2026-11-26T08:00:00Z"),
            day("2026-11-27T08:00:00Z"),
        );
        let spans: Vec<_> = waits.iter().map(|wait| (wait.from, wait.until)).collect();
        assert_eq!(
            spans,
            [
                (day("2026-11-26T08:00:00Z"), day("2026-11-26T09:00:00Z")),
                (day("2026-11-26T21:00:00Z"), day("2026-11-27T08:00:00Z")),
            ]
        );
    }

    #[test]
    fn a_cap_that_is_used_up_is_a_wait_until_the_next_day_and_one_that_ends_the_run_is_none() {
        let at = |text: &str| text.parse::<UnixMicros>().unwrap();
        let mut run = crate::report::tests::samples::run();
        run.started_at = at("2026-11-26T10:00:00Z");
        run.finished_at = Some(at("2026-11-28T00:00:09Z"));
        let planned = Planned {
            sms_before: 7,
            ..Planned::default()
        };
        run.settings[RunRecord::PLAN] = serde_json::to_value(planned).unwrap();
        let calendar = hours(&serde_json::json!({"daily_cap": 10, "timezone": "UTC"}));
        let runs = crate::report::tests::samples::runs();
        let mut timeline = Timeline::new(&run, None, &runs, &calendar);
        // Three are left on the first day, ten on the second; the last one ends the run.
        for (day, n) in [("26", 3), ("27", 10), ("28", 10)] {
            for second in 0..n {
                let hour = if day == "26" { "11" } else { "00" };
                let left = at(&format!("2026-11-{day}T{hour}:00:{second:02}Z"));
                let mut attempt = held(run.id, Lane::Sms, 3);
                attempt.begun_at = left;
                attempt.answer.as_mut().unwrap().left_at = Some(left);
                let mut row = crate::report::tests::samples::pending();
                row.state = crate::record::RowState::Job(vec![attempt]);
                timeline.add(&row, &runs);
            }
        }
        let waits = timeline.waits();
        let caps = waits.iter().filter(|wait| wait.kind == WaitKind::Cap);
        let caps: Vec<_> = caps.map(|wait| (wait.from, wait.until)).collect();
        assert_eq!(
            caps,
            [
                (at("2026-11-26T11:00:02Z"), at("2026-11-27T00:00:00Z")),
                (at("2026-11-27T00:00:09Z"), at("2026-11-28T00:00:00Z")),
            ]
        );
    }

    #[test]
    fn an_outage_tells_what_was_under_way_when_it_began_and_is_unknown() {
        let runs = one_run(POLICY, &outage(Some(Lane::Sms), 5, None));
        let run = RunRecord {
            id: RUN,
            started_at: second(0),
            finished_at: Some(second(60)),
            ..crate::report::tests::samples::run()
        };
        let mut timeline = Timeline::new(&run, None, &runs, &Calendar::default());
        for (lane, left_s) in [
            (Lane::Sms, 1),
            (Lane::Sms, 4),
            (Lane::Sms, 6),
            (Lane::Call, 4),
        ] {
            let mut row = crate::report::tests::samples::pending();
            let lost = attempt(RUN, lane, left_s, None);
            row.state = crate::record::RowState::Job(vec![lost]);
            timeline.add(&row, &runs);
        }
        let waits = timeline.waits();
        assert_eq!(waits[0].kind, WaitKind::Outage);
        assert_eq!(waits[0].unknown, 2);
    }

    #[test]
    fn requests_are_told_by_what_they_were_made_for() {
        let run = crate::report::tests::samples::run();
        let runs = crate::report::tests::samples::runs();
        let mut timeline = Timeline::new(&run, None, &runs, &Calendar::default());
        for row in &crate::report::tests::samples::rows() {
            timeline.add(row, &runs);
        }
        let asked = Asked {
            numbers: 3,
            retries: 1,
            fallbacks: 0,
            billed: [1, 1, 0],
        };
        assert_eq!(timeline.asked, asked);
    }

    #[test]
    fn a_request_that_was_held_is_to_be_tried_again() {
        let attempt = held(RUN, Lane::Sms, 3);
        assert_eq!(Came::of(&attempt, &Runs::default()), Came::Again);
    }
}

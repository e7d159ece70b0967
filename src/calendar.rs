//! Hours and days: when requests may leave by a clock on the wall, and how many on a day. Pure
//! policy: the time of day is passed in.
//!
//! A window is judged by what a clock on the wall shows. So an hour that is skipped when clocks go
//! forward is not there to be used, and one that is repeated when they go back is there twice.

use std::num::NonZeroU64;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{TimeZone, db};

use crate::job::{Lane, UnixMicros};

const DAY: Duration = Duration::from_hours(24);

/// So many days are looked through for the next time at which a window opens or closes: one of them
/// may be skipped by a change of the zone.
const DAYS_AHEAD: usize = 4;

/// The changes of a zone that are looked at: no zone has had more in so many days.
const CHANGES_AHEAD: usize = 4;

const MINUTES_OF_A_DAY: u16 = 24 * 60;

/// Hours of the day, to the minute. One that ends before it begins goes over midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first minute of the day.
    from: u16,
    /// The first one behind it; 24:00 at most.
    until: u16,
}

impl Window {
    /// Is this minute of the day within it?
    fn holds(self, minute: u16) -> bool {
        if self.from < self.until {
            (self.from..self.until).contains(&minute)
        } else {
            minute >= self.from || minute < self.until
        }
    }

    /// Is there a minute that is within both?
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.holds(other.from) || other.holds(self.from)
    }
}

impl FromStr for Window {
    type Err = String;

    /// `09:00-21:00`, `21:00-06:00`, `18:00-24:00`
    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || "wanted HH:MM-HH:MM, such as 09:00-21:00, or 21:00-06:00 over midnight";
        let minute = |text: &str| {
            let (hour, minute) = text.trim().split_once(':')?;
            let two_digits =
                |text: &str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
            let digits = two_digits(hour) && two_digits(minute);
            let hour: u16 = hour.parse().ok().filter(|_| digits)?;
            let minute: u16 = minute.parse().ok().filter(|minute| *minute < 60)?;
            Some(hour * 60 + minute).filter(|minute| *minute <= MINUTES_OF_A_DAY)
        };
        let (from, until) = text
            .split_once('-')
            .ok_or_else(|| format!("it has no end: {}", wanted()))?;
        let (from, until) = minute(from).zip(minute(until)).ok_or_else(wanted)?;
        if from == until || from == MINUTES_OF_A_DAY {
            return Err(format!(
                "it begins where it ends, so nothing could ever leave: {}; for the whole day leave it out",
                wanted()
            ));
        }
        Ok(Self { from, until })
    }
}

/// What binds requests to hours and days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// They leave only within these hours.
    pub window: Option<Window>,
    /// At most so many OTPs are sent on a day.
    pub daily_cap: Option<NonZeroU64>,
}

/// Hours and days in a time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// Whose clocks count.
    pub zone: TimeZone,
    /// What binds all requests. To check a code is no OTP, and counts against no cap.
    pub all: Bounds,
    /// What binds calls besides.
    pub calls: Bounds,
}

impl Default for Calendar {
    /// Always, and any number.
    fn default() -> Self {
        Self {
            zone: TimeZone::UTC,
            all: Bounds::default(),
            calls: Bounds::default(),
        }
    }
}

impl Calendar {
    /// What binds a lane.
    fn bounds(&self, lane: Lane) -> impl Iterator<Item = Bounds> {
        let calls = (lane == Lane::Call).then_some(self.calls);
        [self.all].into_iter().chain(calls)
    }

    fn windows(&self, lane: Lane) -> impl Iterator<Item = Window> {
        self.bounds(lane).filter_map(|bounds| bounds.window)
    }

    /// May a request leave then, as far as hours go?
    #[must_use]
    pub fn is_open(&self, lane: Lane, at: UnixMicros) -> bool {
        let time = || self.clock(at).time();
        self.windows(lane)
            .all(|window| window.holds(minute_of(time())))
    }

    /// The first time from then on at which a request may leave.
    #[must_use]
    pub fn opens(&self, lane: Lane, at: UnixMicros) -> UnixMicros {
        if self.is_open(lane, at) {
            return at;
        }
        // Windows that never open together are no settings: then it is asked again tomorrow.
        self.turns(lane, at).unwrap_or(at + DAY)
    }

    /// The first time after then at which no request may leave, if it may then; `None`: always.
    #[must_use]
    pub fn closes(&self, lane: Lane, at: UnixMicros) -> Option<UnixMicros> {
        self.turns(lane, at)
    }

    /// The first time after then at which it is otherwise: a window begins or ends, or the zone's
    /// clocks are set.
    fn turns(&self, lane: Lane, at: UnixMicros) -> Option<UnixMicros> {
        let is_open = self.is_open(lane, at);
        let days = std::iter::successors(Some(self.clock(at).date()), |day| day.tomorrow().ok());
        let edges = days.take(DAYS_AHEAD).flat_map(|day| {
            let minutes = self
                .windows(lane)
                .flat_map(|window| [window.from, window.until]);
            minutes.flat_map(move |minute| self.times(at_minute(day, minute)))
        });
        let changes = self.zone.following(timestamp(at)).take(CHANGES_AHEAD);
        let changes = changes.map(|change| micros(change.timestamp()));
        let turns = edges.chain(changes);
        turns
            .filter(|turn| *turn > at && self.is_open(lane, *turn) != is_open)
            .min()
    }

    /// When clocks show this: once, or twice when they are set back in between.
    fn times(&self, shown: DateTime) -> impl Iterator<Item = UnixMicros> + use<> {
        let times = self.zone.to_ambiguous_timestamp(shown);
        let times = [times.earlier(), times.later()];
        times.into_iter().flatten().map(micros)
    }

    /// When clocks show this for the first time, or skip it.
    fn when(&self, shown: DateTime) -> Option<UnixMicros> {
        let when = self.zone.to_ambiguous_timestamp(shown).compatible();
        when.ok().map(micros)
    }

    /// What a clock on the wall shows then.
    fn clock(&self, at: UnixMicros) -> DateTime {
        self.zone.to_datetime(timestamp(at))
    }

    /// The day that it is then: from its first moment up to that of the next.
    #[must_use]
    pub fn day(&self, at: UnixMicros) -> Range<UnixMicros> {
        let today = self.clock(at).date();
        // Where midnight is skipped, the day begins with what clocks show instead.
        let begins = |day: Date| self.when(day.at(0, 0, 0, 0));
        let tomorrow = today.tomorrow().ok().and_then(begins);
        begins(today).unwrap_or(at)..tomorrow.unwrap_or(at + DAY)
    }

    /// Is there a cap?
    #[must_use]
    pub fn has_caps(&self) -> bool {
        self.all.daily_cap.or(self.calls.daily_cap).is_some()
    }

    /// Does anything here depend on the time of day?
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.has_caps() || self.all.window.or(self.calls.window).is_some()
    }

    /// How many requests of a day may leave on a lane when so many have on each; `None`: any number.
    #[must_use]
    pub fn left_today(&self, lane: Lane, left: &[u64; Lane::ALL.len()]) -> Option<u64> {
        if lane == Lane::Verify {
            return None;
        }
        let calls = left[Lane::Call.index()];
        let otps = left[Lane::Sms.index()] + calls;
        let used = [otps, calls];
        let caps = self.bounds(lane).zip(used);
        caps.filter_map(|(bounds, used)| Some(bounds.daily_cap?.get().saturating_sub(used)))
            .min()
    }

    /// A time for people, as short as it can be at `now`: `09:00 IST`, `Fri 2026-11-27 09:00 IST`.
    #[must_use]
    pub fn shown(&self, at: UnixMicros, now: UnixMicros) -> String {
        let format = if self.clock(at).date() == self.clock(now).date() {
            "%H:%M %Z"
        } else {
            "%a %Y-%m-%d %H:%M %Z"
        };
        let at = timestamp(at).to_zoned_datetime(self.zone.clone());
        at.strftime(format).to_string()
    }

    /// A time that a user gave: `18:00`, the next time at which clocks show it after `now`;
    /// `2026-11-27 18:00`; or with an offset, `2026-11-27T18:00+05:30`.
    ///
    /// # Errors
    /// When it is none: says what is wanted.
    pub fn time(&self, text: &str, now: UnixMicros) -> Result<UnixMicros, String> {
        const WANTED: &str =
            "wanted a time, such as 18:00, \"2026-11-27 18:00\" or 2026-11-27T18:00+05:30";
        let text = text.trim();
        if !text.contains(':') {
            return Err(WANTED.to_owned());
        }
        if let Ok(exact) = text.parse::<Timestamp>() {
            return Ok(micros(exact));
        }
        if let Ok(shown) = text.parse::<DateTime>() {
            return self.when(shown).ok_or_else(|| WANTED.to_owned());
        }
        let time: Time = text.parse().map_err(|_| WANTED.to_owned())?;
        let days = std::iter::successors(Some(self.clock(now).date()), |day| day.tomorrow().ok());
        let days = days.take(DAYS_AHEAD);
        let mut times = days.filter_map(|day| self.when(DateTime::from_parts(day, time)));
        times.find(|at| *at > now).ok_or_else(|| WANTED.to_owned())
    }
}

/// A time zone by its name.
///
/// # Errors
/// When there is none: says which name is nearest.
pub fn zone(name: &str) -> Result<TimeZone, String> {
    /// From 0 to 1: less alike is no help.
    const ALIKE_MIN: f64 = 0.8;
    /// Shorter ones are abbreviations: IST is India's, Israel's and Ireland's.
    const LENGTH_MIN: usize = 5;
    if let Ok(zone) = TimeZone::get(name) {
        return Ok(zone);
    }
    let wanted = name.to_lowercase();
    let alike = |known: &str| {
        let known = known.to_lowercase();
        let city = known.rsplit('/').next().unwrap_or_default();
        strsim::jaro_winkler(&wanted, &known).max(strsim::jaro_winkler(&wanted, city))
    };
    let names = db().available().map(|known| known.to_string());
    let names = names.map(|known| (alike(&known), known));
    let nearest = names.max_by(|one, other| one.0.total_cmp(&other.0));
    let hint = match nearest {
        Some((alike, known)) if alike >= ALIKE_MIN && name.len() >= LENGTH_MIN => {
            format!("did you mean {known}?")
        }
        _ => "wanted a name such as Asia/Kolkata or Europe/Berlin".to_owned(),
    };
    Err(format!("there is no time zone {name:?}; {hint}"))
}

fn minute_of(time: Time) -> u16 {
    u16::from(time.hour().unsigned_abs()) * 60 + u16::from(time.minute().unsigned_abs())
}

/// A minute of a day; 24:00 is 00:00, for each day is looked at.
fn at_minute(day: Date, minute: u16) -> DateTime {
    let minute = minute % MINUTES_OF_A_DAY;
    let part = |part: u16| i8::try_from(part).unwrap_or_default();
    day.at(part(minute / 60), part(minute % 60), 0, 0)
}

fn timestamp(at: UnixMicros) -> Timestamp {
    Timestamp::from_microsecond(at.0).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn micros(at: Timestamp) -> UnixMicros {
    UnixMicros(at.as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(zone_name: &str, window: &str) -> Calendar {
        let window = Some(window.parse().unwrap());
        Calendar {
            zone: zone(zone_name).unwrap(),
            all: Bounds {
                window,
                ..Bounds::default()
            },
            ..Calendar::default()
        }
    }

    fn at(text: &str) -> UnixMicros {
        text.parse().unwrap()
    }

    /// The first times at which it is otherwise, from this one on.
    fn turns(calendar: &Calendar, from: &str, count: usize) -> Vec<String> {
        let turns = std::iter::successors(Some(at(from)), |at| calendar.turns(Lane::Sms, *at));
        let shown = |at: UnixMicros| at.to_string().replace(":00.000Z", "Z");
        turns.skip(1).take(count).map(shown).collect()
    }

    #[test]
    fn a_window_opens_and_closes_to_the_minute_day_by_day() {
        let day = calendar("Asia/Kolkata", "09:00-21:00");
        assert_eq!(
            turns(&day, "2026-11-26T00:00:00Z", 4),
            [
                "2026-11-26T03:30Z",
                "2026-11-26T15:30Z",
                "2026-11-27T03:30Z",
                "2026-11-27T15:30Z"
            ]
        );
        assert!(!day.is_open(Lane::Sms, at("2026-11-26T03:29:59.999Z")));
        assert!(day.is_open(Lane::Verify, at("2026-11-26T03:30:00Z")));
        assert!(day.is_open(Lane::Call, at("2026-11-26T15:29:59.999Z")));
        assert!(!day.is_open(Lane::Sms, at("2026-11-26T15:30:00Z")));
        let open = at("2026-11-26T12:00:00Z");
        assert_eq!(day.opens(Lane::Sms, open), open);
        assert_eq!(
            day.opens(Lane::Sms, at("2026-11-26T15:30:00Z")),
            at("2026-11-27T03:30:00Z")
        );
    }

    #[test]
    fn a_window_over_midnight_is_open_on_both_sides_of_it() {
        let night = calendar("Asia/Kolkata", "21:00-06:00");
        assert_eq!(
            turns(&night, "2026-11-26T12:00:00Z", 3),
            [
                "2026-11-26T15:30Z",
                "2026-11-27T00:30Z",
                "2026-11-27T15:30Z"
            ]
        );
        assert!(
            night.is_open(Lane::Sms, at("2026-11-26T18:30:00Z")),
            "midnight"
        );
        let evening = calendar("UTC", "18:00-24:00");
        assert_eq!(
            turns(&evening, "2026-11-26T12:00:00Z", 3),
            [
                "2026-11-26T18:00Z",
                "2026-11-27T00:00Z",
                "2026-11-27T18:00Z"
            ]
        );
        let always = calendar("UTC", "00:00-24:00");
        assert!(always.is_open(Lane::Sms, at("2026-11-26T00:00:00Z")));
        assert_eq!(turns(&always, "2026-11-26T12:00:00Z", 1), [""; 0]);
    }

    #[test]
    fn an_hour_that_is_skipped_is_not_there_and_one_that_is_repeated_is_there_twice() {
        // Berlin skips from 02:00 to 03:00 at 01:00Z, and repeats 02:00 to 03:00 at 01:00Z.
        let skipped = calendar("Europe/Berlin", "02:15-02:45");
        assert_eq!(
            turns(&skipped, "2026-03-28T12:00:00Z", 2),
            ["2026-03-30T00:15Z", "2026-03-30T00:45Z"]
        );
        let half = calendar("Europe/Berlin", "02:30-04:00");
        assert_eq!(
            turns(&half, "2026-03-28T12:00:00Z", 2),
            ["2026-03-29T01:00Z", "2026-03-29T02:00Z"],
            "from 03:00, the first time that clocks show"
        );
        assert_eq!(
            turns(&skipped, "2026-10-24T12:00:00Z", 5),
            [
                "2026-10-25T00:15Z",
                "2026-10-25T00:45Z",
                "2026-10-25T01:15Z",
                "2026-10-25T01:45Z",
                "2026-10-26T01:15Z"
            ]
        );
        // New York skips from 02:00 to 03:00 at 07:00Z, and repeats 01:00 to 02:00 at 06:00Z.
        let morning = calendar("America/New_York", "01:30-09:00");
        assert_eq!(
            turns(&morning, "2026-03-08T00:00:00Z", 2),
            ["2026-03-08T06:30Z", "2026-03-08T13:00Z"],
            "an hour less"
        );
        assert_eq!(
            turns(&morning, "2026-11-01T00:00:00Z", 4),
            [
                "2026-11-01T05:30Z",
                "2026-11-01T06:00Z",
                "2026-11-01T06:30Z",
                "2026-11-01T14:00Z"
            ],
            "the clock is set back out of it, too"
        );
    }

    #[test]
    fn days_are_as_long_as_they_are() {
        let hours = |zone: &str, time: &str| {
            let day = calendar(zone, "09:00-21:00").day(at(time));
            assert!(day.contains(&at(time)));
            day.end.since(day.start).as_secs() / 3_600
        };
        assert_eq!(hours("Asia/Kolkata", "2026-11-26T18:29:59Z"), 24);
        assert_eq!(hours("Europe/Berlin", "2026-03-29T12:00:00Z"), 23);
        assert_eq!(hours("Europe/Berlin", "2026-10-25T12:00:00Z"), 25);
        assert_eq!(hours("America/New_York", "2026-11-01T12:00:00Z"), 25);
        // Midnight itself is skipped there, and repeated here.
        assert_eq!(hours("Africa/Cairo", "2026-04-24T12:00:00Z"), 23);
        assert_eq!(hours("America/Havana", "2022-11-06T12:00:00Z"), 25);
        let leap = calendar("Asia/Kolkata", "09:00-21:00");
        let day = leap.day(at("2028-02-28T20:00:00Z"));
        assert_eq!(day, at("2028-02-28T18:30:00Z")..at("2028-02-29T18:30:00Z"));
        assert_eq!(
            leap.opens(Lane::Sms, at("2028-02-28T16:00:00Z")),
            at("2028-02-29T03:30:00Z"),
            "on the 29th"
        );
    }

    #[test]
    fn calls_keep_the_hours_of_all_and_their_own() {
        let mut calendar = calendar("UTC", "08:00-20:00");
        calendar.calls.window = Some("18:00-22:00".parse().unwrap());
        let noon = at("2026-11-26T12:00:00Z");
        assert_eq!(calendar.opens(Lane::Sms, noon), noon);
        assert_eq!(calendar.opens(Lane::Call, noon), at("2026-11-26T18:00:00Z"));
        assert_eq!(
            calendar.closes(Lane::Call, at("2026-11-26T18:00:00Z")),
            Some(at("2026-11-26T20:00:00Z"))
        );
        let window = |text: &str| text.parse::<Window>().unwrap();
        assert!(window("21:00-06:00").overlaps(window("05:00-08:00")));
        assert!(window("05:00-08:00").overlaps(window("21:00-06:00")));
        assert!(!window("21:00-06:00").overlaps(window("06:00-21:00")));
    }

    #[test]
    fn caps_count_otps_and_calls_pay_both() {
        let cap = |n| NonZeroU64::new(n);
        let mut calendar = Calendar::default();
        assert_eq!(calendar.left_today(Lane::Sms, &[1, 2, 3]), None);
        calendar.all.daily_cap = cap(10);
        calendar.calls.daily_cap = cap(4);
        assert_eq!(calendar.left_today(Lane::Sms, &[3, 2, 9]), Some(5));
        assert_eq!(calendar.left_today(Lane::Call, &[3, 2, 9]), Some(2));
        assert_eq!(calendar.left_today(Lane::Call, &[9, 0, 9]), Some(1));
        assert_eq!(calendar.left_today(Lane::Verify, &[9, 9, 9]), None);
        assert_eq!(calendar.left_today(Lane::Call, &[9, 9, 9]), Some(0));
    }

    #[test]
    fn windows_are_read_as_documented_and_refused_otherwise() {
        for bad in [
            "",
            "09:00",
            "09:00-",
            "9:00-21:00",
            "09:00-21",
            "09:60-21:00",
            "24:00-06:00",
            "09:00-24:01",
            "09:00-09:00",
            "+9:00-21:00",
            "09:00–21:00",
        ] {
            assert!(bad.parse::<Window>().is_err(), "{bad}");
        }
        assert!("09:00 - 21:00".parse::<Window>().is_ok());
    }

    #[test]
    fn times_are_the_next_that_clocks_show_or_exact() {
        let calendar = calendar("Asia/Kolkata", "09:00-21:00");
        let now = at("2026-11-26T12:30:00Z");
        for (text, expected) in [
            ("18:00", "2026-11-27T12:30:00Z"),
            ("18:01", "2026-11-26T12:31:00Z"),
            ("00:00", "2026-11-26T18:30:00Z"),
            ("2026-11-27 18:00", "2026-11-27T12:30:00Z"),
            ("2026-11-27T18:00:30", "2026-11-27T12:30:30Z"),
            ("2026-11-27T18:00+01:00", "2026-11-27T17:00:00Z"),
            ("2026-11-27T18:00Z", "2026-11-27T18:00:00Z"),
        ] {
            assert_eq!(calendar.time(text, now), Ok(at(expected)), "{text}");
        }
        for bad in ["", "6pm", "25:00", "2026-11-27", "tomorrow 18:00"] {
            assert!(calendar.time(bad, now).is_err(), "{bad}");
        }
        assert_eq!(calendar.shown(at("2026-11-26T15:30:00Z"), now), "21:00 IST");
        assert_eq!(
            calendar.shown(at("2026-11-27T03:30:00Z"), now),
            "Fri 2026-11-27 09:00 IST"
        );
    }

    #[test]
    fn a_zone_that_is_not_there_is_refused_with_the_nearest_name() {
        for (name, nearest) in [
            ("Asia/Kolkatta", "Asia/Kolkata"),
            ("Kolkata", "Asia/Kolkata"),
            ("berlin", "Europe/Berlin"),
            ("America/NewYork", "America/New_York"),
            ("IST", "wanted a name such as Asia/Kolkata"),
        ] {
            let error = zone(name).unwrap_err();
            assert!(error.contains(nearest), "{error}");
        }
        assert!(zone("asia/kolkata").is_ok());
    }
}

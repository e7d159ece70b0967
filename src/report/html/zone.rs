//! Times as clocks in the campaign's time zone show them.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::job::UnixMicros;

const DAY: Duration = Duration::from_hours(24);

/// Whose clocks the page goes by.
pub struct Zone(pub TimeZone);

impl Zone {
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    fn format(&self, at: UnixMicros, format: &str) -> String {
        let at = Timestamp::from_microsecond(at.0).unwrap_or_default();
        let at = at.to_zoned_datetime(self.0.clone());
        at.strftime(format).to_string()
    }

    /// `24 Nov 2026`
    pub fn date(&self, at: UnixMicros) -> String {
        self.format(at, "%-d %b %Y")
    }

    /// `10:00:04`
    pub fn clock(&self, at: UnixMicros) -> String {
        self.format(at, "%H:%M:%S")
    }

    /// `10:00:04`; in a span of more than a day `24 Nov 10:00`.
    pub fn moment(&self, at: UnixMicros, span: Duration) -> String {
        if span > DAY {
            return self.format(at, "%-d %b %H:%M");
        }
        self.clock(at)
    }

    /// `IST`
    pub fn short_name(&self, at: UnixMicros) -> String {
        self.format(at, "%Z")
    }

    /// `24 Nov 2026, 18:31 IST`
    pub fn date_and_time(&self, at: UnixMicros) -> String {
        self.format(at, "%-d %b %Y, %H:%M %Z")
    }

    /// The label of a tick, where ticks are `step` seconds apart in a span of `span` seconds.
    pub fn tick(&self, at: UnixMicros, step: i64, span: i64) -> String {
        match step {
            86_400.. => self.format(at, "%-d %b"),
            _ if span > 86_400 => self.format(at, "%-d %b %H:%M"),
            60.. => self.format(at, "%H:%M"),
            _ => self.format(at, "%H:%M:%S"),
        }
    }

    /// The times in a span at which clocks show a multiple of `step` seconds.
    pub fn round_times(&self, from: UnixMicros, until: UnixMicros, step: i64) -> Vec<UnixMicros> {
        const SECOND: i64 = 1_000_000;
        let at = Timestamp::from_microsecond(from.0).unwrap_or_default();
        let offset = i64::from(self.0.to_offset(at).seconds()) * SECOND;
        let step = step.max(1) * SECOND;
        let shown = from.0 + offset;
        let first = shown.div_euclid(step) + i64::from(shown.rem_euclid(step) > 0);
        let times = (first..).map(|n| UnixMicros(n * step - offset));
        times.take_while(|at| *at <= until).take(12).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar;
    use crate::report::hours;

    #[test]
    fn ticks_are_where_clocks_on_the_spot_show_round_times() {
        let zone = Zone(calendar::zone("Asia/Kolkata").unwrap());
        let from: UnixMicros = "2026-11-24T04:30:04Z".parse().unwrap();
        let until: UnixMicros = "2026-11-24T05:17:10Z".parse().unwrap();
        let ticks = zone.round_times(from, until, 600);
        let shown: Vec<String> = ticks.iter().map(|at| zone.tick(*at, 600, 2_826)).collect();
        assert_eq!(shown, ["10:10", "10:20", "10:30", "10:40"]);
        assert_eq!(zone.date_and_time(from), "24 Nov 2026, 10:00 IST");
        assert_eq!(zone.name(), "Asia/Kolkata");
        let unknown = serde_json::json!({"timezone": "Nowhere/Land"});
        assert_eq!(Zone(hours(&unknown).zone).name(), "UTC");
    }
}

//! How long a run takes, in words: what decides that, what waits, what is not reached.

use std::time::Duration;

use crate::campaign::Settings;
use crate::cli::forecast::{Forecast, Known, Pace, Wait};
use crate::figures::{count, counted, in_words};
use crate::job::{Lane, UnixMicros};
use crate::pace::Rate;

/// How long it takes, what decides that and when it is done; then what waits, and what is not
/// reached.
pub fn time(
    settings: &Settings,
    forecast: &Forecast,
    known: &Known,
    now: UnixMicros,
) -> (String, Vec<String>) {
    let calendar = &settings.limits.calendar;
    let shown = |at| calendar.shown(at, now);
    let took = forecast.ends.since(now);
    let first = match forecast.pace {
        None if took == Duration::ZERO => format!(
            "as fast as {} at once are answered (--concurrency)",
            settings.concurrency
        ),
        pace => {
            let pace = pace.map(|pace| format!(" at {}", speed(pace, settings, known)));
            let (took, ends) = (in_words(took), shown(forecast.ends));
            format!("about {took}{}, done at {ends}", pace.unwrap_or_default())
        }
    };
    let mut others = Vec::new();
    if forecast.starts > now {
        others.push(format!(
            "nothing leaves before {} (--start-at)",
            shown(forecast.starts)
        ));
    }
    for Wait {
        lane,
        left,
        until,
        flag,
    } in &forecast.waits
    {
        let wait = if *left == 1 { "waits" } else { "wait" };
        let used = known.left[Lane::Sms.index()] + known.left[Lane::Call.index()];
        let used = match used {
            used if used > 0 && flag.ends_with("cap") => {
                format!("; other runs have used up {} today", count(used))
            }
            _ => String::new(),
        };
        let (requests, until) = (requests(*lane, *left), shown(*until));
        others.push(format!("{requests} {wait} until {until} ({flag}{used})"));
    }
    let rest = match forecast.late {
        0 => String::new(),
        late => format!(": {} of them stay pending", count(late)),
    };
    if let Some(deadline) = settings.limits.deadline {
        let deadline = shown(deadline);
        others.push(format!(
            "nothing new is started after {deadline} (--deadline){rest}"
        ));
    } else if let Some(most) = settings.max_duration {
        let most = in_words(most);
        others.push(format!(
            "nothing new is started after {most} (--max-duration){rest}"
        ));
    }
    (first, others)
}

/// How fast requests leave, and which flag says so.
fn speed(pace: Pace, settings: &Settings, known: &Known) -> String {
    let limits = &settings.limits;
    let rate = |rate: Option<Rate>| rate.map_or(String::new(), |rate| rate.to_string());
    let at_once = |most: usize, lanes: &[Lane]| {
        let known = lanes
            .iter()
            .filter_map(|lane| known.latencies[lane.index()]);
        let slowest = known.max().unwrap_or_default().as_millis();
        format!("{most} at once, answered in {slowest} ms as of late")
    };
    let speed = match pace {
        Pace::Rate => rate(settings.rate),
        Pace::CallRate => rate(limits.call_rate),
        Pace::Concurrency => at_once(settings.concurrency.get(), &Lane::ALL),
        Pace::CallConcurrency => {
            let most = limits
                .call_concurrency
                .map_or(1, std::num::NonZeroUsize::get);
            at_once(most, &[Lane::Call])
        }
    };
    format!("{speed} (--{})", pace.flag())
}

/// So many requests of a lane.
pub fn requests(lane: Lane, n: u64) -> String {
    match lane {
        Lane::Sms => format!("{} sms", count(n)),
        Lane::Call => counted(n, "call", "calls"),
        Lane::Verify => counted(n, "code", "codes"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Plan, tests::due};
    use super::*;

    fn settings(flags: &str) -> Settings {
        crate::cli::tests::engine(&format!("otpdrive send list.csv {flags}"))
    }

    #[track_caller]
    fn says(plan: &Plan, settings: &Settings, known: &Known, now: UnixMicros, words: &[&str]) {
        let forecast = Forecast::new(settings, now, plan.started, known);
        let (first, others) = time(settings, &forecast, known, now);
        let text = format!("{first}; {}", others.join("; "));
        for word in words {
            assert!(text.contains(word), "no {word:?} in: {text}");
        }
    }

    /// 10:00 in India, on a Thursday.
    fn ten() -> UnixMicros {
        "2026-11-26T04:30:00Z".parse().unwrap()
    }

    #[test]
    fn a_plan_says_when_it_is_done_and_what_waits_for_which_flag() {
        for (plan, flags, words) in [
            (
                due(4_615, 0),
                "--rate 10/s",
                &["about 7m 42s at 10/s (--rate), done at 10:07 IST"][..],
            ),
            // Eleven hours at 1/s, and the rest.
            (
                due(40_000, 0),
                "--rate 1/s --window 09:00-21:00",
                &[
                    "400 sms wait until Fri 2026-11-27 09:00 IST (--window)",
                    "done at Fri 2026-11-27 09:06 IST",
                ],
            ),
            (
                due(100, 120),
                "--call-daily-cap 50 --call-window 11:00-21:00",
                &[
                    "120 calls wait until 11:00 IST (--call-window)",
                    "done at Sat 2026-11-28 11:00 IST",
                ],
            ),
            (
                due(0, 120),
                "--call-rate 30/m --max-duration 2m",
                &[
                    "about 4m 0s at 30/m (--call-rate)",
                    "after 2m 0s (--max-duration): 60 of them stay pending",
                ],
            ),
            (
                due(10, 0),
                "--rate unlimited --concurrency 7",
                &["as fast as 7 at once are answered (--concurrency)"],
            ),
        ] {
            says(&plan, &settings(flags), &Known::default(), ten(), words);
        }
        let now = UnixMicros(0);
        let mut settings = settings("--rate 10/s --timezone UTC");
        settings.limits.start_at = Some(now + Duration::from_hours(1));
        settings.limits.deadline = Some(now + Duration::from_secs(3_630));
        let words = [
            "before 01:00 UTC (--start-at)",
            "after 01:00 UTC (--deadline): 300 of them stay pending",
        ];
        says(&due(600, 0), &settings, &Known::default(), now, &words);
    }

    #[test]
    fn what_other_runs_sent_and_how_long_answers_took_is_counted_in() {
        let known = Known {
            left: [30, 20, 0],
            latencies: [Some(Duration::from_millis(800)), None, None],
        };
        let caps = settings("--daily-cap 100 --call-daily-cap 25");
        let words = [
            "50 sms wait until Fri 2026-11-27 00:00 IST (--daily-cap; other runs have used up 50 today)",
        ];
        says(&due(100, 0), &caps, &known, ten(), &words);
        let calls = ["5 calls wait until Fri 2026-11-27 00:00 IST (--call-daily-cap"];
        says(&due(0, 10), &caps, &known, ten(), &calls);
        let few = settings("--rate 100/s --concurrency 8");
        let words = ["about 1m 40s at 8 at once, answered in 800 ms as of late (--concurrency)"];
        says(&due(1_000, 0), &few, &known, ten(), &words);
    }
}

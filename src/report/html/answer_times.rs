//! How long answers took, as a histogram on a logarithmic axis.

use hdrhistogram::Histogram;

use super::svg::{Chart, ticks};
use crate::figures::{count, counted, millis, share, short};
use crate::report::answers::AnswerTimes;

/// Fewer answers make no chart.
const LEAST: u64 = 20;

const TOP: u32 = 46;
const HIGH: u32 = 132;

/// The section.
pub struct Section {
    pub intro: String,
    pub chart: String,
    pub caption: String,
    /// Range, answers, so far.
    pub lines: Vec<[String; 3]>,
}

/// The section; `None` where there are too few answers.
pub fn section(latencies: &Histogram<u64>) -> Option<Section> {
    let all = latencies.len();
    if all < LEAST {
        return None;
    }
    let times = AnswerTimes::new(latencies);
    #[expect(clippy::cast_precision_loss, reason = "an hour at most")]
    let quantile = |q| latencies.value_at_quantile(q) as f64 / 1_000.0;
    #[expect(clippy::cast_precision_loss, reason = "an hour at most")]
    let slowest = millis(latencies.max() as f64 / 1_000.0);
    let marks = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)].map(|(name, q)| (name, quantile(q)));
    let [p50, p95, p99] = marks.map(|(_, ms)| millis(ms));
    let answers = counted(all, "answer", "answers");
    let finding = format!(
        "Histogram of {answers} on a logarithmic axis. Half came within {p50}, 95 % within {p95}, 99 % within {p99}; the slowest took {slowest}."
    );
    let mut chart = Chart::new("la", TOP + HIGH + 24, "How long answers took", &finding);
    draw(&mut chart, &times);
    let bottom = f64::from(TOP + HIGH);
    for ((name, ms), line) in marks.into_iter().zip([10.0, 24.0, 38.0]) {
        let x = 100.0 * times.place(ms);
        chart.down("mk", x, line + 4.0, bottom);
        let class = if x > 75.0 { "e" } else { "" };
        let text = millis(ms);
        chart.put(format_args!(
            r#"<text class="{class}" x="{x:.2}%" y="{line}" dx="-1"><tspan class="b">{name}</tspan> {text}</text>"#
        ));
    }
    Some(Section {
        intro: format!("{answers}. Requests that got none are not in it."),
        chart: chart.done(),
        caption: format!(
            "p90 {}, slowest {slowest}. Logarithmic, ten columns for each tenfold.",
            millis(quantile(0.9))
        ),
        lines: table(&times, all),
    })
}

fn draw(chart: &mut Chart, times: &AnswerTimes) {
    let most = times.bins.iter().map(|(_, _, n)| *n).max().unwrap_or(1);
    #[expect(clippy::cast_precision_loss, reason = "counts of answers")]
    let most = most.max(1) as f64;
    let (top, high) = (f64::from(TOP), f64::from(HIGH));
    for tick in ticks(most) {
        let y = top + high * (1.0 - tick / most);
        chart.across("gr", y).label(y, &short(tick));
    }
    chart.label(top + high, "0");
    #[expect(clippy::cast_precision_loss, reason = "counts of answers")]
    let columns = times.bins.iter().map(|(_, _, n)| (*n as f64 / most, 10));
    let columns: Vec<(f64, u32)> = columns.collect();
    chart.columns(("sent", "f"), (TOP, HIGH), &columns);
    chart.across("ax", top + high);
    // 1, 2 and 5 times a power of ten, as many as there is room for.
    let round = (-3..7).flat_map(|power| [1.0, 2.0, 5.0].map(|x| x * 10_f64.powi(power)));
    let (Some(first), Some(last)) = (times.bins.first(), times.bins.last()) else {
        return;
    };
    let inside = |ms: &f64| *ms >= first.0 * 0.999 && *ms <= last.1 * 1.001;
    let round: Vec<f64> = round.filter(inside).collect();
    for ms in round.iter().step_by(round.len().div_ceil(5).max(1)) {
        let x = 100.0 * times.place(*ms);
        chart.down("ax", x, top + high, top + high + 5.0);
        let class = match x {
            x if x < 4.0 => "m",
            x if x > 96.0 => "m e",
            _ => "m c",
        };
        chart.text(class, x, top + high + 18.0, &millis(*ms));
    }
}

/// Two columns to a line.
fn table(times: &AnswerTimes, all: u64) -> Vec<[String; 3]> {
    let mut so_far = 0;
    let lines = times.bins.chunks(2).filter_map(|two| {
        let (from, to) = (two.first()?.0, two.last()?.1);
        let answers: u64 = two.iter().map(|(_, _, n)| n).sum();
        so_far += answers;
        let range = format!("{} to {}", millis(from), millis(to));
        (answers > 0).then(|| [range, count(answers), share(so_far, all)])
    });
    lines.collect()
}

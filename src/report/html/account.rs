//! The account in one picture: all rows as one bar, and the small statuses enlarged below it.

use super::svg::Chart;
use crate::figures::{count, counted, percent};
use crate::status::Status;
use crate::summary::Counts;

/// Statuses with a smaller share, in per cent, are shown enlarged.
const SMALL: f64 = 6.0;

/// One alone with at least this share stays where it is.
const ALONE: f64 = 1.0;

/// No segment is narrower, in per cent of the bar.
const LEAST: f64 = 1.2;

/// In which order the enlarged ones stand: those that need a person first.
const ENLARGED: [Status; 10] = [
    Status::Unknown,
    Status::Failed,
    Status::Rejected,
    Status::Invalid,
    Status::Sent,
    Status::Verified,
    Status::NotVerified,
    Status::Duplicate,
    Status::Suppressed,
    Status::Pending,
];

const PENDING: &str = r#"<defs><pattern id="hp" class="pending" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path class="hs" d="M0 0v7"/></pattern></defs>"#;

/// The chart; `None` when there are no rows.
pub fn chart(counts: &Counts) -> Option<String> {
    let rows = counts.total();
    let there: Vec<(Status, u64)> = counts.iter().filter(|(_, count)| *count > 0).collect();
    if rows == 0 {
        return None;
    }
    let is_small = |count: u64| percent(count, rows) < SMALL;
    let small: Vec<_> = there.iter().filter(|(_, count)| is_small(*count)).collect();
    let alone = match small[..] {
        [(status, count)] if percent(*count, rows) >= ALONE => Some((*status, *count)),
        _ => None,
    };
    let enlarged = !small.is_empty() && alone.is_none();
    let height = match (enlarged, alone) {
        (true, _) => 150,
        (false, Some(_)) => 78,
        (false, None) => 58,
    };
    let said: Vec<String> = there
        .iter()
        .map(|(status, n)| format!("{} {}", status.name(), count(*n)))
        .collect();
    let in_words = counted(rows, "row in the file", "rows in the file");
    let finding = format!("{in_words}: {}.", said.join(", "));
    let mut chart = Chart::new("ba", height, "Rows in, statuses out", &finding);
    if counts[Status::Pending] > 0 {
        chart.raw(PENDING);
    }
    chart.text("b", 0.0, 11.0, &in_words);
    let first = there
        .iter()
        .filter(|(_, n)| !enlarged || !is_small(*n))
        .copied();
    let widths: Vec<(Status, u64, f64)> = first.map(|(s, n)| (s, n, percent(n, rows))).collect();
    let end = segments(&mut chart, &widths, 19.0);
    if let Some((status, n)) = alone {
        let text = format!("{} {}", status.name(), count(n));
        chart.text("m e", 100.0, 68.0, &text);
    }
    if enlarged {
        others(&mut chart, counts, end);
    }
    Some(chart.done())
}

/// Draws segments one after the other; says where the last one ends.
fn segments(chart: &mut Chart, widths: &[(Status, u64, f64)], y: f64) -> f64 {
    let mut x = 0.0;
    for (status, n, width) in widths {
        if *status == Status::Pending {
            chart.put(format_args!(
                r#"<rect class="pending band" fill="url(#hp)" x="{x:.2}%" width="{width:.2}%" y="{y}" height="30"/>"#
            ));
        } else {
            chart.bar(status.name(), x, *width, y, 30.0);
        }
        if x > 0.0 {
            chart.down("gap", x, y - 1.0, y + 31.0);
        }
        let (name, number) = (status.name(), count(*n));
        let class = if *status == Status::Pending {
            "b c"
        } else {
            "on c"
        };
        let (middle, line) = (x + width / 2.0, y + 19.0);
        match *width {
            wide if wide >= 20.0 => {
                chart.text(class, middle, line, &format!("{name} {number}"));
            }
            wide if wide >= 11.0 => {
                chart.put(format_args!(
                    r#"<text class="{class}" x="{middle:.2}%" y="{line}"><tspan class="w">{name} </tspan>{number}</text>"#
                ));
            }
            wide if wide >= SMALL => {
                chart.text(&format!("{class} w"), middle, line, &number);
            }
            _ => {}
        }
        x += width;
    }
    x
}

/// The small ones, enlarged, with brackets that say which of them need a person.
fn others(chart: &mut Chart, counts: &Counts, from: f64) {
    let rows = counts.total();
    let small = ENLARGED.map(|status| (status, counts[status]));
    let small = small
        .into_iter()
        .filter(|(_, n)| *n > 0 && percent(*n, rows) < SMALL);
    let small: Vec<(Status, u64)> = small.collect();
    let all: u64 = small.iter().map(|(_, n)| n).sum();
    let raised: f64 = small.iter().map(|(_, n)| percent(*n, all).max(LEAST)).sum();
    let widths: Vec<(Status, u64, f64)> = small
        .iter()
        .map(|(status, n)| (*status, *n, 100.0 * percent(*n, all).max(LEAST) / raised))
        .collect();
    let times = (rows + all / 2) / all.max(1);
    chart.bar("pending", from, 100.0 - from, 19.0, 30.0);
    chart.down("gap", from, 18.0, 50.0);
    chart.put(format_args!(
        r#"<svg class="pending" y="50" height="32" width="100%" viewBox="0 0 100 32" preserveAspectRatio="none"><path class="soft" d="M{from:.2} 0H100V32H0z"/></svg><text class="e" x="100%" y="76">the other <tspan class="b">{}</tspan>, enlarged {} times</text>"#,
        count(all),
        count(times)
    ));
    segments(chart, &widths, 82.0);
    let needing = |needs: bool| {
        let these = widths
            .iter()
            .filter(move |(s, ..)| s.needs_a_person() == needs);
        these.fold((0, 0.0), |(n, wide), (_, more, width)| {
            (n + more, wide + width)
        })
    };
    let (person, wide) = needing(true);
    let (nothing, _) = needing(false);
    let mut bracket = |x: f64, width: f64, label: &str, n: u64, at_end: bool| {
        if n == 0 {
            return;
        }
        chart.put(format_args!(
            r#"<svg y="116" x="{x:.2}%" width="{width:.2}%" height="8" overflow="visible"><line class="ax" x1="3" x2="100%" y1="6" y2="6"/><line class="ax" x1="3" x2="3" y2="6"/><line class="ax" x1="100%" x2="100%" y2="6"/></svg>"#
        ));
        let text = format!("{label} {}", count(n));
        // Where there is no room below the bracket, it stands at the end of the line.
        match (width < 30.0, at_end) {
            (false, _) => chart.text("b c", x + width / 2.0, 139.0, &text),
            (true, false) => chart.text("b", 0.0, 139.0, &text),
            (true, true) => chart.text("b e", 100.0, 139.0, &text),
        };
    };
    bracket(0.0, wide, "need a person", person, false);
    let label = if widths.iter().any(|(status, ..)| *status == Status::Pending) {
        "do not"
    } else {
        "nothing to do"
    };
    bracket(wide, 100.0 - wide, label, nothing, true);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(of: &[(Status, u64)]) -> Counts {
        let mut counts = Counts::default();
        for (status, n) in of {
            for _ in 0..*n {
                counts += *status;
            }
        }
        counts
    }

    #[test]
    fn small_statuses_are_enlarged_and_one_alone_is_named() {
        let many = counts(&[
            (Status::Sent, 950),
            (Status::Rejected, 20),
            (Status::Duplicate, 30),
        ]);
        let text = chart(&many).unwrap();
        assert!(text.contains("enlarged 20 times"), "{text}");
        assert!(text.contains("need a person 20") && text.contains("nothing to do 30"));
        let one = chart(&counts(&[(Status::Pending, 19), (Status::Invalid, 1)])).unwrap();
        assert!(
            !one.contains("enlarged") && one.contains(">invalid 1<"),
            "{one}"
        );
        assert!(
            chart(&counts(&[(Status::Sent, 1)]))
                .unwrap()
                .contains("sent 1")
        );
        assert_eq!(chart(&Counts::default()), None);
    }
}

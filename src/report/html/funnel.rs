//! From sent to verified.

use super::cost::money;
use super::svg::Chart;
use crate::figures::{count, percent, share, span, trimmed};
use crate::report::funnel::{Fates, Funnel};
use crate::text::visible;

/// Values of the user's own column that are told apart, besides none; the rest is one line.
const GROUPS: usize = 6;

/// The section.
pub struct Section {
    pub intro: String,
    pub chart: String,
    /// Channel, sent, verified, wrong, no answer.
    pub channels: Vec<[String; 5]>,
    /// The user's own column.
    pub column: String,
    /// The same by it, with the share that verified.
    pub groups: Vec<Group>,
    /// All together.
    pub whole: Group,
    pub more: Vec<(&'static str, String)>,
}

/// One value of the user's own column.
pub struct Group {
    pub name: String,
    pub sent: String,
    pub verified: String,
    pub share: String,
    pub percent: String,
    /// In which the true share lies, 95 times out of 100.
    pub low: String,
    pub high: String,
}

/// The section; `None` where nobody was sent to.
pub fn section(funnel: &Funnel) -> Option<Section> {
    if funnel.sent == 0 {
        return None;
    }
    let times = funnel.time_to_verify_s.as_ref().map(|times| {
        let time = |seconds| span(std::time::Duration::from_secs_f64(seconds));
        format!(
            "Half of those who verified did so within {} of the OTP, 90 % within {}.",
            time(times.p50),
            time(times.p90)
        )
    });
    let channels = [
        ("sms", &funnel.by_channel.sms),
        ("call", &funnel.by_channel.call),
    ];
    let channels = channels.into_iter().filter_map(|(name, fates)| {
        let fates = fates.as_ref()?;
        let numbers = [fates.sent, fates.verified, fates.wrong, fates.unanswered].map(count);
        let [sent, verified, wrong, unanswered] = numbers;
        Some([name.to_owned(), sent, verified, wrong, unanswered])
    });
    let mut more = Vec::new();
    for (nth, numbers) in &funnel.by_attempt {
        let requests = if *nth == 1 { "request" } else { "requests" };
        more.push((
            "verified after",
            format!("{nth} {requests}: {}", count(*numbers)),
        ));
    }
    if let Some(cost) = funnel.cost_per_verified {
        more.push(("cost per number verified", money(cost)));
    }
    Some(Section {
        intro: times.unwrap_or_else(|| "Nobody has verified yet.".to_owned()),
        chart: chart(funnel),
        channels: channels.collect(),
        column: visible(funnel.by_column.as_deref().unwrap_or_default()).into_owned(),
        groups: groups(funnel),
        whole: group("all", funnel.verified, funnel.sent),
        more,
    })
}

fn chart(funnel: &Funnel) -> String {
    let answered = funnel.verified + funnel.wrong;
    let finding = format!(
        "{} sent; {} codes came back ({}); {} verified ({}). {} did not answer, {} gave a wrong code.",
        count(funnel.sent),
        count(answered),
        share(answered, funnel.sent),
        count(funnel.verified),
        share(funnel.verified, funnel.sent),
        count(funnel.unanswered),
        count(funnel.wrong)
    );
    let mut chart = Chart::new("fu", 138, "From sent to verified", &finding);
    let (mut before, mut whole) = ("sent", 100.0);
    for (place, (name, n, class, aside)) in [
        ("sent", funnel.sent, "sent", String::new()),
        (
            "code came back",
            answered,
            "duplicate",
            format!("{} did not answer", count(funnel.unanswered)),
        ),
        (
            "verified",
            funnel.verified,
            "verified",
            format!("{} gave a wrong code", count(funnel.wrong)),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let y = 12 + 46 * u32::try_from(place).unwrap_or(0);
        let (n, part) = (n, percent(n, funnel.sent));
        let (number, of) = (count(n), share(n, funnel.sent));
        let bar = f64::from(y + 6);
        chart.put(format_args!(
            r#"<text y="{y}"><tspan class="b">{name} {number}</tspan><tspan class="m"> · {of}</tspan></text>"#
        ));
        if !aside.is_empty() {
            chart.text("m e w", 100.0, f64::from(y), &aside);
        }
        chart.bar(&format!("{before} behind"), 0.0, whole, bar, 20.0);
        chart.bar(class, 0.0, part, bar, 20.0);
        (before, whole) = (class, part);
    }
    chart.done()
}

/// The largest values of the user's own column, the numbers without one, and the others together.
fn groups(funnel: &Funnel) -> Vec<Group> {
    let by = funnel.by.iter().flatten();
    let by = by.map(|(name, fates)| (name.as_str(), *fates));
    let (empty, mut groups): (Vec<_>, Vec<_>) = by.partition(|(name, _)| name.is_empty());
    groups.sort_by_key(|(name, fates)| (std::cmp::Reverse(fates.sent), *name));
    let rest = groups.split_off(groups.len().min(GROUPS));
    groups.extend(empty.iter().map(|(_, fates)| ("(empty)", *fates)));
    if groups.len() + rest.len() < 2 {
        return Vec::new();
    }
    let others = rest.iter().fold(Fates::default(), |mut sum, (_, fates)| {
        sum.join(fates);
        sum
    });
    let name = match rest.len() {
        1 => "1 other".to_owned(),
        n => format!("{} others", count(n as u64)),
    };
    if !rest.is_empty() {
        groups.push((&name, others));
    }
    let groups = groups.iter();
    let groups = groups.map(|(name, fates)| group(name, fates.verified, fates.sent));
    groups.collect()
}

fn group(name: &str, verified: u64, sent: u64) -> Group {
    let (low, high) = interval(verified, sent);
    Group {
        name: visible(name).into_owned(),
        sent: count(sent),
        verified: count(verified),
        share: share(verified, sent),
        percent: trimmed(percent(verified, sent), 1),
        low: trimmed(low, 1),
        high: trimmed(high, 1),
    }
}

/// Between which shares, in per cent, the true one lies, 95 times out of 100: Wilson's interval.
#[expect(clippy::cast_precision_loss, reason = "counts of numbers")]
fn interval(part: u64, whole: u64) -> (f64, f64) {
    const Z: f64 = 1.959_964;
    if whole == 0 {
        return (0.0, 100.0);
    }
    let (n, p) = (whole as f64, part as f64 / whole as f64);
    let scale = 1.0 + Z * Z / n;
    let middle = (p + Z * Z / (2.0 * n)) / scale;
    let half = Z / scale * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let percent = |x: f64| (100.0 * x).clamp(0.0, 100.0);
    (percent(middle - half), percent(middle + half))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_wilsons() {
        // As R's binom.confint(…, methods = "wilson") has them.
        for (part, whole, low, high) in [
            (127, 318, 34.7, 45.4),
            (696, 1_657, 39.6, 44.4),
            (0, 10, 0.0, 27.8),
            (10, 10, 72.2, 100.0),
        ] {
            let found = interval(part, whole);
            assert!((found.0 - low).abs() < 0.06, "{part} of {whole}: {found:?}");
            assert!(
                (found.1 - high).abs() < 0.06,
                "{part} of {whole}: {found:?}"
            );
        }
    }
}

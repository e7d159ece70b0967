//! From sent to verified.

use super::svg::Chart;
use crate::figures::{count, percent, share, span, trimmed};
use crate::report::funnel::{Fates, Funnel};

/// Values of the user's own column that are told apart; the rest is one line.
const GROUPS: usize = 7;

/// The section.
pub struct Section {
    pub intro: String,
    pub chart: String,
    /// Channel, sent, verified, wrong, no answer.
    pub channels: Vec<[String; 5]>,
    /// The same by try or by the user's own column, with the share that verified.
    pub groups: Vec<Group>,
    pub more: Vec<(&'static str, String)>,
}

/// One value of the user's own column.
pub struct Group {
    pub name: String,
    pub sent: String,
    pub verified: String,
    pub share: String,
    pub percent: String,
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
        more.push(("cost per number verified", format!("{cost:.2}")));
    }
    Some(Section {
        intro: times.unwrap_or_else(|| "Nobody has verified yet.".to_owned()),
        chart: chart(funnel),
        channels: channels.collect(),
        groups: groups(funnel),
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
        chart.bar(class, 0.0, part, bar, 20.0);
    }
    chart.done()
}

/// The largest values of the user's own column, and the others together.
fn groups(funnel: &Funnel) -> Vec<Group> {
    let mut groups: Vec<(&str, Fates)> = funnel
        .by
        .iter()
        .flatten()
        .map(|(name, fates)| (name.as_str(), *fates))
        .collect();
    groups.sort_by_key(|(name, fates)| (std::cmp::Reverse(fates.sent), *name));
    let rest = groups.split_off(groups.len().min(GROUPS));
    let others = rest.iter().fold(Fates::default(), |mut sum, (_, fates)| {
        sum.join(fates);
        sum
    });
    let name = format!("{} others", rest.len());
    if !rest.is_empty() {
        groups.push((&name, others));
    }
    let groups = groups.iter().map(|(name, fates)| Group {
        name: if name.is_empty() { "(empty)" } else { name }.to_owned(),
        sent: count(fates.sent),
        verified: count(fates.verified),
        share: share(fates.verified, fates.sent),
        percent: trimmed(percent(fates.verified, fates.sent), 1),
    });
    groups.collect()
}

//! The verdict in one sentence, and the figures beside it.

use super::Source;
use crate::exit::Exit;
use crate::figures::{count, counted, share, span, trimmed};
use crate::job::Operation;
use crate::run::End;
use crate::status::Status;

/// What it comes to.
pub struct Verdict {
    /// For its colour and sign.
    pub class: &'static str,
    pub tag: String,
    pub exit: Option<u8>,
    pub headline: String,
    pub lead: String,
}

/// A figure.
pub struct Fact {
    pub label: &'static str,
    pub value: String,
    pub note: String,
}

/// The verdict.
pub fn verdict(source: &Source<'_>) -> Verdict {
    let counts = source.summary.counts();
    let needing = needing(source);
    let run = source.input.run;
    let balances = counts.total() == source.input.campaign.input.rows;
    let exit = run
        .end
        .as_ref()
        .map(|end| Exit::of_run(end, |status| counts[status]) as u8);
    let pending = counts[Status::Pending];
    let (class, tag) = match &run.end {
        _ if !balances => ("rejected", "The account does not balance: a bug".to_owned()),
        None if source.is_on() => {
            let at = source.zone.clock(source.timeline.until);
            ("pending", format!("Running: as of {at}"))
        }
        None => (
            "needs",
            "Ended without closing (killed, or power cut)".to_owned(),
        ),
        Some(End::Stopped(stop)) => (
            "rejected",
            format!("Stopped: {}", first_sentence(&stop.message)),
        ),
        Some(End::Interrupted(_)) => ("needs", "Interrupted".to_owned()),
        Some(End::Complete) if needing > 0 => {
            let rows = counted(needing, "row needs a person", "rows need a person");
            ("needs", format!("Done, and {rows}"))
        }
        Some(End::Complete) => ("verified", "Done".to_owned()),
    };
    let rehearsal = if source.input.campaign.sandbox {
        "Rehearsal, nothing was sent to anybody: "
    } else {
        ""
    };
    Verdict {
        class,
        tag: format!("{rehearsal}{tag}"),
        exit: if balances {
            exit
        } else {
            Some(Exit::Bug as u8)
        },
        headline: headline(source, pending),
        lead: lead(source),
    }
}

/// Rows that a person has to look at.
pub fn needing(source: &Source<'_>) -> u64 {
    let counts = source.summary.counts().iter();
    let needing = counts.filter(|(status, _)| status.needs_a_person());
    needing.map(|(_, n)| n).sum()
}

/// Numbers that were asked, or are to be.
fn asked(source: &Source<'_>) -> u64 {
    let counts = source.summary.counts().iter();
    let asked = counts.filter(|(status, _)| status.is_asked());
    asked.map(|(_, n)| n).sum()
}

/// Those that came to what was wanted.
fn wanted(source: &Source<'_>) -> u64 {
    let counts = source.summary.counts();
    match source.input.campaign.operation {
        Operation::Send => counts[Status::Sent],
        Operation::Verify => counts[Status::Verified],
    }
}

fn headline(source: &Source<'_>, pending: u64) -> String {
    let (asked, wanted) = (asked(source), wanted(source));
    let nothing_done = asked > 0 && pending == asked;
    match source.input.campaign.operation {
        _ if asked == 0 => "Nobody was asked: no row of the file can be".to_owned(),
        Operation::Send if nothing_done => {
            format!(
                "Nothing was sent: all {} are waiting",
                counted(asked, "number", "numbers")
            )
        }
        Operation::Verify if nothing_done => {
            format!(
                "Nothing was checked: all {} are waiting",
                counted(asked, "code", "codes")
            )
        }
        Operation::Send if pending > 0 => {
            format!("{} sent, {} are waiting", count(wanted), count(pending))
        }
        Operation::Verify if pending > 0 => {
            format!("{} verified, {} are waiting", count(wanted), count(pending))
        }
        Operation::Send => format!(
            "{} of {} sent an OTP",
            count(wanted),
            counted(asked, "number was", "numbers were")
        ),
        Operation::Verify => format!(
            "{} of {} right",
            count(wanted),
            counted(asked, "code was", "codes were")
        ),
    }
}

fn lead(source: &Source<'_>) -> String {
    let counts = source.summary.counts();
    let mut said = Vec::new();
    if let Some(End::Stopped(stop)) = &source.input.run.end {
        said.push(format!("{}.", sentence(&stop.message)));
    }
    let (run, at_work) = (source.input.run, source.input.at_work);
    if run.id != at_work.id && run.end == Some(End::Complete) {
        said.push(format!(
            "The run of {} found nothing to do: all were settled before. Times are those of the run before it.",
            source.zone.date_and_time(run.started_at)
        ));
    }
    let doubtful = [Status::Rejected, Status::Failed, Status::Unknown].map(|status| counts[status]);
    let doubtful: u64 = doubtful.iter().sum();
    if doubtful > 0 {
        said.push(format!(
            "{} refused, failed or in doubt.",
            counted(doubtful, "number was", "numbers were")
        ));
    }
    if counts[Status::Invalid] > 0 {
        let rows = counted(
            counts[Status::Invalid],
            "row of the file",
            "rows of the file",
        );
        said.push(format!("{rows} could not be used."));
    }
    let earlier = source.input.earlier.counts().total();
    if earlier > 0 {
        said.push(format!(
            "{} attempted before and no longer in the file.",
            counted(earlier, "number was", "numbers were")
        ));
    }
    said.join(" ")
}

/// Five figures at most.
pub fn facts(source: &Source<'_>) -> Vec<Fact> {
    let counts = source.summary.counts();
    let (asked, wanted, pending) = (asked(source), wanted(source), counts[Status::Pending]);
    let label = match source.input.campaign.operation {
        Operation::Send => "Sent",
        Operation::Verify => "Verified",
    };
    let first = Fact {
        label,
        value: count(wanted),
        note: format!("{} of {} asked", share(wanted, asked), count(asked)),
    };
    let waiting = (pending > 0).then(|| Fact {
        label: "Pending",
        value: count(pending),
        note: format!("of {}", counted(counts.total(), "row", "rows")),
    });
    let person = Fact {
        label: "Need a person",
        value: count(needing(source)),
        note: format!("of {}", counted(counts.total(), "row", "rows")),
    };
    let attempts = source.summary.attempts();
    let requests = Fact {
        label: "Requests",
        value: count(attempts.total),
        note: counted(attempts.retries, "of them a retry", "of them retries"),
    };
    let took = source.timeline.took();
    let pace = trimmed(source.timeline.pace.achieved_per_s(), 2);
    let took = Fact {
        label: "Took",
        value: span(took),
        note: match source.timeline.pace.departures() {
            0 | 1 => "from start to end".to_owned(),
            _ => format!("{pace}/s while sending"),
        },
    };
    let spent = source.cost().map(|cost| Fact {
        label: "Spent",
        value: cost.total,
        note: "all runs".to_owned(),
    });
    let (first, waiting) = match waiting {
        // Where nothing was done, that is what matters.
        Some(waiting) if wanted == 0 => (waiting, Some(first)),
        waiting => (first, waiting),
    };
    let facts = [
        Some(first),
        waiting,
        Some(person),
        Some(requests),
        Some(took),
        spent,
    ];
    facts.into_iter().flatten().take(6).collect()
}

/// The words of a message as a sentence begins, numbers masked.
pub fn sentence(message: &str) -> String {
    let message = crate::number::mask_numbers(message);
    let mut chars = message.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => message,
    }
}

/// What stands before a full stop, a colon or a semicolon.
fn first_sentence(text: &str) -> String {
    let end = text.find([';', ':']).or_else(|| text.find(". "));
    crate::number::mask_numbers(&text[..end.unwrap_or(text.len())])
}

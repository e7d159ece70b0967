//! What needs a person: how many, what to do, and the exact command.

use super::Source;
use crate::figures::count;
use crate::job::Operation;
use crate::report::commands::{self, Pieces};
use crate::run::End;
use crate::status::Status;
use crate::summary::LINES_NAMED;
use crate::text::visible;

/// Reasons that are named where there are more rows.
const REASONS_NAMED: usize = 2;

/// What is quoted of one.
const WORDS_MAX: usize = 120;

/// One thing to do.
pub struct Item {
    pub count: String,
    pub class: &'static str,
    pub what: &'static str,
    pub title: &'static str,
    pub text: String,
    /// Each in pieces: a flag and its value stay on one line.
    pub commands: Vec<Pieces>,
    pub note: String,
}

/// All of it, the most urgent first.
pub fn items(source: &Source<'_>) -> Vec<Item> {
    let mut items = Vec::new();
    if let Some(End::Stopped(stop)) = &source.input.run.end
        && stop.kind.needs_a_change()
    {
        items.push(Item {
            count: "1st".to_owned(),
            class: "rejected",
            what: "stopped",
            title: "Change what stopped the run",
            text: format!("{}.", super::verdict::sentence(&stop.message)),
            commands: Vec::new(),
            note: String::new(),
        });
    }
    for status in [
        Status::Pending,
        Status::Unknown,
        Status::Failed,
        Status::Rejected,
        Status::Invalid,
    ] {
        let rows = source.summary.counts()[status];
        // What is pending while the run is on needs nobody.
        if rows > 0 && !(status == Status::Pending && source.is_on()) {
            items.push(item(source, status, rows));
        }
    }
    items
}

fn item(source: &Source<'_>, status: Status, rows: u64) -> Item {
    let verifies = source.input.campaign.operation == Operation::Verify;
    let (title, text, commands, note) = match status {
        Status::Pending => (
            "Run the same command again",
            "It goes on where this run stopped. Nobody who was sent to gets a second OTP."
                .to_owned(),
            again(source),
            "",
        ),
        Status::Unknown => (
            "Ask the provider whether these were sent",
            said(
                source,
                status,
                "Each of them may have an OTP. None is sent to again until you say so.",
            ),
            vec![
                only(source, status),
                commands::settle(source.input.campaign, source.input.ledger),
            ],
            if verifies {
                ""
            } else {
                "Keep in the file those that the provider knows, and settle them as above; settle the rest --as unsent, and the next run sends to them."
            },
        ),
        Status::Failed => (
            "Run the same command again",
            said(
                source,
                status,
                "Their tries are used up, and they were surely never accepted. Nobody else is sent to twice by it.",
            ),
            again(source),
            "",
        ),
        Status::Rejected => (
            "Look at these numbers",
            said(
                source,
                status,
                "Refused by the gateway: its words stand in otp_detail. Asking again brings the same answer.",
            ),
            vec![only(source, status)],
            "",
        ),
        _ => (
            "Mend these rows at their source",
            said(
                source,
                status,
                "Rows that are mended in the same file are sent to by the same command.",
            ),
            vec![only(source, status)],
            "",
        ),
    };
    let is_unknown_code = verifies && status == Status::Unknown;
    Item {
        count: count(rows),
        class: status.name(),
        what: status.name(),
        title: if is_unknown_code {
            "Run the same command again"
        } else {
            title
        },
        text: if is_unknown_code {
            "The code may have been used up by a request whose answer was lost.".to_owned()
        } else {
            text
        },
        commands: if is_unknown_code {
            again(source)
        } else {
            commands
        },
        note: note.to_owned(),
    }
}

/// The command of the latest run as it was given; none where it was not kept.
fn again(source: &Source<'_>) -> Vec<Pieces> {
    source.command().into_iter().collect()
}

fn only(source: &Source<'_>, status: Status) -> Pieces {
    let mut pieces = commands::only(source.input.campaign, source.input.ledger, &[status]);
    pieces.push(format!("> {}.csv", status.name()));
    pieces
}

/// Which rows it is about and why, and what that means.
fn said(source: &Source<'_>, status: Status, meaning: &str) -> String {
    let reasons = reasons(source, status);
    match reasons.as_str() {
        "" => meaning.to_owned(),
        reasons => format!("{reasons} {meaning}"),
    }
}

/// Which rows they are while they are few, else the most frequent reasons.
fn reasons(source: &Source<'_>, status: Status) -> String {
    let summary = source.summary;
    if summary.counts()[status] <= LINES_NAMED as u64 {
        return by_line(summary.lines(status));
    }
    let reasons = summary.details(status);
    let reasons = reasons.iter().take(REASONS_NAMED);
    let reasons: Vec<String> = reasons
        .map(|said| format!("{}: {}.", count(said.count), quoted(said.message)))
        .collect();
    reasons.join(" ")
}

/// `Lines 3 and 8: a letter among the digits. Line 9: two numbers in one cell.`
fn by_line(lines: &[(u64, String)]) -> String {
    let mut said: Vec<(&str, Vec<String>)> = Vec::new();
    for (line, why) in lines {
        match said.iter_mut().find(|(known, _)| known == why) {
            Some((_, lines)) => lines.push(count(*line)),
            None => said.push((why, vec![count(*line)])),
        }
    }
    let said = said.iter().map(|(why, lines)| {
        let (last, others) = lines
            .split_last()
            .map_or(("", &[][..]), |(last, others)| (last, others));
        let lines = match others {
            [] => format!("Line {last}"),
            others => format!("Lines {} and {last}", others.join(", ")),
        };
        match *why {
            "" => format!("{lines}."),
            why => format!("{lines}: {}.", quoted(why)),
        }
    });
    said.collect::<Vec<_>>().join(" ")
}

/// Words of others, not too many of them, and without the full stop that follows.
fn quoted(words: &str) -> String {
    let words: String = words.chars().take(WORDS_MAX).collect();
    visible(words.trim_end_matches('.')).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_the_same_reason_stand_together() {
        let line = |line, why: &str| (line, why.to_owned());
        let lines = [
            line(3, "two numbers."),
            line(1_008, "two numbers."),
            line(9, "barred"),
            line(10, ""),
        ];
        assert_eq!(
            by_line(&lines),
            "Lines 3 and 1,008: two numbers. Line 9: barred. Line 10."
        );
    }
}

//! What needs a person: how many, what to do, and the exact command.

use super::Source;
use crate::figures::count;
use crate::job::Operation;
use crate::report::commands::{self, Pieces};
use crate::run::End;
use crate::status::Status;
use crate::text::visible;

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
        if rows > 0 {
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
            "It goes on where this run stopped. Nobody who was sent to gets a second OTP.".to_owned(),
            again(source),
            "",
        ),
        Status::Unknown => (
            "Ask the provider whether these were sent",
            "They may have been delivered. None of them is sent to again until you say so.".to_owned(),
            vec![
                only(source, status),
                commands::settle(source.input.campaign, source.input.ledger),
            ],
            if verifies { "" } else {
                "Keep in the file those that the provider knows, and settle them as above; settle the rest --as unsent, and the next run sends to them."
            },
        ),
        Status::Failed => (
            "Run the same command again",
            "Their tries are used up, and they were surely never accepted. Nobody else is sent to twice by it.".to_owned(),
            again(source),
            "",
        ),
        Status::Rejected => (
            "Look at these numbers",
            "Refused by the gateway: its words stand in otp_detail. Asking again brings the same answer.".to_owned(),
            vec![only(source, status)],
            "",
        ),
        _ => (
            "Mend these rows at their source",
            reasons(source),
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
    source
        .command()
        .map(|command| vec![command])
        .into_iter()
        .collect()
}

fn only(source: &Source<'_>, status: Status) -> Pieces {
    let mut pieces = commands::only(source.input.campaign, source.input.ledger, &[status]);
    pieces.push(format!("> {}.csv", status.name()));
    pieces
}

fn reasons(source: &Source<'_>) -> String {
    let reasons = source.summary.details(Status::Invalid);
    let reasons = reasons.iter().take(2);
    let reasons: Vec<String> = reasons
        .map(|said| format!("{}: {}.", count(said.count), visible(said.message)))
        .collect();
    format!(
        "{} Rows that are mended in the same file are sent to by the same command.",
        reasons.join(" ")
    )
}

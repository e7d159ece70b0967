//! `purge`: takes the people out of campaigns that are over.

use std::fmt::Write as _;

use anyhow::ensure;

use super::config::Mode;
use super::exit::Exit;
use super::report::{open, print, shown_name};
use super::screen::Screen;
use super::values::{self, Values};
use crate::clock;
use crate::ledger::{Campaign, Purged, Store};
use crate::status::Status;
use crate::text::visible;

/// What is over with the numbers.
const OVER: &str = "Nothing is known any more of whom they sent to: \"never twice\", --cooldown, --max-age, `report` and `who` do not count them, and no run goes on with them; their names are taken. Lists, result files and backups are not touched: they are yours to delete";

/// Purges, or says what would be.
///
/// # Errors
/// When the ledger is not there, cannot be read or written, or a run is on.
pub fn purge(values: &Values, screen: &Screen) -> anyhow::Result<Exit> {
    let older_than = values.required("older-than", values::duration)?;
    let path = Mode::of(values).ledger(values)?;
    ensure!(
        Store::exists(&path)?,
        "there is no ledger {path}. Name it with --ledger"
    );
    let now = clock::wall();
    let out = std::io::stdout().lock();
    if values.is_on("dry-run") {
        let ledger = open(&path)?;
        let due = ledger.due_for_purge(now, older_than, &ledger.on()?)?;
        let text = in_words(
            &due,
            values,
            "would be purged; nothing was changed (--dry-run)",
        );
        return print(out, text.as_bytes());
    }
    let mut ledger = Store::open(&path)?;
    let due = ledger.due_for_purge(now, older_than, &ledger.on()?)?;
    let swept = ledger.purge(&due, now)?;
    print(out, in_words(&due, values, "purged").as_bytes())?;
    if !swept {
        screen.error("otpdrive: somebody reads in the ledger (a report, a viewer, a backup), so its log still holds what was purged. Wait for the end of that, then run the same command again");
        return Ok(Exit::Stopped);
    }
    Ok(Exit::Done)
}

fn in_words(due: &[Purged], values: &Values, what: &str) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    for purged in due {
        let record = &purged.campaign;
        let _ = write!(
            text,
            "{} ({}{}): {} rows, {}{}; last active {}",
            visible(&shown_name(&record.name, values)),
            record.operation.name(),
            if record.sandbox { ", --sandbox" } else { "" },
            purged.counts.total(),
            purged.counts.in_words(),
            super::report::earlier_in_words(&purged.earlier),
            purged.last_active
        );
        let open = |status| purged.counts[status] + purged.earlier[status];
        let left = [Status::Unknown, Status::Pending, Status::Failed];
        let left = left.map(|status| (status.name(), open(status)));
        let left: Vec<String> = left
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        if !left.is_empty() {
            let _ = write!(text, "; never came to an end: {}", left.join(", "));
        }
        text.push('\n');
    }
    match due.len() {
        0 => text.push_str("no campaign is that old: no more is purged\n"),
        n => {
            let _ = writeln!(
                text,
                "{n} {} {what}. {OVER}",
                if n == 1 { "campaign" } else { "campaigns" }
            );
        }
    }
    text
}

/// Refuses a campaign that was purged.
///
/// # Errors
/// When it was.
pub fn ensure_not_purged(
    ledger: &Store,
    campaign: &Campaign,
    values: &Values,
) -> anyhow::Result<()> {
    let purged = ledger.purged()?;
    let id = campaign.record.id;
    if let Some(purged) = purged.iter().find(|purged| purged.campaign.id == id) {
        anyhow::bail!(
            "campaign {} was purged at {}: its numbers and rows are gone. It had {} rows: {}{}",
            visible(&shown_name(&campaign.record.name, values)),
            purged.at,
            purged.counts.total(),
            purged.counts.in_words(),
            super::report::earlier_in_words(&purged.earlier)
        );
    }
    Ok(())
}

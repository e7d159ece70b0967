//! Joins a campaign that checks codes to those that sent them.

use std::ops::ControlFlow;

use anyhow::ensure;
use secrecy::SecretString;

use super::config::KEY_VARIABLE;
use crate::contacts::{Region, is_phone_or_code, place_of, read_number};
use crate::gateway;
use crate::job::{Operation, UnixMicros};
use crate::ledger::sqlite::SqliteLedger;
use crate::ledger::{Campaign, Records, Store as _};
use crate::number::mask_numbers;
use crate::record::RunRecord;
use crate::report::funnel::{Funnel, Tally};
use crate::report::results::cells;
use crate::run::RunId;
use crate::text::visible;

/// So many rows of a list are looked at to see whether a column holds numbers.
const ROWS_LOOKED_AT: usize = 1_000;

/// The funnel of a campaign whose latest run at work is this one; none of one that sends. `by` is a
/// column of the lists that were sent to.
///
/// # Errors
/// When the ledger cannot be read.
pub fn funnel(
    ledger: &SqliteLedger,
    of: &Campaign,
    at_work: &RunRecord,
    on: Option<RunId>,
    by: Option<&str>,
) -> anyhow::Result<Option<Funnel>> {
    let id = of.record.id;
    if of.record.operation == Operation::Send {
        return Ok(None);
    }
    let until = at_work.finished_at.unwrap_or(UnixMicros(i64::MAX));
    let records = by.map_or(Records::Skip, |_| Records::Read);
    let mut all = Tally::default();
    let key = std::env::var(KEY_VARIABLE).unwrap_or_default();
    let redactor = gateway::redactor(&SecretString::from(key));
    for sender in ledger.senders(&of.record)? {
        let sends = sender.record.id;
        let runs = ledger.runs(sends)?;
        let (mut tally, mut is_joined) = (Tally::default(), false);
        // Where the column stands: mostly all records have one header.
        let (mut of_header, mut place) = (None, None);
        ledger.for_each_journey(&sender, records, on, &mut |header, row, journey| {
            tally.bill(row.outcome(&runs).billed);
            let answered = journey.answered(id, until);
            if let Some(answered) = answered.filter(|answered| answered.otp.campaign == sends) {
                is_joined |= journey.knows(id);
                let cell = by.map(|by| {
                    if of_header.as_deref() != Some(header) {
                        of_header = Some(header.to_owned());
                        place = place_of(by, &cells(header));
                    }
                    let cell = place.and_then(|place| cells(&row.record).into_iter().nth(place));
                    redactor.clean(&cell.unwrap_or_default()).into_owned()
                });
                tally.add(&answered, cell.as_deref());
            }
            ControlFlow::Continue(())
        })?;
        if is_joined {
            let prices = ledger.latest_run(sends)?.and_then(|run| run.prices());
            all.join(&tally, prices);
        }
    }
    Ok(Some(all.into_funnel(by)))
}

/// Can the numbers be told apart by this column of the lists that were sent to?
///
/// # Errors
/// When no list has it, or it holds numbers or codes; or the ledger cannot be read.
pub fn ensure_tells_apart(ledger: &SqliteLedger, by: &str, sandbox: bool) -> anyhow::Result<()> {
    let shown = visible(by);
    let mut columns: Vec<String> = Vec::new();
    let mut is_there = false;
    for of in ledger.campaigns()? {
        if of.record.operation == Operation::Verify || of.record.sandbox != sandbox {
            continue;
        }
        let names = cells(&of.record.input.header);
        let Some(place) = place_of(by, &names) else {
            columns.extend(names);
            continue;
        };
        is_there = true;
        let settings = ledger.latest_run(of.record.id)?.map(|run| run.settings);
        let settings = settings.unwrap_or_default();
        let is = |key: &str| settings[key].as_str() == Some(&names[place]);
        let mut is_number = is_phone_or_code(&names[place])
            || ["phone_column", "country_code_column", "otp_column"]
                .into_iter()
                .any(is);
        let region: Option<Region> = settings["region"].as_str().and_then(|it| it.parse().ok());
        let mut left = ROWS_LOOKED_AT;
        ledger.for_each_row(&of, Records::Read, &mut |row| {
            let cell = cells(&row.record)
                .into_iter()
                .nth(place)
                .unwrap_or_default();
            let read = region.is_some_and(|region| read_number(&cell, region).is_ok());
            is_number |= read || mask_numbers(&cell) != cell;
            left -= 1;
            if is_number || left == 0 {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        ensure!(
            !is_number,
            "--by: the column {shown} holds numbers or codes, one for each person: name one that many people share, such as a branch or a city"
        );
    }
    columns.sort_unstable();
    columns.dedup();
    let columns = match columns.join(", ") {
        none if none.is_empty() => "none".to_owned(),
        some => some,
    };
    ensure!(
        is_there,
        "--by: no list that this ledger sent to has a column {shown}; they have: {}",
        visible(&columns)
    );
    Ok(())
}

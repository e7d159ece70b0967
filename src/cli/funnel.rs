//! Joins a campaign that checks codes to those that sent them.

use std::collections::HashSet;
use std::ops::ControlFlow;

use anyhow::ensure;
use secrecy::SecretString;

use super::config::KEY_VARIABLE;
use crate::contacts::{Region, is_phone_or_code, place_of, read_number};
use crate::gateway;
use crate::job::{Operation, UnixMicros};
use crate::ledger::{Campaign, Records, Store};
use crate::number::mask_numbers;
use crate::record::RunRecord;
use crate::report::funnel::{Funnel, Tally};
use crate::report::results::cells;
use crate::run::RunId;
use crate::text::visible;

/// So many cells of a column are looked at to see whether it holds numbers or codes.
const CELLS_LOOKED_AT: usize = 1_000;

/// The funnel of a campaign whose latest run at work is this one; none of one that sends. `by` is a
/// column of the lists that were sent to.
///
/// # Errors
/// When the ledger cannot be read.
pub fn funnel(
    ledger: &Store,
    of: &Campaign,
    at_work: &RunRecord,
    on: &[RunId],
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
pub fn ensure_tells_apart(ledger: &Store, by: &str, sandbox: bool) -> anyhow::Result<()> {
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
        let is_named_so = is_phone_or_code(&names[place])
            || ["phone_column", "country_code_column", "otp_column"]
                .into_iter()
                .any(is);
        let region: Option<Region> = settings["region"].as_str().and_then(|it| it.parse().ok());
        let mut looked = LookedAt::default();
        ledger.for_each_row(&of, Records::Read, &mut |row| {
            let cell = cells(&row.record).into_iter().nth(place);
            looked.add(cell.unwrap_or_default().trim(), region);
            if looked.has_numbers || looked.cells == CELLS_LOOKED_AT {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        ensure!(
            !is_named_so && !looked.has_numbers && !looked.has_codes(),
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

/// What stands in a column, as far as it was looked at.
#[derive(Default)]
struct LookedAt {
    /// How many cells; empty ones are none.
    cells: usize,
    has_numbers: bool,
    /// How many have as many digits as a code.
    with_digits: usize,
    /// Those of them that differ, by their digits.
    distinct: HashSet<String>,
}

impl LookedAt {
    fn add(&mut self, cell: &str, region: Option<Region>) {
        const CODE_MIN: usize = 4;
        if cell.is_empty() {
            return;
        }
        self.cells += 1;
        let read = region.is_some_and(|region| read_number(cell, region).is_ok());
        self.has_numbers |= read || mask_numbers(cell) != cell;
        let digits: String = cell.chars().filter(|c| c.is_numeric()).collect();
        if digits.chars().count() >= CODE_MIN {
            self.with_digits += 1;
            self.distinct.insert(digits);
        }
    }

    /// Codes under another name: digits in many cells, in nearly each others. The same goes for all
    /// that tells one person from the next.
    fn has_codes(&self) -> bool {
        let many = self.with_digits * 10 >= self.cells;
        self.with_digits > 0 && many && self.distinct.len() * 5 > self.with_digits * 4
    }
}

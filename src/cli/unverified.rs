//! `report --unverified`: who was sent to and has not verified since, as a list for a second step.

use std::io::{self, Write};
use std::ops::ControlFlow;

use anyhow::Context as _;

use super::screen::Screen;
use super::values::{self, Values};
use crate::clock;
use crate::contacts::{self, Region};
use crate::ledger::{Campaign, Purged, Records, Store};
use crate::record::Row;
use crate::report::results::{cells, fitted};
use crate::run::Runs;
use crate::status::Status;

/// Prints the user's own columns of these rows, but those of other numbers, codes, country codes and
/// channels: whatever settings the list was read with, the second step reads the same numbers. Nothing
/// ties the rows to this campaign, so that they can be sent to in another. `Ok(Err(_))`: they could not
/// be printed.
///
/// # Errors
/// When the ledger cannot be read.
pub fn print(
    ledger: &Store,
    campaign: &Campaign,
    runs: &Runs,
    values: &Values,
    out: impl Write,
    screen: &Screen,
) -> anyhow::Result<io::Result<()>> {
    let older_than = values.optional("older-than", values::duration)?;
    let (older_than, now) = (older_than.unwrap_or_default(), clock::wall());
    let id = campaign.record.id;
    let own = Own::of(ledger, campaign)?;
    let mut csv = csv::Writer::from_writer(out);
    let mut printed = csv.write_record(&own.names);
    let purged = ledger.purged()?;
    let counts = |purged: &&Purged| purged.campaign.sandbox == campaign.record.sandbox;
    let forgotten = purged
        .iter()
        .filter(counts)
        .map(|purged| purged.last_active)
        .max();
    let mut left_out = 0;
    let records = Records::Read;
    ledger.for_each_journey(campaign, records, runs.on(), &mut |header, row, journey| {
        let is_sent = row.outcome(runs).status == Status::Sent;
        if is_sent && journey.is_unverified(id, now, older_than) {
            if journey.latest_otp().map(|otp| otp.left_at) <= forgotten {
                left_out += 1;
            } else if printed.is_ok() {
                printed = csv.write_record(own.cells(header, row));
            }
        }
        match printed {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    if left_out > 0 {
        screen.say(&format!(
            "{left_out} more have not verified as far as this ledger knows, but it does not know all: campaigns that went on later were purged. They are left out"
        ));
    }
    Ok(printed.map_err(io::Error::from).and_then(|()| csv.flush()))
}

/// The columns of a list from which no other number can be read.
struct Own {
    header: String,
    names: Vec<String>,
    /// Where they stand.
    places: Vec<usize>,
    /// Which of them is that of the numbers.
    phone: usize,
    region: Region,
}

impl Own {
    fn of(ledger: &Store, campaign: &Campaign) -> anyhow::Result<Self> {
        let header = campaign.record.input.header.clone();
        let all = cells(&header);
        let settings = ledger.latest_run(campaign.record.id)?;
        let settings = settings.map(|run| run.settings).unwrap_or_default();
        let phone = settings["phone_column"].as_str();
        let phone = phone.and_then(|phone| all.iter().position(|name| name == phone));
        let phone = phone.context("the column of numbers")?;
        let is_kept = |place: &usize| *place == phone || !contacts::is_read(&all[*place]);
        let places: Vec<usize> = (0..all.len()).filter(is_kept).collect();
        let names = places.iter().map(|place| match all[*place].as_str() {
            // By another name it would not be found.
            name if *place == phone && !contacts::is_phone(name) => "phone".to_owned(),
            name => name.to_owned(),
        });
        Ok(Self {
            names: names.collect(),
            header,
            places,
            phone,
            // The one in which whoever is given no other reads them.
            region: "IN".parse().context("the region")?,
        })
    }

    /// The cells of a row, as they were. But a number that reads as another one, or as none, without
    /// the settings that this list was read with is written out.
    fn cells(&self, header: &str, row: &Row) -> Vec<String> {
        let mut cells = cells(&fitted(row, header, &self.header, None).record);
        let phone = cells.get_mut(self.phone);
        if let (Some(cell), Some(number)) = (phone, row.number)
            && contacts::read_number(cell, self.region) != Ok(number)
        {
            *cell = number.e164();
        }
        let own = self.places.iter().map(|place| cells.get(*place).cloned());
        own.map(Option::unwrap_or_default).collect()
    }
}

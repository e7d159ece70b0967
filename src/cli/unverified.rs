//! `report --unverified`: who was sent to and has not verified since, as a list for a second step.

use std::io::{self, Write};
use std::ops::ControlFlow;

use anyhow::Context as _;

use super::screen::Screen;
use super::values::{self, Values};
use crate::clock;
use crate::contacts::{self, Region};
use crate::ledger::sqlite::SqliteLedger;
use crate::ledger::{Campaign, Purged, Records, Store as _};
use crate::record::Row;
use crate::report::results::{cells, fitted};
use crate::run::Runs;
use crate::status::Status;

/// Prints the user's own columns of these rows, and nothing of ours: nothing ties them to this
/// campaign, so that they can be sent to in another. `Ok(Err(_))`: they could not be printed.
///
/// # Errors
/// When the ledger cannot be read.
pub fn print(
    ledger: &SqliteLedger,
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

/// The columns of a list.
struct Own {
    header: String,
    names: Vec<String>,
    /// Where the numbers stand.
    phone: Option<usize>,
    /// Where channels may stand: which one it was says nothing of the next.
    channels: Vec<usize>,
    region: Region,
}

impl Own {
    fn of(ledger: &SqliteLedger, campaign: &Campaign) -> anyhow::Result<Self> {
        let header = campaign.record.input.header.clone();
        let names = cells(&header);
        let settings = ledger.latest_run(campaign.record.id)?;
        let settings = settings.map(|run| run.settings).unwrap_or_default();
        let phone = settings["phone_column"].as_str();
        let is_channel = |place: &usize| contacts::is_channel(&names[*place]);
        Ok(Self {
            header,
            phone: phone.and_then(|phone| names.iter().position(|name| name == phone)),
            channels: (0..names.len()).filter(is_channel).collect(),
            // The one in which whoever is given no other reads them.
            region: "IN".parse().context("the region")?,
            names,
        })
    }

    /// The cells of a row, as they were. But a number that reads as another one, or as none, without
    /// the settings that this list was read with is written out, and a channel is left open.
    fn cells(&self, header: &str, row: &Row) -> Vec<String> {
        let mut cells = cells(&fitted(row, header, &self.header, None).record);
        for channel in &self.channels {
            cells.get_mut(*channel).map(String::clear);
        }
        let phone = self.phone.and_then(|place| cells.get_mut(place));
        if let (Some(cell), Some(number)) = (phone, row.number)
            && contacts::read_number(cell, self.region) != Ok(number)
        {
            *cell = format!("+{}", number.digits());
        }
        cells
    }
}

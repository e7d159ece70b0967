//! `report`: renderings of what the ledger knows.

use std::io::{ErrorKind, IsTerminal as _};
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context as _, bail};

use super::closing::Closing;
use super::config::Mode;
use super::exit::Exit;
use super::screen::{Screen, Visible};
use super::terminal::width_of_texts;
use super::values::{self, Values};
use crate::job::Operation;
use crate::ledger::sqlite::SqliteLedger;
use crate::ledger::{Campaign, Records, Store as _};
use crate::number::mask_name;
use crate::record::{CampaignId, RunRecord};
use crate::report::json::schema;
use crate::report::results::fitted;
use crate::report::timeline::Timeline;
use crate::report::{Pace, ReportError, ReportInput, Visit, hours, print_only, write_all};
use crate::run::Runs;
use crate::summary::Summary;

/// Rewrites the result files of a campaign, or prints some of its rows.
///
/// # Errors
/// When the ledger or the campaign is not there, or something cannot be written.
pub fn report(values: &Values, screen: &Screen) -> anyhow::Result<Exit> {
    let out = std::io::stdout().lock();
    if values.is_on("schema") {
        return print(out, schema().as_bytes());
    }
    let only = values.optional("only", values::statuses)?;
    let ledger = open(&Mode::of(values).ledger(values))?;
    let operation = values.optional("operation", values::word)?;
    let campaign = choose(&ledger, values, None, operation)?;
    let record = &campaign.record;
    let runs = runs(&ledger, campaign.record.id)?;
    if let Some(only) = only {
        let run = ledger.latest_run(record.id)?;
        let codes = run
            .as_ref()
            .and_then(|run| run.settings["otp_column"].as_str());
        let rows = |each: &mut Visit<'_>| {
            let mut going = ControlFlow::Continue(());
            ledger.for_each_row(&campaign, Records::Read, &mut |row| {
                going = each(row);
                going
            })?;
            if going.is_break() {
                return Ok(());
            }
            // Who stands in the file no more is still somebody to look after.
            ledger.for_each_former(record.id, &mut |header, row| {
                each(&fitted(row, header, &record.input.header, codes))
            })
        };
        // To a file or a pipe the cells go as they are: that is a valid next input.
        let out: Box<dyn std::io::Write> = if out.is_terminal() {
            Box::new(Visible::new(out))
        } else {
            Box::new(out)
        };
        return match print_only(out, record, &only, &runs, rows) {
            Err(ReportError::Print(error)) if error.kind() == ErrorKind::BrokenPipe => {
                Ok(Exit::Done)
            }
            printed => Ok(printed.map(|_| Exit::Done)?),
        };
    }
    let default = || Mode::of(values).out(record.operation, &record.name);
    let folder = values.folder("out")?.unwrap_or_else(default);
    write_results(&ledger, &campaign, &runs, &folder, screen)?;
    Ok(Exit::Done)
}

/// Opens a ledger to read, and says so when it may not know of all requests.
///
/// # Errors
/// When there is none, or it cannot be read.
pub fn open(path: &Path) -> anyhow::Result<SqliteLedger> {
    let ledger = SqliteLedger::open_to_read(path)?;
    if let Some(why) = ledger.doubt() {
        let path = path.display();
        tracing::warn!("the ledger {path} may lack requests that were made: {why}");
    }
    Ok(ledger)
}

/// Prints to stdout; that nobody reads on is no error.
///
/// # Errors
/// When it cannot be written.
pub fn print(mut out: impl std::io::Write, bytes: &[u8]) -> anyhow::Result<Exit> {
    match out.write_all(bytes).and_then(|()| out.flush()) {
        // The reader has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Exit::Done),
        written => written.map(|()| Exit::Done).context("stdout"),
    }
}

/// Writes the result files, and says what is in them.
///
/// # Errors
/// When they cannot be written, or the accounts do not balance.
pub fn write_results(
    ledger: &SqliteLedger,
    campaign: &Campaign,
    runs: &Runs,
    folder: &Path,
    screen: &Screen,
) -> anyhow::Result<Summary> {
    let id = campaign.record.id;
    let never = "the campaign was never run";
    let run = ledger.latest_run(id)?.context(never)?;
    let (at_work, first_started_at) = ledger.latest_at_work(id)?.context(never)?;
    let mut pace = Pace::default();
    ledger.for_each_departure(at_work.id, |at| pace.add(at))?;
    let mut timeline = Timeline::new(&at_work, &pace, runs, &hours(&at_work.settings));
    ledger.for_each_departure(at_work.id, |at| timeline.depart(at))?;
    let mut earlier = Summary::default();
    ledger.for_each_former(id, &mut |_, row| {
        earlier.add(row, &row.outcome(runs));
        timeline.add(row, runs);
        ControlFlow::Continue(())
    })?;
    let input = ReportInput {
        campaign: &campaign.record,
        run: &run,
        at_work: &at_work,
        pace: &pace,
        first_started_at,
        runs,
        earlier: &earlier,
        ledger: Mode::named(campaign.record.sandbox, ledger.path()),
    };
    let summary = write_all(folder, &input, &mut timeline, |each| {
        ledger.for_each_row(campaign, Records::Read, each)
    })?;
    screen.mask_numbers_of(&campaign.record.name);
    let closing = Closing {
        name: screen.cleaned(&campaign.record.name),
        input: &input,
        summary: &summary,
        timeline: &timeline,
        folder,
    };
    screen.say_lines(&closing.lines(width_of_texts()));
    Ok(summary)
}

/// The runs of a campaign, and whether the latest is on right now.
///
/// # Errors
/// When that cannot be read.
pub fn runs(ledger: &SqliteLedger, id: CampaignId) -> anyhow::Result<Runs> {
    let mut runs = ledger.runs(id)?;
    if let Some(run) = ledger.latest_run(id)?
        && run.end.is_none()
        && ledger.holder().is_some()
        && is_latest(ledger, &run)?
    {
        runs.set_on(run.id);
    }
    Ok(runs)
}

/// The campaign that is meant.
///
/// # Errors
/// When there is none, or more than one.
pub fn choose(
    ledger: &SqliteLedger,
    values: &Values,
    default: Option<&str>,
    operation: Option<Operation>,
) -> anyhow::Result<Campaign> {
    let name: Option<String> = values.optional("campaign", str::parse)?;
    let name = name.as_deref().or(default);
    let all = ledger.campaigns()?;
    let fits = |campaign: &&Campaign| {
        let record = &campaign.record;
        record.sandbox == values.is_on("sandbox")
            && name.is_none_or(|name| name == record.name)
            && operation.is_none_or(|operation| operation == record.operation)
    };
    let fitting: Vec<&Campaign> = all.iter().filter(fits).collect();
    if let [one] = fitting[..] {
        return Ok(one.clone());
    }
    let can_be = |campaign: &&Campaign| {
        operation.is_none_or(|operation| operation == campaign.record.operation)
    };
    let names: Vec<String> = all
        .iter()
        .filter(can_be)
        .map(|campaign| {
            let record = &campaign.record;
            let rehearsal = if record.sandbox { ", --sandbox" } else { "" };
            let name = shown_name(&record.name, values);
            format!("{name} ({}{rehearsal})", record.operation.name())
        })
        .collect();
    let names = names.join(", ");
    if fitting.is_empty() {
        bail!("there is no such campaign in this ledger; it has: {names}");
    }
    let flags = match operation {
        Some(_) => "--campaign",
        None => "--campaign, and --operation if that is not enough",
    };
    bail!("name one campaign with {flags}: {names}");
}

/// A campaign's name as people see it.
pub fn shown_name(name: &str, values: &Values) -> String {
    if values.is_on("log-numbers") {
        name.to_owned()
    } else {
        mask_name(name)
    }
}

/// Is this the run that was started last in the ledger?
fn is_latest(ledger: &SqliteLedger, run: &RunRecord) -> anyhow::Result<bool> {
    for campaign in ledger.campaigns()? {
        let other = ledger.latest_run(campaign.record.id)?;
        if other.is_some_and(|other| other.id > run.id) {
            return Ok(false);
        }
    }
    Ok(true)
}

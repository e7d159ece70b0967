//! `report` and `status`: renderings of what the ledger knows.

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};

use super::config::Mode;
use super::exit::Exit;
use super::screen::{Screen, Visible};
use super::values::{self, Values};
use crate::job::Operation;
use crate::ledger::sqlite::SqliteLedger;
use crate::ledger::{Campaign, LedgerError, Records, Store as _, Verified};
use crate::number::mask_name;
use crate::record::RunRecord;
use crate::report::json::schema;
use crate::report::{Pace, ReportError, ReportInput, print_only, write_all};
use crate::run::End;
use crate::status::Status;
use crate::summary::{Counts, Summary};
use crate::text::visible;

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
    let campaign = choose(&ledger, values)?;
    if let Some(only) = only {
        let header = &campaign.record.input.header;
        let rows = |each: &mut crate::report::Visit<'_>| {
            ledger.for_each_row(&campaign, Records::Read, each)
        };
        // To a file or a pipe the cells go as they are: that is a valid next input.
        let out: Box<dyn std::io::Write> = if out.is_terminal() {
            Box::new(Visible::new(out))
        } else {
            Box::new(out)
        };
        return match print_only(out, header, &only, &ledger.runs(campaign.record.id)?, rows) {
            Err(ReportError::Print(error)) if error.kind() == ErrorKind::BrokenPipe => {
                Ok(Exit::Done)
            }
            printed => Ok(printed.map(|_| Exit::Done)?),
        };
    }
    let record = &campaign.record;
    let folder = Mode::of(values).out(values, record.operation, &record.name);
    write_results(&ledger, &campaign, &folder, screen)?;
    Ok(Exit::Done)
}

/// Opens a ledger to read, and says so when it may not know of all requests.
fn open(path: &Path) -> anyhow::Result<SqliteLedger> {
    let ledger = SqliteLedger::open_to_read(path)?;
    if let Some(why) = ledger.doubt() {
        let path = path.display();
        tracing::warn!("the ledger {path} may lack requests that were made: {why}");
    }
    Ok(ledger)
}

fn print(mut out: impl std::io::Write, bytes: &[u8]) -> anyhow::Result<Exit> {
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
    folder: &Path,
    screen: &Screen,
) -> anyhow::Result<Summary> {
    let run = ledger
        .latest_run(campaign.record.id)?
        .context("the campaign was never run")?;
    let runs = ledger.runs(campaign.record.id)?;
    let mut pace = Pace::default();
    ledger.for_each_departure(run.id, |at| pace.add(at))?;
    let input = ReportInput {
        campaign: &campaign.record,
        run: &run,
        runs: &runs,
        limit_per_s: run.settings["rate_per_s"].as_f64(),
        pace: &pace,
    };
    let summary = write_all(folder, &input, |each| {
        ledger.for_each_row(campaign, Records::Read, each)
    })?;
    screen.mask_numbers_of(&campaign.record.name);
    screen.say(&format!(
        "{}: {}\nwrote {} and {}",
        visible(&campaign.record.name),
        in_words(summary.counts()),
        visible(&folder.join("results.csv").to_string_lossy()),
        visible(&folder.join("report.json").to_string_lossy()),
    ));
    Ok(summary)
}

/// `sent 98, invalid 2`
fn in_words(counts: &Counts) -> String {
    let counts = counts.iter().filter(|(_, count)| *count > 0);
    let words: Vec<String> = counts
        .map(|(status, count)| format!("{} {count}", status.name()))
        .collect();
    if words.is_empty() {
        return "no rows".to_owned();
    }
    words.join(", ")
}

/// The campaign that is meant.
fn choose(ledger: &SqliteLedger, values: &Values) -> anyhow::Result<Campaign> {
    let name: Option<String> = values.optional("campaign", str::parse)?;
    let operation: Option<Operation> = values.optional("operation", values::word)?;
    let all = ledger.campaigns()?;
    let fits = |campaign: &&Campaign| {
        let record = &campaign.record;
        record.sandbox == values.is_on("sandbox")
            && name.as_ref().is_none_or(|name| *name == record.name)
            && operation.is_none_or(|operation| operation == record.operation)
    };
    let fitting: Vec<&Campaign> = all.iter().filter(fits).collect();
    if let [one] = fitting[..] {
        return Ok(one.clone());
    }
    let names: Vec<String> = all
        .iter()
        .map(|campaign| {
            let record = &campaign.record;
            let rehearsal = if record.sandbox { ", --sandbox" } else { "" };
            format!("{} ({}{rehearsal})", record.name, record.operation.name())
        })
        .collect();
    let names = names.join(", ");
    if fitting.is_empty() {
        bail!("there is no such campaign in this ledger; it has: {names}");
    }
    bail!("name one campaign with --campaign, and --operation if that is not enough: {names}");
}

/// Lists the campaigns.
///
/// # Errors
/// When the ledger is not there or cannot be read.
pub fn status(values: &Values) -> anyhow::Result<Exit> {
    let path = Mode::of(values).ledger(values);
    let ledger = open(&path)?;
    if values.is_on("verify") {
        return verify(&ledger, &path);
    }
    let running = ledger.holder();
    let campaigns = ledger.campaigns()?;
    let whole = values.is_on("log-numbers");
    let shown = |name: &str| {
        if whole {
            name.to_owned()
        } else {
            mask_name(name)
        }
    };
    let mut text = Vec::new();
    for campaign in &campaigns {
        let runs = ledger.runs(campaign.record.id)?;
        let mut counts = Counts::default();
        ledger.for_each_row(campaign, Records::Skip, &mut |row| {
            counts += row.outcome(&runs).status;
            std::ops::ControlFlow::Continue(())
        })?;
        let run = ledger.latest_run(campaign.record.id)?;
        let latest = campaigns.len() == 1 || is_latest(&ledger, &campaigns, run.as_ref())?;
        let record = &campaign.record;
        writeln!(
            text,
            "{}\t{}{}\t{} rows\t{}\t{}",
            visible(&shown(&record.name)),
            record.operation.name(),
            if record.sandbox { " (sandbox)" } else { "" },
            counts.total(),
            in_words(&counts),
            visible(&state(
                run.as_ref(),
                running.as_deref().filter(|_| latest),
                &counts
            ))
        )?;
    }
    print(std::io::stdout().lock(), &text)
}

/// Says whether the ledger is sound, and what is wrong with it.
fn verify(ledger: &SqliteLedger, path: &Path) -> anyhow::Result<Exit> {
    let Verified {
        campaigns,
        rows,
        attempts,
        wrong,
    } = ledger.verify()?;
    let mut text = Vec::new();
    for wrong in &wrong {
        writeln!(text, "wrong: {wrong}")?;
    }
    if wrong.is_empty() {
        writeln!(
            text,
            "the ledger is sound: {campaigns} campaigns, {rows} rows, {attempts} requests"
        )?;
    }
    let exit = print(std::io::stdout().lock(), &text)?;
    if wrong.is_empty() {
        return Ok(exit);
    }
    let why = match wrong.len() {
        1 => "one thing is wrong".to_owned(),
        more => format!("{more} things are wrong"),
    };
    let path = path.to_owned();
    Err(LedgerError::Damaged { path, why }.into())
}

/// Is this the run that was started last in the ledger?
fn is_latest(
    ledger: &SqliteLedger,
    campaigns: &[Campaign],
    run: Option<&RunRecord>,
) -> anyhow::Result<bool> {
    for campaign in campaigns {
        let other = ledger.latest_run(campaign.record.id)?;
        if other.map(|other| other.id) > run.map(|run| run.id) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn state(run: Option<&RunRecord>, running: Option<&str>, counts: &Counts) -> String {
    match (run.and_then(|run| run.end.as_ref()), running) {
        (None, Some(holder)) => format!("running: {holder}"),
        (None, None) => "interrupted (killed)".to_owned(),
        (Some(End::Complete), _) if counts[Status::Pending] == 0 => "complete".to_owned(),
        (Some(End::Complete | End::Interrupted(_)), _) => "interrupted".to_owned(),
        (Some(End::Stopped(stop)), _) => format!("stopped: {}", stop.message),
    }
}

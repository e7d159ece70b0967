//! `report`: renderings of what the ledger knows.

use std::io::{ErrorKind, IsTerminal as _};
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use serde_json::json;

use super::closing::Closing;
use super::config::Mode;
use super::exit::Exit;
use super::funnel::{ensure_tells_apart, funnel};
use super::log::by_status;
use super::purge::ensure_not_purged;
use super::screen::{Screen, Visible};
use super::terminal::width_of_texts;
use super::unverified;
use super::values::{self, Values};
use crate::job::Operation;
use crate::ledger::{At, Campaign, LedgerError, Records, Store};
use crate::number::mask_name;
use crate::record::{CampaignId, CampaignRecord};
use crate::report::json::schema;
use crate::report::results::{Form, fitted};
use crate::report::timeline::Timeline;
use crate::report::{ReportError, ReportInput, Visit, hours, print_only, write_all};
use crate::run::Runs;
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
    let form = values.choose("excel", Form::Excel, Form::Plain);
    let unverified = values.is_on("unverified");
    ensure!(
        unverified || !values.is_given("older-than"),
        "--older-than goes with --unverified"
    );
    let mut operation = values.optional("operation", values::word)?;
    if unverified {
        ensure!(
            operation != Some(Operation::Verify),
            "--unverified is about a campaign that sends: leave --operation away"
        );
        operation = Some(Operation::Send);
    }
    let ledger = open(&Mode::of(values).ledger(values)?)?;
    let campaign = choose(&ledger, values, None, operation)?;
    ensure_not_purged(&ledger, &campaign, values)?;
    let record = &campaign.record;
    let runs = runs(&ledger, campaign.record.id)?;
    // To a file or a pipe the cells go as they are: that is a valid next input.
    let out: Box<dyn std::io::Write> = if out.is_terminal() {
        Box::new(Visible::new(out))
    } else {
        Box::new(out)
    };
    if unverified {
        let printed = unverified::print(&ledger, &campaign, &runs, values, out, screen)?;
        return all_printed(printed.map_err(ReportError::<LedgerError>::Print));
    }
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
        return all_printed(print_only(out, record, form, &only, &runs, rows).map(drop));
    }
    let by: Option<String> = values.optional("by", str::parse)?;
    if let Some(by) = &by {
        ensure!(
            record.operation == Operation::Verify,
            "--by is about the funnel of a campaign of codes, and {} sends: name that one with --campaign, and --operation verify",
            visible(&shown_name(&record.name, values))
        );
        ensure_tells_apart(&ledger, by, record.sandbox)?;
    }
    let default = || Mode::of(values).out(record.operation, &record.name);
    let folder = values.folder("out")?.unwrap_or_else(default);
    write_results(
        &ledger,
        &campaign,
        &runs,
        (&folder, form),
        by.as_deref(),
        screen,
    )?;
    Ok(Exit::Done)
}

/// That nobody reads on is no error.
fn all_printed(printed: Result<(), ReportError<LedgerError>>) -> anyhow::Result<Exit> {
    match printed {
        Err(ReportError::Print(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(Exit::Done),
        printed => Ok(printed.map(|()| Exit::Done)?),
    }
}

/// Opens a ledger to read, and says so when it may not know of all requests.
///
/// # Errors
/// When there is none, or it cannot be read.
pub fn open(at: &At) -> anyhow::Result<Store> {
    let ledger = Store::open_to_read(at)?;
    if let Some(why) = ledger.doubt() {
        tracing::warn!("the ledger {at} may lack requests that were made: {why}");
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
    ledger: &Store,
    campaign: &Campaign,
    runs: &Runs,
    (folder, form): (&Path, Form),
    by: Option<&str>,
    screen: &Screen,
) -> anyhow::Result<Summary> {
    let id = campaign.record.id;
    let never = "the campaign was never run";
    let run = ledger.latest_run(id)?.context(never)?;
    let (at_work, first_started_at) = ledger.latest_at_work(id)?.context(never)?;
    let timeline = |last| Timeline::new(&at_work, last, runs, &hours(&at_work.settings));
    let mut timeline = ledger.departures(at_work.id, timeline, Timeline::depart)?;
    let mut earlier = Summary::default();
    ledger.for_each_former(id, &mut |_, row| {
        earlier.add(row, &row.outcome(runs));
        timeline.add(row, runs);
        ControlFlow::Continue(())
    })?;
    let funnel = funnel(ledger, campaign, &at_work, runs.on(), by)?;
    let input = ReportInput {
        campaign: &campaign.record,
        run: &run,
        at_work: &at_work,
        first_started_at,
        runs,
        earlier: &earlier,
        ledger: Mode::named(campaign.record.sandbox, ledger.path()),
        funnel: funnel.as_ref(),
    };
    let summary = write_all(folder, &input, form, &mut timeline, |each| {
        ledger.for_each_row(campaign, Records::Read, each)
    })?;
    screen.mask_numbers_of(&campaign.record.name);
    let closing = Closing {
        name: screen.cleaned_piece(&campaign.record.name),
        input: &input,
        summary: &summary,
        timeline: &timeline,
        folder,
    };
    let fields = [
        ("campaign", json!(campaign.record.name)),
        ("rows", json!(summary.counts().total())),
        ("counts", by_status(&summary.counts().by_index())),
        ("folder", json!(folder.to_string_lossy())),
    ];
    screen.tell_lines(&closing.lines(width_of_texts()), "summary", &fields);
    Ok(summary)
}

/// The runs of a campaign, and which run is on right now, of whatever campaign.
///
/// # Errors
/// When that cannot be read.
pub fn runs(ledger: &Store, id: CampaignId) -> anyhow::Result<Runs> {
    let mut runs = ledger.runs(id)?;
    ledger.on()?.into_iter().for_each(|on| runs.set_on(on));
    Ok(runs)
}

/// The campaign that is meant.
///
/// # Errors
/// When there is none, or more than one.
pub fn choose(
    ledger: &Store,
    values: &Values,
    default: Option<&str>,
    operation: Option<Operation>,
) -> anyhow::Result<Campaign> {
    let name: Option<String> = values.optional("campaign", str::parse)?;
    let name = name.as_deref().or(default);
    let all = ledger.campaigns()?;
    let purged = ledger.purged()?;
    let is_purged =
        |record: &CampaignRecord| purged.iter().any(|purged| purged.campaign == *record);
    let fits = |campaign: &&Campaign| {
        let record = &campaign.record;
        record.sandbox == values.is_on("sandbox")
            && name.map_or_else(|| !is_purged(record), |name| name == record.name)
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
            let purged = if is_purged(record) { ", purged" } else { "" };
            let name = shown_name(&record.name, values);
            format!("{name} ({}{rehearsal}{purged})", record.operation.name())
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

/// `; in earlier lists only: sent 2`
pub fn earlier_in_words(counts: &Counts) -> String {
    match counts.total() {
        0 => String::new(),
        _ => format!("; in earlier lists only: {}", counts.in_words()),
    }
}

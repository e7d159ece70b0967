//! `report` and `status`: renderings of what the ledger knows.

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::json;

use super::config::Mode;
use super::exit::Exit;
use super::log::{Line, by_status};
use super::screen::{Screen, Visible};
use super::values::{self, Values};
use crate::job::Operation;
use crate::ledger::sqlite::SqliteLedger;
use crate::ledger::{Campaign, LedgerError, Records, Store as _, Verified};
use crate::number::mask_name;
use crate::record::{CampaignId, RunRecord};
use crate::report::json::schema;
use crate::report::results::{Form, fitted};
use crate::report::timeline::Timeline;
use crate::report::{
    Pace, REPORT_HTML, REPORT_JSON, RESULTS_CSV, ReportError, ReportInput, Visit, hours,
    print_only, write_all,
};
use crate::run::{End, Runs};
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
    let form = values.choose("excel", Form::Excel, Form::Plain);
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
        return match print_only(out, record, form, &only, &runs, rows) {
            Err(ReportError::Print(error)) if error.kind() == ErrorKind::BrokenPipe => {
                Ok(Exit::Done)
            }
            printed => Ok(printed.map(|_| Exit::Done)?),
        };
    }
    let default = || Mode::of(values).out(record.operation, &record.name);
    let folder = values.folder("out")?.unwrap_or_else(default);
    write_results(&ledger, &campaign, &runs, (&folder, form), screen)?;
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
    (folder, form): (&Path, Form),
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
    let summary = write_all(folder, &input, form, timeline, |each| {
        ledger.for_each_row(campaign, Records::Read, each)
    })?;
    screen.mask_numbers_of(&campaign.record.name);
    let written = |name| visible(&folder.join(name).to_string_lossy()).into_owned();
    let text = format!(
        "{}: {}{}\nwrote {}, {} and {}",
        visible(&campaign.record.name),
        summary.counts().in_words(),
        earlier_in_words(earlier.counts()),
        written(RESULTS_CSV),
        written(REPORT_JSON),
        written(REPORT_HTML),
    );
    let fields = [
        ("campaign", json!(campaign.record.name)),
        ("rows", json!(summary.counts().total())),
        ("counts", by_status(&summary.counts().by_index())),
        ("folder", json!(folder.to_string_lossy())),
    ];
    screen.tell(Line::of(&text).named("summary", &fields));
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

/// Numbers that were attempted and that the campaign's input has no more.
fn earlier(ledger: &SqliteLedger, campaign: &Campaign, runs: &Runs) -> anyhow::Result<Summary> {
    let mut earlier = Summary::default();
    ledger.for_each_former(campaign.record.id, &mut |_, row| {
        earlier.add(row, &row.outcome(runs));
        ControlFlow::Continue(())
    })?;
    Ok(earlier)
}

/// `; in earlier lists: sent 2`
fn earlier_in_words(counts: &Counts) -> String {
    match counts.total() {
        0 => String::new(),
        _ => format!("; in earlier lists only: {}", counts.in_words()),
    }
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
    let holder = ledger.holder();
    let mut text = Vec::new();
    for campaign in &ledger.campaigns()? {
        let id = campaign.record.id;
        let runs = runs(&ledger, id)?;
        let mut summary = Summary::default();
        ledger.for_each_row(campaign, Records::Skip, &mut |row| {
            summary.add(row, &row.outcome(&runs));
            ControlFlow::Continue(())
        })?;
        let run = ledger.latest_run(id)?;
        let on = run.as_ref().filter(|run| runs.is_on(run.id));
        let holder = holder.as_deref().filter(|_| on.is_some());
        let record = &campaign.record;
        writeln!(
            text,
            "{}\t{}{}\t{} rows\t{}{}\t{}",
            visible(&shown_name(&record.name, values)),
            record.operation.name(),
            if record.sandbox { " (sandbox)" } else { "" },
            summary.counts().total(),
            summary.counts().in_words(),
            earlier_in_words(earlier(&ledger, campaign, &runs)?.counts()),
            visible(&state(run.as_ref(), holder, &summary))
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
fn is_latest(ledger: &SqliteLedger, run: &RunRecord) -> anyhow::Result<bool> {
    for campaign in ledger.campaigns()? {
        let other = ledger.latest_run(campaign.record.id)?;
        if other.is_some_and(|other| other.id > run.id) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn state(run: Option<&RunRecord>, holder: Option<&str>, summary: &Summary) -> String {
    match (run.and_then(|run| run.end.as_ref()), holder) {
        (None, Some(holder)) => format!("running: {holder}, {} in flight", summary.in_flight()),
        (None, None) => "interrupted (killed)".to_owned(),
        (Some(End::Complete), _) if summary.counts()[Status::Pending] == 0 => "complete".to_owned(),
        (Some(End::Complete | End::Interrupted(_)), _) => "interrupted".to_owned(),
        (Some(End::Stopped(stop)), _) => format!("stopped: {}", stop.message),
    }
}

//! What `send`, `verify` and `check` have in common: from a config and its file to a plan.

use std::error::Error as _;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, anyhow, ensure};
use serde_json::{Value as Json, json};

use super::config::{Config, Consent, Key};
use super::files;
use super::forecast::{Forecast, Known, begins};
use super::input::{Input, Memory};
use super::log::{Line, by_status};
use super::plan::{self, Briefing, Plan, table};
use super::report::print;
use super::screen::Screen;
use super::terminal::width_of_texts;
use crate::clock;
use crate::contacts::{self, Purpose};
use crate::figures::count;
use crate::job::{Operation, UnixMicros};
use crate::ledger::{Intake, LeaveOut, NewRun, Records, Store};
use crate::record::{InputRecord, Row};
use crate::report::WriteError;
use crate::report::results::{self, Results};
use crate::report::write::{Draft, publish};
use crate::requests::Requests;
use crate::run::{RunFacts, RunId, Runs};
use crate::status::Status;
use crate::text::{shell_word, visible};

/// What is to be made of a plan.
#[derive(Default)]
pub struct Wanted<'w> {
    /// What the file was taken for, where that was not said.
    pub purpose: Option<Purpose>,
    /// How it is shown.
    pub form: Form,
    /// Where the rows that cannot be used are written to.
    pub problems: Option<&'w Path>,
}

/// How a plan is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// To people, on stderr.
    #[default]
    Table,
    /// To programs, on stdout.
    Json,
}

/// Looks at all files before anything is made.
///
/// # Errors
/// When one cannot be used, or would be replaced.
pub fn open(
    file: contacts::Input,
    config: &Config,
    key: Key,
    screen: &Screen,
) -> anyhow::Result<Input> {
    files::warn_of_readers(config, screen);
    let input = Input::read(file, config)?;
    let rows_choose = input.survey.channel_column.is_some() || input.survey.is_result;
    config.ensure_channels(rows_choose, key)?;
    ensure_no_key_in_names(&input, config, screen)?;
    screen.mask_numbers_of(&input.campaign.name);
    screen.all_tell("campaign", json!(input.campaign.name));
    screen.all_tell("operation", json!(config.operation.name()));
    files::ensure_apart(config, &config.out(&input.campaign.name))?;
    Ok(input)
}

/// Names stand in the ledger, in reports and in metrics, so none may hold the key.
fn ensure_no_key_in_names(input: &Input, config: &Config, screen: &Screen) -> anyhow::Result<()> {
    let lists = config.exclude.iter().map(|list| list.to_string_lossy());
    let lists = lists.map(|list| ("a suppression list", list));
    let names = [
        ("the campaign", input.campaign.name.as_str().into()),
        ("the input", input.survey.name.as_str().into()),
        ("the ledger", config.ledger.to_string().into()),
    ];
    for (what, name) in names.into_iter().chain(lists) {
        ensure!(
            !screen.has_key(&name),
            "the name of {what} holds an API key, and would stand in the reports: choose another one. Nothing was sent"
        );
    }
    Ok(())
}

/// Reads the file, finds out what is to be done for each row, and says so; gives also the requests
/// of earlier runs.
///
/// # Errors
/// When the file or the ledger is not the one that is meant, or cannot be read.
pub fn take_in<'l>(
    config: &Config,
    input: Input,
    wanted: &Wanted<'_>,
    ledger: &'l mut Store,
    screen: &Screen,
) -> anyhow::Result<(Intake<'l>, Plan, Requests)> {
    let now = clock::wall();
    let memory = Memory::of(ledger)?;
    // The plan may name those that have just sent to a number.
    for known in memory.names() {
        screen.mask_numbers_of(known);
    }
    input.ensure_fits(config, &memory)?;
    let Input {
        file,
        survey,
        campaign,
        settings,
        excluded,
        suppression_lists,
        ..
    } = input;
    let record = InputRecord {
        name: survey.name.clone(),
        sha256: survey.sha256.clone(),
        rows: survey.rows,
        header: survey.header.clone(),
    };
    let contacts = file.contacts(&survey)?;
    let new_run = new_run(config, &settings);
    let mut plan = Plan::new(config.engine.limit);
    let mut first_run = Runs::default();
    first_run.insert(RunId::NEXT, RunFacts::new(new_run.policy));
    let mut each_new = |row: &Row, assumed_mobile: bool| {
        plan.add(row, assumed_mobile, &first_run);
    };
    let reading = &survey.reading;
    let mut intake =
        ledger.take_in_telling(&campaign, &record, reading, contacts, &mut each_new)??;
    ensure_known(&intake, config)?;
    let runs = intake.runs(&new_run)?;
    let whom = LeaveOut {
        now,
        cooldown: config.cooldown,
        max_age: config.max_age,
        excluded: &excluded,
    };
    let left_out = intake.leave_out(&runs, &whom)?;
    let is_told = intake.is_first() && left_out == 0;
    let mut before = Requests::default();
    if !is_told || wanted.problems.is_some() {
        plan = Plan::new(config.engine.limit);
    }
    match wanted.problems {
        None if is_told => {}
        None => intake.for_each_row(Records::Skip, |row, assumed_mobile| {
            row.attempts().iter().for_each(|made| before.add(made));
            plan.add(row, assumed_mobile, &runs)
        })?,
        Some(path) => add_and_write(&mut intake, &mut plan, &runs, path)?,
    }
    intake.for_each_former(|row| {
        row.attempts().iter().for_each(|made| before.add(made));
        plan.add_earlier(row, &runs);
    })?;
    let known = known(config, &intake, now)?;
    let briefing = Briefing {
        config,
        survey: &survey,
        purpose: wanted.purpose.as_ref(),
        suppression_lists: &suppression_lists,
        campaign: &campaign,
        memory: &memory,
        out: &config.out(&campaign.name),
        plan: &plan,
        forecast: &Forecast::new(&config.engine, now, plan.started(), &known),
        known: &known,
        now,
    };
    tell(&briefing, wanted, screen)?;
    plan.planned = briefing.planned();
    Ok((intake, plan, before))
}

/// Is the ledger the one that the rows tell of?
fn ensure_known(intake: &Intake<'_>, config: &Config) -> anyhow::Result<()> {
    let elsewhere = intake.told_elsewhere();
    ensure!(
        elsewhere == 0,
        "{elsewhere} rows belong to campaign {}, as they say, but not as the ledger {} knows it: it was another ledger, this one is older than the file, or their numbers are read in another way than before. Name the right one with --ledger; leave otp_campaign empty in new rows. To send to all of them as a new campaign, name one with --campaign. Nothing was sent",
        visible(&intake.campaign().name),
        config.ledger
    );
    Ok(())
}

/// What a forecast is made from, besides the settings.
fn known(config: &Config, intake: &Intake<'_>, now: UnixMicros) -> anyhow::Result<Known> {
    let calendar = &config.engine.limits.calendar;
    let day = calendar.day(begins(&config.engine, now));
    Ok(Known {
        left: if calendar.has_caps() {
            intake.left_on(&day)?
        } else {
            Known::default().left
        },
        latencies: intake.latencies()?,
    })
}

/// Counts all rows, and writes those that cannot be used as `results.csv` has them: what is mended
/// there is a valid next input.
fn add_and_write(
    intake: &mut Intake<'_>,
    plan: &mut Plan,
    runs: &Runs,
    path: &Path,
) -> anyhow::Result<()> {
    let why = |error: WriteError| {
        let source = error.source().map_or(String::new(), ToString::to_string);
        let path = path.to_string_lossy();
        anyhow!(
            "--problems {} cannot be written: {source}. Nothing was sent",
            visible(&path)
        )
    };
    let name = path.file_name().and_then(OsStr::to_str);
    let name = name.context("--problems: wanted a file with a name in UTF-8, such as bad.csv")?;
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut draft = Draft::new(folder, name).map_err(why)?;
    let campaign = intake.campaign().clone();
    let mut out = Results::new(&mut draft, &campaign, results::Form::Plain);
    let mut written = Ok(());
    intake.for_each_row(Records::Read, |row, assumed_mobile| {
        let outcome = row.outcome(runs);
        if outcome.status == Status::Invalid && written.is_ok() {
            written = out.row(row, &outcome);
        }
        plan.add(row, assumed_mobile, runs)
    })?;
    let written = written.and_then(|()| out.finish());
    written.map_err(|source| why(draft.error(source)))?;
    publish(folder, [draft]).map_err(why)
}

/// Shows the plan.
fn tell(briefing: &Briefing<'_>, wanted: &Wanted<'_>, screen: &Screen) -> anyhow::Result<()> {
    match (wanted.form, briefing.config.consent) {
        (Form::Json, _) => {
            let text = screen.cleaned(&plan::json::json(briefing)?);
            print(std::io::stdout().lock(), text.as_bytes())?;
        }
        (Form::Table, consent) => {
            let text = table::table(briefing, width_of_texts());
            let plan = briefing.plan;
            let fields = [
                ("rows", json!(plan.rows)),
                ("counts", by_status(&plan.counts)),
                ("requests", json!(plan.requests())),
            ];
            let line = Line::of(&text).named("plan", &fields);
            match consent {
                Consent::Asked => screen.show(line),
                Consent::Given => screen.tell(line),
            }
        }
    }
    let unusable = briefing.plan.count(Status::Invalid);
    if let Some(path) = wanted.problems {
        let (path, campaign) = (path.to_string_lossy(), &briefing.campaign.name);
        let rows = count(unusable);
        let mut text = format!("wrote {rows} unusable rows to {}", visible(&path));
        if unusable > 0 {
            // Otherwise a new campaign's ledger would not know that it is meant.
            let operation = briefing.campaign.operation.name();
            let codes = match briefing.campaign.operation {
                Operation::Send => "",
                Operation::Verify => " and give their codes again",
            };
            let (path, campaign) = (shell_word(&path), shell_word(campaign));
            let (path, campaign) = (visible(&path), visible(&campaign));
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                ": mend them{codes}, then `otpdrive {operation} {path} --campaign {campaign}`"
            );
        }
        screen.say(&text);
    }
    Ok(())
}

/// What the ledger notes of the run that is to begin.
pub fn new_run<'a>(config: &'a Config, settings: &'a Json) -> NewRun<'a> {
    NewRun {
        policy: config.engine.policy,
        rates: [config.engine.rate, config.engine.limits.call_rate],
        ceilings: config.ceilings.as_ref(),
        billed: Default::default(),
        endpoint: settings["endpoint"].as_str().unwrap_or_default(),
        settings,
    }
}

/// Refuses a list with too many rows that cannot be used.
///
/// # Errors
/// When there are more than `--max-invalid` allows.
pub fn ensure_usable(config: &Config, plan: &Plan) -> anyhow::Result<()> {
    let percent = plan.invalid_percent();
    ensure!(
        percent <= config.max_invalid,
        "{} of {} rows ({} %) cannot be used, which is more than --max-invalid allows ({} %): is this the right file, and the right --phone-column? Nothing was sent",
        plan.count(Status::Invalid),
        plan.rows,
        shown_above(percent, config.max_invalid),
        config.max_invalid
    );
    Ok(())
}

/// A share with as many decimals as it takes to see that it is above another.
fn shown_above(percent: f64, limit: f64) -> String {
    const DECIMALS_MAX: usize = 9;
    let mut shown = (0..DECIMALS_MAX).map(|decimals| format!("{percent:.decimals$}"));
    let above = |shown: &String| shown.parse::<f64>().is_ok_and(|shown| shown > limit);
    shown.find(above).unwrap_or_else(|| percent.to_string())
}

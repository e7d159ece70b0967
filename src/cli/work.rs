//! `work`: joins the run of a campaign that another machine has begun, without its list.

use std::ops::ControlFlow;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use serde_json::json;

use super::config::{Config, Key, Mode};
use super::exit::Exit;
use super::files;
use super::log::Line;
use super::plan::Plan;
use super::report::{runs, shown_name};
use super::run::{Underway, carry_out, warn_of_odd_ids};
use super::screen::Screen;
use super::values::{self, Values};
use crate::figures::{count, counted};
use crate::gateway;
use crate::job::Operation;
use crate::ledger::{At, Campaign, LedgerError, Records, Share, Store};
use crate::record::{Row, RunRecord};
use crate::requests::Requests;
use crate::run::Runs;
use crate::text::visible;

/// How often it is looked whether a run has begun.
const LOOK: Duration = Duration::from_secs(1);

/// Joins the run that is on, and writes the result files when it is over.
///
/// # Errors
/// Before the first request: whatever makes it impossible; after it: when the result files cannot be
/// written.
pub fn work(values: &Values, screen: &Screen) -> anyhow::Result<Exit> {
    let mode = Mode::of(values);
    ensure!(
        values.is_given("ledger"),
        "--ledger is needed: postgres://USER@HOST/DATABASE, as the machine has it that began the run"
    );
    let at = mode.ledger(values)?;
    if at.file().is_some() {
        bail!(
            "the ledger {at} is a file, which one process works with at a time: nobody joins its run. Several machines share one on a server: --ledger postgres://USER@HOST/DATABASE; see `otpdrive help fleet`"
        );
    }
    let (campaign, on) = run_that_is_on(&at, values, screen)?;
    let record = &campaign.record;
    let values = values.of_run(record.operation, &on.settings);
    let mut config = Config::of(record.operation, Key::Needed, &values, "-".into())?;
    screen.hide(gateway::redactor(&config.gateway.key));
    screen.mask_numbers_of(&record.name);
    screen.all_tell("campaign", json!(record.name));
    screen.all_tell("operation", json!(record.operation.name()));
    let what = concat!("otpdrive ", env!("CARGO_PKG_VERSION"), " begins");
    let version = [("version", json!(env!("CARGO_PKG_VERSION")))];
    screen.mark("start", what, &version);
    files::warn_of_readers(&config, screen);
    let out = config.out(&record.name);
    files::ensure_apart(&config, &out)?;

    let mut ledger = Store::open_as(&config.ledger, &config.opening())?;
    let clock = ledger.clock()?;
    let all = runs(&ledger, record.id)?;
    config.engine.policy = all.policy();
    // It is the run that lasts so long, not this process.
    let lasted = clock.now().since(on.started_at);
    if let Some(most) = &mut config.engine.max_duration {
        *most = most.saturating_sub(lasted);
        ensure!(
            !most.is_zero(),
            "--max-duration of the run has passed: it starts nothing any more. Nothing was sent"
        );
    }
    let (plan, before) = what_is_left(&ledger, &campaign, &all)?;
    config.ids_for(&plan.lanes())?;
    warn_of_odd_ids(&config, &plan, screen);
    crate::report::make_folder(&out)?;
    crate::report::ensure_writable(&out)?;
    let others = ledger.workers()?;
    let others = others.iter().filter(|one| one.run == on.id).count();
    let rates = ledger.join(&campaign, on.id)?;
    config.engine.rate = rates[Share::Common.index()];
    config.engine.limits.call_rate = rates[Share::Calls.index()];
    tell(&campaign, &plan, others, &config, screen);
    let underway = Underway {
        ledger,
        run: on.id,
        clock,
        started_at: on.started_at,
        plan,
        before,
        out,
        campaign,
    };
    carry_out(&config, underway, screen)
}

/// The run that is meant, once it is on.
fn run_that_is_on(
    at: &At,
    values: &Values,
    screen: &Screen,
) -> anyhow::Result<(Campaign, RunRecord)> {
    let wait = values.required("wait", values::duration)?;
    let end = Instant::now() + wait;
    let mut says = wait > Duration::ZERO;
    loop {
        let found = match Store::open_to_read(at) {
            Ok(ledger) => find(&ledger, values)?,
            // Who begins the run makes it.
            Err(LedgerError::Missing(_)) => None,
            Err(error) => return Err(error.into()),
        };
        if let Some(found) = found {
            return Ok(found);
        }
        ensure!(
            Instant::now() < end,
            "no such run is on in the ledger {at}: begin it with `otpdrive send LIST --ledger …` on one machine, then join it here, or wait for it with --wait 10m; `otpdrive status` shows what there is. Nothing was sent"
        );
        if std::mem::take(&mut says) {
            screen.say("otpdrive: no such run is on yet; waiting for one (--wait)");
        }
        sleep(LOOK.min(end.saturating_duration_since(Instant::now())));
    }
}

/// The campaign that is meant, and its run, if it is on.
fn find(ledger: &Store, values: &Values) -> anyhow::Result<Option<(Campaign, RunRecord)>> {
    let name: Option<String> = values.optional("campaign", str::parse)?;
    let operation: Option<Operation> = values.optional("operation", values::word)?;
    let on = ledger.on()?;
    let mut found = Vec::new();
    for campaign in ledger.campaigns()? {
        let record = &campaign.record;
        let is_meant = record.sandbox == values.is_on("sandbox")
            && name.as_ref().is_none_or(|name| *name == record.name)
            && operation.is_none_or(|operation| operation == record.operation);
        if is_meant
            && let Some(run) = ledger
                .latest_run(record.id)?
                .filter(|run| on.contains(&run.id))
        {
            found.push((campaign, run));
        }
    }
    if found.len() > 1 {
        let names = found.iter().map(|(campaign, _)| {
            let record = &campaign.record;
            let name = shown_name(&record.name, values);
            format!("{} ({})", visible(&name), record.operation.name())
        });
        let names: Vec<_> = names.collect();
        bail!(
            "several runs are on: name one with --campaign, and --operation if that is not enough: {}. Nothing was sent",
            names.join(", ")
        );
    }
    Ok(found.pop())
}

/// What is to be done for each row as it stands, and the requests that were made.
fn what_is_left(
    ledger: &Store,
    campaign: &Campaign,
    runs: &Runs,
) -> anyhow::Result<(Plan, Requests)> {
    let (mut plan, mut before) = (Plan::new(None), Requests::default());
    let add = |row: &Row, before: &mut Requests| {
        row.attempts().iter().for_each(|made| before.add(made));
    };
    ledger.for_each_row(campaign, Records::Skip, &mut |row| {
        add(row, &mut before);
        plan.add(row, false, runs);
        ControlFlow::Continue(())
    })?;
    ledger.for_each_former(campaign.record.id, &mut |_, row| {
        add(row, &mut before);
        plan.add_earlier(row, runs);
        ControlFlow::Continue(())
    })?;
    Ok((plan, before))
}

/// Says what is joined.
fn tell(campaign: &Campaign, plan: &Plan, others: usize, config: &Config, screen: &Screen) {
    let record = &campaign.record;
    let rate = config.engine.rate;
    let rate = rate.map_or("any rate".to_owned(), |rate| rate.to_string());
    let (rows, left) = (count(plan.rows), count(plan.requests()));
    let others = u64::try_from(others).unwrap_or(u64::MAX);
    let text = format!(
        "{}: joined the run of {}; {left} of {rows} rows are left, together at {rate}",
        screen.cleaned_piece(&record.name),
        counted(others, "process", "processes"),
    );
    let fields = [
        ("rows", json!(plan.rows)),
        ("requests", json!(plan.requests())),
        ("others", json!(others)),
    ];
    screen.tell(Line::of(&text).named("joined", &fields));
}

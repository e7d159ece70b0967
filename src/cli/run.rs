//! `send` and `verify`: from a [`Config`] to an exit code.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::config::{Config, Consent, Key, Mode};
use super::exit::Exit;
use super::files;
use super::funnel::ensure_tells_apart;
use super::in_full;
use super::log::Line;
use super::making::make_requests;
use super::metrics::MetricsFile;
use super::notify::notify;
use super::plan::Plan;
use super::plan::table::all_requests;
use super::prepare::{Wanted, ensure_usable, new_run, open, take_in};
use super::progress::View;
use super::report::{runs, write_results};
use super::screen::Screen;
use crate::campaign::{Progress, Task};
use crate::clock::Clock;
use crate::contacts;
use crate::gateway::{self, words};
use crate::job::{Lane, Operation, UnixMicros};
use crate::ledger::{Campaign, NewRun, Store};
use crate::record::RunRecord;
use crate::requests::Requests;
use crate::run::{End, RunId};
use crate::summary::Counts;
use crate::text::visible;

/// Does what the plan says, and writes the result files.
///
/// # Errors
/// Before the first request: whatever makes it impossible; nothing was sent, nothing is changed.
/// After it: when the result files cannot be written; the ledger has everything.
pub fn run(config: &Config, screen: &Screen) -> anyhow::Result<Exit> {
    screen.hide(gateway::redactor(&config.gateway.key));
    files::ensure_lists(config)?;
    let file = contacts::open(&config.input, config.read.clone())?;
    let input = open(file, config, Key::Needed, screen)?;
    let what = concat!("otpdrive ", env!("CARGO_PKG_VERSION"), " begins");
    screen.mark(
        "start",
        what,
        &[("version", json!(env!("CARGO_PKG_VERSION")))],
    );
    input.find_ledger(config)?;
    let (mut settings, out) = (input.settings.clone(), config.out(&input.campaign.name));
    let mut ledger = Store::open_as(&config.ledger, &config.opening())?;
    if let Some(by) = &config.by {
        ensure_tells_apart(&ledger, by, config.mode == Mode::Rehearsal)?;
    }
    let clock = ledger.clock()?;
    let (intake, plan, before) = take_in(config, input, &Wanted::default(), &mut ledger, screen)?;
    ensure_usable(config, &plan)?;
    config.ids_for(&plan.lanes())?;
    config.prices_for(&plan.lanes())?;
    warn_of_odd_ids(config, &plan, screen);
    if !may_begin(config, &plan, screen) {
        screen.error("otpdrive: nothing was sent");
        return Ok(Exit::Usage);
    }
    crate::report::make_folder(&out)?;
    crate::report::ensure_writable(&out)?;
    settings[RunRecord::PLAN] = json!(plan.planned);
    let started_at = clock.now();
    let new = NewRun {
        billed: plan.billed,
        ..new_run(config, &settings)
    };
    let (campaign, run) = intake.begin_run(started_at, &new)?;
    let underway = Underway {
        ledger,
        campaign,
        run,
        clock,
        started_at,
        plan,
        before,
        out,
    };
    carry_out(config, underway, screen)
}

/// A run that this process has begun, or joined.
pub struct Underway {
    pub ledger: Store,
    pub campaign: Campaign,
    pub run: RunId,
    pub clock: Clock,
    pub started_at: UnixMicros,
    /// What is to be done.
    pub plan: Plan,
    /// The requests that were made before.
    pub before: Requests,
    /// Where the result files go.
    pub out: PathBuf,
}

/// Does what is to be done, and writes the result files.
///
/// # Errors
/// When the result files cannot be written; the ledger has everything.
pub fn carry_out(config: &Config, underway: Underway, screen: &Screen) -> anyhow::Result<Exit> {
    let Underway {
        ledger,
        campaign,
        run,
        clock,
        started_at,
        plan,
        before,
        out,
    } = underway;
    let progress = Arc::new(Progress::new(plan.counts).after(before));
    let view = View::new(screen, &campaign.record.name, &progress, config);
    let view = Arc::new(view);
    let following = screen.follow(&view);
    let record = &campaign.record;
    // Metrics cost no run.
    let last_success = ledger.last_complete(record.id).unwrap_or(None);
    screen.all_tell("run", json!(run.0));
    let metrics = MetricsFile::keep(config, record, &progress, started_at, last_success, screen);
    let task = Task {
        run,
        lanes: lanes(config, &plan),
        runs: ledger.runs(campaign.record.id)?,
        billed: plan.billed,
    };
    let (ledger, end) = make_requests(config, ledger, &campaign, task, clock, &view)?;
    drop(following);

    let (exit, counts) = conclude(config, &ledger, &campaign, &end, &out, screen);
    if let Some(metrics) = metrics {
        let rows = counts.map(|counts| counts.by_index());
        metrics.end(&end, exit, clock.now(), rows);
    }
    if counts.is_some() {
        notify(config, &out, screen);
    }
    Ok(exit)
}

/// The lanes on which something may be due: on a server also what others leave behind.
fn lanes(config: &Config, plan: &Plan) -> Vec<Lane> {
    let mut lanes = plan.lanes();
    if config.ledger.file().is_none() {
        let fallback = config.engine.policy.fallback.map(Lane::from);
        let sending = (config.operation == Operation::Send).then_some([Lane::Sms, Lane::Call]);
        lanes.extend(sending.into_iter().flatten().chain(fallback));
        lanes.sort_unstable();
        lanes.dedup();
    }
    lanes
}

/// Says how the run ended, and writes the result files; gives the exit code and what is in them.
fn conclude(
    config: &Config,
    ledger: &Store,
    campaign: &Campaign,
    end: &End,
    out: &Path,
    screen: &Screen,
) -> (Exit, Option<Counts>) {
    screen.mark("end", "the run has ended", &[]);
    say_how_it_ended(end, screen);
    if ledger.has_moved() {
        screen.error(&format!(
            "otpdrive: the ledger {0} was moved or replaced during the run. All of the run is in the file that was {0} at its start: name that one with --ledger from now on, or everybody may be sent to again",
            config.ledger
        ));
    }
    let runs = runs(ledger, campaign.record.id);
    let written = runs.and_then(|runs| {
        let by = config.by.as_deref();
        write_results(ledger, campaign, &runs, (out, config.form), by, screen)
    });
    match written {
        Ok(summary) => {
            let counts = *summary.counts();
            (Exit::of_run(end, |status| counts[status]), Some(counts))
        }
        // Requests were made, so this is not "nothing was sent".
        Err(error) => {
            screen.error(&format!(
                "otpdrive: {}. The ledger has everything: `otpdrive report` writes the files again",
                in_full(&error)
            ));
            let exit = match super::exit_for(&error) {
                Exit::Bug => Exit::Bug,
                _ => Exit::Stopped,
            };
            (exit, None)
        }
    }
}

fn say_how_it_ended(end: &End, screen: &Screen) {
    match end {
        End::Complete => {}
        End::Stopped(stop) => {
            let kind = [("kind", json!(stop.kind))];
            if stop.kind.was_asked_for() {
                screen.tell(Line::of(&stop.message).named("stopped", &kind));
            } else {
                let text = format!("otpdrive: stopped: {}", stop.message);
                screen.fail(Line::error(&text).named("stopped", &kind));
            }
        }
        End::Interrupted(signal) => {
            let signal = [("signal", json!(signal))];
            let text =
                "otpdrive: interrupted; run the same command again to go on where it stopped";
            screen.fail(Line::error(text).named("interrupted", &signal));
        }
    }
}

/// May OTPs go out? Asks whoever sits there, if that is wanted and any are due.
fn may_begin(config: &Config, plan: &Plan, screen: &Screen) -> bool {
    let requests = all_requests(plan.started());
    plan.requests() == 0
        || config.consent == Consent::Given
        || screen.ask(&format!(
            "Send {requests} for real? Type yes (--yes skips this):"
        ))
}

/// The regulator's own texts disagree on the form of a sender id, so odd ones are not refused.
pub fn warn_of_odd_ids(config: &Config, plan: &Plan, screen: &Screen) {
    let id = &config.gateway.sender_id;
    if plan.lanes().contains(&Lane::Sms) && !words::is_usual_sender_id(id) {
        screen.say(&format!(
            "warning: the sender id \"{}\" is not 3 to 11 letters and digits, as registered ones are",
            visible(id)
        ));
    }
}

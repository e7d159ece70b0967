//! `send`, `verify` and `check`: from a [`Config`] to an exit code.

use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use serde_json::{Value as Json, json};

use super::config::{Config, Consent, Mode};
use super::exit::Exit;
use super::input::{Input, Memory, how_it_is_read};
use super::log::{Line, by_status};
use super::metrics::MetricsFile;
use super::notify::notify;
use super::plan::Plan;
use super::report::write_results;
use super::sandbox::Rehearsal;
use super::screen::Screen;
use super::signals;
use super::{files, in_full};
use crate::campaign::{self, Context as RunContext, Finished, Progress, Task};
use crate::clock::{self, Clock};
use crate::gateway::http::KooKoo;
use crate::gateway::{self, words};
use crate::job::Lane;
use crate::ledger::sqlite::{Restored, SqliteIntake, SqliteLedger};
use crate::ledger::{Campaign, Execution, Intake as _, LeaveOut, NewRun, Store as _};
use crate::record::InputRecord;
use crate::requests::Requests;
use crate::run::{End, Stop, StopKind};
use crate::status::Status;
use crate::summary::Counts;
use crate::text::visible;

/// Shows the plan and makes no request. A ledger that is not there is not made.
///
/// # Errors
/// As `send` before its first request.
pub fn check(config: &Config, screen: &Screen) -> anyhow::Result<Exit> {
    let (input, _) = open(config, screen)?;
    let scratch = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
        .context("no place for a temporary file; set TMPDIR")?;
    let there = input.find_ledger(config)?;
    let path = match (there, config.restored) {
        (true, Restored::Refuse) => config.ledger.clone(),
        (true, Restored::Accept) => copied(&config.ledger, scratch.path())?,
        (false, _) => scratch.path().join("ledger.db"),
    };
    let mut ledger = SqliteLedger::open_restored(&path, config.restored)?;
    let (_, plan, _) = take_in(config, input, &mut ledger, screen)?;
    ensure_usable(config, &plan)?;
    if let Err(missing) = config.ids_for(&plan.lanes()) {
        screen.say(&format!("warning: {missing}"));
    }
    config.prices_for(&plan.lanes())?;
    Ok(if plan.count(Status::Invalid) > 0 {
        Exit::NeedsPerson
    } else {
        Exit::Done
    })
}

/// A copy of a ledger and its log: what may lack requests has to say so the next time, too.
fn copied(ledger: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let copy = folder.join("ledger.db");
    for end in ["", "-wal"] {
        let with_end = |path: &Path| {
            let mut whole = path.as_os_str().to_owned();
            whole.push(end);
            whole
        };
        match std::fs::copy(with_end(ledger), with_end(&copy)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).context("the ledger cannot be copied for a look at it");
            }
            _ => {}
        }
    }
    Ok(copy)
}

/// Does what the plan says, and writes the result files.
///
/// # Errors
/// Before the first request: whatever makes it impossible; nothing was sent, nothing is changed.
/// After it: when the result files cannot be written; the ledger has everything.
pub fn run(config: &Config, screen: &Screen) -> anyhow::Result<Exit> {
    let (input, out) = open(config, screen)?;
    let what = concat!("otpdrive ", env!("CARGO_PKG_VERSION"), " begins");
    screen.mark(
        "start",
        what,
        &[("version", json!(env!("CARGO_PKG_VERSION")))],
    );
    input.find_ledger(config)?;
    let settings = input.settings.clone();
    let mut ledger = SqliteLedger::open_restored(&config.ledger, config.restored)?;
    let (intake, plan, before) = take_in(config, input, &mut ledger, screen)?;
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
    let clock = Clock::start();
    let started_at = clock.now();
    let (campaign, run) = intake.begin_run(started_at, &new_run(config, &settings))?;

    let progress = Arc::new(Progress::new(plan.counts).after(before));
    let engine = &config.engine;
    let following = screen.follow(Arc::clone(&progress), plan.rows, engine);
    let record = &campaign.record;
    // Metrics cost no run.
    let last_success = ledger.last_complete(record.id).unwrap_or(None);
    screen.all_tell("run", json!(run.0));
    let metrics = MetricsFile::keep(config, record, &progress, started_at, last_success, screen);
    let task = Task {
        run,
        lanes: plan.lanes(),
        runs: ledger.runs(campaign.record.id)?,
        billed: plan.billed,
    };
    let (ledger, end) = work(config, ledger, &campaign, task, clock, &progress, screen)?;
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

/// Says how the run ended, and writes the result files; gives the exit code and what is in them.
fn conclude(
    config: &Config,
    ledger: &SqliteLedger,
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
            config.ledger.display()
        ));
    }
    let runs = ledger.runs(campaign.record.id);
    let written = runs
        .map_err(anyhow::Error::from)
        .and_then(|runs| write_results(ledger, campaign, &runs, (out, config.form), screen));
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

/// Looks at all files before anything is made; says where the results go.
fn open(config: &Config, screen: &Screen) -> anyhow::Result<(Input, PathBuf)> {
    screen.hide(gateway::redactor(&config.gateway.key));
    files::warn_of_readers(config, screen);
    let input = Input::open(config)?;
    screen.mask_numbers_of(&input.campaign.name);
    screen.all_tell("campaign", json!(input.campaign.name));
    screen.all_tell("operation", json!(config.operation.name()));
    let out = config.out(&input.campaign.name);
    files::ensure_apart(config, &out)?;
    Ok((input, out))
}

/// Reads the file, finds out what is to be done for each row, and says so; gives also the requests
/// of earlier runs.
fn take_in<'l>(
    config: &Config,
    input: Input,
    ledger: &'l mut SqliteLedger,
    screen: &Screen,
) -> anyhow::Result<(SqliteIntake<'l>, Plan, Requests)> {
    let now = clock::wall();
    let memory = Memory::of(ledger, now)?;
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
    let intake = ledger.take_in(&campaign, &record, &survey.reading, contacts)??;
    let elsewhere = intake.told_elsewhere();
    ensure!(
        elsewhere == 0,
        "{elsewhere} rows belong to campaign {}, as they say, but not as the ledger {} knows it: it was another ledger, this one is older than the file, or their numbers are read in another way than before. Name the right one with --ledger; leave otp_campaign empty in new rows. To send to all of them as a new campaign, name one with --campaign. Nothing was sent",
        visible(&campaign.name),
        config.ledger.display()
    );
    let runs = intake.runs(&new_run(config, &settings))?;
    let whom = LeaveOut {
        now,
        cooldown: config.cooldown,
        excluded: &excluded,
    };
    intake.leave_out(&runs, &whom)?;
    let mut plan = Plan::new(config.engine.limit);
    let mut before = Requests::default();
    intake.for_each_row(|row, assumed_mobile| {
        row.attempts().iter().for_each(|made| before.add(made));
        plan.add(row, assumed_mobile, &runs);
    })?;
    intake.for_each_former(|row| {
        row.attempts().iter().for_each(|made| before.add(made));
        plan.add_earlier(row, &runs);
    })?;
    let mut about = Vec::from(memory.lines(&config.ledger, &campaign));
    about.extend(how_it_is_read(&survey, config));
    about.extend(suppression_lists.into_iter().map(|list| ("exclude", list)));
    let text = plan.describe(&about, &config.engine, now);
    let text = format!(
        "{} {}{}\n{text}",
        campaign.operation.name(),
        visible(&survey.name),
        if campaign.sandbox {
            " (a rehearsal: nothing leaves this machine)"
        } else {
            ""
        }
    );
    let fields = [
        ("rows", json!(plan.rows)),
        ("counts", by_status(&plan.counts)),
        ("requests", json!(plan.requests())),
    ];
    let line = Line::of(&text).named("plan", &fields);
    match config.consent {
        Consent::Asked => screen.show(line),
        Consent::Given => screen.tell(line),
    }
    Ok((intake, plan, before))
}

/// What the ledger notes of the run that is to begin.
fn new_run<'a>(config: &Config, settings: &'a Json) -> NewRun<'a> {
    NewRun {
        policy: config.engine.policy,
        endpoint: settings["endpoint"].as_str().unwrap_or_default(),
        settings,
    }
}

fn ensure_usable(config: &Config, plan: &Plan) -> anyhow::Result<()> {
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

/// May OTPs go out? Asks whoever sits there, if that is wanted and any are due.
fn may_begin(config: &Config, plan: &Plan, screen: &Screen) -> bool {
    let otps = match plan.requests() {
        0 => return true,
        1 => "1 OTP".to_owned(),
        more => format!("{} OTPs", in_thousands(more)),
    };
    config.consent == Consent::Given || screen.ask(&format!("Send {otps} for real? [y/N]"))
}

/// `4,615`
fn in_thousands(number: u64) -> String {
    match number / 1_000 {
        0 => number.to_string(),
        more => format!("{},{:03}", in_thousands(more), number % 1_000),
    }
}

/// The regulator's own texts disagree on the form of a sender id, so odd ones are not refused.
fn warn_of_odd_ids(config: &Config, plan: &Plan, screen: &Screen) {
    let id = &config.gateway.sender_id;
    if plan.lanes().contains(&Lane::Sms) && !words::is_usual_sender_id(id) {
        screen.say(&format!(
            "warning: the sender id \"{}\" is not 3 to 11 letters and digits, as registered ones are",
            visible(id)
        ));
    }
}

/// Makes the requests.
fn work(
    config: &Config,
    ledger: SqliteLedger,
    campaign: &Campaign,
    task: Task,
    clock: Clock,
    progress: &Progress,
    screen: &Screen,
) -> anyhow::Result<(SqliteLedger, End)> {
    let runtime = super::runtime()?;
    let rehearsal = (config.mode == Mode::Rehearsal)
        .then(Rehearsal::start)
        .transpose()?;
    let run = task.run;
    let signal = signals::listen()?;
    let stop = async {
        let signal = signal.await;
        screen.say_what_is_awaited(progress.unanswered(), config.gateway.timeout);
        signal
    };
    let (ledger, finished) = runtime.block_on(async {
        let mut gateway = config.gateway.clone();
        if let Some(rehearsal) = &rehearsal {
            gateway.endpoint = rehearsal
                .endpoint
                .parse()
                .context("the sandbox's address")?;
        }
        let gateway = KooKoo::new(&gateway, clock).map_err(anyhow::Error::msg)?;
        let ledger = ledger.start(campaign, run, clock, Execution::Threads)?;
        let context = RunContext {
            ledger: &ledger,
            gateway: &gateway,
            progress,
            wall: &clock::wall,
        };
        let finished = campaign::run(&context, &config.engine, task, stop).await;
        let (ledger, lost) = SqliteLedger::close(ledger).await;
        anyhow::Ok((ledger, finished.having_lost(lost, &config.ledger)))
    })?;
    if let Err(error) = ledger.finish_run(run, clock.now(), &finished.end, finished.last_left_at) {
        // The run then counts as killed, which is what a full disk makes of it.
        tracing::error!("{error}");
    }
    Ok((ledger, finished.end))
}

impl Finished {
    /// Answers that could not be written down change how a run ended.
    fn having_lost(mut self, answers: usize, ledger: &Path) -> Self {
        if answers == 0 {
            return self;
        }
        let why = match self.end {
            End::Stopped(stop) if stop.kind == StopKind::Ledger => stop.message,
            _ => format!(
                "the ledger {} could not be written. Make room, then run the same command again",
                ledger.display()
            ),
        };
        self.end = End::Stopped(Stop {
            kind: StopKind::Ledger,
            message: format!(
                "{why}. {answers} answers were not recorded, so their numbers are unknown"
            ),
        });
        self
    }
}

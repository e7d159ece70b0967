//! `send`, `verify` and `check`: from a [`Config`] to an exit code.

use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use serde_json::Value as Json;

use super::config::{Config, Consent, Mode};
use super::exit::Exit;
use super::input::{Input, Memory, how_it_is_read};
use super::plan::Plan;
use super::progress::View;
use super::report::write_results;
use super::sandbox::Rehearsal;
use super::screen::Screen;
use super::signals;
use super::{files, in_full};
use crate::campaign::{self, Context as RunContext, Finished, Progress, Task};
use crate::clock::{self, Clock};
use crate::figures::count;
use crate::gateway::http::KooKoo;
use crate::gateway::{self, words};
use crate::job::Lane;
use crate::ledger::sqlite::{Restored, SqliteIntake, SqliteLedger};
use crate::ledger::{Campaign, Execution, Intake as _, LeaveOut, NewRun, Store as _};
use crate::record::InputRecord;
use crate::run::{End, Stop, StopKind};
use crate::status::Status;
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
    let (_, plan) = take_in(config, input, &mut ledger, screen)?;
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
    input.find_ledger(config)?;
    let settings = input.settings.clone();
    let mut ledger = SqliteLedger::open_restored(&config.ledger, config.restored)?;
    let (intake, plan) = take_in(config, input, &mut ledger, screen)?;
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
    let (campaign, run) = intake.begin_run(clock.now(), &new_run(config, &settings))?;

    let progress = Arc::new(Progress::new(plan.counts));
    let view = View::new(screen, &campaign.record.name, &progress, config);
    let view = Arc::new(view);
    let following = screen.follow(&view);
    let task = Task {
        run,
        lanes: plan.lanes(),
        runs: ledger.runs(campaign.record.id)?,
        billed: plan.billed,
    };
    let (ledger, end) = work(config, ledger, &campaign, task, clock, &view)?;
    drop(following);

    say_how_it_ended(&end, screen);
    if ledger.has_moved() {
        screen.error(&format!(
            "otpdrive: the ledger {0} was moved or replaced during the run. All of the run is in the file that was {0} at its start: name that one with --ledger from now on, or everybody may be sent to again",
            config.ledger.display()
        ));
    }
    let runs = ledger.runs(campaign.record.id);
    let written = runs
        .map_err(anyhow::Error::from)
        .and_then(|runs| write_results(&ledger, &campaign, &runs, &out, screen));
    match written {
        Ok(summary) => Ok(Exit::of_run(&end, |status| summary.counts()[status])),
        // Requests were made, so this is not "nothing was sent".
        Err(error) => {
            screen.error(&format!(
                "otpdrive: {}. The ledger has everything: `otpdrive report` writes the files again",
                in_full(&error)
            ));
            Ok(match super::exit_for(&error) {
                Exit::Bug => Exit::Bug,
                _ => Exit::Stopped,
            })
        }
    }
}

fn say_how_it_ended(end: &End, screen: &Screen) {
    match end {
        End::Complete => {}
        // It was asked for.
        End::Stopped(stop) if stop.kind.was_asked_for() => screen.say(&stop.message),
        End::Stopped(stop) => screen.error(&format!("otpdrive: stopped: {}", stop.message)),
        End::Interrupted(_) => screen
            .error("otpdrive: interrupted; run the same command again to go on where it stopped"),
    }
}

/// Looks at all files before anything is made; says where the results go.
fn open(config: &Config, screen: &Screen) -> anyhow::Result<(Input, PathBuf)> {
    screen.hide(gateway::redactor(&config.gateway.key));
    files::warn_of_readers(config, screen);
    let input = Input::open(config)?;
    screen.mask_numbers_of(&input.campaign.name);
    let out = config.out(&input.campaign.name);
    files::ensure_apart(config, &out)?;
    Ok((input, out))
}

/// Reads the file, finds out what is to be done for each row, and says so.
fn take_in<'l>(
    config: &Config,
    input: Input,
    ledger: &'l mut SqliteLedger,
    screen: &Screen,
) -> anyhow::Result<(SqliteIntake<'l>, Plan)> {
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
    intake.for_each_row(|row, assumed_mobile| plan.add(row, assumed_mobile, &runs))?;
    intake.for_each_former(|row| plan.add_earlier(row, &runs))?;
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
    match config.consent {
        Consent::Asked => screen.show(&text),
        Consent::Given => screen.say(&text),
    }
    Ok((intake, plan))
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
        more => format!("{} OTPs", count(more)),
    };
    config.consent == Consent::Given || screen.ask(&format!("Send {otps} for real? [y/N]"))
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
    view: &Arc<View>,
) -> anyhow::Result<(SqliteLedger, End)> {
    let runtime = super::runtime()?;
    let rehearsal = (config.mode == Mode::Rehearsal)
        .then(Rehearsal::start)
        .transpose()?;
    let run = task.run;
    let asked = Arc::clone(view);
    signals::on_question(move || asked.tell())?;
    let signal = signals::listen()?;
    let stop = async {
        let signal = signal.await;
        view.say_what_is_awaited();
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
            progress: &view.progress,
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

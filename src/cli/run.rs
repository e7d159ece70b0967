//! `send`, `verify` and `check`: from a [`Config`] to an exit code.

use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::config::Config;
use super::exit::Exit;
use super::plan::Plan;
use super::report::write_results;
use super::screen::Screen;
use super::signals;
use crate::campaign::{self, Context as RunContext, Finished, Progress, Task};
use crate::clock::Clock;
use crate::contacts::{self, Survey};
use crate::gateway::http::KooKoo;
use crate::gateway::{self, words};
use crate::job::Lane;
use crate::ledger::sqlite::{Restored, SqliteIntake, SqliteLedger};
use crate::ledger::{Campaign, Execution, Intake as _, NewRun, Store as _};
use crate::record::InputRecord;
use crate::run::{End, RunId, Stop, StopKind};
use crate::sandbox;
use crate::status::Status;
use crate::text::visible;

/// Shows the plan and makes no request. A ledger that is not there is not made.
///
/// # Errors
/// As `send` before its first request.
pub fn check(config: &Config, screen: &Screen) -> anyhow::Result<Exit> {
    let input = Input::open(config)?;
    let scratch = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
        .context("no place for a temporary file; set TMPDIR")?;
    let path = match (SqliteLedger::exists(&config.ledger)?, config.restored) {
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
    screen.hide(gateway::redactor(&config.gateway.key));
    let input = Input::open(config)?;
    let mut ledger = SqliteLedger::open_restored(&config.ledger, config.restored)?;
    let (intake, plan) = take_in(config, input, &mut ledger, screen)?;
    ensure_usable(config, &plan)?;
    config.ids_for(&plan.lanes())?;
    warn_of_odd_ids(config, &plan, screen);
    crate::report::make_folder(&config.out)?;
    let clock = Clock::start();
    let (campaign, run) = intake.begin_run(clock.now(), &new_run(config))?;

    let progress = Arc::new(Progress::new(plan.counts));
    let following = screen.follow(Arc::clone(&progress), plan.rows, config.engine.rate);
    let (ledger, end) = work(config, ledger, &campaign, run, clock, &plan, &progress)?;
    drop(following);

    match &end {
        End::Complete => {}
        End::Stopped(stop) => screen.error(&format!("otpdrive: stopped: {}", stop.message)),
        End::Interrupted(_) => screen
            .error("otpdrive: interrupted; run the same command again to go on where it stopped"),
    }
    if ledger.has_moved() {
        screen.error(&format!(
            "otpdrive: the ledger {0} was moved or replaced during the run. All of the run is in the file that was {0} at its start: name that one with --ledger from now on, or everybody may be sent to again",
            config.ledger.display()
        ));
    }
    match write_results(&ledger, &campaign, &config.out, screen) {
        Ok(summary) => Ok(Exit::of_run(&end, |status| summary.counts()[status])),
        // Requests were made, so this is not "nothing was sent".
        Err(error) => {
            screen.error(&format!(
                "otpdrive: {error:#}. The ledger has everything: `otpdrive report` writes the files again"
            ));
            Ok(match super::exit_for(&error) {
                Exit::Bug => Exit::Bug,
                _ => Exit::Stopped,
            })
        }
    }
}

/// The file and what it holds as a whole: looked at before the ledger is touched.
struct Input {
    file: contacts::Input,
    survey: Survey,
}

impl Input {
    fn open(config: &Config) -> anyhow::Result<Self> {
        let mut file = contacts::open(&config.input, config.read.clone())?;
        let survey = file.survey()?;
        Ok(Self { file, survey })
    }
}

/// Reads the file, finds out what is to be done for each row, and says so.
fn take_in<'l>(
    config: &Config,
    input: Input,
    ledger: &'l mut SqliteLedger,
    screen: &Screen,
) -> anyhow::Result<(SqliteIntake<'l>, Plan)> {
    let Input { file, survey } = input;
    let record = InputRecord {
        name: survey.name.clone(),
        sha256: survey.sha256.clone(),
        rows: survey.rows,
        header: survey.header.clone(),
    };
    let contacts = file.contacts(&survey)?;
    let intake = ledger.take_in(&config.campaign, &record, &survey.reading, contacts)??;
    let mut plan = Plan::default();
    let runs = intake.runs(&new_run(config))?;
    intake.for_each_row(|row, assumed_mobile| plan.add(row, assumed_mobile, &runs))?;
    let text = plan.describe(
        &config.campaign.name,
        config.engine.rate,
        config.engine.limit,
    );
    screen.say(&format!(
        "{} {}{}\n{text}",
        config.campaign.operation.name(),
        visible(&survey.name),
        if config.campaign.sandbox {
            " (a rehearsal: nothing leaves this machine)"
        } else {
            ""
        }
    ));
    Ok((intake, plan))
}

/// What the ledger notes of the run that is to begin.
fn new_run(config: &Config) -> NewRun<'_> {
    NewRun {
        policy: config.engine.policy,
        endpoint: config.settings["endpoint"].as_str().unwrap_or_default(),
        settings: &config.settings,
    }
}

fn ensure_usable(config: &Config, plan: &Plan) -> anyhow::Result<()> {
    let percent = plan.invalid_percent();
    ensure!(
        percent <= config.max_invalid,
        "{} of {} rows ({percent:.0} %) cannot be used, which is more than --max-invalid allows ({} %): is this the right file, and the right --phone-column? Nothing was sent",
        plan.count(Status::Invalid),
        plan.rows,
        config.max_invalid
    );
    Ok(())
}

/// The regulator's own texts disagree on the form of a sender id, so odd ones are not refused.
fn warn_of_odd_ids(config: &Config, plan: &Plan, screen: &Screen) {
    let id = &config.gateway.sender_id;
    if plan.lanes().contains(&Lane::Sms) && !words::is_usual_sender_id(id) {
        screen.say(&format!(
            "warning: the sender id {id:?} is not 3 to 11 letters and digits, as registered ones are"
        ));
    }
}

/// Makes the requests.
fn work(
    config: &Config,
    ledger: SqliteLedger,
    campaign: &Campaign,
    run: RunId,
    clock: Clock,
    plan: &Plan,
    progress: &Progress,
) -> anyhow::Result<(SqliteLedger, End)> {
    let runtime = super::runtime()?;
    let rehearsal = config.campaign.sandbox.then(Rehearsal::start).transpose()?;
    let stop = signals::listen()?;
    let (ledger, finished) = runtime.block_on(async {
        let mut gateway = config.gateway.clone();
        if let Some(rehearsal) = &rehearsal {
            gateway.endpoint = rehearsal
                .endpoint
                .parse()
                .context("the sandbox's address")?;
        }
        let gateway = KooKoo::new(&gateway, clock)
            .map_err(|why| anyhow::anyhow!("the HTTP client cannot be set up: {why}"))?;
        let runs = ledger.runs(campaign.record.id)?;
        let ledger = ledger.start(campaign, run, clock, Execution::Threads)?;
        let task = Task {
            run,
            lanes: plan.lanes(),
            runs,
        };
        let context = RunContext {
            ledger: &ledger,
            gateway: &gateway,
            progress,
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

/// A sandbox in this process, on a thread of its own so that it does not disturb the pace.
struct Rehearsal {
    endpoint: String,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Rehearsal {
    fn start() -> anyhow::Result<Self> {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let Ok(runtime) = super::runtime() else {
                return;
            };
            runtime.block_on(async {
                match sandbox::Sandbox::bind(sandbox::Options::default()).await {
                    Ok(sandbox) => {
                        // Whoever waits for it is there until it is told.
                        let _ = tell.send(Ok(sandbox.endpoint()));
                        let ended = async {
                            let _ = stopped.await;
                        };
                        if let Err(error) = sandbox.run(ended).await {
                            tracing::error!("the sandbox failed: {error}");
                        }
                    }
                    Err(error) => {
                        let _ = tell.send(Err(error));
                    }
                }
            });
        });
        let endpoint = told
            .recv_timeout(Duration::from_secs(10))
            .context("the sandbox did not start")??;
        Ok(Self {
            endpoint,
            _stop: stop,
        })
    }
}

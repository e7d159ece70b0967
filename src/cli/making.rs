//! Makes the requests of a run: the engine at work on a ledger, and once more where others had given
//! this process up meanwhile.

use std::pin::pin;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::task::unconstrained;

use super::config::{Config, Mode};
use super::progress::View;
use super::sandbox::Rehearsal;
use super::signals;
use crate::campaign::{self, Context, Finished, Task};
use crate::clock::{self, Clock};
use crate::gateway::http::{self, KooKoo};
use crate::job::UnixMicros;
use crate::ledger::{At, Campaign, Execution, LedgerError, Store};
use crate::run::{End, RunId, Signal, Stop, StopKind};

/// Makes the requests; gives how that ended.
///
/// # Errors
/// When it cannot begin.
pub fn make_requests(
    config: &Config,
    ledger: Store,
    campaign: &Campaign,
    task: Task,
    clock: Clock,
    view: &Arc<View>,
) -> anyhow::Result<(Store, End)> {
    let runtime = super::runtime()?;
    let rehearsal = (config.mode == Mode::Rehearsal)
        .then(Rehearsal::start)
        .transpose()?;
    let mut gateway = config.gateway.clone();
    if let Some(rehearsal) = &rehearsal {
        gateway.endpoint = rehearsal
            .endpoint
            .parse()
            .context("the sandbox's address")?;
    }
    let asked = Arc::clone(view);
    signals::on_question(move || asked.tell())?;
    let signal = signals::listen()?;
    let stop = async {
        let signal = signal.await;
        view.say_what_is_awaited();
        signal
    };
    let run = task.run;
    let making = Making {
        config,
        campaign,
        gateway,
        view,
    };
    let (ledger, finished) = runtime.block_on(making.until_the_end(ledger, task, clock, stop))?;
    if let Err(error) = ledger.finish_run(run, clock.now(), &finished.end, finished.last_left_at) {
        // The run then counts as killed, which is what a full disk makes of it.
        tracing::error!("{error}");
    }
    Ok((ledger, finished.end))
}

/// What the requests are made with.
struct Making<'a> {
    config: &'a Config,
    campaign: &'a Campaign,
    gateway: http::Settings,
    view: &'a Arc<View>,
}

impl Making<'_> {
    async fn until_the_end(
        &self,
        mut ledger: Store,
        mut task: Task,
        mut clock: Clock,
        stop: impl Future<Output = Signal>,
    ) -> anyhow::Result<(Store, Finished)> {
        let mut stop = pin!(stop);
        let began = clock::wall();
        let (run, lanes, billed) = (task.run, task.lanes.clone(), task.billed);
        let mut last_left_at = None;
        loop {
            let finished;
            (ledger, finished) = self.work(ledger, task, clock, began, &mut stop).await?;
            last_left_at = finished.last_left_at.max(last_left_at);
            if !finished.ends_with_the_ledger() || !join_again(&mut ledger, self.campaign, run) {
                let end = finished.end;
                return Ok((ledger, Finished { end, last_left_at }));
            }
            tracing::warn!(name: "joined_again", "this process did not reach the ledger for so long that others went on with its rows; it has joined them again");
            clock = ledger.clock()?;
            task = Task {
                run,
                lanes: lanes.clone(),
                runs: ledger.runs(self.campaign.record.id)?,
                billed,
            };
        }
    }

    /// Works until nothing is left to do or it has to stop; the run itself began then.
    async fn work(
        &self,
        ledger: Store,
        task: Task,
        clock: Clock,
        began: UnixMicros,
        stop: impl Future<Output = Signal>,
    ) -> anyhow::Result<(Store, Finished)> {
        let mut settings = self.config.engine.clone();
        let passed = clock::wall().since(began);
        settings.max_duration = settings
            .max_duration
            .map(|most| most.saturating_sub(passed));
        let gateway = KooKoo::new(&self.gateway, clock).map_err(anyhow::Error::msg)?;
        let ceilings = self.config.ceilings.as_ref();
        let ledger = ledger.start(self.campaign, task.run, clock, Execution::Threads, ceilings)?;
        let wall = wall(&self.config.ledger, clock);
        let context = Context {
            ledger: &ledger,
            gateway: &gateway,
            progress: &self.view.progress,
            wall: &wall,
        };
        // It is one task for all requests, and yields by itself: what tokio grants a task between two
        // looks at the system would be used up by a few of them.
        let finished = unconstrained(campaign::run(&context, &settings, task, stop)).await;
        let (ledger, lost) = Store::close(ledger).await;
        Ok((ledger, finished.having_lost(lost, &self.config.ledger)))
    }
}

/// Joins the run again, if others had given this process up and are still at work on it.
fn join_again(ledger: &mut Store, campaign: &Campaign, run: RunId) -> bool {
    let mut join = || {
        let joins = ledger.is_given_up()? && ledger.on()?.contains(&run);
        if joins {
            ledger.join(campaign, run)?;
        }
        Ok::<_, LedgerError>(joins)
    };
    // It ends as it would have, then.
    join().unwrap_or(false)
}

/// What a clock on the wall shows: that of the server, where several machines share it, for they
/// have to agree on hours and days.
fn wall(ledger: &At, of_ledger: Clock) -> impl Fn() -> UnixMicros + use<> {
    let ahead = match ledger {
        At::File(_) => 0,
        At::Server(_) => of_ledger.now().0 - clock::wall().0,
    };
    move || UnixMicros(clock::wall().0 + ahead)
}

impl Finished {
    /// Did it end for the ledger's sake?
    fn ends_with_the_ledger(&self) -> bool {
        matches!(&self.end, End::Stopped(stop) if stop.kind == StopKind::Ledger)
    }

    /// Answers that could not be written down change how a run ended.
    fn having_lost(mut self, answers: usize, ledger: &At) -> Self {
        if answers == 0 {
            return self;
        }
        let why = match self.end {
            End::Stopped(stop) if stop.kind == StopKind::Ledger => stop.message,
            _ => format!(
                "the ledger {ledger} could not be written. Make room, then run the same command again"
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

//! One process of the program, from the input's rows to its last fact: what `cli::run` does, with
//! everything outside handed in.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::pending;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use otpdrive::campaign::{self, Context, Progress, Settings, Task};
use otpdrive::clock::Clock;
use otpdrive::job::{Contact, Lane, Operation, UnixMicros};
use otpdrive::ledger::sqlite::Restored;
use otpdrive::ledger::{
    Campaign, CampaignKey, Execution, LeaveOut, LedgerError, NewRun, Opening, Records, Run, Store,
};
use otpdrive::next::{Step, next_step};
use otpdrive::number::Number;
use otpdrive::record::{InputRecord, Row, RowState};
use otpdrive::run::{End, RunFact, RunId, Runs, Signal};
use otpdrive::status::Status;
use tokio::time::{Instant, sleep};

use super::disk::Disk;
use super::killer::{Killer, LEDGER};
use super::weather::Weather;
use super::world::{SimGateway, World};

/// What one process is started with, and what happens to it.
pub struct Orders {
    pub run: usize,
    pub campaign: usize,
    pub operation: Operation,
    pub name: String,
    pub cooldown: Duration,
    /// The numbers in suppression lists.
    pub excluded: HashMap<Number, Arc<str>>,
    pub settings: Settings,
    pub weather: Weather,
    pub timeout: Duration,
    pub commit_max: Duration,
    pub read_max: usize,
    /// What the system's clock says at its start.
    pub wall: UnixMicros,
    pub signal_at: Option<Duration>,
    pub kill_at: Option<Duration>,
    pub kill_at_point: Option<u64>,
    pub disk_full_after: Option<usize>,
    pub random: Rng,
}

/// An input file, as it was read.
pub struct Input {
    pub sha256: String,
    pub contacts: Vec<Contact>,
}

/// How a process ended.
pub enum Ended {
    Finished(Said),
    Killed {
        at: &'static str,
        /// Where its disk is now.
        image: PathBuf,
    },
}

/// What a process that has ended leaves behind.
pub struct Said {
    pub end: End,
    pub rows: Vec<Row>,
    /// Numbers that were tried and that the input has no more.
    pub former: Vec<Row>,
    pub runs: Runs,
    pub run: RunId,
    pub facts: Vec<RunFact>,
}

/// What is known of a process from outside, for the judge.
pub struct Traces {
    pub in_flight_max: usize,
    pub calls_max: usize,
    pub began: Instant,
    pub signalled: Option<Instant>,
}

/// Runs a process on the ledger in `folder` and this input.
pub async fn run(world: &World, folder: &Path, input: Input, orders: &Orders) -> (Ended, Traces) {
    let mut random = orders.random.clone();
    let image = folder.with_file_name(format!("disk-{}", orders.run + 1));
    let killer = Killer::new(folder, &image, orders.kill_at_point, random.fork());
    let clock = Clock::at(orders.wall);
    let gateway = world.gateway(orders, clock, &killer);
    let (began, signalled) = (Instant::now(), Cell::new(None));
    let signal = async {
        match orders.signal_at {
            Some(time) => sleep(time).await,
            None => pending().await,
        }
        signalled.set(Some(Instant::now()));
        Signal::Sigterm
    };
    let process = Process {
        world,
        folder,
        input,
        orders,
        killer: &killer,
        clock,
        random: RefCell::new(random),
    };
    let ended = tokio::select! {
        biased;
        at = killer.died() => Ended::Killed { at, image },
        () = sleep(orders.kill_at.unwrap_or(Duration::MAX)), if orders.kill_at.is_some() => {
            killer.kill("at any time");
            Ended::Killed { at: killer.died().await, image }
        }
        ended = process.live(&gateway, signal) => ended,
    };
    let traces = Traces {
        in_flight_max: gateway.in_flight.most.get(),
        calls_max: gateway.calls.most.get(),
        began,
        signalled: signalled.get(),
    };
    (ended, traces)
}

/// Opens the ledger in a folder.
pub fn open(folder: &Path) -> Store {
    let path = folder.join(LEDGER);
    match Store::open(&path) {
        // What a killed process leaves is copied here: nothing else may be found wrong with it.
        Err(LedgerError::Restored { why, .. }) if why.contains("it is a copy") => Store::open_as(
            &path,
            &Opening {
                restored: Restored::Accept,
                ..Opening::default()
            },
        )
        .unwrap(),
        opened => opened.unwrap(),
    }
}

struct Process<'w> {
    world: &'w World,
    folder: &'w Path,
    input: Input,
    orders: &'w Orders,
    killer: &'w Killer,
    clock: Clock,
    random: RefCell<Rng>,
}

/// What there is to do.
#[derive(Default)]
struct Plan {
    lanes: Vec<Lane>,
    numbers: usize,
    former: usize,
    counts: [u64; Status::ALL.len()],
    billed: [u64; Lane::ALL.len()],
    runs: Runs,
}

impl Plan {
    fn bill(&mut self, billed: [u32; Lane::ALL.len()]) {
        for (sum, billed) in self.billed.iter_mut().zip(billed) {
            *sum += u64::from(billed);
        }
    }
}

impl Process<'_> {
    async fn live(&self, gateway: &SimGateway<'_>, signal: impl Future<Output = Signal>) -> Ended {
        let settings = &self.orders.settings;
        self.killer.point("at the start").await;
        let mut ledger = open(self.folder);
        self.killer.point("the ledger is open").await;
        let new_run = NewRun {
            rates: [None; 2],
            ceilings: None,
            billed: [0; 3],

            policy: settings.policy,
            endpoint: "http://simulated",
            settings: &serde_json::json!({ "refused_alike": settings.refused_alike }),
        };
        let (campaign, run, mut plan) = self.take_in(&mut ledger, &new_run);
        plan.runs = ledger.runs(campaign.record.id).unwrap();
        self.killer.is_durable();
        self.killer.point("the run is noted").await;
        let started = ledger.start(&campaign, run, self.clock, Execution::Inline, None);
        let progress = Progress::new(plan.counts);
        let disk = self.disk(started.unwrap(), &progress, plan.numbers);
        let context = Context {
            ledger: &disk,
            gateway,
            progress: &progress,
            wall: &|| self.clock.now(),
        };
        let task = Task {
            run,
            lanes: plan.lanes,
            runs: plan.runs,
            billed: plan.billed,
        };
        let finished = campaign::run(&context, settings, task, signal).await;
        self.killer.point("all is done").await;
        let facts = disk.facts.take();
        let (ledger, lost) = Store::close(disk.ledger).await;
        assert_eq!(lost, 0, "answers that could not be written");
        self.killer.point("the ledger is at rest").await;
        let now = self.clock.now();
        let noted = ledger.finish_run(run, now, &finished.end, finished.last_left_at);
        noted.unwrap();
        self.killer.point("the end is noted").await;
        let (rows, runs) = self.rows(&ledger, &campaign, &progress);
        let former = former(&ledger, &campaign);
        assert_eq!(former.len(), plan.former, "in the plan, and in the end");
        Ended::Finished(Said {
            end: finished.end,
            rows,
            former,
            runs,
            run,
            facts,
        })
    }

    /// Takes the input in, and plans as the program does.
    fn take_in(&self, ledger: &mut Store, new: &NewRun<'_>) -> (Campaign, RunId, Plan) {
        let key = CampaignKey {
            operation: self.orders.operation,
            name: self.orders.name.clone(),
            sandbox: false,
        };
        let contacts = &self.input.contacts;
        let record = InputRecord {
            name: "contacts.csv".to_owned(),
            sha256: self.input.sha256.clone(),
            rows: contacts.len() as u64,
            header: "phone,channel,otp,note".to_owned(),
        };
        let contacts = contacts.iter().cloned().map(Ok::<_, Infallible>);
        let intake = ledger.take_in(&key, &record, "", contacts).unwrap();
        let Ok(mut intake) = intake;
        let whom = LeaveOut {
            now: self.clock.now(),
            cooldown: self.orders.cooldown,
            max_age: None,
            excluded: &self.orders.excluded,
        };
        let (mut plan, runs) = (Plan::default(), intake.runs(new).unwrap());
        intake.leave_out(&runs, &whom).unwrap();
        let former = intake.for_each_former(|row| {
            plan.former += 1;
            plan.bill(row.outcome(&runs).billed);
        });
        former.unwrap();
        let mut cut_off = false;
        let planned = intake.for_each_row(Records::Skip, |row, _| {
            let outcome = row.outcome(&runs);
            plan.counts[outcome.status.index()] += 1;
            plan.bill(outcome.billed);
            cut_off |= row.attempts().iter().any(|a| a.answer.is_none());
            if let RowState::Job(attempts) = &row.state
                && let Step::Try(lane) = next_step(row.lane, attempts, &runs)
            {
                plan.numbers += 1;
                plan.lanes.push(lane);
                return Some(lane);
            }
            None
        });
        planned.unwrap();
        let reached = &self.world.reached;
        reached.note_if(cut_off, "intents without an answer at a restart");
        plan.lanes.sort_unstable();
        plan.lanes.dedup();
        let (campaign, run) = intake.begin_run(self.clock.now(), new).unwrap();
        (campaign, run, plan)
    }

    /// All that the ledger says in the end; it is sound, and the screen said the same.
    fn rows(&self, ledger: &Store, campaign: &Campaign, progress: &Progress) -> (Vec<Row>, Runs) {
        let wrong = ledger.verify().unwrap().wrong;
        assert!(wrong.is_empty(), "the ledger is not sound: {wrong:?}");
        let runs = ledger.runs(campaign.record.id).unwrap();
        let (mut rows, mut counts) = (Vec::new(), [0; Status::ALL.len()]);
        let read = ledger.for_each_row(campaign, Records::Read, &mut |row| {
            counts[row.outcome(&runs).status.index()] += 1;
            rows.push(row.clone());
            ControlFlow::Continue(())
        });
        read.unwrap();
        assert_eq!(
            progress.counts(),
            counts,
            "on the screen, and in the ledger"
        );
        let contacts = &self.input.contacts;
        assert_eq!(rows.len(), contacts.len(), "one row is one row");
        for (row, contact) in rows.iter().zip(contacts) {
            assert_eq!((row.line, &row.record), (contact.line, &contact.record));
        }
        (rows, runs)
    }

    fn disk<'p>(&'p self, ledger: Run, progress: &'p Progress, numbers: usize) -> Disk<'p> {
        Disk {
            ledger,
            killer: self.killer,
            world: self.world,
            orders: self.orders,
            progress,
            random: RefCell::new(self.random.borrow_mut().fork()),
            since: Instant::now(),
            numbers,
            was_granted: Cell::new(false),
            intents: Cell::new(0),
            handed: RefCell::default(),
            recorded: Cell::new(0),
            facts: RefCell::default(),
        }
    }
}

/// Numbers that were tried and that the input has no more.
pub fn former(ledger: &Store, campaign: &Campaign) -> Vec<Row> {
    let mut rows = Vec::new();
    let read = ledger.for_each_former(campaign.record.id, &mut |_, row| {
        rows.push(row.clone());
        ControlFlow::Continue(())
    });
    read.unwrap();
    rows
}

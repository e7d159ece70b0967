//! One process of the program, from reading the input to the result files: what `cli::run` does,
//! with everything outside handed in.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fastrand::Rng;
use otpdrive::campaign::{self, Live, Means, Settings, Task};
use otpdrive::clock::Clock;
use otpdrive::contacts::{self, ReadOptions};
use otpdrive::ledger::LedgerError;
use otpdrive::ledger::sqlite::{Campaign, CampaignKey, Place, Restored, SqliteLedger};
use otpdrive::outcome::{Attempt, Channel, Lane, Operation, Status, Step, UnixMicros, next_step};
use otpdrive::record::{End, InputRecord, Row, RowState, Signal};
use otpdrive::report::{Facts, Pace, write_all};
use tokio::time::{Instant, sleep};

use super::disk::Disk;
use super::killer::{Killer, LEDGER};
use super::weather::Weather;
use super::world::{Manner, World};

/// What one process is started with, and what happens to it.
pub struct Orders {
    pub run: usize,
    pub operation: Operation,
    pub channel: Channel,
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

/// How a process ended.
pub enum Ended {
    Finished {
        end: End,
        /// The lines of `results.csv` as maps.
        results: Vec<BTreeMap<String, String>>,
        attempts: Vec<Vec<Attempt>>,
    },
    Killed {
        at: &'static str,
        /// Where its disk is now.
        image: PathBuf,
    },
}

/// What is known of a process from outside, for the judge.
pub struct Traces {
    pub in_flight_max: usize,
    pub signalled: Option<Instant>,
}

/// Runs a process on the ledger in `folder` and the file `input`.
pub async fn run(world: &World, folder: &Path, input: &Path, orders: &Orders) -> (Ended, Traces) {
    let mut random = orders.random.clone();
    let image = folder.with_file_name(format!("disk-{}", orders.run + 1));
    let killer = Killer::new(folder, &image, orders.kill_at_point, random.fork());
    let clock = Clock::at(orders.wall);
    let gateway = world.gateway(
        orders.run,
        &orders.weather,
        Manner {
            clock,
            timeout: orders.timeout,
            hold_server_errors: orders.settings.hold_server_errors,
            killer: &killer,
        },
    );
    let signalled = Cell::new(None);
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
        in_flight_max: gateway.in_flight_max.get(),
        signalled: signalled.get(),
    };
    (ended, traces)
}

struct Process<'w> {
    world: &'w World,
    folder: &'w Path,
    input: &'w Path,
    orders: &'w Orders,
    killer: &'w Killer,
    clock: Clock,
    random: RefCell<Rng>,
}

impl Process<'_> {
    async fn live(
        &self,
        gateway: &impl otpdrive::gateway::Gateway,
        signal: impl Future<Output = Signal>,
    ) -> Ended {
        let settings = &self.orders.settings;
        self.killer.point("at the start").await;
        let path = self.folder.join(LEDGER);
        let mut ledger = match SqliteLedger::open(&path) {
            // What a killed process leaves is copied here: nothing else may be found wrong with it.
            Err(LedgerError::Restored { why, .. }) if why.contains("it is a copy") => {
                SqliteLedger::open_restored(&path, Restored::Accept).unwrap()
            }
            opened => opened.unwrap(),
        };
        self.killer.point("the ledger is open").await;
        let options = ReadOptions::new(self.orders.operation, self.orders.channel);
        let mut file = contacts::open(self.input, options).unwrap();
        let survey = file.survey().unwrap();
        let key = CampaignKey {
            operation: self.orders.operation,
            name: "simulated".to_owned(),
            sandbox: false,
        };
        let record = InputRecord {
            name: survey.name.clone(),
            sha256: survey.sha256.clone(),
            rows: survey.rows,
            header: survey.header.clone(),
        };
        let contacts = file.contacts(&survey).unwrap();
        let reading = self.orders.channel.name();
        let intake = ledger.take_in(&key, &record, reading, contacts);
        let intake = intake.unwrap().unwrap();
        self.killer.point("the input is read").await;
        let (mut lanes, mut counts) = (Vec::new(), [0; Status::ALL.len()]);
        intake
            .for_each_row(|row, _| {
                counts[row.outcome().status.index()] += 1;
                lanes.extend(due_on(row, settings));
            })
            .unwrap();
        let begun = intake.begin_run(self.clock.now(), &serde_json::json!({}));
        let (campaign, run) = begun.unwrap();
        self.killer.is_durable();
        self.killer.point("the run is noted").await;
        let started = ledger.start(&campaign, run, self.clock.now(), Place::InPlace);
        let disk = self.disk(started.unwrap());
        let live = Live::new(counts);
        let means = Means {
            ledger: &disk,
            gateway,
            clock: self.clock,
            live: &live,
        };
        let task = Task {
            run,
            lanes: Lane::ALL
                .into_iter()
                .filter(|l| lanes.contains(l))
                .collect(),
            holds: disk.ledger.holds(),
        };
        let finished = campaign::run(&means, settings, task, signal).await;
        self.killer.point("all is done").await;
        let (ledger, lost) = disk.ledger.close().await;
        assert_eq!(lost, 0, "answers that could not be written");
        self.killer.point("the ledger is at rest").await;
        let now = self.clock.now();
        let noted = ledger.finish_run(run, now, &finished.end, finished.last_left_at);
        noted.unwrap();
        self.killer.point("the end is noted").await;
        let (results, attempts) = self.results(&ledger, &campaign, &live);
        Ended::Finished {
            end: finished.end,
            results,
            attempts,
        }
    }

    /// Writes the result files; gives the lines of `results.csv`, and the attempts of each number.
    fn results(
        &self,
        ledger: &SqliteLedger,
        campaign: &Campaign,
        live: &Live,
    ) -> (Vec<BTreeMap<String, String>>, Vec<Vec<Attempt>>) {
        let run = ledger.latest_run(campaign.record.id).unwrap().unwrap();
        let facts = Facts {
            campaign: &campaign.record,
            run: &run,
            limit_per_s: self
                .orders
                .settings
                .rate
                .map(otpdrive::pace::Rate::per_second),
            pace: &Pace::default(),
        };
        let mut attempts = Vec::new();
        let out = self.folder.join("results");
        let summary = write_all(&out, &facts, |each| {
            ledger.for_each_row(campaign, true, &mut |row| {
                if let RowState::Job(of_row) = &row.state {
                    attempts.push(of_row.clone());
                }
                each(row)
            })
        });
        let summary = summary.unwrap();
        for status in Status::ALL {
            let shown = live.counts()[status.index()];
            assert_eq!(summary.counts()[status], shown, "{status:?} on the screen");
        }
        let csv = std::fs::read(out.join("results.csv")).unwrap();
        let mut reader = csv::Reader::from_reader(&csv[..]);
        let results = reader.deserialize().map(Result::unwrap).collect();
        (results, attempts)
    }

    fn disk(&self, ledger: otpdrive::ledger::sqlite::RunLedger) -> Disk<'_> {
        Disk {
            ledger,
            killer: self.killer,
            world: self.world,
            random: RefCell::new(self.random.borrow_mut().fork()),
            read_max: self.orders.read_max,
            commit_max: self.orders.commit_max,
            full_after: self.orders.disk_full_after,
            intents: Cell::new(0),
            handed: RefCell::default(),
            recorded: Cell::new(0),
        }
    }
}

/// On which lane something is due for a row, as the plan has it.
fn due_on(row: &Row, settings: &Settings) -> Option<Lane> {
    let RowState::Job(attempts) = &row.state else {
        return None;
    };
    match next_step(row.lane, attempts, &settings.policy, true) {
        Step::Try { lane, .. } => Some(lane),
        Step::Rest => (row.outcome().status == Status::Pending).then_some(row.lane),
    }
}

//! `status`: how the campaigns of a ledger stand, also while a run is on.

use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::thread::sleep;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::config::Mode;
use super::exit::Exit;
use super::report::{open, print, runs, shown_name};
use super::terminal::{InPlace, can_redraw, width};
use super::values::Values;
use crate::clock;
use crate::figures::{count, counted, in_words};
use crate::job::UnixMicros;
use crate::ledger::{Campaign, LedgerError, Purged, Records, Store, Verified, Working};
use crate::number::mask_numbers;
use crate::record::RunRecord;
use crate::report::hours;
use crate::report::json::{Earlier, State, StatusCounts, StopReason};
use crate::run::{End, RunId, Runs};
use crate::summary::{Counts, Summary};
use crate::text::{columns, folded, shortened, visible};

/// Names the format of `--json`; a change that breaks readers gets another number.
const SCHEMA: &str = "otpdrive.status/1";

/// How often `--watch` looks, and how much longer than one look takes it waits at least.
const LOOK: Duration = Duration::from_secs(1);
const REST: u32 = 4;

/// The columns of the table; the counts are the last.
const HEADER: [&str; 6] = ["CAMPAIGN", "STATE", "WHAT", "LAST RUN", "ROWS", "COUNTS"];

/// Columns of a campaign's name on a terminal.
const NAME_MAX: usize = 24;

/// Counts have at least so many columns beside the rest, or else stand below.
const COUNTS_MIN: usize = 24;

/// How a campaign stands: a line of `--json`.
#[derive(Serialize)]
struct Standing {
    schema: &'static str,
    campaign: String,
    operation: &'static str,
    sandbox: bool,
    state: State,
    stop_reason: Option<StopReason>,
    /// Which process works on it.
    holder: Option<String>,
    /// On a server: who works on it.
    workers: Vec<Worker>,
    started_at: Option<String>,
    finished_at: Option<String>,
    in_flight: u64,
    rows: u64,
    counts: StatusCounts,
    earlier: Earlier,
    /// When its people were taken out of the ledger; null while they are there.
    purged_at: Option<String>,
    /// For the table.
    #[serde(skip)]
    shown: Shown,
}

/// A process that works on a campaign.
#[derive(Serialize)]
struct Worker {
    host: String,
    since: String,
    /// Requests that it has begun.
    begun: u64,
}

struct Shown {
    cells: [String; 5],
    counts: String,
    notes: Vec<String>,
}

/// Lists the campaigns.
///
/// # Errors
/// When the ledger is not there or cannot be read.
pub fn status(values: &Values) -> anyhow::Result<Exit> {
    let path = Mode::of(values).ledger(values)?;
    let mut ledger = open(&path)?;
    if values.is_on("verify") {
        return verify(&ledger);
    }
    let json = values.is_on("json");
    let out = io::stdout();
    let bars = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
    let bar = bars.add(ProgressBar::no_length().with_style(ProgressStyle::with_template("{msg}")?));
    let in_place = values.is_on("watch") && !json && can_redraw(&out);
    if in_place {
        let terminal = Box::new(InPlace::new(io::stdout()));
        bars.set_draw_target(ProgressDrawTarget::term_like(terminal));
    }
    let (mut before, mut was_on) = (String::new(), false);
    let (mut accounts, mut is_changed) = (Accounts::default(), true);
    loop {
        let started = Instant::now();
        accounts.update(&ledger, is_changed)?;
        let all = accounts.standings(&ledger, values)?;
        let facts = lines(&all)?;
        let is_on = all.iter().any(|one| one.state == State::Running);
        // One that ended while it was looked at is looked at once more.
        let is_last = !values.is_on("watch") || !(is_on || was_on);
        let text = || table(&all, width(&out, usize::MAX).saturating_sub(1));
        if in_place && is_on {
            bar.set_message(text().trim_end().to_owned());
        } else if (is_on || is_last) && facts != before {
            bar.finish_and_clear();
            let text = if json { facts.clone() } else { text() };
            print(out.lock(), text.as_bytes())?;
            before = facts;
        }
        if is_last {
            return Ok(Exit::Done);
        }
        if is_on {
            sleep(LOOK.max(started.elapsed() * REST));
        }
        was_on = is_on;
        is_changed = ledger.look_again()?;
    }
}

/// The accounts of all campaigns, and the runs that were on when they were made.
#[derive(Default)]
struct Accounts {
    all: Vec<(Campaign, Account)>,
    on: Vec<RunId>,
    workers: Vec<Working>,
}

impl Accounts {
    /// Makes those anew that may be others by now: while a run is on, only its campaign's.
    fn update(&mut self, ledger: &Store, is_changed: bool) -> anyhow::Result<()> {
        let on = ledger.on()?;
        let keeps = on == self.on && (!on.is_empty() || !is_changed);
        let before = std::mem::take(&mut self.all);
        let mut before = before.into_iter().filter(|_| keeps).peekable();
        let purged = ledger.purged()?;
        for campaign in ledger.campaigns()? {
            let known = before.next_if(|(known, _)| *known == campaign);
            let id = campaign.record.id;
            let account = match purged.iter().find(|purged| purged.campaign.id == id) {
                Some(purged) => Account::of_purged(purged),
                None => match known {
                    Some((_, account)) if !(account.is_on && is_changed) => account,
                    _ => Account::of(ledger, &campaign)?,
                },
            };
            self.all.push((campaign, account));
        }
        self.on = on;
        self.workers = ledger.workers()?;
        Ok(())
    }

    fn standings(&self, ledger: &Store, values: &Values) -> anyhow::Result<Vec<Standing>> {
        let standings = self.all.iter().map(|(campaign, account)| {
            Standing::new(ledger, campaign, (account, &self.workers), values)
        });
        standings.collect()
    }
}

fn lines(all: &[Standing]) -> anyhow::Result<String> {
    let lines = all.iter().map(|one| Ok(serde_json::to_string(one)? + "\n"));
    lines.collect()
}

/// What there is to say of the rows of a campaign.
struct Account {
    counts: Counts,
    earlier: Counts,
    in_flight: u64,
    is_on: bool,
    purged_at: Option<UnixMicros>,
}

impl Account {
    /// From the rows as they stand.
    fn of(ledger: &Store, campaign: &Campaign) -> anyhow::Result<Self> {
        let runs = runs(ledger, campaign.record.id)?;
        let mut summary = Summary::default();
        ledger.for_each_row(campaign, Records::Skip, &mut |row| {
            summary.add(row, &row.outcome(&runs));
            ControlFlow::Continue(())
        })?;
        Ok(Self {
            counts: *summary.counts(),
            earlier: earlier(ledger, campaign, &runs)?,
            in_flight: summary.in_flight(),
            is_on: runs.latest().is_some_and(|run| runs.is_on(run)),
            purged_at: None,
        })
    }

    /// Of a campaign of which only the counts are left.
    fn of_purged(purged: &Purged) -> Self {
        Self {
            counts: purged.counts,
            earlier: purged.earlier,
            in_flight: 0,
            is_on: false,
            purged_at: Some(purged.at),
        }
    }
}

impl Standing {
    fn new(
        ledger: &Store,
        campaign: &Campaign,
        (of, workers): (&Account, &[Working]),
        values: &Values,
    ) -> anyhow::Result<Self> {
        let record = &campaign.record;
        let run = ledger.latest_run(record.id)?;
        let end = run.as_ref().and_then(|run| run.end.as_ref());
        let is_its = |worker: &&Working| run.as_ref().is_some_and(|run| run.id == worker.run);
        let workers: Vec<&Working> = workers.iter().filter(is_its).collect();
        let hosts: Vec<&str> = workers.iter().map(|worker| &*worker.host).collect();
        let holder = match &hosts[..] {
            [] => ledger.holder()?.filter(|_| of.is_on),
            hosts => Some(hosts.join("; ")),
        };
        let state = State::new(end, of.is_on, &of.counts);
        let name = shown_name(&record.name, values);
        let mut shown =
            Shown::new(&name, campaign, run.as_ref(), state).with(of, holder.as_deref());
        shown.add(&workers, run.as_ref());
        Ok(Self {
            schema: SCHEMA,
            operation: record.operation.name(),
            sandbox: record.sandbox,
            state,
            stop_reason: StopReason::new(end),
            started_at: run.as_ref().map(|run| run.started_at.to_string()),
            finished_at: run.and_then(|run| Some(run.finished_at?.to_string())),
            in_flight: of.in_flight,
            rows: of.counts.total(),
            counts: StatusCounts::new(&of.counts),
            shown,
            workers: workers.into_iter().map(Worker::of).collect(),
            earlier: Earlier::new(&of.earlier),
            purged_at: of.purged_at.map(|at| at.to_string()),
            campaign: name,
            holder,
        })
    }
}

impl Worker {
    fn of(worker: &Working) -> Self {
        Self {
            host: worker.host.clone(),
            since: worker.since.to_string(),
            begun: worker.begun,
        }
    }
}

impl Shown {
    /// What each of several processes has done.
    fn add(&mut self, workers: &[&Working], run: Option<&RunRecord>) {
        let (Some(run), [_, _, ..]) = (run, workers) else {
            return;
        };
        let now = clock::wall();
        self.notes.extend(workers.iter().map(|worker| {
            let since = hours(&run.settings).shown(worker.since, now);
            let begun = counted(worker.begun, "request", "requests");
            format!("- {}: {begun} since {since}", visible(&worker.host))
        }));
    }

    fn new(name: &str, campaign: &Campaign, run: Option<&RunRecord>, state: State) -> Self {
        let record = &campaign.record;
        let state = match state {
            State::Complete => "complete",
            State::Running => "running",
            State::Stopped => "stopped",
            State::Interrupted if run.is_some_and(|run| run.end.is_none()) => "killed",
            State::Interrupted => "interrupted",
        };
        let now = clock::wall();
        let last = run.map(|run| {
            let at = hours(&run.settings).shown(run.started_at, now);
            let until = run.finished_at.or((state == "running").then_some(now));
            let took = until.map(|until| in_words(until.since(run.started_at)));
            took.map_or(at.clone(), |took| format!("{at}, {took}"))
        });
        let rehearsal = if record.sandbox { " (sandbox)" } else { "" };
        let stop = match run.and_then(|run| run.end.as_ref()) {
            Some(End::Stopped(stop)) => {
                let why = mask_numbers(&stop.message);
                vec![format!("stopped: {}", visible(&why))]
            }
            _ => Vec::new(),
        };
        Self {
            cells: [
                visible(name).into_owned(),
                state.to_owned(),
                record.operation.name().to_owned() + rehearsal,
                last.unwrap_or_default(),
                String::new(),
            ],
            counts: String::new(),
            notes: stop,
        }
    }

    fn with(mut self, of: &Account, holder: Option<&str>) -> Self {
        self.cells[4] = count(of.counts.total());
        self.counts = of.counts.in_words();
        if let Some(at) = of.purged_at {
            "purged".clone_into(&mut self.cells[1]);
            self.notes.push(format!("purged at {at}"));
        }
        self.notes.extend(holder.map(|holder| {
            let in_flight = count(of.in_flight);
            format!("running: {}, {in_flight} in flight", visible(holder))
        }));
        if of.earlier.total() > 0 {
            let earlier = of.earlier.in_words();
            self.notes.push(format!("in earlier lists only: {earlier}"));
        }
        self
    }
}

/// The table, in lines of at most `most` columns.
fn table(all: &[Standing], most: usize) -> String {
    let name = |one: &Standing| shortened(&one.shown.cells[0], NAME_MAX.max(most / 4)).into_owned();
    let rows = all.iter().map(|one| {
        let mut cells = one.shown.cells.clone();
        cells[0] = name(one);
        cells
    });
    let mut rows: Vec<[String; 5]> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    let [header @ .., counts] = HEADER;
    rows.insert(0, header.map(str::to_owned));
    let widths: [usize; 5] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| columns(&row[column]));
        cells.max().unwrap_or(0)
    });
    let indent = widths.iter().sum::<usize>() + 2 * widths.len();
    let beside = indent + COUNTS_MIN <= most;
    let indent = if beside { indent } else { 2 };
    let header = Shown {
        cells: Default::default(),
        counts: if beside {
            counts.to_owned()
        } else {
            String::new()
        },
        notes: Vec::new(),
    };
    let mut text = String::new();
    let shown = [&header]
        .into_iter()
        .chain(all.iter().map(|one| &one.shown));
    for (row, shown) in rows.iter().zip(shown) {
        let cells = row.iter().zip(widths).map(|(cell, width)| {
            let gap = " ".repeat(width - columns(cell) + 2);
            cell.clone() + &gap
        });
        let line: String = cells.collect();
        let mut below = folded(
            shown.counts.split_inclusive(", ").map(str::trim_end),
            [indent; 2],
            "",
            most,
        );
        let line = if beside {
            line + &below.remove(0)
        } else {
            line
        };
        text += &shortened(line.trim_end(), most);
        for line in below {
            text = text + "\n" + &" ".repeat(indent) + &shortened(&line, most);
        }
        for note in &shown.notes {
            for line in folded(note.split(' '), [2; 2], "", most) {
                text = text + "\n  " + &shortened(&line, most.saturating_sub(2));
            }
        }
        text.push('\n');
    }
    text
}

/// Numbers that were attempted and that the campaign's input has no more.
fn earlier(ledger: &Store, campaign: &Campaign, runs: &Runs) -> anyhow::Result<Counts> {
    let mut earlier = Summary::default();
    ledger.for_each_former(campaign.record.id, &mut |_, row| {
        earlier.add(row, &row.outcome(runs));
        ControlFlow::Continue(())
    })?;
    Ok(*earlier.counts())
}

/// Says whether the ledger is sound, and what is wrong with it.
fn verify(ledger: &Store) -> anyhow::Result<Exit> {
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
    let path = ledger.path().to_owned();
    Err(LedgerError::Damaged { path, why }.into())
}

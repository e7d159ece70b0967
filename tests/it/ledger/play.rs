//! Made-up stories, played with a real ledger and with the one in memory: after each step all that can
//! be read is the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::time::Duration;

use otpdrive::clock::Clock;
use otpdrive::job::{
    Answer, Attempt, Contact, Found, Job, Lane, Lookup, Operation, UnixMicros, Verdict, VerdictKind,
};
use otpdrive::ledger::{
    Begun, CampaignKey, Execution, Intake, LeaveOut, Ledger, NewRun, Rest, Run, Store, Wanted,
};
use otpdrive::number::Number;
use otpdrive::record::{InputRecord, Row};
use otpdrive::run::{End, Policy, RunFact, RunFacts, RunId, Signal, WhenUncertain};
use otpdrive::status::Status;
use otpdrive::summary::Counts;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::runtime::Builder;

use super::model::{Line, Loose, Model, Person};
use super::story::{Act, CAMPAIGNS, Ending, Step, Stretch, steps};
use super::{
    Home, POLICY, RUN, Room, contact, former, now, number, plain, read_due, rows, unusable,
};

/// What can be read of a campaign.
#[derive(Debug, PartialEq)]
pub struct Seen {
    pub campaign: (CampaignKey, Option<InputRecord>),
    pub rows: Vec<(Row, Status)>,
    /// Who was in an earlier list, with the header of that.
    pub former: Vec<(String, Row)>,
    /// What is true of each run, and how the latest ended.
    pub runs: Vec<RunFacts>,
    pub end: Option<End>,
    pub purged: Option<Counted>,
}

/// What the rows of a campaign, and those of its earlier lists, were counted as when it was purged.
pub type Counted = (Counts, Counts);

/// What a row of a campaign's list says.
fn line(operation: Operation, (n, what): (u64, u8)) -> Line {
    match (operation, what) {
        (_, 0) => None,
        (Operation::Send, 1 | 2) => Some(((n, None), Lane::Call)),
        (Operation::Send, _) => Some(((n, None), Lane::Sms)),
        (Operation::Verify, what) => Some(((n, Some(what % 2)), Lane::Verify)),
    }
}

fn lines(campaign: usize, list: &[(u64, u8)]) -> Vec<Line> {
    let (_, operation, _) = CAMPAIGNS[campaign];
    list.iter().map(|row| line(operation, *row)).collect()
}

/// The list as it is read from a file.
fn contacts(lines: &[Line]) -> (InputRecord, Vec<Contact>) {
    let contact = |(at, says): (u64, &Line)| {
        let Some(((n, code), lane)) = says else {
            return unusable(at);
        };
        let code = code.map(|code| plain(&format!("00{code}")));
        let mut contact = contact(at, *n, code);
        let asks = contact.request.iter_mut();
        asks.for_each(|asks| asks.lane = *lane);
        contact
    };
    let input = InputRecord {
        name: "list.csv".to_owned(),
        sha256: format!("{lines:?}"),
        rows: lines.len() as u64,
        header: format!("of {}", lines.len()),
    };
    (input, (2..).zip(lines).map(contact).collect())
}

/// A story that is being played.
struct Player<'p> {
    home: Home,
    model: Model,
    /// What each campaign is called by now: one that was purged is not gone on with.
    names: [String; CAMPAIGNS.len()],
    lists: [Vec<Line>; CAMPAIGNS.len()],
    /// Where each is in the model, once it was run.
    places: [Option<usize>; CAMPAIGNS.len()],
    ticks: u64,
    reached: &'p mut BTreeMap<String, usize>,
}

impl Player<'_> {
    /// The time, which is another one each time.
    fn tick(&mut self) -> UnixMicros {
        self.ticks += 1;
        now() + Duration::from_millis(self.ticks)
    }

    fn reach(&mut self, what: &str) {
        *self.reached.entry(what.to_owned()).or_default() += 1;
    }

    fn play(&mut self, step: &Step) {
        match step {
            Step::Run(stretch) => self.run(stretch),
            Step::Plan(campaign, list) => {
                let lines = lines(*campaign, list);
                let mut ledger = self.home.open();
                drop(self.take_in(&mut ledger, *campaign, &lines));
            }
            Step::Settle {
                campaign,
                numbers,
                sent,
            } => self.settle(*campaign, numbers, *sent),
            Step::Purge { which, late } => self.purge(*which, *late),
        }
        self.compare();
    }

    fn key(&self, campaign: usize) -> CampaignKey {
        let (_, operation, sandbox) = CAMPAIGNS[campaign];
        let name = self.names[campaign].clone();
        CampaignKey {
            operation,
            name,
            sandbox,
        }
    }

    fn take_in<'l>(&self, ledger: &'l mut Store, campaign: usize, lines: &[Line]) -> Intake<'l> {
        let (input, contacts) = contacts(lines);
        let contacts = contacts.into_iter().map(Ok::<_, Infallible>);
        let intake = ledger.take_in(&self.key(campaign), &input, "reading", contacts);
        intake.unwrap().unwrap()
    }

    fn run(&mut self, stretch: &Stretch) {
        let campaign = stretch.campaign;
        if let Some(list) = &stretch.list {
            self.lists[campaign] = lines(campaign, list);
        }
        let lines = self.lists[campaign].clone();
        let policy = Policy {
            max_attempts: 2,
            on_unknown: if stretch.retry {
                WhenUncertain::Retry
            } else {
                WhenUncertain::Hold
            },
            ..POLICY
        };
        let mut ledger = self.home.open();
        let begins = self.tick();
        let intake = self.take_in(&mut ledger, campaign, &lines);
        let (key, input) = (self.key(campaign), contacts(&lines).0);
        let at = self.model.take_in(&key, &input, &lines);
        self.places[campaign] = Some(at);
        // Refusals alike are a wave, which is told of elsewhere.
        let settings = json!({ "refused_alike": null });
        let new = NewRun {
            policy,
            settings: &settings,
            ..RUN
        };
        let excluded = HashMap::from([(number(stretch.stopped), "stop.csv".into())]);
        let whom = LeaveOut {
            now: begins,
            cooldown: Duration::from_hours(24) * u32::from(stretch.cools),
            max_age: None,
            excluded: &excluded,
        };
        intake
            .leave_out(&intake.runs(&new).unwrap(), &whom)
            .unwrap();
        self.model
            .leave_out(at, policy, stretch.stopped, stretch.cools);
        let (of, run) = intake.begin_run(begins, &new).unwrap();
        assert_eq!(run, self.model.begin_run(at, policy));
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let ledger = runtime.block_on(async {
            let ledger = ledger.start(&of, run, Clock::at(begins), Execution::Inline, None);
            let ledger = ledger.unwrap();
            self.act(&ledger, at, run, stretch).await;
            ledger
        });
        let end = match stretch.ending {
            Ending::Complete => End::Complete,
            Ending::Interrupted => End::Interrupted(Signal::Sigterm),
            Ending::Killed => {
                drop(ledger);
                drop(runtime);
                return self.is_killed(at);
            }
        };
        let (ledger, lost) = runtime.block_on(Store::close(ledger));
        assert_eq!(lost, 0);
        let at_last = self.tick();
        ledger
            .finish_run(run, at_last, &end, Some(at_last))
            .unwrap();
        self.model.all_is_durable(at);
        self.model.ended(at, Some(end));
    }

    /// What was handed over last may be lost: as much as was durable is there, and the first before
    /// the last.
    fn is_killed(&mut self, at: usize) {
        self.home.wait_for_the_dead();
        let read = self.read();
        while self.model.seen() != read && self.model.one_more_is_durable(at) {
            self.reach("durable after a kill");
        }
        self.model.ended(at, None);
        self.reach("killed");
    }

    /// What the engine does with a ledger.
    async fn act(&mut self, ledger: &Run, at: usize, run: RunId, stretch: &Stretch) {
        let (_, operation, sandbox) = CAMPAIGNS[stretch.campaign];
        let (left, holds) = self.model.account(sandbox);
        let hour = Duration::from_hours(1);
        let day = UnixMicros(now().0 - 1)..now() + hour;
        assert_eq!(ledger.left_on(day).await.unwrap(), left, "of other runs");
        let grant = ledger.reserve(Wanted { slots: 1, calls: 0 }).await.unwrap();
        assert_eq!(grant.holds, holds);
        let lanes = match operation {
            Operation::Send => &[Lane::Sms, Lane::Call][..],
            Operation::Verify => &[Lane::Verify],
        };
        let mut due = read_due(ledger, lanes).await;
        let open = self.model.due(at);
        assert_eq!(due.len(), open.len(), "{due:?}, or {open:?}");
        for ((lane, job), (on, who, row)) in due.iter().zip(&open) {
            let code = job
                .code
                .as_ref()
                .map(|code| code.expose_secret().to_owned());
            let said = (*lane, job.line, Some(job.number), code, &job.attempts[..]);
            let code = who.1.map(|code| format!("00{code}"));
            assert_eq!(said, (*on, row.line, row.number, code, row.attempts()));
        }
        let people: Vec<Person> = open.into_iter().map(|(_, who, _)| who).collect();
        let mut at_rest = vec![false; due.len()];
        for (whose, act) in &stretch.acts {
            match act {
                Act::Proven => {
                    ledger.note(&RunFact::EndpointProven).await;
                    let fact = RunFact::EndpointProven;
                    self.model.hand_over(Loose::Note(fact));
                }
                Act::Look => {
                    ledger.flush().await.unwrap();
                    self.model.all_is_durable(at);
                    self.compare();
                }
                Act::Comes(_) | Act::Held if due.is_empty() => {}
                Act::Comes(_) | Act::Held => {
                    let n = usize::from(*whose) % due.len();
                    let (lane, job) = &mut due[n];
                    if !at_rest[n] {
                        let goes = (at, run, people[n], *lane);
                        at_rest[n] = self.go_on(ledger, goes, job, *act).await;
                    }
                }
            }
        }
        // Whoever is killed now has had the time to write something of it down, or not.
        for _ in 0..stretch.acts.len() % 3 {
            tokio::task::yield_now().await;
        }
    }

    /// Begins a job's next request, or answers the one that is under way; is it at rest then?
    async fn go_on(
        &mut self,
        ledger: &Run,
        (at, run, who, lane): (usize, RunId, Person, Lane),
        job: &mut Job,
        act: Act,
    ) -> bool {
        let of_run = |it: &&Attempt| it.run == run;
        let made = job.attempts.iter().filter(of_run).count();
        let begun_at = self.tick();
        let n = u32::try_from(job.attempts.len()).unwrap();
        let waits = job.attempts.last().filter(of_run);
        if waits.is_none_or(|last| last.answer.is_some()) {
            let (n, answer, lookup) = (n + 1, None, None);
            let attempt = Attempt {
                n,
                run,
                lane,
                begun_at,
                answer,
                lookup,
            };
            let begun = ledger.begin(job, &attempt).await.unwrap();
            assert!(matches!(begun, Begun::Go { .. }), "{begun:?}");
            job.attempts.push(attempt.clone());
            self.model.begun(at, who, attempt);
            return false;
        }
        let (kind, retry_at) = match act {
            // Only a code can be wrong.
            Act::Comes(VerdictKind::NotVerified) if lane != Lane::Verify => {
                (VerdictKind::Rejected, None)
            }
            Act::Comes(kind) => (kind, None),
            _ => {
                let until = begun_at + Duration::from_hours(1);
                (VerdictKind::Throttled, Some(until))
            }
        };
        let text = format!("said at {}", begun_at.0);
        let answer = Answer {
            left_at: kind.may_have_left().then_some(begun_at),
            answered_at: begun_at,
            verdict: Verdict {
                retry_at,
                ..Verdict::new(kind, text)
            },
        };
        ledger.answer(job.id, n, &answer).await;
        job.attempts.last_mut().unwrap().answer = Some(answer.clone());
        self.model.hand_over(Loose::Answer(who, answer));
        let is_settled = kind.proves_endpoint();
        let in_doubt = [VerdictKind::Ambiguous, VerdictKind::NoAnswer].contains(&kind);
        let how = match (is_settled, in_doubt || made >= 3) {
            (true, _) => Rest::Settled,
            (false, true) => Rest::Open,
            (false, false) => return false,
        };
        ledger.rest(job, how).await;
        true
    }

    fn settle(&mut self, campaign: usize, numbers: &BTreeSet<u64>, sent: bool) {
        let Some(at) = self.places[campaign] else {
            return;
        };
        let found = if sent { Found::Sent } else { Found::Unsent };
        let lookup = Lookup {
            found,
            at: self.tick(),
        };
        let mut ledger = self.home.open();
        let of = ledger.campaigns().unwrap().remove(at);
        let all: Vec<Number> = numbers.iter().map(|n| number(*n)).collect();
        let noted = ledger.settle(&of, &all, lookup).unwrap();
        assert_eq!(noted, self.model.settle(at, numbers, lookup));
        if noted.noted > 0 {
            self.reach("settled");
        }
    }

    fn purge(&mut self, which: u8, late: bool) {
        let after = Duration::from_hours(if late { 72 } else { 0 });
        let at = self.tick() + after;
        let mut ledger = self.home.open();
        let mut due = ledger.due_for_purge(at, Duration::ZERO, &[]).unwrap();
        let all = ledger.campaigns().unwrap();
        let there: Vec<usize> = self.places.iter().copied().flatten().collect();
        assert_eq!(due.len(), there.len(), "all that were not purged");
        for (campaign, place) in self.places.iter_mut().enumerate() {
            let Some(at) = place.filter(|_| which >> campaign & 1 > 0) else {
                due.retain(|due| place.is_none_or(|at| due.campaign != all[at].record));
                continue;
            };
            self.model.purge(at);
            *place = None;
            self.names[campaign] += "+";
            self.lists[campaign].clear();
        }
        if !due.is_empty() {
            self.reach("purged");
        }
        assert!(ledger.purge(&due, at).unwrap());
        if late {
            self.model.forget_traces();
        }
    }

    /// All that can be read of a ledger, beside whoever works with it.
    fn read(&self) -> Vec<Seen> {
        let ledger = self.home.look();
        let purged = ledger.purged().unwrap();
        let campaigns = ledger.campaigns().unwrap();
        let seen = campaigns.iter().map(|of| {
            let record = &of.record;
            let key = CampaignKey {
                operation: record.operation,
                name: record.name.clone(),
                sandbox: record.sandbox,
            };
            let runs = ledger.runs(record.id).unwrap();
            let latest = ledger.latest_run(record.id).unwrap();
            let all = (1..=latest.as_ref().map_or(0, |run| run.id.0)).map(RunId);
            let with_status = |row: Row| (row.clone(), row.outcome(&runs).status);
            let gone = purged.iter().find(|gone| gone.campaign.id == record.id);
            let is_there = gone.is_none();
            Seen {
                campaign: (key, is_there.then(|| record.input.clone())),
                rows: rows(&ledger, of).into_iter().map(with_status).collect(),
                former: former(&ledger, of),
                runs: all.filter_map(|run| runs.get(run).cloned()).collect(),
                end: latest.and_then(|run| run.end),
                purged: gone.map(|gone| (gone.counts, gone.earlier)),
            }
        });
        seen.collect()
    }

    fn compare(&mut self) {
        let (read, known) = (self.read(), self.model.seen());
        assert_eq!(read, known);
        for seen in known {
            for (_, status) in seen.rows {
                self.reach(status.name());
            }
            seen.former.iter().for_each(|_| self.reach("former"));
        }
    }
}

/// Plays stories in a room; says what was reached in them.
pub fn hold(room: &Room, cases: u32) -> String {
    let reached = std::cell::RefCell::new(BTreeMap::new());
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let result = TestRunner::new_with_rng(config, random).run(&steps(), |steps| {
        let mut player = Player {
            home: room.home(),
            model: Model::default(),
            names: CAMPAIGNS.map(|(name, ..)| name.to_owned()),
            lists: Default::default(),
            places: [None; CAMPAIGNS.len()],
            ticks: 0,
            reached: &mut reached.borrow_mut(),
        };
        drop(player.home.open());
        for step in &steps {
            player.play(step);
        }
        assert_eq!(player.home.wrong(), [""; 0]);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let reached = reached.into_inner();
    let states = Status::ALL.map(Status::name).into_iter();
    for state in states.chain(["former", "killed", "settled", "purged"]) {
        assert!(reached.contains_key(state), "never reached: {state}");
    }
    format!("{cases} stories {reached:?}")
}

#[test]
fn a_ledger_in_a_file_knows_what_one_in_memory_knows() {
    hold(&Room::memory(), 40);
}

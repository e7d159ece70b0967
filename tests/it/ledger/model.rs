//! A ledger in memory: what every room has to know, as plainly as it can be said, from the contract
//! and from what the doors promise, not from how the rooms do it. What facts mean is no ledger's
//! matter: `status` and `next` say so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use otpdrive::job::{Answer, Attempt, Lane, Lookup, Operation, UnixMicros};
use otpdrive::ledger::{CampaignKey, Noted};
use otpdrive::next::{Step, next_step};
use otpdrive::record::{InputRecord, Row, RowState, Suppression};
use otpdrive::run::{End, Meaning, Policy, RunFact, RunFacts, RunId, Runs};
use otpdrive::status::{Status, outcome};

use super::number;
use super::play::{Counted, Seen};

/// Whom a row means: a number, and with it the code to check.
pub type Person = (u64, Option<u8>);

/// What a row says; `None`: it cannot be used.
pub type Line = Option<(Person, Lane)>;

/// What was handed over and need not be durable yet.
pub enum Loose {
    Answer(Person, Answer),
    Note(RunFact),
}

/// A ledger.
#[derive(Default)]
pub struct Model {
    campaigns: Vec<Known>,
    rows: usize,
    runs: i64,
    loose: VecDeque<Loose>,
    /// Has the endpoint proved right, in real campaigns and in rehearsals?
    proven: [bool; 2],
}

/// A campaign.
struct Known {
    key: CampaignKey,
    people: People,
    runs: Runs,
    ends: Vec<(RunId, Option<End>)>,
    purged: Option<Counted>,
    /// What was done for people who were purged.
    traces: Vec<Attempt>,
}

/// Those of a campaign.
#[derive(Default)]
struct People {
    input: Option<InputRecord>,
    lines: Vec<Line>,
    asked: BTreeMap<Person, Asked>,
    left_out: BTreeMap<Person, Suppression>,
}

/// Somebody whom a list asks for, or an earlier one did.
#[derive(Clone, Default)]
struct Asked {
    /// The place among all rows that there ever were.
    id: usize,
    attempts: Vec<Attempt>,
    /// The first row of the latest list that asks.
    line: u64,
    lane: Option<Lane>,
    header: String,
    is_former: bool,
}

impl Known {
    fn row(&self, line: u64, says: &Line) -> Row {
        let invalid = RowState::Invalid("no phone number".to_owned());
        let usual = match self.key.operation {
            Operation::Send => Lane::Sms,
            Operation::Verify => Lane::Verify,
        };
        let asks = says.and_then(|(who, lane)| Some((who, lane, self.people.asked.get(&who)?)));
        let state = asks.map_or(invalid, |(who, _, asked)| {
            let (first_line, attempts) = (asked.line, asked.attempts.clone());
            match self.people.left_out.get(&who) {
                _ if first_line < line => RowState::Duplicate { first_line },
                Some(why) => RowState::Suppressed(why.clone(), attempts),
                None => RowState::Job(attempts),
            }
        });
        Row {
            line,
            record: format!("row {line}"),
            number: says.map(|(who, _)| number(who.0)),
            lane: says.map_or(usual, |(_, lane)| lane),
            state,
        }
    }

    fn rows(&self) -> Vec<Row> {
        let lines = (2..).zip(&self.people.lines);
        lines.map(|(line, says)| self.row(line, says)).collect()
    }

    /// In the order in which they were first asked for.
    fn former(&self) -> Vec<(String, Row)> {
        let asked = self.people.asked.iter();
        let mut former: Vec<_> = asked.filter(|(_, asked)| asked.is_former).collect();
        former.sort_by_key(|(_, asked)| asked.id);
        let shown = |(who, it): (&Person, &Asked)| {
            let row = self.row(it.line, &it.lane.map(|lane| (*who, lane)));
            (it.header.clone(), row)
        };
        former.into_iter().map(shown).collect()
    }

    fn status(&self, row: &Row) -> Status {
        row.outcome(&self.runs).status
    }

    /// The rows for which something is to be done, with the lane on which it is.
    fn open(&self, runs: &Runs) -> Vec<(Lane, Person, Row)> {
        let rows = self.people.lines.iter().zip(self.rows());
        let open = rows.filter_map(|(says, row)| match &row.state {
            RowState::Job(attempts) => match next_step(row.lane, attempts, runs) {
                Step::Try(lane) => Some((lane, says.as_ref()?.0, row)),
                Step::Rest => None,
            },
            _ => None,
        });
        open.collect()
    }

    fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        let of_asked = self.people.asked.values().flat_map(|asked| &asked.attempts);
        of_asked.chain(&self.traces)
    }

    /// When it last sent to a number, or may have, and its name.
    fn sent_to(&self, n: u64) -> Option<(UnixMicros, String)> {
        let attempts = self.people.asked.get(&(n, None))?.attempts.iter();
        let sent = attempts.filter(|it| self.runs.meaning(it).is_billed());
        Some((
            sent.filter_map(Attempt::left_at).max()?,
            self.key.name.clone(),
        ))
    }
}

impl Model {
    /// A list is taken in, unless it is the campaign's already; gives the campaign's place.
    pub fn take_in(&mut self, key: &CampaignKey, input: &InputRecord, lines: &[Line]) -> usize {
        let found = self.campaigns.iter().position(|it| it.key == *key);
        let at = found.unwrap_or(self.campaigns.len());
        if found.is_none() {
            self.campaigns.push(Known {
                key: key.clone(),
                people: People::default(),
                runs: Runs::default(),
                ends: Vec::new(),
                purged: None,
                traces: Vec::new(),
            });
        }
        let people = &mut self.campaigns[at].people;
        if people.input.replace(input.clone()).as_ref() == Some(input) {
            return at;
        }
        for asked in people.asked.values_mut() {
            asked.is_former = !asked.attempts.is_empty();
        }
        people.lines = lines.to_vec();
        let mut seen = BTreeSet::new();
        for (line, says) in (2..).zip(lines) {
            self.rows += 1;
            let first = says.filter(|(who, _)| seen.insert(*who));
            let Some((who, lane)) = first else { continue };
            let id = self.rows;
            let asked = people.asked.entry(who);
            let asked = asked.or_insert_with(|| Asked {
                id,
                ..Asked::default()
            });
            (asked.line, asked.lane, asked.is_former) = (line, Some(lane), false);
            asked.header.clone_from(&input.header);
        }
        at
    }

    /// Whom the next run leaves out, of those for whom it would do something: a number that stands in
    /// a suppression list, and, if there is a cool-down, whom another campaign has sent to.
    pub fn leave_out(&mut self, at: usize, policy: Policy, stopped: u64, cools: bool) {
        self.campaigns[at].people.left_out.clear();
        let of = &self.campaigns[at];
        let mut runs = of.runs.clone();
        runs.insert(RunId::NEXT, RunFacts::new(policy));
        let (sends, cools) = (
            Operation::Send,
            cools && of.key.operation == Operation::Send,
        );
        let others = || {
            let same = self
                .same(of.key.sandbox)
                .filter(|it| it.key.operation == sends);
            same.filter(|it| cools && it.key != of.key)
        };
        let why = |who: Person| {
            if who.0 == stopped {
                return Some(Suppression::Excluded("stop.csv".to_owned()));
            }
            let (at, campaign) = others().filter_map(|it| it.sent_to(who.0)).max()?;
            Some(Suppression::Recent { campaign, at })
        };
        let open = of.open(&runs).into_iter();
        let left_out = open.filter_map(|(_, who, _)| Some((who, why(who)?)));
        self.campaigns[at].people.left_out = left_out.collect();
    }

    pub fn begin_run(&mut self, at: usize, policy: Policy) -> RunId {
        self.runs += 1;
        let (run, mut facts) = (RunId(self.runs), RunFacts::new(policy));
        let of = &mut self.campaigns[at];
        if self.proven[usize::from(of.key.sandbox)] {
            facts.add(&RunFact::EndpointProven);
        }
        of.runs.insert(run, facts);
        of.ends.push((run, None));
        run
    }

    /// What a run that begins has to do, lane by lane, in input order.
    pub fn due(&self, at: usize) -> Vec<(Lane, Person, Row)> {
        let mut due = self.campaigns[at].open(&self.campaigns[at].runs);
        due.sort_by_key(|(lane, ..)| *lane);
        due
    }

    /// An intent is durable, and so is all that was handed over before.
    pub fn begun(&mut self, at: usize, who: Person, attempt: Attempt) {
        self.all_is_durable(at);
        self.attempts_of(at, who).push(attempt);
    }

    pub fn hand_over(&mut self, loose: Loose) {
        self.loose.push_back(loose);
    }

    pub fn all_is_durable(&mut self, at: usize) {
        while self.one_more_is_durable(at) {}
    }

    /// What was handed over first becomes durable first; `false`: all is.
    pub fn one_more_is_durable(&mut self, at: usize) -> bool {
        match self.loose.pop_front() {
            Some(Loose::Answer(who, answer)) => {
                self.attempts_of(at, who).last_mut().unwrap().answer = Some(answer);
            }
            Some(Loose::Note(fact)) => {
                let of = &mut self.campaigns[at];
                of.runs.add(RunId(self.runs), &fact);
                self.proven[usize::from(of.key.sandbox)] |= fact == RunFact::EndpointProven;
            }
            None => return false,
        }
        true
    }

    fn attempts_of(&mut self, at: usize, who: Person) -> &mut Vec<Attempt> {
        let asked = self.campaigns[at].people.asked.get_mut(&who);
        &mut asked.unwrap().attempts
    }

    /// The run has ended so, or was killed: then what is not durable by now never is.
    pub fn ended(&mut self, at: usize, end: Option<End>) {
        self.loose.clear();
        self.campaigns[at].ends.last_mut().unwrap().1 = end;
    }

    /// What a person found out about those of these numbers that are unknown, or of whom that was
    /// said before and nothing has followed.
    pub fn settle(&mut self, at: usize, numbers: &BTreeSet<u64>, lookup: Lookup) -> Noted {
        let (mut said, of) = (Noted::default(), &mut self.campaigns[at]);
        for n in numbers {
            let Some(asked) = of.people.asked.get_mut(&(*n, None)) else {
                said.strange += 1;
                continue;
            };
            let status = outcome(Lane::Sms, &asked.attempts, &of.runs).status;
            let is_unknown = status == Status::Unknown;
            let is_meant = |it: &&mut Attempt| match it.lookup {
                None => is_unknown && of.runs.meaning(it) == Meaning::Ambiguous,
                Some(_) => !is_unknown,
            };
            let was_said = asked
                .attempts
                .last()
                .is_some_and(|last| last.lookup.is_some());
            if !is_unknown && !was_said {
                said.not_unknown += 1;
                continue;
            }
            said.noted += 1;
            said.former += u64::from(asked.is_former);
            let meant = asked.attempts.iter_mut().filter(is_meant);
            meant.for_each(|attempt| attempt.lookup = Some(lookup));
        }
        said
    }

    /// The people of this campaign are gone, not the times of their requests.
    pub fn purge(&mut self, at: usize) {
        let of = &mut self.campaigns[at];
        let (rows, former) = (of.rows(), of.former());
        let counts = rows.iter().map(|row| (of.status(row), 1)).collect();
        let earlier = former.iter().map(|(_, row)| (of.status(row), 1)).collect();
        of.purged = Some((counts, earlier));
        of.traces = of.attempts().cloned().collect();
        of.people = People::default();
    }

    /// So late nothing is counted any more of what was done for people who were purged.
    pub fn forget_traces(&mut self) {
        self.campaigns.iter_mut().for_each(|of| of.traces.clear());
    }

    /// Real campaigns, or rehearsals.
    fn same(&self, sandbox: bool) -> impl Iterator<Item = &Known> {
        self.campaigns
            .iter()
            .filter(move |it| it.key.sandbox == sandbox)
    }

    /// How many requests left on each lane, or may have, and until when each is held back.
    pub fn account(&self, sandbox: bool) -> ([u64; 3], [Option<UnixMicros>; 3]) {
        let (mut left, mut holds) = ([0; 3], [None; 3]);
        for attempt in self.same(sandbox).flat_map(Known::attempts) {
            let lane = attempt.lane.index();
            left[lane] += u64::from(attempt.left_at().is_some());
            holds[lane] = holds[lane].max(attempt.verdict().and_then(|it| it.retry_at));
        }
        (left, holds)
    }

    pub fn seen(&self) -> Vec<Seen> {
        let with_status = |of: &Known, row: Row| (row.clone(), of.status(&row));
        let facts = |of: &Known, run: RunId| of.runs.get(run).cloned();
        let seen = self.campaigns.iter().map(|of| Seen {
            campaign: (of.key.clone(), of.people.input.clone()),
            rows: of
                .rows()
                .into_iter()
                .map(|row| with_status(of, row))
                .collect(),
            former: of.former(),
            runs: of
                .ends
                .iter()
                .filter_map(|(run, _)| facts(of, *run))
                .collect(),
            end: of.ends.last().and_then(|(_, end)| end.clone()),
            purged: of.purged,
        });
        seen.collect()
    }
}

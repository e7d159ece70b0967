//! The files that people work with, and what they do to them between two processes: edits, and the
//! accidents that must not make anybody be asked twice or drop out.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

use fastrand::Rng;
use otpdrive::job::{Channel, Contact, GivenCode, Lane, Operation, Problem, Request, UnixMicros};
use otpdrive::number::Number;
use otpdrive::status::Status;
use secrecy::SecretString;

use super::process::{Input, Said};
use super::world::right_code;

/// So many result files of a campaign are kept by somebody.
const FILES_MAX: usize = 4;

/// One line of a file.
#[derive(Clone, Debug, Hash)]
pub struct Line {
    pub number: Option<Number>,
    channel: Option<Channel>,
    /// The code that came back, whether or not it still stands there.
    pub otp: String,
    /// It is masked: on which line it stood, and when that row was settled.
    pub masked: Option<(Option<u64>, Option<UnixMicros>)>,
    note: u32,
}

impl Line {
    /// For one of so many numbers.
    pub fn by_chance(random: &mut Rng, numbers: u64) -> Self {
        let number = Number::new(919_876_500_000 + random.u64(0..numbers)).unwrap();
        let otp = match random.u32(0..4) {
            0 => format!("{:06}", random.u32(0..10)),
            1 => String::new(),
            _ => right_code(number),
        };
        let channels = [None, None, None, Some(Channel::Sms), Some(Channel::Call)];
        Self {
            number: (random.u32(0..12) > 0).then_some(number),
            channel: random.choice(channels).flatten(),
            otp,
            masked: None,
            note: random.u32(..),
        }
    }
}

/// A campaign: its list, and the result files that it left behind.
pub struct List {
    pub name: String,
    pub operation: Operation,
    pub lines: Vec<Line>,
    channel: Channel,
    /// How many numbers there are in the world.
    numbers: u64,
    /// The latest is the last.
    files: Vec<Vec<(Line, Status)>>,
    /// Numbers that were tried and that the list did not have in the end.
    pub former: BTreeSet<Number>,
}

impl List {
    pub fn new(operation: Operation, channel: Channel, rows: usize, random: &mut Rng) -> Self {
        // Where codes come back, several are of one number.
        let numbers = match operation {
            Operation::Verify => random.choice([8, 8, 200]).unwrap_or(8),
            Operation::Send => 200,
        };
        Self {
            name: "list".to_owned(),
            operation,
            lines: (0..rows)
                .map(|_| Line::by_chance(random, numbers))
                .collect(),
            channel,
            numbers,
            files: Vec::new(),
            former: BTreeSet::new(),
        }
    }

    /// The file as it is now.
    pub fn input(&self) -> Input {
        let mut hasher = DefaultHasher::new();
        self.lines.hash(&mut hasher);
        let contacts = (2..).zip(&self.lines).map(|(line, of)| Contact {
            told: otpdrive::job::Told::Nothing,
            line,
            record: format!("{:?},{},{}", of.number, of.otp.len(), of.note),
            request: self.request(of),
        });
        Input {
            sha256: format!("{:064x}", hasher.finish()),
            contacts: contacts.collect(),
        }
    }

    fn request(&self, row: &Line) -> Result<Request, Problem> {
        let number = row.number.ok_or(Problem("not a number"))?;
        let (lane, code) = match (self.operation, row.masked) {
            (Operation::Send, _) => (row.channel.unwrap_or(self.channel).into(), None),
            (Operation::Verify, _) if row.otp.is_empty() => return Err(Problem("no code")),
            (Operation::Verify, Some((line, settled_at))) => {
                (Lane::Verify, Some(GivenCode::Masked { line, settled_at }))
            }
            (Operation::Verify, None) => {
                let otp = SecretString::from(row.otp.clone());
                (Lane::Verify, Some(GivenCode::Plain(otp)))
            }
        };
        Ok(Request {
            number,
            lane,
            code,
            assumed_mobile: false,
        })
    }

    /// The result file of a process that has ended: codes are masked in it, times cut to the
    /// millisecond.
    pub fn keep_results(&mut self, said: &Said) {
        let rows = self.lines.iter().zip(&said.rows).map(|(line, row)| {
            let outcome = row.outcome(&said.runs);
            let cut = |at: UnixMicros| UnixMicros(at.0 - at.0 % 1_000);
            let masked = (Some(row.line), outcome.settled_at.map(cut));
            let is_masked = self.operation == Operation::Verify && !line.otp.is_empty();
            let masked = is_masked.then_some(masked);
            let line = line.clone();
            (Line { masked, ..line }, outcome.status)
        });
        self.files.push(rows.collect());
        if self.files.len() > FILES_MAX {
            self.files.remove(0);
        }
        self.former = said.former.iter().filter_map(|row| row.number).collect();
    }

    /// The same list under another name. Whose masked codes are whose is not told there.
    pub fn copy(&self, name: String, operation: Operation) -> Self {
        let mut lines = self.lines.clone();
        for line in &mut lines {
            line.masked = line.masked.map(|_| (None, None));
        }
        Self {
            name,
            operation,
            lines,
            files: Vec::new(),
            former: BTreeSet::new(),
            ..*self
        }
    }

    /// Somebody works on the file: rows come, go, move and change.
    pub fn edit(&mut self, random: &mut Rng) {
        for _ in 0..random.u32(0..6) {
            let at = random.usize(0..self.lines.len());
            match random.u32(0..5) {
                0 if self.lines.len() > 1 => drop(self.lines.remove(at)),
                1 => random.shuffle(&mut self.lines),
                2 => self.lines[at].note += 1,
                3 => self.lines.push(self.lines[at].clone()),
                _ => self.lines.insert(at, Line::by_chance(random, self.numbers)),
            }
        }
    }

    /// Only a part of the list, or another list that shares some numbers with it.
    pub fn replace(&mut self, random: &mut Rng, with_new: bool) {
        let (first, keep) = (self.lines[0].clone(), random.u32(1..5));
        self.lines.retain(|_| random.u32(0..5) < keep);
        if with_new {
            let new = random.usize(1..=self.lines.len() + 5);
            self.lines
                .extend((0..new).map(|_| Line::by_chance(random, self.numbers)));
            random.shuffle(&mut self.lines);
        } else if self.lines.is_empty() {
            self.lines.push(first);
        }
    }

    /// A result file is the next input: all of it or some statuses, mostly the latest, in its order
    /// or another. Says whether there was any.
    pub fn feed_back(&mut self, random: &mut Rng) -> bool {
        let older = random.usize(0..3).saturating_sub(1) * random.usize(1..FILES_MAX);
        let Some(file) = self.files.iter().rev().chain(self.files.first()).nth(older) else {
            return false;
        };
        let wanted = if random.bool() {
            u64::MAX
        } else {
            random.u64(..)
        };
        let rows = file.iter();
        let rows = rows.filter(|(_, status)| wanted >> status.index() & 1 == 1);
        let mut lines: Vec<Line> = rows.map(|(line, _)| line.clone()).collect();
        if lines.is_empty() {
            return false;
        }
        match random.u32(0..4) {
            0 => random.shuffle(&mut lines),
            // Into the list as it is.
            1 => lines.extend(self.lines.iter().cloned()),
            _ => {}
        }
        self.lines = lines;
        true
    }
}

//! Storing an input: its rows in their order, its claims by number, each table written once.
//!
//! Records and reasons are written as they are read. What identifies a row, and its code, wait
//! outside memory until the claims, sorted by number, have told to which job it belongs; so that it
//! takes the same memory however many rows there are. A code that was answered comes into no table.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::asked::{Asked, Fact};
use super::codes::Codes;
use super::db::{CHUNK, Db, Table};
use super::error::Result;
use super::former;
use super::intake::Settled;
use super::rows::{self, BlockWriter};
use super::seal::{Sealed, Seals};
use super::sorter::{Sorted, Sorter};
use crate::job::{Contact, GivenCode, JobId, Lane, Operation, Problem, Told};
use crate::ledger::rules::{Claim, Claimed, Claims, CodePrint, KnownJob};
use crate::ledger::{Campaign, CampaignKey, Span};
use crate::number::Number;
use crate::record::{CampaignId, CampaignRecord, InputRecord, Row, RowState};

/// What is said of a masked code that cannot be told.
const NO_KNOWN_CODE: &str =
    "the code is masked, and which one it was cannot be told: give the code again";

/// What is done with each row of a campaign's first input when it is written, its record left out, and
/// with whether its number was taken as a mobile against the numbering plan's data. In input order,
/// but for those that are `invalid`.
pub type EachNew<'e> = dyn FnMut(&Row, bool) + 'e;

/// Stores an input in place of the campaign's `old` one, or as its first one, of which all rows are
/// handed to `each_new`; and counts the rows that say something of which the campaign knows nothing.
pub fn store<E>(
    db: Db<'_>,
    path: &Path,
    old: Option<&Campaign>,
    settled: &Settled,
    (key, input, reading): (&CampaignKey, &InputRecord, &str),
    contacts: impl IntoIterator<Item = Result<Contact, E>>,
    each_new: &mut EachNew<'_>,
) -> Result<Result<(Campaign, u64), E>> {
    if let Some(old) = old {
        former::note_lines(db, old)?;
    }
    let id = old.map(|old| old.record.id);
    let campaign = put_campaign(db, id, key, input, reading)?;
    let mut new = NewInput {
        db,
        campaign,
        seals: Seals::of(db)?,
        facts: Sorter::beside(path),
        codes: Codes::beside(path)?,
        each_new: match old {
            None => Some(each_new),
            Some(_) => None,
        },
    };
    let mut asked = Sorter::beside(path);
    if let Err(error) = new.read(contacts, &mut asked)? {
        return Ok(Err(error));
    }
    let told_elsewhere = new.claim(asked, old.map(|_| settled))?;
    let campaign = new.write()?;
    if let Some(old) = old {
        former::replace(db, path, old, campaign.span)?;
    }
    Ok(Ok((campaign, told_elsewhere)))
}

/// An input on its way into the tables.
struct NewInput<'t> {
    db: Db<'t>,
    campaign: Campaign,
    seals: Seals,
    /// What is known of the rows, row by row: [`Fact`].
    facts: Sorter<4>,
    /// The codes that are given.
    codes: Codes,
    /// Hears of each row, if there was no input before.
    each_new: Option<&'t mut EachNew<'t>>,
}

impl NewInput<'_> {
    /// Reads all rows, and what they ask for; writes their records, and why rows are `invalid`.
    fn read<E>(
        &mut self,
        contacts: impl IntoIterator<Item = Result<Contact, E>>,
        all_asked: &mut Sorter<6>,
    ) -> Result<Result<(), E>> {
        let mut records = BlockWriter::new(self.db, &self.seals, self.campaign.span.first);
        let mut special = Vec::new();
        let lane = match self.campaign.record.operation {
            Operation::Send => Lane::Sms,
            Operation::Verify => Lane::Verify,
        };
        for (id, contact) in (self.campaign.span.first..).zip(contacts) {
            let contact = match contact {
                Ok(contact) => contact,
                Err(error) => return Ok(Err(error)),
            };
            records.add(contact.record)?;
            let mut row = Sealed {
                row: id,
                line: contact.line,
                lane,
                kind: rows::INVALID,
                assumed: false,
                number: None,
                job: JobId(id),
            };
            match contact.request {
                Err(Problem(why)) => {
                    let why = why.to_owned();
                    if let Some(each) = &mut self.each_new {
                        each(&row.to_row(RowState::Invalid(why.clone())), false);
                    }
                    special.push((id, why));
                }
                Ok(request) => {
                    row.number = Some(request.number);
                    row.lane = request.lane;
                    row.kind = rows::JOB;
                    row.assumed = request.assumed_mobile;
                    let asked = Asked::of(&row, contact.told, &request, &self.seals);
                    all_asked.push(asked.to_numbers())?;
                    if let Some(GivenCode::Plain(code)) = &request.code {
                        self.codes.push(id, code)?;
                    }
                }
            }
            self.facts.push(Fact::Read(row).to_numbers())?;
            if special.len() == CHUNK {
                rows::write_special(self.db, &special)?;
                special.clear();
            }
        }
        records.end()?;
        rows::write_special(self.db, &special)?;
        Ok(Ok(()))
    }

    /// Finds for each row its job: a known one, the one of an earlier line, or one of its own.
    /// Returns how many rows say something of which the campaign knows nothing.
    fn claim(&mut self, all_asked: Sorter<6>, known: Option<&Settled>) -> Result<u64> {
        let (db, id) = (self.db, self.campaign.record.id);
        let mut added = Vec::with_capacity(CHUNK);
        let mut elsewhere = 0;
        let (mut number, mut claims, mut is_tried) = (None, Claims::default(), false);
        let mut all_asked = Ahead::new(db, id, all_asked.sorted()?, known);
        while let Some(asked) = all_asked.next()? {
            let claim = asked.claim;
            if number.replace(claim.number) != Some(claim.number) {
                if added.len() >= CHUNK {
                    add_known(db, id, &added)?;
                    added.clear();
                }
                let known = all_asked.known.remove(&claim.number).unwrap_or_default();
                is_tried = known.iter().any(|known| known.is_tried);
                claims = Claims::of(known.into_iter().map(|known| known.job).collect());
            }
            let nothing = HashSet::new();
            let stood = asked
                .masked_line
                .and_then(|line| all_asked.stood.get(&line));
            let stood = stood.unwrap_or(&nothing);
            let claimed = claims.claim(&claim, |known| asked.may_mean(known, stood));
            let is_elsewhere = match asked.told {
                Told::Nothing => false,
                Told::Known => claims.known().is_empty(),
                Told::Tried => !is_tried,
            };
            let is_unknown =
                claimed == Claimed::NoKnownCode && asked.is_settled_elsewhere(claims.known());
            elsewhere += u64::from(is_elsewhere) + u64::from(is_unknown);
            match Fact::of(claim.row, claimed) {
                None => added.push(claim),
                Some(fact) => self.facts.push(fact.to_numbers())?,
            }
        }
        add_known(db, id, &added)?;
        Ok(elsewhere)
    }

    /// Writes the rows down as they are by now, with what is to be said of them and the codes that are
    /// still to be checked.
    fn write(mut self) -> Result<Campaign> {
        let (seals, id) = (&self.seals, self.campaign.record.id);
        let each = &mut self.each_new;
        let mut codes = self.codes.sorted()?;
        let mut chunk = Chunk::default();
        for fact in self.facts.sorted()? {
            let fact = Fact::from_numbers(fact?)?;
            if let Fact::Read(row) = fact {
                // All is known of those before.
                if chunk.rows.len() == CHUNK {
                    chunk.write(self.db, seals, id, each)?;
                }
                chunk.codes.push((row.job, codes.of(row.row)?));
                chunk.rows.push(row);
            } else {
                chunk.change_last(&fact);
            }
        }
        chunk.write(self.db, seals, id, each)?;
        Ok(self.campaign)
    }
}

/// Rows on their way into the tables.
#[derive(Default)]
struct Chunk {
    rows: Vec<Sealed>,
    /// The job of each, and its code if that is to be kept.
    codes: Vec<(JobId, Option<SecretString>)>,
    /// Rows that ask for no work after all.
    special: Vec<(i64, RowState)>,
}

impl Chunk {
    /// What turned out to be so of the row that was read last.
    fn change_last(&mut self, fact: &Fact) {
        let (Some(row), Some((of, code))) = (self.rows.last_mut(), self.codes.last_mut()) else {
            return;
        };
        match fact {
            Fact::Read(_) => {}
            Fact::Known {
                job, needs_code, ..
            } => {
                (row.job, *of) = (*job, *job);
                code.take_if(|_| !needs_code);
            }
            Fact::Duplicate { job, line, .. } => {
                (row.kind, row.job, *code) = (rows::DUPLICATE, *job, None);
                let duplicate = RowState::Duplicate { first_line: *line };
                self.special.push((row.row, duplicate));
            }
            Fact::NoKnownCode { .. } => {
                (row.kind, *code) = (rows::INVALID, None);
                let invalid = RowState::Invalid(NO_KNOWN_CODE.to_owned());
                self.special.push((row.row, invalid));
            }
        }
    }

    fn write(
        &mut self,
        db: Db<'_>,
        seals: &Seals,
        campaign: CampaignId,
        each: &mut Option<&mut EachNew<'_>>,
    ) -> Result<()> {
        rows::write(db, seals, campaign, &self.rows)?;
        let special: Vec<(i64, String)> = (self.special.iter())
            .map(|(id, state)| (*id, said(state)))
            .collect();
        rows::write_special(db, &special)?;
        if let Some(each) = each {
            self.hand_over(each);
        }
        let codes = self.codes.drain(..);
        let codes: Vec<(JobId, SecretString)> =
            codes.filter_map(|(job, code)| Some((job, code?))).collect();
        let into = Table {
            name: "code",
            columns: ["job", "code"],
        };
        db.insert_all(&into, &codes, |(job, code)| {
            [job.0.into(), db.seal(*job, code.expose_secret())]
        })?;
        self.rows.clear();
        self.special.clear();
        Ok(())
    }

    /// All but those that were `invalid` from the first: they were handed over when they were read.
    fn hand_over(&mut self, each: &mut EachNew<'_>) {
        let mut special = self.special.drain(..).peekable();
        for row in &self.rows {
            let state = match special.next_if(|(id, _)| *id == row.row) {
                Some((_, state)) => state,
                None if row.kind == rows::JOB => RowState::Job(Vec::new()),
                None => continue,
            };
            each(&row.to_row(state), row.assumed);
        }
    }
}

/// What is to be said of a row that asks for no work.
fn said(state: &RowState) -> String {
    match state {
        RowState::Invalid(why) => why.clone(),
        RowState::Duplicate { first_line } => first_line.to_string(),
        RowState::Job(_) | RowState::Suppressed(..) => String::new(),
    }
}

/// What rows ask for, by number, with what the campaign has from the inputs before. Some are read
/// ahead, so that a server is not asked for each.
struct Ahead<'t> {
    db: Db<'t>,
    campaign: CampaignId,
    all: Sorted<6>,
    asked: VecDeque<Asked>,
    /// When the campaign's codes were answered, if there was an input before.
    settled: Option<&'t Settled>,
    /// Its jobs for each number ahead.
    known: HashMap<Number, Vec<Known>>,
    /// The jobs whose codes stood on each line ahead that is asked for.
    stood: HashMap<u64, HashSet<JobId>>,
}

/// A job that a campaign has from the inputs before.
struct Known {
    job: KnownJob,
    /// Was a request made for it? Looked up only if a row says so.
    is_tried: bool,
}

impl<'t> Ahead<'t> {
    fn new(db: Db<'t>, campaign: CampaignId, all: Sorted<6>, settled: Option<&'t Settled>) -> Self {
        Self {
            db,
            campaign,
            all,
            asked: VecDeque::new(),
            settled,
            known: HashMap::new(),
            stood: HashMap::new(),
        }
    }

    fn next(&mut self) -> Result<Option<Asked>> {
        if self.asked.is_empty() {
            for asked in self.all.by_ref().take(CHUNK) {
                self.asked.push_back(Asked::from_numbers(asked?)?);
            }
            if let Some(settled) = self.settled {
                self.look_up(settled)?;
            }
        }
        Ok(self.asked.pop_front())
    }

    fn look_up(&mut self, settled: &Settled) -> Result<()> {
        let mut numbers: Vec<Number> = self.asked.iter().map(|asked| asked.claim.number).collect();
        numbers.dedup();
        let numbers: Vec<i64> =
            (numbers.iter().map(|number| number.digits().cast_signed())).collect();
        let says_tried = (self.asked.iter()).any(|asked| asked.told == Told::Tried);
        let sql = "SELECT k.number, k.job, k.code_print,
                k.code_print <> 0 AND (SELECT 1 FROM code c WHERE c.job = k.job) IS NOT NULL,
                ?3 <> 0 AND (SELECT 1 FROM intent i WHERE i.id = k.job << 20 | 1) IS NOT NULL
           FROM known k WHERE k.number = ?1 AND k.campaign = ?2";
        let values = [self.campaign.0.into(), says_tried.into()];
        self.known.clear();
        self.db.all_of(sql, &numbers, &values, |row| {
            let number = Number::new(row.get::<i64>(0)?.cast_unsigned());
            let job = JobId(row.get(1)?);
            let known = Known {
                job: KnownJob {
                    job,
                    print: CodePrint(row.get(2)?),
                    settled_at: settled.get(&job).copied(),
                    has_code: row.get(3)?,
                },
                is_tried: row.get(4)?,
            };
            if let Some(number) = number {
                self.known.entry(number).or_default().push(known);
            }
            Ok(())
        })?;
        let mut lines: Vec<u64> = (self.asked.iter())
            .filter_map(|asked| asked.masked_line)
            .collect();
        lines.sort_unstable();
        lines.dedup();
        self.stood = former::stood_on(self.db, self.campaign, &lines)?;
        Ok(())
    }
}

fn add_known(db: Db<'_>, campaign: CampaignId, claims: &[Claim]) -> Result<()> {
    let into = Table {
        name: "known",
        columns: ["number", "campaign", "code_print", "job"],
    };
    db.insert_all(&into, claims, |claim| {
        [
            claim.number.digits().cast_signed().into(),
            campaign.0.into(),
            claim.print.0.into(),
            claim.row.into(),
        ]
    })
}

/// Gives the input a range of ids and makes it the campaign's latest.
fn put_campaign(
    db: Db<'_>,
    id: Option<CampaignId>,
    key: &CampaignKey,
    input: &InputRecord,
    reading: &str,
) -> Result<Campaign> {
    let rows = input.rows.cast_signed();
    let give = "UPDATE ledger SET next_id = next_id + ?1 RETURNING next_id - ?1";
    let first: i64 = db.one(give, &[rows.into()], |row| row.get(0))?;
    let put = "INSERT INTO campaign (id, operation, name, sandbox, input_name, input_sha256,
                reading, header, rows, first_row)
         VALUES (coalesce(?1, (SELECT coalesce(max(id), 0) + 1 FROM campaign)), ?2, ?3, ?4, ?5, ?6,
                 ?7, ?8, ?9, ?10)
         ON CONFLICT (id) DO UPDATE SET input_name = excluded.input_name,
                input_sha256 = excluded.input_sha256, reading = excluded.reading,
                header = excluded.header, rows = excluded.rows, first_row = excluded.first_row
         RETURNING id";
    let values = [
        id.map(|id| id.0).into(),
        key.operation.name().into(),
        (&key.name).into(),
        key.sandbox.into(),
        (&input.name).into(),
        (&input.sha256).into(),
        reading.into(),
        (&input.header).into(),
        rows.into(),
        first.into(),
    ];
    let id: i64 = db.one(put, &values, |row| row.get(0))?;
    let record = CampaignRecord {
        id: CampaignId(id),
        operation: key.operation,
        name: key.name.clone(),
        sandbox: key.sandbox,
        input: input.clone(),
    };
    let end = first + rows;
    Ok(Campaign::new(record, Span { first, end }))
}

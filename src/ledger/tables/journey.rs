//! One number's way through all campaigns of the ledger that count the same.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use super::campaigns::{self, SELECT_CAMPAIGN, campaign};
use super::db::{CHUNK, Db};
use super::error::Result;
use super::scan::Facts;
use super::{former, history};
use crate::job::{Attempt, JobId, Operation, UnixMicros};
use crate::journey::Journey;
use crate::ledger::{Campaign, Records};
use crate::number::Number;
use crate::record::{CampaignId, CampaignRecord, Row, RowState};
use crate::run::{RunId, Runs};

/// Looks up journeys. What it takes to read a campaign is kept from the first look at it on.
pub struct Journeys<'a> {
    db: Db<'a>,
    sandbox: bool,
    on: Vec<RunId>,
    campaigns: HashMap<CampaignId, Option<Known>>,
}

struct Known {
    name: Rc<str>,
    operation: Operation,
    runs: Runs,
    facts: Facts,
}

/// What a campaign has to do with a number.
struct Part {
    campaign: CampaignId,
    job: JobId,
    is_open: bool,
    attempts: Vec<Attempt>,
}

/// A code that was too old to be asked is not to be checked any more.
const SELECT_JOBS: &str = "
    SELECT k.number, k.campaign, k.job,
           (SELECT 1 FROM code c WHERE c.job = k.job) IS NOT NULL
       AND (SELECT 1 FROM suppressed s WHERE s.job = k.job AND s.at IS NOT NULL) IS NULL
      FROM known k WHERE k.number = ?1";

impl<'a> Journeys<'a> {
    /// Of rehearsals, or of real campaigns; `on` are the runs that are on right now.
    pub fn new(db: Db<'a>, sandbox: bool, on: &[RunId]) -> Self {
        Self {
            db,
            sandbox,
            on: on.to_vec(),
            campaigns: HashMap::new(),
        }
    }

    /// What all campaigns have to do with these numbers. What one that sends did may be at hand:
    /// then its attempts are not read.
    fn parts_of(
        &mut self,
        numbers: impl Iterator<Item = Number>,
        at_hand: Option<CampaignId>,
    ) -> Result<HashMap<Number, Vec<Part>>> {
        let db = self.db;
        let mut numbers: Vec<i64> = numbers
            .map(|number| number.digits().cast_signed())
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        let mut found = db.all_of(SELECT_JOBS, &numbers, &[], |row| {
            let part = Part {
                campaign: CampaignId(row.get(1)?),
                job: JobId(row.get(2)?),
                is_open: row.get(3)?,
                attempts: Vec::new(),
            };
            Ok((Number::new(row.get::<i64>(0)?.cast_unsigned()), part))
        })?;
        found.sort_unstable_by_key(|(number, part)| (part.campaign, *number, part.job));
        let of_campaigns = found.chunk_by_mut(|(_, a), (_, b)| a.campaign == b.campaign);
        for of_campaign in of_campaigns {
            let campaign = of_campaign[0].1.campaign;
            if at_hand == Some(campaign) {
                continue;
            }
            let Some(known) = self.known(campaign)? else {
                continue;
            };
            let jobs: Vec<JobId> = of_campaign.iter().map(|(_, part)| part.job).collect();
            let mut attempts = known.facts.scan(db).attempts_of(&jobs)?;
            for (_, part) in of_campaign {
                part.attempts = attempts.remove(&part.job).unwrap_or_default();
            }
        }
        let mut parts: HashMap<Number, Vec<Part>> = HashMap::new();
        for (number, part) in found {
            if let Some(number) = number {
                parts.entry(number).or_default().push(part);
            }
        }
        Ok(parts)
    }

    /// A number's journey. What a campaign that sends did for it may be at hand.
    fn of(&mut self, parts: &[Part], at_hand: Option<(CampaignId, &[Attempt])>) -> Result<Journey> {
        let mut journey = Journey::default();
        for part in parts {
            let id = part.campaign;
            let Some(known) = self.known(id)? else {
                continue;
            };
            let at_hand = at_hand.filter(|(of, _)| *of == id);
            let attempts = at_hand.map_or(&*part.attempts, |(_, attempts)| attempts);
            if known.operation == Operation::Verify {
                journey.is_checked_by(id);
            }
            journey.add(id, attempts, &known.runs, part.is_open);
        }
        journey.finish();
        Ok(journey)
    }

    /// Of these numbers, those to which the latest OTP was sent, or may have been, longer ago than
    /// `max_age`: by which campaign, and when.
    pub fn of_older_otps(
        &mut self,
        numbers: impl Iterator<Item = Number>,
        now: UnixMicros,
        max_age: Duration,
    ) -> Result<HashMap<Number, (Rc<str>, UnixMicros)>> {
        let mut older = HashMap::new();
        for (number, parts) in self.parts_of(numbers, None)? {
            let journey = self.of(&parts, None)?;
            let latest = journey.latest_otp();
            if let Some(old) = latest.filter(|otp| now.since(otp.left_at) > max_age)
                && let Some(known) = self.known(old.campaign)?
            {
                older.insert(number, (Rc::clone(&known.name), old.left_at));
            }
        }
        Ok(older)
    }

    /// Hands rows of a campaign to `each`, with their numbers' journeys.
    fn hand_over(
        &mut self,
        of: CampaignId,
        rows: &mut Vec<(Rc<str>, Row)>,
        each: &mut dyn FnMut(&str, &Row, &Journey) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let numbers = rows.iter().filter_map(|(_, row)| row.number);
        let parts = self.parts_of(numbers, Some(of))?;
        for (header, row) in rows.drain(..) {
            let of_row = row.number.and_then(|number| parts.get(&number));
            let Some(of_row) = of_row else { continue };
            let journey = self.of(of_row, Some((of, row.attempts())))?;
            if each(&header, &row, &journey).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// What it takes to read a campaign; `None` if it does not count the same.
    fn known(&mut self, id: CampaignId) -> Result<Option<&Known>> {
        let known = match self.campaigns.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let found = campaigns::of(self.db, id)?;
                let known = if found.record.sandbox == self.sandbox {
                    let mut runs = history::runs(self.db, id)?;
                    self.on.iter().for_each(|on| runs.set_on(*on));
                    Some(Known {
                        name: Rc::from(found.record.name),
                        operation: found.record.operation,
                        runs,
                        facts: Facts::of(self.db, id)?,
                    })
                } else {
                    None
                };
                new.insert(known)
            }
        };
        Ok(known.as_ref())
    }
}

/// Hands each row of a campaign that sends and asks for work, also those of earlier inputs, to `each`, with the
/// header of its record and its number's journey, until it says `Break`.
pub fn for_each(
    db: Db<'_>,
    of: &Campaign,
    records: Records,
    on: &[RunId],
    each: &mut dyn FnMut(&str, &Row, &Journey) -> ControlFlow<()>,
) -> Result<()> {
    let id = of.record.id;
    db.expect_lookups()?;
    let mut journeys = Journeys::new(db, of.record.sandbox, on);
    let mut rows: Vec<(Rc<str>, Row)> = Vec::new();
    let mut going = ControlFlow::Continue(());
    let mut see = |header: &Rc<str>, row: Row| -> Result<bool> {
        let asks = matches!(row.state, RowState::Job(_) | RowState::Suppressed(..));
        rows.extend(asks.then(|| (Rc::clone(header), row)));
        if rows.len() == CHUNK {
            going = journeys.hand_over(id, &mut rows, each)?;
        }
        Ok(going.is_continue())
    };
    let facts = Facts::of(db, id)?;
    let header = Rc::from(&*of.record.input.header);
    facts
        .scan(db)
        .for_each(of.span, records, |stored| see(&header, stored.into_row()))?;
    let mut seen = Ok(true);
    former::for_each(db, id, None, |_, header, row| {
        if matches!(seen, Ok(true)) {
            seen = see(&Rc::from(header), row.clone());
        }
        matches!(seen, Ok(true))
    })?;
    if seen? {
        let _ = journeys.hand_over(id, &mut rows, each)?;
    }
    Ok(())
}

/// The campaigns that send, count the same as this one and know numbers of it.
pub fn senders(db: Db<'_>, of: &CampaignRecord) -> Result<Vec<Campaign>> {
    let sql = format!(
        "{SELECT_CAMPAIGN} WHERE operation = 'send' AND sandbox = ?2 AND id IN (
             SELECT k.campaign FROM known v JOIN known k ON k.number = v.number
              WHERE v.campaign = ?1) ORDER BY id"
    );
    db.all(&sql, &[of.id.0.into(), of.sandbox.into()], |row| {
        Ok(campaign(row)?.0)
    })
}

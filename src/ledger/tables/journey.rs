//! One number's way through all campaigns of the ledger that count the same.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use super::campaigns::{self, SELECT_CAMPAIGN, campaign};
use super::db::Db;
use super::error::Result;
use super::rows::Facts;
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

/// A code that was too old to be asked is not to be checked any more.
const SELECT_JOBS: &str = "
    SELECT k.campaign, k.job, EXISTS (SELECT 1 FROM code c WHERE c.job = k.job)
                 AND NOT EXISTS (SELECT 1 FROM suppressed s WHERE s.job = k.job AND s.at IS NOT NULL)
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

    /// The journey of a number; what a campaign that sends did for it may be at hand.
    fn of(&mut self, number: Number, at_hand: Option<(CampaignId, &[Attempt])>) -> Result<Journey> {
        let mut journey = Journey::default();
        let db = self.db;
        let digits = number.digits().cast_signed();
        let jobs = db.all(SELECT_JOBS, &[digits.into()], |row| {
            let (id, job) = (CampaignId(row.get(0)?), JobId(row.get(1)?));
            Ok((id, job, row.get(2)?))
        })?;
        for (id, job, is_open) in jobs {
            let Some(known) = self.known(id)? else {
                continue;
            };
            let read;
            let attempts = if let Some((_, attempts)) = at_hand.filter(|(of, _)| *of == id) {
                attempts
            } else {
                read = known.facts.scan(db).attempts_of(job)?;
                &read
            };
            if known.operation == Operation::Verify {
                journey.is_checked_by(id);
            }
            journey.add(id, attempts, &known.runs, is_open);
        }
        journey.finish();
        Ok(journey)
    }

    /// The campaign that sent the latest OTP to a number, or may have, and when, if that is longer
    /// ago than `max_age`.
    pub fn of_older_otp(
        &mut self,
        number: Number,
        now: UnixMicros,
        max_age: Duration,
    ) -> Result<Option<(Rc<str>, UnixMicros)>> {
        let journey = self.of(number, None)?;
        let latest = journey.latest_otp();
        let Some(old) = latest.filter(|otp| now.since(otp.left_at) > max_age) else {
            return Ok(None);
        };
        let known = self.known(old.campaign)?;
        Ok(known.map(|known| (Rc::clone(&known.name), old.left_at)))
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
    let mut going = ControlFlow::Continue(());
    let mut see = |header: &str, row: &Row| -> Result<bool> {
        let asks = matches!(row.state, RowState::Job(_) | RowState::Suppressed(..));
        if let (Some(number), true, true) = (row.number, asks, going.is_continue()) {
            going = each(
                header,
                row,
                &journeys.of(number, Some((id, row.attempts())))?,
            );
        }
        Ok(going.is_continue())
    };
    let facts = Facts::of(db, id)?;
    facts.scan(db).for_each(of.span, records, |stored| {
        see(&of.record.input.header, &stored.into_row())
    })?;
    let mut seen = Ok(true);
    former::for_each(db, id, None, |_, header, row| {
        if matches!(seen, Ok(true)) {
            seen = see(header, row);
        }
        matches!(seen, Ok(true))
    })?;
    seen.map(|_| ())
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

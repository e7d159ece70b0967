//! What everybody but the engine asks of the durable memory: it is opened, inputs are taken in, and
//! what is known is read.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::postgres::{PostgresLedger, PostgresRun, Timeline, fleet};
use super::sqlite::{LedgerFile, Restored, RunLedger, SqliteLedger};
use super::tables::db::{Db, Step};
use super::tables::error::{Fault, failed_to};
use super::tables::history::{self, Departures};
use super::tables::scan::Facts;
use super::tables::{accounts, campaigns, copy, former, journey, lookup, purge};
use super::{
    At, Campaign, CampaignKey, Ceilings, Execution, Intake, LedgerError, Life, Noted, Purged,
    Records, Run, Share, Verified, Working,
};
use crate::clock::Clock;
use crate::job::{Contact, Lookup, UnixMicros};
use crate::journey::Journey;
use crate::number::Number;
use crate::pace::Rate;
use crate::record::{CampaignId, CampaignRecord, InputRecord, Row, RunRecord};
use crate::run::{End, RunId, Runs};

/// A ledger that is open.
pub struct Store {
    pub(super) place: Place,
}

/// In which room it is.
pub(super) enum Place {
    Sqlite(SqliteLedger),
    Postgres(Box<PostgresLedger>),
}

/// How a ledger is opened for a run.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'k> {
    /// Also a file that may lack requests which were made?
    pub restored: Restored,
    /// Also a server whose history is another one?
    pub timeline: Timeline,
    /// The API key: codes are sealed with a key made from it before they reach a server.
    pub key: Option<&'k SecretString>,
}

impl Default for Opening<'_> {
    fn default() -> Self {
        Self {
            restored: Restored::Refuse,
            timeline: Timeline::Refuse,
            key: None,
        }
    }
}

impl From<SqliteLedger> for Store {
    fn from(ledger: SqliteLedger) -> Self {
        let place = Place::Sqlite(ledger);
        Self { place }
    }
}

impl From<PostgresLedger> for Store {
    fn from(ledger: PostgresLedger) -> Self {
        let place = Place::Postgres(Box::new(ledger));
        Self { place }
    }
}

impl Store {
    /// Is there a ledger? See [`open`](Self::open) for what is refused.
    ///
    /// # Errors
    /// When what is there cannot be one, or is what is left of one; when a server cannot be reached.
    pub fn exists(at: impl Into<At>) -> Result<bool, LedgerError> {
        match at.into() {
            At::File(path) => SqliteLedger::exists(&path),
            At::Server(address) => PostgresLedger::exists(&address),
        }
    }

    /// Opens a ledger for a run, and makes a new one when there is none; see [`SqliteLedger::open`]
    /// and [`PostgresLedger::open`].
    ///
    /// # Errors
    /// When it cannot be used, or must not be.
    pub fn open(at: impl Into<At>) -> Result<Self, LedgerError> {
        Self::open_as(at, &Opening::default())
    }

    /// Opens it for a run, in this way.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_as(at: impl Into<At>, how: &Opening<'_>) -> Result<Self, LedgerError> {
        match at.into() {
            At::File(path) => SqliteLedger::open_restored(&path, how.restored).map(Self::from),
            At::Server(address) => {
                PostgresLedger::open(&address, how.key, how.timeline).map(Self::from)
            }
        }
    }

    /// Opens it to read beside runs.
    ///
    /// # Errors
    /// When there is none, when it cannot be used or must not be.
    pub fn open_to_read(at: impl Into<At>) -> Result<Self, LedgerError> {
        match at.into() {
            At::File(path) => SqliteLedger::open_to_read(&path).map(Self::from),
            At::Server(address) => PostgresLedger::open_to_read(&address).map(Self::from),
        }
    }

    /// Copies all of a ledger into one that is empty or not there yet. `key` opens and seals the codes
    /// that are on a server.
    ///
    /// # Errors
    /// When somebody works with the source, or it may lack requests; when there is something in the
    /// target; when a key is missing; when one of them cannot be used, or changes meanwhile. Then
    /// nothing is in the target.
    pub fn copy(from: &At, to: &At, key: Option<&SecretString>) -> Result<Verified, LedgerError> {
        let mut source = match from {
            At::File(path) => SqliteLedger::open_to_read(path).map(Self::from)?,
            At::Server(address) => PostgresLedger::open_to_copy(address, key).map(Self::from)?,
        };
        source.ensure_whole()?;
        let codes = copy::has_codes(source.db());
        let codes = codes.map_err(failed_to("read the codes", source.path()))?;
        let is_on_server = [from, to].iter().any(|at| at.file().is_none());
        if codes && is_on_server && key.is_none() {
            return Err(LedgerError::NotCopied(
                "codes wait to be checked in the ledger, and on a server they are sealed with a key made from the API key: name a file that holds it with --api-key-file, or set KOOKOO_API_KEY".to_owned(),
            ));
        }
        if source.is_empty()? {
            let why = format!("there is nothing in the ledger {from}");
            return Err(LedgerError::NotCopied(why));
        }
        if Self::exists(to)? {
            Self::open_to_read(to)?.ensure_empty()?;
        }
        let how = Opening {
            key,
            ..Opening::default()
        };
        Self::open_as(to, &how)?.take_over(&mut source)
    }

    /// Is everything in it, and nobody at work on it?
    fn ensure_whole(&self) -> Result<(), LedgerError> {
        if let Some(holder) = self.holder()? {
            return Err(LedgerError::Held {
                path: self.path().to_owned(),
                holder,
            });
        }
        let doubt = match &self.place {
            Place::Sqlite(ledger) => ledger.doubt().map(str::to_owned),
            Place::Postgres(ledger) => ledger.doubt()?,
        };
        doubt.map_or(Ok(()), |why| {
            Err(LedgerError::NotCopied(format!(
                "the ledger {} may lack requests that were made: {why}. Bring it into order first: a `send` says how",
                self.path().display()
            )))
        })
    }

    fn is_empty(&self) -> Result<bool, LedgerError> {
        copy::is_empty(self.db()).map_err(failed_to("read the ledger", self.path()))
    }

    fn ensure_empty(&self) -> Result<(), LedgerError> {
        if self.is_empty()? {
            return Ok(());
        }
        Err(LedgerError::NotCopied(format!(
            "there are campaigns in the ledger {} already, and two ledgers cannot be made one: name another one with --to",
            self.path().display()
        )))
    }

    /// Writes all of the source into this ledger, in one step, unless anything changes there.
    fn take_over(&mut self, source: &mut Self) -> Result<Verified, LedgerError> {
        let fault = failed_to::<Fault>("copy the ledger", self.path());
        let salt = source.db().salt().map_err(&fault)?;
        if let Place::Postgres(ledger) = &mut self.place {
            ledger.seal_as(&salt);
        }
        self.ensure_empty()?;
        let step = self.step().map_err(&fault)?;
        let copied = copy::all(source.db(), step.db())
            .and_then(|()| step.db().look_at_tables())
            .and_then(|()| copy::counts(step.db()));
        let copied = copied.map_err(&fault)?;
        source.look_again()?;
        source.ensure_whole()?;
        if copy::counts(source.db()).map_err(&fault)? != copied {
            let why = "the ledger that was read has changed meanwhile: run the same command again";
            return Err(LedgerError::NotCopied(why.to_owned()));
        }
        copy::note_waves(step.db()).map_err(&fault)?;
        let verified = accounts::verify(step.db(), || Ok(Vec::new())).map_err(&fault)?;
        if let Some(wrong) = verified.wrong.first() {
            return Err(LedgerError::NotCopied(format!(
                "what was read is not as it was written: {wrong}. Look through {} with `otpdrive status --verify`",
                source.path().display()
            )));
        }
        step.commit().map_err(&fault)?;
        Ok(verified)
    }

    pub(super) fn db(&self) -> Db<'_> {
        match &self.place {
            Place::Sqlite(ledger) => ledger.db(),
            Place::Postgres(ledger) => ledger.db(),
        }
    }

    /// Its file, if it is one and nobody else writes into it.
    fn held_file(&self) -> Option<&Arc<LedgerFile>> {
        match &self.place {
            Place::Sqlite(ledger) => ledger.held_file(),
            Place::Postgres(_) => None,
        }
    }

    fn step(&mut self) -> Result<Step<'_>, Fault> {
        match &mut self.place {
            Place::Sqlite(ledger) => Ok(Step::Sqlite(ledger.step()?)),
            Place::Postgres(ledger) => Ok(Step::Postgres(ledger.step()?)),
        }
    }

    /// The ledger as it was named.
    #[must_use]
    pub fn path(&self) -> &Path {
        match &self.place {
            Place::Sqlite(ledger) => ledger.path(),
            Place::Postgres(ledger) => ledger.path(),
        }
    }

    /// Who works with the ledger now, if anybody; to be asked of one that was opened to read.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn holder(&self) -> Result<Option<String>, LedgerError> {
        match &self.place {
            Place::Sqlite(ledger) => Ok(ledger.holder()),
            Place::Postgres(ledger) => ledger.holder(),
        }
    }

    /// The processes that work on runs right now; of a file there is nothing to say but its
    /// [`holder`](Self::holder).
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn workers(&self) -> Result<Vec<Working>, LedgerError> {
        match &self.place {
            Place::Sqlite(_) => Ok(Vec::new()),
            Place::Postgres(ledger) => ledger.workers(),
        }
    }

    /// The runs that are on right now, in other processes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn on(&self) -> Result<Vec<RunId>, LedgerError> {
        match &self.place {
            Place::Sqlite(ledger) => Ok(ledger.on()?.into_iter().collect()),
            Place::Postgres(ledger) => ledger.on(),
        }
    }

    /// Looks at the ledger anew, and says whether it may have changed; to be asked of one that was
    /// opened to read.
    ///
    /// # Errors
    /// As [`open_to_read`](Self::open_to_read).
    pub fn look_again(&mut self) -> Result<bool, LedgerError> {
        match &mut self.place {
            Place::Sqlite(ledger) => ledger.look_again(),
            Place::Postgres(ledger) => {
                ledger.look()?;
                Ok(true)
            }
        }
    }

    /// Why requests that were made may be missing in it, if so; to be asked of one that was opened to
    /// read.
    #[must_use]
    pub fn doubt(&self) -> Option<&'static str> {
        match &self.place {
            Place::Sqlite(ledger) => ledger.doubt(),
            Place::Postgres(_) => None,
        }
    }

    /// Does the ledger's path lead to another file by now, or to none?
    #[must_use]
    pub fn has_moved(&self) -> bool {
        match &self.place {
            Place::Sqlite(ledger) => ledger.has_moved(),
            Place::Postgres(_) => false,
        }
    }

    /// Looks through the whole ledger for what cannot be so.
    ///
    /// # Errors
    /// When it cannot be read at all.
    pub fn verify(&self) -> Result<Verified, LedgerError> {
        let damage = || match &self.place {
            Place::Sqlite(ledger) => ledger.damage(),
            Place::Postgres(_) => Ok(Vec::new()),
        };
        accounts::verify(self.db(), damage)
            .map_err(failed_to("look through the ledger", self.path()))
    }

    /// Takes in an input. `reading` names the settings it was read with: the same bytes read in the
    /// same way are not taken in again.
    ///
    /// # Errors
    /// The outer one when the ledger fails, the inner one is the input's own.
    pub fn take_in<E>(
        &mut self,
        key: &CampaignKey,
        input: &InputRecord,
        reading: &str,
        contacts: impl IntoIterator<Item = Result<Contact, E>>,
    ) -> Result<Result<Intake<'_>, E>, LedgerError> {
        self.take_in_telling(key, input, reading, contacts, &mut |_, _| ())
    }

    /// The same, where the rows of a campaign's first input are handed to `each_new` as they are
    /// written, with whether a number was taken as a mobile against the numbering plan's data: what
    /// is known of them need not be read back. Their records are left out; they come in input order,
    /// but for those that are `invalid`.
    ///
    /// # Errors
    /// As [`take_in`](Self::take_in).
    pub fn take_in_telling<E>(
        &mut self,
        key: &CampaignKey,
        input: &InputRecord,
        reading: &str,
        contacts: impl IntoIterator<Item = Result<Contact, E>>,
        each_new: &mut dyn FnMut(&Row, bool),
    ) -> Result<Result<Intake<'_>, E>, LedgerError> {
        let (path, fault) = (
            self.path().to_owned(),
            failed_to("write to the ledger", self.path()),
        );
        let file = self.held_file().cloned();
        let step = self.step().map_err(fault)?;
        Intake::take(step, (path, file), key, input, reading, contacts, each_new)
    }

    /// Joins the run of a campaign on which others work right now, without its list; gives the rates
    /// of [`Share::ALL`] at which they do.
    ///
    /// # Errors
    /// When the run has ended, when the others count something alone, when the ledger is a file.
    pub fn join(
        &mut self,
        campaign: &Campaign,
        run: RunId,
    ) -> Result<[Option<Rate>; Share::ALL.len()], LedgerError> {
        let fault = failed_to::<Fault>("join the run", self.path());
        let mut join = || {
            let step = self.step()?;
            let Db::Postgres(server) = step.db() else {
                let why = "a file is in the hands of one process: nobody joins its run";
                return Err(Fault::Refused(why.to_owned()));
            };
            let rates = fleet::join(server, campaign, run)?;
            step.commit()?;
            Ok(rates)
        };
        join().map_err(fault)
    }

    /// Have others given this process up, which works on a run?
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn is_given_up(&self) -> Result<bool, LedgerError> {
        match &self.place {
            Place::Sqlite(_) => Ok(false),
            Place::Postgres(ledger) => ledger.is_given_up(),
        }
    }

    /// All campaigns, in the order in which they were first run.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn campaigns(&self) -> Result<Vec<Campaign>, LedgerError> {
        campaigns::all(self.db()).map_err(failed_to("list the campaigns", self.path()))
    }

    /// The campaign's runs with their facts: they say what its attempts mean.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn runs(&self, campaign: CampaignId) -> Result<Runs, LedgerError> {
        history::runs(self.db(), campaign).map_err(failed_to("read the runs", self.path()))
    }

    /// The campaign's latest run.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn latest_run(&self, campaign: CampaignId) -> Result<Option<RunRecord>, LedgerError> {
        history::latest(self.db(), campaign).map_err(failed_to("read the run", self.path()))
    }

    /// When the campaign's latest run ended that came to its end.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn last_complete(&self, campaign: CampaignId) -> Result<Option<UnixMicros>, LedgerError> {
        history::last_complete(self.db(), campaign).map_err(failed_to("read the run", self.path()))
    }

    /// Hands each row of the campaign's latest input to `each`, in input order, until it says
    /// `Break`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn for_each_row(
        &self,
        campaign: &Campaign,
        records: Records,
        each: &mut dyn FnMut(&Row) -> ControlFlow<()>,
    ) -> Result<(), LedgerError> {
        let span = campaign.span;
        let file = self.held_file();
        let beside = file.map_or_else(Vec::new, |file| file.readers_beside(span.rows()));
        let read = || {
            let facts = Facts::of(self.db(), campaign.record.id)?;
            facts
                .scan(self.db())
                .for_each_beside(beside, span, records, |stored| {
                    Ok(each(&stored.into_row()).is_continue())
                })
        };
        read().map_err(failed_to("read the rows", self.path()))
    }

    /// Hands each number that was attempted and that the latest input has no more to `each`, as the
    /// row that last asked for it, with the header of that row's record (both are empty if they were
    /// not kept), until it says `Break`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn for_each_former(
        &self,
        campaign: CampaignId,
        each: &mut dyn FnMut(&str, &Row) -> ControlFlow<()>,
    ) -> Result<(), LedgerError> {
        former::for_each(self.db(), campaign, None, |_, header, row| {
            each(header, row).is_continue()
        })
        .map_err(failed_to("read what earlier inputs asked for", self.path()))
    }

    /// The campaign's latest run that made requests, or else its latest; and when its first began.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn latest_at_work(
        &self,
        campaign: CampaignId,
    ) -> Result<Option<(RunRecord, UnixMicros)>, LedgerError> {
        history::latest_at_work(self.db(), campaign).map_err(failed_to("read the run", self.path()))
    }

    /// Notes what a person found out about those of these numbers that are `unknown` in a campaign.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn settle(
        &mut self,
        campaign: &Campaign,
        numbers: &[Number],
        lookup: Lookup,
    ) -> Result<Noted, LedgerError> {
        let fault = failed_to::<Fault>("note what was looked up", self.path());
        let mut settle = || {
            let step = self.step()?;
            let noted = lookup::settle(step.db(), campaign, numbers, lookup)?;
            step.commit()?;
            Ok(noted)
        };
        settle().map_err(fault)
    }

    /// All that the ledger knows of a number, campaign by campaign.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn lives(&self, number: Number) -> Result<Vec<Life>, LedgerError> {
        lookup::lives(self.db(), number).map_err(failed_to("look the number up", self.path()))
    }

    /// Hands each row of a campaign that sends and asks for work, also those of earlier inputs, to
    /// `each`, with the header of its record and its number's journey through all campaigns that count the same,
    /// until it says `Break`. `on` are the runs that are on right now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn for_each_journey(
        &self,
        of: &Campaign,
        records: Records,
        on: &[RunId],
        each: &mut dyn FnMut(&str, &Row, &Journey) -> ControlFlow<()>,
    ) -> Result<(), LedgerError> {
        journey::for_each(self.db(), of, records, on, each)
            .map_err(failed_to("read what numbers went through", self.path()))
    }

    /// The campaigns that send, count the same as this one and know numbers of it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn senders(&self, of: &CampaignRecord) -> Result<Vec<Campaign>, LedgerError> {
        journey::senders(self.db(), of)
            .map_err(failed_to("find out who sent to these numbers", self.path()))
    }

    /// The campaigns that were purged.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn purged(&self) -> Result<Vec<Purged>, LedgerError> {
        purge::all(self.db()).map_err(failed_to("read what was purged", self.path()))
    }

    /// The campaigns in which nothing has happened for so long, as [`purge`](Store::purge) takes them;
    /// but not those whose runs are `on` right now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn due_for_purge(
        &self,
        now: UnixMicros,
        older_than: Duration,
        on: &[RunId],
    ) -> Result<Vec<Purged>, LedgerError> {
        purge::due(self.db(), now, older_than, on)
            .map_err(failed_to("find out what is to be purged", self.path()))
    }

    /// Takes numbers, rows, references and codes of these campaigns out of the ledger and out of the
    /// bytes of its files, and those of earlier purges that did not come to their end. `false`:
    /// somebody who reads beside us keeps some of the bytes until the next purge.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn purge(&mut self, due: &[Purged], now: UnixMicros) -> Result<bool, LedgerError> {
        let fault = failed_to::<Fault>("purge the ledger", self.path());
        let mut purge = || {
            let step = self.step()?;
            purge::purge(step.db(), due, now)?;
            step.commit()?;
            match &self.place {
                Place::Sqlite(ledger) => Ok(ledger.sweep()?),
                // Dead rows are the server's own matter: see `otpdrive help fleet`.
                Place::Postgres(_) => Ok(true),
            }
        };
        purge().map_err(fault)
    }

    /// How the requests of a run left, those without an answer when they were begun: `begin` is told
    /// when the last one did, and makes what each is then handed to, the earliest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn departures<T>(
        &self,
        run: RunId,
        begin: impl FnOnce(Option<UnixMicros>) -> T,
        mut each: impl FnMut(&mut T, UnixMicros),
    ) -> Result<T, LedgerError> {
        let read = || {
            let departures = Departures::of(self.db(), run)?;
            let mut made = begin(departures.last);
            departures.for_each(|at| each(&mut made, at))?;
            Ok::<_, Fault>(made)
        };
        read().map_err(failed_to("read the attempts", self.path()))
    }

    /// The time of this ledger: a run's times are counted by it.
    ///
    /// # Errors
    /// When a server does not tell its own.
    pub fn clock(&self) -> Result<Clock, LedgerError> {
        match &self.place {
            Place::Sqlite(_) => Ok(Clock::start()),
            Place::Postgres(ledger) => ledger.clock(),
        }
    }

    /// Gives the ledger to a run: from now on only the run writes.
    ///
    /// # Errors
    /// When what earlier runs left cannot be read.
    pub fn start(
        self,
        campaign: &Campaign,
        run: RunId,
        clock: Clock,
        execution: Execution,
        ceilings: Option<&Ceilings>,
    ) -> Result<Run, LedgerError> {
        match self.place {
            Place::Sqlite(ledger) => {
                RunLedger::start(ledger, campaign, run, clock, execution).map(Run::Sqlite)
            }
            Place::Postgres(ledger) => {
                let run = PostgresRun::start(*ledger, campaign, run, clock, ceilings)?;
                Ok(Run::Postgres(Box::new(run)))
            }
        }
    }

    /// Ends the run's hold on the ledger; also says how many answers could not be written down.
    pub async fn close(run: Run) -> (Self, usize) {
        match run {
            Run::Sqlite(run) => {
                let (ledger, lost) = run.close().await;
                (ledger.into(), lost)
            }
            Run::Postgres(run) => {
                let (ledger, lost) = run.close().await;
                (ledger.into(), lost)
            }
        }
    }

    /// Notes how a run ended, or this process' part of it, and when its last request left.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish_run(
        &self,
        run: RunId,
        now: UnixMicros,
        end: &End,
        last_left_at: Option<UnixMicros>,
    ) -> Result<(), LedgerError> {
        match &self.place {
            Place::Sqlite(ledger) => ledger.finish_run(run, now, end, last_left_at),
            Place::Postgres(ledger) => ledger.finish_run(run, end, last_left_at),
        }
    }
}

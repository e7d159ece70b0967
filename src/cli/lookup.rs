//! `settle` and `who`: what a person looks up, in the ledger and with the provider.

use anyhow::{Context as _, ensure};
use std::fmt::Write as _;

use super::config::{Mode, input};
use super::exit::Exit;
use super::purge::ensure_not_purged;
use super::report::{choose, print};
use super::screen::Screen;
use super::values::{self, Values};
use crate::clock::Clock;
use crate::contacts::{self, ContactsError, ReadOptions, Region, Survey};
use crate::job::{Attempt, Contact, Found, Lookup, Operation, Problem};
use crate::ledger::{Life, Noted, Store};
use crate::number::Number;
use crate::text::visible;

/// Notes what a person found out about numbers that are `unknown`.
///
/// # Errors
/// When the file cannot be used, the ledger or the campaign is not there, or a run is on.
pub fn settle(values: &Values, screen: &Screen) -> anyhow::Result<Exit> {
    let found: Found = values.required("as", values::word)?;
    let path = input(values.path("input"))?;
    let list = NumberList::read(contacts::open(&path, read_options(values)?)?)?;
    let (survey, unread) = (&list.survey, list.unread);
    let asked: Option<String> = values.optional("campaign", str::parse)?;
    if let (Some(asked), Some(says)) = (&asked, &survey.campaign) {
        ensure!(
            asked == says,
            "the rows belong to campaign {}, not to {}. Nothing was noted",
            visible(says),
            visible(asked)
        );
    }
    ensure!(
        survey.written_by != Some(Operation::Verify),
        "{} is what `verify` wrote: only OTPs are looked up. Nothing was noted",
        visible(&survey.name)
    );
    let ledger = Mode::of(values).ledger(values)?;
    ensure!(
        Store::exists(&ledger)?,
        "there is no ledger {ledger}. Name it with --ledger"
    );
    let mut ledger = Store::open(&ledger)?;
    let name = survey.campaign.as_deref();
    let campaign = choose(&ledger, values, name, Some(Operation::Send))?;
    ensure_not_purged(&ledger, &campaign, values)?;
    let at = Clock::start().now();
    let Noted {
        noted,
        former,
        not_unknown,
        strange,
    } = ledger.settle(&campaign, &list.numbers, Lookup { found, at })?;
    let now = match found {
        Found::Sent => "sent",
        Found::Unsent => "pending: the next run sends to them",
    };
    let name = visible(&campaign.record.name);
    let mut text = format!("{name}: of {noted} it was unknown, and they are {now}");
    for (count, why) in [
        (
            former,
            "of them are not in the list any more: no run sends to them until they are",
        ),
        (not_unknown, "were not unknown and are as they were"),
        (strange, "are not in this campaign"),
        (unread, "rows have no number that can be read"),
    ] {
        if count > 0 {
            let _ = write!(text, "; {count} {why}");
        }
    }
    screen.say(&text);
    Ok(match strange + unread {
        0 => Exit::Done,
        _ => Exit::NeedsPerson,
    })
}

/// How the list of what was looked up is read.
fn read_options(values: &Values) -> anyhow::Result<ReadOptions> {
    let region: Region = values.required("region", str::parse)?;
    Ok(ReadOptions {
        phone_column: values.optional("phone-column", values::column)?,
        country_code_column: values.optional("country-code-column", values::column_or_none)?,
        delimiter: values.optional("delimiter", values::delimiter)?,
        header_line: values.optional("header-line", values::number)?,
        ..ReadOptions::numbers_only(region)
    })
}

/// A list of nothing but numbers.
pub struct NumberList {
    /// Row by row, one maybe several times.
    pub numbers: Vec<Number>,
    /// What else there is to know of it.
    pub survey: Survey,
    /// How many rows have no number that can be read.
    pub unread: u64,
    /// The line of the first of these, and why.
    pub first_unread: Option<(u64, Problem)>,
}

impl NumberList {
    /// Reads all of it.
    ///
    /// # Errors
    /// When it is no list with a phone column, or cannot be read.
    pub fn read(mut file: contacts::Input) -> Result<Self, ContactsError> {
        let survey = file.survey()?;
        let (mut numbers, mut unread, mut first_unread) = (Vec::new(), 0, None);
        for contact in file.contacts(&survey)? {
            let Contact { line, request, .. } = contact?;
            match request {
                Ok(request) => numbers.push(request.number),
                Err(problem) => {
                    unread += 1;
                    first_unread.get_or_insert((line, problem));
                }
            }
        }
        Ok(Self {
            numbers,
            survey,
            unread,
            first_unread,
        })
    }
}

/// Tells one number's whole life in a ledger.
///
/// # Errors
/// When the number cannot be read, or the ledger is not there or cannot be read.
pub fn who(values: &Values, _: &Screen) -> anyhow::Result<Exit> {
    let asked: String = values
        .optional("input", str::parse)?
        .context("name a number, such as 9876543210 or +919876543210")?;
    let region: Region = values.required("region", str::parse)?;
    let number = contacts::read_number(&asked, region)
        .map_err(|Problem(why)| anyhow::anyhow!("the number: {why}"))?;
    let path = Mode::of(values).ledger(values)?;
    let ledger = super::report::open(&path)?;
    let lives = ledger.lives(number)?;
    let mut text = format!("+{}\n", number.digits());
    if lives.is_empty() {
        let _ = writeln!(
            text,
            "  no campaign of {} knows it",
            visible(&path.to_string())
        );
    }
    let purged = ledger.purged()?;
    if !purged.is_empty() {
        let names = purged.iter().map(|purged| &purged.campaign.name);
        let names: Vec<String> = names
            .map(|name| super::report::shown_name(name, values))
            .collect();
        let _ = writeln!(
            text,
            "  what purged campaigns did to it is not known any more: {}",
            visible(&names.join(", "))
        );
    }
    for Life {
        campaign,
        row,
        is_former,
    } in &lives
    {
        let runs = super::report::runs(&ledger, campaign.id)?;
        let outcome = row.outcome(&runs);
        let rehearsal = if campaign.sandbox {
            ", a rehearsal"
        } else {
            ""
        };
        let place = match (is_former, row.line) {
            (false, line) => format!("line {line}"),
            (true, 0) => "not in the list any more".to_owned(),
            (true, line) => format!("not in the list any more, was on line {line}"),
        };
        let _ = writeln!(
            text,
            "  {} ({}{rehearsal}), {place}: {}",
            visible(&super::report::shown_name(&campaign.name, values)),
            campaign.operation.name(),
            outcome.status.name()
        );
        if !outcome.detail.is_empty() {
            let _ = writeln!(text, "    {}", visible(&outcome.detail));
        }
        for attempt in row.attempts() {
            let _ = writeln!(text, "    {}", line_of(attempt));
        }
    }
    print(std::io::stdout().lock(), text.as_bytes())
}

/// One request: when it left on which lane, and what came of it.
fn line_of(attempt: &Attempt) -> String {
    let lane = attempt.lane.name();
    let at = attempt.left_at().unwrap_or(attempt.begun_at);
    let came = match &attempt.answer {
        None => "no answer was recorded".to_owned(),
        Some(answer) => {
            let kind = answer.verdict.kind.name();
            match visible(&answer.verdict.text) {
                text if text.is_empty() => kind.to_owned(),
                text => format!("{kind}: {text}"),
            }
        }
    };
    let looked_up = match attempt.lookup {
        None => String::new(),
        Some(Lookup { found, at }) => {
            let was = match found {
                Found::Sent => "sent",
                Found::Unsent => "not sent",
            };
            format!("; looked up at {at}: {was}")
        }
    };
    format!("{}  {at}  {lane}  {came}{looked_up}", attempt.n)
}

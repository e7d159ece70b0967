//! What a run is about, found out before the ledger is touched: the file, its campaign, its ledger,
//! suppression lists. It is where people mistake one list for another.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail, ensure};
use serde_json::{Value as Json, json};

use super::config::Config;
use super::lookup::NumberList;
use super::plan::table::phones;
use super::values;
use crate::contacts::{self, ReadOptions, Survey};
use crate::job::{Operation, Problem, UnixMicros};
use crate::ledger::{CampaignKey, Purged, Store};
use crate::number::Number;
use crate::record::{CampaignRecord, RunRecord};
use crate::text::{shell_word, visible};

/// The files and what they hold as a whole: looked at before the ledger is touched.
pub struct Input {
    pub file: contacts::Input,
    pub survey: Survey,
    pub campaign: CampaignKey,
    named_by: NamedBy,
    /// All settings, no secrets, with what was found out about the columns.
    pub settings: Json,
    /// Numbers in suppression lists, with the name of the list.
    pub excluded: HashMap<Number, Arc<str>>,
    /// The name of each suppression list, and what it yielded, in words.
    pub suppression_lists: Vec<(String, String)>,
}

/// What gave a campaign its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NamedBy {
    User,
    /// The rows say to which campaign they belong.
    Rows,
    FileName,
}

impl Input {
    /// Reads the file and the suppression lists, and finds out to which campaign the file belongs.
    ///
    /// # Errors
    /// When one cannot be used, or the file has no name of its own.
    pub fn read(mut file: contacts::Input, config: &Config) -> anyhow::Result<Self> {
        let survey = file.survey()?;
        let (name, named_by) = match (&config.read.campaign, &survey.campaign) {
            (Some(name), _) => (name.clone(), NamedBy::User),
            (None, Some(name)) if is_of_codes(&survey, config.operation) => bail!(
                "{} is what `verify` wrote for campaign {}, not a list to send to. To send to its numbers, name a campaign with --campaign. Nothing was sent",
                visible(&survey.name),
                visible(name)
            ),
            (None, Some(name)) => (name.clone(), NamedBy::Rows),
            (None, None) if survey.is_result => bail!(
                "{} is a result file that does not say to which campaign its rows belong: name that with --campaign, or one more to send to all of them. Nothing was sent",
                visible(&survey.name)
            ),
            (None, None) => (stem(&config.input)?, NamedBy::FileName),
        };
        let name = values::campaign(&name).map_err(|why| anyhow!("the campaign's name: {why}"))?;
        let mut settings = config.settings.clone();
        settings[PHONE_COLUMN] = json!(survey.phone_column);
        settings["otp_column"] = json!(survey.otp_column);
        let aside = config.read.country_code_column.as_deref();
        let aside = aside.filter(|name| *name == NONE);
        settings[COUNTRY_CODE_COLUMN] = json!(survey.country_code_column.as_deref().or(aside));
        let mut input = Self {
            file,
            survey,
            campaign: config.campaign(&name),
            named_by,
            settings,
            excluded: HashMap::new(),
            suppression_lists: Vec::new(),
        };
        for list in &config.exclude {
            input.exclude(list, &config.read)?;
        }
        Ok(input)
    }

    /// Leaves out all numbers in a suppression list. One that cannot be read would not be left out,
    /// so that is an error.
    fn exclude(&mut self, list: &Path, read: &ReadOptions) -> anyhow::Result<()> {
        // The columns of the list to send to are those of this one too, if it has such; where they
        // stand may differ.
        let named = |asked: &Option<String>, found: Option<&str>| match (asked, found) {
            (Some(asked), Some(found)) if asked.starts_with('#') => Some(found.to_owned()),
            (asked, _) => asked.clone(),
        };
        let of_code = self.survey.country_code_column.as_deref();
        let options = ReadOptions {
            phone_column: named(&read.phone_column, Some(&self.survey.phone_column)),
            country_code_column: named(&read.country_code_column, of_code),
            columns_are_optional: true,
            delimiter: read.delimiter,
            accept_multiline_cells: read.accept_multiline_cells,
            // To which campaign its rows belong, if it is a result file, does not matter.
            campaign: Some(String::new()),
            ..ReadOptions::numbers_only(read.region)
        };
        let file = contacts::open(list, options)?;
        let NumberList {
            numbers,
            survey,
            first_unread,
            ..
        } = NumberList::read(file).map_err(|error| anyhow!("{error}. In a suppression list --phone-column and --country-code-column count where it has columns of these names; otherwise rename those that are not meant. Nothing was sent"))?;
        let path: Arc<str> = Arc::from(list.to_string_lossy());
        // One of a result file that could not be read was never sent to.
        if let Some((line, Problem(why))) = first_unread.filter(|_| !survey.is_result) {
            bail!(
                "{}, line {line}: {why}. Whoever is meant would not be left out: mend that line or take it out. Nothing was sent",
                visible(&path)
            );
        }
        let numbers: HashSet<Number> = numbers.into_iter().collect();
        let yielded = format!("{} numbers in {}", numbers.len(), phones(&survey));
        self.suppression_lists.push((survey.name, yielded));
        for number in numbers {
            let list = || Arc::clone(&path);
            self.excluded.entry(number).or_insert_with(list);
        }
        Ok(())
    }

    /// Is there a ledger?
    ///
    /// # Errors
    /// When it cannot be the one that is meant.
    pub fn find_ledger(&self, config: &Config) -> anyhow::Result<bool> {
        let ledger = &config.ledger;
        let there = Store::exists(ledger)?;
        let name = visible(&self.campaign.name);
        ensure!(
            there || self.named_by != NamedBy::Rows,
            "the file belongs to campaign {name}, and there is no ledger {ledger}: its numbers were tried with another one. Name that with --ledger. To send to all of them as a new campaign, name one with --campaign. Nothing was sent"
        );
        if !there {
            self.ensure_not_beside(config)?;
        }
        Ok(there)
    }

    /// A ledger of the default name beside the list may be the one that is meant.
    fn ensure_not_beside(&self, config: &Config) -> anyhow::Result<()> {
        let ledger = &config.ledger;
        let Some(ledger) = ledger.file().filter(|_| !config.ledger_is_named) else {
            return Ok(());
        };
        let real = |path: &Path| path.canonicalize().ok();
        let stdin = Path::new("/proc/self/fd/0");
        let given = match config.input.as_path() {
            path if path == Path::new("-") => stdin,
            path => path,
        };
        let lists = [Some(given.to_owned()), real(given)].into_iter().flatten();
        let beside = lists.filter_map(|list| Some(list.parent()?.join(ledger.file_name()?)));
        let is_another = |beside: &PathBuf| beside.is_file() && real(beside) != real(ledger);
        if let Some(beside) = beside.into_iter().find(is_another) {
            bail!(
                "there is a ledger beside the list: {}. Has campaign {} been sent with that one? To go on with it: --ledger {}. To begin in this folder: --ledger {}. Nothing was sent",
                beside.display(),
                visible(&self.campaign.name),
                shell_word(&beside.to_string_lossy()),
                shell_word(&ledger.to_string_lossy())
            );
        }
        Ok(())
    }

    /// Looks whether the ledger is the one that is meant, and the file read as before.
    ///
    /// # Errors
    /// When it does not seem so.
    pub fn ensure_fits(&self, config: &Config, memory: &Memory) -> anyhow::Result<()> {
        let key = &self.campaign;
        let mut purged = memory.purged.iter();
        if let Some(purged) = purged.find(|purged| purged.campaign.is(key)) {
            bail!(
                "campaign {} was purged at {}: whom it sent to is not known any more, so \"never twice\" cannot be kept in it. To begin a new one: --campaign with another name; everybody in the file is new to it, and no cool-down counts what was purged. Nothing was sent",
                visible(&key.name),
                purged.at
            );
        }
        if let Some((_, run)) = memory.of_campaign(key) {
            let run = run.as_ref().filter(|_| self.survey.read_anew > 0);
            return run.map_or(Ok(()), |run| self.ensure_read_alike(config, &run.settings));
        }
        // What was sent to can come from another command's file; what to send to cannot.
        let is_it = |(one, _): &(CampaignRecord, _)| {
            (&one.name, one.sandbox) == (&key.name, key.sandbox)
                && (config.operation == Operation::Verify || one.operation == Operation::Send)
        };
        ensure!(
            self.named_by != NamedBy::Rows || memory.campaigns.iter().any(is_it),
            "the file belongs to campaign {0}, which the ledger {1} does not know: its numbers were tried with another ledger. Name that with --ledger. To send to all of them as a new campaign, name one with --campaign. Nothing was sent",
            visible(&key.name),
            config.ledger
        );
        self.ensure_not_beside(config)
    }

    /// A campaign that goes on without the flags that said how its list is read would take its
    /// numbers for others.
    fn ensure_read_alike(&self, config: &Config, before: &Json) -> anyhow::Result<()> {
        let columns = &self.survey.columns_named;
        for (flag, key, is_given) in [
            ("region", "region", config.read.region_is_given),
            (
                "phone-column",
                PHONE_COLUMN,
                config.read.phone_column.is_some(),
            ),
            (
                "country-code-column",
                COUNTRY_CODE_COLUMN,
                config.read.country_code_column.is_some(),
            ),
        ] {
            let now = &self.settings[key];
            let Some(was) = before[key].as_str().filter(|was| now != was && !is_given) else {
                continue;
            };
            ensure!(
                flag != "region" && was != NONE && columns.iter().all(|name| name != was),
                "campaign {0} was read with --{flag} {was:?}, and now it would be {1}: say which with --{flag}. Nothing was sent",
                visible(&self.campaign.name),
                now.as_str()
                    .map_or(NONE.to_owned(), |now| format!("{now:?}"))
            );
        }
        Ok(())
    }
}

/// Where the settings of a run keep the columns that were found.
const PHONE_COLUMN: &str = "phone_column";
const COUNTRY_CODE_COLUMN: &str = "country_code_column";

/// What a column is called that is left aside.
const NONE: &str = "none";

/// Is this what `verify` wrote, to be sent to?
fn is_of_codes(survey: &Survey, operation: Operation) -> bool {
    operation == Operation::Send && survey.written_by == Some(Operation::Verify)
}

/// The name of a file without its ending; only a regular file has a name of its own.
fn stem(input: &Path) -> anyhow::Result<String> {
    // `/dev/stdin` may lead to a file, but is not its name.
    let is_named = !["/dev", "/proc"]
        .iter()
        .any(|system| input.starts_with(system));
    let is_file = input != Path::new("-") && is_named && input.is_file();
    let stem = input.file_stem().filter(|_| is_file);
    stem.map(|stem| stem.to_string_lossy().into_owned()).context(
        "the input has no name of its own: name the campaign with --campaign, the same each time for the same list, for that is what \"never twice\" refers to. Nothing was sent",
    )
}

/// What the ledger remembers before a run: so that one sees at once when it is not the one that is
/// meant.
pub struct Memory {
    /// All campaigns, each with its latest run.
    campaigns: Vec<(CampaignRecord, Option<RunRecord>)>,
    purged: Vec<Purged>,
}

impl Memory {
    /// Reads it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(ledger: &Store) -> anyhow::Result<Self> {
        let mut campaigns = Vec::new();
        for campaign in ledger.campaigns()? {
            let run = ledger.latest_run(campaign.record.id)?;
            campaigns.push((campaign.record, run));
        }
        let purged = ledger.purged()?;
        Ok(Self { campaigns, purged })
    }

    /// The names of all campaigns.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.campaigns.iter().map(|(record, _)| &*record.name)
    }

    fn of_campaign(&self, key: &CampaignKey) -> Option<&(CampaignRecord, Option<RunRecord>)> {
        self.campaigns.iter().find(|(record, _)| record.is(key))
    }

    /// How many campaigns it knows.
    pub fn campaigns(&self) -> u64 {
        self.campaigns.len() as u64
    }

    /// When the latest run of all began.
    pub fn last_run(&self) -> Option<UnixMicros> {
        let runs = self.campaigns.iter().filter_map(|(_, run)| run.as_ref());
        runs.map(|run| run.started_at).max()
    }

    /// When the latest run of this campaign began; `None`: it is new.
    pub fn last_run_of(&self, key: &CampaignKey) -> Option<UnixMicros> {
        let (_, run) = self.of_campaign(key)?;
        run.as_ref().map(|run| run.started_at)
    }
}

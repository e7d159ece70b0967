//! A plan for programs: what `check --json` prints. The types are the format.

use serde::Serialize;

use super::cost::Cost;
use super::{Briefing, table};
use crate::cli::config::Mode;
use crate::cli::forecast::{Pace, Wait};
use crate::contacts::remedy;
use crate::job::Lane;
use crate::report::json::StatusCounts;
use crate::summary::Counts;

/// Names this format; a change that breaks readers gets another number.
const SCHEMA: &str = "otpdrive.plan/1";

/// What a run would do, told before it begins. Times are RFC 3339 in UTC; numbers in names and texts
/// are masked.
#[derive(Debug, Serialize)]
struct Document<'a> {
    schema: &'static str,
    /// `send` or `verify`: what the file was taken for.
    operation: &'static str,
    /// A rehearsal: nothing leaves this machine.
    sandbox: bool,
    file: File<'a>,
    /// Rows with a number, or a code, of their own.
    usable: u64,
    /// All rows by what is known of them now; they add up to the rows of the file.
    counts: StatusCounts,
    /// Rows that are `invalid`, by reason, the most frequent first.
    unusable: Vec<Rows<'a>>,
    /// Numbers that are left out on purpose, by why.
    left_out: Vec<LeftOut<'a>>,
    /// Numbers that were tried before and that the file has no more.
    earlier: StatusCounts,
    /// Numbers that are taken as mobiles against the numbering plan's data.
    assumed_mobile: u64,
    campaign: Known<'a>,
    ledger: Ledger,
    /// How requests travel.
    way: Way<'a>,
    /// Numbers for which a request is due.
    due: PerLane,
    /// The first of these: as many as the run starts (`--limit`). Retries come on top.
    to_start: PerLane,
    /// How many of those were tried before.
    tried_before: u64,
    time: Time<'a>,
    /// Null without `--price`.
    cost: Option<Money>,
    /// What one should know before it begins, in words.
    notes: Vec<String>,
    /// The folder of the result files.
    results: String,
}

/// How the file is read.
#[derive(Debug, Serialize)]
struct File<'a> {
    /// Without its folder, or `stdin`.
    name: &'a str,
    /// SHA-256 of its bytes, in hexadecimal.
    sha256: &'a str,
    rows: u64,
    /// In words, such as `gzip, UTF-8, commas`.
    format: &'a str,
    header_line: u64,
    phone_column: &'a str,
    country_code_column: Option<&'a str>,
    otp_column: Option<&'a str>,
    channel_column: Option<&'a str>,
    /// The country of national numbers, ISO 3166.
    region: String,
}

/// Rows that cannot be used for one reason.
#[derive(Debug, Serialize)]
struct Rows<'a> {
    reason: &'a str,
    count: u64,
    /// What to do about it; null where the reason says so itself.
    remedy: Option<&'static str>,
    /// The first lines, at most five.
    lines: &'a [u64],
}

/// Numbers that are left out on purpose.
#[derive(Debug, Serialize)]
struct LeftOut<'a> {
    /// `cooldown`: another campaign has just sent to them, or may have; `exclude`: they stand in a
    /// suppression list; `max_age`: codes of OTPs that are too old.
    because: &'static str,
    /// The campaign, or the list.
    name: &'a str,
    count: u64,
    /// When that campaign sent to the latest of them; null for a list.
    last_sent_at: Option<String>,
}

/// A campaign.
#[derive(Debug, Serialize)]
struct Known<'a> {
    name: &'a str,
    /// Null: it is new.
    last_run_at: Option<String>,
}

/// A ledger.
#[derive(Debug, Serialize)]
struct Ledger {
    /// Its whole path.
    path: String,
    /// How many campaigns it knows.
    campaigns: u64,
    /// Null: it is new.
    last_run_at: Option<String>,
}

/// How requests travel.
#[derive(Debug, Serialize)]
struct Way<'a> {
    /// `sandbox` for a rehearsal.
    endpoint: &'a str,
    /// Null: not set.
    sender_id: Option<&'a str>,
    /// `call` or `sms`; null: none.
    fallback: Option<&'static str>,
    /// Is a proxy used?
    proxy: bool,
}

/// How many requests on each lane.
#[derive(Debug, Serialize)]
struct PerLane {
    sms: u64,
    call: u64,
    verify: u64,
}

/// How long it takes if every request works at once.
#[derive(Debug, Serialize)]
struct Time<'a> {
    planned_at: String,
    /// When the first request may leave, hours aside.
    starts_at: String,
    /// When the last request leaves.
    ends_at: String,
    /// From now to then.
    seconds: f64,
    /// The setting that decides how fast requests leave: `rate`, `call-rate`, `concurrency`,
    /// `call-concurrency`; null: how fast they are answered, which is not known.
    bound_by: Option<&'static str>,
    /// What waits for its hours or another day, the first time on each lane.
    waits: Vec<Waits<'a>>,
    /// OTPs of other runs on the day on which this one begins, as far as a cap counts them.
    left_today: PerLane,
    /// Numbers that stay `pending` because of `--deadline` or `--max-duration`.
    late: u64,
}

/// Requests of a lane that wait.
#[derive(Debug, Serialize)]
struct Waits<'a> {
    lane: &'static str,
    count: u64,
    until: String,
    /// The flag that says so.
    because: &'a str,
}

/// What it costs at most when nothing that is `unknown` is tried again.
#[derive(Debug, Serialize)]
struct Money {
    /// Null: `--price` has none for a channel that is used.
    at_most: Option<f64>,
    /// What earlier runs of the campaign have cost; null like `at_most`.
    spent: Option<f64>,
    /// Null: no budget.
    budget: Option<f64>,
    /// Will the budget stop the run?
    passes_budget: bool,
}

/// The plan as one JSON object.
///
/// # Errors
/// When serde fails, which it does not.
pub fn json(briefing: &Briefing<'_>) -> serde_json::Result<String> {
    serde_json::to_string_pretty(&Document::of(briefing))
}

impl<'a> Document<'a> {
    fn of(briefing: &'a Briefing<'a>) -> Self {
        let (config, plan, memory) = (briefing.config, briefing.plan, briefing.memory);
        let name = &briefing.campaign.name;
        Self {
            schema: SCHEMA,
            operation: config.operation.name(),
            sandbox: config.mode == Mode::Rehearsal,
            file: File::of(briefing),
            usable: plan.usable(),
            counts: StatusCounts::new(&Counts::from(plan.counts)),
            unusable: reasons(briefing),
            left_out: left_out(briefing),
            earlier: StatusCounts::new(&plan.earlier),
            assumed_mobile: plan.assumed_mobile,
            campaign: Known {
                name,
                last_run_at: memory
                    .last_run_of(briefing.campaign)
                    .map(|at| at.to_string()),
            },
            ledger: Ledger {
                path: match config.ledger.file() {
                    Some(file) => absolute(file),
                    None => config.ledger.to_string(),
                },
                campaigns: memory.campaigns(),
                last_run_at: memory.last_run().map(|at| at.to_string()),
            },
            way: Way {
                endpoint: config.settings["endpoint"].as_str().unwrap_or_default(),
                sender_id: Some(&*config.gateway.sender_id).filter(|id| !id.is_empty()),
                fallback: config.engine.policy.fallback.map(crate::job::Channel::name),
                proxy: config.gateway.proxy.is_some(),
            },
            due: PerLane::of(plan.due),
            to_start: PerLane::of(plan.started),
            tried_before: plan.again,
            time: Time::of(briefing),
            cost: Cost::of(plan, &config.engine).as_ref().map(Money::of),
            notes: table::notes_in_words(briefing),
            results: absolute(briefing.out),
        }
    }
}

fn absolute(path: &std::path::Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.to_string_lossy().into_owned()
}

impl<'a> File<'a> {
    fn of(briefing: &'a Briefing<'a>) -> Self {
        let survey = briefing.survey;
        Self {
            name: &survey.name,
            sha256: &survey.sha256,
            rows: survey.rows,
            format: &survey.format,
            header_line: survey.header_line,
            phone_column: &survey.phone_column,
            country_code_column: survey.country_code_column.as_deref(),
            otp_column: survey.otp_column.as_deref(),
            channel_column: survey.channel_column.as_deref(),
            region: briefing.config.read.region.to_string(),
        }
    }
}

fn reasons<'a>(briefing: &'a Briefing<'_>) -> Vec<Rows<'a>> {
    let reasons = briefing.plan.reasons().into_iter();
    let reasons = reasons.map(|(reason, of)| Rows {
        reason,
        count: of.count,
        remedy: remedy(reason),
        lines: &of.lines,
    });
    reasons.collect()
}

fn left_out<'a>(briefing: &'a Briefing<'_>) -> Vec<LeftOut<'a>> {
    let recent = briefing.plan.recent.iter().map(|(name, recent)| LeftOut {
        because: "cooldown",
        name,
        count: recent.count,
        last_sent_at: Some(recent.latest.to_string()),
    });
    let excluded = briefing.plan.excluded.iter().map(|(name, count)| LeftOut {
        because: "exclude",
        name,
        count: *count,
        last_sent_at: None,
    });
    let too_old = Some(briefing.plan.too_old).filter(|count| *count > 0);
    let too_old = too_old.map(|count| LeftOut {
        because: "max_age",
        name: "",
        count,
        last_sent_at: None,
    });
    recent.chain(excluded).chain(too_old).collect()
}

impl PerLane {
    fn of([sms, call, verify]: [u64; Lane::ALL.len()]) -> Self {
        Self { sms, call, verify }
    }
}

impl<'a> Time<'a> {
    fn of(briefing: &'a Briefing<'_>) -> Self {
        let forecast = briefing.forecast;
        let waits = forecast.waits.iter().map(|wait| {
            let Wait {
                lane,
                left,
                until,
                flag,
            } = wait;
            Waits {
                lane: lane.name(),
                count: *left,
                until: until.to_string(),
                because: flag,
            }
        });
        Self {
            planned_at: briefing.now.to_string(),
            starts_at: forecast.starts.to_string(),
            ends_at: forecast.ends.to_string(),
            seconds: forecast.ends.since(briefing.now).as_secs_f64(),
            bound_by: forecast.pace.map(Pace::flag),
            waits: waits.collect(),
            left_today: PerLane::of(briefing.known.left),
            late: forecast.late,
        }
    }
}

impl Money {
    fn of(cost: &Cost) -> Self {
        match cost {
            Cost::Unknown(_) => Self {
                at_most: None,
                spent: None,
                budget: None,
                passes_budget: false,
            },
            Cost::Known(bill) => Self {
                at_most: Some(bill.most.to_f64()),
                spent: Some(bill.spent.to_f64()),
                budget: bill.budget.map(crate::money::Amount::to_f64),
                passes_budget: bill.passes_budget(),
            },
        }
    }
}

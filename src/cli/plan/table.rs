//! A plan for people: a table that one can decide by.

use std::fmt::Write as _;
use std::path::Path;

use super::cost::Cost;
use super::lines::{GLUE, Table, glued, path, whole};
use super::time::{requests, time};
use super::{Briefing, Plan};
use crate::calendar::Bounds;
use crate::campaign::LogNumbers;
use crate::cli::config::Mode;
use crate::contacts::{Purpose, Survey, remedy};
use crate::figures::{count, counted, in_words};
use crate::job::{Lane, Operation, UnixMicros};
use crate::number::mask_digits;
use crate::status::Status;
use crate::summary::Counts;
use crate::text::{shell_word, visible};

/// The plan, line by line, in so many columns at most.
#[must_use]
pub fn table(briefing: &Briefing<'_>, most: usize) -> String {
    let mut table = Table::new(most);
    table.line("", "  ", &title(briefing));
    about_the_file(briefing, &mut table);
    about_the_rows(briefing.plan, &briefing.config.input, &mut table);
    table.row("way", &way(briefing));
    about_the_ledger(briefing, &mut table);
    for note in notes(briefing) {
        table.line("  ! ", "    ", &note);
    }
    about_the_work(briefing, &mut table);
    table.row("results", &path(briefing.out));
    table.into_text()
}

/// A column, by its name.
pub fn column(name: &str) -> String {
    format!("column {:?}", visible(name))
}

/// Where a file has its numbers.
pub fn phones(survey: &Survey) -> String {
    let phones = column(&survey.phone_column);
    match &survey.country_code_column {
        None => phones,
        Some(code) => format!("{phones}, country code in {}", column(code)),
    }
}

fn title(briefing: &Briefing<'_>) -> String {
    let of = briefing.config.operation;
    let what = match (briefing.config.mode, of) {
        (Mode::Rehearsal, _) => "a rehearsal, nothing leaves this machine",
        (Mode::Real, Operation::Send) => "REAL, every request can cost money",
        (Mode::Real, Operation::Verify) => "REAL, each wrong code uses up one of its owner's tries",
    };
    format!("{} {}: {what}", of.name(), whole(&briefing.survey.name))
}

/// How the file is read, for somebody who knows what is in it to see whether that is right.
fn about_the_file(briefing: &Briefing<'_>, table: &mut Table) {
    let survey = briefing.survey;
    let rows = counted(survey.rows, "row", "rows");
    let (format, header) = (glued(&survey.format), survey.header_line);
    table.row(
        "file",
        &format!("{rows}; {format}; header on line {header}"),
    );
    let shown = survey.first_numbers.iter();
    let shown: Vec<String> = shown
        .map(|(cell, number)| whole(&format!("{cell} -> {number}")))
        .collect();
    let colon = if shown.is_empty() { "" } else { ": " };
    let (phones, region) = (phones(survey), briefing.config.read.region);
    let shown = shown.join(", ");
    table.row(
        "phones",
        &format!("{}, read as {region}{colon}{shown}", glued(&phones)),
    );
    if let Some(codes) = &survey.otp_column {
        let taken = match briefing.purpose {
            Some(Purpose::Verify { .. }) => {
                "; so it is taken for codes to verify, and --otp-column none plans a send"
            }
            _ => "",
        };
        table.row("codes", &format!("{}{taken}", glued(&column(codes))));
    }
    if let Some(channels) = &survey.channel_column {
        table.row("channels", &glued(&column(channels)));
    }
    for (list, yielded) in briefing.suppression_lists {
        table.row("exclude", &format!("{}: {}", whole(list), glued(yielded)));
    }
}

fn about_the_rows(plan: &Plan, input: &Path, table: &mut Table) {
    table.row("usable", &count(plan.usable()));
    let invalid = plan.count(Status::Invalid);
    if invalid > 0 {
        let input = input.to_string_lossy();
        let all = format!(
            "otpdrive{GLUE}check{GLUE}{}{GLUE}--problems{GLUE}bad.csv",
            whole(&shell_word(&input))
        );
        table.row(
            "unusable",
            &format!("{} (all of them: {all})", count(invalid)),
        );
        for (why, of) in plan.reasons() {
            let remedy = remedy(why).map(|remedy| format!("; {remedy}"));
            let mut lines: Vec<String> = of.lines.iter().map(u64::to_string).collect();
            if of.count > lines.len() as u64 {
                lines.push("...".to_owned());
            }
            table.item(&format!(
                "{} {}{}; {} {}",
                count(of.count),
                visible(why),
                remedy.unwrap_or_default(),
                if of.count == 1 { "line" } else { "lines" },
                lines.join(", ")
            ));
        }
    }
    let duplicate = plan.count(Status::Duplicate);
    if duplicate > 0 {
        let text = format!("{} further down with the same number", count(duplicate));
        table.row("duplicate", &text);
    }
    let by_now = statuses(&Counts::from(plan.counts), is_told);
    if !by_now.is_empty() {
        table.row("by now", &by_now);
    }
    if plan.earlier.total() > 0 {
        let numbers = counted(plan.earlier.total(), "number that was", "numbers that were");
        let counts = statuses(&plan.earlier, |_| true);
        let text = format!("{numbers} tried and that the file has no more: {counts}");
        table.row("earlier", &text);
    }
}

/// `sent 4,000, failed 2`
fn statuses(counts: &Counts, is_told: fn(Status) -> bool) -> String {
    let told: Vec<String> = counts
        .iter()
        .filter(|(status, n)| *n > 0 && is_told(*status))
        .map(|(status, n)| format!("{} {}", status.name(), count(n)))
        .collect();
    told.join(", ")
}

/// Was the row worked on, or left out?
fn is_told(status: Status) -> bool {
    !matches!(
        status,
        Status::Pending | Status::Invalid | Status::Duplicate
    )
}

/// How it travels: by which requests, from whom, to where.
fn way(briefing: &Briefing<'_>) -> String {
    let (config, engine) = (briefing.config, &briefing.config.engine);
    let fallback = engine.policy.fallback.map(Lane::from);
    let lanes = briefing.plan.lanes();
    let used = |lane: &Lane| lanes.contains(lane) || fallback == Some(*lane);
    let words = Lane::ALL.into_iter().filter(used).map(|lane| {
        let name = lane.name();
        let id = match lane {
            Lane::Sms => config.gateway.sender_id.clone(),
            Lane::Call if engine.log_numbers == LogNumbers::Masked => {
                mask_digits(&config.gateway.caller_id)
            }
            Lane::Call => config.gateway.caller_id.clone(),
            Lane::Verify => return name.to_owned(),
        };
        let then = if lanes.contains(&lane) { "" } else { "then " };
        match (config.mode, id.is_empty()) {
            (Mode::Rehearsal, _) => format!("{then}{name}"),
            (Mode::Real, true) => format!("{then}{name}, from nobody yet"),
            (Mode::Real, false) => format!("{then}{name} from {}", whole(&id)),
        }
    });
    let mut way: Vec<String> = words.collect();
    let endpoint = config.settings["endpoint"].as_str().unwrap_or_default();
    way.push(match config.mode {
        Mode::Rehearsal => "the sandbox in this process".to_owned(),
        Mode::Real => whole(endpoint),
    });
    if config.gateway.proxy.is_some() {
        way.push("through --proxy".to_owned());
    }
    way.join("; ")
}

/// The campaign, new or going on; the ledger by its whole path with what it remembers: so that one
/// sees at once when it is not the one that is meant.
fn about_the_ledger(briefing: &Briefing<'_>, table: &mut Table) {
    let (memory, key) = (briefing.memory, briefing.campaign);
    let ago = |at: UnixMicros| in_words(briefing.now.since(at));
    let campaign = match memory.last_run_of(key) {
        None => "new".to_owned(),
        Some(at) => format!("going on, last run {} ago", ago(at)),
    };
    table.row("campaign", &format!("{} ({campaign})", whole(&key.name)));
    let ledger = match (memory.campaigns(), memory.last_run()) {
        (0, _) | (_, None) => "new".to_owned(),
        (n, Some(at)) => {
            let campaigns = counted(n, "campaign", "campaigns");
            format!("{campaigns}, last run {} ago", ago(at))
        }
    };
    let at = &briefing.config.ledger;
    let shown = at.file().map_or_else(|| whole(&at.to_string()), path);
    table.row("ledger", &format!("{shown} ({ledger})"));
}

/// What one should know before it begins.
fn notes(briefing: &Briefing<'_>) -> Vec<String> {
    let (survey, plan) = (briefing.survey, briefing.plan);
    let mut notes: Vec<String> = survey
        .notes
        .iter()
        .map(|note| glued(&note.to_string()))
        .collect();
    if let Some(Purpose::Send { aside: Some(name) }) = briefing.purpose {
        let name = glued(&column(name));
        notes.push(format!(
            "the {name} is not taken for codes to verify, for most of its cells are none; --otp-column NAME plans that"
        ));
    }
    for (campaign, recent) in &plan.recent {
        let word = whole(&shell_word(campaign));
        notes.push(format!(
            "{} left out: campaign {} sent to them, or may have, the last time {} ago; to go on with that one: --campaign{GLUE}{word}; to send all the same: --cooldown{GLUE}0s",
            counted(recent.count, "of these numbers is", "of these numbers are"),
            whole(campaign),
            in_words(briefing.now.since(recent.latest)),
        ));
    }
    for (list, count) in &plan.excluded {
        let are = counted(*count, "of these numbers is", "of these numbers are");
        notes.push(format!("{are} left out: they stand in {}", whole(list)));
    }
    if plan.too_old > 0 {
        let are = counted(plan.too_old, "of these codes is", "of these codes are");
        notes.push(format!(
            "{are} not asked: the latest OTP to its number is older than --max-age"
        ));
    }
    if plan.assumed_mobile > 0 {
        notes.push(format!(
            "{} taken as mobiles (6-9) although the numbering plan does not list them so",
            counted(plan.assumed_mobile, "number is", "numbers are")
        ));
    }
    let unbound = briefing.config.engine.limits.calendar.calls == Bounds::default();
    if plan.started[Lane::Call.index()] > 0 && unbound {
        notes.push(format!(
            "many accounts may call 50 times a day and not from 21:00 to 09:00 IST, and only after asking the provider: --call-daily-cap{GLUE}50 --call-window{GLUE}09:00-21:00"
        ));
    }
    notes
}

/// The same as they are read.
pub fn notes_in_words(briefing: &Briefing<'_>) -> Vec<String> {
    let notes = notes(briefing).into_iter();
    notes.map(|note| note.replace(GLUE, " ")).collect()
}

fn about_the_work(briefing: &Briefing<'_>, table: &mut Table) {
    let (plan, engine) = (briefing.plan, &briefing.config.engine);
    table.row("to do", &to_do(plan));
    if plan.requests() > 0 {
        let (forecast, known) = (briefing.forecast, briefing.known);
        let (first, others) = time(engine, forecast, known, briefing.now);
        table.row("time", &first);
        for line in others {
            table.item(&line);
        }
    }
    if let Some(cost) = Cost::of(plan, engine) {
        table.row("cost", &cost.in_words());
    }
}

/// `4,000 sms and 12 calls`
pub fn all_requests(started: [u64; Lane::ALL.len()]) -> String {
    let lanes = Lane::ALL.into_iter().zip(started);
    let parts: Vec<String> = lanes
        .filter(|(_, count)| *count > 0)
        .map(|(lane, count)| requests(lane, count))
        .collect();
    parts.join(" and ")
}

fn to_do(plan: &Plan) -> String {
    let (started, due) = (plan.requests(), plan.due.iter().sum::<u64>());
    if due == 0 {
        return "nothing: all numbers are settled, held or left out".to_owned();
    }
    let mut text = all_requests(plan.started);
    if plan.started[Lane::Verify.index()] == 0 {
        // Writing to a String cannot fail.
        let _ = write!(text, " to {}", counted(started, "number", "numbers"));
    }
    let again = match plan.again {
        0 => "none".to_owned(),
        again => format!("{} of them", count(again)),
    };
    let _ = write!(text, ", {again} tried before, and retries");
    if started < due {
        let _ = write!(text, "; the first of {} due (--limit)", count(due));
    }
    text
}

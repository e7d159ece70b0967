//! Hours, days, money, and what binds calls besides: limits that could not all be kept are refused.

use std::num::NonZeroUsize;

use anyhow::{Context as _, anyhow, bail, ensure};

use super::values::{self, Values};
use crate::calendar::{self, Bounds, Calendar};
use crate::campaign::{Limits, Settings};
use crate::clock::Clock;
use crate::job::{Lane, UnixMicros};
use crate::money::{Amount, Prices};
use crate::pace::Rate;

/// Hours, caps, money, and what binds calls besides.
pub fn limits(
    values: &Values,
    concurrency: NonZeroUsize,
    rate: Option<Rate>,
) -> anyhow::Result<Limits> {
    let calendar = calendar(values)?;
    let (start_at, deadline) = times(values, &calendar)?;
    let call_rate = values.optional("call-rate", values::rate)?.flatten();
    if let Some((calls, all)) = call_rate.zip(rate) {
        ensure!(
            calls.per_second() <= all.per_second(),
            "--call-rate is above --rate, which calls pay, too: lower it, or raise --rate"
        );
    }
    let call_concurrency = values.optional("call-concurrency", values::number)?;
    ensure!(
        call_concurrency.is_none_or(|calls| calls <= concurrency),
        "--call-concurrency is above --concurrency, where calls count, too: lower it, or raise --concurrency"
    );
    let prices = values.optional("price", str::parse)?;
    let budget: Option<Amount> = values.optional("budget", str::parse)?;
    if let Some(budget) = budget {
        let prices: Prices = prices
            .context("--budget needs --price: say what one OTP costs, as in --price sms=0.25")?;
        ensure!(
            prices.least().is_none_or(|least| least <= budget),
            "--budget {budget} is less than one OTP costs by --price: raise it"
        );
    }
    Ok(Limits {
        calendar,
        call_rate,
        call_concurrency,
        start_at,
        deadline,
        prices: prices.unwrap_or_default(),
        budget,
    })
}

/// Hours and days.
fn calendar(values: &Values) -> anyhow::Result<Calendar> {
    let bounds = |window, daily_cap| {
        anyhow::Ok(Bounds {
            window: values.optional(window, str::parse)?,
            daily_cap: values.optional(daily_cap, values::number)?,
        })
    };
    let calendar = Calendar {
        zone: values.required("timezone", calendar::zone)?,
        all: bounds("window", "daily-cap")?,
        calls: bounds("call-window", "call-daily-cap")?,
    };
    let (all, calls) = (calendar.all, calendar.calls);
    ensure!(
        all.window
            .zip(calls.window)
            .is_none_or(|(all, calls)| all.overlaps(calls)),
        "--call-window and --window have no minute in common, and calls keep both: no call could ever be made. Change one of them"
    );
    ensure!(
        all.daily_cap
            .zip(calls.daily_cap)
            .is_none_or(|(all, calls)| calls <= all),
        "--call-daily-cap is above --daily-cap, where calls count, too: lower it, or raise --daily-cap"
    );
    Ok(calendar)
}

/// When to start, and when to start nothing any more.
fn times(
    values: &Values,
    calendar: &Calendar,
) -> anyhow::Result<(Option<UnixMicros>, Option<UnixMicros>)> {
    let now = Clock::start().now();
    let time = |name, after| {
        let text = values.optional(name, |text| anyhow::Ok(text.to_owned()))?;
        let time = text.map(|text| calendar.time(&text, after));
        let time = time.transpose();
        time.map_err(|wanted| anyhow!("--{name}: {wanted}"))
    };
    let start_at = time("start-at", now)?;
    let from = start_at.unwrap_or(now).max(now);
    let deadline = time("deadline", from)?;
    if let Some(deadline) = deadline {
        let shown = calendar.shown(deadline, now);
        ensure!(
            deadline > now,
            "--deadline has passed ({shown}): name a later time"
        );
        ensure!(
            deadline > from,
            "--deadline ({shown}) is not after --start-at: name a later time, or start before it"
        );
    }
    Ok((start_at, deadline))
}

/// Is there a moment at which a number may be started on these lanes?
///
/// # Errors
/// When hours begin after the run is over: says which settings contradict each other.
pub fn hours_for(lanes: &[Lane], engine: &Settings) -> anyhow::Result<()> {
    let Limits {
        calendar,
        start_at,
        deadline,
        ..
    } = &engine.limits;
    let now = Clock::start().now();
    let from = start_at.unwrap_or(now).max(now);
    for lane in lanes {
        let opens = calendar.opens(*lane, from);
        let shown = calendar.shown(opens, now);
        let begins = match lane {
            Lane::Call => format!("--window and --call-window let calls begin at {shown}"),
            Lane::Sms | Lane::Verify => format!("--window opens at {shown}"),
        };
        if let Some(deadline) = deadline.filter(|deadline| *deadline <= opens) {
            let shown = calendar.shown(deadline, now);
            bail!("{begins}, and nothing may start after --deadline ({shown}): change one of them");
        }
        ensure!(
            engine
                .max_duration
                .is_none_or(|most| opens.since(from) < most),
            "{begins}, and nothing may start when --max-duration is over: change one of them"
        );
    }
    Ok(())
}

//! What a run costs at most, before its first request.

use std::fmt::Write as _;

use super::Plan;
use crate::campaign::{Limits, Settings};
use crate::figures::{count, decimal};
use crate::job::Lane;
use crate::money::Amount;

/// What a run costs.
#[derive(Debug, PartialEq, Eq)]
pub enum Cost {
    /// It cannot be told: there is no price for this lane.
    Unknown(Lane),
    /// It can.
    Known(Bill),
}

/// What a run costs at most when nothing that is unknown is tried again, and what there is.
#[derive(Debug, PartialEq, Eq)]
pub struct Bill {
    /// All of it.
    pub most: Amount,
    /// One number on each lane.
    pub each: Vec<Each>,
    /// What earlier runs of the campaign have cost.
    pub spent: Amount,
    /// What all runs together may cost.
    pub budget: Option<Amount>,
}

/// What one number costs.
#[derive(Debug, PartialEq, Eq)]
pub struct Each {
    /// On this lane; `None`: there is no price for it.
    first: (Lane, Option<Amount>),
    /// At most: one of two channels is billed, for the fallback follows what surely was not sent.
    most: (Lane, Amount),
}

impl Cost {
    /// That of a plan; `None` where no price was told.
    pub fn of(plan: &Plan, settings: &Settings) -> Option<Self> {
        let Limits { prices, budget, .. } = &settings.limits;
        prices.least()?;
        let fallback = settings.policy.fallback.map(Lane::from);
        let price_of = |lane| Some((prices.of(lane)?, lane));
        let (mut each, mut most) = (Vec::new(), Amount::default());
        let started = Lane::ALL.into_iter().zip(plan.started());
        for (lane, requests) in started.filter(|(_, requests)| *requests > 0) {
            let Some((price, dearer)) = price_of(lane).max(fallback.and_then(price_of)) else {
                return Some(Self::Unknown(lane));
            };
            most = most + price * requests;
            each.push(Each {
                first: (lane, prices.of(lane)),
                most: (dearer, price),
            });
        }
        Some(Self::Known(Bill {
            most,
            each,
            spent: prices.total(&plan.billed).unwrap_or_default(),
            budget: *budget,
        }))
    }

    /// In words.
    pub fn in_words(&self) -> String {
        match self {
            Self::Unknown(lane) => format!("not known: --price has none for {}", lane.name()),
            Self::Known(bill) => bill.in_words(),
        }
    }
}

impl Bill {
    /// Is the budget less than what it may come to?
    pub fn passes_budget(&self) -> bool {
        self.budget
            .is_some_and(|budget| self.spent + self.most > budget)
    }

    fn in_words(&self) -> String {
        let each: Vec<String> = self.each.iter().map(Each::in_words).collect();
        let mut cost = if each.is_empty() {
            "nothing".to_owned()
        } else {
            let (most, each) = (shown(self.most), each.join(", "));
            format!("at most {most} ({each}), and no retry of unknown ones")
        };
        // Writing to a String cannot fail.
        if self.spent > Amount::default() {
            let _ = write!(cost, "; {} spent before", shown(self.spent));
        }
        if let Some(budget) = self.budget {
            let _ = write!(cost, "; budget {}", shown(budget));
            if self.passes_budget() {
                let each = self.each.iter().map(|each| each.most.1).max();
                let enough = each.map_or(0, |each| budget.minus(self.spent).how_often(each));
                let enough = count(enough);
                let _ = write!(cost, ", which stops it (exit 3) after {enough} or more");
            }
        }
        cost
    }
}

impl Each {
    /// `sms 0.25 each, 1 where call follows`
    fn in_words(&self) -> String {
        let (lane, (dearer, most)) = (self.first.0.name(), &self.most);
        match self.first.1 {
            Some(price) if price < *most => {
                format!(
                    "{lane} {price} each, {most} where {} follows",
                    dearer.name()
                )
            }
            _ => format!("{} {most} each", dearer.name()),
        }
    }
}

/// `1,153.75`
fn shown(amount: Amount) -> String {
    decimal(&amount.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::tests::due;
    use super::*;

    #[track_caller]
    fn says(plan: &Plan, flags: &str, words: &[&str]) {
        let settings = crate::cli::tests::engine(&format!("otpdrive send list.csv {flags}"));
        let text = Cost::of(plan, &settings).map_or(String::new(), |cost| cost.in_words());
        for word in words {
            assert!(text.contains(word), "no {word:?} in: {text}");
        }
        assert_eq!(text.is_empty(), words.is_empty());
    }

    #[test]
    fn a_plan_says_what_it_costs_at_most() {
        let mut plan = due(4_615, 0);
        says(
            &plan,
            "--price sms=0.25",
            &["at most 1,153.75 (sms 0.25 each)"],
        );
        says(&plan, "--price call=1", &["--price has none for sms"]);
        plan.billed = [100, 0, 0];
        says(
            &plan,
            "--price sms=0.25 --budget 1000",
            &[
                "25 spent before",
                "budget 1,000, which stops it (exit 3) after 3,900 or more",
            ],
        );
        plan.started = [10, 0, 0];
        let fallback = "--fallback call --price sms=0.25,call=1.10";
        says(
            &plan,
            fallback,
            &["at most 11 (sms 0.25 each, 1.10 where call follows)"],
        );
        says(&plan, "-v", &[]);
    }
}

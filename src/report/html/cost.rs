//! What it cost.

use super::Source;
use crate::figures::{count, decimal};
use crate::job::Lane;
use crate::money::Prices;
use crate::status::Status;

/// What it cost.
pub struct Cost {
    pub prices: String,
    pub lines: Vec<[String; 4]>,
    pub total: String,
    pub more: Vec<(&'static str, String)>,
}

impl Source<'_> {
    fn prices(&self) -> Option<(&str, Prices)> {
        let run = self.input.run;
        Some((run.settings["price"].as_str()?, run.prices()?))
    }

    pub fn cost(&self) -> Option<Cost> {
        let (text, prices) = self.prices()?;
        let billed = Lane::ALL.map(|lane| {
            self.summary.billed()[lane.index()] + self.input.earlier.billed()[lane.index()]
        });
        let total = prices.total(&billed)?;
        let lines = Lane::ALL.into_iter().filter_map(|lane| {
            let (n, price) = (billed[lane.index()], prices.of(lane)?);
            let name = lane.name().to_owned();
            (n > 0).then(|| {
                [
                    name,
                    count(n),
                    money(price.to_f64()),
                    money((price * n).to_f64()),
                ]
            })
        });
        let counts = self.summary.counts();
        let mut more = Vec::new();
        for (name, status) in [
            ("per number sent", Status::Sent),
            ("per number verified", Status::Verified),
        ] {
            #[expect(clippy::cast_precision_loss, reason = "counts of rows")]
            let rows = counts[status] as f64;
            if rows > 0.0 {
                more.push((name, money(total.to_f64() / rows)));
            }
        }
        if let Some(budget) = self.input.run.settings["budget"].as_str() {
            more.push(("budget", budget_in_words(budget, total.to_f64())));
        }
        Some(Cost {
            prices: text.to_owned(),
            lines: lines.collect(),
            total: money(total.to_f64()),
            more,
        })
    }
}

/// `6,000.00; 70.2 % spent, 1,788.99 left`
fn budget_in_words(budget: &str, spent: f64) -> String {
    let Ok(amount) = budget.parse::<f64>() else {
        return budget.to_owned();
    };
    let share = 100.0 * spent / amount.max(1e-9);
    let left = money((amount - spent).max(0.0));
    format!("{}; {share:.1} % spent, {left} left", money(amount))
}

/// `4,197.69`
pub fn money(amount: f64) -> String {
    decimal(&format!("{amount:.2}"))
}

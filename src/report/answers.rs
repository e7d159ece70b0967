//! How long answers took, in columns on a logarithmic axis.

use hdrhistogram::Histogram;

/// Ten columns for each tenfold begin at these times a power of ten.
const EDGES: [f64; 10] = [1.0, 1.25, 1.6, 2.0, 2.5, 3.15, 4.0, 5.0, 6.3, 8.0];

/// The powers of ten, in milliseconds; what is faster or slower stands in the first or last column.
const POWERS: std::ops::Range<i32> = -3..7;

/// How many answers took how long: from, up to and without, both in milliseconds; without gaps from
/// the fastest to the slowest.
pub struct AnswerTimes {
    /// The columns.
    pub bins: Vec<(f64, f64, u64)>,
}

impl AnswerTimes {
    /// Of a histogram of microseconds.
    #[must_use]
    pub fn new(latencies: &Histogram<u64>) -> Self {
        let edges = POWERS.flat_map(|power| EDGES.map(|edge| micro(edge * 10_f64.powi(power))));
        let edges: Vec<f64> = edges.collect();
        let last = edges.len() - 2;
        let mut counts = vec![0; last + 1];
        for value in latencies.iter_recorded() {
            #[expect(clippy::cast_precision_loss, reason = "an hour at most")]
            let ms = value.value_iterated_to() as f64 / 1_000.0;
            let behind = edges.partition_point(|edge| *edge <= ms);
            counts[behind.saturating_sub(1).min(last)] += value.count_at_value();
        }
        let first = counts.iter().position(|count| *count > 0).unwrap_or(0);
        let end = counts.iter().rposition(|count| *count > 0);
        let places = first..end.map_or(first, |last| last + 1);
        let bins = places.map(|place| (edges[place], edges[place + 1], counts[place]));
        Self {
            bins: bins.collect(),
        }
    }

    /// How far along the axis a time in milliseconds is, 0 to 1.
    #[must_use]
    pub fn place(&self, ms: f64) -> f64 {
        let (Some(first), Some(last)) = (self.bins.first(), self.bins.last()) else {
            return 0.0;
        };
        let span = (last.1 / first.0).ln();
        ((ms / first.0).ln() / span).clamp(0.0, 1.0)
    }
}

/// To six decimals: `3.15` and not `3.1500000000000004`.
fn micro(ms: f64) -> f64 {
    (ms * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_in_one_column_and_none_is_left_out_between() {
        let mut latencies = Histogram::<u64>::new_with_bounds(1, 3_600_000_000, 3).unwrap();
        for micros in [1_000, 1_249, 1_250, 9_000, 3_600_000_000] {
            latencies.record(micros).unwrap();
        }
        let times = AnswerTimes::new(&latencies);
        assert_eq!(times.bins[0], (1.0, 1.25, 2));
        assert_eq!(times.bins[1], (1.25, 1.6, 1));
        assert_eq!(times.bins.iter().map(|bin| bin.2).sum::<u64>(), 5);
        let gapless = times
            .bins
            .windows(2)
            .all(|two| (two[0].1 - two[1].0).abs() < 1e-9);
        assert!(gapless);
        assert!(times.place(1.0).abs() < 1e-9 && times.place(1e9) > 0.99);
    }
}

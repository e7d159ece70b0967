//! How fast requests left: from the times at which they did, in one pass.

use std::collections::VecDeque;
use std::time::Duration;

use crate::job::UnixMicros;

/// What one look at the pace covers.
const WINDOW: Duration = Duration::from_secs(1);

/// The pace of a run, summed up from the times at which its requests left, earliest first.
///
/// It remembers the departures of one second, no more.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    departures: u64,
    first: Option<UnixMicros>,
    window: VecDeque<UnixMicros>,
    peak_1s: usize,
}

impl Pace {
    /// A request left, not before those that were added before it.
    pub fn add(&mut self, at: UnixMicros) {
        debug_assert!(self.window.back().is_none_or(|last| *last <= at));
        self.departures += 1;
        self.first.get_or_insert(at);
        self.window.push_back(at);
        while self.window.front().is_some_and(|t| at.since(*t) >= WINDOW) {
            self.window.pop_front();
        }
        self.peak_1s = self.peak_1s.max(self.window.len());
    }

    /// How many left.
    #[must_use]
    pub fn departures(&self) -> u64 {
        self.departures
    }

    /// When the latest left.
    #[must_use]
    pub fn last(&self) -> Option<UnixMicros> {
        self.window.back().copied()
    }

    /// How many left in the second that ends with the latest.
    #[must_use]
    pub fn in_this_second(&self) -> u64 {
        self.window.len() as u64
    }

    /// Requests per second from the first to the last: the intervals between the departures over the
    /// time that they took. Of less than a second that would say little: then it is how many there
    /// were. Zero when there are less than two.
    #[must_use]
    pub fn achieved_per_s(&self) -> f64 {
        let (Some(first), Some(last)) = (self.first, self.last()) else {
            return 0.0;
        };
        let took = last.since(first);
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 requests")]
        let departures = self.departures as f64;
        if self.departures < 2 {
            return 0.0;
        }
        if took < WINDOW {
            return departures;
        }
        (departures - 1.0) / took.as_secs_f64()
    }

    /// The most departures in any second, wherever it starts; a second includes its start and not
    /// its end.
    #[must_use]
    pub fn peak_1s(&self) -> u64 {
        self.peak_1s as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(micros: &[i64]) -> Pace {
        micros.iter().copied().map(UnixMicros).collect()
    }

    /// From each departure on, those less than a second later.
    fn peak_by_brute_force(micros: &[i64]) -> u64 {
        let from = |t: i64| {
            micros
                .iter()
                .filter(move |x| (t..t + 1_000_000).contains(*x))
        };
        micros.iter().map(|t| from(*t).count()).max().unwrap_or(0) as u64
    }

    impl FromIterator<UnixMicros> for Pace {
        fn from_iter<T: IntoIterator<Item = UnixMicros>>(departures: T) -> Self {
            let mut pace = Self::default();
            for at in departures {
                pace.add(at);
            }
            pace
        }
    }

    #[test]
    fn the_peak_is_the_one_found_by_brute_force() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let span = random.i64(1..20_000_000);
            let mut micros: Vec<_> = (0..random.usize(0..120))
                .map(|_| random.i64(0..span))
                .collect();
            micros.sort_unstable();
            assert_eq!(pace(&micros).peak_1s(), peak_by_brute_force(&micros));
        }
    }

    #[test]
    fn a_second_does_not_include_its_end() {
        assert_eq!(pace(&[0, 999_999]).peak_1s(), 2);
        assert_eq!(pace(&[0, 1_000_000]).peak_1s(), 1);
    }

    #[test]
    fn ten_requests_100_ms_apart_are_ten_a_second() {
        let micros: Vec<i64> = (0..10).map(|n| n * 100_000).collect();
        assert!((pace(&micros).achieved_per_s() - 10.0).abs() < 1e-9);
    }

    #[test]
    fn without_two_points_in_time_there_is_no_pace() {
        for micros in [&[][..], &[5]] {
            assert!(pace(micros).achieved_per_s().abs() < f64::EPSILON);
        }
        assert_eq!(pace(&[]).peak_1s(), 0);
        assert_eq!(pace(&[5, 5]).peak_1s(), 2);
        assert!((pace(&[5, 5, 900]).achieved_per_s() - 3.0).abs() < 1e-9);
    }

    #[test]
    fn it_remembers_no_more_than_a_second() {
        let micros: Vec<i64> = (0..10_000).map(|n| n * 100_000).collect();
        assert_eq!(pace(&micros).window.len(), 10);
    }
}

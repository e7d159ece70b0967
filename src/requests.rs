//! The account of requests by lane and verdict, and of how long their answers took: counts that only
//! grow, over all runs of a campaign, for whoever watches from outside.

use std::time::Duration;

use crate::job::{Attempt, Lane, VerdictKind};

/// Answers are told apart by these times, each the most of its group.
pub const BOUNDS_MS: [u64; 13] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 15_000, 30_000, 60_000,
];

/// How many requests left, by lane.
#[derive(Clone, Debug, Default)]
pub struct Requests([OfLane; Lane::ALL.len()]);

/// How many requests left on a lane, or may have.
#[derive(Clone, Debug, Default)]
pub struct OfLane {
    verdicts: [u64; VerdictKind::ALL.len()],
    /// Begun by a run that was killed before an answer was recorded.
    pub unrecorded: u64,
    /// How many answers took at most so long, and longer than the bound before; the last: longer
    /// than all bounds.
    pub answers: [u64; BOUNDS_MS.len() + 1],
    /// All of them together.
    pub took: Duration,
}

impl Requests {
    /// Takes a request into account whose answer will not change any more.
    pub fn add(&mut self, attempt: &Attempt) {
        if attempt.never_left() {
            return;
        }
        let of_lane = &mut self.0[attempt.lane.index()];
        match attempt.verdict() {
            None => of_lane.unrecorded += 1,
            Some(verdict) => of_lane.verdicts[verdict.kind as usize] += 1,
        }
        if let Some(latency) = attempt.latency() {
            let bound = |ms: &u64| latency <= Duration::from_millis(*ms);
            let group = BOUNDS_MS.iter().position(bound);
            of_lane.answers[group.unwrap_or(BOUNDS_MS.len())] += 1;
            of_lane.took += latency;
        }
    }

    /// Those of a lane.
    #[must_use]
    pub fn of(&self, lane: Lane) -> &OfLane {
        &self.0[lane.index()]
    }
}

impl OfLane {
    /// Every verdict that a request can come to which left, with how many did.
    pub fn verdicts(&self) -> impl Iterator<Item = (VerdictKind, u64)> {
        let all = VerdictKind::ALL.into_iter().zip(self.verdicts);
        all.filter(|(kind, _)| kind.may_have_left())
    }
}
